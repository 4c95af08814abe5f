/* Names that are removed at the end, without a way to files. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/core/kept_name.h"
#include "vmm/core/log.h"

static char dir[] = "/tmp/kept_name.XXXXXX";
static char path[64];
static struct stat made;

static void make(const char *at)
{
	int fd = open(at, O_CREAT | O_EXCL | O_WRONLY, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &made), 0);
	close(fd);
}

static void setup(void)
{
	memcpy(&dir[sizeof(dir) - 7], "XXXXXX", 6);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/name", dir);
	make(path);
}

static void teardown(void)
{
	unlink(path);
	rmdir(dir);
}

START_TEST(test_removed)
{
	struct kept_name kept;

	ck_assert_int_eq(kept_name_open(&kept, path, &made), 0);
	ck_assert_int_eq(chdir("/"), 0);
	kept_name_remove(&kept);
	ck_assert_int_lt(access(path, F_OK), 0);
	kept_name_remove(&kept);
	kept_name_close(&kept);
	kept_name_close(&kept);
	kept_name_remove(&kept);
}
END_TEST

START_TEST(test_relative)
{
	struct kept_name kept;

	ck_assert_int_eq(chdir(dir), 0);
	ck_assert_int_eq(kept_name_open(&kept, "name", &made), 0);
	ck_assert_int_eq(chdir("/"), 0);
	kept_name_remove(&kept);
	ck_assert_int_lt(access(path, F_OK), 0);
	kept_name_close(&kept);
}
END_TEST

static int stat_error, unlink_error; /* 0: none */
static char said[256];

int fstatat(int at, const char *restrict name, struct stat *restrict st, int flags)
{
	errno = stat_error;
	return stat_error ? -1 : (int)syscall(SYS_newfstatat, at, name, st, flags);
}

int unlinkat(int at, const char *name, int flags)
{
	errno = unlink_error;
	return unlink_error ? -1 : (int)syscall(SYS_unlinkat, at, name, flags);
}

static void on_log(void *arg, int level, const char *line)
{
	ck_assert_ptr_null(arg);
	ck_assert_int_eq(level, LOG_LEVEL_WARN);
	ck_assert_str_eq(said, ""); /* once */
	snprintf(said, sizeof(said), "%s", line);
}

/* It is said which file stays, unless there is none. */
START_TEST(test_what_stays_is_named)
{
	static const struct {
		int stat, unlink;
		const char *why;
	} cases[] = {{EIO, 0, "Input/output error"},
		     {EACCES, 0, "Permission denied"},
		     {0, EROFS, "Read-only file system"},
		     {ENOENT, 0, NULL},
		     {0, ENOENT, NULL}};
	char line[256] = "";
	struct kept_name kept;

	log_set_sink(on_log, NULL);
	ck_assert_int_eq(kept_name_open(&kept, path, &made), 0);
	stat_error = cases[_i].stat;
	unlink_error = cases[_i].unlink;
	kept_name_remove(&kept);
	if (cases[_i].why)
		snprintf(line, sizeof(line), "cannot remove '%s': %s", path, cases[_i].why);
	ck_assert_str_eq(said, line);
	stat_error = unlink_error = 0;
	kept_name_remove(&kept);
	kept_name_close(&kept);
	ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

START_TEST(test_somebody_else_s_file_stays)
{
	struct kept_name kept;
	char other[80];

	ck_assert_int_eq(kept_name_open(&kept, path, &made), 0);
	snprintf(other, sizeof(other), "%s.new", path);
	make(other);
	ck_assert_int_eq(rename(other, path), 0);
	kept_name_remove(&kept);
	ck_assert_int_eq(access(path, F_OK), 0);
	kept_name_close(&kept);
}
END_TEST

START_TEST(test_no_directory)
{
	struct kept_name kept;

	ck_assert_int_eq(kept_name_open(&kept, "/tmp/not/there/at all", &made), -ENOENT);
	ck_assert_int_lt(kept.dir, 0);
	kept_name_remove(&kept);
	kept_name_close(&kept);
}
END_TEST

START_TEST(test_directories)
{
	static const char *const cases[][2] = {
		{"name", "."}, {"/name", "/"}, {"a/b", "a"}, {"/a/b/c", "/a/b"}, {"../x", ".."}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *found = kept_name_directory(cases[i][0]);

		ck_assert_str_eq(found, cases[i][1]);
		free(found);
	}
}
END_TEST

static int listen_at(struct kept_name *kept, const char *at, int *fd)
{
	int err;

	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(*fd, 0);
	err = kept_name_listen(kept, *fd, at, 1);
	ck_assert_int_eq(err < 0, kept->dir < 0);
	return err;
}

static const char *second_at; /* where a second start listens while the first is about to */
static struct kept_name second_kept;
static int second_fd, second_err;

/* In place of the one of libc. */
int listen(int fd, int backlog)
{
	const char *at = second_at;

	second_at = NULL;
	if (at)
		second_err = listen_at(&second_kept, at, &second_fd);
	return (int)syscall(SYS_listen, fd, backlog);
}

static int second_when_exchanged;
static bool flags_unknown; /* to the file system */

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned int flags)
{
	if (second_when_exchanged && flags == RENAME_EXCHANGE) {
		second_when_exchanged = 0;
		second_err = listen_at(&second_kept, path, &second_fd);
	}
	if (flags_unknown && flags) {
		errno = EINVAL;
		return -1;
	}
	return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

/* One of two that start at once gets the name, and keeps it; also where a killed one's is in the way. */
START_TEST(test_two_sockets)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd, client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct kept_name kept;

	unlink(path);
	strcpy(addr.sun_path, path);
	if (_i) {
		ck_assert_int_eq(listen_at(&kept, path, &fd), 0);
		close(fd);
		kept_name_close(&kept);
	}
	second_at = _i < 2 ? path : NULL;
	second_when_exchanged = _i == 2;
	ck_assert_int_eq(listen_at(&kept, path, &fd), -EADDRINUSE);
	ck_assert_int_eq(second_err, 0);
	close(fd);
	ck_assert_int_eq(connect(client, (struct sockaddr *)&addr, sizeof(addr)), 0);
	kept_name_remove(&second_kept);
	kept_name_close(&second_kept);
	ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

/* As long as the name of a socket may be: there is no room for a longer one. */
START_TEST(test_long_socket)
{
	char at[108], name[108];
	struct kept_name kept;
	int fd;

	memset(name, 'x', sizeof(name));
	snprintf(at, sizeof(at), "%s/%.*s", dir, 106 - (int)strlen(dir), name);
	/* A short name in a long directory. */
	if (_i) {
		at[sizeof(at) - 4] = '\0';
		ck_assert_int_eq(mkdir(at, 0700), 0);
		strcat(at, "/s");
	}
	ck_assert_int_eq(listen_at(&kept, at, &fd), 0);
	ck_assert_int_eq(stat(at, &made), 0);
	ck_assert(S_ISSOCK(made.st_mode));
	kept_name_remove(&kept);
	kept_name_close(&kept);
	close(fd);
	unlink(path);
	if (_i) {
		*strrchr(at, '/') = '\0';
		ck_assert_int_eq(rmdir(at), 0);
	}
	ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

/* Also where the file system can only rename. */
START_TEST(test_socket)
{
	struct kept_name kept, other;
	int fd, second;

	flags_unknown = _i;
	unlink(path);
	ck_assert_int_eq(listen_at(&kept, path, &fd), 0);
	ck_assert_int_eq(stat(path, &made), 0);
	ck_assert(S_ISSOCK(made.st_mode));
	/* sticky: not for systemd-tmpfiles */
	ck_assert_uint_eq(made.st_mode & 07777, 01600);
	/* in use */
	ck_assert_int_eq(listen_at(&other, path, &second), -EADDRINUSE);
	close(second);
	ck_assert_int_eq(access(path, F_OK), 0);
	/* left behind */
	close(fd);
	kept_name_close(&kept);
	ck_assert_int_eq(listen_at(&kept, path, &fd), 0);
	kept_name_remove(&kept);
	ck_assert_int_lt(access(path, F_OK), 0);
	kept_name_close(&kept);
	close(fd);
}
END_TEST

/* A stale name is not taken because there is no descriptor to try it with. */
START_TEST(test_no_descriptor)
{
	struct kept_name kept, other;
	struct rlimit limit;
	int fd, next;

	unlink(path);
	ck_assert_int_eq(listen_at(&kept, path, &fd), 0);
	close(fd);
	kept_name_close(&kept);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	next = dup(fd);
	close(next);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = (rlim_t)next;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_eq(kept_name_listen(&other, fd, path, 1), -EMFILE);
	ck_assert_int_lt(other.dir, 0);
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_eq(kept_name_listen(&other, fd, path, 1), 0);
	kept_name_remove(&other);
	kept_name_close(&other);
	close(fd);
}
END_TEST

START_TEST(test_no_socket)
{
	char too_long[200];
	struct kept_name kept;
	int fd;

	ck_assert_int_eq(listen_at(&kept, path, &fd), -EADDRINUSE);
	close(fd);
	ck_assert_int_eq(access(path, F_OK), 0);
	ck_assert_int_eq(listen_at(&kept, "", &fd), -EINVAL);
	close(fd);
	ck_assert_int_eq(listen_at(&kept, "/tmp/none/none/none", &fd), -ENOENT);
	close(fd);
	memset(too_long, 'x', sizeof(too_long) - 1);
	too_long[sizeof(too_long) - 1] = 0;
	ck_assert_int_eq(listen_at(&kept, too_long, &fd), -ENAMETOOLONG);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kept_name");
	TCase *tc = tcase_create("kept_name");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_removed);
	tcase_add_test(tc, test_relative);
	tcase_add_loop_test(tc, test_what_stays_is_named, 0, 5);
	tcase_add_test(tc, test_somebody_else_s_file_stays);
	tcase_add_test(tc, test_no_directory);
	tcase_add_test(tc, test_directories);
	tcase_add_loop_test(tc, test_socket, 0, 2);
	tcase_add_loop_test(tc, test_two_sockets, 0, 3);
	tcase_add_loop_test(tc, test_long_socket, 0, 2);
	tcase_add_test(tc, test_no_descriptor);
	tcase_add_test(tc, test_no_socket);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
