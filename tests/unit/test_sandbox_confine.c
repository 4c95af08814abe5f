/* A process that has given up files, layer by layer; each in a child, for there is no way back. */
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/landlock.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/confine_fixture.h"
#include "tests/unit/run_suite.h"
#include "tests/unit/skip.h"
#include "vmm/core/kept_name.h"
#include "vmm/core/log.h"
#include "vmm/sandbox/confine.h"

/* Linux 6.3; older headers do not know it. */
#ifndef PR_GET_MDWE
#define PR_GET_MDWE 66
#endif

static char dir[] = "/tmp/confine.XXXXXX";
static char path[64];

static void setup(void)
{
	memcpy(&dir[sizeof(dir) - 7], "XXXXXX", 6);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/name", dir);
}

static void teardown(void)
{
	unlink(path);
	rmdir(dir);
}

/* lacking: what the host's root has not, as in a container. */
static int child_with_owners(uint32_t lacking)
{
	struct confine_options options = {.keep_owners = true};
	struct confine_result result;

	EXPECT(drop(lacking) == 0);
	EXPECT(confine_process(&options, &result) == 0);
	if (result.alone)
		return 77;
	EXPECT(result.kept);
	EXPECT(rights().effective == OWNERS);
	EXPECT(rights().permitted == (OWNERS | (1u << CAP_FSETID & ~lacking)));
	confine_settle_capabilities();
	EXPECT(rights().effective == OWNERS && rights().permitted == OWNERS);
	confine_drop_capabilities();
	EXPECT(rights().permitted == 0);
	return 0;
}

static int child_as_root(void)
{
	return child_with_owners(0);
}

static int child_as_root_of_a_container(void)
{
	return child_with_owners(1u << CAP_FSETID);
}

/* The user that is changed to may be the same. */
static int child_as_root_again(void)
{
	struct confine_options options = {.keep_owners = true, .change_user = true};
	struct confine_result result;

	if (setgroups(0, NULL) < 0)
		return 77;
	EXPECT(confine_process(&options, &result) == 0);
	EXPECT(!result.kept && rights().permitted == 0);
	return 0;
}

/* Root of a user namespace alone, in which no other user is. */
static int child_as_root_alone(void)
{
	struct confine_options options = {.keep_owners = true};
	struct confine_result result;

	EXPECT(drop(1u << CAP_SYS_ADMIN) == 0);
	EXPECT(confine_process(&options, &result) == 0);
	if (!result.alone)
		return 77;
	EXPECT(!result.kept && rights().permitted == 0);
	return 0;
}

START_TEST(root_keeps_no_rights_over_owners)
{
	int status = geteuid() == 0 ? in_child(child_as_root_again) : 77;

	if (status == 0)
		status = in_child(child_as_root_alone);
	if (status == 77)
		skip_note("a root without rights takes root, and user namespaces");
	else
		ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(root_keeps_its_rights_over_owners)
{
	int status = geteuid() == 0 ? in_child(child_as_root) : 77;

	if (status == 77) {
		skip_note("rights over files' owners take root, and users beside it");
		return;
	}
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(in_child(child_as_root_of_a_container), 0);
}
END_TEST

/* NS_MNT_GET_INFO */
static bool counts_mounts(void)
{
	struct {
		uint32_t size, n;
		uint64_t id;
	} info;
	int fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	bool counts = ioctl(fd, _IOR(0xb7, 10, info), &info) == 0;

	close(fd);
	return counts;
}

static int child_with_its_mounts(void)
{
	struct confine_options options = {.mounts = true};
	struct confine_result result;

	EXPECT(confine_process(&options, &result) == 0);
	if (!holds(&result, "an empty root")) {
		EXPECT(result.mounts == -1);
		return 77;
	}
	/* Linux before 6.12 does not tell what is in it. */
	EXPECT(result.mounts == -1 ? !counts_mounts()
				   : ioctl(result.mounts, NS_GET_NSTYPE) == CLONE_NEWNS);
	return 0;
}

/* The host's mounts stay behind in that namespace, and who unmounts them here finds them in use as long as it is there. */
static int child_in_a_chroot(void)
{
	struct confine_options options = {.mounts = true};
	struct confine_result result;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("none", "/mnt", "tmpfs", 0, NULL) < 0 ||
	    mount("/", "/mnt", NULL, MS_BIND, NULL) < 0 ||
	    mount("/proc", "/mnt/proc", NULL, MS_BIND | MS_REC, NULL) < 0 || chroot("/mnt") < 0 ||
	    chdir("/") < 0)
		return 77;
	EXPECT(confine_process(&options, &result) == 0);
	EXPECT(result.mounts == -1);
	return 0;
}

static int child_without_its_mounts(void)
{
	struct confine_options options = {.strict = false};
	struct confine_result result;

	EXPECT(confine_process(&options, &result) == 0);
	EXPECT(result.mounts == -1);
	return 0;
}

START_TEST(test_gives_its_mounts)
{
	int status = in_child(child_with_its_mounts);

	if (status == 77)
		skip_note("no mount namespace of its own");
	else
		ck_assert_int_eq(status, 0);
	ck_assert_int_eq(in_child(child_without_its_mounts), 0);
	status = in_child(child_in_a_chroot);
	if (status == 77)
		skip_note("no chroot on a mount point");
	else
		ck_assert_int_eq(status, 0);
}
END_TEST

/* So that there is room for more, unless the host has less. */
static int lower_limit(__rlimit_resource_t which, rlim_t to)
{
	struct rlimit limit;

	if (getrlimit(which, &limit) < 0)
		return -1;
	limit.rlim_cur = limit.rlim_max < to ? limit.rlim_max : to;
	return setrlimit(which, &limit);
}

static bool is_at_limit(__rlimit_resource_t which)
{
	struct rlimit limit;

	return getrlimit(which, &limit) == 0 && limit.rlim_cur == limit.rlim_max;
}

static int child_without_files(void)
{
	struct confine_options options = {.strict = false};
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2];
	struct confine_result result;
	struct rlimit core;

	EXPECT(lower_limit(RLIMIT_NOFILE, 64) == 0 && lower_limit(RLIMIT_MEMLOCK, 4096) == 0);
	EXPECT(confine_process(&options, &result) == 0);
	EXPECT(holds(&result, "no capabilities") && holds(&result, "limits"));
	EXPECT(!holds(&result, "another user"));
	EXPECT(is_at_limit(RLIMIT_NOFILE) && is_at_limit(RLIMIT_MEMLOCK));
	if (holds(&result, "Landlock") || holds(&result, "an empty root"))
		EXPECT(open("/etc/passwd", O_RDONLY) < 0);
	if (holds(&result, "an empty root")) {
		EXPECT(access("/etc", F_OK) < 0 && errno == ENOENT);
		EXPECT(mkdir("/new", 0700) < 0);
	}
	EXPECT(syscall(SYS_capget, &header, caps) == 0);
	EXPECT(caps[0].effective == 0 && caps[0].permitted == 0 && caps[1].permitted == 0);
	EXPECT(getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0);
	EXPECT(unshare(CLONE_NEWUTS) < 0);
	return 0;
}

START_TEST(test_without_files)
{
	ck_assert_int_eq(in_child(child_without_files), 0);
}
END_TEST

static int child_removes_its_own(void)
{
	struct confine_options options = {.strict = false};
	struct confine_result result;
	struct kept_name kept;
	struct stat st;
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);

	EXPECT(fd >= 0 && fstat(fd, &st) == 0);
	EXPECT(kept_name_open(&kept, path, &st) == 0);
	options.remove_in = &kept.dir;
	options.n_remove_in = 1;
	EXPECT(confine_process(&options, &result) == 0);
	kept_name_remove(&kept);
	return 0;
}

START_TEST(test_removes_its_own)
{
	ck_assert_int_eq(in_child(child_removes_its_own), 0);
	ck_assert_int_lt(access(path, F_OK), 0);
}
END_TEST

/* What a thread with that descriptor could find: other names above, and their files' owners and sizes. */
static int child_sees_nothing_above(void)
{
	struct confine_options options = {.strict = false, .n_remove_in = 1};
	struct confine_result result;
	struct stat st, up;
	int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	EXPECT(fd >= 0 && symlink("..", path) == 0);
	options.remove_in = &fd;
	EXPECT(fstatat(fd, "../../proc", &up, AT_SYMLINK_NOFOLLOW) == 0);
	EXPECT(confine_process(&options, &result) == 0);
	EXPECT(holds(&result, "without a way up") == holds(&result, "namespaces"));
	EXPECT(fcntl(fd, F_GETFD) == FD_CLOEXEC && fstat(fd, &st) == 0);
	if (holds(&result, "without a way up")) {
		EXPECT(fstatat(fd, "..", &up, 0) == 0 && up.st_ino == st.st_ino);
		EXPECT(fstatat(fd, "../../proc", &up, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT);
		EXPECT(fstatat(fd, "name/..", &up, 0) == 0 && up.st_ino == st.st_ino);
	}
	EXPECT(unlinkat(fd, "name", 0) == 0);
	return 0;
}

START_TEST(test_sees_nothing_above)
{
	ck_assert_int_eq(in_child(child_sees_nothing_above), 0);
	ck_assert_int_lt(readlink(path, (char[8]){0}, 8), 0);
}
END_TEST

/* A listener outside, which is connected to from inside by its last name. */
static int child_connects(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct confine_options options = {.strict = false, .socket_dir = dir};
	struct confine_result result;
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), fd = socket(AF_UNIX, SOCK_STREAM, 0);

	memcpy(addr.sun_path, path, sizeof(path));
	EXPECT(bind(listener, (struct sockaddr *)&addr, sizeof(addr)) == 0 &&
	       listen(listener, 1) == 0);
	EXPECT(confine_process(&options, &result) == 0);
	EXPECT(result.moved == holds(&result, "an empty root"));
	if (result.moved)
		memcpy(addr.sun_path, "name", 5);
	EXPECT(connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0);
	EXPECT(open("name2", O_CREAT | O_WRONLY, 0600) < 0);
	return 0;
}

START_TEST(test_connects)
{
	ck_assert_int_eq(in_child(child_connects), 0);
}
END_TEST

/* The root cannot be exchanged at the last moment: names mean what they did, also those that begin in the working directory. */
static int child_keeps_its_root(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX, .sun_path = "name"};
	struct confine_options options = {.strict = false, .socket_dir = "."};
	struct confine_result result;
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);

	EXPECT(chdir(dir) == 0);
	EXPECT(bind(listener, (struct sockaddr *)&addr, sizeof(addr)) == 0 &&
	       listen(listener, 2) == 0);
	EXPECT(forbid(SYS_move_mount) == 0);
	EXPECT(confine_process(&options, &result) == 0);
	EXPECT(!result.moved && strstr(result.missing, "an empty root ("));
	EXPECT(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&addr, sizeof(addr)) ==
	       0);
	memcpy(addr.sun_path, path, sizeof(path));
	EXPECT(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&addr, sizeof(addr)) ==
	       0);
	return 0;
}

START_TEST(test_keeps_its_root)
{
	ck_assert_int_eq(in_child(child_keeps_its_root), 0);
}
END_TEST

static int child_changes_user(void)
{
	struct confine_options options = {
		.strict = false, .change_user = true, .uid = 12345, .gid = 54321};
	struct confine_result result;
	gid_t other_group = 4321;

	EXPECT(setgroups(1, &other_group) == 0);
	EXPECT(confine_process(&options, &result) == 0);
	EXPECT(getuid() == 12345 && geteuid() == 12345 && getgid() == 54321);
	EXPECT(getgroups(0, NULL) == 0);
	EXPECT(setuid(0) < 0);
	return 0;
}

START_TEST(test_changes_user)
{
	if (geteuid() != 0) {
		skip_note("another user takes root rights");
		return;
	}
	ck_assert_int_eq(in_child(child_changes_user), 0);
}
END_TEST

static void quiet(void *arg, int level, const char *line)
{
	(void)level;
	snprintf(arg, 256, "%s", line);
}

static int child_may_not_change_user(void)
{
	struct confine_options options = {
		.strict = false, .change_user = true, .uid = 12345, .gid = 54321};
	struct confine_result result;
	char line[256] = "";

	log_set_sink(quiet, line);
	EXPECT(geteuid() != 0 || (setgid(4321) == 0 && setuid(4321) == 0));
	EXPECT(confine_process(&options, &result) < 0);
	EXPECT(strstr(line, "another user"));
	return 0;
}

START_TEST(test_may_not_change_user)
{
	ck_assert_int_eq(in_child(child_may_not_change_user), 0);
}
END_TEST

/* A layer that cannot be had: a directory of sockets that is not there takes the empty root with it. */
static int child_misses_a_layer(void)
{
	struct confine_options options = {.strict = false, .socket_dir = "/not/there"};
	struct confine_result result;

	EXPECT(confine_process(&options, &result) == 0);
	EXPECT(!result.moved && strstr(result.missing, "an empty root ("));
	EXPECT(holds(&result, "no new privileges"));
	return 0;
}

/* A listener of another process, by a name that is of no file system. */
static struct sockaddr_un other;
static socklen_t other_size;

static int reach_other(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ret;

	ret = connect(fd, (struct sockaddr *)&other, other_size);
	close(fd);
	return ret;
}

/* Filters, which would refuse most of it too, are not there yet. */
static int child_reaches_nobody(void)
{
	struct confine_options options = {.strict = false};
	struct confine_result result;

	EXPECT(reach_other() == 0 && kill(getppid(), 0) == 0);
	EXPECT(confine_process(&options, &result) == 0);
	EXPECT(holds(&result, "Landlock"));
	EXPECT(reach_other() < 0 && errno == EPERM);
	EXPECT(kill(getppid(), 0) < 0 && errno == EPERM);
	EXPECT(kill(getpid(), 0) == 0);
	return 0;
}

START_TEST(test_reaches_nobody)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) < 6) {
		skip_note("others' abstract sockets and processes are out of reach with Landlock "
			  "of Linux 6.12");
		return;
	}
	other.sun_family = AF_UNIX;
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&other, sizeof(other.sun_family)), 0);
	other_size = sizeof(other);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&other, &other_size), 0);
	ck_assert_int_eq(listen(fd, 2), 0);
	ck_assert_int_eq(in_child(child_reaches_nobody), 0);
	close(fd);
}
END_TEST

static void *writable(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static int child_makes_no_code(void)
{
	struct confine_options options = {.strict = false};
	struct confine_result result;
	void *page = writable();

	EXPECT(page != MAP_FAILED && mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0);
	page = writable();
	EXPECT(confine_process(&options, &result) == 0);
	EXPECT(mprotect(page, 4096, PROT_READ | PROT_EXEC) < 0 && errno == EACCES);
	EXPECT(mmap(NULL, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
		       MAP_FAILED &&
	       errno == EACCES);
	return 0;
}

START_TEST(test_makes_no_code)
{
	if (prctl(PR_GET_MDWE, 0, 0, 0, 0) < 0) {
		skip_note("that no memory becomes executable takes Linux 6.3");
		return;
	}
	ck_assert_int_eq(in_child(child_makes_no_code), 0);
}
END_TEST

static int child_strict(void)
{
	struct confine_options options = {.strict = true, .socket_dir = "/not/there"};
	struct confine_result result;
	char line[256] = "";

	log_set_sink(quiet, line);
	EXPECT(confine_process(&options, &result) < 0);
	EXPECT(strstr(line, "sandbox: cannot get "));
	return 0;
}

static int child_left_open(void)
{
	struct confine_options options = {.still_open = -EMFILE};
	struct confine_result result;
	char line[256] = "";

	EXPECT(confine_process(&options, &result) == 0);
	EXPECT(strstr(result.missing, "closed descriptors (Too many open files)"));
	log_set_sink(quiet, line);
	options.strict = true;
	EXPECT(confine_process(&options, &result) == -EMFILE);
	EXPECT(strstr(line, "sandbox: cannot get closed descriptors: Too many open files"));
	return 0;
}

START_TEST(test_misses_a_layer)
{
	ck_assert_int_eq(in_child(child_misses_a_layer), 0);
	ck_assert_int_eq(in_child(child_strict), 0);
	ck_assert_int_eq(in_child(child_left_open), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("confine");
	TCase *tc = tcase_create("confine");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_without_files);
	tcase_add_test(tc, test_removes_its_own);
	tcase_add_test(tc, test_sees_nothing_above);
	tcase_add_test(tc, test_connects);
	tcase_add_test(tc, test_keeps_its_root);
	tcase_add_test(tc, test_gives_its_mounts);
	tcase_add_test(tc, root_keeps_its_rights_over_owners);
	tcase_add_test(tc, root_keeps_no_rights_over_owners);
	tcase_add_test(tc, test_changes_user);
	tcase_add_test(tc, test_may_not_change_user);
	tcase_add_test(tc, test_misses_a_layer);
	tcase_add_test(tc, test_reaches_nobody);
	tcase_add_test(tc, test_makes_no_code);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
