/* What of directories that are shared with a guest is left to a process that has given up all else; each in a child. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/unit/confine_fixture.h"
#include "tests/unit/run_suite.h"
#include "tests/unit/skip.h"
#include "vmm/core/mounts.h"
#include "vmm/sandbox/confine.h"

#define CUT_OFF "without a way up"
#define SAFE	((unsigned long)(ST_NOSUID | ST_NODEV | ST_NOEXEC))

/* As with a kernel that has no message queues. */
static bool no_mqueue;

int mount(const char *source, const char *at, const char *type, unsigned long flags,
	  const void *data)
{
	if (!no_mqueue || !type || strcmp(type, "mqueue") != 0)
		return (int)syscall(SYS_mount, source, at, type, flags, data);
	errno = ENODEV;
	return -1;
}

static char dir[] = "/tmp/trees.XXXXXX";

/* All that there may be below it, with each directory after what it has. */
static const char *const names[] = {
	"read/file",  "read/new",    "read/below", "none (deleted)", "read/b c",
	"read/over",  "read",	     "write/new",  "write/dir",	     "write/special",
	"write/file", "write/below", "write",	   "none/file",	     "none",
};

static int in_dir(const char *name, char *path, size_t size)
{
	return snprintf(path, size, "%s/%s", dir, name);
}

static void make_dir(const char *name)
{
	char path[64];

	in_dir(name, path, sizeof(path));
	ck_assert_int_eq(mkdir(path, 0755), 0);
}

/* Nothing that could run. */
static int make_file(const char *name)
{
	char path[64];
	int fd;

	in_dir(name, path, sizeof(path));
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0755);
	return fd < 0 || write(fd, "text", 4) != 4 || close(fd) < 0 ? -1 : 0;
}

static int open_dir(const char *name)
{
	char path[64];

	in_dir(name, path, sizeof(path));
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static void setup(void)
{
	memcpy(&dir[sizeof(dir) - 7], "XXXXXX", 6);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	make_dir("read");
	make_dir("read/below");
	make_dir("write");
	make_dir("write/below");
	make_dir("none");
	ck_assert_int_eq(make_file("read/file") | make_file("write/file") | make_file("none/file"),
			 0);
}

static void teardown(void)
{
	char path[64];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		in_dir(names[i], path, sizeof(path));
		remove(path);
	}
	rmdir(dir);
}

static struct confine_tree reads = {.read = true}, writes = {.read = true, .write = true}, neither;
static struct confine_result result;

/* Lets go of everything else. */
static int confine_trees(void)
{
	static const struct confine_tree *const trees[] = {&reads, &writes, &neither};
	struct confine_options options = {.trees = trees, .n_trees = 3};

	reads.fd = open_dir("read");
	writes.fd = open_dir("write");
	neither.fd = open_dir("none");
	EXPECT(reads.fd >= 0 && writes.fd >= 0 && neither.fd >= 0);
	EXPECT(confine_process(&options, &result) == 0);
	return 0;
}

static bool has_landlock(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0;
}

/* Linux 5.12 */
static bool has_attributes(void)
{
	return syscall(SYS_mount_setattr, -1, "", 0, NULL, 0) == 0 || errno != ENOSYS;
}

static bool refused(int ret)
{
	return ret < 0 && (errno == EROFS || errno == EACCES);
}

/* What either layer keeps, alone or with the other. */
static int read_one_is_only_read(void)
{
	EXPECT(openat(reads.fd, "file", O_RDONLY | O_CLOEXEC) >= 0);
	EXPECT(refused(openat(reads.fd, "file", O_WRONLY | O_CLOEXEC)));
	EXPECT(refused(openat(reads.fd, "file", O_RDWR | O_CLOEXEC)));
	EXPECT(refused(openat(reads.fd, "new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600)));
	EXPECT(refused(mkdirat(reads.fd, "new", 0700)));
	EXPECT(refused(unlinkat(reads.fd, "file", 0)));
	EXPECT(openat(writes.fd, "file", O_RDWR | O_CLOEXEC) >= 0);
	EXPECT(openat(writes.fd, "new", O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600) >= 0);
	EXPECT(mkdirat(writes.fd, "dir", 0700) == 0);
	EXPECT(mknodat(writes.fd, "dir/fifo", S_IFIFO | 0600, 0) == 0);
	EXPECT(unlinkat(writes.fd, "dir/fifo", 0) == 0);
	return 0;
}

static int child_has_both(void)
{
	EXPECT(confine_trees() == 0);
	if (!holds(&result, "Landlock") && (!holds(&result, CUT_OFF) || !has_attributes()))
		return 77;
	return read_one_is_only_read();
}

START_TEST(test_reads_only)
{
	int status = in_child(child_has_both);

	if (status == 77)
		skip_note("that a tree is read only takes Landlock or Linux 5.12");
	else
		ck_assert_int_eq(status, 0);
}
END_TEST

/* With mounts alone. */
static int child_without_landlock(void)
{
	struct statvfs fs;

	EXPECT(forbid(SYS_landlock_create_ruleset) == 0);
	EXPECT(confine_trees() == 0);
	EXPECT(!holds(&result, "Landlock"));
	if (!holds(&result, CUT_OFF))
		return 77;
	EXPECT(openat(reads.fd, "file", O_WRONLY | O_CLOEXEC) < 0 && errno == EROFS);
	EXPECT(fstatvfs(reads.fd, &fs) == 0);
	EXPECT((fs.f_flag & (SAFE | ST_RDONLY)) == (SAFE | ST_RDONLY));
	EXPECT(fstatvfs(writes.fd, &fs) == 0);
	EXPECT((fs.f_flag & (SAFE | ST_RDONLY)) == SAFE);
	return read_one_is_only_read();
}

START_TEST(test_mounts)
{
	int status = has_attributes() ? in_child(child_without_landlock) : 77;

	if (status == 77)
		skip_note("attributes of mounts take Linux 5.12, and a mount namespace");
	else
		ck_assert_int_eq(status, 0);
}
END_TEST

/* With Landlock alone. */
static int child_without_mounts(void)
{
	EXPECT(forbid(SYS_open_tree) == 0);
	EXPECT(confine_trees() == 0);
	EXPECT(!holds(&result, CUT_OFF) && holds(&result, "Landlock"));
	EXPECT(openat(reads.fd, "file", O_WRONLY | O_CLOEXEC) < 0 && errno == EACCES);
	EXPECT(openat(neither.fd, "file", O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES);
	/* It would be no program. */
	EXPECT(syscall(SYS_execveat, reads.fd, "file", NULL, NULL, 0) < 0 && errno == EACCES);
	EXPECT(syscall(SYS_execveat, writes.fd, "file", NULL, NULL, 0) < 0 && errno == EACCES);
	/* Without it the first would be made, and the second refused with EPERM. */
	EXPECT(mknodat(writes.fd, "special", S_IFCHR | 0600, makedev(0, 0)) < 0 && errno == EACCES);
	EXPECT(mknodat(writes.fd, "special", S_IFBLK | 0600, makedev(7, 0)) < 0 && errno == EACCES);
	return read_one_is_only_read();
}

START_TEST(test_landlock)
{
	if (has_landlock())
		ck_assert_int_eq(in_child(child_without_mounts), 0);
	else
		skip_note("no Landlock here");
}
END_TEST

/* A file system that others have mounted in a tree has no more rights than the tree. */
static int child_with_mounts_below(void)
{
	static const char *const below[] = {"read/below", "write/below"};
	struct statvfs fs;
	char path[64];
	int fd;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 77;
	for (int i = 0; i < 2; i++) {
		in_dir(below[i], path, sizeof(path));
		EXPECT(mount("none", path, "tmpfs", 0, "size=64k") == 0);
	}
	EXPECT(make_file("read/below/file") == 0 && make_file("write/below/file") == 0);
	EXPECT(forbid(SYS_landlock_create_ruleset) == 0);
	EXPECT(confine_trees() == 0 && holds(&result, CUT_OFF));
	EXPECT((fd = openat(reads.fd, "below/file", O_RDONLY | O_CLOEXEC)) >= 0);
	EXPECT(fstatvfs(fd, &fs) == 0);
	EXPECT((fs.f_flag & (SAFE | ST_RDONLY)) == (SAFE | ST_RDONLY));
	EXPECT(openat(reads.fd, "below/file", O_WRONLY | O_CLOEXEC) < 0 && errno == EROFS);
	EXPECT((fd = openat(writes.fd, "below/file", O_RDWR | O_CLOEXEC)) >= 0);
	EXPECT(fstatvfs(fd, &fs) == 0);
	EXPECT((fs.f_flag & (SAFE | ST_RDONLY)) == SAFE);
	return 0;
}

START_TEST(test_mounts_below)
{
	int status = has_attributes() ? in_child(child_with_mounts_below) : 77;

	if (status == 77)
		skip_note("mounts in a tree take root rights, and Linux 5.12");
	else
		ck_assert_int_eq(status, 0);
}
END_TEST

/* A directory of the kernel's own file systems, in vmm's namespace, is an empty one for guests (virtio/fs_stat.h). */
static int expect_nothing_there(int tree, const char *name)
{
	int fd = openat(tree, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	unsigned int i = 0;
	struct statfs fs;
	char buf[4096];

	EXPECT(fd >= 0 && fstatfs(fd, &fs) == 0);
	while (i < MOUNTS_KERNELS_OWN && (uint32_t)fs.f_type != mounts_kernels_own[i])
		i++;
	EXPECT(no_mqueue ? fs.f_type == TMPFS_MAGIC : i < MOUNTS_KERNELS_OWN);
	EXPECT(syscall(SYS_getdents64, fd, buf, sizeof(buf)) <= 2 * 24);
	EXPECT(openat(fd, "new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) < 0 && errno == EROFS);
	close(fd);
	return 0;
}

static int mount_kernels_own(void)
{
	char path[64];

	make_dir("read/b c");
	in_dir("read/below", path, sizeof(path));
	EXPECT(mount("none", path, "proc", 0, NULL) == 0);
	in_dir("read/b c", path, sizeof(path));
	EXPECT(mount("none", path, "proc", 0, NULL) == 0);
	in_dir("write/below", path, sizeof(path));
	EXPECT(mount("none", path, "sysfs", 0, NULL) == 0);
	return 0;
}

static int kernels_own_are_not_found(uid_t uid)
{
	const struct confine_tree *const trees[] = {&reads, &neither, &writes};
	struct confine_options options = {.trees = trees, .n_trees = 3};
	char number[16];

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 77;
	EXPECT(mount_kernels_own() == 0);
	EXPECT(chmod(dir, 0755) == 0 && setgid(uid) == 0 && setuid(uid) == 0);
	prctl(PR_SET_DUMPABLE, 1);
	reads.fd = open_dir("read");
	writes.fd = open_dir("write");
	neither.fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	EXPECT(openat(reads.fd, "below/self/mem", O_RDWR | O_CLOEXEC) >= 0);
	EXPECT(confine_process(&options, &result) == 0);
	if (!holds(&result, "namespaces"))
		return 77;
	EXPECT(holds(&result, CUT_OFF) && result.hidden);
	EXPECT(result.out_of_reach == holds(&result, "Landlock"));
	EXPECT(openat(reads.fd, "below/self/mem", O_RDONLY | O_CLOEXEC) < 0 && errno == ENOENT);
	EXPECT(expect_nothing_there(reads.fd, "below") == 0);
	EXPECT(expect_nothing_there(reads.fd, "b c") == 0);
	EXPECT(expect_nothing_there(writes.fd, "below") == 0);
	/* What files are opened by once more works as before. */
	snprintf(number, sizeof(number), "%d", openat(reads.fd, "file", O_PATH | O_CLOEXEC));
	EXPECT(openat(neither.fd, number, O_RDONLY | O_CLOEXEC) >= 0);
	return 0;
}

static int child_finds_no_kernel(void)
{
	return kernels_own_are_not_found(0);
}

static int child_finds_no_kernel_as_a_user(void)
{
	return kernels_own_are_not_found(65534);
}

START_TEST(test_kernels_own)
{
	int status;

	no_mqueue = _i;
	status = in_child(child_finds_no_kernel);
	if (status == 0) {
		teardown();
		setup();
		status = in_child(child_finds_no_kernel_as_a_user);
	}
	if (status == 77)
		skip_note("mounts in a tree take root rights, and a user's namespaces");
	else
		ck_assert_int_eq(status, 0);
}
END_TEST

/* As with homes on a server: what is mounted when it is first used is below a file system of the kernel's own. */
static int child_is_below_an_automount(void)
{
	const struct confine_tree *const trees[] = {&writes};
	struct confine_options options = {.trees = trees, .n_trees = 1};
	char path[64], how[96];
	int pipes[2];

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    pipe(pipes) < 0)
		return 77;
	snprintf(how, sizeof(how), "fd=%d,pgrp=%d,minproto=5,maxproto=5,indirect", pipes[1],
		 getpgrp());
	in_dir("write/below", path, sizeof(path));
	if (mount("none", path, "autofs", 0, how) < 0)
		return 77;
	make_dir("write/below/home");
	in_dir("write/below/home", path, sizeof(path));
	EXPECT(mount("none", path, "tmpfs", 0, "size=64k") == 0);
	writes.fd = open_dir("write/below/home");
	EXPECT(confine_process(&options, &result) == 0 && holds(&result, CUT_OFF));
	EXPECT(openat(writes.fd, "new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) >= 0);
	EXPECT(openat(writes.fd, "../home", O_PATH | O_CLOEXEC) < 0 && errno == ENOENT);
	return 0;
}

START_TEST(test_automount)
{
	int status = in_child(child_is_below_an_automount);

	if (status == 77)
		skip_note("an automount takes root rights, and autofs");
	else
		ck_assert_int_eq(status, 0);
}
END_TEST

/* What is told of the tree alone, with and without a layer. Returns whether other files are hidden, or -1. */
static int hides(struct confine_tree *tree, unsigned int without)
{
	const struct confine_tree *const trees[] = {tree};
	struct confine_options options = {.trees = trees, .n_trees = 1};

	tree->fd = open_dir(tree->write ? "write" : "read");
	if (tree->fd < 0 || (without && forbid(without) < 0) ||
	    confine_process(&options, &result) < 0)
		return -1;
	return tree->write ? result.out_of_reach : result.hidden;
}

static int child_reads_with_mounts(void)
{
	return hides(&reads, SYS_landlock_create_ruleset);
}

static int child_writes_with_mounts(void)
{
	return hides(&writes, SYS_landlock_create_ruleset);
}

static int child_reads_with_landlock(void)
{
	return hides(&reads, SYS_open_tree);
}

static int child_writes_with_landlock(void)
{
	return hides(&writes, SYS_open_tree);
}

static int child_writes_with_both(void)
{
	return hides(&writes, 0);
}

static int child_reads_by_root_alone(void)
{
	return forbid(SYS_open_tree) < 0 ? -1 : hides(&reads, SYS_landlock_create_ruleset);
}

/* By Landlock, or else by a root and mounts; where files are written, only by both. */
START_TEST(test_hides)
{
	bool mounts;

	ck_assert_int_eq(in_child(child_reads_by_root_alone), 0);
	ck_assert_int_eq(in_child(child_writes_with_mounts), 0);
	ck_assert_int_eq(in_child(child_writes_with_landlock), 0);
	mounts = in_child(child_reads_with_mounts) == 1;
	ck_assert_int_eq(in_child(child_reads_with_landlock), has_landlock());
	ck_assert_int_eq(in_child(child_writes_with_both), mounts && has_landlock());
	if (!mounts)
		skip_note("no mount namespace here");
}
END_TEST

/* The name of a directory that is gone, as the kernel tells it, is another's; the others are cut off all the same. */
static int child_finds_another(void)
{
	const struct confine_tree *const trees[] = {&reads, &writes};
	struct confine_options options = {.trees = trees, .n_trees = 2};
	struct stat before, after;

	EXPECT(forbid(SYS_landlock_create_ruleset) == 0);
	writes.fd = open_dir("write");
	reads.fd = open_dir("none");
	EXPECT(reads.fd >= 0 && fstat(reads.fd, &before) == 0);
	EXPECT(unlinkat(reads.fd, "file", 0) == 0 && chdir(dir) == 0 && rmdir("none") == 0);
	EXPECT(mkdir("none (deleted)", 0700) == 0);
	EXPECT(confine_process(&options, &result) == 0);
	EXPECT(!holds(&result, CUT_OFF));
	EXPECT(!holds(&result, "namespaces") || strstr(result.missing, strerror(ESTALE)));
	EXPECT(fstat(reads.fd, &after) == 0 && after.st_ino == before.st_ino);
	EXPECT(!result.hidden);
	EXPECT((openat(writes.fd, "../read", O_PATH | O_CLOEXEC) < 0) ==
	       holds(&result, "namespaces"));
	return 0;
}

START_TEST(test_another_by_that_name)
{
	ck_assert_int_eq(in_child(child_finds_another), 0);
}
END_TEST

static int read_mounts(char *text, size_t size)
{
	int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return -1;
	while ((n = read(fd, &text[len], size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(fd);
	return n < 0 || len + 1 == size ? -1 : 0;
}

static int child_has_own_mounts(void)
{
	struct confine_options options = {.strict = false};

	EXPECT(confine_process(&options, &result) == 0);
	EXPECT(holds(&result, "an empty root"));
	return 0;
}

/* The first is in a namespace of its own, whose mounts would tell the other's of what happens to them. */
static int child_sees_its_childs(void)
{
	static char before[1 << 18], after[1 << 18];

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 77;
	EXPECT(mount(NULL, "/", NULL, MS_REC | MS_SHARED, NULL) == 0);
	EXPECT(read_mounts(before, sizeof(before)) == 0);
	EXPECT(in_child(child_has_own_mounts) == 0);
	EXPECT(read_mounts(after, sizeof(after)) == 0);
	EXPECT(strcmp(before, after) == 0);
	return 0;
}

START_TEST(test_nobody_sees_its_mounts)
{
	int status = in_child(child_sees_its_childs);

	if (status == 77)
		skip_note("mounts that tell of each other take root rights");
	else
		ck_assert_int_eq(status, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("trees");
	TCase *tc = tcase_create("trees");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_reads_only);
	tcase_add_test(tc, test_mounts);
	tcase_add_test(tc, test_landlock);
	tcase_add_test(tc, test_mounts_below);
	tcase_add_loop_test(tc, test_kernels_own, 0, 2);
	tcase_add_test(tc, test_automount);
	tcase_add_test(tc, test_hides);
	tcase_add_test(tc, test_another_by_that_name);
	tcase_add_test(tc, test_nobody_sees_its_mounts);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
