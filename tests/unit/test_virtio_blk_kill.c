/*
 * SIGKILL at random moments while a guest writes and flushes, on io_uring and on threads, on raw images and on a kept overlay: what
 * a flush has covered is there afterwards, and the files open.
 */
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/unit/leave_check.h"
#include "tests/unit/blk_fixture.h"
#include "tests/unit/disk_rw.h"

#define ROUNDS	40u
#define RECORD	1536u /* bytes: three sectors of four */
#define RECORDS (DISK_SECTORS / 8)
#define BATCH	8u

static const struct way {
	enum disk_engine engine;
	bool direct;
	bool overlay;
} ways[] = {
	{DISK_ENGINE_URING, false, false},  {DISK_ENGINE_URING, true, false},
	{DISK_ENGINE_URING, false, true},   {DISK_ENGINE_THREADS, false, false},
	{DISK_ENGINE_THREADS, true, false}, {DISK_ENGINE_THREADS, false, true},
};
#define N_WAYS ((int)(sizeof(ways) / sizeof(ways[0])))

static char dir[128], path[144], kept[144];
/* Shared with the child: how many records a flush has covered. */
static _Atomic unsigned int *flushed;

static int open_disk(const struct way *way)
{
	struct disk_config config = {.image = {.path = path,
					       .direct = way->direct,
					       .overlay = way->overlay,
					       .overlay_path = way->overlay ? kept : NULL},
				     .engine = way->engine};

	return disk_open(&fix.disk, &config);
}

/* Neighbours on the disk are far apart in time. With direct I/O a record is a block of any host's file system. */
static uint64_t record_sector(unsigned int n)
{
	return (uint64_t)(n * 307u % RECORDS) * 8;
}

static uint32_t record_len(const struct way *way)
{
	return way->direct ? 4096 : RECORD;
}

/* ---- in the child ---- */

static gpa_t headers[BATCH], data[BATCH], statuses[BATCH];

static void submit_and_wait(uint32_t type, unsigned int first, unsigned int n, uint32_t len)
{
	uint64_t one = 1;

	for (unsigned int i = 0; i < n; i++) {
		fix.hdr = headers[i];
		fix.data = data[i];
		fix.status = statuses[i];
		fill(at(fix.data, MAX_DATA), len, first + i + 1);
		submit(&fix, type, len > 0 ? record_sector(first + i) : 0, false, len, &plain);
	}
	ck_assert_int_eq(write(fix.blk.dev.kick_fd[0], &one, sizeof(one)), sizeof(one));
	for (unsigned int i = 0; i < n; i++) {
		while (!virtq_driver_used(&fix.drv, NULL, NULL))
			sem_wait(&fix.interrupt);
	}
	for (unsigned int i = 0; i < n; i++)
		ck_assert_uint_eq(*at(statuses[i], 1), VIRTIO_BLK_S_OK);
}

/* Goes on where the last one was killed. */
static void run_guest(const struct way *way)
{
	unsigned int n = atomic_load(flushed);

	leave_check();
	ck_assert_int_eq(open_disk(way), 0);
	ck_assert_int_eq(blk_init(&fix, NULL), 0);
	ck_assert_int_eq(evloop_start(&fix.loop, "disk"), 0);
	blk_negotiate(&fix, 0, BIT(VIRTIO_BLK_F_FLUSH));
	for (unsigned int i = 0; i < BATCH; i++) {
		headers[i] = UINT64_C(0x800000) + i * 0x10000;
		data[i] = headers[i] + 0x1000;
		statuses[i] = headers[i] + 0xf000;
	}
	virtio_device_start(&fix.blk.dev);
	while (n < RECORDS) {
		unsigned int batch = 1 + n % BATCH;

		if (batch > RECORDS - n)
			batch = RECORDS - n;
		submit_and_wait(VIRTIO_BLK_T_OUT, n, batch, record_len(way));
		submit_and_wait(VIRTIO_BLK_T_FLUSH, 0, 1, 0);
		n += batch;
		atomic_store(flushed, n);
	}
	for (;;)
		pause();
}

/* ---- in the parent ---- */

/* Some time after it began, or after the first flush. */
static void kill_after(const struct way *way, bool flush, unsigned int us)
{
	struct timespec wait = {.tv_nsec = us * 1000L};
	unsigned int begin = atomic_load(flushed);
	pid_t child;
	int status;

	/* It stands for a program of its own, which has memory of its own. */
	ck_assert_int_eq(madvise(mem.map, mem.map_size, MADV_DOFORK), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0)
		run_guest(way);
	for (unsigned int ms = 0; flush && ms < 5000 && atomic_load(flushed) == begin; ms++)
		usleep(1000);
	nanosleep(&wait, NULL);
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status)); /* it did not fail before */
}

static void check_records(const struct way *way, unsigned int end)
{
	uint8_t got[4096], want[4096];
	struct iovec iov = {got, record_len(way)};

	for (unsigned int n = 0; n < end; n++) {
		fill(want, iov.iov_len, n + 1);
		ck_assert_int_eq(disk_readv(&fix.disk, &iov, 1, record_sector(n) * 512), 0);
		ck_assert_mem_eq(got, want, iov.iov_len);
	}
}

/* Returns false where there is no direct I/O. */
static bool make_files(const struct way *way)
{
	const char *in = way->direct ? skip_unless_direct() : "/tmp";
	int fd;

	if (!in)
		return false;
	snprintf(dir, sizeof(dir), "%s/test_virtio_blk.XXXXXX", in);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/image", dir);
	snprintf(kept, sizeof(kept), "%s/kept", dir);
	fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	ck_assert_int_eq(ftruncate(fd, DISK_SIZE), 0);
	close(fd);
	ck_assert_int_eq(open_disk(way), 0);
	disk_close(&fix.disk);
	n_lines = 0;
	return true;
}

static void remove_files(void)
{
	unlink(path);
	unlink(kept);
	ck_assert_int_eq(rmdir(dir), 0); /* nothing else was created */
}

START_TEST(flushed_records_survive)
{
	const struct way *way = &ways[_i];
	unsigned int with_progress = 0, last = 0;
	struct stat before, after;

	flushed = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert(flushed != MAP_FAILED);
	setup_mem();
	if (make_files(way)) {
		ck_assert_int_eq(stat(path, &before), 0);
		for (unsigned int round = 0; round < ROUNDS; round++) {
			kill_after(way, round % 4 > 0, (unsigned int)random() % 8000);
			ck_assert_int_eq(open_disk(way), 0);
			check_records(way, atomic_load(flushed));
			disk_close(&fix.disk);
			ck_assert_uint_eq(n_lines, 0);
			with_progress += atomic_load(flushed) > last;
			last = atomic_load(flushed);
			if (last == RECORDS ||
			    round % 10 == 9) { /* begin again, so that all is new */
				ck_assert(unlink(kept) == 0 || !way->overlay);
				atomic_store(flushed, last = 0);
			}
		}
		ck_assert_uint_gt(with_progress, ROUNDS / 2);
		ck_assert_int_eq(stat(path, &after), 0);
		if (way->overlay) /* the base is not touched */
			ck_assert_mem_eq(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim));
		remove_files();
	}
	guest_mem_fini(&mem);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_blk_kill");
	TCase *tc = tcase_create("kill");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, flushed_records_survive, 0, N_WAYS);
	suite_add_tcase(s, tc);
	return run(s);
}
