/* vmm/cli: the console's last lines, and which of them are shown. */
#include "tests/unit/folder_fixture.h"

#include "vmm/cli/console_tail.h"
#include "vmm/cli/last_words.h"

static struct console_tail tail;

static void show_tail(void *arg)
{
	*(int *)arg = last_words_show("console", console_tail_text(&tail), 20);
}

static int show(void)
{
	int any;

	capture(STDERR_FILENO, said, sizeof(said), show_tail, &any);
	return any;
}

START_TEST(last_lines)
{
	char line[64];
	unsigned int n = 0;

	memset(&tail, 0, sizeof(tail));
	ck_assert_int_eq(show(), 0);
	ck_assert_str_eq(said, "");
	console_tail_put(&tail, "one\r\n\n\033[1mtwo", 13);
	ck_assert_int_eq(show(), 1);
	ck_assert_str_eq(said, "vmm: console: one\nvmm: console: ?[1mtwo\n");
	for (int i = 0; i < 10000; i++) {
		snprintf(line, sizeof(line), "line %d\r\n", i);
		console_tail_put(&tail, line, strlen(line));
	}
	ck_assert_int_eq(show(), 1);
	ck_assert_ptr_nonnull(strstr(said, "vmm: console: line 9999\n"));
	ck_assert_ptr_nonnull(strstr(said, "vmm: console: line 9980\n"));
	ck_assert_ptr_null(strstr(said, "9979"));
	for (const char *c = said; *c; c++)
		n += *c == '\n';
	ck_assert_uint_eq(n, 20);
	/* What led to a panic and what followed it, without its end. */
	console_tail_put(&tail, "Kernel panic - why\n", 19);
	for (int i = 0; i < 60; i++) {
		snprintf(line, sizeof(line), "trace %d\n", i);
		console_tail_put(&tail, line, strlen(line));
	}
	console_tail_put(&tail, "---[ end Kernel panic - why ]---\n", 33);
	ck_assert_int_eq(show(), 1);
	ck_assert_ptr_eq(strstr(said, "vmm: console: line 9990\n"), said);
	ck_assert_ptr_nonnull(strstr(
		said, "line 9999\nvmm: console: Kernel panic - why\nvmm: console: trace 0\n"));
	ck_assert_ptr_nonnull(strstr(said, "trace 28\n"));
	ck_assert_ptr_null(strstr(said, "trace 29"));
	/* of many, the last one */
	for (int i = 0; i < 300; i++) {
		snprintf(line, sizeof(line), "Kernel panic %d\n", i);
		console_tail_put(&tail, line, strlen(line));
	}
	for (int i = 0; i < 50; i++)
		console_tail_put(&tail, "trace\n", 6);
	ck_assert_int_eq(show(), 1);
	ck_assert_ptr_eq(strstr(said, "vmm: console: Kernel panic 289\n"), said);
	ck_assert_ptr_nonnull(strstr(said, "panic 299\nvmm: console: trace\n"));
	/* one line longer than all there is room for */
	for (int i = 0; i < CONSOLE_TAIL_SIZE; i++)
		console_tail_put(&tail, "0", 1);
	console_tail_put(&tail, "\nlast\n", 6);
	ck_assert_int_eq(show(), 1);
	ck_assert_str_eq(said, "vmm: console: last\n");
}
END_TEST

/* What led to a panic is reported before it, at length. */
static const struct {
	const char *cause;
	unsigned int before; /* lines between it and the panic */
	bool shown;
} causes[] = {
	{"[    5.1] BUG: kernel NULL pointer dereference, address: 0000000000000000", 60, true},
	{"[    5.1] general protection fault, probably for non-canonical address: 0000 [#1] SMP",
	 60, true},
	{"------------[ cut here ]------------", 98, true},
	{"[    5.1] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [busybox:90]", 9, true},
	{"[    5.1] INFO: task busybox:90 blocked for more than 120 seconds.", 50, true},
	{"[    5.1] BUG: long ago", 100, false},
	{"[    5.1] a line like others", 10, false},
};

START_TEST(panic_after_an_oops)
{
	const char *at;
	char line[100];

	memset(&tail, 0, sizeof(tail));
	for (int i = 0; i < 200; i++)
		console_tail_put(&tail, "before\r\n", 8);
	console_tail_put(&tail, causes[_i].cause, strlen(causes[_i].cause));
	console_tail_put(&tail, "\n", 1);
	for (unsigned int i = 0; i < causes[_i].before; i++) {
		snprintf(line, sizeof(line), "[    5.2] %-60u\n", i);
		console_tail_put(&tail, line, strlen(line));
	}
	snprintf(line, sizeof(line), "[    5.3] Kernel panic - not syncing: Fatal exception\n");
	console_tail_put(&tail, line, strlen(line));
	/* that of a panic of its own, and its end */
	for (int i = 0; i < 90; i++)
		console_tail_put(&tail, "[    5.4] behind ? it+0x1/0x2\n", 30);
	ck_assert_int_eq(show(), 1);
	at = strstr(said, causes[_i].cause);
	ck_assert(!at == !causes[_i].shown);
	ck_assert_ptr_nonnull(strstr(said, "Fatal exception\nvmm: console: [    5.4]"));
	/* The last ten lines before it are there in any case. */
	snprintf(line, sizeof(line), "vmm: console: [    5.2] %-60u\n",
		 causes[_i].before >= 10 ? causes[_i].before - 10 : 0);
	ck_assert_ptr_nonnull(strstr(said, line));
}
END_TEST

static const struct {
	const char *line;
	bool shown;
} faults[] = {
	{"[    3.2] Out of memory: Killed process 90 (tail) total-vm:93720kB, anon-rss:91240kB",
	 true},
	{"[    3.2] BUG: unable to handle page fault for address: ffffc90000000000", true},
	{"[    3.2] Oops: 0002 [#1] PREEMPT SMP NOPTI", true},
	{"[    3.2] general protection fault, probably for non-canonical address 0xdead: 0000 [#2]",
	 true},
	{"[    3.2] kernel BUG at mm/slub.c:300!", true},
	{"[    3.2] watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [busybox:90]", true},
	{"[    3.2] Memory cgroup out of memory: Killed process 90 (tail)", false},
	{"[    3.2] EXT4-fs (vda): DEBUG mount", false},
	{"[    3.2] e1000: DEBUG: link", false},
	{"[    3.2] e1000: DEBUG: BUG: link", true},
	{"BUG: of a kernel that tells no time", true},
	{"[    3.2] tail[90]: segfault at 0 ip 0000000000000000 sp 00007ffd error 14", false},
};

static void show_faults(void *arg)
{
	*(int *)arg = last_words_show_faults(console_tail_text(&tail));
}

/* What the kernel of a guest that lived on says of a process that it has ended. */
START_TEST(faults_of_a_guest_that_lives)
{
	unsigned int n = 0;
	char want[200];
	int any;

	snprintf(want, sizeof(want), "vmm: guest kernel: %s\n", faults[_i].line);
	memset(&tail, 0, sizeof(tail));
	console_tail_put(&tail, "before\r\n", 8);
	console_tail_put(&tail, faults[_i].line, strlen(faults[_i].line));
	console_tail_put(&tail, "\r\nbehind", 8);
	capture(STDERR_FILENO, said, sizeof(said), show_faults, &any);
	ck_assert_int_eq(any, faults[_i].shown);
	ck_assert_str_eq(said, faults[_i].shown ? want : "");
	/* a guest that says so all the time */
	for (int i = 0; i < 1000; i++)
		console_tail_put(&tail, "BUG: \n", 6);
	capture(STDERR_FILENO, said, sizeof(said), show_faults, &any);
	for (const char *c = said; *c; c++)
		n += *c == '\n';
	ck_assert_uint_eq(n, LAST_WORDS_FAULTS);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cli/last_words");
	TCase *tc = tcase_create("last words");
	SRunner *runner;
	int failed;

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, last_lines);
	tcase_add_loop_test(tc, panic_after_an_oops, 0, COUNT(causes));
	tcase_add_loop_test(tc, faults_of_a_guest_that_lives, 0, COUNT(faults));
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
