/* vmm/cli: what each option takes, but for disks and network cards; what is wrong is one line on stderr. */
#include "tests/unit/options_fixture.h"

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
					  "18446744073709551620", /* 2^64 + 4 */
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
	{"16T", 16384 * GIB},
	{"16777215t", 16777215 * GIB * 1024},
	{"16777216T", 0}, /* 2^64 */
	{"16P", 0},
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

START_TEST(test_memory_items)
{
	static const struct {
		const char *text;
		enum vmm_hugepages hugepages;
		bool prefault, shared;
	} good[] = {
		{"1G", VMM_HUGEPAGES_THP, false, false},
		{"1G,hugepages=thp", VMM_HUGEPAGES_THP, false, false},
		{"1G,hugepages=off", VMM_HUGEPAGES_OFF, false, false},
		{"1G,hugepages=2M", VMM_HUGEPAGES_2M, false, false},
		{"1G,hugepages=1G", VMM_HUGEPAGES_1G, false, false},
		{"1G,prefault", VMM_HUGEPAGES_THP, true, false},
		{"1G,shared", VMM_HUGEPAGES_THP, false, true},
		{"1G,shared,hugepages=2M,prefault", VMM_HUGEPAGES_2M, true, true},
		{"1G,prefault,hugepages=off", VMM_HUGEPAGES_OFF, true, false},
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ck_assert_int_eq(PARSE("--kernel", "k", "--memory", good[i].text), 0);
		ck_assert_uint_eq(o.config.memory, GIB);
		ck_assert_int_eq(o.config.hugepages, good[i].hugepages);
		ck_assert_int_eq(o.config.prefault, good[i].prefault);
		ck_assert_int_eq(o.config.shared_memory, good[i].shared);
	}
}
END_TEST

START_TEST(test_memory_bad_items)
{
	static const struct {
		const char *text, *part;
	} bad[] = {
		{"64M,", "--memory has no option ''"},
		{"64M,,prefault", "--memory takes a size"},
		{",prefault", "--memory takes a size"},
		{"prefault", "--memory takes a size"},
		{"1M,prefault", "too small"},
		{"64M,prefault,", "--memory has no option ''"},
		{"64M,hugepages", "--memory has no option 'hugepages'"},
		{"64M,prefault=on", "--memory has no option 'prefault=on'"},
		{"64M,Shared", "--memory has no option 'Shared'"},
		{"64M,hugepages=", "hugepages= takes thp, off, 2M or 1G, not ''"},
		{"64M,hugepages=2m", "hugepages= takes thp, off, 2M or 1G, not '2m'"},
		{"64M,hugepages=on", "hugepages= takes thp, off, 2M or 1G, not 'on'"},
		{"64M,hugepages=2048K", "hugepages= takes thp, off, 2M or 1G"},
		{"64M,hugepages=thp,hugepages=thp", "hugepages is given twice"},
		{"64M,prefault,prefault", "prefault is given twice"},
		{"64M,shared,prefault,shared", "shared is given twice"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		REFUSED(bad[i].part, "--kernel", "k", "--memory", bad[i].text);
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
	ck_assert_int_eq(PARSE("--kernel", "k", "--unpack", "off", "--kernel-cache=off"), 0);
	ck_assert(!o.config.unpack && !o.kernel_cache);
	ck_assert_int_eq(PARSE("--kernel", "k", "--kaslr", "off"), 0);
	ck_assert(!o.config.kaslr);
	ck_assert_int_eq(PARSE("--kernel", "k", "--kaslr=on"), 0);
	ck_assert(o.config.kaslr);
	REFUSED("--kernel-cache takes on or off", "--kernel", "k", "--kernel-cache", "yes");
	REFUSED("--unpack takes on or off", "--kernel", "k", "--unpack=");
	ck_assert_int_eq(PARSE("--kernel", "k", "--rng", "on", "--balloon", "on"), 0);
	ck_assert(o.config.rng && o.config.balloon);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		REFUSED("--kaslr takes on or off", "--kernel", "k", "--kaslr", bad[i]);
		REFUSED("--rng takes on or off", "--kernel", "k", "--rng", bad[i]);
		REFUSED("--balloon takes on or off", "--kernel", "k", "--balloon", bad[i]);
	}
}
END_TEST

START_TEST(test_gdb)
{
	ck_assert_int_eq(PARSE("--kernel", "k"), 0);
	ck_assert_ptr_null(o.config.gdb);
	ck_assert_int_eq(PARSE("--kernel", "k", "--gdb", "1234"), 0);
	ck_assert_str_eq(o.config.gdb, "1234");
	ck_assert(!o.config.gdb_wait);
	/* Addresses are those of the symbols, and time is the debugger's, unless told otherwise. */
	ck_assert(!o.config.kaslr);
	ck_assert_uint_eq(o.boot_timeout_ms, 0);
	ck_assert_int_eq(PARSE("--kernel", "k", "--gdb=a,,b,wait", "--kaslr", "on",
			       "--boot-timeout", "7", "--root", "r", "--", "x"),
			 0);
	ck_assert_str_eq(o.config.gdb, "a,b");
	ck_assert(o.config.gdb_wait);
	ck_assert(o.config.kaslr);
	ck_assert_uint_eq(o.boot_timeout_ms, 7000);
	REFUSED("--gdb takes a port or", "--kernel", "k", "--gdb", "");
	REFUSED("--gdb takes a port or", "--kernel", "k", "--gdb", ",wait");
	REFUSED("--gdb has no option 'now'; there is wait", "--kernel", "k", "--gdb", "1,now");
	REFUSED("--gdb has no option ''", "--kernel", "k", "--gdb", "1,");
	REFUSED("--gdb takes a port or the path of a unix socket to make, not 'wait'", "--kernel",
		"k", "--gdb", "wait");
	REFUSED("--gdb takes a port or the path of a unix socket to make, not '-1'", "--kernel",
		"k", "--gdb", "-1");
	REFUSED("--gdb takes a port of 127.0.0.1 without the address: 1234, not '127.0.0.1:1234'",
		"--kernel", "k", "--gdb", "127.0.0.1:1234");
	REFUSED("--gdb takes a port of 127.0.0.1 without the address: 1234, not ':1234'",
		"--kernel", "k", "--gdb", ":1234");
	REFUSED("--gdb: wait is given twice", "--kernel", "k", "--gdb", "1,wait,wait");
	for (size_t i = 0; i < 4; i++) {
		static const char *const twice[] = {"d,rw,rw", "d,shared,shared", "d,packed,packed",
						    "d,mounts,mounts"};

		REFUSED("is given twice", "--root", twice[i], "--", "x");
	}
	ck_assert_int_eq(PARSE("--root", "d,packed,mounts", "--", "x"), 0);
	ck_assert(o.root_packed && o.root_mounts);
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
	ck_assert_ptr_null(o.dump_guest);
	ck_assert_int_eq(o.config.dump_fd, -1);
	ck_assert_int_eq(PARSE("--kernel", "k", "--dump-guest", "a,b=c"), 0);
	ck_assert_str_eq(o.dump_guest, "a,b=c");
	REFUSED("--dump-guest needs the name of a file", "--kernel", "k", "--dump-guest", "");
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

START_TEST(test_cache_dir)
{
	char path[32];

	ck_assert_str_eq(cache_dir_find("/x", "/home/a", path, sizeof(path)), "/x/vmm");
	ck_assert_str_eq(cache_dir_find(NULL, "/home/a", path, sizeof(path)), "/home/a/.cache/vmm");
	/* what is no absolute path does not count */
	ck_assert_str_eq(cache_dir_find("x", "/h", path, sizeof(path)), "/h/.cache/vmm");
	ck_assert_str_eq(cache_dir_find("", "/h", path, sizeof(path)), "/h/.cache/vmm");
	ck_assert_ptr_null(cache_dir_find(NULL, NULL, path, sizeof(path)));
	ck_assert_ptr_null(cache_dir_find("", "", path, sizeof(path)));
	ck_assert_ptr_null(cache_dir_find(NULL, "home", path, sizeof(path)));
	ck_assert_ptr_null(
		cache_dir_find(NULL, "/a/name/that/is/far/too/long", path, sizeof(path)));
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

int main(void)
{
	Suite *s = suite_create("cli/options, values");
	TCase *tc = tcase_create("options");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, test_cpus);
	tcase_add_loop_test(tc, test_memory, 0, COUNT(sizes));
	tcase_add_test(tc, test_memory_items);
	tcase_add_test(tc, test_memory_bad_items);
	tcase_add_test(tc, test_memory_too_small);
	tcase_add_loop_test(tc, test_timeout, 0, COUNT(times));
	tcase_add_test(tc, test_console);
	tcase_add_test(tc, test_log_level);
	tcase_add_test(tc, test_switches);
	tcase_add_test(tc, test_vsock);
	tcase_add_test(tc, test_io_threads);
	tcase_add_test(tc, test_transport);
	tcase_add_test(tc, test_tables);
	tcase_add_test(tc, test_gdb);
	tcase_add_test(tc, test_items);
	tcase_add_test(tc, test_cache_dir);
	tcase_add_test(tc, test_value_of);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
