/* vmm/cli: every option, good and bad; what is wrong is one line on stderr. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/cli/options.h"
#include "vmm/cli/report.h"
#include "vmm/cli/value.h"

#define MAX_WORDS 256
#define MIB	  UINT64_C(0x100000)
#define GIB	  UINT64_C(0x40000000)

static struct options o;
static char said[4096]; /* on stderr, by the last parse() */

/* Runs fn with fd going into text. */
static void capture(int fd, char *text, size_t size, void (*fn)(void *arg), void *arg)
{
	int saved = dup(fd), file = memfd_create("captured", MFD_CLOEXEC);
	ssize_t n;

	ck_assert_int_ge(saved, 0);
	ck_assert_int_ge(file, 0);
	fflush(NULL);
	ck_assert_int_ge(dup2(file, fd), 0);
	fn(arg);
	fflush(NULL);
	ck_assert_int_ge(dup2(saved, fd), 0);
	n = pread(file, text, size - 1, 0);
	ck_assert_int_ge(n, 0);
	text[n] = '\0';
	close(saved);
	close(file);
}

static struct {
	int argc;
	char *argv[MAX_WORDS];
	int result;
} run;

static void run_parse(void *arg)
{
	(void)arg;
	run.result = options_parse(&o, run.argc, run.argv);
}

/* The words are copied, as the parser cuts them up. */
static int parse_words(const char *const *words)
{
	static char copies[16384];
	size_t used = 0;

	run.argc = 0;
	run.argv[run.argc++] = strcpy(copies, "vmm");
	used = sizeof("vmm");
	for (; *words; words++) {
		size_t len = strlen(*words) + 1;

		ck_assert_int_lt(run.argc, MAX_WORDS - 1);
		ck_assert_uint_le(used + len, sizeof(copies));
		run.argv[run.argc++] = memcpy(copies + used, *words, len);
		used += len;
	}
	run.argv[run.argc] = NULL;
	capture(STDERR_FILENO, said, sizeof(said), run_parse, NULL);
	return run.result;
}

#define PARSE(...) parse_words((const char *const[]){__VA_ARGS__, NULL})

/* Refused with one line that has these words in it. */
static void check_refused(const char *const *words, const char *part)
{
	const char *newline;

	ck_assert_int_eq(parse_words(words), -EINVAL);
	ck_assert_msg(strncmp(said, "vmm: ", 5) == 0, "'%s' says: %s", words[0], said);
	newline = strchr(said, '\n');
	ck_assert_msg(newline && newline[1] == '\0', "'%s' says: %s", words[0], said);
	ck_assert_msg(strstr(said, part), "'%s' not in: %s", part, said);
}

#define REFUSED(part, ...) check_refused((const char *const[]){__VA_ARGS__, NULL}, part)

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

/* The help names every option that works, none that does not, and fits a terminal. */
START_TEST(test_help_text)
{
	static const char *const names[] = {
		"--kernel",	"--initrd",  "--append",    "--cmdline", "--disk",    "--net",
		"--cpus",	"--memory",  "--transport", "--timeout", "--console", "--log-level",
		"--io-threads", "--rng",     "--balloon",   "--vsock",	 "--tables",  "--dump-dtb",
		"--help",	"--version", "Exit status", "Ctrl-A x"};
	char text[8192];

	capture(STDOUT_FILENO, text, sizeof(text), print_help, NULL);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		ck_assert_msg(strstr(text, names[i]), "%s is not in the help", names[i]);
	for (const char *line = text; *line; line = strchr(line, '\n') + 1)
		ck_assert_uint_le(strcspn(line, "\n"), 80);
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

START_TEST(test_no_kernel)
{
	REFUSED("--kernel", "--memory", "64M");
	ck_assert_int_eq(parse_words((const char *const[]){NULL}), -EINVAL);
	ck_assert_ptr_nonnull(strstr(said, "--kernel"));
}
END_TEST

static const char *const valued[] = {"--kernel",    "--initrd",	    "--cmdline", "--append",
				     "--disk",	    "--net",	    "--cpus",	 "--memory",
				     "--transport", "--timeout",    "--console", "--events",
				     "--log-level", "--io-threads", "--rng",	 "--balloon",
				     "--vsock",	    "--tables",	    "--dump-dtb"};

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
	{"--kernel", "a"},	{"--initrd", "a"},
	{"--cmdline", "a"},	{"--append", "a"},
	{"--cpus", "1"},	{"--memory", "64M"},
	{"--transport", "pci"}, {"--timeout", "1"},
	{"--console", "none"},	{"--log-level", "warn"},
	{"--io-threads", "2"},	{"--rng", "on"},
	{"--balloon", "off"},	{"--vsock", "cid=3,socket=s"},
	{"--tables", "dtb"},	{"--dump-dtb", "f"},
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

/* In the frozen command line, but not in this version. */
START_TEST(test_unsupported)
{
	REFUSED("not supported", "--kernel", "k", "--", "true");
	REFUSED("not supported", "--kernel", "k", "--");
	REFUSED("not supported", "--kernel", "k", "--events", "fd=3");
}
END_TEST

/* ---- numbers ---- */

START_TEST(test_cpus)
{
	static const char *const bad[] = {"0",
					  "255",
					  "10000",
					  "-1",
					  "+1",
					  "",
					  " 1",
					  "1 ",
					  "0x1",
					  "1.0",
					  "one",
					  "1,2",
					  "1K",
					  "18446744073709551617",
					  "99999999999999999999999"};

	ck_assert_int_eq(PARSE("--kernel", "k", "--cpus", "254"), 0);
	ck_assert_uint_eq(o.config.cpus, 254);
	ck_assert_int_eq(PARSE("--kernel", "k", "--cpus", "0008"), 0);
	ck_assert_uint_eq(o.config.cpus, 8);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		REFUSED("--cpus takes a number from 1 to 254", "--kernel", "k", "--cpus", bad[i]);
}
END_TEST

static const struct {
	const char *text;
	uint64_t bytes;
} sizes[] = {
	{"64", 64 * MIB},
	{"64M", 64 * MIB},
	{"64m", 64 * MIB},
	{"65536K", 64 * MIB},
	{"65536k", 64 * MIB},
	{"4G", 4 * GIB},
	{"4g", 4 * GIB},
	{"0064", 64 * MIB},
	{"2", 2 * MIB},
	{"2047K", 2047 * 1024},
	{"16T", 0},
	{"4096G", 4096 * GIB},
	{"17179869183G", 17179869183 * GIB},
	{"17592186044415", 17592186044415 * MIB},
	{"18014398509481983K", UINT64_C(18014398509481983) * 1024},
	{"17179869184G", 0}, /* 2^64 */
	{"17592186044416", 0},
	{"17592186044416M", 0},
	{"18014398509481984K", 0},
	{"18446744073709551615G", 0},
	{"18446744073709551616", 0},
	{"99999999999999999999999999", 0},
	{"", 0},
	{"M", 0},
	{"-64M", 0},
	{"+64M", 0},
	{" 64M", 0},
	{"64 M", 0},
	{"64MB", 0},
	{"64MM", 0},
	{"64B", 0},
	{"0x40M", 0},
	{"1.5G", 0},
	{"64M,", 0},
	{"lots", 0},
};

START_TEST(test_memory)
{
	uint64_t bytes = 0;

	if (sizes[_i].bytes == 0) {
		ck_assert_int_eq(value_size(sizes[_i].text, &bytes), -EINVAL);
		REFUSED("--memory takes a size", "--kernel", "k", "--memory", sizes[_i].text);
		return;
	}
	ck_assert_int_eq(value_size(sizes[_i].text, &bytes), 0);
	ck_assert_uint_eq(bytes, sizes[_i].bytes);
	if (bytes < VMM_MIN_MEMORY) {
		REFUSED("too small", "--kernel", "k", "--memory", sizes[_i].text);
		return;
	}
	ck_assert_int_eq(PARSE("--kernel", "k", "--memory", sizes[_i].text), 0);
	ck_assert_uint_eq(o.config.memory, sizes[_i].bytes);
}
END_TEST

START_TEST(test_memory_too_small)
{
	REFUSED("at least 2 MiB", "--kernel", "k", "--memory", "0");
	REFUSED("at least 2 MiB", "--kernel", "k", "--memory", "1");
	REFUSED("at least 2 MiB", "--kernel", "k", "--memory", "4K");
}
END_TEST

static const struct {
	const char *text;
	uint64_t ms; /* 0: refused */
} times[] = {
	{"1", 1000},	  {"1.5", 1500},     {"0.25", 250},
	{".5", 500},	  {"5.", 5000},	     {"0.001", 1},
	{"0.0000001", 1}, {"3600", 3600000}, {"31622400", 31622400000},
	{"31622401", 0},  {"0", 0},	     {"0.0", 0},
	{"", 0},	  {".", 0},	     {"-1", 0},
	{"+1", 0},	  {" 1", 0},	     {"1 ", 0},
	{"1s", 0},	  {"1e3", 0},	     {"inf", 0},
	{"nan", 0},	  {"0x10", 0},	     {"1.2.3", 0},
	{"1,5", 0},	  {"..", 0},	     {"99999999999999999999999999999999", 0},
};

START_TEST(test_timeout)
{
	if (times[_i].ms == 0) {
		REFUSED("--timeout takes", "--kernel", "k", "--timeout", times[_i].text);
		return;
	}
	ck_assert_int_eq(PARSE("--kernel", "k", "--timeout", times[_i].text), 0);
	ck_assert_uint_eq(o.timeout_ms, times[_i].ms);
}
END_TEST

/* ---- words ---- */

START_TEST(test_console)
{
	static const char *const bad[] = {
		"",	      "stdin",	  "STDIO",	  "file",	   "file=",	   "pty=1",
		"stdio,none", "files=x",  "virtio,",	  "virtio,virtio", "virtio,file=", "socket",
		"socket=",    "virtio=x", "stdio,virtio", "virtio,socket", "virtiostdio"};

	ck_assert_int_eq(PARSE("--kernel", "k", "--console", "stdio"), 0);
	ck_assert_int_eq(o.console, OPTIONS_CONSOLE_STDIO);
	ck_assert_int_eq(PARSE("--kernel", "k", "--console", "pty"), 0);
	ck_assert_int_eq(o.console, OPTIONS_CONSOLE_PTY);
	ck_assert_int_eq(PARSE("--kernel", "k", "--console", "file=a,b=c"), 0);
	ck_assert_int_eq(o.console, OPTIONS_CONSOLE_FILE);
	ck_assert_str_eq(o.console_path, "a,b=c");
	ck_assert(!o.config.console_virtio);
	ck_assert_int_eq(PARSE("--kernel", "k", "--console", "socket=/run/a,b"), 0);
	ck_assert_int_eq(o.console, OPTIONS_CONSOLE_SOCKET);
	ck_assert_str_eq(o.console_path, "/run/a,b");
	ck_assert_int_eq(PARSE("--kernel", "k", "--console", "virtio"), 0);
	ck_assert_int_eq(o.console, OPTIONS_CONSOLE_STDIO);
	ck_assert(o.config.console_virtio);
	ck_assert_int_eq(PARSE("--kernel", "k", "--console", "virtio,none"), 0);
	ck_assert_int_eq(o.console, OPTIONS_CONSOLE_NONE);
	ck_assert(o.config.console_virtio);
	ck_assert_int_eq(PARSE("--kernel", "k", "--console", "virtio,socket=virtio,s"), 0);
	ck_assert_int_eq(o.console, OPTIONS_CONSOLE_SOCKET);
	ck_assert_str_eq(o.console_path, "virtio,s");
	ck_assert(o.config.console_virtio);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		REFUSED("--console takes", "--kernel", "k", "--console", bad[i]);
}
END_TEST

START_TEST(test_log_level)
{
	static const char *const good[] = {"error", "warn", "info", "debug"};
	static const char *const bad[] = {"", "warning", "WARN", "0", "trace", "inf"};

	for (unsigned int i = 0; i < 4; i++) {
		ck_assert_int_eq(PARSE("--kernel", "k", "--log-level", good[i]), 0);
		ck_assert_uint_eq(o.log_level, i);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		REFUSED("--log-level takes", "--kernel", "k", "--log-level", bad[i]);
}
END_TEST

START_TEST(test_switches)
{
	static const char *const bad[] = {"", "yes", "no", "ON", "on,off", "1", "onn", "o"};

	ck_assert_int_eq(PARSE("--kernel", "k", "--rng", "off", "--balloon=off"), 0);
	ck_assert(!o.config.rng && !o.config.balloon);
	ck_assert_int_eq(PARSE("--kernel", "k", "--rng", "on", "--balloon", "on"), 0);
	ck_assert(o.config.rng && o.config.balloon);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		REFUSED("--rng takes on or off", "--kernel", "k", "--rng", bad[i]);
		REFUSED("--balloon takes on or off", "--kernel", "k", "--balloon", bad[i]);
	}
}
END_TEST

START_TEST(test_vsock)
{
	static const char *const bad[] = {"",
					  "cid=3",
					  "socket=s",
					  "cid=2,socket=s",
					  "cid=4294967295,socket=s",
					  "cid=x,socket=s",
					  "cid=3,cid=4,socket=s",
					  "cid=3,socket=s,socket=t",
					  "cid=3,socket=",
					  "cid=3,socket=s,",
					  "cid=3,path=s"};

	ck_assert_int_eq(PARSE("--kernel", "k"), 0);
	ck_assert_ptr_null(o.config.vsock);
	ck_assert_int_eq(PARSE("--kernel", "k", "--vsock", "socket=/a/b,,c,cid=4294967294"), 0);
	ck_assert_uint_eq(o.config.vsock->cid, UINT32_C(4294967294));
	ck_assert_str_eq(o.config.vsock->path, "/a/b,c");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		REFUSED("--vsock", "--kernel", "k", "--vsock", bad[i]);
}
END_TEST

START_TEST(test_io_threads)
{
	static const char *const bad[] = {"", "0", "33", "-1", "2x", "99999999999999999999"};

	ck_assert_int_eq(PARSE("--kernel", "k"), 0);
	ck_assert_uint_eq(o.config.io_threads, 0);
	ck_assert_int_eq(PARSE("--kernel", "k", "--io-threads", "32"), 0);
	ck_assert_uint_eq(o.config.io_threads, 32);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		REFUSED("--io-threads takes", "--kernel", "k", "--io-threads", bad[i]);
}
END_TEST

START_TEST(test_transport)
{
	ck_assert_int_eq(PARSE("--kernel", "k"), 0);
	ck_assert(!o.config.mmio_transport);
	ck_assert_int_eq(PARSE("--kernel", "k", "--transport", "pci"), 0);
	ck_assert(!o.config.mmio_transport);
	ck_assert_int_eq(PARSE("--kernel", "k", "--transport", "mmio"), 0);
	ck_assert(o.config.mmio_transport);
	REFUSED("--transport takes pci or mmio", "--kernel", "k", "--transport", "isa");
	REFUSED("--transport takes pci or mmio", "--kernel", "k", "--transport", "");
}
END_TEST

START_TEST(test_tables)
{
	ck_assert_int_eq(PARSE("--kernel", "k"), 0);
	ck_assert(!o.config.device_tree);
	ck_assert_ptr_null(o.dump_dtb);
	ck_assert_int_eq(PARSE("--kernel", "k", "--tables", "acpi"), 0);
	ck_assert(!o.config.device_tree);
	ck_assert_int_eq(PARSE("--kernel", "k", "--tables", "dtb", "--dump-dtb=a,b=c"), 0);
	ck_assert(o.config.device_tree);
	ck_assert_str_eq(o.dump_dtb, "a,b=c");
	REFUSED("--tables takes acpi or dtb", "--kernel", "k", "--tables", "acpi,dtb");
	REFUSED("--tables takes acpi or dtb", "--kernel", "k", "--tables", "");
	REFUSED("--dump-dtb needs the name of a file", "--kernel", "k", "--dump-dtb", "");
	REFUSED("which kernel", "--dump-dtb", "f");
}
END_TEST

/* ---- disks ---- */

/* Two commas are one in the name. */
static const struct {
	const char *text, *path, *serial;
	bool readonly;
} disks[] = {
	{"disk.img", "disk.img", NULL, false},
	{"disk.img,readonly", "disk.img", NULL, true},
	{"disk.img,format=raw", "disk.img", NULL, false},
	{"disk.img,serial=abc,readonly", "disk.img", "abc", true},
	{"disk.img,serial=12345678901234567890", "disk.img", "12345678901234567890", false},
	{"disk.img,serial=a,,b", "disk.img", "a,b", false},
	{"a,,b.img", "a,b.img", NULL, false},
	{"a,,b.img,readonly", "a,b.img", NULL, true},
	{",,", ",", NULL, false},
	{",,,,", ",,", NULL, false},
	{"a,,,readonly", "a,", NULL, true},
	{"a,,readonly", "a,readonly", NULL, false},
	{"file=x", "file=x", NULL, false},
	{"/dev/disk/by-id/x y", "/dev/disk/by-id/x y", NULL, false},
};

START_TEST(test_disk)
{
	ck_assert_int_eq(PARSE("--kernel", "k", "--disk", disks[_i].text), 0);
	ck_assert_uint_eq(o.config.n_disks, 1);
	ck_assert_str_eq(o.disks[0].path, disks[_i].path);
	ck_assert_pstr_eq(o.disks[0].serial, disks[_i].serial);
	ck_assert_int_eq(o.disks[0].readonly, disks[_i].readonly);
}
END_TEST

static const struct {
	const char *text;
	struct vmm_disk disk;
} images[] = {
	{"d", {.format = VMM_DISK_RAW}},
	{"d,overlay", {.overlay = true}},
	{"d,overlay=x,,y", {.overlay = true, .overlay_file = "x,y"}},
	{"d,format=qcow2,overlay", {.overlay = true, .format = VMM_DISK_QCOW2}},
	{"d,backing=b", {.backing = "b"}},
	{"d,backing-format=qcow2,backing=b", {.backing = "b", .backing_format = VMM_DISK_QCOW2}},
	{"d,backing-format=raw,overlay=o,backing=b",
	 {.overlay = true, .overlay_file = "o", .backing = "b"}},
};

START_TEST(test_disk_service)
{
	const struct vmm_disk *disk = &o.disks[0];

	ck_assert_int_eq(PARSE("--kernel", "k", "--disk", "d"), 0);
	ck_assert(!disk->direct && disk->queues == 0 && disk->iops == 0 && disk->bps == 0);
	ck_assert_int_eq(PARSE("--kernel", "k", "--disk",
			       "d,bps-burst=4,direct,queues=32,iops=1,iops-burst=2,bps=3"),
			 0);
	ck_assert(disk->direct);
	ck_assert_uint_eq(disk->queues, 32);
	ck_assert_uint_eq(disk->iops, 1);
	ck_assert_uint_eq(disk->iops_burst, 2);
	ck_assert_uint_eq(disk->bps, 3);
	ck_assert_uint_eq(disk->bps_burst, 4);
}
END_TEST

START_TEST(test_disk_image)
{
	const struct vmm_disk *want = &images[_i].disk, *disk = &o.disks[0];

	ck_assert_int_eq(PARSE("--kernel", "k", "--disk", images[_i].text), 0);
	ck_assert_str_eq(disk->path, "d");
	ck_assert(!disk->readonly);
	ck_assert_int_eq(disk->overlay, want->overlay);
	ck_assert_pstr_eq(disk->overlay_file, want->overlay_file);
	ck_assert_int_eq(disk->format, want->format);
	ck_assert_pstr_eq(disk->backing, want->backing);
	ck_assert_int_eq(disk->backing_format, want->backing_format);
}
END_TEST

static const struct {
	const char *text, *part;
} bad_disks[] = {
	{"", "needs the name of a file"},
	{",readonly", "needs the name of a file"},
	{"d,", "has no option ''"},
	{"d,readonly,", "has no option ''"},
	{"d,ro", "has no option 'ro'"},
	{"d,readonly=1", "has no option 'readonly=1'"},
	{"d,serial", "has no option 'serial'"},
	{"d,serial=", "1 to 20 bytes"},
	{"d,serial=123456789012345678901", "1 to 20 bytes"},
	{"d,serial=a,serial=b", "once"},
	{"d,direct,direct", "direct is given twice"},
	{"d,iops-burst=5", "goes with iops= alone"},
	{"d,bps-burst=5,iops=1", "goes with bps= alone"},
	{"d,format=", "raw or qcow2, not ''"},
	{"d,format=vmdk", "raw or qcow2, not 'vmdk'"},
	{"d,backing-format=vmdk", "raw or qcow2, not 'vmdk'"},
	{"d,overlay,overlay", "twice"},
	{"d,overlay=a,overlay", "twice"},
	{"d,overlay=", "name of a file"},
	{"d,queues=0", "from 1 to 32"},
	{"d,queues=33", "from 1 to 32"},
	{"d,queues=2,queues=2", "once"},
	{"d,iops=0", "iops= takes a number"},
	{"d,iops=5,iops=5", "once"},
	{"d,bps=", "bps= takes a number"},
	{"d,bps-burst=1099511627777", "bps-burst= takes a number"},
	{"d,iops-burst=x", "iops-burst= takes a number"},
	{"d,overlays", "has no option 'overlays'"},
	{"d,backing=", "name of a file"},
	{"d,backing=a,backing=b", "once"},
	{"d,backing", "has no option 'backing'"},
};

START_TEST(test_bad_disk)
{
	REFUSED(bad_disks[_i].part, "--kernel", "k", "--disk", bad_disks[_i].text);
}
END_TEST

/* ---- network cards ---- */

START_TEST(test_net)
{
	static const uint8_t mac[] = {0x52, 0x54, 0x00, 0xab, 0xCD, 0x0f};

	ck_assert_int_eq(PARSE("--kernel", "k", "--net", "tap=t0", "--net",
			       "mtu=9000,mac=52:54:00:ab:CD:0f,tap=t,,1", "--net", "tap-fd=17",
			       "--net", "tap-fd=3,mtu=68", "--net", "tap-fd=2147483647,mtu=65535"),
			 0);
	ck_assert_uint_eq(o.config.n_nets, 5);
	ck_assert_str_eq(o.nets[0].tap, "t0");
	ck_assert_int_eq(o.nets[0].tap_fd, -1);
	ck_assert_ptr_null(o.nets[0].mac);
	ck_assert_uint_eq(o.nets[0].mtu, 0);
	ck_assert_str_eq(o.nets[1].tap, "t,1");
	ck_assert_mem_eq(o.nets[1].mac, mac, 6);
	ck_assert_uint_eq(o.nets[1].mtu, 9000);
	ck_assert_ptr_null(o.nets[2].tap);
	ck_assert_int_eq(o.nets[2].tap_fd, 17);
	ck_assert_int_eq(o.nets[3].tap_fd, 3);
	ck_assert_uint_eq(o.nets[3].mtu, 68);
	ck_assert_int_eq(o.nets[4].tap_fd, 2147483647);
	ck_assert_uint_eq(o.nets[4].mtu, 65535);
}
END_TEST

START_TEST(test_net_vhost)
{
	ck_assert_int_eq(PARSE("--kernel", "k", "--net", "tap=a", "--net", "vhost=on,tap=b",
			       "--net", "tap-fd=3,vhost=off"),
			 0);
	ck_assert_int_eq(o.nets[0].vhost, VMM_VHOST_AUTO);
	ck_assert_int_eq(o.nets[1].vhost, VMM_VHOST_ON);
	ck_assert_int_eq(o.nets[2].vhost, VMM_VHOST_OFF);
}
END_TEST

START_TEST(test_net_user)
{
	ck_assert_int_eq(PARSE("--kernel", "k", "--net", "user", "--net",
			       "forward=tcp:2222:22,user,forward=udp:65535:1,mtu=1500", "--net",
			       "tap=a,queues=16"),
			 0);
	ck_assert(o.nets[0].user);
	ck_assert_uint_eq(o.nets[0].n_forwards, 0);
	ck_assert(o.nets[1].user);
	ck_assert_uint_eq(o.nets[1].n_forwards, 2);
	ck_assert(!o.nets[1].forwards[0].udp);
	ck_assert_uint_eq(o.nets[1].forwards[0].host, 2222);
	ck_assert_uint_eq(o.nets[1].forwards[0].guest, 22);
	ck_assert(o.nets[1].forwards[1].udp);
	ck_assert_uint_eq(o.nets[1].forwards[1].host, 65535);
	ck_assert_uint_eq(o.nets[1].forwards[1].guest, 1);
	ck_assert(!o.nets[2].user);
	ck_assert_uint_eq(o.nets[2].queues, 16);
}
END_TEST

START_TEST(test_net_limits)
{
	const struct vmm_net *net = &o.nets[0];

	ck_assert_int_eq(PARSE("--kernel", "k", "--net",
			       "rx-bps=1,rx-bps-burst=2,tap=a,rx-pps=3,rx-pps-burst=4,"
			       "tx-bps=5,tx-bps-burst=6,tx-pps=7,tx-pps-burst=1099511627776",
			       "--net", "user,tx-pps-burst=8,tx-pps=9", "--net", "user"),
			 0);
	ck_assert_uint_eq(net->rx.bps, 1);
	ck_assert_uint_eq(net->rx.bps_burst, 2);
	ck_assert_uint_eq(net->rx.pps, 3);
	ck_assert_uint_eq(net->rx.pps_burst, 4);
	ck_assert_uint_eq(net->tx.bps, 5);
	ck_assert_uint_eq(net->tx.bps_burst, 6);
	ck_assert_uint_eq(net->tx.pps, 7);
	ck_assert_uint_eq(net->tx.pps_burst, UINT64_C(1) << 40);
	ck_assert_uint_eq(net[1].tx.pps, 9);
	ck_assert_uint_eq(net[1].tx.pps_burst, 8);
	ck_assert_uint_eq(net[1].rx.bps | net[2].tx.pps | net[2].tx.bps, 0);
}
END_TEST

static const struct {
	const char *text, *part;
} bad_nets[] = {
	{"", "has no option ''"},
	{"t0", "has no option 't0'"},
	{"tap", "has no option 'tap'"},
	{"tap=t0,", "has no option ''"},
	{"tap=t0,vhost", "has no option 'vhost'"},
	{"tap=t0,vhost=", "takes on or off, once; not ''"},
	{"tap=t0,vhost=1", "takes on or off, once; not '1'"},
	{"tap=t0,vhost=off,vhost=on", "takes on or off, once; not 'on'"},
	{"user,vhost=on", "goes with tap= or tap-fd= alone"},
	{"vhost=off,user", "goes with tap= or tap-fd= alone"},
	{"tap=", "needs the name"},
	{"mtu=1500", "needs tap=NAME, tap-fd=N or user"},
	{"mac=52:54:00:12:34:56", "needs tap=NAME, tap-fd=N or user"},
	{"tap=a,tap=b", "one tap=, tap-fd= or user"},
	{"tap=a,tap-fd=3", "one tap=, tap-fd= or user"},
	{"tap-fd=3,tap=a", "one tap=, tap-fd= or user"},
	{"tap-fd=3,tap-fd=4", "one tap=, tap-fd= or user"},
	{"tap-fd=", "above 2"},
	{"tap-fd=0", "above 2"},
	{"tap-fd=2", "above 2"},
	{"tap-fd=-1", "above 2"},
	{"tap-fd=x", "above 2"},
	{"tap-fd=2147483648", "above 2"},
	{"tap-fd=4294967299", "above 2"},
	{"tap=a,mtu=67", "from 68 to 65535"},
	{"tap=a,mtu=65536", "from 68 to 65535"},
	{"tap=a,mtu=", "from 68 to 65535"},
	{"tap=a,mtu=1500,mtu=1500", "once"},
	{"tap=a,mac=52:54:00:12:34:56,mac=52:54:00:12:34:56", "once"},
	{"tap=a,mac=", "six pairs"},
	{"tap=a,user", "one tap="},
	{"user,tap=a", "one tap="},
	{"user,user", "one tap="},
	{"user,forward=tcp:1", "two ports, not 'tcp:1'"},
	{"user,forward=tcp:1:2:3", "two ports, not 'tcp:1:2:3'"},
	{"user,forward=tcp:0:2", "two ports, not 'tcp:0:2'"},
	{"user,forward=tcp:1:65536", "two ports, not 'tcp:1:65536'"},
	{"user,forward=sctp:1:2", "two ports, not 'sctp:1:2'"},
	{"user,forward=", "two ports, not ''"},
	{"tap=a,forward=tcp:1:2", "goes with user alone"},
	{"tap=a,queues=0", "from 1 to 16"},
	{"tap=a,queues=17", "from 1 to 16"},
	{"tap=a,queues=2,queues=2", "once"},
	{"user,queues=2", "goes with tap=NAME alone"},
	{"tap-fd=3,queues=2", "goes with tap=NAME alone"},
	{"tap=a,rx-bps=0", "rx-bps= takes a number from 1 to 2^40"},
	{"tap=a,tx-bps=", "tx-bps= takes a number from 1 to 2^40"},
	{"tap=a,rx-pps=1099511627777", "rx-pps= takes a number from 1 to 2^40"},
	{"tap=a,tx-pps=18446744073709551617", "tx-pps= takes a number from 1 to 2^40"},
	{"tap=a,tx-pps=10M", "not '10M'"},
	{"tap=a,tx-pps=-1", "not '-1'"},
	{"tap=a,rx-bps=5,rx-bps=5", "once"},
	{"tap=a,rx-bps=5,rx-bps-burst=0", "rx-bps-burst= takes a number"},
	{"tap=a,rx-bps-burst=5", "rx-bps-burst= goes with rx-bps= alone"},
	{"tap=a,tx-bps=1,tx-pps-burst=5", "tx-pps-burst= goes with tx-pps= alone"},
	{"tap=a,bps=5", "has no option 'bps=5'"},
};

START_TEST(test_bad_net)
{
	REFUSED(bad_nets[_i].part, "--kernel", "k", "--net", bad_nets[_i].text);
}
END_TEST

static const struct {
	const char *text;
	bool good;
} macs[] = {
	{"52:54:00:12:34:56", true},
	{"02:00:00:00:00:00", true},
	{"00:00:00:00:00:01", true},
	{"fe:ff:ff:ff:ff:ff", true},
	{"AA:bB:Cc:DD:ee:0F", true},
	{"", false},
	{"5", false},
	{"52", false},
	{"52:", false},
	{"52:54", false},
	{"52:54:00:12:34", false},
	{"52:54:00:12:34:", false},
	{"52:54:00:12:34:5", false},
	{"52:54:00:12:34:567", false},
	{"52:54:00:12:34:56:", false},
	{"52:54:00:12:34:56:78", false},
	{"52-54-00-12-34-56", false},
	{"525400123456", false},
	{"52:54:00:12:34:5g", false},
	{"52:54:0:12:34:56", false},
	{" 52:54:00:12:34:56", false},
	{"+2:54:00:12:34:56", false},
	{"0x:54:00:12:34:56", false},
	{"00:00:00:00:00:00", false},
	{"01:00:5e:00:00:01", false},
	{"ff:ff:ff:ff:ff:ff", false},
	{"53:54:00:12:34:56", false},
};

/* In a buffer that ends with the text, so that a sanitizer sees a step behind it. */
START_TEST(test_mac)
{
	char *text = strdup(macs[_i].text);
	uint8_t mac[6];

	ck_assert_int_eq(value_mac(text, mac), macs[_i].good ? 0 : -EINVAL);
	free(text);
}
END_TEST

/* One TAP cannot serve two cards, by name or by descriptor. */
START_TEST(test_same_tap)
{
	REFUSED("cannot share a TAP", "--kernel", "k", "--net", "tap-fd=7", "--net", "tap-fd=8",
		"--net", "tap-fd=7");
	REFUSED("cannot share a TAP", "--kernel", "k", "--net", "tap=a", "--net", "tap-fd=3",
		"--net", "tap=a,mtu=1500");
	ck_assert_int_eq(PARSE("--kernel", "k", "--net", "tap=a", "--net", "tap=aa", "--net",
			       "tap-fd=3", "--net", "tap-fd=4"),
			 0);
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

/* A value too long for a line is cut, and the line still ends. */
START_TEST(test_long_value)
{
	char text[3000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	REFUSED("--cpus takes", "--cpus", text);
	ck_assert_uint_lt(strlen(said), 1100);
}
END_TEST

/* ---- lists ---- */

START_TEST(test_items)
{
	char text[] = "a,,,,b", more[] = "a,,b,c", list[] = "a,", *rest = text;

	/* Pairs from the left: two commas, and two more. */
	ck_assert_str_eq(value_next_item(&rest), "a,,b");
	ck_assert_ptr_null(rest);
	rest = more;
	ck_assert_str_eq(value_next_item(&rest), "a,b");
	ck_assert_str_eq(value_next_item(&rest), "c");
	ck_assert_ptr_null(rest);
	rest = list;
	ck_assert_str_eq(value_next_item(&rest), "a");
	ck_assert_str_eq(value_next_item(&rest), "");
	ck_assert_ptr_null(rest);
}
END_TEST

START_TEST(test_value_of)
{
	char item[] = "mac=1=2", bare[] = "mac", longer[] = "macs=1", empty[] = "mac=";

	ck_assert_pstr_eq(value_of(item, "mac"), "1=2");
	ck_assert_ptr_null(value_of(bare, "mac"));
	ck_assert_ptr_null(value_of(longer, "mac"));
	ck_assert_ptr_null(value_of(item, "ma"));
	ck_assert_pstr_eq(value_of(empty, "mac"), "");
}
END_TEST

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

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
	tcase_add_test(tc, test_unsupported);
	tcase_add_test(tc, test_cpus);
	tcase_add_loop_test(tc, test_memory, 0, COUNT(sizes));
	tcase_add_test(tc, test_memory_too_small);
	tcase_add_loop_test(tc, test_timeout, 0, COUNT(times));
	tcase_add_test(tc, test_console);
	tcase_add_test(tc, test_log_level);
	tcase_add_test(tc, test_switches);
	tcase_add_test(tc, test_vsock);
	tcase_add_test(tc, test_io_threads);
	tcase_add_test(tc, test_transport);
	tcase_add_test(tc, test_tables);
	tcase_add_loop_test(tc, test_disk, 0, COUNT(disks));
	tcase_add_test(tc, test_disk_service);
	tcase_add_loop_test(tc, test_disk_image, 0, COUNT(images));
	tcase_add_loop_test(tc, test_bad_disk, 0, COUNT(bad_disks));
	tcase_add_test(tc, test_net);
	tcase_add_test(tc, test_net_vhost);
	tcase_add_test(tc, test_net_user);
	tcase_add_test(tc, test_net_limits);
	tcase_add_loop_test(tc, test_bad_net, 0, COUNT(bad_nets));
	tcase_add_loop_test(tc, test_mac, 0, COUNT(macs));
	tcase_add_test(tc, test_same_tap);
	tcase_add_loop_test(tc, test_limit, 0, 3);
	tcase_add_loop_test(tc, test_hundred, 0, 3);
	tcase_add_test(tc, test_long_value);
	tcase_add_test(tc, test_items);
	tcase_add_test(tc, test_value_of);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
