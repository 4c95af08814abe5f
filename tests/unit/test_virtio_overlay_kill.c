/*
 * SIGKILL at random moments while an overlay is written and flushed, two hundred times over: what was flushed is there afterwards, and the file opens.
 */
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/unit/image_fixture.h"
#include "tests/unit/leave_check.h"
#include "virtio/overlay.h"

#define SIZE	(64u << 20) /* four pages of the bitmap */
#define RECORD	1536u
#define ROUNDS	200u
#define RECORDS (SIZE / 4096)

/* Shared with the child: how many records a flush has covered. */
static _Atomic unsigned int *flushed;
static struct file_image base;
static struct image *top;

static int open_top(void)
{
	struct overlay_config config = {
		.base = file_image_open(&base, base_path, 0),
		.base_name = base_path,
		.path = top_path,
	};

	return overlay_open(&top, &config);
}

/* Records lie all over the disk, and across the boundaries of words and pages of the bitmap. */
static uint64_t record_offset(unsigned int n)
{
	return (uint64_t)(n * 7919u % RECORDS) * 4096 + n % 5 * 512;
}

/* In the child: goes on where the last one was killed. */
static void write_records(unsigned int first)
{
	unsigned char record[RECORD];

	leave_check();
	if (open_top() < 0)
		_exit(1);
	for (unsigned int n = first; n < RECORDS; n++) {
		fill_pattern(record, RECORD, n + 1);
		if (image_write(top, record, RECORD, record_offset(n)) < 0)
			_exit(2);
		if (n % 3 == 0) {
			if (image_flush(top) < 0)
				_exit(3);
			atomic_store(flushed, n + 1);
		}
	}
	for (;;)
		pause();
}

/* Some time after it began, or after the first flush, which on a busy host takes its time. */
static void kill_after(bool flush, unsigned int us)
{
	struct timespec wait = {.tv_nsec = us * 1000L};
	unsigned int begin = atomic_load(flushed);
	pid_t child = fork();
	int status;

	ck_assert_int_ge(child, 0);
	if (child == 0)
		write_records(atomic_load(flushed));
	for (unsigned int ms = 0; flush && ms < 5000 && atomic_load(flushed) == begin; ms++)
		usleep(1000);
	nanosleep(&wait, NULL);
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status)); /* it did not fail before */
}

static void check_records(unsigned int first, unsigned int end)
{
	unsigned char record[RECORD], wanted[RECORD];

	for (unsigned int n = first; n < end; n++) {
		fill_pattern(wanted, RECORD, n + 1);
		ck_assert_int_eq(image_pread(top, record, RECORD, record_offset(n)), 0);
		ck_assert_mem_eq(record, wanted, RECORD);
	}
}

START_TEST(flushed_records_survive)
{
	unsigned int last = 0, with_progress = 0, now;
	int fd;

	flushed = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert(flushed != MAP_FAILED);
	fd = open(base_path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	ck_assert_int_eq(ftruncate(fd, SIZE), 0);
	close(fd);
	srandom(1);
	for (unsigned int round = 0; round < ROUNDS; round++) {
		/* from before the file has a name to well within the writing */
		kill_after(round % 4 > 0, (unsigned int)random() % (round % 4 == 0 ? 2000 : 12000));
		ck_assert_int_eq(open_top(), 0);
		now = atomic_load(flushed);
		check_records(round % 20 == 19 ? 0 : last, now);
		top->ops->close(top);
		ck_assert_uint_eq(n_lines, 0);
		with_progress += now > last;
		last = now;
		if (round % 10 == 0) /* begin again, so that creating is met too */
			unlink(top_path), last = 0, atomic_store(flushed, 0);
	}
	ck_assert_uint_gt(with_progress, ROUNDS / 2);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio/overlay kill");
	TCase *tc = tcase_create("kill");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 110);
	tcase_add_test(tc, flushed_records_survive);
	suite_add_tcase(s, tc);
	return run(s);
}
