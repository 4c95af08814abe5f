/* boot/kernel_cache: directories and files that are not to be trusted, in the way, in use or full. */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/unit/kernel_cache_fixture.h"

/* ---- what is not to be trusted ---- */

START_TEST(uses_no_directory_that_others_write)
{
	boot_well();
	mark();
	for (mode_t mode = 0720; mode <= 0777; mode += mode == 0720 ? 055 : 2) {
		ck_assert_int_eq(chmod(dir, mode), 0);
		ck_assert_msg(!boot_hits(), "mode %o", mode);
	}
	ck_assert_int_eq(chmod(dir, 0755), 0);
	ck_assert(boot_hits());
}
END_TEST

START_TEST(uses_no_file_that_others_write)
{
	boot_well();
	mark();
	ck_assert_int_eq(chmod(only_file(), 0620), 0);
	ck_assert(!boot_hits());
	/* and there is one of our own then */
	mark();
	ck_assert(boot_hits());
}
END_TEST

START_TEST(uses_nothing_of_another_user)
{
	if (geteuid() != 0) {
		fprintf(stderr, "note: only root can give files away; not tested\n");
		return;
	}
	boot_well();
	mark();
	ck_assert_int_eq(chown(only_file(), 65534, 65534), 0);
	ck_assert(!boot_hits());
	mark();
	ck_assert(boot_hits());
	ck_assert_int_eq(chown(dir, 65534, 65534), 0);
	ck_assert(!boot_hits());
	/* nor is anything made in what is another's */
	snprintf(dir, sizeof(dir), "%s/other/vmm", place);
	snprintf(parent, sizeof(parent), "%s/other", place);
	ck_assert_int_eq(mkdir(parent, 0777), 0);
	ck_assert_int_eq(chown(parent, 65534, 65534), 0);
	boot_well();
	ck_assert_int_eq(access(dir, F_OK), -1);
}
END_TEST

START_TEST(follows_no_symlinks)
{
	char path[512], to[96];

	/* the directory */
	snprintf(to, sizeof(to), "%s/real", place);
	ck_assert_int_eq(mkdir(to, 0700), 0);
	ck_assert_int_eq(mkdir(parent, 0700), 0);
	ck_assert_int_eq(symlink(to, dir), 0);
	boot_well();
	ck_assert_int_eq(files(NULL, 0), 0);
	ck_assert_int_eq(unlink(dir), 0);
	/* the file */
	boot_well();
	mark();
	strcpy(path, only_file());
	snprintf(to, sizeof(to), "%s/elsewhere", place);
	ck_assert_int_eq(rename(path, to), 0);
	ck_assert_int_eq(symlink(to, path), 0);
	ck_assert(!boot_hits());
	/* the name that it is written under */
	ck_assert_int_eq(unlink(path), 0);
	strcat(path, ".new");
	ck_assert_int_eq(symlink(to, path), 0);
	ck_assert(!boot_hits());
	ck_assert_int_eq(files(NULL, 0), 1);
}
END_TEST

START_TEST(survives_what_is_no_file)
{
	char path[512];

	boot_well();
	strcpy(path, only_file());
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	boot_well();
	mark();
	ck_assert(boot_hits());
	strcpy(path, only_file());
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	boot_well();
	ck_assert_int_eq(files(NULL, 0), 1);
	ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

/* ---- names and places ---- */

START_TEST(needs_a_place)
{
	static const char *const places[] = {"", "/proc/vmm", "/dev/null/vmm", "none"};

	ck_assert_int_eq(chdir(place), 0);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		fixture_expect_unpacked(fixture_boot_opened(places[i]));
	/* no more than the parent is made */
	snprintf(dir, sizeof(dir), "%s/a/b/c", place);
	boot_well();
	snprintf(dir, sizeof(dir), "%s/a", place);
	ck_assert_int_eq(access(dir, F_OK), -1);
}
END_TEST

/* ---- in use, and full ---- */

START_TEST(leaves_a_file_that_is_being_written_alone)
{
	char path[512];
	int fd;

	boot_well();
	strcpy(path, only_file());
	ck_assert_int_eq(unlink(path), 0);
	strcat(path, ".new");
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	ck_assert_int_eq(write(fd, path, sizeof(path)), sizeof(path));
	boot_well();
	ck_assert_str_eq(only_file(), path);
	/* who wrote it was killed */
	close(fd);
	boot_well();
	ck_assert_ptr_null(strstr(only_file(), ".new"));
	mark();
	ck_assert(boot_hits());
}
END_TEST

/* What a child can do without Check, whose messages are its parent's: 0 when the kernel is there as it should be. */
static int child_boot(void)
{
	struct boot_job *job;

	guest_mem_discard(&mem, guest_mem_ptr(&mem, 0, 64 * MIB), 64 * MIB);
	job = boot_begin(&mem, &cfg, dir);
	if (boot_finish(job, &mem, &cfg, &entry) < 0 || entry.entry != VM_ENTRY)
		return 1;
	for (unsigned int i = 0; i < N_SEGS; i++) {
		if (memcmp(guest_bytes(segs[i].paddr, segs[i].size), vm_file + segs[i].offset,
			   segs[i].size) != 0)
			return 1;
	}
	return 0;
}

/* The children stand for programs of their own, which have memory of their own. */
static pid_t fork_with_memory(void)
{
	ck_assert_int_eq(madvise(mem.map, mem.map_size, MADV_DOFORK), 0);
	return fork();
}

#define AT_ONCE 12

START_TEST(is_used_by_many_at_once)
{
	pid_t pids[AT_ONCE];
	int status;

	for (int i = 0; i < AT_ONCE; i++) {
		pids[i] = fork_with_memory();
		if (pids[i] == 0) {
			int bad = 0;

			for (int j = 0; j < 5; j++)
				bad += child_boot();
			_exit(bad);
		}
	}
	for (int i = 0; i < AT_ONCE; i++) {
		ck_assert_int_eq(waitpid(pids[i], &status, 0), pids[i]);
		ck_assert_int_eq(status, 0);
	}
	ck_assert_ptr_null(strstr(only_file(), ".new"));
	mark();
	ck_assert(boot_hits());
}
END_TEST

/* As on a disk that is full: the file cannot get longer than this. */
START_TEST(leaves_nothing_on_a_full_disk)
{
	static const rlim_t limits[] = {0, 1000, 16384, 20000, 30000};
	pid_t pid = fork_with_memory();
	int status;

	if (pid == 0) {
		struct rlimit limit = {limits[_i], limits[_i]};

		setrlimit(RLIMIT_FSIZE, &limit);
		_exit(child_boot() + files(NULL, 0));
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(does_not_grow_for_ever)
{
	char path[3][128];
	struct stat st;

	boot_well();
	ck_assert_int_eq(unlink(only_file()), 0);
	for (int i = 0; i < 3; i++) {
		struct timespec times[2] = {{.tv_sec = 1000 - i}, {.tv_sec = 1000 - i}};
		int fd;

		snprintf(path[i], sizeof(path[i]), "%s/fe-%x.vmmkernel%s", dir, i,
			 i == 1 ? ".new" : "");
		fd = open(path[i], O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		if (fallocate(fd, 0, 0, 200 << 20) < 0) {
			fprintf(stderr, "note: no room for 600 MiB in /tmp; not tested\n");
			close(fd);
			return;
		}
		ck_assert_int_eq(futimens(fd, times), 0);
		close(fd);
	}
	boot_well();
	/* the oldest of its own has gone, and one was enough */
	ck_assert_int_eq(stat(path[2], &st), -1);
	ck_assert_int_eq(stat(path[1], &st), 0);
	ck_assert_int_eq(stat(path[0], &st), 0);
	ck_assert_int_eq(files(NULL, 0), 3);
}
END_TEST

/* However much it is and whatever it is called. */
START_TEST(leaves_what_others_keep_there_alone)
{
	static const char *const names[] = {
		"web.img",	  "1-2",	 "1-2.vmmkernels",   "-2.vmmkernel", "1-.vmmkernel",
		"x1-2.vmmkernel", "1.vmmkernel", "1-2.vmmkernel.old"};
	const int n = sizeof(names) / sizeof(names[0]);
	char path[256];

	boot_well();
	ck_assert_int_eq(unlink(only_file()), 0);
	for (int i = 0; i < n; i++) {
		struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
		int fd;

		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
		if (fallocate(fd, 0, 0, 100 << 20) < 0) {
			fprintf(stderr, "note: no room for 800 MiB in /tmp; not tested\n");
			close(fd);
			return;
		}
		ck_assert_int_eq(futimens(fd, times), 0);
		close(fd);
	}
	boot_well();
	ck_assert_int_eq(files(NULL, 0), n + 1);
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		ck_assert_int_eq(access(path, F_OK), 0);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("boot/kernel_cache_place");
	TCase *tc = tcase_create("cache");

	suite_add_tcase(suite, tc);
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, uses_no_directory_that_others_write);
	tcase_add_test(tc, uses_no_file_that_others_write);
	tcase_add_test(tc, uses_nothing_of_another_user);
	tcase_add_test(tc, follows_no_symlinks);
	tcase_add_test(tc, survives_what_is_no_file);
	tcase_add_test(tc, needs_a_place);
	tcase_add_test(tc, leaves_a_file_that_is_being_written_alone);
	tcase_add_test(tc, is_used_by_many_at_once);
	tcase_add_loop_test(tc, leaves_nothing_on_a_full_disk, 0, 5);
	tcase_add_test(tc, does_not_grow_for_ever);
	tcase_add_test(tc, leaves_what_others_keep_there_alone);
	return fixture_run(suite);
}
