/*
 * virtio/disk on a host that does what hosts seldom do: this program brings its own pread(), preadv(),
 * pwrite(), pwritev(), fallocate(), fdatasync() and fcntl(), which stand in front of the C library's.
 */
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "tests/unit/disk_fixture.h"

#define SIZE 4096u

/* What the system calls do; all 0 for the kernel's own way. */
static struct faults {
	size_t most;		 /* bytes per transfer */
	unsigned int interrupts; /* every other call fails with EINTR, this many times */
	size_t fail_after;	 /* bytes until transfers fail */
	int fail_with;
	int sync_fails_with; /* once */
	int allocate_fails_with;
	int lock_fails_with;
	unsigned int locks_interrupted;
	/* counted */
	unsigned int transfers, syncs;
	size_t bytes;
} faults;

static bool interrupted(void)
{
	if (faults.interrupts == 0 || faults.interrupts-- % 2 == 0)
		return false;
	errno = EINTR;
	return true;
}

static ssize_t transfer(long number, int fd, const struct iovec *iov, int n, off_t offset)
{
	struct iovec some[SIZE + 1];
	size_t left = faults.most > 0 ? faults.most : SIZE;
	ssize_t ret;

	faults.transfers++;
	if (interrupted())
		return -1;
	if (faults.fail_with && faults.bytes >= faults.fail_after) {
		errno = faults.fail_with;
		return -1;
	}
	for (int i = 0; i < n; i++) {
		some[i] = iov[i];
		some[i].iov_len = iov[i].iov_len < left ? iov[i].iov_len : left;
		left -= some[i].iov_len;
	}
	ret = syscall(number, fd, some, n, offset, 0);
	faults.bytes += ret > 0 ? (size_t)ret : 0;
	return ret;
}

ssize_t preadv(int fd, const struct iovec *iov, int n, off_t offset)
{
	return transfer(SYS_preadv, fd, iov, n, offset);
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
	return transfer(SYS_pwritev, fd, iov, n, offset);
}

ssize_t pread(int fd, void *buf, size_t len, off_t offset)
{
	struct iovec iov = {buf, len};

	return transfer(SYS_preadv, fd, &iov, 1, offset);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t offset)
{
	union {
		const void *from;
		void *base;
	} bytes = {.from = buf};
	struct iovec iov = {bytes.base, len};

	return transfer(SYS_pwritev, fd, &iov, 1, offset);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	errno = faults.allocate_fails_with;
	return faults.allocate_fails_with ? -1 : (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

int fdatasync(int fd)
{
	int err = faults.sync_fails_with;

	faults.syncs++;
	if (interrupted())
		return -1;
	faults.sync_fails_with = 0;
	errno = err;
	return err ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int fcntl(int fd, int command, ...)
{
	va_list ap;
	long arg;

	va_start(ap, command);
	arg = va_arg(ap, long);
	va_end(ap);
	errno = faults.lock_fails_with;
	if (command == F_OFD_SETLK && faults.locks_interrupted > 0) {
		faults.locks_interrupted--;
		errno = EINTR;
	} else if (command != F_OFD_SETLK || faults.lock_fails_with == 0) {
		return (int)syscall(SYS_fcntl, fd, command, arg);
	}
	return -1;
}

static uint8_t out[SIZE], in[SIZE];
static struct iovec iov[SIZE];

static void setup_faults(void)
{
	setup();
	open_disk(2 * SIZE, false);
	faults = (struct faults){0}; /* what opening reads is not counted */
	for (unsigned int i = 0; i < SIZE; i++)
		out[i] = (uint8_t)(i * 7 + i / 251);
}

static void teardown_faults(void)
{
	disk_close(&disk);
	teardown();
}

static unsigned int cut_bytes(uint8_t *bytes, size_t cut)
{
	unsigned int n = 0;

	for (size_t at = 0; at < SIZE; at += cut)
		iov[n++] = (struct iovec){bytes + at, SIZE - at < cut ? SIZE - at : cut};
	return n;
}

START_TEST(short_transfers_go_on)
{
	static const size_t cuts[] = {1, 7, 511, 512, 1000, SIZE};
	static const size_t most[] = {1, 3, 512, 700, SIZE - 1};

	for (size_t c = 0; c < sizeof(cuts) / sizeof(cuts[0]); c++) {
		for (size_t m = 0; m < sizeof(most) / sizeof(most[0]); m++) {
			faults = (struct faults){.most = most[m], .interrupts = 9};
			ck_assert_int_eq(disk_writev(&disk, iov, cut_bytes(out, cuts[c]), 512), 0);
			ck_assert_uint_eq(faults.bytes, SIZE);
			memset(in, 0xee, SIZE);
			faults = (struct faults){.most = most[m], .interrupts = 9};
			ck_assert_int_eq(disk_readv(&disk, iov, cut_bytes(in, cuts[c]), 512), 0);
			ck_assert_uint_eq(faults.bytes, SIZE);
			ck_assert_mem_eq(in, out, SIZE);
		}
	}
}
END_TEST

/* errno of an earlier call is not taken for that of one that did not fail. */
START_TEST(stale_errno)
{
	errno = EINTR;
	ck_assert_int_eq(disk_flush(&disk), 0);
	ck_assert_uint_eq(faults.syncs, 1);
	ck_assert_int_eq(truncate(path, 0), 0);
	errno = EINTR;
	ck_assert_int_eq(disk_readv(&disk, iov, cut_bytes(in, SIZE), 0), -EIO);
	ck_assert_uint_eq(faults.transfers, 1);
}
END_TEST

START_TEST(one_call_when_all_goes_well)
{
	ck_assert_int_eq(disk_writev(&disk, iov, cut_bytes(out, 100), 0), 0);
	ck_assert_int_eq(disk_readv(&disk, iov, cut_bytes(in, SIZE), 0), 0);
	ck_assert_int_eq(disk_flush(&disk), 0);
	ck_assert_uint_eq(faults.transfers, 2);
	ck_assert_uint_eq(faults.syncs, 1);
}
END_TEST

START_TEST(error_in_the_middle)
{
	faults = (struct faults){.most = 1000, .fail_after = 2000, .fail_with = EIO};
	ck_assert_int_eq(disk_writev(&disk, iov, cut_bytes(out, 512), 0), -EIO);
	ck_assert_uint_eq(faults.bytes, 2000);
	faults = (struct faults){.most = 1000, .fail_after = 3000, .fail_with = ENOSPC};
	ck_assert_int_eq(disk_writev(&disk, iov, cut_bytes(out, SIZE), 0), -ENOSPC);
	ck_assert_uint_eq(faults.bytes, 3000);
	faults = (struct faults){.fail_with = EIO};
	ck_assert_int_eq(disk_readv(&disk, iov, cut_bytes(in, SIZE), 0), -EIO);
	ck_assert_uint_eq(faults.transfers, 1);
	faults = (struct faults){0};
	ck_assert_int_eq(disk_flush(&disk), 0); /* what was told is not lost in silence */
}
END_TEST

START_TEST(interrupted_flush_is_repeated)
{
	faults.interrupts = 3; /* the first and the third call */
	ck_assert_int_eq(disk_flush(&disk), 0);
	ck_assert_uint_eq(faults.syncs, 2);
	ck_assert_int_eq(disk_flush(&disk), 0);
	ck_assert_uint_eq(faults.syncs, 4);
	ck_assert(!disk.state.lost);
}
END_TEST

START_TEST(failed_flush_is_never_forgotten)
{
	static const int errors[] = {EIO, ENOSPC, EDQUOT};

	faults.sync_fails_with = errors[_i];
	ck_assert_int_eq(disk_flush(&disk), -errors[_i]);
	ck_assert(disk.state.lost);
	ck_assert_int_eq(disk_writev(&disk, iov, cut_bytes(out, SIZE), 0), 0);
	ck_assert_int_eq(disk_flush(&disk), -EIO);
	ck_assert_uint_eq(faults.syncs, 1); /* the kernel is not asked again */
	ck_assert_int_eq(disk_readv(&disk, iov, cut_bytes(in, SIZE), 0), 0);
	disk_close(&disk);
	ck_assert_int_eq(try_open(&disk, false), 0);
	ck_assert_int_eq(disk_flush(&disk), 0);
}
END_TEST

static int clear(enum disk_op op)
{
	struct disk_range range = {512, 1024};
	struct disk_io io = {.op = op, .ranges = &range, .n_ranges = 1};

	return disk_execute(&disk, &io, NULL);
}

/* GPFS for parts of blocks, devices before Linux 5.12, file systems that know no such call. The image, then an overlay over it. */
START_TEST(file_system_that_clears_in_no_such_way)
{
	static const int errors[] = {EINVAL, EBUSY, ENOSYS, EOPNOTSUPP};
	struct disk_config config = {.image = {.path = path, .overlay = true}};

	for (unsigned int overlay = 0; overlay < 2; overlay++) {
		faults = (struct faults){0};
		ck_assert_int_eq(disk_writev(&disk, iov, cut_bytes(out, SIZE), 0), 0);
		faults.allocate_fails_with = errors[_i];
		ck_assert_int_eq(clear(DISK_DISCARD), 0);
		ck_assert_int_eq(clear(DISK_ZERO), 0);
		ck_assert_int_eq(disk_readv(&disk, iov, cut_bytes(in, SIZE), 0), 0);
		ck_assert_mem_eq(in, out, 512);
		for (unsigned int i = 512; i < 1536; i++)
			ck_assert_uint_eq(in[i], 0);
		ck_assert_mem_eq(in + 1536, out + 1536, SIZE - 1536);
		disk_close(&disk);
		faults = (struct faults){0};
		ck_assert_int_eq(disk_open(&disk, &config), 0);
	}
}
END_TEST

/* A hole may need room for what describes it: the guest loses nothing without it. */
START_TEST(no_room_for_a_hole)
{
	faults.allocate_fails_with = ENOSPC;
	ck_assert_int_eq(clear(DISK_DISCARD), 0);
	ck_assert_int_eq(clear(DISK_ZERO), -ENOSPC);
}
END_TEST

static void limit_files(rlim_t size)
{
	struct rlimit limit = {.rlim_cur = size, .rlim_max = RLIM_INFINITY};

	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A kept overlay stores data first and its bitmap when they are flushed, for which there may be no room. */
START_TEST(overlay_without_room_for_its_books)
{
	char kept[sizeof(path) + 8];
	struct disk_config config = {
		.image = {.path = path, .overlay = true, .overlay_path = kept}};

	snprintf(kept, sizeof(kept), "%s.kept", path);
	disk_close(&disk);
	ck_assert_int_eq(disk_open(&disk, &config), 0);
	ck_assert_int_eq(disk_writev(&disk, iov, cut_bytes(out, SIZE), 0), 0);
	signal(SIGXFSZ, SIG_IGN);
	limit_files(4096);
	for (unsigned int i = 0; i < 2; i++)
		ck_assert_int_eq(disk_flush(&disk), -EFBIG);
	ck_assert(!disk.state.lost);
	limit_files(RLIM_INFINITY);
	ck_assert_int_eq(disk_flush(&disk), 0);
	disk_close(&disk);
	ck_assert_int_eq(disk_open(&disk, &config), 0);
	memset(in, 0, SIZE);
	ck_assert_int_eq(disk_readv(&disk, iov, cut_bytes(in, SIZE), 0), 0);
	ck_assert_mem_eq(in, out, SIZE);
	faults.sync_fails_with = ENOSPC;
	ck_assert_int_eq(disk_flush(&disk), -ENOSPC); /* but this is a loss */
	ck_assert(disk.state.lost);
	unlink(kept);
}
END_TEST

/* NFS without its lock service, old FUSE file systems */
START_TEST(file_system_without_locks)
{
	static const int errors[] = {ENOLCK, EOPNOTSUPP, EINVAL, ENOSYS};

	disk_close(&disk);
	faults.lock_fails_with = errors[_i];
	ck_assert_int_eq(try_open(&disk, false), 0);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_int_eq(line_level, LOG_LEVEL_WARN);
	ck_assert_ptr_nonnull(strstr(line, path));
	ck_assert_ptr_nonnull(strstr(line, "cannot be locked"));
}
END_TEST

START_TEST(lock_held_as_some_systems_say_it)
{
	disk_close(&disk);
	faults.lock_fails_with = EACCES;
	ck_assert_int_eq(try_open(&disk, false), -EBUSY);
}
END_TEST

START_TEST(interrupted_lock_is_asked_for_again)
{
	struct disk other;

	disk_close(&disk);
	faults.locks_interrupted = 2;
	ck_assert_int_eq(try_open(&disk, false), 0);
	ck_assert_uint_eq(n_lines, 0);
	ck_assert_uint_eq(faults.locks_interrupted, 0);
	ck_assert_int_eq(try_open(&other, false), -EBUSY);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_disk_faults");
	TCase *tc = tcase_create("faults");

	tcase_add_checked_fixture(tc, setup_faults, teardown_faults);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, short_transfers_go_on);
	tcase_add_test(tc, stale_errno);
	tcase_add_test(tc, one_call_when_all_goes_well);
	tcase_add_test(tc, error_in_the_middle);
	tcase_add_test(tc, interrupted_flush_is_repeated);
	tcase_add_test(tc, overlay_without_room_for_its_books);
	tcase_add_loop_test(tc, file_system_that_clears_in_no_such_way, 0, 4);
	tcase_add_test(tc, no_room_for_a_hole);
	tcase_add_loop_test(tc, failed_flush_is_never_forgotten, 0, 3);
	tcase_add_loop_test(tc, file_system_without_locks, 0, 4);
	tcase_add_test(tc, interrupted_lock_is_asked_for_again);
	tcase_add_test(tc, lock_held_as_some_systems_say_it);
	suite_add_tcase(s, tc);
	return run(s);
}
