/* The TAP backend: attaching to interfaces of a network namespace of its own, and what is refused. */
#include "tests/unit/tap_open_fixture.h"

#include <stdarg.h>
#include <sys/wait.h>

static bool offloads_stay; /* those of the interface, once they are on */

/* In place of the one of libc. */
int ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	unsigned long arg;

	va_start(args, request);
	arg = va_arg(args, unsigned long);
	va_end(args);
	if (request != TUNSETOFFLOAD || arg != 0 || !offloads_stay)
		return (int)syscall(SYS_ioctl, fd, request, arg);
	errno = EIO;
	return -1;
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
	/* What vhost needs to drop a bad frame. */
	ck_assert_int_eq(ioctl(tap.be.fd[0], TUNGETSNDBUF, &value), 0);
	ck_assert_int_eq(value, INT32_MAX - 1);
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

START_TEST(test_offloads_stay)
{
	tap_make("ts", IFF_TAP | IFF_NO_PI);
	offloads_stay = true;
	expect_refused("ts", -EIO, "cannot attach to TAP 'ts': Input/output error");
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

/* A child holds what the process had open until it executes a program. */
START_TEST(test_busy_for_a_moment)
{
	int flags = _i ? IFF_MULTI_QUEUE : 0;
	unsigned int lines = tap_log_lines;
	struct tap tap;
	pid_t child;

	tap_make("tm", VNET | flags);
	ck_assert_int_eq(open_name(&tap, "tm", 0), 0);
	child = fork();
	if (child == 0) {
		usleep(5000);
		_exit(0);
	}
	tap_close(&tap);
	ck_assert_int_eq(open_name(&tap, "tm", 0), 0);
	ck_assert_uint_eq(tap_log_lines, lines);
	tap_close(&tap);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	tap_remove("tm", VNET | flags);
}
END_TEST

/* It is not made anew when its holder, who made it for himself, lets it go meanwhile. */
START_TEST(test_busy_and_gone)
{
	int other = tap_attach_raw("tg", VNET);
	pid_t child = fork();

	if (child == 0) {
		usleep(30000);
		_exit(0);
	}
	close(other);
	expect_refused("tg", -ENODEV,
		       "cannot attach to TAP 'tg': no such interface; make one with: ip tuntap add "
		       "dev tg mode tap user $USER && ip link set tg up");
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
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
	tcase_add_test(tc, test_offloads_stay);
	tcase_add_test(tc, test_bad_name);
	tcase_add_test(tc, test_not_a_tap);
	tcase_add_loop_test(tc, test_busy, 0, 2);
	tcase_add_loop_test(tc, test_busy_for_a_moment, 0, 2);
	tcase_add_test(tc, test_busy_and_gone);
	tcase_add_loop_test(tc, test_permission, 0, 2);
	tcase_add_test(tc, test_device_file);
	tcase_add_test(tc, test_fd);
	tcase_add_test(tc, test_fd_refused);
	tcase_add_loop_test(tc, test_fd_of_other_namespace, 0, 2);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return skip_status(failed);
}
