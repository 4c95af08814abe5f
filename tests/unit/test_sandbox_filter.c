/* What is said of a refused system call; the filters themselves are tried by machines (tests/tiny/test_sandbox.sh). */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "vmm/sandbox/filter.h"

#define SECCOMP_CODE 1 /* SYS_SECCOMP, which libc does not have */

static siginfo_t refusal(int call)
{
	siginfo_t info = {.si_signo = SIGSYS, .si_code = SECCOMP_CODE};

	info.si_syscall = call;
	return info;
}

START_TEST(test_tells_the_call)
{
	static const struct {
		int call;
		const char *end;
	} calls[] = {
		{SYS_read, " 0"}, {SYS_openat, " 257"}, {10000, " 10000"}, {-1, " 4294967295"}};
	char text[128];

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		siginfo_t info = refusal(calls[i].call);
		const char *end;

		ck_assert(filter_describe(&info, text, sizeof(text)));
		end = strrchr(text, ' ');
		ck_assert_ptr_nonnull(end);
		ck_assert_str_eq(end, calls[i].end);
	}
}
END_TEST

START_TEST(test_other_signals)
{
	siginfo_t info = refusal(SYS_openat);
	char text[128] = "as before";

	info.si_code = SI_USER;
	ck_assert(!filter_describe(&info, text, sizeof(text)));
	info = refusal(SYS_openat);
	info.si_signo = SIGSEGV;
	ck_assert(!filter_describe(&info, text, sizeof(text)));
	ck_assert_str_eq(text, "as before");
}
END_TEST

START_TEST(test_little_room)
{
	siginfo_t info = refusal(SYS_openat);
	char text[64];

	for (size_t size = 1; size < sizeof(text); size++) {
		memset(text, '#', sizeof(text));
		ck_assert(filter_describe(&info, text, size));
		ck_assert_uint_lt(strlen(text), size);
		ck_assert_int_eq(text[size], '#');
	}
}
END_TEST

START_TEST(test_without_filters)
{
	if (filter_available() == -ENOTSUP)
		ck_assert_int_eq(filter_install(FILTER_OWNER), -ENOTSUP);
	else
		ck_assert_int_eq(filter_available(), 0);
	ck_assert(!filter_is_sanitized() || filter_available() == -ENOTSUP);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("filter");
	TCase *tc = tcase_create("filter");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tc, test_tells_the_call);
	tcase_add_test(tc, test_other_signals);
	tcase_add_test(tc, test_little_room);
	tcase_add_test(tc, test_without_filters);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
