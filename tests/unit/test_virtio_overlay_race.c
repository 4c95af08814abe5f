/*
 * virtio/overlay: a start that opens the file of a machine which is about to end, and one that cannot read its own. This program brings
 * its own fcntl() and lseek().
 */
#include <stdarg.h>
#include <sys/syscall.h>

#include "tests/unit/image_fixture.h"
#include "virtio/overlay.h"

#define SIZE (1u << 20)

static struct image *ending; /* ends when the next lock is asked for */

static void end_other(void)
{
	struct image *other = ending;

	ending = NULL;
	if (other)
		other->ops->close(other);
}

/* In place of the one of libc, for the moment between open() and the lock. */
int fcntl(int fd, int cmd, ...)
{
	va_list args;
	void *arg;

	va_start(args, cmd);
	arg = va_arg(args, void *);
	va_end(args);
	if (cmd == F_OFD_SETLK)
		end_other();
	return (int)syscall(SYS_fcntl, fd, cmd, arg);
}

static bool cannot_seek; /* for data */

off_t lseek(int fd, off_t offset, int whence)
{
	if (whence != SEEK_DATA || !cannot_seek)
		return syscall(SYS_lseek, fd, offset, whence);
	errno = EIO;
	return -1;
}

static struct image *open_over(struct file_image *base)
{
	struct overlay_config config = {
		.base = file_image_open(base, base_path, 0),
		.base_name = base_path,
		.path = top_path,
	};
	struct image *top;

	ck_assert_int_eq(overlay_open(&top, &config), 0);
	ck_assert_uint_eq(n_lines, 0);
	return top;
}

static void make_base(void)
{
	int fd;

	setup();
	fd = open(base_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(ftruncate(fd, SIZE), 0);
	close(fd);
}

/* It removes its file, which was never written. */
START_TEST(removed_file_is_made_again)
{
	struct file_image first, second;
	char data[512], got[512];
	struct image *top;

	memset(data, 'x', sizeof(data));
	ending = open_over(&first);
	top = open_over(&second);
	ck_assert_ptr_null(ending);
	ck_assert_int_eq(image_write(top, data, sizeof(data), 4096), 0);
	ck_assert_int_eq(image_flush(top), 0);
	top->ops->close(top);
	top = open_over(&second);
	ck_assert_int_eq(image_pread(top, got, sizeof(got), 4096), 0);
	ck_assert_mem_eq(got, data, sizeof(got));
	top->ops->close(top);
}
END_TEST

/* A file that this start has made goes; one that was there before stays. */
START_TEST(unreadable_file)
{
	struct file_image first;
	struct overlay_config config = {
		.base_name = base_path,
		.path = top_path,
	};
	char data[512] = "x";
	struct image *top;

	if (_i) {
		top = open_over(&first);
		ck_assert_int_eq(image_write(top, data, sizeof(data), 0), 0);
		top->ops->close(top);
	}
	config.base = file_image_open(&first, base_path, 0);
	cannot_seek = true;
	ck_assert_int_eq(overlay_open(&top, &config), -EIO);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_ptr_nonnull(strstr(line, "cannot read overlay"));
	ck_assert(first.closed);
	ck_assert_int_eq(access(top_path, F_OK), _i ? 0 : -1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio/overlay_race");
	TCase *tc = tcase_create("race");

	tcase_add_checked_fixture(tc, make_base, teardown);
	tcase_add_test(tc, removed_file_is_made_again);
	tcase_add_loop_test(tc, unreadable_file, 0, 2);
	suite_add_tcase(s, tc);
	return run(s);
}
