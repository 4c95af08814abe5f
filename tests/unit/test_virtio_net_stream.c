/* Frames over a stream socket, with a peer that is slow, short, wrong or gone. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtio/net_stream.h"

#define HDR sizeof(struct virtio_net_hdr_v1)

static struct net_stream stream;
static int peer;

static void setup(void)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	peer = pair[1];
	ck_assert_int_eq(net_stream_open(&stream, pair[0], "peer", "test", 1500), 0);
}

static void teardown(void)
{
	net_stream_close(&stream);
	if (peer >= 0)
		close(peer);
}

static void say(uint32_t len, const void *data, size_t n)
{
	uint32_t prefix = htonl(len);

	ck_assert_int_eq(send(peer, &prefix, 4, 0), 4);
	if (n)
		ck_assert_int_eq(send(peer, data, n, 0), (ssize_t)n);
}

static ssize_t take(uint8_t *packet, size_t size)
{
	struct iovec iov[2] = {{packet, 20}, {packet + 20, size - 20}};

	return stream.be.ops->read(&stream.be, 0, iov, 2);
}

static uint8_t big[NET_STREAM_FRAME_MAX + 1], packet[NET_PACKET_MAX];

START_TEST(test_frames)
{
	ck_assert_int_eq(take(packet, sizeof(packet)), 0);
	for (unsigned int i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * 7 + i / 251);
	say(14, big, 14);
	say(60, big + 1, 60);
	say(9000, big + 2, 9000);
	ck_assert(!stream.be.ops->pending(&stream.be, 0));
	memset(packet, 0xee, sizeof(packet));
	ck_assert_int_eq(take(packet, sizeof(packet)), HDR + 14);
	ck_assert(stream.be.ops->pending(&stream.be, 0));
	for (unsigned int i = 0; i < HDR; i++)
		ck_assert_uint_eq(packet[i], 0);
	ck_assert_mem_eq(packet + HDR, big, 14);
	ck_assert_int_eq(take(packet, sizeof(packet)), HDR + 60);
	ck_assert_mem_eq(packet + HDR, big + 1, 60);
	ck_assert_int_eq(take(packet, sizeof(packet)), HDR + 9000);
	ck_assert_mem_eq(packet + HDR, big + 2, 9000);
	ck_assert(!stream.be.ops->pending(&stream.be, 0));
	ck_assert_int_eq(take(packet, sizeof(packet)), 0);
}
END_TEST

/* Byte by byte, and what does not fit into the guest's buffers is cut without a trace. */
START_TEST(test_short_reads)
{
	static const uint8_t wire[] = {0, 0, 0, 16, 1,	2,  3,	4,  5,	6,
				       7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
	struct iovec small = {packet, HDR + 5};

	for (unsigned int i = 0; i < sizeof(wire); i++) {
		ck_assert_int_eq(take(packet, sizeof(packet)), 0);
		ck_assert_int_eq(send(peer, &wire[i], 1, 0), 1);
	}
	ck_assert_int_eq(take(packet, sizeof(packet)), HDR + 16);
	ck_assert_mem_eq(packet + HDR, wire + 4, 16);
	say(20, big, 20);
	say(30, big, 30);
	while (!stream.be.ops->pending(&stream.be, 0))
		ck_assert_int_ge(stream.be.ops->read(&stream.be, 0, &small, 1), 0);
	ck_assert_int_eq(take(packet, sizeof(packet)), HDR + 30);
}
END_TEST

/* Ten thousand frames of all lengths arrive as they were sent, however the buffer wraps. */
START_TEST(test_many)
{
	unsigned int sent = 0, got = 0;

	while (got < 10000) {
		uint32_t len = 14 + (sent * 7919) % (sizeof(big) - 14);
		uint32_t prefix = htonl(len);
		struct iovec iov[2] = {{&prefix, 4}, {big, len}};
		struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
		ssize_t n;

		big[0] = (uint8_t)sent;
		n = sendmsg(peer, &msg, MSG_DONTWAIT);
		if (n > 0 &&
		    n < len + 4) /* never left in part: the rest is waited for by reading */
			while (n < len + 4) {
				ssize_t more = send(peer, big + n - 4, len + 4 - (size_t)n,
						    MSG_DONTWAIT);

				if (more > 0)
					n += more;
				else
					while (take(packet, sizeof(packet)) > 0)
						ck_assert_uint_eq(packet[HDR], (uint8_t)got++);
			}
		if (n > 0)
			sent++;
		while ((n = take(packet, sizeof(packet))) > 0) {
			ck_assert_uint_eq(packet[HDR], (uint8_t)got);
			ck_assert_int_eq(n, HDR + 14 + (got * 7919) % (sizeof(big) - 14));
			got++;
		}
		ck_assert_int_eq(n, 0);
	}
}
END_TEST

START_TEST(test_garbage)
{
	static const uint32_t bad[] = {0, 13, NET_STREAM_FRAME_MAX + 1, 0x80000000, UINT32_MAX};

	say(14, big, 14);
	say(bad[_i], NULL, 0);
	ck_assert_int_eq(take(packet, sizeof(packet)), HDR + 14);
	ck_assert(stream.be.ops->pending(
		&stream.be, 0)); /* the error is told without another word of the peer */
	ck_assert_int_eq(take(packet, sizeof(packet)), -EPROTO);
	ck_assert_int_eq(take(packet, sizeof(packet)), -EPROTO);
	stream.be.ops->discard(&stream.be);
}
END_TEST

START_TEST(test_gone)
{
	struct iovec iov = {big, HDR + 60};

	say(14, big, 14);
	close(peer);
	peer = -1;
	ck_assert_int_eq(take(packet, sizeof(packet)), HDR + 14);
	ck_assert_int_eq(take(packet, sizeof(packet)), 0);
	ck_assert_int_eq(take(packet, sizeof(packet)), -EPIPE);
	ck_assert_int_eq(stream.be.ops->write(&stream.be, 0, &iov, 1, HDR + 60), -EPIPE);
	ck_assert(stream.be.ops->ready(&stream.be, 0));
}
END_TEST

START_TEST(test_write)
{
	struct iovec iov[3] = {{packet, 5}, {packet + 5, 20}, {packet + 25, 47}};
	uint8_t wire[64];

	for (unsigned int i = 0; i < sizeof(packet); i++)
		packet[i] = (uint8_t)i;
	ck_assert(stream.be.ops->ready(&stream.be, 0));
	ck_assert_int_eq(stream.be.ops->write(&stream.be, 0, iov, 3, 72), 0);
	ck_assert_int_eq(recv(peer, wire, sizeof(wire), 0), 64);
	ck_assert_uint_eq(wire[3], 60);
	ck_assert_uint_eq(wire[0] | wire[1] | wire[2], 0);
	ck_assert_mem_eq(wire + 4, packet + HDR, 60);
	iov[0].iov_len = HDR + 65536;
	ck_assert_int_eq(stream.be.ops->write(&stream.be, 0, iov, 1, HDR + 65536), -EINVAL);
	ck_assert_int_eq(recv(peer, wire, sizeof(wire), MSG_DONTWAIT), -1);
	ck_assert_int_eq(stream.be.ops->write(&stream.be, 0, iov, 1, HDR + 65535), 0);
	ck_assert_int_eq(recv(peer, wire, 4, 0), 4);
	ck_assert_uint_eq(wire[2] << 8 | wire[3], 65535);
}
END_TEST

/* A peer that reads nothing: one frame is kept, no more are accepted, and each arrives whole once it reads. */
START_TEST(test_slow_peer)
{
	struct iovec iov = {packet, HDR + 40000};
	unsigned int sent = 0, got = 0;
	size_t have = 0;

	while (stream.be.ops->ready(&stream.be, 0)) {
		memset(packet + HDR, (int)sent, 40000);
		ck_assert_int_eq(stream.be.ops->write(&stream.be, 0, &iov, 1, HDR + 40000), 0);
		ck_assert_uint_lt(++sent, 1000);
	}
	ck_assert(!stream.be.ops->ready(&stream.be, 0));
	while (got < sent) {
		ssize_t n = recv(peer, big + have, 40004 - have, MSG_DONTWAIT);

		if (n < 0)
			stream.be.ops->ready(&stream.be, 0);
		else
			have += (size_t)n;
		if (have == 40004) {
			ck_assert_uint_eq(big[2] << 8 | big[3], 40000);
			ck_assert_uint_eq(big[4], (uint8_t)got);
			ck_assert_uint_eq(big[40003], (uint8_t)got);
			have = 0;
			got++;
		}
	}
	ck_assert(stream.be.ops->ready(&stream.be, 0));
	ck_assert_int_eq(recv(peer, big, 1, MSG_DONTWAIT), -1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio/net_stream");
	TCase *tcase = tcase_create("stream");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, test_frames);
	tcase_add_test(tcase, test_short_reads);
	tcase_add_test(tcase, test_many);
	tcase_add_loop_test(tcase, test_garbage, 0, 5);
	tcase_add_test(tcase, test_gone);
	tcase_add_test(tcase, test_write);
	tcase_add_test(tcase, test_slow_peer);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
