/* virtio/fs: writing that comes later, that does not fit, with few descriptors, and requests that are cut off. */
#include <sys/xattr.h>

#include "tests/unit/fs_write_fixture.h"

#include <sched.h>
#include <signal.h>
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "tests/unit/skip.h"
#include "vmm/core/mounts.h"

/* What a host answers whose file systems have owners and quotas; 0: it does. */
static int chown_error, times_error, now_error;

int fchownat(int dir, const char *name, uid_t uid, gid_t gid, int flags)
{
	(void)uid;
	(void)gid;
	errno = chown_error;
	return chown_error ? -1 : (int)syscall(SYS_fchownat, dir, name, -1, -1, flags);
}

static unsigned int n_times_now;

int utimensat(int dir, const char *name, const struct timespec times[2], int flags)
{
	bool now = times[0].tv_nsec == UTIME_NOW && times[1].tv_nsec == UTIME_NOW;

	n_times_now += now;
	errno = now ? now_error : times_error;
	return errno ? -1 : (int)syscall(SYS_utimensat, dir, name, times, flags);
}

/* A page is read before a part of it is written; and truncated when it is opened. */
START_TEST(writes_that_come_later)
{
	uint64_t id, fh;

	ck_assert(fs.writeback);
	fs_make_file("file", "hello", 5);
	id = fs_lookup(FUSE_ROOT_ID, "file");
	fh = fs_do_open(id, false, O_WRONLY);
	ck_assert_uint_eq(fs_do_read(FUSE_READ, id, fh, 0, 5, 5), 5);
	fh = fs_do_open(id, false, O_WRONLY | O_TRUNC);
	ck_assert_int_eq(fs_stat_of("file").st_size, 0);
	/* The guest alone knows where there are data. */
	fs_ask(FUSE_LSEEK, id, &(struct fuse_lseek_in){.fh = fh, .whence = SEEK_DATA}, 24, NULL, 8);
	ck_assert_int_eq(fs_error, -ENOSYS);
	/* And where a file ends. */
	ck_assert_uint_eq(fs_do_write(fh, 0, "later", O_WRONLY, FUSE_WRITE_CACHE), 5);
	ck_assert_uint_eq(fs_do_write(fh, 8, "!", O_WRONLY | O_APPEND, 0), 1);
	ck_assert_int_eq(fs_stat_of("file").st_size, 9);
}
END_TEST

/* What its owner may write and not read is written past the guest's pages, which could not be filled. */
START_TEST(writes_of_what_cannot_be_read)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};
	const struct fuse_open_in in = {.flags = O_WRONLY};
	struct fuse_open_out out;
	uint64_t id;

	ck_assert_int_eq((int)syscall(SYS_capset, &header, none), 0);
	fs_make_file("file", "hello", 5);
	id = fs_lookup(FUSE_ROOT_ID, "file");
	fs_ask(FUSE_OPEN, id, &in, sizeof(in), NULL, sizeof(out));
	ck_assert_uint_eq(FS_BODY(fuse_open_out).open_flags, FOPEN_KEEP_CACHE);
	ck_assert_int_eq(chmod(fs_path("file"), 0200), 0);
	fs_ask(FUSE_OPEN, id, &in, sizeof(in), NULL, sizeof(out));
	ck_assert_int_eq(fs_error, 0);
	out = FS_BODY(fuse_open_out);
	ck_assert_uint_eq(out.open_flags, FOPEN_DIRECT_IO);
	ck_assert_uint_eq(fs_do_write(out.fh, 1, "ipp", O_WRONLY, 0), 3);
	ck_assert_int_eq(chmod(fs_path("file"), 0400), 0);
	fs_check_text("file", "hippo");
	fs_do_open(id, false, O_WRONLY);
	ck_assert_int_eq(fs_error, -EACCES);
}
END_TEST

/* A guest does not ask how much of its pages was written. */
START_TEST(what_does_not_fit)
{
	struct fs_created c = fs_create_file("file", O_RDWR, 0666);
	const struct rlimit limit = {4, RLIM_INFINITY};
	struct rlimit old;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_uint_eq(fs_do_write(c.open.fh, 0, "hello!", O_RDWR, 0), 4);
	ck_assert_uint_eq(fs_do_write(c.open.fh, 0, "hello!", O_RDWR, FUSE_WRITE_CACHE), 0);
	ck_assert_int_eq(fs_error, -EFBIG);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	ck_assert_uint_eq(fs_do_write(c.open.fh, 0, "hello!", O_RDWR, FUSE_WRITE_CACHE), 6);
	fs_check_text("file", "hello!");
}
END_TEST

/* What was made is told of, whatever has to be closed for it. */
START_TEST(few_descriptors)
{
	const struct fuse_mkdir_in dir = {.mode = 0755};
	int first = dup(0);

	close(first);
	fs.nodes.first_spare = first + 5;
	for (unsigned int i = 0; i < 30; i++) {
		struct fs_created c;
		char name[16];

		snprintf(name, sizeof(name), "file%u", i);
		c = fs_create_file(name, O_RDWR, 0666);
		ck_assert_int_eq(fs_error, 0);
		ck_assert_int_lt(fs.files[c.open.fh].fd, fs.nodes.first_spare);
		fs_release_file(c.open.fh);
		/* there already, then */
		c = fs_create_file(name, O_RDWR, 0666);
		ck_assert_int_eq(fs_error, 0);
		fs_release_file(c.open.fh);
		snprintf(name, sizeof(name), "dir%u", i);
		fs_ask_names(FUSE_MKDIR, FUSE_ROOT_ID, &dir, sizeof(dir), name, NULL,
			     sizeof(struct fuse_entry_out));
		ck_assert_int_eq(fs_error, 0);
	}
}
END_TEST

/* The share gives one of its own back, and the request is served after all, with the value that it came with. */
START_TEST(the_last_descriptor_for_an_attribute)
{
	struct {
		uint32_t size, flags;
		char rest[16];
	} in = {.size = 4, .rest = "user.color\0blue"};
	char text[8];
	uint64_t id;
	int low;

	fs_make_file("file", "x", 1);
	fs_make_file("file2", "x", 1);
	if (setxattr(fs_path("file"), "user.x", "x", 1, 0) < 0)
		return; /* no file system for that here */
	fs_lookup(FUSE_ROOT_ID, "file2");
	id = fs_lookup(FUSE_ROOT_ID, "file");
	low = dup(0);
	close(low);
	fs.nodes.first_spare = low;
	fs_ask(FUSE_SETXATTR, id, &in, 8 + 15, NULL, 0);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_int_eq(getxattr(fs_path("file"), "user.color", text, sizeof(text)), 4);
	ck_assert_mem_eq(text, "blue", 4);
}
END_TEST

/* An open that fails for want of a descriptor has not emptied the file. */
START_TEST(no_descriptor_to_empty_a_file)
{
	uint64_t id;
	int low;

	fs_make_file("file", "precious", 8);
	id = fs_lookup(FUSE_ROOT_ID, "file");
	low = dup(0);
	close(low);
	fs.nodes.first_spare = low - 1;
	fs_do_open(id, false, O_WRONLY | O_TRUNC);
	ck_assert_int_eq(fs_error, -ENFILE);
	ck_assert_int_eq(fs_stat_of("file").st_size, 8);
	fs.nodes.first_spare = INT_MAX;
	fs_do_open(id, false, O_WRONLY | O_TRUNC);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_int_eq(fs_stat_of("file").st_size, 0);
}
END_TEST

/* vmm_confine() puts the directory on another mount: what is made there is the file that is found there. */
START_TEST(a_root_on_another_mount)
{
	struct fs_created c;

	fs_nodes_get(&fs.nodes, FUSE_ROOT_ID)->mount ^= 0x4000;
	c = fs_create_file("file", O_RDWR, 0644);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_uint_eq(fs_lookup(FUSE_ROOT_ID, "file"), c.entry.nodeid);
}
END_TEST

/* Whatever is cut off, or has no end. */
START_TEST(requests_that_are_too_short)
{
	static const uint8_t ones[200] = {[0 ... 199] = 0x31};
	static const uint32_t all[] = {
		FUSE_SETATTR, FUSE_SYMLINK, FUSE_MKNOD,	    FUSE_MKDIR,
		FUSE_UNLINK,  FUSE_RMDIR,   FUSE_RENAME,    FUSE_LINK,
		FUSE_WRITE,   FUSE_FSYNC,   FUSE_SETXATTR,  FUSE_REMOVEXATTR,
		FUSE_CREATE,  FUSE_RENAME2, FUSE_FALLOCATE, FUSE_COPY_FILE_RANGE};

	fs_make_file("1", "x", 1);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		for (uint32_t len = 0; len < sizeof(struct fuse_setattr_in); len++) {
			fs_ask(all[i], FUSE_ROOT_ID, ones, len, NULL, 300);
			ck_assert_int_lt(fs_error, 0);
		}
	}
	ck_assert(fs_is_there("1"));
}
END_TEST

static int set_times(uint64_t id, uint64_t fh, uint32_t valid)
{
	struct fuse_setattr_in in = {.valid = valid, .fh = fh, .mtime = 1700000000, .size = 3};

	n_times_now = 0;
	fs_ask(FUSE_SETATTR, id, &in, sizeof(in), NULL, sizeof(struct fuse_attr_out));
	return fs_error;
}

/* Of what is written later the guest tells when that was, and vmm need not own the file. */
START_TEST(times_of_writing)
{
	const uint32_t written = FATTR_MTIME | FATTR_CTIME | FATTR_FH;
	uint64_t id, fh;

	fs_make_file("file", "hello", 5);
	id = fs_lookup(FUSE_ROOT_ID, "file");
	fh = fs_do_open(id, false, O_RDWR);
	ck_assert_int_eq(set_times(id, fh, written), 0);
	ck_assert_int_eq(fs_stat_of("file").st_mtim.tv_sec, 1700000000);
	times_error = EPERM;
	ck_assert_int_eq(set_times(id, fh, written), 0);
	ck_assert_uint_eq(n_times_now, 1);
	ck_assert_int_gt(fs_stat_of("file").st_mtim.tv_sec, 1700000000);
	/* ftruncate(), and truncate() */
	ck_assert_int_eq(set_times(id, fh, written | FATTR_SIZE), 0);
	ck_assert_int_eq(set_times(id, 0, FATTR_MTIME | FATTR_CTIME | FATTR_SIZE), 0);
	ck_assert_int_eq(fs_stat_of("file").st_size, 3);
	/* It cannot be written any more. */
	now_error = EACCES;
	ck_assert_int_eq(set_times(id, fh, written), 0);
	now_error = EPERM;
	ck_assert_int_eq(set_times(id, fh, written), 0);
	now_error = EIO;
	ck_assert_int_eq(set_times(id, fh, written), -EIO);
	/* What a program asks for */
	now_error = 0;
	ck_assert_int_eq(set_times(id, 0, FATTR_MTIME | FATTR_CTIME), -EPERM);
	ck_assert_int_eq(set_times(id, fh, written | FATTR_ATIME), -EPERM);
	ck_assert_uint_eq(n_times_now, 0);
	times_error = EIO;
	ck_assert_int_eq(set_times(id, fh, written), -EIO);
	times_error = EPERM;
	fs.writeback = false;
	ck_assert_int_eq(set_times(id, fh, written), -EPERM);
	ck_assert_uint_eq(n_times_now, 0);
}
END_TEST

/* All that can be made by a name, of which each ends so. */
static void make_one_of_each(int error)
{
	const struct fuse_mknod_in pipe = {.mode = S_IFIFO | 0600};

	fs_create_file("file", O_RDWR, 0600);
	ck_assert_int_eq(fs_error, error);
	fs_ask_names(FUSE_MKDIR, FUSE_ROOT_ID, &(struct fuse_mkdir_in){.mode = 0700}, 8, "dir",
		     NULL, 200);
	ck_assert_int_eq(fs_error, error);
	fs_ask_names(FUSE_MKNOD, FUSE_ROOT_ID, &pipe, sizeof(pipe), "pipe", NULL, 200);
	ck_assert_int_eq(fs_error, error);
	fs_ask_names(FUSE_SYMLINK, FUSE_ROOT_ID, NULL, 0, "link", "file", 200);
	ck_assert_int_eq(fs_error, error);
}

/* Whoever has too much already gets nothing more, and not as vmm's own either. What nobody else can own is vmm's. */
START_TEST(owners_and_quotas)
{
	const struct fuse_create_in temporary = {.flags = O_RDWR, .mode = S_IFREG | 0600};
	static const int passed[] = {EPERM, EINVAL, EOVERFLOW, EACCES, EOPNOTSUPP, ENOSYS};
	static const char *const names[] = {"file", "dir", "pipe", "link"};

	fs.owners = true;
	fs_user = 1000;
	chown_error = EDQUOT;
	make_one_of_each(-EDQUOT);
	fs_ask(FUSE_TMPFILE, FUSE_ROOT_ID, &temporary, sizeof(temporary), "x",
	       sizeof(struct fs_created));
	ck_assert(fs_error == -EDQUOT || fs_error == -EOPNOTSUPP);
	ck_assert_uint_eq(fs.n_open, 0);
	for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++) {
		for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
			ck_assert_int_lt(
				faccessat(AT_FDCWD, fs_path(names[k]), F_OK, AT_SYMLINK_NOFOLLOW),
				0);
		chown_error = passed[i];
		make_one_of_each(0);
		for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
			ck_assert_int_eq(remove(fs_path(names[k])), 0);
	}
}
END_TEST

/* ---- other file systems below ---- */

static bool apart;

/* A directory with a blank in its name, and a file system below it that is there for the test alone. */
static void setup_apart(void)
{
	apart = unshare(CLONE_NEWNS) == 0 &&
		mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
	setup();
	if (apart) {
		device_detach();
		virtio_fs_fini(&fs);
		ck_assert_int_eq(mkdir(fs_path("a b"), 0755), 0);
		ck_assert_int_eq(mkdir(fs_path("a b/dir"), 0755), 0);
		ck_assert_int_eq(mkdir(fs_path("a b/late"), 0755), 0);
		apart = mount("none", fs_path("a b/dir"), "ramfs", 0, NULL) == 0;
		strcat(fs_dir, "/a b");
		ck_assert_int_eq(fs_open_device(false), 0);
		device_attach(&fs.dev);
		device_begin(0, 3);
		fs_begin_session(0);
	}
	if (!apart)
		skip_note("a file system below a share: %s", strerror(errno));
}

static void teardown_apart(void)
{
	umount2(fs_path("dir"), MNT_DETACH);
	umount2(fs_path("late"), MNT_DETACH);
	if (apart)
		*strrchr(fs_dir, '/') = '\0';
	fs_teardown();
}

static _Atomic unsigned int n_synced;
static dev_t other;
static int other_error;

int syncfs(int fd)
{
	struct stat st;

	n_synced++;
	errno = 0;
	if (fstat(fd, &st) == 0 && st.st_dev == other)
		errno = other_error;
	return errno ? -1 : 0;
}

static int sync_all(void)
{
	n_synced = 0;
	fs_ask(FUSE_SYNCFS, FUSE_ROOT_ID, &(struct fuse_syncfs_in){0}, 8, NULL, 0);
	return fs_error;
}

/* Each once, however often it was met. */
START_TEST(syncing_with_others_below)
{
	if (!apart)
		return;
	fs_create_file("file", O_RDWR, 0644);
	ck_assert_int_eq(sync_all(), 0);
	ck_assert_uint_eq(n_synced, 1);
	other = fs_stat_of("dir").st_dev;
	for (unsigned int i = 0; i < 3; i++)
		fs_lookup(FUSE_ROOT_ID, "dir");
	fs_create_file("file2", O_RDWR, 0644);
	other_error = EIO;
	ck_assert_int_eq(sync_all(), -EIO);
	ck_assert_uint_eq(n_synced, 2);
	/* Not done yet */
	other_error = 0;
	ck_assert_int_eq(sync_all(), 0);
	ck_assert_uint_eq(n_synced, 2);
	ck_assert_int_eq(sync_all(), 0);
	ck_assert_uint_eq(n_synced, 0);
	/* Mounted while the guest runs */
	ck_assert_int_eq(mount("none", fs_path("late"), "ramfs", 0, NULL), 0);
	fs_begin_session(0);
	fs_lookup(FUSE_ROOT_ID, "late");
	fs_create_file("file3", O_RDWR, 0644);
	ck_assert_int_eq(sync_all(), 0);
	ck_assert_uint_eq(n_synced, 3);
	/* As many as there is room for */
	atomic_store(&fs.n_others, VIRTIO_FS_DEVICES);
	fs.other_devices[1] = 0;
	fs_lookup(FUSE_ROOT_ID, "late");
	ck_assert_uint_eq(fs.n_others, VIRTIO_FS_DEVICES);
	atomic_store(&fs.n_others, 2);
}
END_TEST

static int flush(uint64_t fh)
{
	fs_ask(FUSE_FLUSH, 5, &(struct fuse_flush_in){.fh = fh}, sizeof(struct fuse_flush_in), NULL,
	       0);
	return fs_error;
}

/* One answer that there is nothing to do would be for all files, those of a network below as well. */
START_TEST(closing_with_others_below)
{
	uint64_t fh;

	if (!apart)
		return;
	ck_assert(fs.has_mounts);
	ck_assert(mounts_are_below("/"));
	ck_assert(!mounts_are_below(fs_path("dir")));
	fs_make_file("file", "x", 1);
	fs_make_file("dir/file", "x", 1);
	fh = fs_do_open(fs_lookup(FUSE_ROOT_ID, "file"), false, O_RDWR);
	ck_assert_int_eq(flush(fh), 0);
	ck_assert_uint_eq(fs.n_devices, 1);
	fh = fs_do_open(fs_walk("dir/file"), false, O_RDWR);
	ck_assert_int_eq(flush(fh), 0);
	ck_assert_int_eq(flush(999), -EBADF);
	/* What is seen below counts, too. */
	fs.has_mounts = false;
	ck_assert_int_eq(flush(fh), 0);
	fs_begin_session(0);
	ck_assert_int_eq(flush(fh), -ENOSYS);
}
END_TEST

static Suite *fs_suite(void)
{
	Suite *s = suite_create("virtio/fs: odd writing");
	TCase *tc = tcase_create("device"), *later = tcase_create("writeback"),
	      *mounts = tcase_create("mounts");

	tcase_add_checked_fixture(tc, setup, fs_teardown);
	tcase_add_test(tc, what_does_not_fit);
	tcase_add_test(tc, few_descriptors);
	tcase_add_test(tc, the_last_descriptor_for_an_attribute);
	tcase_add_test(tc, no_descriptor_to_empty_a_file);
	tcase_add_test(tc, requests_that_are_too_short);
	tcase_add_test(tc, a_root_on_another_mount);
	tcase_add_test(tc, owners_and_quotas);
	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(later, setup_writeback, fs_teardown);
	tcase_add_test(later, writes_that_come_later);
	tcase_add_test(later, writes_of_what_cannot_be_read);
	tcase_add_test(later, times_of_writing);
	suite_add_tcase(s, later);
	tcase_add_checked_fixture(mounts, setup_apart, teardown_apart);
	tcase_add_test(mounts, closing_with_others_below);
	tcase_add_test(mounts, syncing_with_others_below);
	suite_add_tcase(s, mounts);
	return s;
}

int main(void)
{
	return skip_status(device_run(fs_suite()));
}
