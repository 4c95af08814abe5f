/* devices/hostfd: what a descriptor is, and that no transfer waits. */
#include "tests/unit/console_fixture.h"

START_TEST(test_descriptor_kinds)
{
	struct hostfd host;
	int fds[2], master, slave;

	ck_assert_int_eq(hostfd_open(&host, 999, O_RDONLY), -EBADF);
	/* Neither file, pipe, socket nor terminal: polled, and written in pieces that a pipe would take. */
	ck_assert_int_eq(hostfd_open(&host, open("/dev/null", O_RDWR), O_WRONLY), 0);
	ck_assert_int_eq(host.kind, HOSTFD_POLLED);
	ck_assert_int_eq(hostfd_write(&host, rig.data, 10000), 4096);
	ck_assert_int_eq(hostfd_read(&host, rig.got, 100), 0);
	hostfd_close(&host);
	ck_assert_int_eq(hostfd_open(&host, make_file(), O_WRONLY), 0);
	ck_assert_int_eq(host.kind, HOSTFD_PLAIN);
	hostfd_close(&host);
	make_sockets(SOCK_STREAM, fds);
	ck_assert_int_eq(hostfd_open(&host, fds[0], O_RDONLY), 0);
	ck_assert_int_eq(host.kind, HOSTFD_SOCKET);
	ck_assert_int_eq(hostfd_read(&host, rig.got, 100), -EAGAIN);
	hostfd_close(&host);
	make_pipe(fds);
	ck_assert_int_eq(hostfd_open(&host, fds[0], O_RDONLY), 0);
	ck_assert_int_eq(host.kind, HOSTFD_PLAIN);
	ck_assert(!host.tty);
	ck_assert_int_eq(hostfd_read(&host, rig.got, 100), -EAGAIN);
	hostfd_close(&host);
	/* A pty's master side is not reopened: that would be another pty. */
	make_pty(&master, &slave);
	ck_assert_int_eq(hostfd_open(&host, master, O_WRONLY), 0);
	ck_assert_int_eq(host.kind, HOSTFD_POLLED_TTY);
	ck_assert(host.tty);
	ck_assert_int_eq(hostfd_read(&host, rig.got, 100), -EAGAIN);
	memset(rig.got, 'x', 1000);
	ck_assert_int_eq(hostfd_write(&host, rig.got, 1000), 64);
	hostfd_close(&host);
	ck_assert_int_eq(hostfd_open(&host, slave, O_RDONLY), 0);
	ck_assert_int_eq(host.kind, HOSTFD_PLAIN);
	hostfd_close(&host);
}
END_TEST

/* One whose terminal cannot be opened again; nobody reads. A newline or a tab takes room of its own, so lines of any length. */
START_TEST(test_terminal_that_is_full)
{
	struct hostfd host = {.kind = HOSTFD_POLLED_TTY, .tty = true};
	struct termios mode;
	char line[64];
	size_t plain = 10 + (size_t)_i / 2;
	int master;
	bool more;

	make_pty(&master, &host.fd);
	ck_assert_int_eq(tcgetattr(host.fd, &mode), 0);
	mode.c_oflag |= OPOST | ONLCR;
	ck_assert_int_eq(tcsetattr(host.fd, TCSANOW, &mode), 0);
	memset(line, 'x', sizeof(line));
	line[plain] = _i % 2 ? '\n' : '\t';
	ck_assert_int_eq(hostfd_write(&host, line, sizeof(line)), plain);
	do
		more = hostfd_write(&host, line, sizeof(line)) > 0 &&
		       hostfd_write(&host, line + plain, 1) > 0;
	while (more);
	ck_assert_int_eq(hostfd_write(&host, "x", 1), -EAGAIN);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("devices/hostfd");
	TCase *tc = tcase_create("hostfd");
	SRunner *runner;
	int failed;

	suite_add_tcase(suite, tc);
	tcase_add_test(tc, test_descriptor_kinds);
	tcase_add_loop_test(tc, test_terminal_that_is_full, 0, 80);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
