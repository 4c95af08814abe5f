/* virtio/fs: what waits for storage keeps nobody else waiting, and nothing of it is lost, left open or answered too late. */
#include "tests/unit/count_fds.h"
#include "tests/unit/fs_write_fixture.h"

#include <semaphore.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <linux/magic.h>

static sem_t go;

/* A host whose file system is of this type, and does not know whether reading would wait; 0: this host. */
static unsigned int blind_type;

ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	if (blind_type && (flags & RWF_NOWAIT)) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return syscall(SYS_preadv2, fd, iov, (long)n, (long)offset, 0L, (long)flags);
}

int fstatfs(int fd, struct statfs *st)
{
	int ret = (int)syscall(SYS_fstatfs, fd, st);

	if (ret == 0 && blind_type)
		st->f_type = (__typeof__(st->f_type))blind_type;
	return ret;
}

static int sync_error;

int syncfs(int fd)
{
	errno = sync_error;
	return sync_error ? -1 : (int)syscall(SYS_syncfs, fd);
}

/* What the pool would do, once the test says so. */
static void (*execute)(void *arg, struct disk_job *job);

static void execute_held(void *arg, struct disk_job *job)
{
	while (sem_wait(&go) < 0)
		;
	execute(arg, job);
}

static void hold(void)
{
	sem_init(&go, 0, 0);
	execute = fs.slow.pool.execute;
	fs.slow.pool.execute = execute_held;
}

static void setup_held(void)
{
	setup();
	hold();
}

static void setup_running(void)
{
	setup();
	hold();
	device_reset();
	device_run_loop();
	device_begin(0, 3);
	fs_begin_session(FUSE_MAX_PAGES);
}

static void let_go(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		sem_post(&go);
}

static void wait_for_all(void)
{
	while (fs.slow.n > 0)
		evloop_turn(&fix.loop);
}

#define SLOW_ANSWERS (DEV_BUFFERS + 0x100000)

/* Sends a request, and waits for nothing. Its answer, whose room is 0x1000 bytes at most, has its place by number. */
static void send_on(unsigned int queue, unsigned int number, uint32_t opcode, const void *args,
		    uint32_t len, uint32_t room)
{
	struct fuse_in_header head = {
		.opcode = opcode, .unique = 1000 + number, .nodeid = FUSE_ROOT_ID};
	gpa_t at = SLOW_ANSWERS + number * UINT64_C(0x2000);
	struct virtq_piece pieces[2] = {{at, (uint32_t)sizeof(head) + len, false},
					{at + 0x1000, room, true}};

	head.len = pieces[0].len;
	memcpy(device_at(at, sizeof(head)), &head, sizeof(head));
	memcpy(device_at(at + sizeof(head), len), args, len);
	memset(device_at(at + 0x1000, room), 0xaa, room);
	virtq_driver_send(&fix.drv[queue], pieces, 2);
	device_kick(queue);
}

static void send_slow(unsigned int number, uint32_t opcode, const void *args, uint32_t len,
		      uint32_t room)
{
	send_on(FS_QUEUE, number, opcode, args, len, room);
}

static struct fuse_out_header *answer_of(unsigned int number)
{
	return (void *)device_at(SLOW_ANSWERS + number * UINT64_C(0x2000) + 0x1000,
				 sizeof(struct fuse_out_header));
}

static void check_answer(unsigned int number, int error, uint32_t len)
{
	ck_assert_uint_eq(answer_of(number)->unique, 1000 + number);
	ck_assert_int_eq(answer_of(number)->error, error);
	ck_assert_uint_eq(answer_of(number)->len, sizeof(struct fuse_out_header) + len);
}

static void send_sync(unsigned int number, uint64_t fh)
{
	struct fuse_fsync_in in = {.fh = fh};

	send_slow(number, FUSE_FSYNC, &in, sizeof(in), sizeof(struct fuse_out_header));
}

/* The next used entry is of no other request than those that are slow. */
static void reap(unsigned int n)
{
	while (n-- > 0)
		device_reap(FS_QUEUE);
	ck_assert(!virtq_driver_used(&fix.drv[FS_QUEUE], NULL, NULL));
}

START_TEST(others_do_not_wait)
{
	struct fs_created c = fs_create_file("file", O_RDWR, 0644);
	struct fuse_getattr_in in = {0};
	int fd = fs.files[c.open.fh].fd;

	send_sync(0, c.open.fh);
	send_slow(1, FUSE_GETATTR, &in, sizeof(in), 200);
	reap(1);
	check_answer(1, 0, sizeof(struct fuse_attr_out));
	/* The guest closes it meanwhile: to the guest it is closed, and so it is when the work is done. */
	send_slow(2, FUSE_RELEASE, &(struct fuse_release_in){.fh = c.open.fh},
		  sizeof(struct fuse_release_in), 16);
	reap(1);
	check_answer(2, 0, 0);
	send_sync(3, c.open.fh);
	reap(1);
	check_answer(3, -EBADF, 0);
	ck_assert_int_ge(fcntl(fd, F_GETFD), 0);
	ck_assert_uint_eq(fs.n_open, 1);
	let_go(1);
	wait_for_all();
	reap(1);
	check_answer(0, 0, 0);
	ck_assert_int_lt(fcntl(fd, F_GETFD), 0);
	ck_assert_uint_eq(fs.n_open, 0);
	/* and its number is another file's */
	ck_assert_uint_eq(fs_create_file("other", O_RDWR, 0644).open.fh, c.open.fh);
}
END_TEST

/* Those that there is no room for the loop does itself. */
START_TEST(more_than_there_is_room_for)
{
	struct fs_created c = fs_create_file("file", O_RDWR, 0644);

	for (unsigned int i = 0; i < FS_SLOW_MOST; i++)
		send_sync(i, c.open.fh);
	ck_assert_uint_eq(fs.slow.n, FS_SLOW_MOST);
	reap(0);
	send_sync(FS_SLOW_MOST, c.open.fh);
	reap(1);
	check_answer(FS_SLOW_MOST, 0, 0);
	let_go(FS_SLOW_MOST);
	wait_for_all();
	reap(FS_SLOW_MOST);
	for (unsigned int i = 0; i < FS_SLOW_MOST; i++)
		check_answer(i, 0, 0);
}
END_TEST

/* The reset waits for what has begun; nobody is answered after it. */
START_TEST(a_reset_waits)
{
	struct fs_created c = fs_create_file("file", O_RDWR, 0644);

	for (unsigned int i = 0; i < 20; i++)
		send_sync(i, c.open.fh);
	reap(0);
	virtio_device_stop(&fs.dev);
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(fix.stopped, 0);
	let_go(20);
	while (fix.stopped == 0)
		usleep(50);
	for (unsigned int i = 0; i < 20; i++)
		ck_assert_uint_eq(answer_of(i)->len, 0xaaaaaaaa);
	ck_assert_uint_eq(fs.n_open, 0);
	/* The next driver is served as ever. */
	device_begin(0, 3);
	fs_begin_session(FUSE_MAX_PAGES);
	c = fs_create_file("file", O_RDWR, 0644);
	let_go(1);
	fs_ask(FUSE_FSYNC, 5, &(struct fuse_fsync_in){.fh = c.open.fh}, 16, NULL, 0);
	ck_assert_int_eq(fs_error, 0);
}
END_TEST

/* The end comes while it is at work, or before anybody has looked at what is done. */
START_TEST(an_end_forgets_nothing)
{
	struct fs_created c = fs_create_file("file", O_RDWR, 0644);

	for (unsigned int i = 0; i < 20; i++)
		send_sync(i, c.open.fh);
	send_slow(20, FUSE_SYNCFS, &(struct fuse_syncfs_in){0}, sizeof(struct fuse_syncfs_in), 16);
	let_go(21);
	/* the rest is for the leak checker, and for what counts descriptors below */
}
END_TEST

START_TEST(reading_that_waits)
{
	static char text[100000];
	uint64_t fh;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 26);
	fs_make_file("file", text, sizeof(text));
	fh = fs_do_open(fs_walk("file"), false, O_RDONLY);
	ck_assert_uint_ne(fh, 0);
	fs.files[fh].blind = true;
	let_go(3);
	ck_assert_uint_eq(fs_do_read(FUSE_READ, 5, fh, 1000, 70000, 70000), 70000);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_mem_eq(fs_body, text + 1000, 70000);
	ck_assert_uint_eq(fs_do_read(FUSE_READ, 5, fh, 99000, 70000, 70000), 1000);
	ck_assert_mem_eq(fs_body, text + 99000, 1000);
	/* less room than it wants */
	ck_assert_uint_eq(fs_do_read(FUSE_READ, 5, fh, 0, 70000, 300), 300);
	ck_assert_int_eq(sem_trywait(&go), -1);
}
END_TEST

static void send_read(unsigned int number, uint64_t fh)
{
	struct fuse_read_in in = {.fh = fh, .size = 5};

	send_slow(number, FUSE_READ, &in, sizeof(in), sizeof(struct fuse_out_header) + 5);
}

/* Where nobody knows whether it waits, as on an overlay, nobody else waits for it; what is in memory alone is read at once. */
START_TEST(reading_that_may_wait)
{
	struct fuse_getattr_in in = {0};
	uint64_t fh;

	fs_make_file("file", "hello", 5);
	fh = fs_do_open(fs_walk("file"), false, O_RDONLY);
	blind_type = OVERLAYFS_SUPER_MAGIC;
	for (unsigned int i = 0; i < 2; i++) {
		send_read(0, fh);
		send_slow(1, FUSE_GETATTR, &in, sizeof(in), 200);
		reap(1);
		check_answer(1, 0, sizeof(struct fuse_attr_out));
		let_go(1);
		wait_for_all();
		reap(1);
		check_answer(0, 0, 5);
		ck_assert_mem_eq(answer_of(0) + 1, "hello", 5);
	}
	blind_type = TMPFS_MAGIC;
	fh = fs_do_open(fs_walk("file"), false, O_RDONLY);
	send_read(2, fh);
	send_read(3, fh);
	reap(2);
	check_answer(3, 0, 5);
	blind_type = 0;
}
END_TEST

/* Every way that a file system may answer, whichever this one has: what was read is what is there. */
START_TEST(reading_of_what_is_not_in_memory)
{
	static char text[300000];
	uint64_t fh;
	int fd;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 23);
	fs_make_file("file", text, sizeof(text));
	fd = open(fs_path("file"), O_RDONLY);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fsync(fd), 0);
	fh = fs_do_open(fs_walk("file"), false, O_RDONLY);
	let_go(1000);
	for (unsigned int i = 0; i < 40; i++) {
		uint64_t offset = i * UINT64_C(7321);
		uint32_t n;

		/* a hole in what is cached, elsewhere each time */
		posix_fadvise(fd, (off_t)offset + 8192 * (i % 5), 4096 << (i % 6),
			      POSIX_FADV_DONTNEED);
		n = fs_do_read(FUSE_READ, 5, fh, offset, 65536, 65536);
		ck_assert_int_eq(fs_error, 0);
		ck_assert_uint_eq(n, sizeof(text) - offset < 65536 ? sizeof(text) - offset : 65536);
		ck_assert_mem_eq(fs_body, text + offset, n);
	}
	/* files that end with a page, or before it */
	ck_assert_uint_eq(fs_do_read(FUSE_READ, 5, fh, sizeof(text), 4096, 4096), 0);
	ck_assert_int_eq(truncate(fs_path("file"), 8192), 0);
	ck_assert_uint_eq(fs_do_read(FUSE_READ, 5, fh, 4096, 65536, 65536), 4096);
	ck_assert_mem_eq(fs_body, text + 4096, 4096);
	close(fd);
}
END_TEST

/* A request is answered where it came from, also when it took long. */
START_TEST(each_queue_has_its_answers)
{
	struct fs_created c;
	struct fuse_fsync_in in = {.fh = 1};
	unsigned int before;

	device_reset();
	device_begin(0, 7);
	fs_begin_session(FUSE_MAX_PAGES);
	c = fs_create_file("file", O_RDWR, 0644);
	in.fh = c.open.fh;
	before = fix.interrupts[2];
	send_sync(0, c.open.fh);
	send_on(2, 1, FUSE_FSYNC, &in, sizeof(in), 16);
	let_go(2);
	wait_for_all();
	reap(1);
	device_reap(2);
	check_answer(0, 0, 0);
	check_answer(1, 0, 0);
	ck_assert_uint_gt(fix.interrupts[2], before);
}
END_TEST

/* Over a network, to close a file is to have it written. */
START_TEST(closing_that_waits)
{
	struct fs_created c = fs_create_file("file", O_RDWR, 0644);
	struct fuse_flush_in in = {.fh = c.open.fh};

	fs.flushes = true;
	send_slow(0, FUSE_FLUSH, &in, sizeof(in), sizeof(struct fuse_out_header));
	reap(0);
	let_go(1);
	wait_for_all();
	reap(1);
	check_answer(0, 0, 0);
	ck_assert_uint_eq(fs_do_write(c.open.fh, 0, "open", O_RDWR, 0), 4);
	in.fh = 999;
	send_slow(1, FUSE_FLUSH, &in, sizeof(in), sizeof(struct fuse_out_header));
	reap(1);
	check_answer(1, -EBADF, 0);
}
END_TEST

static void send_sync_all(unsigned int number)
{
	struct fuse_syncfs_in in = {0};

	send_slow(number, FUSE_SYNCFS, &in, sizeof(in), sizeof(struct fuse_out_header));
}

/* What lies on the host's file system, and is others', is synced only if there is something of the guest's. */
START_TEST(all_is_synced_for_a_reason)
{
	struct fuse_write_in write = {.size = 0, .flags = O_DSYNC};
	struct fs_created c;

	send_sync_all(0);
	reap(1);
	check_answer(0, 0, 0);
	c = fs_create_file("file", O_RDWR, 0644);
	/* One that comes while another is not done may not be answered before. */
	send_sync_all(1);
	send_sync_all(2);
	reap(0);
	let_go(2);
	wait_for_all();
	reap(2);
	check_answer(2, 0, 0);
	send_sync_all(3);
	reap(1);
	/* A change may come too late for one. */
	write.fh = c.open.fh;
	send_slow(4, FUSE_WRITE, &write, sizeof(write), sizeof(struct fuse_out_header) + 8);
	send_sync_all(5);
	let_go(2);
	wait_for_all();
	reap(2);
	check_answer(5, 0, 0);
	send_sync_all(6);
	reap(0);
	let_go(1);
	wait_for_all();
	reap(1);
	/* Nor is it forgotten where it fails. */
	fs_do_open(fs_walk("file"), false, O_WRONLY | O_TRUNC);
	sync_error = EIO;
	send_sync_all(7);
	let_go(1);
	wait_for_all();
	reap(1);
	check_answer(7, -EIO, 0);
	sync_error = 0;
	send_sync_all(8);
	reap(0);
	let_go(1);
	wait_for_all();
	reap(1);
	check_answer(8, 0, 0);
}
END_TEST

/* Sizes are told by a struct, errors without one. */
START_TEST(answers_have_their_shape)
{
	struct fs_created c = fs_create_file("file", O_RDWR, 0644);
	struct fuse_copy_file_range_in copy = {
		.fh_in = c.open.fh, .fh_out = c.open.fh, .off_out = 100, .len = 3};
	struct fuse_fallocate_in allocate = {.fh = c.open.fh, .length = 5000};

	let_go(100);
	ck_assert_uint_eq(fs_do_write(c.open.fh, 0, "hello", O_DSYNC, 0), 5);
	ck_assert_uint_eq(fs_do_write(c.open.fh, 5, " you", O_SYNC, FUSE_WRITE_CACHE), 4);
	fs_check_text("file", "hello you");
	ck_assert_uint_eq(fs_ask(FUSE_COPY_FILE_RANGE, 5, &copy, sizeof(copy), NULL, 8), 8);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_uint_eq(FS_BODY(fuse_write_out).size, 3);
	ck_assert_int_eq(fs_stat_of("file").st_size, 103);
	copy.off_in = 50;
	copy.off_out = 51;
	copy.len = 40;
	ck_assert_uint_eq(fs_ask(FUSE_COPY_FILE_RANGE, 5, &copy, sizeof(copy), NULL, 8), 0);
	ck_assert_int_eq(fs_error, -EINVAL);
	ck_assert_uint_eq(fs_ask(FUSE_FALLOCATE, 5, &allocate, sizeof(allocate), NULL, 0), 0);
	ck_assert(fs_error == 0 || fs_error == -EOPNOTSUPP);
	allocate.mode = UINT32_MAX;
	fs_ask(FUSE_FALLOCATE, 5, &allocate, sizeof(allocate), NULL, 0);
	ck_assert_int_lt(fs_error, 0);
	/* cut into pieces, header and all */
	ck_assert_uint_eq(
		fs_ask_cut(FUSE_FSYNC, 5, &(struct fuse_fsync_in){.fh = c.open.fh}, 16, NULL, 0, 1),
		0);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_uint_eq(
		fs_ask(FUSE_SYNCFS, FUSE_ROOT_ID, &(struct fuse_syncfs_in){0}, 8, NULL, 0), 0);
	ck_assert_int_eq(fs_error, 0);
}
END_TEST

static unsigned int before;

static void count_before(void)
{
	before = count_fds();
}

static void count_after(void)
{
	ck_assert_uint_eq(count_fds(), before);
}

static Suite *fs_suite(void)
{
	Suite *s = suite_create("virtio/fs: slow requests");
	TCase *tc = tcase_create("device"), *running = tcase_create("loop");

	tcase_add_checked_fixture(tc, count_before, count_after);
	tcase_add_checked_fixture(tc, setup_held, fs_teardown);
	tcase_add_test(tc, others_do_not_wait);
	tcase_add_test(tc, more_than_there_is_room_for);
	tcase_add_test(tc, an_end_forgets_nothing);
	tcase_add_test(tc, reading_that_waits);
	tcase_add_test(tc, reading_that_may_wait);
	tcase_add_test(tc, reading_of_what_is_not_in_memory);
	tcase_add_test(tc, closing_that_waits);
	tcase_add_test(tc, all_is_synced_for_a_reason);
	tcase_add_test(tc, each_queue_has_its_answers);
	tcase_add_test(tc, answers_have_their_shape);
	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(running, setup_running, fs_teardown);
	tcase_add_test(running, a_reset_waits);
	suite_add_tcase(s, running);
	return s;
}

int main(void)
{
	return device_run(fs_suite());
}
