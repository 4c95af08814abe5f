/*
 * virtio/disk on what only root can make: a full and a read-only file system, and loop devices. In a mount
 * namespace of its own; what is not permitted here is named and skipped.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "tests/unit/disk_fixture.h"

#define SKIPPED	   77
#define TMPFS_SIZE (256u << 10)
#define IMAGE_SIZE (1u << 20)

static char mount_point[] = "/tmp/test_virtio_disk_host.XXXXXX";

/* What the next ioctl() of this number answers instead of the kernel; 0 for none. */
static unsigned long fake_ioctl;
static int fake_ret;
static unsigned int fake_value;

int ioctl(int fd, unsigned long number, ...)
{
	va_list ap;
	void *arg;

	va_start(ap, number);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (number != fake_ioctl || number == 0)
		return (int)syscall(SYS_ioctl, fd, number, arg);
	if (fake_ret == 0)
		memcpy(arg, &fake_value, sizeof(fake_value));
	else
		errno = ENOTTY;
	return fake_ret;
}

static bool make_namespace(void)
{
	return unshare(CLONE_NEWNS) == 0 &&
	       mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static void setup_tmpfs(void)
{
	strcpy(mount_point + strlen(mount_point) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(mount_point));
	ck_assert_int_eq(mount("tmpfs", mount_point, "tmpfs", 0, "size=256k"), 0);
	snprintf(path, sizeof(path), "%s/x.img", mount_point);
	n_lines = 0;
	log_set_sink(sink, NULL);
	make_file(IMAGE_SIZE);
}

static void teardown_tmpfs(void)
{
	ck_assert_int_eq(umount2(mount_point, MNT_DETACH), 0);
	ck_assert_int_eq(rmdir(mount_point), 0);
}

static int write_block(uint64_t offset, size_t len)
{
	uint8_t *bytes = malloc(len);
	struct iovec iov = {bytes, len};
	int ret;

	memset(bytes, 0x5a, len);
	ret = disk_writev(&disk, &iov, 1, offset);
	free(bytes);
	return ret;
}

START_TEST(full_file_system)
{
	int ret = 0;

	ck_assert_int_eq(try_open(&disk, false), 0);
	for (unsigned int i = 0; i < IMAGE_SIZE / 65536 && ret == 0; i++)
		ret = write_block(i * 65536, 65536);
	ck_assert_int_eq(ret, -ENOSPC);
	ck_assert_int_eq(write_block(0, 4096), 0); /* what has its room stays writable */
	ck_assert_int_eq(disk_flush(&disk), 0);
	disk_close(&disk);
}
END_TEST

START_TEST(readonly_file_system)
{
	char want[256];

	ck_assert_int_eq(mount(NULL, mount_point, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	ck_assert_int_eq(try_open(&disk, false), -EROFS);
	snprintf(want, sizeof(want),
		 "cannot open disk '%s': read-only file system; add ',readonly'", path);
	ck_assert_str_eq(line, want);
	ck_assert_int_eq(try_open(&disk, true), 0); /* as advised */
	ck_assert_uint_eq(n_lines, 1);
	disk_close(&disk);
}
END_TEST

/* A loop device over image, released when the last descriptor closes. Returns that, or -1. */
static int make_loop(int image, uint32_t block_size, uint32_t flags, char *name, size_t name_len)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int number = control < 0 ? -1 : ioctl(control, LOOP_CTL_GET_FREE);
	struct loop_config config = {.fd = (uint32_t)image, .block_size = block_size};
	int loop;

	config.info.lo_flags = LO_FLAGS_AUTOCLEAR | flags;
	snprintf(name, name_len, "/dev/loop%d", number);
	loop = number < 0 ? -1 : open(name, O_RDWR | O_CLOEXEC);
	if (loop >= 0 && ioctl(loop, LOOP_CONFIGURE, &config) < 0) {
		close(loop);
		loop = -1;
	}
	if (control >= 0)
		close(control);
	return loop;
}

/* From here on path names the device. */
static int use_loop(uint32_t block_size, uint32_t flags)
{
	int image = open(path, O_RDWR | O_CLOEXEC);
	int loop = make_loop(image, block_size, flags, path, sizeof(path));

	ck_assert_int_ge(loop, 0);
	close(image);
	return loop;
}

START_TEST(block_device)
{
	uint32_t block = _i ? 4096 : 512;
	int loop = use_loop(block, 0);
	uint8_t bytes[512] = {0};
	struct iovec iov = {bytes, sizeof(bytes)};

	ck_assert_int_eq(try_open(&disk, false), 0);
	ck_assert_uint_eq(disk.size, IMAGE_SIZE);
	ck_assert_uint_eq(disk.logical_block, block);
	ck_assert_uint_ge(disk.physical_block, block);
	ck_assert_int_eq(write_block(4096, 512), 0);
	ck_assert_int_eq(disk_flush(&disk), 0);
	ck_assert_int_eq(disk_readv(&disk, &iov, 1, 4096), 0);
	ck_assert_uint_eq(bytes[0], 0x5a);
	ck_assert_int_eq(write_block(IMAGE_SIZE, 512), -EINVAL);
	ck_assert_uint_eq(n_lines, 0);
	disk_close(&disk);
	close(loop);
}
END_TEST

/* Odd answers must not become odd blocks. */
START_TEST(block_sizes_of_a_device)
{
	static const struct {
		unsigned long number;
		int ret;
		unsigned int value, logical, physical;
	} cases[] = {
		{BLKPBSZGET, 0, 4096, 512, 4096}, {BLKPBSZGET, 0, 512, 512, 512},
		{BLKPBSZGET, 0, 256, 512, 512},	  {BLKPBSZGET, 0, 5000, 512, 512},
		{BLKPBSZGET, -1, 4096, 512, 512}, {BLKSSZGET, 0, 4096, 4096, 4096},
		{BLKSSZGET, 0, 256, 512, 512},	  {BLKSSZGET, 0, 3000, 512, 512},
		{BLKSSZGET, 0, 0, 512, 512},	  {BLKSSZGET, -1, 4096, 512, 512},
	};
	int loop = use_loop(512, 0);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fake_ioctl = cases[i].number;
		fake_ret = cases[i].ret;
		fake_value = cases[i].value;
		ck_assert_int_eq(try_open(&disk, false), 0);
		ck_assert_uint_eq(disk.logical_block, cases[i].logical);
		ck_assert_uint_eq(disk.physical_block, cases[i].physical);
		disk_close(&disk);
	}
	fake_ioctl = BLKGETSIZE64;
	fake_ret = -1;
	ck_assert_int_eq(try_open(&disk, false), -ENOTTY);
	ck_assert_uint_eq(n_lines, 1);
	fake_ioctl = 0;
	close(loop);
}
END_TEST

START_TEST(block_device_that_is_readonly)
{
	int loop = use_loop(512, LO_FLAGS_READ_ONLY);

	ck_assert_int_eq(try_open(&disk, false), -EROFS);
	ck_assert_ptr_nonnull(strstr(line, "the device is read-only; add ',readonly'"));
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_int_eq(try_open(&disk, true), 0);
	ck_assert_int_eq(disk_flush(&disk), 0);
	disk_close(&disk);
	close(loop);
}
END_TEST

START_TEST(block_device_in_use)
{
	int loop = use_loop(512, 0);
	int holder = open(path, O_RDWR | O_EXCL | O_CLOEXEC); /* as a mount holds it */

	ck_assert_int_eq(try_open(&disk, false), -EBUSY);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_ptr_nonnull(strstr(line, "it is mounted on the host or in use there"));
	ck_assert_int_eq(try_open(&disk, true), 0);
	disk_close(&disk);
	close(holder);
	ck_assert_int_eq(try_open(&disk, false), 0);
	disk_close(&disk);
	close(loop);
}
END_TEST

START_TEST(block_device_without_medium)
{
	int loop = use_loop(512, 0);

	ck_assert_int_eq(ioctl(loop, LOOP_CLR_FD), 0);
	close(loop);
	ck_assert_int_lt(try_open(&disk, false), 0);
	ck_assert_uint_eq(n_lines, 1);
}
END_TEST

/*
 * The device takes writes into the page cache that its full file system cannot store: fdatasync() fails, the
 * kernel drops the pages, and the next fdatasync() knows nothing of it. Nor may the guest be told that all is well.
 */
START_TEST(lost_data_is_never_called_stable)
{
	int loop = use_loop(4096, 0);

	ck_assert_int_eq(try_open(&disk, false), 0);
	ck_assert_int_eq(write_block(0, IMAGE_SIZE), 0);
	ck_assert_int_eq(disk_flush(&disk), -EIO);
	ck_assert_int_eq(fdatasync(image_fd(disk.image)), 0); /* the trap */
	ck_assert_int_eq(disk_flush(&disk), -EIO);
	ck_assert_int_eq(write_block(0, 4096), 0);
	ck_assert_int_eq(disk_flush(&disk), -EIO);
	disk_close(&disk);
	close(loop);
}
END_TEST

static bool loops_work(void)
{
	char name[64];
	int image = memfd_create("image", MFD_CLOEXEC);
	int loop = ftruncate(image, IMAGE_SIZE) < 0 ? -1 : make_loop(image, 4096, 0, name, 64);

	close(image);
	if (loop >= 0)
		close(loop);
	return loop >= 0;
}

static void add_loop_tests(TCase *tc)
{
	tcase_add_loop_test(tc, block_device, 0, 2);
	tcase_add_test(tc, block_sizes_of_a_device);
	tcase_add_test(tc, block_device_that_is_readonly);
	tcase_add_test(tc, block_device_in_use);
	tcase_add_test(tc, block_device_without_medium);
	tcase_add_test(tc, lost_data_is_never_called_stable);
}

int main(void)
{
	Suite *s;
	TCase *tc;

	if (!make_namespace()) {
		printf("skipped: no mount namespace of our own can be had here (%s)\n",
		       strerror(errno));
		return SKIPPED;
	}
	s = suite_create("virtio_disk_host");
	tc = tcase_create("host");
	tcase_add_checked_fixture(tc, setup_tmpfs, teardown_tmpfs);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, full_file_system);
	tcase_add_test(tc, readonly_file_system);
	if (loops_work())
		add_loop_tests(tc);
	else
		skip_note("tests on block devices, as no loop device can be made here");
	suite_add_tcase(s, tc);
	return run(s);
}
