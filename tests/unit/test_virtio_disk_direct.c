/*
 * Direct I/O on hosts that this one need not be like: the program brings its own statx(), fstatfs() and ioctl(), which stand in front of
 * the C library's.
 */
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "tests/unit/disk_fixture.h"

#define SIZE 65536

/* What the host says; 0 for what it says itself. */
static struct {
	uint32_t offset_align; /* statx() tells that; else nothing of direct I/O */
	uint32_t block;	       /* of the file system */
	long type;	       /* else ext4's */
	long flags;
} host;

int statx(int fd, const char *restrict name, int flags, unsigned int mask,
	  struct statx *restrict stx)
{
	int ret = (int)syscall(SYS_statx, fd, name, flags, mask, stx);

	if (host.block > 0)
		stx->stx_blksize = host.block;
#ifdef STATX_DIOALIGN
	stx->stx_mask &= ~(uint32_t)STATX_DIOALIGN;
	if (host.offset_align > 0) {
		stx->stx_mask |= STATX_DIOALIGN;
		stx->stx_dio_offset_align = host.offset_align;
		stx->stx_dio_mem_align = 4;
	}
#endif
	return ret;
}

int fstatfs(int fd, struct statfs *fs)
{
	int ret = (int)syscall(SYS_fstatfs, fd, fs);

	fs->f_type = host.type != 0 ? host.type : EXT4_SUPER_MAGIC;
	return ret;
}

int ioctl(int fd, unsigned long number, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, number);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (number != FS_IOC_GETFLAGS)
		return (int)syscall(SYS_ioctl, fd, number, arg);
	*(long *)arg = host.flags;
	return 0;
}

/* Returns whether direct I/O can be had here. */
static bool open_direct(void)
{
	struct disk_config config = {.image = {.path = path, .direct = true}};
	const char *in = skip_unless_direct();

	if (!in)
		return false;
	setup_in(in);
	make_file(SIZE);
	ck_assert_int_eq(disk_open(&disk, &config), 0);
	ck_assert_uint_eq(n_lines, 0);
	return true;
}

static void close_direct(void)
{
	disk_close(&disk);
	teardown();
}

static bool is_direct(bool write, uint64_t offset, uint64_t len)
{
	const struct image_ops *ops = disk.image->ops;
	struct image_extent extent;
	int flags;

	ck_assert_int_eq((write ? ops->map_write : ops->map_read)(disk.image, offset, len, &extent),
			 0);
	ck_assert_uint_eq(extent.offset, offset);
	ck_assert_uint_eq(extent.len, len);
	flags = fcntl(extent.fd, F_GETFL);
	ck_assert_int_ge(flags, 0);
	ck_assert_int_eq(extent.direct, (flags & O_DIRECT) != 0);
	return extent.direct;
}

/* The guest's sectors stay as they are, or its partitions would be elsewhere; what is not in whole blocks goes through the cache. */
static void assert_blocks_of(uint32_t block)
{
	ck_assert_uint_eq(disk.logical_block, 512);
	ck_assert_uint_eq(disk.physical_block, block);
	for (unsigned int write = 0; write < 2; write++) {
		ck_assert(is_direct(write, block, 2 * block));
		ck_assert(!is_direct(write, 512, block));
		ck_assert(!is_direct(write, block, 512));
	}
}

/* Linux before 6.1 */
START_TEST(host_that_tells_nothing)
{
	host.block = 4096;
	if (!open_direct())
		return;
	ck_assert_uint_eq(disk.image->memory_align, 4096);
	assert_blocks_of(4096);
	close_direct();
}
END_TEST

/* NFS says what one of its messages holds, ZFS what its records have. */
START_TEST(blocks_that_are_none)
{
	static const uint32_t blocks[] = {1 << 20, 131072, 8192, 3000, 256};

	host.block = blocks[_i];
	if (!open_direct())
		return;
	ck_assert_uint_eq(disk.image->memory_align, 4096);
	assert_blocks_of(4096);
	close_direct();
}
END_TEST

#ifdef STATX_DIOALIGN
/* A device with sectors of 4 KiB, or encrypted in such, below a file. */
START_TEST(large_sectors_below)
{
	host.offset_align = 4096;
	if (!open_direct())
		return;
	ck_assert_uint_eq(disk.image->memory_align, 4);
	assert_blocks_of(4096);
	close_direct();
}
END_TEST
#endif

/* Its checksums must not be of memory that the guest changes meanwhile. */
START_TEST(btrfs_is_written_through_the_cache)
{
	host.block = 4096;
	host.type = BTRFS_SUPER_MAGIC;
	if (!open_direct())
		return;
	ck_assert(is_direct(false, 4096, 4096));
	ck_assert(!is_direct(true, 4096, 4096));
	close_direct();
	host.flags = FS_NOCOW_FL; /* which has none */
	ck_assert(open_direct());
	ck_assert(is_direct(false, 4096, 4096));
	ck_assert(is_direct(true, 4096, 4096));
	close_direct();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_disk_direct");
	TCase *tc = tcase_create("direct");

	tcase_add_test(tc, host_that_tells_nothing);
	tcase_add_loop_test(tc, blocks_that_are_none, 0, 5);
#ifdef STATX_DIOALIGN
	tcase_add_test(tc, large_sectors_below);
#endif
	tcase_add_test(tc, btrfs_is_written_through_the_cache);
	suite_add_tcase(s, tc);
	return run(s);
}
