/* virtio/fs: a directory as a guest sees it: names, attributes, contents, and what must stay out of reach. */
#include "tests/unit/fs_fixture.h"

#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

static bool type_unknown; /* of file systems */

/* In place of the one of libc. */
int fstatfs(int fd, struct statfs *st)
{
	errno = EIO;
	return type_unknown ? -1 : (int)syscall(SYS_fstatfs, fd, st);
}

static void setup(void)
{
	fs_setup(false);
}

static unsigned int n_open_descriptors(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

START_TEST(a_session_begins)
{
	struct fuse_init_in init = {.major = 7, .minor = 31};
	struct fuse_init_out out;

	device_reset();
	device_begin(0, 3);
	/* Nothing is served before. */
	ck_assert_uint_eq(fs_lookup(FUSE_ROOT_ID, "x"), 0);
	ck_assert_int_eq(fs_error, -ENOTCONN);
	/* All that Linux had in the struct before 7.36 */
	ck_assert_uint_eq(fs_ask(FUSE_INIT, 0, &init, 16, NULL, sizeof(out)), sizeof(out));
	out = FS_BODY(fuse_init_out);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_uint_eq(out.major, 7);
	ck_assert_uint_eq(out.flags, 0);
	ck_assert_uint_eq(out.max_pages, 256);
	/* No more than was offered */
	fs_begin_session(FUSE_ASYNC_READ | FUSE_POSIX_LOCKS | FUSE_WRITEBACK_CACHE);
	ck_assert_uint_eq(FS_BODY(fuse_init_out).flags, FUSE_ASYNC_READ);
	init.minor = 30;
	fs_ask(FUSE_INIT, 0, &init, sizeof(init), NULL, sizeof(out));
	ck_assert_int_eq(fs_error, -EPROTO);
	/* A later major version is told ours, and comes again. */
	init.major = 8;
	fs_ask(FUSE_INIT, 0, &init, sizeof(init), NULL, sizeof(out));
	ck_assert_int_eq(fs_error, 0);
	ck_assert_uint_eq(FS_BODY(fuse_init_out).major, 7);
	fs_lookup(FUSE_ROOT_ID, "x");
	ck_assert_int_eq(fs_error, -ENOTCONN);
}
END_TEST

START_TEST(names_become_numbers_and_attributes)
{
	struct fuse_entry_out entry;
	struct stat st;
	uint64_t id;

	fs_make_file("file", "hello", 5);
	ck_assert_int_eq(mkdir(fs_path("dir"), 0751), 0);
	fs_make_file("dir/inner", "", 0);
	id = fs_lookup(FUSE_ROOT_ID, "file");
	ck_assert_uint_gt(id, FUSE_ROOT_ID);
	entry = FS_BODY(fuse_entry_out);
	ck_assert_int_eq(stat(fs_path("file"), &st), 0);
	ck_assert_uint_eq(entry.attr.ino, st.st_ino);
	ck_assert_uint_eq(entry.attr.size, 5);
	ck_assert_uint_eq(entry.attr.mode, S_IFREG | 0644);
	ck_assert_uint_eq(entry.attr.nlink, 1);
	ck_assert_uint_eq(entry.attr.mtime, (uint64_t)st.st_mtim.tv_sec);
	ck_assert_uint_eq(entry.attr.mtimensec, (uint32_t)st.st_mtim.tv_nsec);
	ck_assert_uint_eq(entry.attr.blocks, (uint64_t)st.st_blocks);
	ck_assert_uint_eq(entry.entry_valid, 1);
	/* The same file, the same number, by any of its names */
	ck_assert_int_eq(link(fs_path("file"), fs_path("dir/other")), 0);
	ck_assert_uint_eq(fs_walk("dir/other"), id);
	ck_assert_uint_ne(fs_walk("dir/inner"), id);
	ck_assert_uint_eq(fs_ask(FUSE_GETATTR, id, &(struct fuse_getattr_in){0}, 16, NULL, 200),
			  sizeof(struct fuse_attr_out));
	ck_assert_uint_eq(FS_BODY(fuse_attr_out).attr.nlink, 2);
	/* None: that may be kept in mind too */
	ck_assert_uint_eq(fs_lookup(FUSE_ROOT_ID, "none"), 0);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_uint_eq(FS_BODY(fuse_entry_out).entry_valid, 1);
}
END_TEST

START_TEST(a_device_keeps_its_numbers)
{
	if (geteuid() != 0)
		return;
	ck_assert_int_eq(mknod(fs_path("dev"), S_IFBLK | 0600, makedev(0x123, 0x45678)), 0);
	ck_assert_uint_ne(fs_lookup(FUSE_ROOT_ID, "dev"), 0);
	/* new_encode_dev() of Linux */
	ck_assert_uint_eq(FS_BODY(fuse_entry_out).attr.rdev, 0x45612378);
}
END_TEST

/* Everything a name must not do. */
START_TEST(no_way_out)
{
	static const char *const bad[] = {".", "..", "dir/..", "/etc", "a/b"};
	char long_name[300];
	uint64_t id;

	ck_assert_int_eq(mkdir(fs_path("dir"), 0755), 0);
	ck_assert_int_eq(symlink("/etc", fs_path("link")), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_uint_eq(fs_lookup(FUSE_ROOT_ID, bad[i]), 0);
		ck_assert_int_eq(fs_error, -EINVAL);
	}
	/* A link is a link, and not what it leads to. */
	id = fs_lookup(FUSE_ROOT_ID, "link");
	ck_assert_uint_ne(id, 0);
	ck_assert_uint_eq(FS_BODY(fuse_entry_out).attr.mode & S_IFMT, S_IFLNK);
	ck_assert_uint_eq(fs_lookup(id, "passwd"), 0);
	ck_assert_int_eq(fs_error, -ENOTDIR);
	ck_assert_uint_eq(fs_do_open(id, true, O_RDONLY), 0);
	ck_assert_int_eq(fs_error, -ENOTDIR);
	ck_assert_uint_eq(fs_do_open(id, false, O_RDONLY), 0);
	ck_assert_int_eq(fs_error, -EINVAL);
	ck_assert_uint_eq(fs_ask(FUSE_READLINK, id, NULL, 0, NULL, 100), 4);
	ck_assert_mem_eq(fs_body, "/etc", 4);
	fs_ask(FUSE_READLINK, FUSE_ROOT_ID, NULL, 0, NULL, 100);
	ck_assert_int_eq(fs_error, -EINVAL);
	memset(long_name, 'x', sizeof(long_name));
	long_name[256] = '\0';
	fs_lookup(FUSE_ROOT_ID, long_name);
	ck_assert_int_eq(fs_error, -ENAMETOOLONG);
	long_name[255] = '\0';
	fs_lookup(FUSE_ROOT_ID, long_name);
	ck_assert_int_eq(fs_error, 0);
}
END_TEST

/* What is exchanged for a link between two requests is still the directory that it was. */
START_TEST(a_race_with_links)
{
	uint64_t id;

	ck_assert_int_eq(mkdir(fs_path("dir"), 0755), 0);
	fs_make_file("dir/passwd", "ours", 4);
	id = fs_lookup(FUSE_ROOT_ID, "dir");
	ck_assert_int_eq(rename(fs_path("dir"), fs_path("moved")), 0);
	ck_assert_int_eq(symlink("/etc", fs_path("dir")), 0);
	ck_assert_uint_ne(fs_lookup(id, "passwd"), 0);
	ck_assert_uint_eq(FS_BODY(fuse_entry_out).attr.size, 4);
}
END_TEST

START_TEST(special_files_are_not_opened)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, fs_path("socket"));
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(mkfifo(fs_path("pipe"), 0600), 0);
	ck_assert_uint_eq(fs_do_open(fs_lookup(FUSE_ROOT_ID, "pipe"), false, O_RDONLY), 0);
	ck_assert_int_eq(fs_error, -EINVAL);
	ck_assert_uint_eq(fs_do_open(fs_lookup(FUSE_ROOT_ID, "socket"), false, O_RDONLY), 0);
	ck_assert_int_eq(fs_error, -EINVAL);
	close(fd);
}
END_TEST

START_TEST(contents_of_any_cut)
{
	static char text[10000];
	static const uint32_t cuts[] = {0, 4096, 100, 40};
	uint64_t id, fh;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)(i * 7 + i / 256);
	fs_make_file("file", text, sizeof(text));
	id = fs_lookup(FUSE_ROOT_ID, "file");
	fh = fs_do_open(id, false, O_RDONLY);
	ck_assert_uint_ne(fh, 0);
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		struct fuse_read_in in = {.fh = fh, .offset = 10, .size = 9000};

		ck_assert_uint_eq(fs_ask_cut(FUSE_READ, id, &in, sizeof(in), NULL, 9000, cuts[i]),
				  9000);
		ck_assert_mem_eq(fs_body, text + 10, 9000);
	}
	/* No more than there is, was asked for, or has room */
	ck_assert_uint_eq(fs_do_read(FUSE_READ, id, fh, 9990, 4096, 4096), 10);
	ck_assert_uint_eq(fs_do_read(FUSE_READ, id, fh, 20000, 4096, 4096), 0);
	ck_assert_uint_eq(fs_do_read(FUSE_READ, id, fh, 0, 5, 4096), 5);
	ck_assert_uint_eq(fs_do_read(FUSE_READ, id, fh, 0, UINT32_MAX, 100), 100);
	ck_assert_uint_eq(fs_do_read(FUSE_READ, id, fh, 0, 100, 0), 0);
	fs_do_read(FUSE_READ, id, fh, UINT64_MAX, 100, 100);
	ck_assert_int_eq(fs_error, -EINVAL);
	/* It stays readable when it is gone, and not when it was closed. */
	ck_assert_int_eq(unlink(fs_path("file")), 0);
	ck_assert_uint_eq(fs_do_read(FUSE_READ, id, fh, 0, 5, 4096), 5);
	fs_ask(FUSE_RELEASE, id, &(struct fuse_release_in){.fh = fh}, 24, NULL, 0);
	ck_assert_int_eq(fs_error, 0);
	fs_do_read(FUSE_READ, id, fh, 0, 5, 4096);
	ck_assert_int_eq(fs_error, -EBADF);
	fs_ask(FUSE_RELEASE, id, &(struct fuse_release_in){.fh = fh}, 24, NULL, 0);
	ck_assert_int_eq(fs_error, -EBADF);
}
END_TEST

START_TEST(holes_are_found)
{
	struct fuse_lseek_in in = {.whence = SEEK_DATA};
	uint64_t id;
	int fd;

	fs_make_file("file", "", 0);
	fd = open(fs_path("file"), O_WRONLY);
	ck_assert_int_eq(pwrite(fd, "x", 1, 1 << 20), 1);
	close(fd);
	id = fs_lookup(FUSE_ROOT_ID, "file");
	in.fh = fs_do_open(id, false, O_RDONLY);
	fs_ask(FUSE_LSEEK, id, &in, sizeof(in), NULL, 8);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_uint_eq(FS_BODY(fuse_lseek_out).offset, 1 << 20);
	in.whence = SEEK_SET;
	fs_ask(FUSE_LSEEK, id, &in, sizeof(in), NULL, 8);
	ck_assert_int_eq(fs_error, -EINVAL);
	in.whence = SEEK_DATA;
	in.offset = 2 << 20;
	fs_ask(FUSE_LSEEK, id, &in, sizeof(in), NULL, 8);
	ck_assert_int_eq(fs_error, -ENXIO);
}
END_TEST

/* Contents stay in mind until they change; of what is young nothing is known. */
START_TEST(a_file_that_is_opened_again)
{
	struct timespec old = {.tv_sec = 1, .tv_nsec = 100000000};
	uint64_t id, fh;

	fs_make_file("file", "hello", 5);
	id = fs_lookup(FUSE_ROOT_ID, "file");
	fs_do_open(id, false, O_RDONLY);
	fs_do_open(id, false, O_RDONLY);
	ck_assert_uint_eq(FS_BODY(fuse_open_out).open_flags, 0);
	nanosleep(&old, NULL);
	nanosleep(&old, NULL);
	fs_do_open(id, false, O_RDONLY);
	ck_assert_uint_eq(FS_BODY(fuse_open_out).open_flags, 0);
	fs_do_open(id, false, O_RDONLY);
	ck_assert_uint_eq(FS_BODY(fuse_open_out).open_flags, FOPEN_KEEP_CACHE);
	fs_make_file("file", "HELLO", 5);
	fh = fs_do_open(id, false, O_RDONLY);
	ck_assert_uint_ne(fh, 0);
	ck_assert_uint_eq(FS_BODY(fuse_open_out).open_flags, 0);
}
END_TEST

/* Whatever would change something. */

START_TEST(nothing_is_written)
{
	static const uint32_t changes[] = {
		FUSE_SETATTR, FUSE_SYMLINK, FUSE_MKNOD,	      FUSE_MKDIR,     FUSE_UNLINK,
		FUSE_RMDIR,   FUSE_RENAME,  FUSE_LINK,	      FUSE_WRITE,     FUSE_SETXATTR,
		FUSE_CREATE,  FUSE_RENAME2, FUSE_REMOVEXATTR, FUSE_FALLOCATE, FUSE_COPY_FILE_RANGE};
	static const uint32_t none[] = {0,	    7,		 19,	     40,
					FUSE_FLUSH, FUSE_ACCESS, FUSE_GETLK, FUSE_IOCTL,
					FUSE_POLL,  100,	 4096,	     UINT32_MAX};
	uint64_t id;

	fs_make_file("file", "x", 1);
	id = fs_lookup(FUSE_ROOT_ID, "file");
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		fs_ask(changes[i], id, (char[64]){0}, 64, "file", 200);
		ck_assert_int_eq(fs_error, -EROFS);
	}
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		fs_ask(none[i], id, (char[64]){0}, 64, "file", 200);
		ck_assert_int_eq(fs_error, -ENOSYS);
	}
	ck_assert_uint_eq(fs_do_open(id, false, O_RDWR), 0);
	ck_assert_int_eq(fs_error, -EROFS);
	ck_assert_uint_eq(fs_do_open(id, false, O_WRONLY | O_TRUNC), 0);
	ck_assert_uint_eq(fs_do_open(id, false, O_RDONLY | O_TRUNC), 0);
	ck_assert_int_eq(fs_error, -EROFS);
	/* What has nothing to do is done. */
	fs_ask(FUSE_FSYNC, id, (char[64]){0}, 64, NULL, 0);
	ck_assert_int_eq(fs_error, 0);
	fs_ask(FUSE_SYNCFS, FUSE_ROOT_ID, (char[64]){0}, 64, NULL, 0);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_uint_eq(fs_ask(FUSE_STATFS, id, NULL, 0, NULL, 200),
			  sizeof(struct fuse_statfs_out));
	ck_assert_uint_gt(FS_BODY(fuse_statfs_out).st.namelen, 0);
}
END_TEST

START_TEST(attributes_that_a_guest_may_see)
{
	struct fuse_getxattr_in in = {.size = 0};
	uint64_t id;

	fs_make_file("file", "x", 1);
	if (setxattr(fs_path("file"), "user.color", "blue", 4, 0) < 0)
		return; /* no file system for that here */
	id = fs_lookup(FUSE_ROOT_ID, "file");
	fs_ask(FUSE_GETXATTR, id, &in, sizeof(in), "user.color", 8);
	ck_assert_uint_eq(FS_BODY(fuse_getxattr_out).size, 4);
	in.size = 100;
	ck_assert_uint_eq(fs_ask(FUSE_GETXATTR, id, &in, sizeof(in), "user.color", 100), 4);
	ck_assert_mem_eq(fs_body, "blue", 4);
	in.size = 3;
	fs_ask(FUSE_GETXATTR, id, &in, sizeof(in), "user.color", 100);
	ck_assert_int_eq(fs_error, -ERANGE);
	in.size = 100;
	fs_ask(FUSE_GETXATTR, id, &in, sizeof(in), "user.none", 100);
	ck_assert_int_eq(fs_error, -ENODATA);
	ck_assert_uint_eq(fs_ask(FUSE_LISTXATTR, id, &in, sizeof(in), NULL, 100), 11);
	ck_assert_mem_eq(fs_body, "user.color", 11);
	if (geteuid() == 0)
		ck_assert_int_eq(setxattr(fs_path("file"), "trusted.overlay.opaque", "y", 1, 0), 0);
	fs_ask(FUSE_GETXATTR, id, &in, sizeof(in), "trusted.overlay.opaque", 100);
	ck_assert_int_eq(fs_error, -ENODATA);
	ck_assert_uint_eq(fs_ask(FUSE_LISTXATTR, id, &in, sizeof(in), NULL, 100), 11);
}
END_TEST

static void expect_color(uint64_t id, const char *color)
{
	struct fuse_getxattr_in in = {.size = 100};
	uint32_t n = fs_ask(FUSE_GETXATTR, id, &in, sizeof(in), "user.color", 100);

	ck_assert_int_eq(fs_error, 0);
	ck_assert_uint_eq(n, strlen(color));
	ck_assert_mem_eq(fs_body, color, n);
}

/* They are read by a descriptor that is open, which is never one of another file that has the number now. */
START_TEST(attributes_of_open_files)
{
	uint64_t id, first, second;

	fs_make_file("file", "x", 1);
	fs_make_file("other", "x", 1);
	if (setxattr(fs_path("file"), "user.color", "blue", 4, 0) < 0)
		return; /* no file system for that here */
	ck_assert_int_eq(setxattr(fs_path("other"), "user.color", "red", 3, 0), 0);
	id = fs_lookup(FUSE_ROOT_ID, "file");
	first = fs_do_open(id, false, O_RDONLY);
	second = fs_do_open(id, false, O_RDONLY);
	expect_color(id, "blue");
	fs_ask(FUSE_RELEASE, id, &(struct fuse_release_in){.fh = second}, 24, NULL, 0);
	expect_color(id, "blue");
	second = fs_do_open(id, false, O_RDONLY);
	fs_forget(id, 1);
	ck_assert_uint_eq(fs_lookup(FUSE_ROOT_ID, "other"), id);
	expect_color(id, "red");
	fs_ask(FUSE_RELEASE, id, &(struct fuse_release_in){.fh = first}, 24, NULL, 0);
	first = fs_do_open(id, false, O_RDONLY);
	fs_ask(FUSE_RELEASE, id, &(struct fuse_release_in){.fh = second}, 24, NULL, 0);
	expect_color(id, "red");
	ck_assert_uint_eq(fs.nodes.nodes[id].open, first);
	fs_ask(FUSE_RELEASE, id, &(struct fuse_release_in){.fh = first}, 24, NULL, 0);
	ck_assert_uint_eq(fs.nodes.nodes[id].open, 0);
	expect_color(id, "red");
}
END_TEST

/* What may be a view into the kernel is not shown, and why that is not known is said. */
START_TEST(a_file_system_that_does_not_answer)
{
	struct virtio_fs other;
	struct virtio_fs_options options = {.loop = &fix.loop, .path = fs_dir, .tag = "t"};

	n_lines = 0;
	type_unknown = true;
	ck_assert_int_eq(virtio_fs_init(&other, &options), -EIO);
	type_unknown = false;
	ck_assert_uint_eq(n_lines, 1);
}
END_TEST

/* A view into this host's kernel would show vmm itself. */
START_TEST(the_kernels_own_file_systems_are_empty)
{
	struct virtio_fs proc;
	struct virtio_fs_options options = {.loop = &fix.loop, .path = "/proc", .tag = "t"};
	uint64_t id, fh;

	n_lines = 0;
	ck_assert_int_eq(virtio_fs_init(&proc, &options), -EINVAL);
	ck_assert_uint_eq(n_lines, 1);
	fs_teardown();
	strcpy(fs_dir, "/");
	device_prepare();
	ck_assert_int_eq(fs_open_device(false), 0);
	device_attach(&fs.dev);
	device_begin(0, 3);
	fs_begin_session(0);
	id = fs_lookup(FUSE_ROOT_ID, "proc");
	ck_assert_uint_ne(id, 0);
	ck_assert_uint_eq(fs_lookup(id, "self"), 0);
	ck_assert_uint_eq(fs_lookup(id, "1"), 0);
	ck_assert_int_eq(fs_error, 0);
	fh = fs_do_open(id, true, O_RDONLY);
	ck_assert_uint_ne(fh, 0);
	ck_assert_uint_eq(fs_do_read(FUSE_READDIR, id, fh, 0, 4096, 4096), 0);
	ck_assert_uint_ne(fs_walk("etc/passwd"), 0);
	device_detach();
	virtio_fs_fini(&fs);
	device_finish();
	fs_setup(false);
}
END_TEST

/* Of a guest that is gone nothing stays open. */
START_TEST(a_reset_closes_all)
{
	unsigned int before = n_open_descriptors();

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 50; i++) {
			char name[16];

			snprintf(name, sizeof(name), "f%d", i);
			fs_make_file(name, "x", 1);
			ck_assert_uint_ne(
				fs_do_open(fs_lookup(FUSE_ROOT_ID, name), false, O_RDONLY), 0);
		}
		ck_assert_uint_eq(n_open_descriptors(), before + 100);
		if (round == 1) {
			fs_ask(FUSE_DESTROY, 0, NULL, 0, NULL, 0);
		} else {
			device_reset();
			device_begin(0, 3);
		}
		ck_assert_uint_eq(n_open_descriptors(), before);
		fs_begin_session(0);
	}
}
END_TEST

static Suite *fs_suite(void)
{
	Suite *s = suite_create("virtio/fs");
	TCase *tc = tcase_create("device");

	tcase_add_checked_fixture(tc, setup, fs_teardown);
	tcase_add_test(tc, a_session_begins);
	tcase_add_test(tc, names_become_numbers_and_attributes);
	tcase_add_test(tc, a_device_keeps_its_numbers);
	tcase_add_test(tc, no_way_out);
	tcase_add_test(tc, a_race_with_links);
	tcase_add_test(tc, special_files_are_not_opened);
	tcase_add_test(tc, contents_of_any_cut);
	tcase_add_test(tc, holes_are_found);
	tcase_add_test(tc, a_file_that_is_opened_again);
	tcase_add_test(tc, nothing_is_written);
	tcase_add_test(tc, attributes_that_a_guest_may_see);
	tcase_add_test(tc, attributes_of_open_files);
	tcase_add_test(tc, a_file_system_that_does_not_answer);
	tcase_add_test(tc, the_kernels_own_file_systems_are_empty);
	tcase_add_test(tc, a_reset_closes_all);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return device_run(fs_suite());
}
