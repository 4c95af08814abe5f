/* boot/kernel_cache: what is kept and found again, and every way in which a cache can be wrong, in the way, or in use. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "unpack_fixture.h"

#include "boot/kernel_cache_file.h"

static char place[] = "/tmp/vmm-cache-XXXXXX";
static char parent[64];
static char dir[80];

static void setup(void)
{
	fixture_setup();
	fixture_make_vmlinux();
	fixture_pack(&packers[0]);
	fixture_open_bzimage();
	strcpy(place + sizeof(place) - 7, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(place));
	snprintf(parent, sizeof(parent), "%s/cache", place);
	snprintf(dir, sizeof(dir), "%s/vmm", parent);
	/* younger files than this are not kept */
	usleep(150000);
}

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", place);
	ck_assert_int_eq(system(command), 0);
	free(bzi);
	bzi = NULL;
	fixture_teardown();
}

/* How many files there are; the last one's path goes to path. */
static int files(char *path, size_t size)
{
	DIR *list = opendir(dir);
	struct dirent *e;
	int n = 0;

	while (list && (e = readdir(list))) {
		if (e->d_name[0] == '.')
			continue;
		if (path)
			snprintf(path, size, "%s/%s", dir, e->d_name);
		n++;
	}
	if (list)
		closedir(list);
	return n;
}

static char *only_file(void)
{
	static char path[512];

	ck_assert_int_eq(files(path, sizeof(path)), 1);
	return path;
}

static void boot_well(void)
{
	fixture_expect_unpacked(fixture_boot_opened(dir));
}

static void patch(const char *path, off_t at, const void *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, bytes, len, at), (ssize_t)len);
	close(fd);
}

/* The cache's file is the user's own and believed: a byte of it that was changed shows whether it was read. */
static void mark(void)
{
	patch(only_file(), 16384, "\xee", 1);
}

/* The kernel's first byte tells where it is from. */
static bool boot_hits(void)
{
	uint8_t first;

	fixture_expect_booted(fixture_boot_opened(dir));
	ck_assert_uint_eq(entry.entry, VM_ENTRY);
	first = *guest_bytes(segs[0].paddr, 1);
	if (first == 0xee)
		return true;
	fixture_expect_segments(0);
	return false;
}

START_TEST(keeps_and_finds)
{
	struct stat st;

	boot_well();
	ck_assert_int_eq(stat(only_file(), &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFREG | 0600);
	/* a head, and the pages that hold something, and the tail */
	ck_assert_int_lt(st.st_size, 16384 + 0x10000);
	ck_assert_int_eq(stat(dir, &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFDIR | 0700);
	ck_assert_int_eq(stat(parent, &st), 0);
	ck_assert_uint_eq(st.st_mode, S_IFDIR | 0700);
	boot_well();
	mark();
	ck_assert(boot_hits());
	ck_assert(boot_hits());
}
END_TEST

/* All that others want to know of the kernel is the same. */
START_TEST(tells_the_same)
{
	struct vmlinux_place where = {
		.link = BZ_PREF, .load = BZ_PREF, .size = VM_INIT, .lowest = MIB};
	struct codec_input in = {
		.fd = cfg.kernel_fd, .offset = bzi_payload, .left = bzi_hdr()->payload_length};
	struct kernel_cache_id id;
	atomic_bool stop = false;
	struct vmlinux a, b;

	ck_assert_int_eq(kernel_cache_identify(&in, &where, &id), 0);
	ck_assert_int_eq(kernel_cache_load(dir, &id, &mem, &where, &b), -ENOENT);
	ck_assert(!kernel_cache_may_have(dir, cfg.kernel_fd));
	ck_assert_int_eq(vmlinux_unpack(&mem, &where, &in, &stop, &a), 0);
	ck_assert_int_eq(kernel_cache_store(dir, &id, &in, &mem, &where, &a), 0);
	ck_assert(kernel_cache_may_have(dir, cfg.kernel_fd));
	ck_assert(!kernel_cache_may_have("/nowhere", cfg.kernel_fd));
	fixture_clear_ram();
	/* to another place than it was kept from */
	where.load += 0x800000;
	ck_assert_int_eq(kernel_cache_load(dir, &id, &mem, &where, &b), 0);
	fixture_expect_segments(0x800000);
	ck_assert_uint_eq(b.entry, a.entry + 0x800000);
	ck_assert_uint_eq(b.n_segments, a.n_segments);
	for (unsigned int i = 0; i < a.n_segments; i++) {
		a.segments[i].gpa += 0x800000;
		ck_assert_mem_eq(&b.segments[i], &a.segments[i], sizeof(a.segments[i]));
	}
	ck_assert_uint_eq(b.tail_len, a.tail_len);
	ck_assert_mem_eq(b.tail, a.tail, a.tail_len);
	vmlinux_fini(&a);
	vmlinux_fini(&b);
	ck_assert_int_eq(fchmod(cfg.kernel_fd, 0640), 0);
	ck_assert(!kernel_cache_may_have(dir, cfg.kernel_fd));
}
END_TEST

/* ---- a kernel that has changed ---- */

START_TEST(misses_a_changed_file)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1}};

	boot_well();
	mark();
	ck_assert(boot_hits());
	/* the same bytes, written anew */
	ck_assert_int_eq(pwrite(cfg.kernel_fd, bzi, 1, 0), 1);
	usleep(150000);
	ck_assert(!boot_hits());
	mark();
	ck_assert(boot_hits());
	/* only the time */
	ck_assert_int_eq(futimens(cfg.kernel_fd, times), 0);
	ck_assert(!boot_hits());
}
END_TEST

/* Another kernel, of the same length: the new one is what boots, and replaces the old one. */
START_TEST(replaces_a_changed_kernel)
{
	boot_well();
	vm_file[segs[0].offset] ^= 0x40;
	fixture_pack(&packers[0]);
	ck_assert_int_eq(pwrite(cfg.kernel_fd, bzi, bzi_size, 0), (ssize_t)bzi_size);
	ck_assert_int_eq(ftruncate(cfg.kernel_fd, (off_t)bzi_size), 0);
	usleep(150000);
	boot_well();
	mark();
	ck_assert(boot_hits());
}
END_TEST

/* A file that may be written again within one tick of its time is not kept. Where a boot takes longer than that, it is older by then. */
START_TEST(does_not_keep_what_is_too_young)
{
	bool kept = true;

	for (int i = 0; i < 20 && kept; i++) {
		ck_assert_int_eq(pwrite(cfg.kernel_fd, bzi, 1, 0), 1);
		boot_well();
		kept = files(NULL, 0) > 0;
		if (kept)
			unlink(only_file());
	}
	ck_assert(!kept);
}
END_TEST

/* The host may have lost a part of what it had not written when it crashed. */
START_TEST(misses_what_is_from_before_the_host_started)
{
	boot_well();
	mark();
	patch(only_file(), offsetof(struct kernel_cache_head, id.host_boot), "x", 1);
	ck_assert(!boot_hits());
}
END_TEST

/* ---- a damaged cache ---- */

START_TEST(survives_cut_files)
{
	struct stat st;

	boot_well();
	ck_assert_int_eq(stat(only_file(), &st), 0);
	for (int i = 0; i < 12; i++) {
		ck_assert_int_eq(truncate(only_file(), i < 4 ? i * 100 : (st.st_size - 1) * i / 11),
				 0);
		/* found out, and made anew */
		boot_well();
		ck_assert_int_eq(files(NULL, 0), 1);
	}
}
END_TEST

#define HEAD(name)                                                                                 \
	offsetof(struct kernel_cache_head, name), sizeof(((struct kernel_cache_head *)0)->name)

static const struct {
	size_t at, len;
	uint64_t value;
} damages[] = {
	{HEAD(magic), 0},
	{HEAD(entry), VM_INIT},
	{HEAD(entry), UINT64_MAX},
	{HEAD(tail_len), UINT64_MAX},
	{HEAD(tail_len), VM_TAIL_LEN + 1},
	{HEAD(n_segments), 0},
	{HEAD(n_segments), VMLINUX_MAX_SEGMENTS + 1},
	{HEAD(n_segments), UINT32_MAX},
	{HEAD(n_runs), UINT32_MAX},
	{HEAD(n_runs), KERNEL_CACHE_MAX_RUNS},
	{HEAD(segments[0].size), 0x3211},
	{HEAD(segments[0].gpa), UINT64_MAX},
	{HEAD(segments[3].room), UINT64_MAX},
	{HEAD(segments[3].room), VM_INIT},
	{HEAD(runs[0].at), UINT64_MAX},
	{HEAD(runs[0].at), VM_INIT},
	{HEAD(runs[0].len), UINT64_MAX},
	{HEAD(runs[0].len), 0},
	{HEAD(runs[1].len), VM_INIT},
};

START_TEST(survives_damaged_heads)
{
	boot_well();
	patch(only_file(), (off_t)damages[_i].at, &damages[_i].value, damages[_i].len);
	boot_well();
	boot_well();
}
END_TEST

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

#define AT_ONCE 12

START_TEST(is_used_by_many_at_once)
{
	pid_t pids[AT_ONCE];
	int status;

	for (int i = 0; i < AT_ONCE; i++) {
		pids[i] = fork();
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
	pid_t pid = fork();
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
	Suite *suite = suite_create("boot/kernel_cache");
	TCase *tc = tcase_create("cache");

	suite_add_tcase(suite, tc);
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, keeps_and_finds);
	tcase_add_test(tc, tells_the_same);
	tcase_add_test(tc, misses_a_changed_file);
	tcase_add_test(tc, replaces_a_changed_kernel);
	tcase_add_test(tc, does_not_keep_what_is_too_young);
	tcase_add_test(tc, misses_what_is_from_before_the_host_started);
	tcase_add_test(tc, survives_cut_files);
	tcase_add_loop_test(tc, survives_damaged_heads, 0, sizeof(damages) / sizeof(damages[0]));
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
