/* The TAP backend on interfaces of a network namespace of its own. */
#include "tests/unit/skip.h"
#include "tests/unit/tap_fixture.h"
#include "virtio/tap.h"

#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <linux/capability.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>

#define VNET (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)

static int open_name(struct tap *tap, const char *name, unsigned int mtu)
{
	struct tap_config config = {.name = name, .fd = -1, .mtu = mtu};

	return tap_open(tap, &config);
}

static int open_fd(struct tap *tap, int fd)
{
	struct tap_config config = {.fd = fd};

	return tap_open(tap, &config);
}

static void expect_refused(const char *name, int err, const char *line)
{
	struct tap tap;

	tap_log_lines = 0;
	ck_assert_int_eq(open_name(&tap, name, 0), err);
	ck_assert_uint_eq(tap_log_lines, 1);
	ck_assert_str_eq(tap_log, line);
	ck_assert_int_eq(tap.be.fd[0], -1);
	ck_assert_int_eq(tap.link.fd, -1);
}

START_TEST(test_open)
{
	struct tap tap;
	struct ifreq ifr = {0};
	int value = 0;

	tap_make("t0", IFF_TAP | IFF_NO_PI);
	ck_assert_int_eq(open_name(&tap, "t0", 0), 0);
	ck_assert_uint_eq(tap_log_lines, 0);
	ck_assert_str_eq(tap.name, "t0");
	ck_assert_uint_eq(tap.be.mtu, 1500);
	ck_assert(!tap.link.up);
	ck_assert_uint_eq(tap.be.offloads & ~(unsigned int)(TUN_F_USO4 | TUN_F_USO6),
			  TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN);
	ck_assert(!(tap.be.offloads & TUN_F_USO4) ==
		  !(tap.be.offloads & TUN_F_USO6)); /* Linux 6.2 */
	ck_assert_uint_eq(tap.be.offloads_on, 0);
	ck_assert_int_eq(ioctl(tap.be.fd[0], TUNGETIFF, &ifr), 0);
	ck_assert_int_eq(ifr.ifr_flags & (VNET | IFF_PERSIST), VNET | IFF_PERSIST);
	ck_assert_int_eq(ioctl(tap.be.fd[0], TUNGETVNETHDRSZ, &value), 0);
	ck_assert_int_eq(value, 12);
	ck_assert_int_eq(ioctl(tap.be.fd[0], TUNGETVNETLE, &value), 0);
	ck_assert_int_eq(value, 1);
	ck_assert(fcntl(tap.be.fd[0], F_GETFD) & FD_CLOEXEC);
	ck_assert(fcntl(tap.be.fd[0], F_GETFL) & O_NONBLOCK);
	tap_close(&tap);
	ck_assert_int_eq(tap.be.fd[0], -1);
	ck_assert_uint_ne(if_nametoindex("t0"), 0);

	/* and once more: what we left on the interface does not disturb */
	ck_assert_int_eq(open_name(&tap, "t0", 0), 0);
	tap_close(&tap);
}
END_TEST

START_TEST(test_missing)
{
	expect_refused("nosuch", -ENODEV,
		       "cannot attach to TAP 'nosuch': no such interface; make one with: ip tuntap "
		       "add dev nosuch mode tap user $USER && ip link set nosuch up");
	ck_assert_uint_eq(if_nametoindex("nosuch"), 0);
	expect_refused("no%d", -ENODEV,
		       "cannot attach to TAP 'no%d': no such interface; make one with: ip tuntap "
		       "add dev no%d mode tap user $USER && ip link set no%d up");
	ck_assert_uint_eq(if_nametoindex("no0"), 0);
}
END_TEST

START_TEST(test_bad_name)
{
	expect_refused("", -EINVAL,
		       "cannot attach to TAP '': an interface name has 1 to 15 characters");
	expect_refused("abcdefghijklmnop", -EINVAL,
		       "cannot attach to TAP 'abcdefghijklmnop': an interface name has 1 to 15 "
		       "characters");
	tap_make("abcdefghijklmno", VNET);
	struct tap tap;

	ck_assert_int_eq(open_name(&tap, "abcdefghijklmno", 0), 0);
	ck_assert_str_eq(tap.name, "abcdefghijklmno");
	tap_close(&tap);
}
END_TEST

START_TEST(test_not_a_tap)
{
	expect_refused("lo", -EINVAL, "cannot attach to TAP 'lo': it is not a TAP interface");
	tap_make("tun1", IFF_TUN | IFF_NO_PI);
	expect_refused("tun1", -EINVAL, "cannot attach to TAP 'tun1': it is not a TAP interface");
}
END_TEST

START_TEST(test_busy)
{
	static const char *const line =
		"cannot attach to TAP 'tb': it is in use, by another process or given twice";
	int flags = _i ? IFF_MULTI_QUEUE : 0;
	struct tap tap;
	int other;

	tap_make("tb", VNET | flags);
	ck_assert_int_eq(open_name(&tap, "tb", 0), 0);
	expect_refused("tb", -EBUSY, line);
	tap_close(&tap);
	other = tap_attach_raw("tb", VNET | flags);
	expect_refused("tb", -EBUSY, line);
	close(other);
	ck_assert_int_eq(open_name(&tap, "tb", 0), 0);
	tap_close(&tap);
	tap_remove("tb", VNET | flags);
}
END_TEST

static void drop_net_admin(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	ck_assert_int_eq((int)syscall(SYS_capget, &header, data), 0);
	data[0].effective = data[0].permitted &= ~(1u << CAP_NET_ADMIN);
	ck_assert_int_eq((int)syscall(SYS_capset, &header, data), 0);
}

/* Without rights over the interface, and without the rights to the device file. */
START_TEST(test_permission)
{
	int fd = tap_attach_raw("tp", VNET);
	struct tap tap;

	ck_assert_int_eq(ioctl(fd, TUNSETPERSIST, 1), 0);
	ck_assert_int_eq(ioctl(fd, TUNSETOWNER, _i ? 0 : 65534), 0);
	close(fd);
	drop_net_admin();
	if (_i) { /* the owner needs no rights */
		ck_assert_int_eq(open_name(&tap, "tp", 0), 0);
		tap_close(&tap);
		return;
	}
	expect_refused(
		"tp", -EPERM,
		"cannot attach to TAP 'tp': it belongs to another user; make it yours with: ip "
		"tuntap del dev tp mode tap && ip tuntap add dev tp mode tap user $USER");
}
END_TEST

START_TEST(test_device_file)
{
	tap_make("tp2", VNET);
	/* A directory that others cannot enter, whatever this host allows. */
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "/dev/net", "tmpfs", 0, "mode=0700") < 0 || seteuid(65534) < 0) {
		skip_note("a /dev/net/tun that we may not open: %s", strerror(errno));
		return;
	}
	expect_refused("tp2", -EACCES,
		       "cannot open /dev/net/tun: Permission denied; allow it with: chmod 0666 "
		       "/dev/net/tun");
	/* LeakSanitizer looks at the process from outside */
	ck_assert_int_eq(seteuid(0), 0);
	prctl(PR_SET_DUMPABLE, 1);
}
END_TEST

static void expect_fd_refused(int fd, const char *why)
{
	struct tap tap;
	char line[256];

	tap_log_lines = 0;
	snprintf(line, sizeof(line), "cannot attach to TAP 'fd %d': %s", fd, why);
	ck_assert_msg(open_fd(&tap, fd) < 0, "accepted, but %s", why);
	ck_assert_uint_eq(tap_log_lines, 1);
	ck_assert_str_eq(tap_log, line);
	ck_assert_int_eq(tap.be.fd[0], -1);
	if (fcntl(fd, F_GETFD) >= 0) /* it stays the caller's */
		close(fd);
}

START_TEST(test_fd)
{
	int fd = tap_attach_raw("tf", VNET);
	struct tap tap;

	tap_set_interface_mtu("tf", 4000);
	tap_set_up("tf", true);
	ck_assert_int_eq(open_fd(&tap, fd), 0);
	/* a duplicate, so that the caller's stays the caller's */
	ck_assert_int_ne(tap.be.fd[0], fd);
	ck_assert_str_eq(tap.name, "tf");
	ck_assert_uint_eq(tap.be.mtu, 4000);
	ck_assert(tap.link.up);
	ck_assert(fcntl(tap.be.fd[0], F_GETFD) & FD_CLOEXEC);
	ck_assert(fcntl(tap.be.fd[0], F_GETFL) & O_NONBLOCK);
	tap_close(&tap);
	ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
	close(fd);
}
END_TEST

START_TEST(test_fd_refused)
{
	expect_fd_refused(-1, "no such file descriptor is open");
	expect_fd_refused(987, "no such file descriptor is open");
	expect_fd_refused(open("/dev/null", O_RDWR), "it is not a TAP");
	expect_fd_refused(socket(AF_INET, SOCK_DGRAM, 0), "it is not a TAP");
	expect_fd_refused(open("/dev/net/tun", O_RDWR), "it is not attached to an interface");
	expect_fd_refused(tap_attach_raw("tu", IFF_TUN | IFF_NO_PI | IFF_VNET_HDR),
			  "it is a TUN, which carries no Ethernet frames");
	expect_fd_refused(tap_attach_raw("ti", IFF_TAP | IFF_VNET_HDR),
			  "it was not opened with IFF_NO_PI");
	expect_fd_refused(tap_attach_raw("tv", IFF_TAP | IFF_NO_PI),
			  "it was not opened with IFF_VNET_HDR");
}
END_TEST

/* A TAP of another namespace, where its name means another interface here, or none. */
START_TEST(test_fd_of_other_namespace)
{
	int fd = tap_attach_raw("to", VNET);
	struct tap tap;

	tap_set_interface_mtu("to", 4000);
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	if (_i)
		tap_make("to", VNET);
	ck_assert_int_eq(open_fd(&tap, fd), 0);
	ck_assert_str_eq(tap.name, "to");
	ck_assert_uint_eq(tap.be.mtu, 0);
	ck_assert(tap.link.up);
	ck_assert_int_eq(tap.link.fd, -1);
	tap_close(&tap);
}
END_TEST

START_TEST(test_mtu)
{
	struct tap tap;

	tap_make("tm", VNET);
	ck_assert_int_eq(open_name(&tap, "tm", 1400), 0);
	ck_assert_uint_eq(tap.be.mtu, 1400);
	ck_assert_uint_eq(tap_log_lines, 0);
	tap_close(&tap);

	ck_assert_int_eq(open_name(&tap, "tm", 9000), 0);
	ck_assert_uint_eq(tap.be.mtu, 9000);
	ck_assert_str_eq(tap_log, "MTU 9000 for the guest is more than that of TAP 'tm', 1500; "
				  "raise it with: ip link set tm mtu 9000");
	tap_close(&tap);

	ck_assert_int_eq(open_name(&tap, "tm", 67), -EINVAL);
	ck_assert_str_eq(tap_log, "cannot use MTU 67 for TAP 'tm': it must be from 68 to 65535");
	ck_assert_int_eq(open_name(&tap, "tm", 65536), -EINVAL);
	ck_assert_int_eq(tap.be.fd[0], -1);
	ck_assert_int_eq(tap.link.fd, -1);
	tap_set_interface_mtu("tm", 65521);
	ck_assert_int_eq(open_name(&tap, "tm", 0), 0);
	ck_assert_uint_eq(tap.be.mtu, 65521);
	tap_close(&tap);
}
END_TEST

START_TEST(test_offloads)
{
	struct tap tap;

	tap_make("tx", VNET);
	ck_assert_int_eq(open_name(&tap, "tx", 0), 0);
	ck_assert_int_eq(net_backend_set_offloads(&tap.be, TUN_F_CSUM | TUN_F_TSO4), 0);
	ck_assert_uint_eq(tap.be.offloads_on, TUN_F_CSUM | TUN_F_TSO4);
	ck_assert_int_eq(net_backend_set_offloads(&tap.be, TUN_F_CSUM | TUN_F_TSO_ECN), 0);
	ck_assert_uint_eq(tap.be.offloads_on, TUN_F_CSUM);
	ck_assert_int_eq(net_backend_set_offloads(&tap.be, TUN_F_TSO4 | TUN_F_TSO6), 0);
	ck_assert_uint_eq(tap.be.offloads_on, 0);
	ck_assert_int_eq(net_backend_set_offloads(&tap.be, ~0u), 0);
	ck_assert_uint_eq(tap.be.offloads_on, tap.be.offloads);
	tap_close(&tap);
	ck_assert_int_eq(net_backend_set_offloads(&tap.be, 0), -EBADF);
	ck_assert_uint_eq(tap.be.offloads_on, tap.be.offloads);
}
END_TEST

/* As many queues as asked for, all but the first detached; one that has a single queue gives one. */
START_TEST(test_queues)
{
	struct tap_config config = {.name = "mq0", .queues = 3};
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
	struct ifreq ifr = {.ifr_data = (void *)&channels};
	struct tap tap;

	tap_make("mq0", VNET | IFF_MULTI_QUEUE);
	ck_assert_int_eq(tap_open(&tap, &config), 0);
	ck_assert_uint_eq(tap.be.n_queues, 3);
	tap_ifreq(SIOCETHTOOL, &ifr, "mq0");
	ck_assert_uint_eq(channels.combined_count, 1);
	ck_assert_int_eq(tap.be.ops->set_queues(&tap.be, 3), 0);
	channels.cmd = ETHTOOL_GCHANNELS;
	tap_ifreq(SIOCETHTOOL, &ifr, "mq0");
	ck_assert_uint_eq(channels.combined_count, 3);
	ck_assert_int_eq(tap.be.ops->set_queues(&tap.be, 3), 0);
	ck_assert_int_eq(tap.be.ops->set_queues(&tap.be, 2), 0);
	channels.cmd = ETHTOOL_GCHANNELS;
	tap_ifreq(SIOCETHTOOL, &ifr, "mq0");
	ck_assert_uint_eq(channels.combined_count, 2);
	tap_close(&tap);
	for (unsigned int i = 0; i < NET_MAX_PAIRS; i++)
		ck_assert_int_eq(tap.be.fd[i], -1);

	config = (struct tap_config){.name = "mq0", .max_queues = 40};
	ck_assert_int_eq(tap_open(&tap, &config), 0);
	ck_assert_uint_eq(tap.be.n_queues, NET_MAX_PAIRS);
	tap_close(&tap);

	tap_make("sq0", VNET);
	config = (struct tap_config){.name = "sq0", .max_queues = 4};
	ck_assert_int_eq(tap_open(&tap, &config), 0);
	ck_assert_uint_eq(tap.be.n_queues, 1);
	tap_close(&tap);
	config.queues = 2;
	ck_assert_int_eq(tap_open(&tap, &config), -EINVAL);
	ck_assert_str_eq(
		tap_log,
		"TAP 'sq0' has room for 1 of 2 queues; make it anew with: ip tuntap add dev sq0 "
		"mode tap multi_queue");
}
END_TEST

/* The kernel sorts out what the guest does not want. */
START_TEST(test_filter)
{
	static const uint8_t addr[3][ETH_ALEN] = {
		{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}, {1, 0, 0x5e, 0, 0, 9}};
	struct net_filter filter = {.n = 1, .addr = {{2, 0, 0, 0, 0, 1}}};
	uint8_t frame[60] = {0}, got[128];
	struct iovec iov = {got, sizeof(got)};
	struct tap tap;
	int wire;

	tap_make("flt0", VNET);
	ck_assert_int_eq(open_name(&tap, "flt0", 0), 0);
	tap_set_up("flt0", true);
	wire = tap_wire_open("flt0");
	for (unsigned int round = 0; round < 3; round++) {
		filter.allmulti = round == 1;
		filter.all = round == 2;
		ck_assert_int_eq(tap.be.ops->set_filter(&tap.be, &filter), 0);
		for (unsigned int i = 0; i < 3; i++) {
			memcpy(frame, addr[i], ETH_ALEN);
			ck_assert_int_eq(send(wire, frame, sizeof(frame), 0), sizeof(frame));
		}
		for (unsigned int i = 0; i < 3; i++) {
			if ((i == 1 && round < 2) || (i == 2 && round < 1))
				continue;
			ck_assert_int_eq(tap.be.ops->read(&tap.be, 0, &iov, 1), 72);
			ck_assert_mem_eq(got + 12, addr[i], ETH_ALEN);
		}
		ck_assert_int_eq(tap.be.ops->read(&tap.be, 0, &iov, 1), 0);
	}
	close(wire);
	tap_close(&tap);
}
END_TEST

START_TEST(test_link)
{
	struct tap tap;

	tap_make("tl", VNET);
	tap_make("tl2", VNET);
	ck_assert_int_eq(open_name(&tap, "tl", 0), 0);
	ck_assert(!tap.link.up);
	ck_assert(!tap_link_read(&tap.link));
	tap_set_up("tl", true);
	ck_assert(tap_link_read(&tap.link));
	ck_assert(tap.link.up);
	ck_assert(!tap_link_read(&tap.link));

	/* others are none of our business */
	tap_set_up("tl2", true);
	tap_set_up("lo", true);
	ck_assert(!tap_link_read(&tap.link));

	tap_set_up("tl", false);
	ck_assert(tap_link_read(&tap.link));
	ck_assert(!tap.link.up);
	tap_set_up("tl", true);
	tap_set_up("tl", false);
	ck_assert(!tap_link_read(&tap.link));
	tap_close(&tap);
}
END_TEST

/* More messages than the socket holds: the state is right nevertheless. */
START_TEST(test_link_flood)
{
	struct tap tap;
	int small = 1;

	tap_make("tq", VNET);
	ck_assert_int_eq(open_name(&tap, "tq", 0), 0);
	setsockopt(tap.link.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	for (int i = 0; i < 50; i++)
		tap_set_up("tq", i % 2 == 0);
	tap_set_up("tq", true);
	while (tap_link_read(&tap.link))
		;
	ck_assert(tap.link.up);
	tap_close(&tap);
}
END_TEST

START_TEST(test_link_removed)
{
	int fd = tap_attach_raw("tr", VNET), mine = dup(fd);
	struct tap tap;
	char byte;

	tap_set_up("tr", true);
	ck_assert_int_eq(open_fd(&tap, mine), 0);
	ck_assert(tap.link.up);
	close(fd);
	tap_delete("tr");
	ck_assert(tap_link_read(&tap.link));
	ck_assert(!tap.link.up);
	ck_assert_int_eq(read(tap.be.fd[0], &byte, 1), -1);
	ck_assert_int_eq(errno, EBADFD);
	tap_close(&tap);
}
END_TEST

START_TEST(test_discard)
{
	static const uint8_t frame[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, [12] = 0x88, 0xb5};
	struct tap tap;
	char byte[64];
	int wire;

	tap_make("td", VNET);
	ck_assert_int_eq(open_name(&tap, "td", 0), 0);
	tap_set_up("td", true);
	wire = tap_wire_open("td");
	for (int i = 0; i < 300; i++)
		ck_assert_int_eq(send(wire, frame, sizeof(frame), 0), sizeof(frame));
	close(wire);
	ck_assert_int_gt(read(tap.be.fd[0], byte, sizeof(byte)), 0);
	tap.be.ops->discard(&tap.be);
	ck_assert_int_eq(read(tap.be.fd[0], byte, sizeof(byte)), -1);
	ck_assert_int_eq(errno, EAGAIN);
	tap_close(&tap);
}
END_TEST

int main(void)
{
	SRunner *runner;
	Suite *suite;
	TCase *tc;
	int failed = tap_enter();

	if (failed)
		return failed;
	suite = suite_create("virtio_tap");
	tc = tcase_create("tap");
	runner = srunner_create(suite);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_open);
	tcase_add_test(tc, test_missing);
	tcase_add_test(tc, test_bad_name);
	tcase_add_test(tc, test_not_a_tap);
	tcase_add_loop_test(tc, test_busy, 0, 2);
	tcase_add_loop_test(tc, test_permission, 0, 2);
	tcase_add_test(tc, test_device_file);
	tcase_add_test(tc, test_fd);
	tcase_add_test(tc, test_fd_refused);
	tcase_add_loop_test(tc, test_fd_of_other_namespace, 0, 2);
	tcase_add_test(tc, test_mtu);
	tcase_add_test(tc, test_offloads);
	tcase_add_test(tc, test_queues);
	tcase_add_test(tc, test_filter);
	tcase_add_test(tc, test_link);
	tcase_add_test(tc, test_link_flood);
	tcase_add_test(tc, test_link_removed);
	tcase_add_test(tc, test_discard);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return skip_status(failed);
}
