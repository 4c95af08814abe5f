/* virtio/blk_request: every framing of good requests, and each refusal, without a device. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/blk_request.h"

#define HDR	    sizeof(struct virtio_blk_outhdr)
#define DISK_SIZE   (UINT64_C(100) * 512)
#define MAX_REQUEST 4096
#define STATUS	    0xee /* untouched */

static uint8_t readable[MAX_REQUEST];
static uint8_t writable[MAX_REQUEST];
static uint8_t readable_before[MAX_REQUEST];
static uint8_t writable_before[MAX_REQUEST];
static struct iovec iov[2 * MAX_REQUEST];
static struct virtq_chain chain;
static struct blk_request req;
static struct blk_request_limits limits;

static void setup(void)
{
	limits = (struct blk_request_limits){.size = DISK_SIZE};
	for (unsigned int i = 0; i < MAX_REQUEST; i++) {
		readable[i] = (uint8_t)(i * 13 + 1);
		writable[i] = STATUS;
	}
}

static void put_header(uint32_t type, uint64_t sector)
{
	struct virtio_blk_outhdr hdr = {.type = type, .ioprio = 0xffffffff, .sector = sector};

	memcpy(readable, &hdr, sizeof(hdr));
}

static unsigned int cut_bytes(struct iovec *v, uint8_t *bytes, size_t len, size_t cut)
{
	unsigned int n = 0;

	for (size_t at = 0; at < len; at += cut)
		v[n++] = (struct iovec){bytes + at, len - at < cut ? len - at : cut};
	return n;
}

static void make_chain(size_t out, size_t out_cut, size_t in, size_t in_cut)
{
	chain = (struct virtq_chain){.readable = iov, .readable_bytes = out, .writable_bytes = in};
	chain.n_readable = cut_bytes(iov, readable, out, out_cut);
	chain.writable = iov + chain.n_readable;
	chain.n_writable = cut_bytes(chain.writable, writable, in, in_cut);
	memcpy(readable_before, readable, sizeof(readable));
	memcpy(writable_before, writable, sizeof(writable));
}

/* Parsing has no effect on guest memory, whatever comes out. */
static int parse(void)
{
	int ret = blk_request_parse(&req, &chain, &limits);

	ck_assert_mem_eq(readable, readable_before, sizeof(readable));
	ck_assert_mem_eq(writable, writable_before, sizeof(writable));
	return ret;
}

/* A request with this much data each way, cut in the middle of everything. */
static uint8_t verdict(uint32_t type, uint64_t sector, size_t out, size_t in)
{
	put_header(type, sector);
	make_chain(HDR + out, 100, in + 1, 100);
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(req.type, type);
	ck_assert_uint_eq(req.out.len, out);
	ck_assert_uint_eq(req.in.len, in);
	ck_assert_ptr_eq(req.status, writable + in);
	return req.verdict;
}

static void assert_data(const struct blk_request_data *data, const uint8_t *at, size_t len)
{
	size_t seen = 0;

	ck_assert_uint_eq(data->len, len);
	for (unsigned int i = 0; i < data->n; i++) {
		ck_assert_ptr_eq(data->iov[i].iov_base, at + seen);
		ck_assert_uint_gt(data->iov[i].iov_len, 0);
		seen += data->iov[i].iov_len;
	}
	ck_assert_uint_eq(seen, len);
}

START_TEST(read_in_every_framing)
{
	for (size_t out_cut = 1; out_cut <= HDR; out_cut++) {
		for (size_t in_cut = 1; in_cut <= 1025; in_cut++) {
			put_header(VIRTIO_BLK_T_IN, 7);
			make_chain(HDR, out_cut, 1025, in_cut);
			ck_assert_int_eq(parse(), 0);
			ck_assert_uint_eq(req.verdict, VIRTIO_BLK_S_OK);
			ck_assert_uint_eq(req.offset, 7 * 512);
			assert_data(&req.in, writable, 1024);
			assert_data(&req.out, readable, 0);
			ck_assert_ptr_eq(req.status, writable + 1024);
		}
	}
}
END_TEST

START_TEST(write_in_every_framing)
{
	for (size_t cut = 1; cut <= HDR + 1024; cut++) {
		put_header(VIRTIO_BLK_T_OUT, 98);
		make_chain(HDR + 1024, cut, 1, 1);
		ck_assert_int_eq(parse(), 0);
		ck_assert_uint_eq(req.type, VIRTIO_BLK_T_OUT);
		ck_assert_uint_eq(req.verdict, VIRTIO_BLK_S_OK);
		ck_assert_uint_eq(req.offset, 98 * 512);
		assert_data(&req.out, readable + HDR, 1024);
		assert_data(&req.in, writable, 0);
		ck_assert_ptr_eq(req.status, writable);
	}
}
END_TEST

START_TEST(empty_elements_do_not_matter)
{
	put_header(VIRTIO_BLK_T_IN, 0);
	make_chain(HDR, HDR, 513, 513);
	iov[0] = (struct iovec){NULL, 0};
	iov[1] = (struct iovec){readable, HDR};
	iov[2] = (struct iovec){NULL, 0};
	iov[3] = (struct iovec){writable, 513};
	iov[4] = (struct iovec){NULL, 0};
	chain.n_readable = 3;
	chain.writable = iov + 3;
	chain.n_writable = 2;
	ck_assert_int_eq(parse(), 0);
	ck_assert_uint_eq(req.verdict, VIRTIO_BLK_S_OK);
	assert_data(&req.in, writable, 512);
	ck_assert_ptr_eq(req.status, writable + 512);
}
END_TEST

START_TEST(no_whole_header)
{
	put_header(VIRTIO_BLK_T_IN, 0);
	make_chain((size_t)_i, 3, 513, 513);
	ck_assert_int_eq(parse(), -EPROTO);
}
END_TEST

START_TEST(no_status)
{
	static const uint32_t types[] = {VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_FLUSH,
					 VIRTIO_BLK_T_GET_ID, 12345};

	put_header(types[_i], 0);
	make_chain(HDR + 512, 512, 0, 1);
	ck_assert_int_eq(parse(), -EPROTO);
}
END_TEST

START_TEST(more_than_the_used_ring_can_count)
{
	put_header(VIRTIO_BLK_T_IN, 0);
	make_chain(HDR, HDR, 513, 513);
	chain.writable_bytes = (size_t)UINT32_MAX + 1;
	ck_assert_int_eq(parse(), -EPROTO);
}
END_TEST

START_TEST(range_of_reads_and_writes)
{
	static const struct {
		uint64_t sector;
		size_t len;
		uint8_t verdict;
	} cases[] = {
		{0, 512, VIRTIO_BLK_S_OK},
		{99, 512, VIRTIO_BLK_S_OK},
		{98, 1024, VIRTIO_BLK_S_OK},
		{0, 0, VIRTIO_BLK_S_OK},
		{100, 0, VIRTIO_BLK_S_OK},
		{101, 0, VIRTIO_BLK_S_IOERR},
		{100, 512, VIRTIO_BLK_S_IOERR},
		{99, 1024, VIRTIO_BLK_S_IOERR},
		{98, 1536, VIRTIO_BLK_S_IOERR},
		{0, 1, VIRTIO_BLK_S_IOERR},
		{0, 511, VIRTIO_BLK_S_IOERR},
		{0, 513, VIRTIO_BLK_S_IOERR},
		{UINT64_C(1) << 32, 512, VIRTIO_BLK_S_IOERR},
		{UINT64_C(1) << 54, 512, VIRTIO_BLK_S_IOERR},
		{UINT64_C(1) << 55, 0, VIRTIO_BLK_S_IOERR},	    /* bytes wrap to 0 */
		{(UINT64_C(1) << 55) + 1, 512, VIRTIO_BLK_S_IOERR}, /* and to 512 */
		{(UINT64_C(1) << 55) - 1, 512, VIRTIO_BLK_S_IOERR}, /* the end wraps to 0 */
		{(UINT64_C(1) << 55) - 1, 1024, VIRTIO_BLK_S_IOERR},
		{UINT64_MAX, 0, VIRTIO_BLK_S_IOERR},
		{UINT64_MAX, 512, VIRTIO_BLK_S_IOERR},
		{UINT64_MAX, 1024, VIRTIO_BLK_S_IOERR},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ck_assert_uint_eq(verdict(VIRTIO_BLK_T_IN, cases[i].sector, 0, cases[i].len),
				  cases[i].verdict);
		ck_assert_uint_eq(verdict(VIRTIO_BLK_T_OUT, cases[i].sector, cases[i].len, 0),
				  cases[i].verdict);
	}
}
END_TEST

START_TEST(data_in_the_wrong_direction)
{
	ck_assert_uint_eq(verdict(VIRTIO_BLK_T_IN, 0, 512, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(verdict(VIRTIO_BLK_T_IN, 0, 1, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(verdict(VIRTIO_BLK_T_OUT, 0, 0, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(verdict(VIRTIO_BLK_T_OUT, 0, 512, 1), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(verdict(VIRTIO_BLK_T_GET_ID, 0, 1, 20), VIRTIO_BLK_S_IOERR);
}
END_TEST

START_TEST(readonly_refuses_writes_alone)
{
	limits.readonly = true;
	ck_assert_uint_eq(verdict(VIRTIO_BLK_T_OUT, 0, 512, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(verdict(VIRTIO_BLK_T_OUT, 0, 0, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(verdict(VIRTIO_BLK_T_IN, 0, 0, 512), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(verdict(VIRTIO_BLK_T_FLUSH, 0, 0, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(verdict(VIRTIO_BLK_T_GET_ID, 0, 0, 20), VIRTIO_BLK_S_OK);
}
END_TEST

START_TEST(flush_and_get_id_ignore_the_sector)
{
	ck_assert_uint_eq(verdict(VIRTIO_BLK_T_FLUSH, UINT64_MAX, 0, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(verdict(VIRTIO_BLK_T_FLUSH, 0, 100, 7), VIRTIO_BLK_S_OK);
	for (size_t len = 0; len < 40; len++)
		ck_assert_uint_eq(verdict(VIRTIO_BLK_T_GET_ID, UINT64_MAX, 0, len),
				  VIRTIO_BLK_S_OK);
}
END_TEST

START_TEST(other_types_are_unsupported)
{
	static const uint32_t types[] = {
		VIRTIO_BLK_T_SCSI_CMD,
		3, /* SCSI_CMD_OUT */
		5, /* FLUSH_OUT of old drivers */
		9,
		10,
		14, /* secure erase */
		VIRTIO_BLK_T_BARRIER,
		VIRTIO_BLK_T_BARRIER | VIRTIO_BLK_T_OUT,
		0x10000,
		UINT32_MAX,
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		ck_assert_uint_eq(verdict(types[i], 0, 0, 0), VIRTIO_BLK_S_UNSUPP);
		ck_assert_uint_eq(verdict(types[i], UINT64_MAX, 333, 77), VIRTIO_BLK_S_UNSUPP);
	}
}
END_TEST

/* discard and write zeroes */

static const uint32_t range_types[] = {VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES};

static void put_segment(unsigned int i, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes segment = {
		.sector = sector, .num_sectors = sectors, .flags = flags};

	memcpy(readable + HDR + i * sizeof(segment), &segment, sizeof(segment));
}

/* One segment, whatever it is cut into. */
static uint8_t range_verdict(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	put_segment(0, sector, sectors, flags);
	return verdict(type, 0, 16, 0);
}

START_TEST(ranges_in_every_framing)
{
	for (size_t cut = 1; cut < 80; cut++) {
		for (unsigned int n = 1; n <= BLK_REQUEST_RANGES; n++) {
			put_header(range_types[_i], UINT64_MAX);
			for (unsigned int i = 0; i < n; i++)
				put_segment(i, 2 * i, 1 + i, 0);
			make_chain(HDR + 16 * n, cut, 1, 1);
			ck_assert_int_eq(parse(), 0);
			ck_assert_uint_eq(req.verdict, VIRTIO_BLK_S_OK);
			ck_assert_uint_eq(req.n_ranges, n);
			for (unsigned int i = 0; i < n; i++) {
				ck_assert_uint_eq(req.ranges[i].offset, 1024 * i);
				ck_assert_uint_eq(req.ranges[i].len, 512 * (1 + i));
			}
		}
	}
}
END_TEST

START_TEST(ranges_lie_on_the_disk)
{
	uint32_t type = range_types[_i];

	ck_assert_uint_eq(range_verdict(type, 0, 100, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(range_verdict(type, 99, 1, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(range_verdict(type, 100, 0, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(range_verdict(type, 0, 101, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(range_verdict(type, 100, 1, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(range_verdict(type, 101, 0, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(range_verdict(type, 1, UINT32_MAX, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(range_verdict(type, UINT64_MAX, 1, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(range_verdict(type, UINT64_MAX / 512, 2, 0), VIRTIO_BLK_S_IOERR);
	/* a good one does not help the bad one behind it */
	put_segment(0, 0, 1, 0);
	put_segment(1, 100, 1, 0);
	ck_assert_uint_eq(verdict(type, 0, 32, 0), VIRTIO_BLK_S_IOERR);
	/* nor the one behind it */
	put_segment(0, 100, 1, 0);
	put_segment(1, 0, 1, 0);
	ck_assert_uint_eq(verdict(type, 0, 32, 0), VIRTIO_BLK_S_IOERR);
	/* as many sectors as we offer, and no more */
	limits.size = UINT64_MAX - 511;
	ck_assert_uint_eq(range_verdict(type, 1, BLK_REQUEST_MAX_SECTORS, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(range_verdict(type, 1, BLK_REQUEST_MAX_SECTORS + 1, 0),
			  VIRTIO_BLK_S_IOERR);
}
END_TEST

START_TEST(ranges_of_wrong_size_or_number)
{
	uint32_t type = range_types[_i];

	for (unsigned int i = 0; i <= BLK_REQUEST_RANGES; i++)
		put_segment(i, 0, 1, 0);
	ck_assert_uint_eq(verdict(type, 0, 0, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(verdict(type, 0, 15, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(verdict(type, 0, 17, 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(verdict(type, 0, 16 * BLK_REQUEST_RANGES, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(verdict(type, 0, 16 * (BLK_REQUEST_RANGES + 1), 0), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(verdict(type, 0, 16, 1), VIRTIO_BLK_S_IOERR); /* data to the driver */
	limits.readonly = true;
	ck_assert_uint_eq(verdict(type, 0, 16, 0), VIRTIO_BLK_S_IOERR);
}
END_TEST

/* 5.2.6.2: unknown flags, and unmap with a discard, are not supported */
START_TEST(flags_of_ranges)
{
	const uint32_t unmap = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;

	ck_assert_uint_eq(range_verdict(VIRTIO_BLK_T_DISCARD, 0, 1, unmap), VIRTIO_BLK_S_UNSUPP);
	ck_assert_uint_eq(range_verdict(VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, unmap), VIRTIO_BLK_S_OK);
	ck_assert(req.unmap);
	ck_assert_uint_eq(range_verdict(VIRTIO_BLK_T_WRITE_ZEROES, 0, 1, 0), VIRTIO_BLK_S_OK);
	ck_assert(!req.unmap);
	for (unsigned int bit = 1; bit < 32; bit++) {
		for (unsigned int i = 0; i < 2; i++)
			ck_assert_uint_eq(range_verdict(range_types[i], 0, 1, UINT32_C(1) << bit),
					  VIRTIO_BLK_S_UNSUPP);
	}
	/* storage is given back only where every segment allows it */
	put_segment(0, 0, 1, unmap);
	put_segment(1, 1, 1, 0);
	ck_assert_uint_eq(verdict(VIRTIO_BLK_T_WRITE_ZEROES, 0, 32, 0), VIRTIO_BLK_S_OK);
	ck_assert(!req.unmap);
	put_segment(0, 0, 1, 0);
	put_segment(1, 1, 1, unmap);
	ck_assert_uint_eq(verdict(VIRTIO_BLK_T_WRITE_ZEROES, 0, 32, 0), VIRTIO_BLK_S_OK);
	ck_assert(!req.unmap);
	put_segment(0, 0, 1, unmap);
	ck_assert_uint_eq(verdict(VIRTIO_BLK_T_WRITE_ZEROES, 0, 32, 0), VIRTIO_BLK_S_OK);
	ck_assert(req.unmap);
}
END_TEST

/* What a limit counts: the bytes that the host may have to write. */
START_TEST(bytes_of_requests)
{
	put_segment(0, 0, 3, 0);
	put_segment(1, 50, 4, 0);
	ck_assert_uint_eq(verdict(VIRTIO_BLK_T_WRITE_ZEROES, 0, 32, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(blk_request_bytes(&req), 7 * 512);
	ck_assert_uint_eq(verdict(VIRTIO_BLK_T_DISCARD, 0, 32, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(blk_request_bytes(&req), 32);
	ck_assert_uint_eq(verdict(VIRTIO_BLK_T_OUT, 0, 1024, 0), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(blk_request_bytes(&req), 1024);
	ck_assert_uint_eq(verdict(VIRTIO_BLK_T_IN, 0, 0, 1536), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(blk_request_bytes(&req), 1536);
}
END_TEST

static Suite *blk_request_suite(void)
{
	Suite *s = suite_create("virtio_blk_request");
	TCase *tc = tcase_create("parse");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, read_in_every_framing);
	tcase_add_test(tc, write_in_every_framing);
	tcase_add_test(tc, empty_elements_do_not_matter);
	tcase_add_loop_test(tc, no_whole_header, 0, (int)HDR);
	tcase_add_loop_test(tc, no_status, 0, 5);
	tcase_add_test(tc, more_than_the_used_ring_can_count);
	tcase_add_test(tc, range_of_reads_and_writes);
	tcase_add_test(tc, data_in_the_wrong_direction);
	tcase_add_test(tc, readonly_refuses_writes_alone);
	tcase_add_test(tc, flush_and_get_id_ignore_the_sector);
	tcase_add_test(tc, other_types_are_unsupported);
	tcase_add_loop_test(tc, ranges_in_every_framing, 0, 2);
	tcase_add_loop_test(tc, ranges_lie_on_the_disk, 0, 2);
	tcase_add_loop_test(tc, ranges_of_wrong_size_or_number, 0, 2);
	tcase_add_test(tc, flags_of_ranges);
	tcase_add_test(tc, bytes_of_requests);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	SRunner *runner = srunner_create(blk_request_suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
