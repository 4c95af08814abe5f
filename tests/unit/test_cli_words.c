/* vmm/cli: what was meant by a mistyped word, and what is shown of a message. */
#include "tests/unit/options_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <time.h>

#include "vmm/cli/suggest.h"

static const struct {
	const char *typed;
	const char *meant; /* NULL: nobody knows */
} words[] = {
	{"--memroy", "memory"},
	{"--mem", "memory"},
	{"--memory=x", "memory"},
	{"memmory", "memory"},
	{"--cpu=2", "cpus"},
	{"-kernel", "kernel"},
	{"--kernal", "kernel"},
	{"kern", "kernel"},
	{"--kernl-cach", "kernel-cache"},
	{"--nte", "net"},
	{"--kernel-cache-x", "kernel-cache"},
	{"--frobnicate", NULL},
	{"--x", NULL},
	{"--", NULL},
	{"", NULL},
	{"--ne", "net"},
	{"--abc", NULL},
	{"a word that is longer than any name of ours", NULL},
};

START_TEST(suggests)
{
	static const char *const names[] = {"kernel", "memory", "cpus", "net", "kernel-cache"};
	struct suggestion s = suggest_begin(words[_i].typed);

	for (size_t i = 0; i < COUNT(names); i++)
		suggest_try(&s, names[i]);
	if (words[_i].meant)
		ck_assert_msg(s.name && strcmp(s.name, words[_i].meant) == 0,
			      "'%s': '%s', not '%s'", words[_i].typed, s.name ? s.name : "(none)",
			      words[_i].meant);
	else
		ck_assert_msg(!s.name, "'%s': '%s'", words[_i].typed, s.name);
}
END_TEST

static void *report_to_nobody(void *arg)
{
	for (int i = 0; i < 2000; i++)
		report("%s", (const char *)arg);
	return NULL;
}

/* Somebody waits with a line that nobody takes; a line of the library's log is lost then, and keeps nobody. Nor is who passes on output kept. */
START_TEST(log_does_not_wait)
{
	int saved = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY), pair[2];
	char text[4096] = "", got[4096];
	struct timespec moment = {.tv_nsec = 10000000};
	pthread_t thread;
	int before = -1, now;

	ck_assert_int_eq(pipe(pair), 0);
	ck_assert_int_ge(dup2(pair[1], STDERR_FILENO), 0);
	memset(text, 'x', 500);
	report_status_end();
	ck_assert_int_eq(pthread_create(&thread, NULL, report_to_nobody, text), 0);
	/* until the pipe is full */
	for (ioctl(pair[0], FIONREAD, &now); now == 0 || now != before;
	     ioctl(pair[0], FIONREAD, &now)) {
		before = now;
		nanosleep(&moment, NULL);
	}
	report_status_end();
	dup2(null, STDERR_FILENO);
	report_log(NULL, 0, "a line");
	while (read(pair[0], got, sizeof(got)) == (ssize_t)sizeof(got))
		;
	pthread_join(thread, NULL);
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(null);
	close(pair[0]);
	close(pair[1]);
}
END_TEST

/* A terminal is called writable long before it takes a whole line. */
START_TEST(log_of_a_terminal_that_nobody_reads)
{
	int saved = dup(STDERR_FILENO), far = posix_openpt(O_RDWR | O_NOCTTY), near;
	char text[100], got[200];

	ck_assert_int_eq(unlockpt(far), 0);
	near = open(ptsname(far), O_RDWR | O_NOCTTY);
	ck_assert_int_ge(dup2(near, STDERR_FILENO), 0);
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1 - (unsigned int)_i] = '\0';
	for (int i = 0; i < 2000; i++)
		report_log(NULL, 0, text);
	dup2(saved, STDERR_FILENO);
	close(saved);
	/* What fits is there. */
	ck_assert_int_eq(read(far, got, sizeof(got)) > 50, 1);
	ck_assert(memmem(got, sizeof(got), "xxxxxxxxxx", 10));
	close(near);
	close(far);
}
END_TEST

START_TEST(says_what_was_meant)
{
	REFUSED("unknown option '--memroy'; did you mean --memory? See vmm --help", "--memroy",
		"1G");
	REFUSED("unknown argument 'docter'; did you mean doctor?", "docter");
	REFUSED("unknown argument 'memory'; did you mean --memory?", "memory");
	REFUSED("unknown option '--frobnicate'; see vmm --help", "--frobnicate");
	REFUSED("unknown argument 'uname'; did you mean, to run it in the guest: vmm -- uname -a\n",
		"uname", "-a");
	REFUSED("in the guest: vmm ... -- sh -c 'exit 1'\n", "--cpus", "2", "sh", "-c", "exit 1");
}
END_TEST

/* ---- messages ---- */

static const struct {
	const char *text, *shown;
} messages[] = {
	{"plain 'text'", "plain 'text'"},
	{"a\tb\nc\r\033[1m\x7f", "a?b?c??[1m?"},
	{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
	{"8 bits: \x9b"
	 "31m",
	 "8 bits: ?31m"},
	{"UTF-8: \xc2\x9b"
	 "31m\xc2\xa0",
	 "UTF-8: ??31m\xc2\xa0"},
	{"cut \xe2\x82", "cut ??"},
	{"\xff\xc0\x9b", "???"},
};

static void report_text(void *arg)
{
	report("%s", (const char *)arg);
}

START_TEST(message)
{
	char want[64], text[64];

	snprintf(text, sizeof(text), "%s", messages[_i].text);
	snprintf(want, sizeof(want), "vmm: %s\n", messages[_i].shown);
	capture(STDERR_FILENO, said, sizeof(said), report_text, text);
	ck_assert_str_eq(said, want);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cli/words");
	TCase *tc = tcase_create("words");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, suggests, 0, COUNT(words));
	tcase_add_test(tc, says_what_was_meant);
	tcase_add_test(tc, log_does_not_wait);
	tcase_add_loop_test(tc, log_of_a_terminal_that_nobody_reads, 0, 8);
	tcase_add_loop_test(tc, message, 0, COUNT(messages));
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
