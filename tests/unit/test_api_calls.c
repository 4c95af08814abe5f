/* Functions of vmm.h that need no VM. */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/api/vmm.h"

START_TEST(violation_into_nothing)
{
	siginfo_t info = {.si_signo = SIGSYS, .si_code = 1};
	char text[2] = "ab";

	info.si_syscall = SYS_openat;
	ck_assert(vmm_describe_violation(&info, text, 0));
	ck_assert_mem_eq(text, "ab", 2);
	ck_assert(vmm_describe_violation(&info, NULL, 0));
	ck_assert(vmm_describe_violation(&info, text, 1));
	ck_assert_mem_eq(text, "\0b", 2);
	info.si_signo = SIGSEGV;
	ck_assert(!vmm_describe_violation(&info, NULL, 0));
}
END_TEST

/* The project's version stands in CMakeLists.txt, and once more in the header. */
START_TEST(version_of_the_header)
{
	char text[64];

	snprintf(text, sizeof(text), "%d.%d.%d", VMM_VERSION_MAJOR, VMM_VERSION_MINOR,
		 VMM_VERSION_PATCH);
	ck_assert_str_eq(vmm_version(), text);
}
END_TEST

/* What is no file is told at once. */
START_TEST(release_of_no_file)
{
	char dir[] = "/tmp/api-calls-XXXXXX", fifo[64], release[64];

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	ck_assert_int_eq(mkfifo(fifo, 0600), 0);
	ck_assert_int_eq(vmm_kernel_release(dir, release, sizeof(release)), -ENOEXEC);
	ck_assert_int_eq(vmm_kernel_release(fifo, release, sizeof(release)), -ENOEXEC);
	ck_assert_int_eq(vmm_kernel_release("/dev/null", release, sizeof(release)), -ENOEXEC);
	ck_assert_int_eq(unlink(fifo), 0);
	ck_assert_int_eq(vmm_kernel_release(fifo, release, sizeof(release)), -ENOENT);
	ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("api/calls");
	TCase *tc = tcase_create("calls");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tc, violation_into_nothing);
	tcase_add_test(tc, release_of_no_file);
	tcase_add_test(tc, version_of_the_header);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
