/* virtio/vsock: ports that have a connected socket instead of a path. */
#include "tests/unit/vsock_fixture.h"

#include <signal.h>
#include <sys/wait.h>

#define BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

static int pair[2], other[2];

static void open_with(bool with_path)
{
	struct virtio_vsock_port ports[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, other), 0);
	ports[0] = (struct virtio_vsock_port){7000, pair[1]};
	ports[1] = (struct virtio_vsock_port){7001, other[1]};
	open_device_with(&(struct virtio_vsock_options){
		.cid = CID, .path = with_path ? path : NULL, .ports = ports, .n_ports = 2});
	close(pair[1]);
	close(other[1]);
}

static void close_all(void)
{
	ck_assert_uint_eq(fix.needs_reset, 0);
	close_device();
	close(pair[0]);
	close(other[0]);
}

static void expect_refused(uint32_t port, uint32_t guest)
{
	send_op(VIRTIO_VSOCK_OP_REQUEST, port, guest);
	expect(VIRTIO_VSOCK_OP_RST, port, guest);
}

START_TEST(streams_to_a_port)
{
	open_with(false);
	send_op(VIRTIO_VSOCK_OP_REQUEST, 7000, 1000);
	expect(VIRTIO_VSOCK_OP_RESPONSE, 7000, 1000);
	send_data(7000, 1000, "hello", 5);
	expect_text(pair[0], "hello");
	ck_assert_int_eq(write(pair[0], "world", 5), 5);
	ck_assert_mem_eq(expect(VIRTIO_VSOCK_OP_RW, 7000, 1000).data, "world", 5);
	/* the host's half-close, then the guest's end */
	ck_assert_int_eq(shutdown(pair[0], SHUT_WR), 0);
	ck_assert_uint_eq(expect(VIRTIO_VSOCK_OP_SHUTDOWN, 7000, 1000).hdr.flags,
			  VIRTIO_VSOCK_SHUTDOWN_SEND);
	send_data(7000, 1000, "more", 4);
	expect_text(pair[0], "more");
	send_shutdown(7000, 1000, BOTH);
	expect(VIRTIO_VSOCK_OP_RST, 7000, 1000);
	expect_eof(pair[0]);
	close_all();
}
END_TEST

/* What was written before the guest came is there for it. */
START_TEST(bytes_from_before)
{
	open_with(false);
	ck_assert_int_eq(write(pair[0], "early", 5), 5);
	close(pair[0]);
	send_op(VIRTIO_VSOCK_OP_REQUEST, 7000, 1000);
	expect(VIRTIO_VSOCK_OP_RESPONSE, 7000, 1000);
	ck_assert_mem_eq(expect(VIRTIO_VSOCK_OP_RW, 7000, 1000).data, "early", 5);
	expect(VIRTIO_VSOCK_OP_SHUTDOWN, 7000, 1000);
	send_op(VIRTIO_VSOCK_OP_RST, 7000, 1000);
	pair[0] = dup(other[0]);
	close_all();
}
END_TEST

/* A host that closes its end is noticed by a guest that sends nothing. */
START_TEST(host_that_closes)
{
	open_with(false);
	send_op(VIRTIO_VSOCK_OP_REQUEST, 7001, 1000);
	expect(VIRTIO_VSOCK_OP_RESPONSE, 7001, 1000);
	ck_assert_int_eq(shutdown(other[0], SHUT_RDWR), 0);
	ck_assert_uint_eq(expect(VIRTIO_VSOCK_OP_SHUTDOWN, 7001, 1000).hdr.flags, BOTH);
	send_op(VIRTIO_VSOCK_OP_RST, 7001, 1000);
	expect_nothing();
	ck_assert_uint_eq(counts().conns, 0);
	close_all();
}
END_TEST

START_TEST(one_connection_each)
{
	open_with(false);
	send_op(VIRTIO_VSOCK_OP_REQUEST, 7000, 1000);
	expect(VIRTIO_VSOCK_OP_RESPONSE, 7000, 1000);
	expect_refused(7000, 1001);
	expect_refused(7002, 1002); /* there is no path */
	/* which is nothing to the first */
	send_data(7000, 1000, "still", 5);
	expect_text(pair[0], "still");
	/* nor a second one when the first has ended */
	send_shutdown(7000, 1000, BOTH);
	expect(VIRTIO_VSOCK_OP_RST, 7000, 1000);
	expect_eof(pair[0]);
	expect_refused(7000, 1000);
	ck_assert_uint_eq(counts().conns, 0);
	close_all();
}
END_TEST

/* Ports and a path, whose listener of the same number is never asked. */
START_TEST(beside_a_path)
{
	int listener, same, fd;
	uint32_t port;

	open_with(true);
	listener = listen_at(5, 8);
	same = listen_at(7000, 8);
	fd = guest_opens(listener, 5, 1000);
	send_op(VIRTIO_VSOCK_OP_REQUEST, 7000, 1001);
	expect(VIRTIO_VSOCK_OP_RESPONSE, 7000, 1001);
	send_data(7000, 1001, "port", 4);
	expect_text(pair[0], "port");
	expect_refused(7000, 1002);
	send_data(5, 1000, "path", 4);
	expect_text(fd, "path");
	close(fd);
	expect(VIRTIO_VSOCK_OP_SHUTDOWN, 5, 1000);
	fd = host_opens(77, &port);
	close(fd);
	unlisten(listener, 5);
	unlisten(same, 7000);
	close_all();
}
END_TEST

/* A child that was forked has a copy of everything: who has the other end sees the device's end all the same. */
START_TEST(with_a_child)
{
	uint32_t port;
	int listener, fds[3];
	pid_t child;

	open_with(true);
	listener = listen_at(5, 8);
	send_op(VIRTIO_VSOCK_OP_REQUEST, 7000, 1000);
	expect(VIRTIO_VSOCK_OP_RESPONSE, 7000, 1000);
	fds[0] = pair[0];
	fds[1] = guest_opens(listener, 5, 1001);
	fds[2] = host_opens(77, &port);
	child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	unlisten(listener, 5);
	close_device();
	for (unsigned int i = 0; i < 3; i++)
		expect_eof(fds[i]);
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	close(fds[1]);
	close(fds[2]);
	close(pair[0]);
	close(other[0]);
}
END_TEST

/* Nobody came: the other end sees that the device is gone. */
START_TEST(never_used)
{
	open_with(false);
	close_device();
	expect_eof(pair[0]);
	expect_eof(other[0]);
	close(pair[0]);
	close(other[0]);
}
END_TEST

START_TEST(no_socket)
{
	struct virtio_vsock_port ports[] = {{1, -1}};
	struct virtio_vsock_options options = {.cid = CID, .ports = ports, .n_ports = 1};

	device_prepare();
	options.loop = &fix.loop;
	ck_assert_int_eq(virtio_vsock_init(&vs, &options), -EBADF);
	device_finish();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio/vsock_ports");
	TCase *tc = tcase_create("ports");

	suite_add_tcase(suite, tc);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, streams_to_a_port);
	tcase_add_test(tc, bytes_from_before);
	tcase_add_test(tc, host_that_closes);
	tcase_add_test(tc, one_connection_each);
	tcase_add_test(tc, beside_a_path);
	tcase_add_test(tc, with_a_child);
	tcase_add_test(tc, never_used);
	tcase_add_test(tc, no_socket);
	return device_run(suite);
}
