/* virtio/vsock: how far ahead either side may send (virtio 1.2, 5.10.6.3). */
#include "tests/unit/vsock_streams.h"

/* A host that does not read: the buffer stays within the credit, and one byte more is the guest's fault. */
START_TEST(credit_of_the_guest)
{
	int fd = guest_opens(listener, 5, 1000);
	struct vsock_conn *conn = TAILQ_FIRST(&vs.all);
	uint32_t sent = 0, told = 0;
	struct seen seen;

	for (uint32_t room = conn->buf_alloc; room > 0;) {
		uint32_t len = room < 65536 ? room : 65536;

		send_data(5, 1000, bytes, len);
		sent += len;
		while (next(&seen))
			told = seen.hdr.fwd_cnt;
		room = conn->buf_alloc - (sent - told);
		ck_assert_uint_le(conn->buf_len, conn->buf_alloc);
	}
	ck_assert_uint_gt(conn->buf_len, 0);
	/* asked, the device says what it has */
	send_op(VIRTIO_VSOCK_OP_CREDIT_REQUEST, 5, 1000);
	seen = expect(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 5, 1000);
	ck_assert_uint_eq(seen.hdr.buf_alloc, conn->buf_alloc);
	send_data(5, 1000, bytes, conn->buf_alloc - conn->buf_len);
	ck_assert_uint_eq(conn->buf_len, conn->buf_alloc);
	send_data(5, 1000, "!", 1);
	expect(VIRTIO_VSOCK_OP_RST, 5, 1000);
	ck_assert_uint_eq(counts().conns, 0);
	close(fd);
}
END_TEST

/* A guest without room: the device stops at its credit, asks once, goes on with news, and the sender waits. */
START_TEST(credit_of_the_host)
{
	int fd = guest_opens(listener, 5, 1000);
	struct virtio_vsock_hdr hdr = header(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 5, 1000);
	size_t have = 0, sent = 0, room = GUEST_ROOM;
	unsigned int asked = 0;
	struct seen seen;
	ssize_t n;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (have < sizeof(bytes)) {
		n = write(fd, bytes + sent, sizeof(bytes) - sent);
		sent += n > 0 ? (size_t)n : 0;
		while (next(&seen)) {
			asked += seen.hdr.op == VIRTIO_VSOCK_OP_CREDIT_REQUEST;
			if (seen.hdr.op != VIRTIO_VSOCK_OP_RW)
				continue;
			memcpy(got + have, seen.data, seen.hdr.len);
			have += seen.hdr.len;
			ck_assert_uint_le(have, room);
		}
		ck_assert(have == room || have == sizeof(bytes));
		ck_assert_uint_eq(asked, have / GUEST_ROOM);
		room = have + GUEST_ROOM;
		hdr.fwd_cnt = (uint32_t)have;
		send_hdr(&hdr, NULL, 0);
	}
	ck_assert_mem_eq(got, bytes, sizeof(bytes));
	/* nonsense is no credit */
	hdr.fwd_cnt = (uint32_t)have + 1;
	send_hdr(&hdr, NULL, 0);
	ck_assert_int_eq(write(fd, "x", 1), 1);
	expect_nothing();
	close(fd);
	ck_assert_uint_eq(counts().conns, 1);
}
END_TEST

/* The host closes while the guest has no room: everything still arrives, and then the end. */
START_TEST(host_closes_before_credit)
{
	int fd = guest_opens(listener, 5, 1000);
	struct virtio_vsock_hdr hdr = header(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 5, 1000);
	struct seen seen;
	size_t have = 0;

	ck_assert_int_eq(write(fd, bytes, GUEST_ROOM + 1000), GUEST_ROOM + 1000);
	close(fd);
	while (next(&seen))
		have += seen.hdr.len;
	ck_assert_uint_eq(have, GUEST_ROOM);
	hdr.fwd_cnt = GUEST_ROOM;
	send_hdr(&hdr, NULL, 0);
	ck_assert_uint_eq(expect(VIRTIO_VSOCK_OP_RW, 5, 1000).hdr.len, 1000);
	do
		ck_assert(next(&seen));
	while (seen.hdr.op != VIRTIO_VSOCK_OP_SHUTDOWN || seen.hdr.flags != BOTH);
	expect_nothing();
}
END_TEST

static unsigned int count_updates(void)
{
	unsigned int n = 0;
	struct seen seen;

	while (next(&seen)) {
		ck_assert_uint_eq(seen.hdr.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
		n++;
	}
	return n;
}

/* Updates are for many bytes, not for each packet. */
START_TEST(few_credit_updates)
{
	int fd = guest_opens(listener, 5, 1000);

	for (int i = 0; i < 256; i++) {
		send_with_room(bytes, 4096, sizeof(bytes));
		ck_assert_int_eq(recv(fd, got, 4096, MSG_WAITALL), 4096);
	}
	ck_assert_uint_eq(count_updates(), 7);
	close(fd);
}
END_TEST

/* Linux sends no more ahead than what it would take itself, and waits for the news of that. */
START_TEST(small_windows)
{
	static const uint32_t windows[] = {131072, 65536, 4096, 3, 2, 1};
	int fd = guest_opens(listener, 5, 1000);
	uint32_t told = 0, sent = 0;

	for (size_t i = 0; i < sizeof(windows) / sizeof(windows[0]); i++) {
		for (int turn = 0; turn < 8; turn++) {
			uint32_t len = windows[i] - (sent - told);
			struct seen seen;

			ck_assert_uint_gt(len, 0);
			if (len > TX_BYTES)
				len = TX_BYTES;
			send_with_room(bytes, len, windows[i]);
			ck_assert_int_eq(recv(fd, got, len, MSG_WAITALL), len);
			sent += len;
			while (next(&seen))
				told = seen.hdr.fwd_cnt;
		}
		send_op(VIRTIO_VSOCK_OP_CREDIT_REQUEST, 5, 1000);
		told = expect(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 5, 1000).hdr.fwd_cnt;
		ck_assert_uint_eq(told, sent);
	}
	close(fd);
}
END_TEST

/* It shrinks below what the guest has sent since it was last told: what is to be told then, is. */
START_TEST(window_shrinks)
{
	int fd = guest_opens(listener, 5, 1000);

	for (int i = 0; i < 2; i++) {
		send_with_room(bytes, 50000, sizeof(bytes));
		ck_assert_int_eq(recv(fd, got, 50000, MSG_WAITALL), 50000);
	}
	expect_nothing();
	send_with_room(NULL, 0, 65536);
	ck_assert_uint_eq(expect(VIRTIO_VSOCK_OP_CREDIT_UPDATE, 5, 1000).hdr.fwd_cnt, 100000);
	/* told once, however often it says so */
	for (int i = 0; i < 10; i++)
		send_with_room(NULL, 0, 0);
	expect_nothing();
	close(fd);
}
END_TEST

/* A guest that sends though it gave itself no window gets an update for a packet, and no more. */
START_TEST(no_window)
{
	int fd = guest_opens(listener, 5, 1000);

	for (int i = 0; i < 200; i++)
		send_with_room(bytes, 100, 0);
	ck_assert_int_eq(recv(fd, got, 20000, MSG_WAITALL), 20000);
	ck_assert_uint_le(count_updates(), 200);
	expect_nothing();
	close(fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_vsock_credit");
	TCase *tc = tcase_create("credit");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, credit_of_the_guest);
	tcase_add_test(tc, credit_of_the_host);
	tcase_add_test(tc, host_closes_before_credit);
	tcase_add_test(tc, few_credit_updates);
	tcase_add_test(tc, small_windows);
	tcase_add_test(tc, window_shrinks);
	tcase_add_test(tc, no_window);
	suite_add_tcase(s, tc);
	return device_run(s);
}
