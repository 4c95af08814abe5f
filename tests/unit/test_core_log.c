/* vmm/core/log: levels, the sink, errno, the rate limit, and what arrives on stderr. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "vmm/core/log.h"

static struct {
	unsigned int lines;
	int level;
	char line[2048];
	_Atomic unsigned int racing; /* lines of the threads below */
} got;

static void sink(void *arg, int level, const char *line)
{
	ck_assert_ptr_eq(arg, &got);
	got.lines++;
	got.level = level;
	snprintf(got.line, sizeof(got.line), "%s", line);
	errno = EPIPE; /* what a sink does to errno is not its caller's business */
}

static void setup(void)
{
	memset(&got, 0, sizeof(got));
	log_set_sink(sink, &got);
}

/* ---- levels ---- */

static void log_all(void)
{
	log_error("an error");
	log_warn("a warning");
	log_info("a fact");
	log_debug("a detail");
}

START_TEST(test_level)
{
	static const char *const last[] = {"an error", "a warning", "a fact", "a detail"};

	log_set_level((enum log_level)_i);
	log_all();
	ck_assert_uint_eq(got.lines, (unsigned int)_i + 1);
	ck_assert_int_eq(got.level, _i);
	ck_assert_str_eq(got.line, last[_i]);
}
END_TEST

START_TEST(test_default_level)
{
	log_all();
	ck_assert_uint_eq(got.lines, 2);
	ck_assert_str_eq(got.line, "a warning");
}
END_TEST

/* ---- text and errno ---- */

START_TEST(test_failure)
{
	errno = ENOSPC;
	ck_assert_int_eq(log_failure(-ENOENT, "cannot open '%s'", "x"), -ENOENT);
	ck_assert_int_eq(errno, ENOSPC);
	ck_assert_int_eq(got.level, LOG_LEVEL_ERROR);
	ck_assert_str_eq(got.line, "cannot open 'x': No such file or directory");
	/* a word with a sign of its own */
	log_failure(-EIO, "%s", "100%s");
	ck_assert_str_eq(got.line, "100%s: Input/output error");
	ck_assert_int_eq(log_no_memory(), -ENOMEM);
	ck_assert_str_eq(got.line, "out of memory");
}
END_TEST

START_TEST(test_errno)
{
	struct log_limit limit = {0};

	for (unsigned int i = 0; i < 2 * LOG_LIMIT_BURST; i++) {
		errno = ENOTTY;
		log_error("%s", "x");
		ck_assert_int_eq(errno, ENOTTY);
		log_debug("%s", "dropped");
		ck_assert_int_eq(errno, ENOTTY);
		log_guest(&limit, "%s", "perhaps dropped");
		ck_assert_int_eq(errno, ENOTTY);
	}
	errno = ENOENT;
	log_error("%d: %m", 7);
	ck_assert_str_eq(got.line, "7: No such file or directory");
}
END_TEST

/* What is too long loses its middle. */
START_TEST(test_long_line)
{
	const size_t lengths[] = {LOG_LINE_MAX - 20, LOG_LINE_MAX, 2000, 4095, 20000};
	size_t length = lengths[_i];
	char *name = malloc(length + 1);

	memset(name, 'x', length);
	name[length] = '\0';
	log_error("cannot open '%s': %s", name, length < 20000 ? "why" : "");
	ck_assert_uint_eq(got.lines, 1);
	ck_assert_uint_gt(strlen(got.line), 1000);
	ck_assert_uint_lt(strlen(got.line), LOG_LINE_MAX);
	ck_assert_mem_eq(got.line, "cannot open 'xxx", 16);
	if (_i == 0) {
		ck_assert_uint_eq(strlen(got.line), length + strlen("cannot open '': why"));
		ck_assert_ptr_null(strchr(got.line, '['));
	} else {
		ck_assert_uint_eq(strlen(got.line), LOG_LINE_MAX - 1);
		ck_assert_ptr_nonnull(strstr(got.line, "xxx[...]xxx"));
	}
	/* beyond what two names can have the end is lost */
	if (length < 20000)
		ck_assert_str_eq(&got.line[strlen(got.line) - 6], "': why");
	free(name);
}
END_TEST

/* ---- what the guest causes ---- */

/* As if the window had begun that many seconds ago. */
static void age(struct log_limit *limit, uint64_t seconds)
{
	uint64_t ago = seconds * UINT64_C(1000000000);

	ck_assert_uint_gt(atomic_load(&limit->window), ago);
	atomic_fetch_sub(&limit->window, ago);
}

START_TEST(test_limit)
{
	struct log_limit limit = {0}, other = {0};

	for (unsigned int i = 0; i < 1000; i++)
		log_guest(&limit, "line %u", i);
	ck_assert_uint_eq(got.lines, LOG_LIMIT_BURST);
	ck_assert_str_eq(got.line, "line 4");
	ck_assert_int_eq(got.level, LOG_LEVEL_WARN);
	/* Another device has its own. */
	log_guest(&other, "another");
	ck_assert_uint_eq(got.lines, LOG_LIMIT_BURST + 1);
	/* Neither are the host's own messages limited. */
	log_warn("the host's");
	ck_assert_uint_eq(got.lines, LOG_LIMIT_BURST + 2);

	got.lines = 0;
	age(&limit, LOG_LIMIT_SECONDS - 2);
	log_guest(&limit, "too early");
	ck_assert_uint_eq(got.lines, 0);
	age(&limit, 3);
	for (unsigned int i = 0; i < 1000; i++)
		log_guest(&limit, "line %u", i);
	ck_assert_uint_eq(got.lines, LOG_LIMIT_BURST);
}
END_TEST

static void racing_sink(void *arg, int level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
	atomic_fetch_add(&got.racing, 1);
}

static void *flood(void *arg)
{
	for (unsigned int i = 0; i < 10000; i++)
		log_guest(arg, "line %u", i);
	return NULL;
}

START_TEST(test_limit_many_threads)
{
	struct log_limit limit = {0};
	pthread_t threads[4];

	log_set_sink(racing_sink, NULL);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, flood, &limit), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	/* Whoever raced into the beginning of the window may have restarted it. */
	ck_assert_uint_ge(atomic_load(&got.racing), LOG_LIMIT_BURST);
	ck_assert_uint_le(atomic_load(&got.racing), 4 * LOG_LIMIT_BURST);
}
END_TEST

/* ---- stderr ---- */

#define LONG                                                                                       \
	"................................................................"                         \
	"................................................................"

/* Logs one line with stderr at fd to_write; what arrives at to_read is in text. */
static void log_through(int to_write, int to_read, char *text, size_t size)
{
	int saved = dup(STDERR_FILENO);
	size_t len = 0;

	ck_assert_int_ge(dup2(to_write, STDERR_FILENO), 0);
	log_set_sink(NULL, NULL);
	errno = EINTR;
	log_error("disk '%s' is gone", "x.img");
	ck_assert_int_eq(errno, EINTR);
	ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
	close(saved);
	/* A terminal may hand it over in parts. */
	do {
		ssize_t n = read(to_read, text + len, size - 1 - len);

		ck_assert_int_gt(n, 0);
		len += (size_t)n;
	} while (text[len - 1] != '\n');
	text[len] = '\0';
}

START_TEST(test_stderr)
{
	char text[128];
	int fds[2];

	ck_assert_int_eq(pipe(fds), 0);
	log_through(fds[1], fds[0], text, sizeof(text));
	ck_assert_str_eq(text, "vmm: disk 'x.img' is gone\n");
	ck_assert_uint_eq(got.lines, 0);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

/* A terminal in raw mode, as the console makes it, needs the carriage return; one that is not adds it itself. */
START_TEST(test_stderr_terminal)
{
	int near = posix_openpt(O_RDWR | O_NOCTTY), far;
	struct termios mode;
	char text[128];

	ck_assert_int_ge(near, 0);
	ck_assert_int_eq(grantpt(near), 0);
	ck_assert_int_eq(unlockpt(near), 0);
	far = open(ptsname(near), O_RDWR | O_NOCTTY);
	ck_assert_int_ge(far, 0);
	if (_i) {
		ck_assert_int_eq(tcgetattr(far, &mode), 0);
		cfmakeraw(&mode);
		ck_assert_int_eq(tcsetattr(far, TCSANOW, &mode), 0);
	}
	log_through(far, near, text, sizeof(text));
	ck_assert_str_eq(text, "vmm: disk 'x.img' is gone\r\n");
	close(far);
	close(near);
}
END_TEST

/* A terminal is called writable long before it takes a whole line. Lines of several lengths, for what is left at last differs. */
START_TEST(test_stderr_terminal_that_nobody_reads)
{
	int near = posix_openpt(O_RDWR | O_NOCTTY), far;
	char text[4096];

	ck_assert_int_eq(unlockpt(near), 0);
	far = open(ptsname(near), O_RDWR | O_NOCTTY);
	ck_assert_int_ge(far, 0);
	for (int i = 0; i < 2000; i++) {
		int saved = dup(STDERR_FILENO);

		ck_assert_int_ge(dup2(far, STDERR_FILENO), 0);
		log_set_sink(NULL, NULL);
		log_error("the guest's driver broke the protocol %.*s", 90 + _i, LONG);
		ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
		close(saved);
	}
	/* What fits is there. */
	ck_assert_int_gt(read(near, text, sizeof(text)), 40);
	ck_assert_int_eq(strncmp(text, "vmm: the guest's", 16), 0);
	close(far);
	close(near);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("core/log");
	TCase *tc = tcase_create("log");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_loop_test(tc, test_level, LOG_LEVEL_ERROR, LOG_LEVEL_DEBUG + 1);
	tcase_add_test(tc, test_default_level);
	tcase_add_test(tc, test_failure);
	tcase_add_test(tc, test_errno);
	tcase_add_loop_test(tc, test_long_line, 0, 5);
	tcase_add_test(tc, test_limit);
	tcase_add_test(tc, test_limit_many_threads);
	tcase_add_test(tc, test_stderr);
	tcase_add_loop_test(tc, test_stderr_terminal, 0, 2);
	tcase_add_loop_test(tc, test_stderr_terminal_that_nobody_reads, 0, 8);
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
