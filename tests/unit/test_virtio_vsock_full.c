/* virtio/vsock: connections of the guest's to listeners whose queue is full, and to sockets that are. */
#include "tests/unit/vsock_fixture.h"

/* A listener whose queue is full gets them later. */
START_TEST(full_backlog)
{
	struct seen seen;
	unsigned int n = 0;
	int slow, fd[20];

	open_device(64);
	slow = listen_at(6, 1);
	for (uint32_t i = 0; i < 20; i++)
		send_op(VIRTIO_VSOCK_OP_REQUEST, 6, i);
	ck_assert_uint_eq(counts().conns, 20);
	for (unsigned int i = 0; i < 20; i++) {
		fd[i] = accept(slow, NULL, NULL);
		ck_assert_int_ge(fd[i], 0);
	}
	for (uint64_t end = evloop_now() + UINT64_C(5000000000); n < 20 && evloop_now() < end;) {
		if (next(&seen)) {
			ck_assert_uint_eq(seen.hdr.op, VIRTIO_VSOCK_OP_RESPONSE);
			n++;
		}
	}
	ck_assert_uint_eq(n, 20);
	for (unsigned int i = 0; i < 20; i++)
		close(fd[i]);
	unlisten(slow, 6);
	close_device();
}
END_TEST

/* More of them wait than are tried at a time, and all that are tried find room. */
START_TEST(crowd_at_a_backlog)
{
	const unsigned int all = 229; /* 128 + 1 find room at first, and 100 do not */
	unsigned int n = 0, accepted = 0;
	struct seen seen;
	int busy, fd[229];

	open_device(1024);
	busy = listen_at(7, 128);
	fcntl(busy, F_SETFL, O_NONBLOCK);
	for (uint32_t i = 0; i < all; i++) {
		send_op(VIRTIO_VSOCK_OP_REQUEST, 7, i);
		n += i % 16 == 15 && next(&seen) && seen.hdr.op == VIRTIO_VSOCK_OP_RESPONSE;
	}
	for (uint64_t end = evloop_now() + UINT64_C(6000000000); n < all && evloop_now() < end;) {
		while (accepted < all &&
		       (fd[accepted] = accept4(busy, NULL, NULL, SOCK_CLOEXEC)) >= 0)
			accepted++;
		if (next(&seen)) {
			ck_assert_uint_eq(seen.hdr.op, VIRTIO_VSOCK_OP_RESPONSE);
			n++;
		}
	}
	ck_assert_uint_eq(n, all);
	while (accepted > 0)
		close(fd[--accepted]);
	unlisten(busy, 7);
	close_device();
}
END_TEST

/* A listener that never accepts, for which more wait than are tried at a time, holds up no other. */
START_TEST(crowd_before_another_listener)
{
	int deaf, ready, fd[4];
	unsigned int n = 0, accepted = 0;
	struct seen seen;

	open_device(1024);
	deaf = listen_at(7, 1);
	ready = listen_at(8, 1);
	fcntl(ready, F_SETFL, O_NONBLOCK);
	for (uint32_t i = 0; i < 80; i++)
		send_op(VIRTIO_VSOCK_OP_REQUEST, 7, 100 + i);
	for (uint32_t i = 0; i < 4; i++)
		send_op(VIRTIO_VSOCK_OP_REQUEST, 8, i);
	for (uint64_t end = evloop_now() + UINT64_C(4000000000); n < 4 && evloop_now() < end;) {
		while (accepted < 4 &&
		       (fd[accepted] = accept4(ready, NULL, NULL, SOCK_CLOEXEC)) >= 0)
			accepted++;
		n += next(&seen) && seen.hdr.src_port == 8 &&
		     seen.hdr.op == VIRTIO_VSOCK_OP_RESPONSE;
	}
	ck_assert_uint_eq(n, 4);
	while (accepted > 0)
		close(fd[--accepted]);
	unlisten(deaf, 7);
	unlisten(ready, 8);
	close_device();
}
END_TEST

/* ---- a full socket ---- */

#define PART 60000u

static uint8_t bytes[1 << 20], got[1 << 20];

struct drain {
	int fd;
	ssize_t have;
};

/* On the loop, which so learns of the next packet before it learns of the room. */
static void drain_and_kick(void *arg)
{
	struct drain *drain = arg;

	drain->have = recv(drain->fd, got, 65536, MSG_DONTWAIT);
	vs.dev.ops->kick(&vs.dev, TX);
}

/* Without telling the device. */
static void put_data(const uint8_t *data)
{
	struct virtio_vsock_hdr hdr = header(VIRTIO_VSOCK_OP_RW, 5, 1000);
	struct virtq_piece piece = {TX_AT, sizeof(hdr) + PART, false};

	hdr.len = PART;
	memcpy(device_at(TX_AT, sizeof(hdr)), &hdr, sizeof(hdr));
	memcpy(device_at(TX_AT + sizeof(hdr), PART), data, PART);
	virtq_driver_send(&fix.drv[TX], &piece, 1);
}

/* Until the device has to keep some. */
static size_t fill_socket(size_t sent)
{
	while (counts().kept == 0) {
		ck_assert_uint_le(sent + 2 * PART, sizeof(bytes));
		send_data(5, 1000, bytes + sent, PART);
		sent += PART;
	}
	return sent;
}

/* What is kept goes before what comes later, the end included. */
START_TEST(stream_keeps_its_order)
{
	struct timeval patience = {.tv_sec = 10};
	size_t sent, have;
	struct drain drain;
	int listener;
	ssize_t n;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
	open_device(64);
	listener = listen_at(5, 1);
	drain.fd = guest_opens(listener, 5, 1000);
	setsockopt(drain.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	sent = fill_socket(0);
	put_data(bytes + sent);
	sent += PART;
	evloop_call(&fix.loop, drain_and_kick, &drain);
	ck_assert_int_gt(drain.have, 0);
	have = (size_t)drain.have;
	evloop_settle(&fix.loop);
	sent = fill_socket(sent);
	send_shutdown(5, 1000, VIRTIO_VSOCK_SHUTDOWN_SEND);
	while ((n = read(drain.fd, got + have, sizeof(got) - have)) > 0)
		have += (size_t)n;
	ck_assert_int_eq(n, 0);
	ck_assert_uint_eq(have, sent);
	ck_assert(memcmp(got, bytes, sent) == 0);
	close(drain.fd);
	unlisten(listener, 5);
	close_device();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_vsock_full");
	TCase *tc = tcase_create("full");

	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, full_backlog);
	tcase_add_test(tc, crowd_at_a_backlog);
	tcase_add_test(tc, crowd_before_another_listener);
	tcase_add_test(tc, stream_keeps_its_order);
	suite_add_tcase(s, tc);
	return device_run(s);
}
