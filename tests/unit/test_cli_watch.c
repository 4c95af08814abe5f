/* vmm/cli: what is seen of a command's guest: events, the silence of a boot, keys. */
#include "tests/unit/folder_fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "vmm/cli/boot_watch.h"
#include "vmm/cli/events.h"
#include "vmm/cli/pump.h"

/* ---- events ---- */

static const struct {
	const char *text, *json;
} quotes[] = {
	{"", "\"\""},
	{"plain text/1", "\"plain text/1\""},
	{"a\"b\\c", "\"a\\\"b\\\\c\""},
	{"\n\t\x1f\x7f", "\"\\u000a\\u0009\\u001f\\u007f\""},
	{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
	{"\xff"
	 "a\xc3",
	 "\"\\ufffda\\ufffd\""},
	{"\xc0\xaf\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\""},
	{"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
	{"0123456789012345678901234567890123456789", "\"012345678901234567890123\""},
};

START_TEST(quoting)
{
	char small[32], large[128];

	if (strlen(quotes[_i].text) < 40)
		ck_assert_str_eq(events_quote(large, sizeof(large), quotes[_i].text),
				 quotes[_i].json);
	else
		ck_assert_uint_lt(strlen(events_quote(small, sizeof(small), quotes[_i].text)),
				  sizeof(small));
}
END_TEST

static unsigned int polls_interrupted;
static int poll_error; /* 0: none */

/* In place of the one of libc. */
int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	errno = polls_interrupted > 0 ? EINTR : poll_error;
	if (polls_interrupted > 0)
		polls_interrupted--;
	return errno ? -1 : (int)syscall(SYS_poll, fds, n, timeout);
}

static void read_events(char *text, size_t size)
{
	int fd = open("events", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, size - 1);

	ck_assert_int_ge(n, 0);
	text[n] = '\0';
	close(fd);
}

START_TEST(event_lines)
{
	struct events events;
	double time, elapsed;
	char text[4096], name[16];
	int end = 0;

	put_file("events", "what another run has left, which is much longer than this\n");
	ck_assert_int_eq(events_open(&events, "events"), 0);
	read_events(text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, "another run"));
	events_tell(&events, 0, "one", "%s", "");
	events_tell(&events, 1000000000, "two", ",\"status\":%d", 3);
	events_close(&events);
	events_tell(&events, 0, "three", "%s", "");
	read_events(text, sizeof(text));
	ck_assert_int_eq(sscanf(text, "{\"time\":%lf,\"elapsed\":%lf,\"event\":\"%15[a-z]\"}\n%n",
				&time, &elapsed, name, &end),
			 3);
	ck_assert_str_eq(name, "one");
	ck_assert_int_gt(end, 0);
	ck_assert(time > 1e9 && elapsed < 10);
	ck_assert_ptr_nonnull(
		strstr(text, ",\"elapsed\":0.000000,\"event\":\"two\",\"status\":3}\n"));
	ck_assert_ptr_null(strstr(text, "three"));

	ck_assert_int_eq(events_open(&events, NULL), 0);
	events_tell(&events, 0, "none", "%s", "");
}
END_TEST

static const uint64_t long_ago[] = {60000000000, INT64_MAX, 2000000000000000000, UINT64_MAX};

/* A guest says how long its kernel runs: no step is told as one before the program began, or years from now. */
START_TEST(event_of_long_ago)
{
	double now = (double)time(NULL), then, elapsed;
	struct events events;
	char text[4096];

	ck_assert_int_eq(events_open(&events, "events"), 0);
	events_tell(&events, long_ago[_i], "one", "%s", "");
	events_close(&events);
	read_events(text, sizeof(text));
	ck_assert_int_eq(sscanf(text, "{\"time\":%lf,\"elapsed\":%lf,", &then, &elapsed), 2);
	ck_assert_double_eq(elapsed, 0);
	ck_assert(then > now - 2 && then < now + 30);
}
END_TEST

static unsigned int locks_interrupted;
static int stat_error; /* 0: none */

int fcntl(int fd, int command, ...)
{
	va_list args;
	long arg;

	va_start(args, command);
	arg = va_arg(args, long);
	va_end(args);
	if (command != F_OFD_SETLK || locks_interrupted == 0)
		return (int)syscall(SYS_fcntl, fd, command, arg);
	locks_interrupted--;
	errno = EINTR;
	return -1;
}

int stat(const char *restrict path, struct stat *restrict st)
{
	errno = stat_error;
	return stat_error ? -1 : (int)syscall(SYS_newfstatat, AT_FDCWD, path, st, 0);
}

static void open_events(void *arg)
{
	struct events *events = arg;

	ck_assert_int_eq(events_open(events, "events"), -EBUSY);
	ck_assert_int_eq(events->fd, -1);
}

/* One that is locked says so, and nothing else does. */
START_TEST(events_that_are_not_ours)
{
	struct events events, others;

	stat_error = EIO;
	capture(STDERR_FILENO, said, sizeof(said), open_events, &events);
	stat_error = 0;
	ck_assert_str_eq(said, "vmm: cannot open 'events' for --events: Input/output error\n");
	locks_interrupted = 2;
	ck_assert_int_eq(events_open(&events, "events"), 0);
	ck_assert_uint_eq(locks_interrupted, 0);
	capture(STDERR_FILENO, said, sizeof(said), open_events, &others);
	ck_assert_str_eq(said, "vmm: cannot open 'events' for --events: it is in use (locked) by "
			       "another program\n");
	events_close(&events);
}
END_TEST

static void tell_one(void *arg)
{
	events_tell(arg, 0, "one", "%s", "");
}

/* A signal is no reason to end, and others are named. */
START_TEST(events_after_a_failed_poll)
{
	struct events events;
	char text[4096];

	ck_assert_int_eq(events_open(&events, "events"), 0);
	polls_interrupted = 2;
	capture(STDERR_FILENO, said, sizeof(said), tell_one, &events);
	ck_assert_str_eq(said, "");
	read_events(text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, "\"event\":\"one\"}\n"));
	poll_error = ENOMEM;
	capture(STDERR_FILENO, said, sizeof(said), tell_one, &events);
	poll_error = 0;
	ck_assert_str_eq(said, "vmm: cannot write to --events: Cannot allocate memory\n");
	ck_assert_int_eq(events.fd, -1);
}
END_TEST

/* Returns what was said. */
static void tell_some(void *arg)
{
	for (int i = 0; i < 2000; i++)
		events_tell(arg, 0, "some", "%s", "");
}

START_TEST(events_that_nobody_reads)
{
	struct events events;
	char what[32];
	int ends[2];

	/* Nobody reads them yet, or ever. */
	signal(SIGPIPE, SIG_IGN); /* as main() does */
	ck_assert_int_eq(pipe(ends), 0);
	snprintf(what, sizeof(what), "fd=%d", ends[1]);
	ck_assert_int_eq(events_open(&events, what), 0);
	capture(STDERR_FILENO, said, sizeof(said), tell_some, &events);
	ck_assert_str_eq(
		said, "vmm: cannot write to --events: nobody reads them, and the pipe is full\n");
	ck_assert_int_eq(events.fd, -1);
	/* Nobody reads them any more. */
	close(ends[0]);
	ck_assert_int_eq(events_open(&events, what), 0);
	capture(STDERR_FILENO, said, sizeof(said), tell_some, &events);
	ck_assert_str_eq(said, "vmm: cannot write to --events: Broken pipe\n");
	close(ends[1]);
}
END_TEST

static int full_fd = -1;
static size_t room; /* bytes that its disk has left */

/* In place of the one of libc. */
ssize_t write(int fd, const void *buf, size_t n)
{
	if (fd != full_fd)
		return syscall(SYS_write, fd, buf, n);
	n = n < room ? n : room;
	room -= n;
	errno = ENOSPC;
	return n > 0 ? syscall(SYS_write, fd, buf, n) : -1;
}

/* There is room for a part of a line, and later for more. */
START_TEST(events_on_a_full_disk)
{
	struct events events;
	char text[512], *line = text;
	unsigned int whole = 0;

	ck_assert_int_eq(events_open(&events, "events"), 0);
	events_tell(&events, 0, "first", "%s", "");
	full_fd = events.fd;
	room = 40;
	capture(STDERR_FILENO, said, sizeof(said), tell_some, &events);
	ck_assert_str_eq(said, "vmm: cannot write to --events: No space left on device\n");
	full_fd = -1;
	capture(STDERR_FILENO, said, sizeof(said), tell_one, &events);
	ck_assert_str_eq(said, "");
	events_tell(&events, 0, "last", "%s", "");
	read_events(text, sizeof(text));
	events_close(&events);
	for (char *end; (end = strchr(line, '\n')); line = end + 1)
		whole += *line == '{' && end[-1] == '}';
	ck_assert_str_eq(line, "");
	ck_assert_uint_eq(whole, 3);
	ck_assert_ptr_nonnull(strstr(text, "\"first\"}\n{"));
	ck_assert_ptr_nonnull(strstr(text, "\"last\"}\n"));
}
END_TEST

/* ---- a guest that boots ---- */

/* Looks whenever that is wanted, at a guest that runs so much of the time. Returns the ms until the time is up; 0: never. */
static uint64_t silent_for(struct boot_watch *watch, unsigned int percent)
{
	uint64_t ran = 0, now = watch->seen, began = now;

	for (int i = 0; i < 1000; i++) {
		uint64_t next = boot_watch_next(watch);

		if (next == UINT64_MAX)
			return 0;
		ck_assert_uint_gt(next, now);
		ran += (next - now) * percent * 10000;
		now = next;
		if (boot_watch_look(watch, now, ran))
			return now - began;
	}
	return 0;
}

static const struct {
	unsigned int percent;
	uint64_t min, max;
} silences[] = {
	{0, 2000, 2010},   /* it waits */
	{100, 2000, 2010}, /* it runs in circles */
	{50, 4000, 4010},  /* with half of a CPU */
	{5, 20000, 21000}, /* with next to nothing: there is an end */
	{200, 2000, 2010}, /* clocks may differ */
};

START_TEST(boot_silence)
{
	struct boot_watch watch;
	uint64_t got;

	boot_watch_begin(&watch, 2000, 5000);
	got = silent_for(&watch, silences[_i].percent);
	ck_assert_uint_ge(got, silences[_i].min);
	ck_assert_uint_le(got, silences[_i].max);
}
END_TEST

START_TEST(boot_words)
{
	struct boot_watch watch;

	boot_watch_begin(&watch, 2000, 0);
	ck_assert(!boot_watch_look(&watch, 500, 0)); /* too early to be looked at */
	ck_assert(!boot_watch_look(&watch, 1000, 0));
	boot_watch_hear(&watch, 1500);
	ck_assert(!boot_watch_look(&watch, 2500, 0));
	ck_assert(!boot_watch_look(&watch, 3400, 0));
	ck_assert(boot_watch_look(&watch, 3600, 0));
	boot_watch_end(&watch);
	ck_assert_uint_eq(boot_watch_next(&watch), UINT64_MAX);
	ck_assert(!boot_watch_look(&watch, 1 << 30, 0));
	boot_watch_begin(&watch, 0, 0);
	ck_assert_uint_eq(boot_watch_next(&watch), UINT64_MAX);
}
END_TEST

/* The process is frozen for an hour, which no signal tells, and is looked at again: neither limit has come nearer. */
START_TEST(boot_frozen)
{
	struct boot_watch watch;
	const uint64_t hour = 3600 * 1000;

	boot_watch_begin(&watch, 4000, 0);
	ck_assert(!boot_watch_look(&watch, 1000, 0));
	ck_assert(!boot_watch_look(&watch, 1000 + hour, 0));
	ck_assert_uint_eq(silent_for(&watch, 0), 2000);
}
END_TEST

/* ---- keys ---- */

static const struct {
	const char *typed[5]; /* 400 ms from one to the next; "]" is the key */
	unsigned int pressed;
} typings[] = {
	{{"]]]"}, PUMP_KEY_END},
	{{"abc]]]"}, PUMP_KEY_END},
	{{"]", "]", "]"}, PUMP_KEY_END},
	{{"]", "]]"}, PUMP_KEY_END},
	{{"]", "", "]", "]"}, 0},	      /* the third comes too late, */
	{{"]", "", "]", "]]"}, PUMP_KEY_END}, /* but not its next */
	{{"]]", "x]"}, 0},
	{{"]]x]]x]", "", "", "]]"}, 0},
	{{"]", "]x]", "]"}, 0},
	{{"plain"}, 0},
	{{"]]d"}, PUMP_KEY_SHOW},
	{{"]", "]", "c"}, PUMP_KEY_DUMP},
	{{"]]h]]d"}, PUMP_KEY_HELP | PUMP_KEY_SHOW},
	{{"]d", "]c", "]h"}, 0},
	{{"]]", "", "", "d"}, 0},
	{{"]]xd"}, 0},
	{{"]]dd", "c"}, PUMP_KEY_SHOW},
};

START_TEST(third_key)
{
	struct pump_escape escape = {.times = 0};
	unsigned int pressed = 0;

	for (unsigned int i = 0; i < 5 && typings[_i].typed[i]; i++) {
		char bytes[16];
		size_t n = strlen(typings[_i].typed[i]);

		for (size_t j = 0; j < n; j++)
			bytes[j] = typings[_i].typed[i][j] == ']' ? PUMP_ESCAPE
								  : typings[_i].typed[i][j];
		pressed |= pump_escape_look(&escape, bytes, n, 5000 + 400 * i);
	}
	ck_assert_uint_eq(pressed, typings[_i].pressed);
}
END_TEST

/* ---- an input that cannot be read ---- */

/* What becomes of an input: its error, once the other end has seen that it is over. */
static int input_error(int from)
{
	static struct pump pump; /* its thread may outlive the test */
	int to[2], signal = eventfd(0, EFD_CLOEXEC);
	char byte;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, to), 0);
	ck_assert_int_eq(pump_start(&pump, PUMP_INPUT, from, to[1], signal), 0);
	pump_let_go(&pump);
	while (read(to[0], &byte, 1) > 0)
		continue;
	return atomic_load(&pump.error);
}

START_TEST(input_of_a_directory)
{
	ck_assert_int_eq(input_error(open("/", O_RDONLY | O_CLOEXEC)), EISDIR);
}
END_TEST

START_TEST(input_that_is_none)
{
	ck_assert_int_eq(input_error(open("/dev/null", O_WRONLY | O_CLOEXEC)), 0);
}
END_TEST

START_TEST(input_that_ends)
{
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	close(fds[1]);
	ck_assert_int_eq(input_error(fds[0]), 0);
}
END_TEST

START_TEST(input_of_a_terminal_that_goes)
{
	int far = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), near;

	ck_assert_int_eq(unlockpt(far), 0);
	near = open(ptsname(far), O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_ge(near, 0);
	ck_assert(isatty(near));
	/* A pump that has begun when it goes; the end of a hang-up is 0 or EIO. */
	ck_assert_int_eq(close(far), 0);
	ck_assert_int_eq(input_error(near), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cli/watch");
	TCase *tc = tcase_create("watch");
	SRunner *runner;
	int failed;

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, quoting, 0, COUNT(quotes));
	tcase_add_test(tc, event_lines);
	tcase_add_loop_test(tc, event_of_long_ago, 0, COUNT(long_ago));
	tcase_add_test(tc, events_that_are_not_ours);
	tcase_add_test(tc, events_after_a_failed_poll);
	tcase_add_test(tc, events_that_nobody_reads);
	tcase_add_test(tc, events_on_a_full_disk);
	tcase_add_loop_test(tc, boot_silence, 0, COUNT(silences));
	tcase_add_test(tc, boot_words);
	tcase_add_test(tc, boot_frozen);
	tcase_add_loop_test(tc, third_key, 0, COUNT(typings));
	tcase_add_test(tc, input_of_a_directory);
	tcase_add_test(tc, input_that_is_none);
	tcase_add_test(tc, input_that_ends);
	tcase_add_test(tc, input_of_a_terminal_that_goes);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
