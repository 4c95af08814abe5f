/* virtio/vsock: streams both ways, half-closes, resets. */
#include "tests/unit/vsock_streams.h"

START_TEST(configuration)
{
	uint64_t cid;
	struct stat st;

	virtio_device_config_get(&vs.dev, 0, &cid, sizeof(cid));
	ck_assert_uint_eq(cid, CID);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 01600);
}
END_TEST

/* Which ops there are is said before a stream sees them. */
START_TEST(known_ops)
{
	for (uint16_t op = 0; op < 16; op++) {
		struct virtio_vsock_hdr hdr = header(op, 5, 1000);
		struct iovec iov = {.iov_base = &hdr, .iov_len = sizeof(hdr)};
		struct vsock_packet packet;
		struct iov_cursor cur;
		bool known = op >= VIRTIO_VSOCK_OP_REQUEST && op <= VIRTIO_VSOCK_OP_CREDIT_REQUEST;

		iov_cursor_init(&cur, &iov, 1);
		ck_assert_int_eq(vsock_packet_parse(&packet, &cur, CID),
				 known ? VSOCK_PACKET_GOOD : VSOCK_PACKET_RESET);
	}
}
END_TEST

START_TEST(guest_to_host_and_back)
{
	int fd = guest_opens(listener, 5, 1000);
	struct seen seen;

	send_data(5, 1000, "hello", 5);
	expect_text(fd, "hello");
	ck_assert_int_eq(write(fd, "world!", 6), 6);
	seen = expect(VIRTIO_VSOCK_OP_RW, 5, 1000);
	ck_assert_uint_eq(seen.hdr.len, 6);
	ck_assert_mem_eq(seen.data, "world!", 6);
	ck_assert_uint_eq(seen.hdr.fwd_cnt, 5);
	ck_assert_uint_ge(seen.hdr.buf_alloc, 65536);
	/* the guest closes */
	send_shutdown(5, 1000, BOTH);
	expect(VIRTIO_VSOCK_OP_RST, 5, 1000);
	expect_eof(fd);
	ck_assert_uint_eq(counts().conns, 0);
	close(fd);
}
END_TEST

START_TEST(host_to_guest)
{
	uint32_t port;
	int fd = host_opens(77, &port);

	ck_assert_uint_ge(port, 1u << 30);
	ck_assert_int_eq(write(fd, "ping", 4), 4);
	ck_assert_mem_eq(expect(VIRTIO_VSOCK_OP_RW, port, 77).data, "ping", 4);
	send_data(port, 77, "pong", 4);
	expect_text(fd, "pong");
	/* the host closes, the guest acknowledges */
	close(fd);
	ck_assert_uint_eq(expect(VIRTIO_VSOCK_OP_SHUTDOWN, port, 77).hdr.flags, BOTH);
	ck_assert_uint_eq(counts().conns, 1);
	send_op(VIRTIO_VSOCK_OP_RST, port, 77);
	expect_nothing();
	ck_assert_uint_eq(counts().conns, 0);
}
END_TEST

START_TEST(refusals)
{
	static const char *const lines[] = {
		"CONNECT\n",	"CONNECT \n",		"CONNECT x\n",
		"CONNECT -1\n", "CONNECT 4294967296\n", "connect 5\n",
		"\n",		"CONNECT 5 \n",		"CONNECT 000000000000000000000000005\n"};
	struct seen seen;
	int fd;

	/* the guest refuses */
	fd = client("CONNECT 77\n");
	ck_assert(next(&seen));
	send_op(VIRTIO_VSOCK_OP_RST, seen.hdr.src_port, 77);
	expect_eof(fd);
	close(fd);
	/* no listener on the host */
	send_op(VIRTIO_VSOCK_OP_REQUEST, 6, 1000);
	expect(VIRTIO_VSOCK_OP_RST, 6, 1000);
	/* no sense */
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		fd = client(lines[i]);
		expect_eof(fd);
		close(fd);
	}
	expect_nothing();
	ck_assert_uint_eq(counts().conns, 0);
	ck_assert_uint_eq(counts().clients, 0);
}
END_TEST

static void keep_line(void *arg, int level, const char *line)
{
	(void)level;
	snprintf(arg, 256, "%s", line);
}

/* That nobody listens is for the guest alone to know; what somebody here can mend is told. */
START_TEST(connections_that_cannot_be)
{
	struct sockaddr_un addr = address(7);
	char line[256] = "";

	log_set_sink(keep_line, line);
	send_op(VIRTIO_VSOCK_OP_REQUEST, 6, 1000);
	expect(VIRTIO_VSOCK_OP_RST, 6, 1000);
	ck_assert_str_eq(line, "");
	ck_assert_int_eq(symlink(addr.sun_path, addr.sun_path), 0);
	send_op(VIRTIO_VSOCK_OP_REQUEST, 7, 1000);
	expect(VIRTIO_VSOCK_OP_RST, 7, 1000);
	ck_assert_ptr_nonnull(strstr(line, "_7': Too many levels of symbolic links"));
	log_set_sink(NULL, NULL);
	unlink(addr.sun_path);
}
END_TEST

/* The line may come in pieces, and what is behind it belongs to the stream. */
START_TEST(line_in_pieces)
{
	struct seen seen;
	int fd = client("CONN");

	ck_assert_int_eq(write(fd, "ECT 7", 5), 5);
	expect_nothing();
	ck_assert_int_eq(write(fd, "7\nearly", 7), 7);
	ck_assert(next(&seen));
	ck_assert_uint_eq(seen.hdr.op, VIRTIO_VSOCK_OP_REQUEST);
	send_op(VIRTIO_VSOCK_OP_RESPONSE, seen.hdr.src_port, 77);
	ck_assert_mem_eq(expect(VIRTIO_VSOCK_OP_RW, seen.hdr.src_port, 77).data, "early", 5);
	close(fd);
}
END_TEST

/* One that leaves in the middle of its line makes room at once, whether the rest was waited for already or not. */
START_TEST(line_without_an_end)
{
	int fd = client("CONN");

	if (_i)
		evloop_settle(&fix.loop);
	close(fd);
	for (int i = 0; i < 100 && counts().clients > 0; i++)
		usleep(5000);
	ck_assert_uint_eq(counts().clients, 0);
}
END_TEST

/* Silent ones are closed in time, even when there are more than may wait, and then others get in. */
START_TEST(silent_clients)
{
	int fds[VSOCK_HOST_CLIENTS + 20];
	const unsigned int n = sizeof(fds) / sizeof(fds[0]);

	for (unsigned int i = 0; i < n; i++)
		fds[i] = client("CONNECT");
	ck_assert_uint_eq(counts().clients, VSOCK_HOST_CLIENTS);
	for (unsigned int i = 0; i < n; i++) {
		expect_eof(fds[i]);
		close(fds[i]);
	}
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(counts().clients, 0);
	close(client("CONNECT 1\n"));
	expect(VIRTIO_VSOCK_OP_REQUEST, counts().next_port - 1, 1);
}
END_TEST

/* The client gives up before the guest has answered. */
START_TEST(client_leaves_early)
{
	struct seen seen;
	int fd = client("CONNECT 77\n");

	ck_assert(next(&seen));
	close(fd);
	expect(VIRTIO_VSOCK_OP_RST, seen.hdr.src_port, 77);
	send_op(VIRTIO_VSOCK_OP_RESPONSE, seen.hdr.src_port, 77);
	expect(VIRTIO_VSOCK_OP_RST, seen.hdr.src_port, 77);
	ck_assert_uint_eq(counts().conns, 0);
}
END_TEST

START_TEST(host_half_closes)
{
	int fd = guest_opens(listener, 5, 1000);

	ck_assert_int_eq(write(fd, "last", 4), 4);
	shutdown(fd, SHUT_WR);
	ck_assert_uint_eq(expect(VIRTIO_VSOCK_OP_RW, 5, 1000).hdr.len, 4);
	ck_assert_uint_eq(expect(VIRTIO_VSOCK_OP_SHUTDOWN, 5, 1000).hdr.flags,
			  VIRTIO_VSOCK_SHUTDOWN_SEND);
	/* the other direction goes on */
	for (int i = 0; i < 10; i++) {
		send_data(5, 1000, "more", 4);
		expect_text(fd, "more");
	}
	expect_nothing();
	send_shutdown(5, 1000, BOTH);
	expect(VIRTIO_VSOCK_OP_RST, 5, 1000);
	expect_eof(fd);
	close(fd);
}
END_TEST

START_TEST(guest_half_closes)
{
	int fd = guest_opens(listener, 5, 1000);

	send_data(5, 1000, "last", 4);
	send_shutdown(5, 1000, VIRTIO_VSOCK_SHUTDOWN_SEND);
	expect_text(fd, "last");
	expect_eof(fd);
	for (int i = 0; i < 10; i++) {
		ck_assert_int_eq(write(fd, "more", 4), 4);
		ck_assert_uint_eq(expect(VIRTIO_VSOCK_OP_RW, 5, 1000).hdr.len, 4);
	}
	/* and now the host: both directions are over */
	close(fd);
	ck_assert_uint_eq(expect(VIRTIO_VSOCK_OP_SHUTDOWN, 5, 1000).hdr.flags, BOTH);
	send_op(VIRTIO_VSOCK_OP_RST, 5, 1000);
	ck_assert_uint_eq(counts().conns, 0);
}
END_TEST

/* The guest reads no more: the host's writes fail, the guest's own get through. */
START_TEST(guest_is_deaf)
{
	int fd = guest_opens(listener, 5, 1000);

	send_shutdown(5, 1000, VIRTIO_VSOCK_SHUTDOWN_RCV);
	ck_assert_int_eq(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	ck_assert_int_eq(errno, EPIPE);
	send_data(5, 1000, "still", 5);
	expect_text(fd, "still");
	expect_nothing();
	close(fd);
	ck_assert_uint_eq(expect(VIRTIO_VSOCK_OP_SHUTDOWN, 5, 1000).hdr.flags, BOTH);
}
END_TEST

/* The host reads no more: the guest is told; what it sent meanwhile does no harm. */
START_TEST(host_is_deaf)
{
	int fd = guest_opens(listener, 5, 1000);

	shutdown(fd, SHUT_RD);
	send_data(5, 1000, "lost", 4);
	ck_assert_uint_eq(expect(VIRTIO_VSOCK_OP_SHUTDOWN, 5, 1000).hdr.flags,
			  VIRTIO_VSOCK_SHUTDOWN_RCV);
	send_data(5, 1000, "lost", 4);
	ck_assert_int_eq(write(fd, "heard", 5), 5);
	ck_assert_uint_eq(expect(VIRTIO_VSOCK_OP_RW, 5, 1000).hdr.fwd_cnt, 8);
	close(fd);
}
END_TEST

/* What the guest sends before it closes reaches a host that reads later. */
START_TEST(drains_after_close)
{
	int fd = guest_opens(listener, 5, 1000);
	size_t sent = 0, have = 0;
	ssize_t n;

	while (counts().kept < 100000) {
		send_data(5, 1000, bytes + sent, 60000);
		sent += 60000;
	}
	while (counts().has_packet)
		evloop_settle(&fix.loop);
	send_shutdown(5, 1000, BOTH);
	for (struct seen seen = {0}; seen.hdr.op != VIRTIO_VSOCK_OP_RST;)
		ck_assert(next(&seen));
	ck_assert_uint_eq(counts().conns, 1);
	while ((n = read(fd, got + have, sizeof(got) - have)) > 0)
		have += (size_t)n;
	ck_assert_uint_eq(have, sent);
	ck_assert_mem_eq(got, bytes, sent);
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(counts().conns, 0);
	close(fd);
}
END_TEST

/* A stream whose host's end takes nothing, with bytes of the guest's kept, and whose socket is full of what the host wrote. */
static int clogged(void)
{
	int fd = guest_opens(listener, 5, 1000);
	struct virtio_vsock_hdr hdr = header(VIRTIO_VSOCK_OP_RW, 5, 1000);
	struct seen seen;

	hdr.buf_alloc = 0;
	hdr.len = 60000;
	while (counts().kept < 100000)
		send_hdr(&hdr, bytes, hdr.len);
	while (next(&seen))
		;
	while (send(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	ck_assert_int_eq(errno, EAGAIN);
	return fd;
}

struct writer {
	pthread_t thread;
	int fd;
	int error;
	short ready;
};

static void *blocked_writer(void *arg)
{
	struct writer *w = arg;

	w->error = send(w->fd, bytes, sizeof(bytes), MSG_NOSIGNAL) < 0 ? errno : 0;
	return NULL;
}

static void *polling_writer(void *arg)
{
	struct writer *w = arg;
	struct pollfd pfd = {.fd = w->fd, .events = POLLOUT};

	if (poll(&pfd, 1, 5000) == 1)
		w->ready = pfd.revents;
	return blocked_writer(arg);
}

/* Who writes to a guest that will not read is told, be it blocked or waiting for room: an echo server is, and reads nothing meanwhile. */
static void expect_writers_told(void (*gone)(void))
{
	struct timeval patience = {.tv_sec = 5};
	int fd = clogged();
	struct writer w[2] = {{.fd = fd}, {.fd = dup(fd)}};

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	pthread_create(&w[0].thread, NULL, blocked_writer, &w[0]);
	pthread_create(&w[1].thread, NULL, polling_writer, &w[1]);
	poll(NULL, 0, 50);
	gone();
	pthread_join(w[0].thread, NULL);
	pthread_join(w[1].thread, NULL);
	ck_assert_int_eq(w[0].error, EPIPE);
	ck_assert_int_eq(w[1].ready, POLLOUT);
	ck_assert_int_eq(w[1].error, EPIPE);
	close(fd);
	/* what was kept is of use until then */
	ck_assert_uint_eq(counts().conns, 1);
	close(w[1].fd);
	evloop_settle(&fix.loop);
}

static void shuts_down(void)
{
	send_shutdown(5, 1000, BOTH);
}

static void resets(void)
{
	send_op(VIRTIO_VSOCK_OP_RST, 5, 1000);
}

static void stops_reading(void)
{
	send_shutdown(5, 1000, VIRTIO_VSOCK_SHUTDOWN_RCV);
}

START_TEST(blocked_writers)
{
	expect_writers_told(shuts_down);
	expect(VIRTIO_VSOCK_OP_RST, 5, 1000);
	ck_assert_uint_eq(counts().conns, 0);
	expect_writers_told(resets);
	expect_nothing();
	ck_assert_uint_eq(counts().conns, 0);
	expect_writers_told(stops_reading);
	ck_assert_uint_eq(counts().conns, 1);
}
END_TEST

/* The end, and no error, for whoever had written something that nobody will read. */
START_TEST(end_with_bytes_unread)
{
	struct seen seen;
	int fd = client("CONNECT 77\nearly");

	ck_assert(next(&seen));
	send_op(VIRTIO_VSOCK_OP_RST, seen.hdr.src_port, 77);
	expect_eof(fd);
	close(fd);
	fd = guest_opens(listener, 5, 1000);
	send_with_room(NULL, 0, 0);
	ck_assert_int_eq(write(fd, "unread", 6), 6);
	send_shutdown(5, 1000, BOTH);
	expect(VIRTIO_VSOCK_OP_RST, 5, 1000);
	expect_eof(fd);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_vsock");
	TCase *tc = tcase_create("streams");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, configuration);
	tcase_add_test(tc, known_ops);
	tcase_add_test(tc, guest_to_host_and_back);
	tcase_add_test(tc, host_to_guest);
	tcase_add_test(tc, refusals);
	tcase_add_test(tc, connections_that_cannot_be);
	tcase_add_test(tc, line_in_pieces);
	tcase_add_loop_test(tc, line_without_an_end, 0, 2);
	tcase_add_test(tc, silent_clients);
	tcase_add_test(tc, client_leaves_early);
	tcase_add_test(tc, host_half_closes);
	tcase_add_test(tc, guest_half_closes);
	tcase_add_test(tc, guest_is_deaf);
	tcase_add_test(tc, host_is_deaf);
	tcase_add_test(tc, drains_after_close);
	tcase_add_test(tc, blocked_writers);
	tcase_add_test(tc, end_with_bytes_unread);
	suite_add_tcase(s, tc);
	return device_run(s);
}
