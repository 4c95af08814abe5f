/* virtio/disk: transfers in all cuts, errors of the host, flush. */
#include <signal.h>
#include <sys/resource.h>

#include "tests/unit/disk_fixture.h"

#define SECTORS(n) ((size_t)(n)*DISK_SECTOR)

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 7 + i / 251);
}

static uint8_t *make_bytes(size_t len, bool fill)
{
	uint8_t *bytes = malloc(len);

	ck_assert_ptr_nonnull(bytes);
	for (size_t i = 0; i < len; i++)
		bytes[i] = fill ? pattern(i) : 0xee;
	return bytes;
}

/* Cuts bytes into pieces of cut bytes with an empty one before each. Returns the number of pieces. */
static unsigned int cut_bytes(struct iovec *iov, uint8_t *bytes, size_t len, size_t cut)
{
	unsigned int n = 0;

	for (size_t at = 0; at < len; at += cut) {
		iov[n++] = (struct iovec){NULL, 0};
		iov[n++] = (struct iovec){bytes + at, len - at < cut ? len - at : cut};
	}
	return n;
}

static void check_round_trip(size_t len, size_t write_cut, size_t read_cut)
{
	struct iovec *iov = calloc(2 * len + 2, sizeof(*iov));
	uint8_t *out = make_bytes(len, true);
	uint8_t *in = make_bytes(len, false);
	unsigned int n = cut_bytes(iov, out, len, write_cut);

	ck_assert_int_eq(disk_writev(&disk, iov, n, 1024), 0);
	ck_assert_int_eq(disk_flush(&disk), 0);
	n = cut_bytes(iov, in, len, read_cut);
	ck_assert_int_eq(disk_readv(&disk, iov, n, 1024), 0);
	ck_assert_mem_eq(in, out, len);
	free(in);
	free(out);
	free(iov);
}

START_TEST(what_is_written_is_read)
{
	open_disk((off_t)SECTORS(64), false);
	check_round_trip(512, 512, 512);
	check_round_trip(4096, 100, 4096);
	check_round_trip(4096, 4096, 1);
	check_round_trip(8192, 1, 3); /* more pieces than one system call takes */
	check_round_trip(SECTORS(62), 5000, 512);
	disk_close(&disk);
}
END_TEST

START_TEST(host_file_holds_what_was_written)
{
	uint8_t *out = make_bytes(1024, true);
	struct iovec iov = {out, 1024};
	uint8_t in[2048];
	int fd;

	open_disk(2048, false);
	ck_assert_int_eq(disk_writev(&disk, &iov, 1, 512), 0);
	fd = open(path, O_RDONLY);
	ck_assert_int_eq(read(fd, in, sizeof(in)), 2048);
	ck_assert_mem_eq(in + 512, out, 1024);
	for (int i = 0; i < 512; i++)
		ck_assert(in[i] == 0 && in[1536 + i] == 0);
	close(fd);
	free(out);
	disk_close(&disk);
}
END_TEST

START_TEST(nothing_is_nothing)
{
	struct iovec iov[2] = {{NULL, 0}, {NULL, 0}};

	open_disk(512, false);
	ck_assert_int_eq(disk_readv(&disk, NULL, 0, 0), 0);
	ck_assert_int_eq(disk_writev(&disk, iov, 2, 512), 0);
	disk_close(&disk);
}
END_TEST

START_TEST(beyond_the_size)
{
	static const uint64_t offsets[] = {
		513, 1024, 1536, UINT64_C(1) << 62, UINT64_MAX - 511, UINT64_MAX};
	uint8_t bytes[1024] = {0x55};
	struct stat st;

	make_file(1500);
	ck_assert_int_eq(try_open(&disk, false), 0);
	for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		struct iovec iov[2] = {{bytes, 512}, {bytes + 512, 512}};

		ck_assert_int_eq(disk_writev(&disk, iov, 2, offsets[i]), -EINVAL);
		ck_assert_int_eq(disk_readv(&disk, iov, 2, offsets[i]), -EINVAL);
	}
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, 1500);
	ck_assert_int_eq(st.st_blocks, 0);
	disk_close(&disk);
}
END_TEST

START_TEST(file_cut_short_by_others)
{
	uint8_t *in = make_bytes(2048, false);
	struct iovec iov[2] = {{in, 700}, {in + 700, 1348}};

	open_disk(4096, false);
	ck_assert_int_eq(truncate(path, 1000), 0);
	ck_assert_int_eq(disk_readv(&disk, iov, 2, 0), -EIO);
	iov[0] = (struct iovec){in, 512};
	ck_assert_int_eq(disk_readv(&disk, iov, 1, 2048), -EIO);
	iov[0] = (struct iovec){in, 512};
	ck_assert_int_eq(disk_readv(&disk, iov, 1, 0), 0); /* what is left can be read */
	free(in);
	disk_close(&disk);
}
END_TEST

START_TEST(host_refuses_in_the_middle)
{
	/* above what Check itself writes to its files, and in the middle of the second piece */
	const uint64_t start = UINT64_C(1) << 20;
	struct rlimit limit = {.rlim_cur = start + 2000, .rlim_max = RLIM_INFINITY};
	uint8_t *out = make_bytes(4096, true);
	struct iovec iov[3] = {{out, 1024}, {out + 1024, 1024}, {out + 2048, 2048}};
	uint8_t in[1024];
	struct iovec back = {in, 1024};

	open_disk(2 << 20, false);
	signal(SIGXFSZ, SIG_IGN); /* threads of the event loop block it */
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(disk_writev(&disk, iov, 3, start), -EFBIG);
	iov[0] = (struct iovec){out, 1024};
	ck_assert_int_eq(disk_writev(&disk, iov, 1, start + 4096), -EFBIG);
	iov[0] = (struct iovec){out, 1024};
	ck_assert_int_eq(disk_writev(&disk, iov, 1, 0), 0); /* other writes still work */
	ck_assert_int_eq(disk_flush(&disk), 0);		    /* an error that was told is no loss */
	ck_assert_int_eq(disk_readv(&disk, &back, 1, 0), 0);
	ck_assert_mem_eq(in, out, 1024);
	free(out);
	disk_close(&disk);
}
END_TEST

START_TEST(readonly_is_never_written)
{
	uint8_t bytes[512] = {1};
	struct iovec iov = {bytes, 512};

	open_disk(512, true);
	ck_assert_int_eq(disk_writev(&disk, &iov, 1, 0), -EROFS);
	ck_assert_int_eq(disk_flush(&disk), 0);
	ck_assert_int_eq(disk_readv(&disk, &iov, 1, 0), 0);
	ck_assert_uint_eq(bytes[0], 0);
	disk_close(&disk);
}
END_TEST

/* Longer than what one call is given; what lies around it stays. */
START_TEST(long_range_becomes_zeros)
{
	const uint64_t size = UINT64_C(600) << 20;
	const uint64_t inside[] = {512, size / 2, size - 1024};
	const uint64_t outside[] = {0, size - 512};
	struct disk_range range = {.offset = 512, .len = size - 1024};
	struct disk_io io = {.op = DISK_ZERO, .unmap = true, .ranges = &range, .n_ranges = 1};
	uint8_t out[512], in[512], zero[512] = {0};
	struct iovec iov = {out, 512}, back = {in, 512};

	memset(out, 0x5a, sizeof(out));
	open_disk((off_t)size, false);
	for (size_t i = 0; i < 3; i++)
		ck_assert_int_eq(disk_writev(&disk, &iov, 1, inside[i]), 0);
	for (size_t i = 0; i < 2; i++)
		ck_assert_int_eq(disk_writev(&disk, &iov, 1, outside[i]), 0);
	ck_assert_int_eq(disk_execute(&disk, &io, NULL), 0);
	for (size_t i = 0; i < 3; i++) {
		ck_assert_int_eq(disk_readv(&disk, &back, 1, inside[i]), 0);
		ck_assert_mem_eq(in, zero, 512);
	}
	for (size_t i = 0; i < 2; i++) {
		ck_assert_int_eq(disk_readv(&disk, &back, 1, outside[i]), 0);
		ck_assert_mem_eq(in, out, 512);
	}
	disk_close(&disk);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_disk_io");
	TCase *transfer = tcase_create("transfer");

	tcase_add_checked_fixture(transfer, setup, teardown);
	tcase_add_test(transfer, what_is_written_is_read);
	tcase_add_test(transfer, host_file_holds_what_was_written);
	tcase_add_test(transfer, nothing_is_nothing);
	tcase_add_test(transfer, beyond_the_size);
	tcase_add_test(transfer, file_cut_short_by_others);
	tcase_add_test(transfer, host_refuses_in_the_middle);
	tcase_add_test(transfer, readonly_is_never_written);
	tcase_add_test(transfer, long_range_becomes_zeros);
	suite_add_tcase(s, transfer);
	return run(s);
}
