/* virtio/fs: a directory that the guest may change: what arrives in the host, what keeps its file, what is refused. */
#include "tests/unit/fs_write_fixture.h"

#include <sched.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "tests/unit/skip.h"

/* As with Docker's filter of system calls. */
static bool unshare_refused;

int unshare(int flags)
{
	if (!unshare_refused)
		return (int)syscall(SYS_unshare, flags);
	errno = EPERM;
	return -1;
}

START_TEST(a_file_is_made_and_written)
{
	struct fs_created c = fs_create_file("new", O_RDWR | O_EXCL, 0666);
	struct fuse_setattr_in size = {.valid = FATTR_SIZE, .size = 3};

	ck_assert_int_eq(fs_error, 0);
	ck_assert_uint_eq(c.entry.attr.mode, S_IFREG | 0644);
	ck_assert_uint_eq(fs_do_write(c.open.fh, 0, "hello", O_RDWR, 0), 5);
	ck_assert_uint_eq(fs_do_write(c.open.fh, 3, "LO there", O_RDWR, 0), 8);
	fs_check_text("new", "helLO there");
	/* Whatever the offset; but not of pages that were kept */
	ck_assert_uint_eq(fs_do_write(c.open.fh, 0, "!", O_WRONLY | O_APPEND, 0), 1);
	ck_assert_uint_eq(fs_do_write(c.open.fh, 0, "H", O_WRONLY | O_APPEND, FUSE_WRITE_CACHE), 1);
	fs_check_text("new", "HelLO there!");
	ck_assert_uint_eq(fs_do_write(c.open.fh, 0, "J", O_WRONLY | O_SYNC, 0), 1);
	/* By number and by an open file */
	fs_ask(FUSE_SETATTR, c.entry.nodeid, &size, sizeof(size), NULL,
	       sizeof(struct fuse_attr_out));
	ck_assert_uint_eq(FS_BODY(fuse_attr_out).attr.size, 3);
	size = (struct fuse_setattr_in){.valid = FATTR_SIZE | FATTR_FH, .fh = c.open.fh, .size = 1};
	fs_ask(FUSE_SETATTR, c.entry.nodeid, &size, sizeof(size), NULL,
	       sizeof(struct fuse_attr_out));
	fs_check_text("new", "J");
	fs_release_file(c.open.fh);
	ck_assert_uint_eq(fs_do_write(c.open.fh, 0, "x", O_RDWR, 0), 0);
	ck_assert_int_eq(fs_error, -EBADF);
	/* There is one of that name. */
	fs_create_file("new", O_RDWR | O_EXCL, 0666);
	ck_assert_int_eq(fs_error, -EEXIST);
	c = fs_create_file("new", O_RDWR | O_TRUNC, 0666);
	ck_assert_int_eq(fs_error, 0);
	fs_check_text("new", "");
}
END_TEST

START_TEST(writes_that_make_no_sense)
{
	struct fs_created c = fs_create_file("new", O_RDONLY, 0666);
	struct fuse_write_in in = {.fh = c.open.fh, .offset = UINT64_MAX, .size = 1};
	uint8_t bytes[sizeof(in) + 4] = {0};

	ck_assert_uint_eq(fs_do_write(c.open.fh, 0, "x", O_WRONLY, 0), 0);
	ck_assert_int_eq(fs_error, -EBADF);
	fs_release_file(c.open.fh);
	c = fs_create_file("new", O_RDWR, 0666);
	in.fh = c.open.fh;
	memcpy(bytes, &in, sizeof(in));
	fs_ask(FUSE_WRITE, 5, bytes, sizeof(bytes), NULL, 100);
	ck_assert_int_eq(fs_error, -EINVAL);
	/* more than there is, and than was agreed upon */
	in.offset = 0;
	in.size = 5;
	memcpy(bytes, &in, sizeof(in));
	fs_ask(FUSE_WRITE, 5, bytes, sizeof(bytes), NULL, 100);
	ck_assert_int_eq(fs_error, -EINVAL);
	in.size = UINT32_MAX;
	memcpy(bytes, &in, sizeof(in));
	fs_ask(FUSE_WRITE, 5, bytes, sizeof(bytes), NULL, 100);
	ck_assert_int_eq(fs_error, -EINVAL);
	ck_assert_int_eq(fs_stat_of("new").st_size, 0);
}
END_TEST

START_TEST(all_that_can_be_made)
{
	struct fuse_mkdir_in dir = {.mode = 0777, .umask = 027};
	struct fuse_mknod_in node = {.mode = S_IFIFO | 0666, .umask = 0};
	char *target = memset(calloc(1, PATH_MAX), 'x', PATH_MAX - 1), text[PATH_MAX] = "";
	uint64_t id;

	fs_ask(FUSE_MKDIR, FUSE_ROOT_ID, &dir, sizeof(dir), "dir", sizeof(struct fuse_entry_out));
	ck_assert_int_eq(fs_error, 0);
	id = FS_BODY(fuse_entry_out).nodeid;
	ck_assert_uint_eq(fs_stat_of("dir").st_mode, S_IFDIR | 0750);
	fs_ask(FUSE_MKNOD, id, &node, sizeof(node), "pipe", sizeof(struct fuse_entry_out));
	ck_assert_uint_eq(fs_stat_of("dir/pipe").st_mode, S_IFIFO | 0666);
	node.mode = S_IFREG | 0600;
	fs_ask(FUSE_MKNOD, id, &node, sizeof(node), "file", sizeof(struct fuse_entry_out));
	ck_assert_uint_eq(fs_stat_of("dir/file").st_mode, S_IFREG | 0600);
	node.mode = S_IFSOCK | 0600;
	fs_ask(FUSE_MKNOD, id, &node, sizeof(node), "sock", sizeof(struct fuse_entry_out));
	ck_assert_uint_eq(fs_stat_of("dir/sock").st_mode, S_IFSOCK | 0600);
	for (uint32_t type = S_IFCHR; type <= S_IFBLK; type += S_IFBLK - S_IFCHR) {
		node = (struct fuse_mknod_in){.mode = type | 0600, .rdev = 0x103};
		fs_ask(FUSE_MKNOD, id, &node, sizeof(node), "device", 200);
		ck_assert_int_eq(fs_error, -EPERM);
	}
	ck_assert(!fs_is_there("dir/device"));
	fs_ask_names(FUSE_SYMLINK, id, NULL, 0, "link", target, 200);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_int_eq(readlink(fs_path("dir/link"), text, sizeof(text)), PATH_MAX - 1);
	ck_assert_str_eq(text, target);
	free(target);
	/* No room for the answer: nothing is made. */
	fs_ask(FUSE_MKDIR, FUSE_ROOT_ID, &dir, sizeof(dir), "other", 10);
	ck_assert_int_eq(fs_error, -EINVAL);
	ck_assert(!fs_is_there("other"));
}
END_TEST

/* What the guest makes for itself alone stays that. */
START_TEST(without_a_umask_of_its_own)
{
	struct fuse_mkdir_in dir = {.mode = 0777, .umask = 077};
	struct fuse_mknod_in node = {.mode = S_IFREG | 0666, .umask = 037};
	struct fuse_create_in file = {
		.flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0777, .umask = 077};
	uint32_t room = sizeof(struct fs_created);

	unshare_refused = true;
	fs_make_begin(&fs);
	ck_assert(!fs.own_umask);
	fs_ask(FUSE_MKDIR, FUSE_ROOT_ID, &dir, sizeof(dir), "dir", sizeof(struct fuse_entry_out));
	ck_assert_uint_eq(fs_stat_of("dir").st_mode, S_IFDIR | 0700);
	fs_ask(FUSE_MKNOD, FUSE_ROOT_ID, &node, sizeof(node), "node",
	       sizeof(struct fuse_entry_out));
	ck_assert_uint_eq(fs_stat_of("node").st_mode, S_IFREG | 0640);
	fs_ask(FUSE_CREATE, FUSE_ROOT_ID, &file, sizeof(file), "file", room);
	ck_assert_uint_eq(fs_stat_of("file").st_mode, S_IFREG | 0700);
	fs_ask(FUSE_TMPFILE, FUSE_ROOT_ID, &file, sizeof(file), "/", room);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_uint_eq(FS_BODY(fuse_entry_out).attr.mode, S_IFREG | 0700);
	/* This process's own, which is not the guest's to choose here */
	file.umask = 0;
	fs_ask(FUSE_CREATE, FUSE_ROOT_ID, &file, sizeof(file), "open", room);
	ck_assert_uint_eq(fs_stat_of("open").st_mode, S_IFREG | 0755);
	unshare_refused = false;
}
END_TEST

/* Everything that a name must not do, in each operation that has one. */
START_TEST(no_way_out)
{
	static const char *const bad[] = {".", "..", "dir/..", "/tmp/x", "a/b"};
	static const uint8_t zeros[16];
	static const struct {
		uint32_t opcode, args;
		bool second;
	} all[] = {{FUSE_MKDIR, 8, false},  {FUSE_MKNOD, 16, false}, {FUSE_CREATE, 16, false},
		   {FUSE_UNLINK, 0, false}, {FUSE_RMDIR, 0, false},  {FUSE_SYMLINK, 0, true},
		   {FUSE_RENAME, 8, true},  {FUSE_RENAME2, 16, true}};
	struct fuse_link_in link = {0};

	ck_assert_int_eq(mkdir(fs_path("dir"), 0755), 0);
	fs_make_file("file", "x", 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		for (size_t j = 0; j < sizeof(all) / sizeof(all[0]); j++) {
			fs_ask_names(all[j].opcode, FUSE_ROOT_ID, zeros, all[j].args, bad[i],
				     all[j].second ? "y" : NULL, 300);
			ck_assert_int_eq(fs_error, -EINVAL);
		}
		fs_ask_names(FUSE_RENAME, FUSE_ROOT_ID, (uint64_t[]){FUSE_ROOT_ID}, 8, "file",
			     bad[i], 0);
		ck_assert_int_eq(fs_error, -EINVAL);
		link.oldnodeid = fs_lookup(FUSE_ROOT_ID, "file");
		fs_ask(FUSE_LINK, FUSE_ROOT_ID, &link, sizeof(link), bad[i], 300);
		ck_assert_int_eq(fs_error, -EINVAL);
	}
	/* Nor is what a link leads to written, or a file for a directory. */
	ck_assert_int_eq(symlink("/tmp", fs_path("link")), 0);
	fs_ask(FUSE_MKDIR, fs_lookup(FUSE_ROOT_ID, "link"), zeros, 8, "x", 200);
	ck_assert_int_eq(fs_error, -ENOTDIR);
	fs_create_file("link", O_RDWR, 0600);
	ck_assert_int_eq(fs_error, -EEXIST);
	fs_create_file("dir", O_RDWR, 0600);
	ck_assert_int_lt(fs_error, 0);
	ck_assert_int_eq(mkfifo(fs_path("pipe"), 0600), 0);
	fs_create_file("pipe", O_RDWR, 0600);
	ck_assert_int_eq(fs_error, -EEXIST);
}
END_TEST

/* What has lost its name is still there for who knows it, however few descriptors there are. */
START_TEST(a_file_without_a_name)
{
	struct fuse_setattr_in mode = {.valid = FATTR_MODE, .mode = 0600};
	struct fuse_link_in link;
	uint64_t id, other;
	char name[16];

	fs.nodes.most_fds = 4;
	fs_make_file("file", "hello", 5);
	fs_make_file("second", "other", 5);
	id = fs_lookup(FUSE_ROOT_ID, "file");
	other = fs_lookup(FUSE_ROOT_ID, "second");
	fs_ask(FUSE_UNLINK, FUSE_ROOT_ID, NULL, 0, "file", 0);
	ck_assert_int_eq(fs_error, 0);
	ck_assert(!fs_is_there("file"));
	/* replaced by another */
	fs_make_file("third", "third", 5);
	fs_lookup(FUSE_ROOT_ID, "third");
	fs_ask_names(FUSE_RENAME, FUSE_ROOT_ID, (uint64_t[]){FUSE_ROOT_ID}, 8, "third", "second",
		     0);
	ck_assert_int_eq(fs_error, 0);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		fs_make_file(name, "x", 1);
		ck_assert_uint_ne(fs_lookup(FUSE_ROOT_ID, name), 0);
	}
	fs_ask(FUSE_SETATTR, id, &mode, sizeof(mode), NULL, 200);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_uint_eq(FS_BODY(fuse_attr_out).attr.nlink, 0);
	ck_assert_uint_ne(fs_do_open(other, false, O_RDONLY), 0);
	fs_do_read(FUSE_READ, other, FS_BODY(fuse_open_out).fh, 0, 5, 5);
	ck_assert_mem_eq(fs_body, "other", 5);
	/* It cannot come back, as on every file system. */
	link.oldnodeid = id;
	fs_ask(FUSE_LINK, FUSE_ROOT_ID, &link, sizeof(link), "back", 200);
	ck_assert_int_eq(fs_error, -ENOENT);
	fs_forget(id, 1);
	fs_forget(other, 1);
	ck_assert_uint_eq(fs.nodes.pinned, 0);
}
END_TEST

/* Beyond three quarters the rest may get lost; nothing grows. */
START_TEST(many_files_without_a_name)
{
	uint64_t ids[20];
	unsigned int there = 0;
	char name[16];

	fs.nodes.most_fds = 8;
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		fs_make_file(name, "x", 1);
		ids[i] = fs_lookup(FUSE_ROOT_ID, name);
		fs_ask(FUSE_UNLINK, FUSE_ROOT_ID, NULL, 0, name, 0);
		ck_assert_int_eq(fs_error, 0);
		ck_assert_uint_le(fs.nodes.fds, 8);
	}
	ck_assert_uint_eq(fs.nodes.pinned, 6);
	for (int i = 0; i < 20; i++) {
		fs_ask(FUSE_GETATTR, ids[i], &(struct fuse_getattr_in){0}, 16, NULL, 200);
		there += fs_error == 0;
		ck_assert(fs_error == 0 || fs_error == -ESTALE);
	}
	ck_assert_uint_ge(there, 6);
}
END_TEST

START_TEST(names_that_change)
{
	struct fuse_rename2_in in = {.newdir = FUSE_ROOT_ID, .flags = RENAME_NOREPLACE};
	uint64_t dir, inner, file;

	ck_assert_int_eq(mkdir(fs_path("dir"), 0755), 0);
	fs_make_file("dir/inner", "inner", 5);
	fs_make_file("file", "file", 4);
	dir = fs_lookup(FUSE_ROOT_ID, "dir");
	inner = fs_lookup(dir, "inner");
	file = fs_lookup(FUSE_ROOT_ID, "file");
	fs_ask_names(FUSE_RENAME2, dir, &in, sizeof(in), "inner", "file", 0);
	ck_assert_int_eq(fs_error, -EEXIST);
	in.flags = RENAME_EXCHANGE;
	fs_ask_names(FUSE_RENAME2, dir, &in, sizeof(in), "inner", "file", 0);
	ck_assert_int_eq(fs_error, 0);
	fs_check_text("file", "inner");
	in.flags = RENAME_WHITEOUT;
	fs_ask_names(FUSE_RENAME2, dir, &in, sizeof(in), "inner", "file", 0);
	ck_assert_int_eq(fs_error, -EINVAL);
	fs_ask_names(FUSE_RENAME, FUSE_ROOT_ID, (uint64_t[]){FUSE_ROOT_ID}, 8, "dir", "moved", 0);
	ck_assert_int_eq(fs_error, 0);
	/* All are found under the names that they have now. */
	fs.nodes.most_fds = 2;
	fs_nodes_spare(&fs.nodes);
	fs_nodes_spare(&fs.nodes);
	fs_nodes_spare(&fs.nodes);
	fs_ask(FUSE_GETATTR, file, &(struct fuse_getattr_in){0}, 16, NULL, 200);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_uint_eq(FS_BODY(fuse_attr_out).attr.size, 4);
	fs_ask(FUSE_GETATTR, inner, &(struct fuse_getattr_in){0}, 16, NULL, 200);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_uint_eq(FS_BODY(fuse_attr_out).attr.size, 5);
	ck_assert_uint_eq(fs_lookup(dir, "inner"), file);
}
END_TEST

START_TEST(attributes_that_a_guest_may_set)
{
	struct fuse_setattr_in in = {.valid = FATTR_MODE | FATTR_MTIME | FATTR_ATIME |
					      FATTR_ATIME_NOW,
				     .mode = S_IFREG | 04751,
				     .mtime = 981173045,
				     .mtimensec = 789000000};
	uint64_t id, link;
	struct stat st;

	fs_make_file("file", "x", 1);
	ck_assert_int_eq(symlink("none", fs_path("link")), 0);
	id = fs_lookup(FUSE_ROOT_ID, "file");
	link = fs_lookup(FUSE_ROOT_ID, "link");
	fs_ask(FUSE_SETATTR, id, &in, sizeof(in), NULL, 200);
	ck_assert_int_eq(fs_error, 0);
	st = fs_stat_of("file");
	/* Nothing on the host runs as its root because a guest says so. */
	ck_assert_uint_eq(st.st_mode & 07777, geteuid() == 0 ? 0751 : 04751);
	ck_assert_int_eq(st.st_mtim.tv_sec, 981173045);
	ck_assert_int_eq(st.st_mtim.tv_nsec, 789000000);
	ck_assert_int_gt(st.st_atim.tv_sec, 981173045);
	/* Of a link itself */
	in.valid = FATTR_MTIME;
	fs_ask(FUSE_SETATTR, link, &in, sizeof(in), NULL, 200);
	ck_assert_int_eq(fs_stat_of("link").st_mtim.tv_sec, 981173045);
	/* The guest's root is vmm's user. */
	in = (struct fuse_setattr_in){.valid = FATTR_UID | FATTR_GID};
	fs_ask(FUSE_SETATTR, id, &in, sizeof(in), NULL, 200);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_uint_eq(fs_stat_of("file").st_uid, geteuid());
	virtio_fs_confined(&fs, true);
	in.uid = 1234;
	fs_ask(FUSE_SETATTR, id, &in, sizeof(in), NULL, 200);
	ck_assert_int_eq(fs_error, -EPERM);
	in = (struct fuse_setattr_in){.valid = FATTR_SIZE};
	fs_ask(FUSE_SETATTR, FUSE_ROOT_ID, &in, sizeof(in), NULL, 200);
	ck_assert_int_eq(fs_error, -EINVAL);
}
END_TEST

/* A user namespace in which nobody has a number. */
START_TEST(no_numbers_of_our_own)
{
	const struct fuse_setattr_in in = {.valid = FATTR_UID | FATTR_GID};
	uint64_t id;

	fs_make_file("file", "x", 1);
	ck_assert_int_eq(chmod(fs_path("file"), 04755), 0);
	id = fs_lookup(FUSE_ROOT_ID, "file");
	if (unshare(CLONE_NEWUSER) < 0) {
		skip_note("no user namespaces here");
		return;
	}
	virtio_fs_confined(&fs, true);
	fs_ask(FUSE_SETATTR, id, &in, sizeof(in), NULL, 200);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_uint_eq(fs_stat_of("file").st_mode & 07777, 0755);
}
END_TEST

START_TEST(extended_attributes)
{
	struct {
		uint32_t size, flags;
		char rest[16];
	} in = {.size = 4, .rest = "user.color\0blue"};
	uint64_t id;
	char text[8];

	fs_make_file("file", "x", 1);
	if (setxattr(fs_path("file"), "user.x", "x", 1, 0) < 0)
		return; /* no file system for that here */
	id = fs_lookup(FUSE_ROOT_ID, "file");
	fs_ask(FUSE_SETXATTR, id, &in, 8 + 15, NULL, 0);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_int_eq(getxattr(fs_path("file"), "user.color", text, sizeof(text)), 4);
	in.flags = XATTR_CREATE;
	fs_ask(FUSE_SETXATTR, id, &in, 8 + 15, NULL, 0);
	ck_assert_int_eq(fs_error, -EEXIST);
	in.size = 5;
	fs_ask(FUSE_SETXATTR, id, &in, 8 + 15, NULL, 0);
	ck_assert_int_eq(fs_error, -EINVAL);
	fs_ask(FUSE_REMOVEXATTR, id, NULL, 0, "user.color", 0);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_int_lt(getxattr(fs_path("file"), "user.color", text, sizeof(text)), 0);
	fs_ask(FUSE_SETXATTR, id, (uint32_t[2]){0, 0}, 8, "security.capability", 0);
	ck_assert_int_eq(fs_error, -EPERM);
	fs_ask(FUSE_SETXATTR, id, (uint32_t[2]){0, 0}, 8, "trusted.x", 0);
	ck_assert_int_eq(fs_error, -EOPNOTSUPP);
}
END_TEST

START_TEST(files_that_never_had_a_name)
{
	struct fuse_create_in in = {.flags = O_RDWR, .mode = S_IFREG | 0640};
	struct fs_created c;
	struct fuse_link_in link;

	fs_ask(FUSE_TMPFILE, FUSE_ROOT_ID, &in, sizeof(in), "/", sizeof(c));
	if (fs_error == -EOPNOTSUPP)
		return; /* no file system for that here */
	ck_assert_int_eq(fs_error, 0);
	memcpy(&c, fs_body, sizeof(c));
	ck_assert_uint_eq(fs_do_write(c.open.fh, 0, "hello", O_RDWR, 0), 5);
	link.oldnodeid = c.entry.nodeid;
	fs_ask(FUSE_LINK, FUSE_ROOT_ID, &link, sizeof(link), "named", 200);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_uint_eq(FS_BODY(fuse_entry_out).nodeid, c.entry.nodeid);
	ck_assert_uint_eq(fs.nodes.pinned, 0);
	fs_check_text("named", "hello");
	ck_assert_uint_eq(fs_stat_of("named").st_mode, S_IFREG | 0640);
}
END_TEST

START_TEST(blocks_and_copies)
{
	struct fuse_fallocate_in all = {.length = 8192};
	struct fuse_copy_file_range_in copy = {.len = 5, .off_out = 3};
	struct fs_created a = fs_create_file("a", O_RDWR, 0600), b;

	fs_do_write(a.open.fh, 0, "hello", O_RDWR, 0);
	b = fs_create_file("b", O_RDWR, 0600);
	copy.fh_in = a.open.fh;
	copy.fh_out = b.open.fh;
	fs_ask(FUSE_COPY_FILE_RANGE, a.entry.nodeid, &copy, sizeof(copy), NULL, 8);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_uint_eq(FS_BODY(fuse_write_out).size, 5);
	ck_assert_int_eq(fs_stat_of("b").st_size, 8);
	copy.fh_out = 999;
	fs_ask(FUSE_COPY_FILE_RANGE, a.entry.nodeid, &copy, sizeof(copy), NULL, 8);
	ck_assert_int_eq(fs_error, -EBADF);
	all.fh = a.open.fh;
	fs_ask(FUSE_FALLOCATE, a.entry.nodeid, &all, sizeof(all), NULL, 0);
	ck_assert_int_eq(fs_error, 0);
	ck_assert_int_eq(fs_stat_of("a").st_size, 8192);
	all.length = UINT64_MAX;
	fs_ask(FUSE_FALLOCATE, a.entry.nodeid, &all, sizeof(all), NULL, 0);
	ck_assert_int_eq(fs_error, -EINVAL);
	fs_ask(FUSE_FSYNC, a.entry.nodeid, &(struct fuse_fsync_in){.fh = a.open.fh}, 16, NULL, 0);
	ck_assert_int_eq(fs_error, 0);
	fs_ask(FUSE_FSYNC, a.entry.nodeid, &(struct fuse_fsync_in){.fh = 999}, 16, NULL, 0);
	ck_assert_int_eq(fs_error, -EBADF);
	fs_ask(FUSE_SYNCFS, FUSE_ROOT_ID, (char[64]){0}, 64, NULL, 0);
	ck_assert_int_eq(fs_error, 0);
}
END_TEST

/* All files are shown as root's, so nobody else of the guest may make a program that runs as its owner. */
START_TEST(setuid_by_a_user_of_the_guest)
{
	static const char *const names[] = {"by root", "by another"};

	fs.owners = false;
	fs.keep_setid = true;
	for (fs_user = 0; fs_user <= 1000; fs_user += 1000) {
		const char *name = names[fs_user / 1000];
		struct fuse_mknod_in node = {.mode = S_IFREG | 06755};
		mode_t mode = S_IFREG | (fs_user ? 0755 : 06755);

		fs_create_file(name, O_RDWR | O_EXCL, 06755);
		ck_assert_uint_eq(fs_stat_of(name).st_mode, mode);
		unlink(fs_path(name));
		fs_ask(FUSE_MKNOD, FUSE_ROOT_ID, &node, sizeof(node), name,
		       sizeof(struct fuse_entry_out));
		ck_assert_uint_eq(fs_stat_of(name).st_mode, mode);
	}
}
END_TEST

/* As on NFS, when another client has put a new file in its place and the server has given it the same number. */
START_TEST(a_descriptor_of_no_use_any_more)
{
	uint64_t id, fh;
	int stale;

	fs_make_file("file", "hello", 5);
	id = fs_lookup(FUSE_ROOT_ID, "file");
	stale = open("/dev/null", O_PATH | O_CLOEXEC);
	ck_assert_int_ge(dup2(stale, fs.nodes.nodes[id].fd), 0);
	close(stale);
	ck_assert_uint_eq(fs_lookup(FUSE_ROOT_ID, "file"), id);
	fh = fs_do_open(id, false, O_RDWR);
	ck_assert_uint_eq(fs_do_write(fh, 0, "J", O_RDWR, 0), 1);
	fs_check_text("file", "Jello");
}
END_TEST

static Suite *fs_suite(void)
{
	Suite *s = suite_create("virtio/fs: writing");
	TCase *tc = tcase_create("device");

	tcase_add_checked_fixture(tc, setup, fs_teardown);
	tcase_add_test(tc, a_file_is_made_and_written);
	tcase_add_test(tc, writes_that_make_no_sense);
	tcase_add_test(tc, all_that_can_be_made);
	tcase_add_test(tc, without_a_umask_of_its_own);
	tcase_add_test(tc, no_way_out);
	tcase_add_test(tc, a_file_without_a_name);
	tcase_add_test(tc, many_files_without_a_name);
	tcase_add_test(tc, names_that_change);
	tcase_add_test(tc, attributes_that_a_guest_may_set);
	tcase_add_test(tc, no_numbers_of_our_own);
	tcase_add_test(tc, extended_attributes);
	tcase_add_test(tc, files_that_never_had_a_name);
	tcase_add_test(tc, blocks_and_copies);
	tcase_add_test(tc, setuid_by_a_user_of_the_guest);
	tcase_add_test(tc, a_descriptor_of_no_use_any_more);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return device_run(fs_suite());
}
