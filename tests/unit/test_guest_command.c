/* How the guest's first program finds the command in PATH, and what it takes for the time. */
#include "guest/command.c"

#include <check.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/skip.h"

/* ---- what the program has around it, none of which is needed here ---- */

struct channel channel;

void init_fail(const char *doing, const char *what, long error)
{
	(void)error;
	ck_abort_msg("cannot %s %s", doing, what);
	abort();
}

void init_end(void)
{
	abort();
}

void init_sleep(unsigned int ms)
{
	(void)ms;
}

void channel_say(uint32_t type, const void *body, uint32_t size)
{
	(void)type;
	(void)body;
	(void)size;
}

void channel_fail(const char *text, uint32_t error, enum guest_failed_what what)
{
	(void)text;
	(void)error;
	(void)what;
}

void channel_note(const char *text, const char *what, long error)
{
	(void)text;
	(void)what;
	(void)error;
}

long user_become(const struct init_start *start)
{
	(void)start;
	return 0;
}

void pump_init(struct pump *pump, int from, int to, unsigned int flags)
{
	(void)pump;
	(void)from;
	(void)to;
	(void)flags;
}

void pump_poll(const struct pump *pump, struct pollfd fds[PUMP_FDS])
{
	(void)pump;
	(void)fds;
}

void pump_serve(struct pump *pump, const struct pollfd fds[PUMP_FDS], bool last)
{
	(void)pump;
	(void)fds;
	(void)last;
}

bool pump_is_over(const struct pump *pump)
{
	(void)pump;
	return true;
}

void pump_close(struct pump *pump)
{
	(void)pump;
}

/* ---- the tests ---- */

static char dir[] = "/tmp/guest_command.XXXXXX";
static char tool[64], too[64];
static char name[] = "tool";

/* A text that does not say what runs it. */
static void make_script(const char *path, int status)
{
	FILE *file = fopen(path, "w");

	ck_assert_ptr_nonnull(file);
	fprintf(file, "exit %d\n", status);
	fclose(file);
	ck_assert_int_eq(chmod(path, 0755), 0);
}

static void setup(void)
{
	memcpy(&dir[sizeof(dir) - 7], "XXXXXX", 6);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(tool, sizeof(tool), "%s/tool", dir);
	snprintf(too, sizeof(too), "%s/too", dir);
	make_script(tool, 7);
	make_script(too, 8);
}

static void teardown(void)
{
	unlink(tool);
	unlink(too);
	rmdir(dir);
}

/* Returns the exit status of the tool, or a negative errno. */
static int run_tool(char *path_variable)
{
	char *args[] = {NULL, name, NULL}, *env[] = {path_variable, NULL};
	int status, tell[2], err = 0;
	pid_t pid;

	ck_assert_int_eq(pipe2(tell, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		err = (int)command_exec(args + 1, env);
		write(tell[1], &err, sizeof(err));
		_exit(127);
	}
	close(tell[1]);
	read(tell[0], &err, sizeof(err));
	close(tell[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return err < 0 ? err : WEXITSTATUS(status);
}

START_TEST(found)
{
	char variable[128];

	snprintf(variable, sizeof(variable), "PATH=/missing:%s", dir);
	ck_assert_int_eq(run_tool(variable), 7);
	snprintf(variable, sizeof(variable), "PATH=%s:/missing", dir);
	ck_assert_int_eq(run_tool(variable), 7);
	ck_assert_int_eq(chdir(dir), 0);
	ck_assert_int_eq(run_tool((char[]){"PATH=:/missing"}), 7);
	ck_assert_int_eq(run_tool((char[]){"PATH=/missing:"}), 7);
	ck_assert_int_eq(run_tool((char[]){"PATH=/missing"}), -ENOENT);
}
END_TEST

/* PATH is one directory, which has fill before it so often that it is len bytes long, and maybe the plain one. */
static int run_tool_from(char fill, size_t len, bool plain)
{
	size_t before = len - strlen(dir);
	static char variable[8192];

	memcpy(variable, "PATH=", 5);
	memset(variable + 5, fill, before);
	snprintf(variable + 5 + before, 128, "%s%s%s", dir, plain ? ":" : "", plain ? dir : "");
	return run_tool(variable);
}

/* What is too long is left out as a whole, be it a directory or one with the program's name. */
START_TEST(long_directories)
{
	size_t cut = 4096 + strlen(dir), last = 4095 - strlen("/tool");

	ck_assert_int_eq(run_tool_from('x', cut, false), -ENOENT);
	ck_assert_int_eq(run_tool_from('x', cut, true), 7);
	ck_assert_int_eq(run_tool_from('/', last, false), 7);
	for (size_t i = 1; i < 8; i++) {
		ck_assert_int_eq(run_tool_from('/', last + i, false), -ENOENT);
		ck_assert_int_eq(run_tool_from('/', last + i, true), 7);
	}
}
END_TEST

/* A program that is found after all gets its own name. */
START_TEST(no_shell)
{
	char *args[] = {NULL, name, NULL}, *env[] = {(char[]){"PATH=/"}, NULL};
	bool root = geteuid() == 0;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if ((!root && unshare(CLONE_NEWUSER) < 0) || chroot(dir) < 0)
			_exit(77);
		_exit(command_exec(args + 1, env) == -ENOENT && args[1] == name ? 0 : 1);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (status == W_EXITCODE(77, 0))
		skip_note("a root without /bin/sh: chroot() is not allowed here");
	else
		ck_assert_int_eq(status, 0);
}
END_TEST

/* ---- the time ---- */

static const struct {
	uint64_t ready, start, age;
} ages[] = {
	{5000, 5000, 0},     {5000, 9000, 2000}, {0, 999999998, 499999999},
	{0, 1000000000, 0},		/* somebody was stopped: on which way, nobody knows */
	{7, 60000000007, 0}, {9, 8, 0}, /* a clock that goes backwards is none */
};

START_TEST(age_of_the_time)
{
	ck_assert_uint_eq(guest_start_age(ages[_i].ready, ages[_i].start), ages[_i].age);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("guest/command");
	TCase *tc = tcase_create("PATH");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, found);
	tcase_add_test(tc, long_directories);
	tcase_add_test(tc, no_shell);
	tcase_add_loop_test(tc, age_of_the_time, 0, sizeof(ages) / sizeof(ages[0]));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return skip_status(failed);
}
