/* vmm/cli: the whole line, what is no option, and limits; what is wrong is one line on stderr. */
#include "tests/unit/options_fixture.h"

/* ---- the whole line ---- */

START_TEST(test_defaults)
{
	ck_assert_int_eq(PARSE("--kernel", "bzImage"), 0);
	ck_assert_str_eq(said, "");
	ck_assert_int_eq(o.action, OPTIONS_RUN);
	ck_assert_str_eq(o.config.kernel, "bzImage");
	ck_assert_ptr_null(o.config.initrd);
	ck_assert_ptr_null(o.config.cmdline);
	ck_assert_ptr_null(o.config.append);
	ck_assert_uint_eq(o.config.cpus, 1);
	ck_assert_uint_eq(o.config.memory, 256 * MIB);
	ck_assert_uint_eq(o.config.n_disks, 0);
	ck_assert_uint_eq(o.config.n_nets, 0);
	ck_assert(o.config.rng && o.config.balloon);
	ck_assert_int_eq(o.config.hugepages, VMM_HUGEPAGES_THP);
	ck_assert(!o.config.prefault && !o.config.shared_memory);
	ck_assert(o.config.unpack && o.kernel_cache && o.config.kaslr);
	ck_assert_int_eq(o.config.console_in, -1);
	ck_assert_int_eq(o.config.console_out, -1);
	ck_assert_int_eq(o.console, OPTIONS_CONSOLE_STDIO);
	ck_assert_uint_eq(o.timeout_ms, 0);
	ck_assert_int_eq(o.log_level, VMM_LOG_WARN);
}
END_TEST

START_TEST(test_everything)
{
	ck_assert_int_eq(PARSE("--kernel", "k", "--initrd", "i", "--append", "quiet a=b", "--disk",
			       "a.img", "--disk", "b.img,readonly", "--net", "tap=t0", "--cpus",
			       "8", "--memory", "2G", "--transport", "pci", "--timeout", "1.5",
			       "--console", "none", "--log-level", "debug"),
			 0);
	ck_assert_str_eq(o.config.kernel, "k");
	ck_assert_str_eq(o.config.initrd, "i");
	ck_assert_str_eq(o.config.append, "quiet a=b");
	ck_assert_uint_eq(o.config.n_disks, 2);
	ck_assert_ptr_eq(o.config.disks, o.disks);
	ck_assert_str_eq(o.config.disks[0].path, "a.img");
	ck_assert(!o.config.disks[0].readonly);
	ck_assert_str_eq(o.config.disks[1].path, "b.img");
	ck_assert(o.config.disks[1].readonly);
	ck_assert_uint_eq(o.config.n_nets, 1);
	ck_assert_ptr_eq(o.config.nets, o.nets);
	ck_assert_str_eq(o.config.nets[0].tap, "t0");
	ck_assert_uint_eq(o.config.cpus, 8);
	ck_assert_uint_eq(o.config.memory, 2 * GIB);
	ck_assert_uint_eq(o.timeout_ms, 1500);
	ck_assert_int_eq(o.console, OPTIONS_CONSOLE_NONE);
	ck_assert_int_eq(o.log_level, VMM_LOG_DEBUG);
	ck_assert_str_eq(said, "");
}
END_TEST

/* The value in the same word; only the first equals sign counts. */
START_TEST(test_equals)
{
	ck_assert_int_eq(PARSE("--kernel=a=b", "--cmdline=root=/dev/vda ro", "--cpus=3",
			       "--disk=x,serial=s=1", "--initrd="),
			 0);
	ck_assert_str_eq(o.config.kernel, "a=b");
	ck_assert_str_eq(o.config.cmdline, "root=/dev/vda ro");
	ck_assert_uint_eq(o.config.cpus, 3);
	ck_assert_str_eq(o.disks[0].serial, "s=1");
	ck_assert_str_eq(o.config.initrd, "");
}
END_TEST

START_TEST(test_help_and_version)
{
	ck_assert_int_eq(PARSE("--help"), 0);
	ck_assert_int_eq(o.action, OPTIONS_HELP);
	ck_assert_int_eq(PARSE("--version"), 0);
	ck_assert_int_eq(o.action, OPTIONS_VERSION);
	/* With an incomplete or contradictory line too. */
	ck_assert_int_eq(PARSE("--cmdline", "a", "--append", "b", "--help"), 0);
	ck_assert_int_eq(o.action, OPTIONS_HELP);
	REFUSED("--help takes no value", "--help=me");
	REFUSED("--version takes no value", "--version=");
}
END_TEST

static void print_help(void *arg)
{
	(void)arg;
	options_print_help();
}

/* The help names every option that works, none that does not, and fits one screen of a terminal. */
START_TEST(test_help_text)
{
	static const char *const names[] = {
		"--kernel",	"--initrd", "--append",	   "--cmdline", "--disk",    "--net",
		"--cpus",	"--memory", "--transport", "--timeout", "--console", "--log-level",
		"--io-threads", "--rng",    "--balloon",   "--vsock",	"--tables",  "--dump-dtb",
		"--dump-guest", "--help",   "--version",   " status ",	"Ctrl-A x"};
	unsigned int lines = 0;
	char text[8192];

	capture(STDOUT_FILENO, text, sizeof(text), print_help, NULL);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		ck_assert_msg(strstr(text, names[i]), "%s is not in the help", names[i]);
	for (const char *line = text; *line; line = strchr(line, '\n') + 1)
		ck_assert_uint_le(strcspn(line, "\n"), 80);
	for (const char *line = text; *line; line = strchr(line, '\n') + 1)
		lines++;
	ck_assert_uint_le(lines, 50);
}
END_TEST

/* ---- what is no option ---- */

START_TEST(test_unknown)
{
	static const char *const words[] = {
		"--frobnicate", "--frobnicate=1", "--kernels", "--kerne",  "-k",      "-",
		"--=",		"--=x",		  "---kernel", "--KERNEL", "-kernel", "--kernel x"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		REFUSED("unknown option", "--kernel", "k", words[i]);
	REFUSED("unknown argument 'bzImage'", "bzImage");
	REFUSED("unknown argument ''", "");
	REFUSED("unknown argument 'kernel=k'", "kernel=k");
	REFUSED("unknown argument 'x'", "--kernel", "k", "x");
	REFUSED("'--frobnicate'", "--frobnicate");
}
END_TEST

/* The program chooses one then. */
START_TEST(test_no_kernel)
{
	ck_assert_int_eq(PARSE("--memory", "64M"), 0);
	ck_assert_ptr_null(o.config.kernel);
	ck_assert_int_eq(parse_words((const char *const[]){NULL}), 0);
	ck_assert_ptr_null(o.config.kernel);
}
END_TEST

static const char *const valued[] = {
	"--kernel",    "--initrd",     "--cmdline",    "--append",  "--disk",	 "--net",
	"--cpus",      "--memory",     "--transport",  "--timeout", "--console", "--events",
	"--log-level", "--io-threads", "--kaslr",      "--rng",	    "--balloon", "--vsock",
	"--tables",    "--dump-dtb",   "--dump-guest", "--gdb"};

START_TEST(test_missing_value)
{
	char want[64];

	snprintf(want, sizeof(want), "%s needs a value", valued[_i]);
	REFUSED(want, valued[_i]);
	ck_assert_int_eq(
		parse_words((const char *const[]){"--log-level", "info", valued[_i], NULL}),
		-EINVAL);
}
END_TEST

/* The word behind is the value, whatever it looks like. */
START_TEST(test_value_like_an_option)
{
	ck_assert_int_eq(PARSE("--kernel", "--cpus"), 0);
	ck_assert_str_eq(o.config.kernel, "--cpus");
	ck_assert_int_eq(PARSE("--kernel", "k", "--append", "--"), 0);
	ck_assert_str_eq(o.config.append, "--");
}
END_TEST

static const struct {
	const char *option, *value;
} once[] = {
	{"--kernel", "a"},
	{"--initrd", "a"},
	{"--cmdline", "a"},
	{"--append", "a"},
	{"--cpus", "1"},
	{"--memory", "64M"},
	{"--transport", "pci"},
	{"--timeout", "1"},
	{"--console", "none"},
	{"--log-level", "warn"},
	{"--unpack", "on"},
	{"--kernel-cache", "off"},
	{"--kaslr", "on"},
	{"--io-threads", "2"},
	{"--rng", "on"},
	{"--balloon", "off"},
	{"--vsock", "cid=3,socket=s"},
	{"--tables", "dtb"},
	{"--dump-dtb", "f"},
	{"--dump-guest", "f"},
	{"--gdb", "1234"},
};

START_TEST(test_repeated)
{
	char want[64];

	snprintf(want, sizeof(want), "%s is given twice", once[_i].option);
	/* The same value is no excuse. */
	REFUSED(want, once[_i].option, once[_i].value, once[_i].option, once[_i].value);
}
END_TEST

START_TEST(test_contradictory)
{
	REFUSED("--append", "--kernel", "k", "--cmdline", "a", "--append", "b");
	REFUSED("--append", "--append", "", "--kernel", "k", "--cmdline", "");
}
END_TEST

/* ---- a command ---- */

START_TEST(test_command)
{
	ck_assert_int_eq(PARSE("--kernel", "k", "--root", "a,,b,rw", "--boot-timeout", "2.5",
			       "--events", "fd=3", "--", "sh", "--help", "--"),
			 0);
	ck_assert_str_eq(said, "");
	ck_assert_str_eq(o.root, "a,b");
	ck_assert(o.root_keep && !o.root_mounts);
	ck_assert_uint_eq(o.boot_timeout_ms, 2500);
	ck_assert_str_eq(o.events, "fd=3");
	ck_assert_int_eq(o.console, OPTIONS_CONSOLE_NONE);
	/* What follows is the command's own. */
	ck_assert_str_eq(o.command[0], "sh");
	ck_assert_str_eq(o.command[1], "--help");
	ck_assert_str_eq(o.command[2], "--");
	ck_assert_ptr_null(o.command[3]);

	ck_assert_int_eq(PARSE("--kernel", "k", "--initrd", "i", "--console", "file=f",
			       "--boot-timeout", "0", "--", "x"),
			 0);
	ck_assert_int_eq(o.console, OPTIONS_CONSOLE_FILE);
	ck_assert_uint_eq(o.boot_timeout_ms, 0);
	ck_assert_ptr_null(o.root);
	ck_assert_int_eq(PARSE("--kernel", "k", "--root", "d,mounts", "--", "x"), 0);
	ck_assert(o.root_mounts && o.root_packed && !o.root_keep);
	ck_assert_uint_eq(o.boot_timeout_ms, 10000);
}
END_TEST

static const char *variable(const char *name)
{
	size_t len = strlen(name);
	const char *value = NULL;

	for (unsigned int i = 0; o.env[i]; i++) {
		if (strncmp(o.env[i], name, len) == 0 && o.env[i][len] == '=') {
			ck_assert_ptr_null(value);
			value = o.env[i] + len + 1;
		}
	}
	return value;
}

START_TEST(test_environment)
{
	setenv("TERM", "vt52", 1);
	setenv("LC_TIME", "C", 1);
	setenv("SECRET", "s", 1);
	unsetenv("ABSENT");
	ck_assert_int_eq(PARSE("--kernel", "k", "--root", "d", "--env", "A=1", "--env", "A=2=3",
			       "--env", "HOME=", "--", "x"),
			 0);
	ck_assert_str_eq(variable("TERM"), "vt52");
	ck_assert_str_eq(variable("LC_TIME"), "C");
	ck_assert_str_eq(variable("A"), "2=3");
	ck_assert_str_eq(variable("HOME"), "");
	ck_assert_str_eq(variable("USER"), "root");
	ck_assert_ptr_null(variable("SECRET"));
	ck_assert_int_eq(PARSE("--kernel", "k", "--root", "d", "--env", "SECRET", "--env", "ABSENT",
			       "--", "x"),
			 0);
	ck_assert_str_eq(variable("SECRET"), "s");
	ck_assert_ptr_null(variable("ABSENT"));
	/* What a container image does not get, unless the user gives it. */
	ck_assert_int_eq(PARSE("--kernel", "k", "--root", "d", "--env", "LC_ALL=C", "--", "x"), 0);
	ck_assert_str_eq(variable("LC_TIME"), "C");
	options_drop_env(&o, "LC_");
	ck_assert_ptr_null(variable("LC_TIME"));
	ck_assert_str_eq(variable("LC_ALL"), "C");
	ck_assert_str_eq(variable("USER"), "root");
	ck_assert_str_eq(variable("TERM"), "vt52");
	/* Whoever starts nothing that gets them may have as many as he likes. */
	for (int i = 0; i < OPTIONS_MAX_ENV; i++) {
		char name[16];

		snprintf(name, sizeof(name), "LC_%d", i);
		setenv(name, "C", 1);
	}
	ck_assert_int_eq(PARSE("--kernel", "k"), 0);
	ck_assert_int_eq(PARSE("--help"), 0);
	REFUSED("at most 256 variables", "--kernel", "k", "--", "x");
	for (int i = 0; i < OPTIONS_MAX_ENV; i++) {
		char name[16];

		snprintf(name, sizeof(name), "LC_%d", i);
		unsetenv(name);
	}
	REFUSED("--env takes", "--kernel", "k", "--env", "=1");
	REFUSED("--env takes", "--kernel", "k", "--env", "");
}
END_TEST

START_TEST(test_bad_commands)
{
	REFUSED("which command?", "--kernel", "k", "--root", "d", "--");
	ck_assert_int_eq(PARSE("--kernel", "k", "--", "true"), 0);
	REFUSED("not both; what is mounted", "--kernel", "k", "--root", "d,mounts,shared", "--",
		"x");
	REFUSED("not both", "--kernel", "k", "--root", "d,shared,packed", "--", "x");
	REFUSED("--root goes with a command", "--kernel", "k", "--root", "d");
	REFUSED("--env goes with a command", "--kernel", "k", "--env", "A=b");
	REFUSED("--console stdio", "--kernel", "k", "--root", "d", "--console", "stdio", "--", "x");
	REFUSED("--root has no option 'ro'", "--kernel", "k", "--root", "d,ro", "--", "x");
	REFUSED("--root takes", "--kernel", "k", "--root", "", "--", "x");
	REFUSED("--events takes", "--kernel", "k", "--events", "");
	REFUSED("--boot-timeout takes", "--kernel", "k", "--boot-timeout", "x");
}
END_TEST

/* ---- limits ---- */

/* 32 disks and cards fit, in any mixture, and not one more of either. */
START_TEST(test_limit)
{
	const char *words[MAX_WORDS] = {"--kernel", "k"};
	unsigned int n = 2, n_disks = (unsigned int)_i * 16;
	char nets[VMM_MAX_DISKS_AND_NETS][16];

	for (unsigned int i = 0; i < VMM_MAX_DISKS_AND_NETS; i++) {
		snprintf(nets[i], sizeof(nets[i]), "tap=t%u", i);
		words[n++] = i < n_disks ? "--disk" : "--net";
		words[n++] = i < n_disks ? "d" : nets[i];
	}
	ck_assert_int_eq(parse_words(words), 0);
	ck_assert_uint_eq(o.config.n_disks, n_disks);
	ck_assert_uint_eq(o.config.n_nets, VMM_MAX_DISKS_AND_NETS - n_disks);
	words[n] = "--disk";
	words[n + 1] = "one-more";
	check_refused(words, "room for 32");
	words[n] = "--net";
	words[n + 1] = "tap=one-more";
	check_refused(words, "room for 32");
}
END_TEST

/* A hundred disks, cards, or both in turn are refused by one line, whatever else is wrong behind them. */
START_TEST(test_hundred)
{
	const char *words[MAX_WORDS] = {"--kernel",	  "k",	    "--vsock",
					"cid=3,socket=s", "--cpus", "2"};
	char values[100][32];
	unsigned int n = 6;

	for (unsigned int i = 0; i < 100; i++) {
		bool disk = _i == 0 || (_i == 2 && i % 2 == 0);

		snprintf(values[i], sizeof(values[i]), disk ? "d%u,readonly" : "tap=t%u", i);
		words[n++] = disk ? "--disk" : "--net";
		words[n++] = values[i];
	}
	check_refused(words, "a machine has room for 32 disks and network cards");
	words[n++] = "--no-such-option";
	check_refused(words, "a machine has room for 32 disks and network cards");
	ck_assert_uint_le(o.config.n_disks + o.config.n_nets, VMM_MAX_DISKS_AND_NETS);
}
END_TEST

/* However long a value is, why it is wrong is told, in one line. */
START_TEST(test_long_value)
{
	char text[3000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	REFUSED("--cpus takes", "--cpus", text);
	ck_assert_uint_gt(strlen(said), sizeof(text));
	ck_assert_str_eq(&said[strlen(said) - 3], "x'\n");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cli/options");
	TCase *tc = tcase_create("options");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, test_defaults);
	tcase_add_test(tc, test_everything);
	tcase_add_test(tc, test_equals);
	tcase_add_test(tc, test_help_and_version);
	tcase_add_test(tc, test_help_text);
	tcase_add_test(tc, test_unknown);
	tcase_add_test(tc, test_no_kernel);
	tcase_add_loop_test(tc, test_missing_value, 0, COUNT(valued));
	tcase_add_test(tc, test_value_like_an_option);
	tcase_add_loop_test(tc, test_repeated, 0, COUNT(once));
	tcase_add_test(tc, test_contradictory);
	tcase_add_test(tc, test_command);
	tcase_add_test(tc, test_environment);
	tcase_add_test(tc, test_bad_commands);
	tcase_add_loop_test(tc, test_limit, 0, 3);
	tcase_add_loop_test(tc, test_hundred, 0, 3);
	tcase_add_test(tc, test_long_value);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
