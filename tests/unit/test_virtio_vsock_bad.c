/* virtio/vsock: malformed packets and rings, packets at the wrong time, many connections, resets, the socket's file. */
#include "tests/unit/vsock_fixture.h"

#define BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)
#define MANY 1000

static int listener;

static void raise_fd_limit(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void setup(void)
{
	raise_fd_limit();
	open_device(0);
	listener = listen_at(5, 1024);
}

static void teardown(void)
{
	unlisten(listener, 5);
	close_device();
}

/* ---- packets ---- */

START_TEST(malformed_packets)
{
	struct virtio_vsock_hdr hdr;
	unsigned int n = 0;
	int fd;

	/* an op that is none, a type that is none, more payload than there is: for a stream, and for no stream */
	for (int i = 0; i < 5; i++) {
		for (int open = 0; open < 2; open++) {
			fd = open ? guest_opens(listener, 5, 1000) : -1;
			hdr = header(VIRTIO_VSOCK_OP_RW, 5, 1000);
			if (i == 0)
				hdr.op = 0;
			else if (i == 1)
				hdr.op = 8;
			else if (i == 2)
				hdr.type = VIRTIO_VSOCK_TYPE_SEQPACKET;
			else if (i == 3)
				hdr.len = 5;
			else
				hdr.len = UINT32_MAX;
			send_hdr(&hdr, "four", 4);
			expect(VIRTIO_VSOCK_OP_RST, 5, 1000);
			expect_nothing();
			ck_assert_uint_eq(counts().conns, 0);
			if (++n <= LOG_LIMIT_BURST)
				ck_assert_uint_eq(n_lines, n);
			if (open) {
				expect_eof(fd);
				close(fd);
			}
		}
	}
	ck_assert_uint_eq(fix.needs_reset, 0);
}
END_TEST

START_TEST(ignored_packets)
{
	struct virtio_vsock_hdr hdr = header(VIRTIO_VSOCK_OP_REQUEST, 5, 1000);

	hdr.src_cid = CID + 1;
	send_hdr(&hdr, NULL, 0);
	hdr.src_cid = CID | UINT64_C(1) << 32;
	send_hdr(&hdr, NULL, 0);
	hdr = header(VIRTIO_VSOCK_OP_REQUEST, 5, 1000);
	hdr.dst_cid = 3;
	send_hdr(&hdr, NULL, 0);
	/* nothing answers a reset, sound or not */
	send_op(VIRTIO_VSOCK_OP_RST, 5, 1000);
	hdr = header(VIRTIO_VSOCK_OP_RST, 5, 1000);
	hdr.type = 7;
	send_hdr(&hdr, NULL, 0);
	expect_nothing();
	ck_assert_uint_eq(counts().conns, 0);
	ck_assert_uint_eq(fix.needs_reset, 0);
}
END_TEST

/* Each op at each wrong time is answered with a reset and leaves nothing. */
START_TEST(wrong_time)
{
	static const uint16_t unknown[] = {VIRTIO_VSOCK_OP_RESPONSE, VIRTIO_VSOCK_OP_SHUTDOWN,
					   VIRTIO_VSOCK_OP_RW, VIRTIO_VSOCK_OP_CREDIT_UPDATE,
					   VIRTIO_VSOCK_OP_CREDIT_REQUEST};
	static const uint16_t asked[] = {VIRTIO_VSOCK_OP_REQUEST, VIRTIO_VSOCK_OP_SHUTDOWN,
					 VIRTIO_VSOCK_OP_RW};
	static const uint16_t opened[] = {VIRTIO_VSOCK_OP_REQUEST, VIRTIO_VSOCK_OP_RESPONSE};
	struct seen seen;
	int fd;

	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		send_op(unknown[i], 5, 1000);
		expect(VIRTIO_VSOCK_OP_RST, 5, 1000);
	}
	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		fd = client("CONNECT 77\n");
		ck_assert(next(&seen));
		send_op(asked[i], seen.hdr.src_port, 77);
		expect(VIRTIO_VSOCK_OP_RST, seen.hdr.src_port, 77);
		expect_eof(fd);
		close(fd);
	}
	for (size_t i = 0; i < sizeof(opened) / sizeof(opened[0]); i++) {
		fd = guest_opens(listener, 5, 1000);
		send_op(opened[i], 5, 1000);
		expect(VIRTIO_VSOCK_OP_RST, 5, 1000);
		expect_eof(fd);
		close(fd);
	}
	/* data behind the end of data */
	fd = guest_opens(listener, 5, 1000);
	send_shutdown(5, 1000, VIRTIO_VSOCK_SHUTDOWN_SEND);
	send_data(5, 1000, "x", 1);
	expect(VIRTIO_VSOCK_OP_RST, 5, 1000);
	expect_eof(fd);
	close(fd);
	expect_nothing();
	ck_assert_uint_eq(counts().conns, 0);
}
END_TEST

/* The guest uses a port again whose stream only waits for an answer. */
START_TEST(port_used_again)
{
	int fd = guest_opens(listener, 5, 1000);

	close(fd);
	expect(VIRTIO_VSOCK_OP_SHUTDOWN, 5, 1000);
	fd = guest_opens(listener, 5, 1000);
	send_data(5, 1000, "new", 3);
	expect_text(fd, "new");
	ck_assert_uint_eq(counts().conns, 1);
	close(fd);
}
END_TEST

START_TEST(any_framing)
{
	struct virtio_vsock_hdr hdr = header(VIRTIO_VSOCK_OP_RW, 5, 1000);
	int fd = guest_opens(listener, 5, 1000);

	hdr.len = 100;
	for (uint32_t cut = 1; cut < 60; cut++) {
		char text[101], want[101];

		memset(text, 'a' + (int)(cut % 26), 100);
		text[100] = 0;
		memcpy(want, text, 101);
		send_raw(&hdr, sizeof(hdr), text, 100, cut);
		expect_text(fd, want);
	}
	close(fd);
}
END_TEST

/* Resets that nobody fetches do not pile up: the transmit queue waits, and all of them arrive. */
START_TEST(resets_wait_for_buffers)
{
	struct virtio_vsock_hdr hdr = header(VIRTIO_VSOCK_OP_RW, 9, 0);
	unsigned int n = 0;
	struct seen seen;
	uint32_t head;

	device_reset();
	begin(0);
	for (uint32_t i = 0; i < 200; i++) {
		struct virtq_piece piece = {TX_AT + i * 64, sizeof(hdr), false};

		hdr.src_port = i;
		memcpy(device_at(piece.gpa, sizeof(hdr)), &hdr, sizeof(hdr));
		virtq_driver_send(&fix.drv[TX], &piece, 1);
	}
	device_kick(TX);
	ck_assert_uint_eq(counts().resets, VIRTIO_VSOCK_RESETS);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[TX]), VIRTIO_VSOCK_RESETS);
	put_rx(N_RX);
	while (next(&seen))
		n += seen.hdr.op == VIRTIO_VSOCK_OP_RST;
	ck_assert_uint_eq(n, 200);
	while (virtq_driver_used(&fix.drv[TX], &head, NULL))
		n--;
	ck_assert_uint_eq(n, 0);
}
END_TEST

/* ---- rings ---- */

static void expect_alive(void)
{
	int fd = guest_opens(listener, 5, 1);

	send_data(5, 1, "alive", 5);
	expect_text(fd, "alive");
	close(fd);
}

/* Broken with a stream open: its host sees the end, and the next driver finds a device as new. */
static void expect_recovery(unsigned int queue, int fd)
{
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(fix.needs_reset, 1);
	ck_assert(vs.dev.broken);
	expect_eof(fd);
	close(fd);
	close(client("CONNECT 5\n"));
	device_kick(queue);
	ck_assert_uint_eq(fix.needs_reset, 1);
	device_reset();
	ck_assert_uint_eq(counts().conns, 0);
	begin(N_RX);
	expect_alive();
}

START_TEST(broken_tx)
{
	int fd = guest_opens(listener, 5, 1000);

	device_put_fault(TX, (enum device_fault)_i, false);
	device_kick(TX);
	expect_recovery(TX, fd);
}
END_TEST

START_TEST(broken_rx)
{
	int fd;

	device_reset();
	begin(0);
	device_put_fault(RX, (enum device_fault)_i, true);
	send_op(VIRTIO_VSOCK_OP_REQUEST, 5, 1000);
	fd = accept(listener, NULL, NULL);
	expect_recovery(RX, fd);
}
END_TEST

START_TEST(broken_buffers)
{
	static const struct virtq_piece bad_rx[] = {
		{DEV_BUFFERS, 4096, false}, {DEV_BUFFERS, 44, true}, {DEV_BUFFERS, 1, true}};
	static const struct virtq_piece bad_tx[] = {
		{DEV_BUFFERS, 4096, true}, {DEV_BUFFERS, 43, false}, {DEV_BUFFERS, 1, false}};
	int fd;

	device_reset();
	begin(0);
	virtq_driver_send(&fix.drv[RX], &bad_rx[_i], 1);
	send_op(VIRTIO_VSOCK_OP_REQUEST, 5, 1000);
	expect_recovery(RX, accept(listener, NULL, NULL));
	fix.needs_reset = 0;
	device_reset();
	begin(N_RX);
	fd = guest_opens(listener, 5, 1000);
	virtq_driver_send(&fix.drv[TX], &bad_tx[_i], 1);
	device_kick(TX);
	expect_recovery(TX, fd);
}
END_TEST

/* A packet that is sound, and room to write behind it. */
START_TEST(writable_tx)
{
	struct virtio_vsock_hdr hdr = header(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 5, 1000);
	const struct virtq_piece pieces[] = {{TX_AT, sizeof(hdr), false}, {TX_AT + 4096, 16, true}};
	int fd = guest_opens(listener, 5, 1000);

	memcpy(device_at(TX_AT, sizeof(hdr)), &hdr, sizeof(hdr));
	virtq_driver_send(&fix.drv[TX], pieces, 2);
	device_kick(TX);
	expect_recovery(TX, fd);
}
END_TEST

START_TEST(reset_with_streams)
{
	uint32_t port;
	int a = guest_opens(listener, 5, 1000), b = host_opens(77, &port), c;
	struct seen seen;

	c = client("CONNECT 78\n");
	ck_assert(next(&seen));
	device_reset();
	ck_assert_uint_eq(counts().conns, 0);
	expect_eof(a);
	expect_eof(b);
	expect_eof(c);
	close(a);
	close(b);
	close(c);
	/* nobody is there */
	a = client("CONNECT 77\n");
	expect_eof(a);
	close(a);
	begin(N_RX);
	expect_nothing();
	expect_alive();
}
END_TEST

/* ---- many ---- */

START_TEST(many)
{
	static int host[MANY], back[MANY];
	static uint32_t port[MANY];

	for (uint32_t i = 0; i < MANY; i++) {
		host[i] = guest_opens(listener, 5, 1000 + i);
		back[i] = host_opens(77, &port[i]);
	}
	ck_assert_uint_eq(counts().conns, 2 * MANY);
	for (uint32_t i = 0; i < MANY; i++) {
		char text[16];

		snprintf(text, sizeof(text), "%u", i);
		send_data(5, 1000 + i, text, (uint32_t)strlen(text));
		expect_text(host[i], text);
		ck_assert_int_eq(write(back[i], text, strlen(text)), (ssize_t)strlen(text));
		ck_assert_mem_eq(expect(VIRTIO_VSOCK_OP_RW, port[i], 77).data, text, strlen(text));
	}
	for (uint32_t i = 0; i < MANY; i++) {
		close(back[i]);
		expect(VIRTIO_VSOCK_OP_SHUTDOWN, port[i], 77);
		send_op(VIRTIO_VSOCK_OP_RST, port[i], 77);
		send_shutdown(5, 1000 + i, BOTH);
		expect(VIRTIO_VSOCK_OP_RST, 5, 1000 + i);
		expect_eof(host[i]);
		close(host[i]);
	}
	ck_assert_uint_eq(counts().conns, 0);
}
END_TEST

/* All have something to say and the guest has few buffers: each gets its turn. */
START_TEST(fair_turns)
{
	enum { N = 50 };
	unsigned int bytes_of[N] = {0}, ops = 0;
	static char block[8192];
	struct seen seen;
	int fd[N];

	device_reset();
	begin(2);
	for (uint32_t i = 0; i < N; i++)
		fd[i] = guest_opens(listener, 5, i);
	for (uint32_t i = 0; i < N; i++)
		ck_assert_int_eq(write(fd[i], block, sizeof(block)), (ssize_t)sizeof(block));
	while (next(&seen)) {
		ck_assert_uint_eq(seen.hdr.op, VIRTIO_VSOCK_OP_RW);
		bytes_of[seen.hdr.dst_port] += seen.hdr.len;
		if (++ops == 2 * N)
			for (int i = 0; i < N; i++)
				ck_assert_uint_gt(bytes_of[i], 0);
	}
	for (int i = 0; i < N; i++) {
		ck_assert_uint_eq(bytes_of[i], sizeof(block));
		close(fd[i]);
	}
}
END_TEST

/* ---- bounds and the file ---- */

START_TEST(bound)
{
	struct seen seen;
	int fd;

	open_device(2);
	listener = listen_at(5, 16);
	send_op(VIRTIO_VSOCK_OP_REQUEST, 5, 1);
	send_op(VIRTIO_VSOCK_OP_REQUEST, 5, 2);
	expect(VIRTIO_VSOCK_OP_RESPONSE, 5, 1);
	expect(VIRTIO_VSOCK_OP_RESPONSE, 5, 2);
	send_op(VIRTIO_VSOCK_OP_REQUEST, 5, 3);
	expect(VIRTIO_VSOCK_OP_RST, 5, 3);
	fd = client("CONNECT 77\nearly");
	expect_nothing(); /* the guest is not even asked */
	ck_assert_uint_eq(counts().conns, 2);
	expect_eof(fd);
	close(fd);
	send_op(VIRTIO_VSOCK_OP_RST, 5, 1);
	fd = client("CONNECT 77\n");
	ck_assert(next(&seen));
	ck_assert_uint_eq(seen.hdr.op, VIRTIO_VSOCK_OP_REQUEST);
	close(fd);
	teardown();
}
END_TEST

/* Returns the first error of the start. On a loop of its own, for that of the test runs. */
static int try_start(uint32_t cid, const char *at)
{
	static struct virtio_vsock other;
	struct evloop idle;
	struct virtio_vsock_options options = {.loop = &idle, .cid = cid, .path = at};
	int err;

	ck_assert_int_eq(evloop_init(&idle), 0);
	err = virtio_vsock_init(&other, &options);
	if (err == 0) {
		err = virtio_vsock_listen(&other);
		virtio_vsock_fini(&other);
	}
	evloop_fini(&idle);
	return err;
}

START_TEST(file)
{
	static const uint32_t bad[] = {0, 1, 2, UINT32_MAX};
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char at[200] = "";
	mode_t mask = umask(0);
	int fd;

	open_device(0);
	umask(mask);
	snprintf(at, sizeof(at), "%s/o", dir);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_int_eq(try_start(bad[i], at), -EINVAL);
	ck_assert_int_eq(try_start(3, at), 0);
	ck_assert_int_eq(try_start(UINT32_MAX - 1, at), 0);
	/* in use, also by another device of ours */
	ck_assert_int_eq(try_start(3, path), -EADDRINUSE);
	ck_assert_int_eq(access(path, F_OK), 0);
	/* no socket */
	fd = open(at, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	close(fd);
	ck_assert_int_eq(try_start(3, at), -EADDRINUSE);
	ck_assert_int_eq(unlink(at), 0);
	/* stale */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	memcpy(addr.sun_path, at, strlen(at) + 1);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	close(fd);
	ck_assert_int_eq(try_start(3, at), 0);
	ck_assert_int_eq(access(at, F_OK), -1);
	/* too long, empty, nowhere */
	memset(at, 'a', sizeof(at));
	at[VSOCK_HOST_MAX_PATH + 1] = 0;
	ck_assert_int_eq(try_start(3, at), -EINVAL);
	ck_assert_int_eq(try_start(3, ""), -EINVAL);
	ck_assert_int_eq(try_start(3, "/proc/nonexistent/v"), -ENOENT);
	close_device();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_vsock_bad");
	TCase *tc = tcase_create("open"), *own = tcase_create("own");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_set_timeout(own, 30);
	tcase_add_test(tc, malformed_packets);
	tcase_add_test(tc, ignored_packets);
	tcase_add_test(tc, wrong_time);
	tcase_add_test(tc, port_used_again);
	tcase_add_test(tc, any_framing);
	tcase_add_test(tc, resets_wait_for_buffers);
	tcase_add_loop_test(tc, broken_tx, 0, DEVICE_FAULTS);
	tcase_add_loop_test(tc, broken_rx, 0, DEVICE_FAULTS);
	tcase_add_loop_test(tc, broken_buffers, 0, 3);
	tcase_add_test(tc, writable_tx);
	tcase_add_test(tc, reset_with_streams);
	tcase_add_test(tc, many);
	tcase_add_test(tc, fair_turns);
	tcase_add_test(own, bound);
	tcase_add_test(own, file);
	suite_add_tcase(s, tc);
	suite_add_tcase(s, own);
	return device_run(s);
}
