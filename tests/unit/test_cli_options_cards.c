/* vmm/cli: disks and network cards, item by item; what is wrong is one line on stderr. */
#include "tests/unit/options_fixture.h"

/* ---- disks ---- */

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
	{"d,backing-format=raw", "goes with backing= alone"},
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
	{"user,forward=tcp:65536:1", "two ports, not 'tcp:65536:1'"},
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

START_TEST(test_share)
{
	ck_assert_int_eq(PARSE("--kernel", "k", "--share", "a:b:/c d/e/:ro", "--share",
			       "x:/y,cache=always", "--share", ".:/..z/.w:rw,cache=never"),
			 0);
	ck_assert_uint_eq(o.config.n_shares, 3);
	ck_assert_str_eq(o.config.shares[0].path, "a:b");
	ck_assert_str_eq(o.config.shares[0].tag, "c d/e");
	ck_assert_str_eq(o.share_places[0], "/c d/e");
	ck_assert(!o.config.shares[0].writable && o.config.shares[1].writable);
	ck_assert_int_eq(o.config.shares[0].cache, VMM_SHARE_CACHE_AUTO);
	ck_assert_int_eq(o.config.shares[1].cache, VMM_SHARE_CACHE_ALWAYS);
	ck_assert_int_eq(o.config.shares[2].cache, VMM_SHARE_CACHE_NEVER);
	ck_assert_str_eq(o.share_places[2], "/..z/.w");
	ck_assert(o.config.shares[2].writable);
	/* For a command the tags mean nothing. */
	ck_assert_int_eq(
		PARSE("--share", "a:/a/place/that/has/a/name/too/long/for/a/tag", "--", "x"), 0);
	ck_assert_str_eq(o.config.shares[0].tag, "share0");
	/* They are mounted one after the other, and none hides another. */
	ck_assert_int_eq(PARSE("--share", "c:/x/y/z", "--share", "b:/x/y:ro", "--share", "d:/x-y",
			       "--share", "a:/x", "--", "x"),
			 0);
	for (unsigned int i = 0; i < 4; i++) {
		ck_assert_str_eq(o.share_places[i],
				 ((const char *[]){"/x", "/x-y", "/x/y", "/x/y/z"})[i]);
		ck_assert_str_eq(o.config.shares[i].path,
				 ((const char *[]){"a", "d", "b", "c"})[i]);
		ck_assert_int_eq(o.config.shares[i].writable, i != 2);
	}
	ck_assert_str_eq(o.config.shares[3].tag, "share3");
	REFUSED("takes DIRECTORY:PATH", "--share", "");
	REFUSED("'.' or '..'", "--share", "a:/b/.");
	REFUSED("has a colon", "--share", "a:/b:z");
	REFUSED("has a colon", "--share", "a:/b:ro:ro");
	REFUSED("has no option 'z'", "--share", "a:/b:ro,z");
	REFUSED("is the guest's own", "--share", "a:/dev", "--", "x");
	REFUSED("is the guest's own", "--share", "a:/proc/:ro", "--", "x");
	ck_assert_int_eq(PARSE("--share", "a:/dev"), 0); /* a tag */
	ck_assert_int_eq(PARSE("--share", "a:/b:rw"), 0);
	ck_assert_str_eq(o.share_places[0], "/b");
	ck_assert(o.config.shares[0].writable);
	REFUSED("'.' or '..'", "--share", "a:/..");
	REFUSED("at most 8", "--share", "a:/1", "--share", "a:/2", "--share", "a:/3", "--share",
		"a:/4", "--share", "a:/5", "--share", "a:/6", "--share", "a:/7", "--share", "a:/8",
		"--share", "a:/9");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cli/options, cards");
	TCase *tc = tcase_create("options");
	SRunner *runner;
	int failed;

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
	tcase_add_test(tc, test_share);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
