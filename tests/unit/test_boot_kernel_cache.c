/* boot/kernel_cache: what is kept and found again, of kernels that change and in files that are damaged. */
#include <fcntl.h>
#include <time.h>

#include "tests/unit/kernel_cache_fixture.h"

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
	struct steps steps;
	char *text;

	steps_init(&steps);
	ck_assert_int_eq(kernel_cache_identify(&in, &where, &id), 0);
	ck_assert_int_eq(kernel_cache_load(dir, &id, &mem, &where, &steps, &b), -ENOENT);
	ck_assert_int_eq(kernel_cache_config(dir, cfg.kernel_fd, &text), -ENOENT);
	ck_assert_int_eq(vmlinux_unpack(&mem, &where, &in, &stop, &a), 0);
	ck_assert_int_eq(kernel_cache_store(dir, &id, &in, &mem, &where, &a), 0);
	ck_assert_int_eq(kernel_cache_config(dir, cfg.kernel_fd, &text), -ENODATA);
	ck_assert_int_eq(kernel_cache_config("/nowhere", cfg.kernel_fd, &text), -ENOENT);
	fixture_clear_ram();
	/* to another place than it was kept from */
	where.load += 0x800000;
	ck_assert_int_eq(kernel_cache_load(dir, &id, &mem, &where, &steps, &b), 0);
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
	ck_assert_int_eq(kernel_cache_config(dir, cfg.kernel_fd, &text), -ESTALE);
}
END_TEST

/* What it was built with is known without unpacking it once more. */
START_TEST(tells_the_configuration)
{
	static const char config[] = "CONFIG_64BIT=y\nCONFIG_MODULES=y\n";
	uint8_t *at = vm_file + segs[1].offset + 64;
	const uint64_t far = UINT64_C(1) << 62;
	struct kernel_cache_head head;
	char *text;
	size_t n;
	int fd;

	memcpy(at, "IKCFG_ST", 8);
	n = 8 + pack_gzip(config, sizeof(config) - 1, at + 8, 0x1000) + 4;
	memcpy(at + n, "IKCFG_ED", 8);
	fixture_pack(&packers[0]);
	fixture_open_bzimage();
	usleep(150000);
	ck_assert_int_eq(kernel_cache_config(dir, cfg.kernel_fd, &text), -ENOENT);
	fixture_expect_booted(fixture_boot_opened(dir));
	ck_assert_int_eq(kernel_cache_config(dir, cfg.kernel_fd, &text), 0);
	ck_assert_str_eq(text, config);
	free(text);
	/* damaged files */
	fd = open(only_file(), O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(pread(fd, &head, sizeof(head), 0), sizeof(head));
	close(fd);
	patch(only_file(), (off_t)head.config_at + 20, "\xee\xee\xee", 3);
	ck_assert_int_eq(kernel_cache_config(dir, cfg.kernel_fd, &text), -EBADMSG);
	patch(only_file(), offsetof(struct kernel_cache_head, config_at), &far, sizeof(far));
	ck_assert_int_eq(kernel_cache_config(dir, cfg.kernel_fd, &text), -EBADMSG);
	patch(only_file(), offsetof(struct kernel_cache_head, config_len), &far, sizeof(far));
	ck_assert_int_eq(kernel_cache_config(dir, cfg.kernel_fd, &text), -EBADMSG);
	patch(only_file(), 0, "vmmkrnl1", 8);
	ck_assert_int_eq(kernel_cache_config(dir, cfg.kernel_fd, &text), -EBADMSG);
	ck_assert_int_eq(truncate(only_file(), 100), 0);
	ck_assert_int_eq(kernel_cache_config(dir, cfg.kernel_fd, &text), -EBADMSG);
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

int main(void)
{
	Suite *suite = suite_create("boot/kernel_cache");
	TCase *tc = tcase_create("cache");

	suite_add_tcase(suite, tc);
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, keeps_and_finds);
	tcase_add_test(tc, tells_the_same);
	tcase_add_test(tc, tells_the_configuration);
	tcase_add_test(tc, misses_a_changed_file);
	tcase_add_test(tc, replaces_a_changed_kernel);
	tcase_add_test(tc, does_not_keep_what_is_too_young);
	tcase_add_test(tc, misses_what_is_from_before_the_host_started);
	tcase_add_test(tc, survives_cut_files);
	tcase_add_loop_test(tc, survives_damaged_heads, 0, sizeof(damages) / sizeof(damages[0]));
	return fixture_run(suite);
}
