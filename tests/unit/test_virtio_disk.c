/* virtio/disk: what is opened as a disk, what is refused and how, and who may share it. */
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/unit/disk_fixture.h"

/* Both ways of opening fail with this, in one line, which reads as given behind the path. */
static void assert_refused(int err, const char *why)
{
	char want[512];

	snprintf(want, sizeof(want), "cannot open disk '%s': %s", path, why);
	for (int readonly = 0; readonly <= 1; readonly++) {
		n_lines = 0;
		ck_assert_int_eq(try_open(&disk, readonly), err);
		ck_assert_uint_eq(n_lines, 1);
		ck_assert_int_eq(line_level, LOG_LEVEL_ERROR);
		ck_assert_str_eq(line, want);
		ck_assert_ptr_null(disk.image);
		ck_assert_ptr_null(disk.name);
	}
}

/* what is no disk */

START_TEST(missing)
{
	assert_refused(-ENOENT, "No such file or directory");
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

START_TEST(dangling_link)
{
	ck_assert_int_eq(symlink("nowhere", path), 0);
	assert_refused(-ENOENT, "No such file or directory");
}
END_TEST

START_TEST(below_a_file)
{
	make_file(512);
	strcat(path, "/y");
	assert_refused(-ENOTDIR, "Not a directory");
	path[strlen(path) - 2] = '\0';
}
END_TEST

START_TEST(directory)
{
	ck_assert_int_eq(mkdir(path, 0755), 0);
	assert_refused(-EISDIR, "it is a directory");
}
END_TEST

START_TEST(empty)
{
	make_file(0);
	assert_refused(-EINVAL, "it is empty");
}
END_TEST

START_TEST(below_one_sector)
{
	make_file(_i);
	assert_refused(-EINVAL, "it is smaller than one sector (512 bytes)");
}
END_TEST

START_TEST(pipe_without_other_end)
{
	ck_assert_int_eq(mkfifo(path, 0644), 0);
	assert_refused(-EINVAL, "it is a pipe"); /* and does not wait */
}
END_TEST

START_TEST(socket_file)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%.100s", path);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_refused(-EINVAL, "it is neither a file nor a block device");
	close(fd);
}
END_TEST

/* A server of files has it for a client, and gives it back when asked. */
START_TEST(file_with_a_lease)
{
	sigset_t asked;
	int fd, ready[2], signal;
	char byte;
	pid_t child;

	make_file(4096);
	ck_assert_int_eq(pipe(ready), 0);
	sigemptyset(&asked);
	sigaddset(&asked, SIGIO);
	child = fork();
	if (child == 0) {
		sigprocmask(SIG_BLOCK, &asked, NULL);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fcntl(fd, F_SETLEASE, F_WRLCK) == 0 && write(ready[1], "y", 1) == 1 &&
		    sigwait(&asked, &signal) == 0)
			fcntl(fd, F_SETLEASE, F_UNLCK);
		_exit(0);
	}
	close(ready[1]);
	if (read(ready[0], &byte, 1) == 1) {
		ck_assert_int_eq(try_open(&disk, false), 0);
		disk_close(&disk);
	} else {
		skip_note("a file with a lease, which this file system does not give");
	}
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
}
END_TEST

START_TEST(character_device)
{
	ck_assert_int_eq(symlink("/dev/null", path), 0);
	assert_refused(-EINVAL, "it is a character device, not a block device");
}
END_TEST

/* Root may do anything, so the test goes on as somebody else. */
static void drop_root(void)
{
	if (geteuid() == 0)
		ck_assert_int_eq(seteuid(65534), 0);
}

static void regain_root(void)
{
	ck_assert_int_eq(seteuid(getuid()), 0);
}

START_TEST(no_permission_to_write)
{
	char want[256];

	make_file(512);
	ck_assert_int_eq(chmod(path, 0444), 0);
	drop_root();
	ck_assert_int_eq(try_open(&disk, false), -EACCES);
	snprintf(want, sizeof(want), "cannot open disk '%s': %s", path,
		 "no permission to write; add ',readonly'");
	ck_assert_str_eq(line, want);
	ck_assert_int_eq(try_open(&disk, true), 0); /* as advised */
	ck_assert_uint_eq(n_lines, 1);
	disk_close(&disk);
	regain_root();
}
END_TEST

START_TEST(no_permission_to_read)
{
	make_file(512);
	ck_assert_int_eq(chmod(path, _i ? 0222 : 0), 0);
	drop_root();
	assert_refused(-EACCES, "no permission to read");
	regain_root();
}
END_TEST

START_TEST(no_permission_to_enter)
{
	make_file(512);
	ck_assert_int_eq(chmod(dir, 0600), 0);
	drop_root();
	assert_refused(-EACCES, "Permission denied");
	regain_root();
	ck_assert_int_eq(chmod(dir, 0755), 0); /* for an ordinary user, who is to clean up */
}
END_TEST

/* what is one */

static void assert_size(off_t file, uint64_t size)
{
	make_file(file);
	ck_assert_int_eq(try_open(&disk, false), 0);
	ck_assert_uint_eq(disk.size, size);
	ck_assert_uint_eq(disk.logical_block, 512);
	ck_assert_uint_eq(disk.physical_block, 512);
	disk_close(&disk);
	ck_assert_int_eq(unlink(path), 0);
}

START_TEST(whole_sectors)
{
	assert_size(512, 512);
	assert_size(1024, 1024);
	assert_size((off_t)3 << 40, UINT64_C(3) << 40);
	ck_assert_uint_eq(n_lines, 0);
}
END_TEST

START_TEST(part_of_a_sector_is_reported)
{
	char want[256];

	assert_size(1000, 512);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_int_eq(line_level, LOG_LEVEL_WARN);
	snprintf(
		want, sizeof(want),
		"disk '%s': size is no multiple of 512; the guest does not see the last 488 bytes, "
		"from byte 512 on",
		path);
	ck_assert_str_eq(line, want);
	assert_size(513, 512);
	assert_size(1023, 512);
	assert_size(1048577, 1048576);
	ck_assert_uint_eq(n_lines, 4);
}
END_TEST

START_TEST(opening_changes_nothing)
{
	struct stat before, after;

	make_file(12345);
	ck_assert_int_eq(stat(path, &before), 0);
	for (int readonly = 0; readonly <= 1; readonly++) {
		ck_assert_int_eq(try_open(&disk, readonly), 0);
		disk_close(&disk);
	}
	ck_assert_int_eq(stat(path, &after), 0);
	ck_assert_mem_eq(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim));
	ck_assert_mem_eq(&before.st_ctim, &after.st_ctim, sizeof(before.st_ctim));
	ck_assert_int_eq(after.st_size, 12345);
	ck_assert_int_eq(after.st_blocks, before.st_blocks);
}
END_TEST

START_TEST(descriptor_flags)
{
	int flags;

	open_disk(512, _i);
	ck_assert_int_eq(fcntl(image_fd(disk.image), F_GETFD), FD_CLOEXEC);
	flags = fcntl(image_fd(disk.image), F_GETFL);
	ck_assert_int_eq(flags & O_ACCMODE, _i ? O_RDONLY : O_RDWR);
	ck_assert_int_eq(flags & O_NONBLOCK, 0);
	disk_close(&disk);
	disk_close(&disk); /* once more does nothing */
}
END_TEST

START_TEST(link_to_a_file)
{
	char target[160];

	snprintf(target, sizeof(target), "%s/y.img", dir);
	make_file(512);
	ck_assert_int_eq(rename(path, target), 0);
	ck_assert_int_eq(symlink("y.img", path), 0);
	ck_assert_int_eq(try_open(&disk, false), 0);
	disk_close(&disk);
	unlink(target);
}
END_TEST

/* locks */

static void assert_locked(bool readonly, const char *advice)
{
	struct disk other;
	char want[512];

	n_lines = 0;
	ck_assert_int_eq(try_open(&other, readonly), -EBUSY);
	ck_assert_uint_eq(n_lines, 1);
	snprintf(want, sizeof(want),
		 "disk '%s' is in use (locked) by another program or another disk of this one; %s",
		 path, advice);
	ck_assert_str_eq(line, want);
	ck_assert_ptr_null(other.image);
}

START_TEST(writer_excludes_all)
{
	open_disk(512, false);
	assert_locked(false, "only readers can share it");
	assert_locked(true, "only readers can share it");
	disk_close(&disk);
	ck_assert_int_eq(try_open(&disk, false), 0);
	disk_close(&disk);
}
END_TEST

START_TEST(readers_share)
{
	struct disk other, third;

	open_disk(512, true);
	ck_assert_int_eq(try_open(&other, true), 0);
	assert_locked(false, "only readers can share it");
	disk_close(&disk);
	assert_locked(false, "only readers can share it");
	ck_assert_int_eq(try_open(&third, true), 0);
	disk_close(&other);
	disk_close(&third);
	ck_assert_int_eq(try_open(&disk, false), 0);
	disk_close(&disk);
}
END_TEST

START_TEST(lock_of_another_process_dies_with_it)
{
	int ready[2];
	char byte;
	pid_t pid;

	make_file(512);
	ck_assert_int_eq(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		ssize_t n = try_open(&disk, false) == 0 ? write(ready[1], "x", 1) : -1;

		pause();
		_exit(n == 1 ? 0 : 1);
	}
	ck_assert_int_eq(read(ready[0], &byte, 1), 1);
	assert_locked(false, "only readers can share it");
	kill(pid, SIGKILL);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	ck_assert_int_eq(try_open(&disk, false), 0);
	disk_close(&disk);
}
END_TEST

static void *unlock_soon(void *arg)
{
	usleep(150000);
	close(*(int *)arg);
	return NULL;
}

/* As the kernel does it to a ring of io_uring whose process was killed: the file is open for a while, with nobody behind it. */
START_TEST(lock_that_outlives_its_process)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	pthread_t thread;
	int fd;

	make_file(512);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &whole), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, unlock_soon, &fd), 0);
	ck_assert_int_eq(try_open(&disk, _i), 0);
	ck_assert_uint_eq(n_lines, 0);
	pthread_join(thread, NULL);
	disk_close(&disk);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_disk");
	TCase *refused = tcase_create("refused");
	TCase *opened = tcase_create("opened");

	tcase_add_checked_fixture(refused, setup, teardown);
	tcase_add_test(refused, missing);
	tcase_add_test(refused, dangling_link);
	tcase_add_test(refused, below_a_file);
	tcase_add_test(refused, directory);
	tcase_add_test(refused, file_with_a_lease);
	tcase_add_test(refused, empty);
	tcase_add_loop_test(refused, below_one_sector, 1, 3);
	tcase_add_loop_test(refused, below_one_sector, 511, 512);
	tcase_add_test(refused, pipe_without_other_end);
	tcase_add_test(refused, socket_file);
	tcase_add_test(refused, character_device);
	tcase_add_test(refused, no_permission_to_write);
	tcase_add_loop_test(refused, no_permission_to_read, 0, 2);
	tcase_add_test(refused, no_permission_to_enter);
	suite_add_tcase(s, refused);

	tcase_add_checked_fixture(opened, setup, teardown);
	tcase_add_test(opened, whole_sectors);
	tcase_add_test(opened, part_of_a_sector_is_reported);
	tcase_add_test(opened, opening_changes_nothing);
	tcase_add_loop_test(opened, descriptor_flags, 0, 2);
	tcase_add_test(opened, link_to_a_file);
	tcase_add_test(opened, writer_excludes_all);
	tcase_add_test(opened, readers_share);
	tcase_add_test(opened, lock_of_another_process_dies_with_it);
	tcase_add_loop_test(opened, lock_that_outlives_its_process, 0, 2);
	suite_add_tcase(s, opened);
	return run(s);
}
