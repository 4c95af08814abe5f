/* vmm/core/assert: what is not so ends the process, after a line that says what and where. */
#include <check.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/core/assert.h"

START_TEST(test_true)
{
	int calls = 0;

	assert(++calls == 1);
	ck_assert_int_eq(calls, 1); /* in all builds */
}
END_TEST

START_TEST(test_false)
{
	char text[256] = "";
	int said[2], status;
	pid_t child;

	ck_assert_int_eq(pipe(said), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0) {
		signal(SIGABRT, SIG_DFL);
		dup2(said[1], STDERR_FILENO);
		assert(child != 0);
		_exit(0);
	}
	close(said[1]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	ck_assert_int_gt(read(said[0], text, sizeof(text) - 1), 0);
	ck_assert_int_eq(strncmp(text, "vmm: ", 5), 0);
	ck_assert_ptr_nonnull(strstr(text, "test_core_assert.c:32: child != 0: "));
	ck_assert_int_eq(text[strlen(text) - 1], '\n');
	close(said[0]);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("core/assert");
	TCase *tc = tcase_create("assert");

	tcase_add_test(tc, test_true);
	tcase_add_test(tc, test_false);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
