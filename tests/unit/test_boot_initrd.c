/* boot/initrd: where it goes, and what is refused. */
#include <fcntl.h>

#include "boot_fixture.h"

#define KERNEL_END (BZ_PREF + BZ_INIT_SIZE)

static void setup(void)
{
	fixture_setup();
	fixture_make_bzimage();
}

/* A file of that many bytes: holes, and a mark at either end. */
static void set_initrd(uint64_t size)
{
	fixture_close(&cfg.initrd_fd);
	cfg.initrd_fd = memfd_create("initrd", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(cfg.initrd_fd, (off_t)size), 0);
	ck_assert_int_eq(pwrite(cfg.initrd_fd, "A", 1, 0), 1);
	ck_assert_int_eq(pwrite(cfg.initrd_fd, "Z", 1, (off_t)size - 1), 1);
	memset(&entry, 0xee, sizeof(entry));
}

static const struct boot_params *zero_page(void)
{
	return guest_mem_ptr(&mem, layout.zero_page, sizeof(struct boot_params));
}

static void expect_initrd(gpa_t gpa, uint64_t size)
{
	ck_assert_uint_eq(entry.initrd, gpa);
	ck_assert_uint_eq(entry.initrd_size, size);
	ck_assert_uint_eq(zero_page()->hdr.ramdisk_image, gpa);
	ck_assert_uint_eq(zero_page()->hdr.ramdisk_size, size);
	ck_assert_uint_eq(zero_page()->ext_ramdisk_image, 0);
	ck_assert_uint_eq(zero_page()->ext_ramdisk_size, 0);
	ck_assert_uint_eq(*guest_bytes(gpa + size - 1, 1), 'Z');
	ck_assert_uint_eq(*guest_bytes(gpa, 1), size == 1 ? 'Z' : 'A');
}

START_TEST(goes_behind_the_kernel)
{
	set_initrd(5000);
	fixture_expect_booted(fixture_boot_bzimage());
	expect_initrd(KERNEL_END, 5000);

	/* page aligned */
	bz_hdr->init_size = BZ_INIT_SIZE + 1;
	fixture_expect_booted(fixture_boot_bzimage());
	expect_initrd(KERNEL_END + 4096, 5000);

	set_initrd(1);
	fixture_expect_booted(fixture_boot_bzimage());
	expect_initrd(KERNEL_END + 4096, 1);
}
END_TEST

START_TEST(fills_memory_to_the_last_byte)
{
	set_initrd(64 * MIB - KERNEL_END);
	fixture_expect_booted(fixture_boot_bzimage());
	expect_initrd(KERNEL_END, 64 * MIB - KERNEL_END);

	set_initrd(64 * MIB - KERNEL_END + 1);
	fixture_expect_refused(
		fixture_boot_bzimage(), ENOMEM,
		"its 47 MiB and the kernel need at least 65 MiB of guest memory, has 64 MiB");
}
END_TEST

/* Where it fits behind the kernel no more, there is room before it. */
START_TEST(goes_before_the_kernel)
{
	fixture_teardown();
	fixture_setup_ram(20 * MIB);
	set_initrd(15 * MIB);
	fixture_expect_booted(fixture_boot_bzimage());
	expect_initrd(MIB, 15 * MIB);

	set_initrd(15 * MIB + 1);
	fixture_expect_refused(fixture_boot_bzimage(), ENOMEM, "need at least 34 MiB");
}
END_TEST

START_TEST(stays_below_the_limit_of_the_kernel)
{
	set_initrd(8192);
	bz_hdr->initrd_addr_max = KERNEL_END + 8191;
	fixture_expect_booted(fixture_boot_bzimage());
	expect_initrd(KERNEL_END, 8192);

	bz_hdr->initrd_addr_max = KERNEL_END + 8190;
	fixture_expect_booted(fixture_boot_bzimage());
	expect_initrd(MIB, 8192);

	bz_hdr->initrd_addr_max = MIB + 8191;
	fixture_expect_booted(fixture_boot_bzimage());
	expect_initrd(MIB, 8192);

	memset(&entry, 0xee, sizeof(entry));
	bz_hdr->initrd_addr_max = MIB + 8190;
	fixture_expect_refused(fixture_boot_bzimage(), ENOMEM,
			       "its 1 MiB do not fit below 0x101ffe, the limit of the kernel");
	bz_hdr->initrd_addr_max = 0;
	fixture_expect_refused(fixture_boot_bzimage(), ENOMEM, "below 0x0, the limit");
}
END_TEST

/* A kernel that can lie above 4 GiB takes it anywhere; vmm loads none higher than that. Not so one that is entered with 32 bits. */
START_TEST(has_no_limit_of_the_kernel)
{
	set_initrd(8192);
	bz_hdr->initrd_addr_max = 0;
	bz_hdr->xloadflags |= XLF_CAN_BE_LOADED_ABOVE_4G;
	fixture_expect_booted(fixture_boot_bzimage());
	expect_initrd(KERNEL_END, 8192);

	set_initrd(1ULL << 32);
	fixture_expect_refused(fixture_boot_bzimage(), ENOMEM,
			       "its 4096 MiB do not fit below 0xffffffff");

	set_initrd(8192);
	memset(&entry, 0xee, sizeof(entry));
	bz_hdr->xloadflags &= (uint16_t)~XLF_KERNEL_64;
	fixture_expect_refused(fixture_boot_bzimage(), ENOMEM, "below 0x0, the limit");
	bz_hdr->xloadflags |= XLF_KERNEL_64;
	bz_hdr->version = 0x20b;
	fixture_expect_refused(fixture_boot_bzimage(), ENOMEM, "below 0x0, the limit");
}
END_TEST

START_TEST(skips_holes_and_what_is_no_ram)
{
	e820[2].size = KERNEL_END + 4096 - MIB;
	e820[3] = (struct boot_e820){KERNEL_END + 4096, 8192, BOOT_E820_RESERVED};
	e820[4] = (struct boot_e820){KERNEL_END + 3 * 4096, 20 * 4096, BOOT_E820_RAM};
	cfg.n_e820 = 5;
	set_initrd(4096);
	fixture_expect_booted(fixture_boot_bzimage());
	expect_initrd(KERNEL_END, 4096);

	set_initrd(4097);
	fixture_expect_booted(fixture_boot_bzimage());
	expect_initrd(KERNEL_END + 3 * 4096, 4097);

	set_initrd(40 * MIB);
	fixture_expect_refused(fixture_boot_bzimage(), ENOMEM,
			       "its 40 MiB fit in no piece of RAM below 4 GiB");
}
END_TEST

/* An initrd of 32-bit sums that wrap, and of more than any machine has. */
START_TEST(refuses_what_is_too_large)
{
	set_initrd(1ULL << 32);
	fixture_expect_refused(fixture_boot_bzimage(), ENOMEM, "its 4096 MiB");
	set_initrd(1ULL << 40);
	fixture_expect_refused(fixture_boot_bzimage(), ENOMEM, "its 1048576 MiB");
	bz_hdr->initrd_addr_max = 0xffffffff;
	set_initrd(INT64_MAX - 4095);
	fixture_expect_refused(fixture_boot_bzimage(), ENOMEM, "the limit of the kernel");
}
END_TEST

START_TEST(refuses_what_is_no_file)
{
	int pipes[2];

	cfg.initrd_fd = fixture_file("", 0);
	fixture_expect_refused(fixture_boot_bzimage(), EINVAL, "the file is empty");
	fixture_close(&cfg.initrd_fd);

	cfg.initrd_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fixture_expect_refused(fixture_boot_bzimage(), EISDIR, "Is a directory");
	fixture_close(&cfg.initrd_fd);

	ck_assert_int_eq(pipe(pipes), 0);
	cfg.initrd_fd = pipes[0];
	fixture_expect_refused(fixture_boot_bzimage(), EINVAL, "not a regular file");
	close(pipes[1]);
	fixture_close(&cfg.initrd_fd);

	cfg.initrd_fd = 1000;
	fixture_expect_refused(fixture_boot_bzimage(), EBADF, "Bad file descriptor");
	cfg.initrd_fd = -1;
}
END_TEST

START_TEST(reports_read_errors)
{
	char path[64];
	int fd = fixture_file("initrd", 6);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	cfg.initrd_fd = open(path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(cfg.initrd_fd, 0);
	fixture_expect_refused(fixture_boot_bzimage(), EBADF, "Bad file descriptor");
	close(fd);
}
END_TEST

/* ---- parts ---- */

static uint8_t fill_byte;
static int fill_result;

static int fill(void *arg, void *to, size_t size)
{
	ck_assert_ptr_eq(arg, &fill_byte);
	memset(to, fill_byte, size);
	if (fill_result < 0)
		log_error("cannot load initrd 'i': as the test wants it");
	return fill_result;
}

static const struct boot_initrd_part three_parts[] = {
	{.size = 3, .data = "abc"},
	{.size = 5, .fill = fill, .arg = &fill_byte},
	{.size = 4, .data = "WXYZ"},
};

static void set_parts(unsigned int n)
{
	cfg.initrd_parts = three_parts;
	cfg.n_initrd_parts = n;
	fill_byte = 'f';
	fill_result = 0;
	memset(&entry, 0xee, sizeof(entry));
}

START_TEST(parts_follow_the_file)
{
	set_initrd(5);
	set_parts(3);
	fixture_expect_booted(fixture_boot_bzimage());
	ck_assert_uint_eq(entry.initrd, KERNEL_END);
	ck_assert_uint_eq(entry.initrd_size, 8 + 4 + 8 + 4);
	ck_assert_uint_eq(zero_page()->hdr.ramdisk_size, entry.initrd_size);
	ck_assert_mem_eq(guest_bytes(KERNEL_END, 24),
			 "A\0\0\0Z\0\0\0"
			 "abc\0fffff\0\0\0WXYZ",
			 24);
}
END_TEST

START_TEST(parts_alone)
{
	set_parts(2);
	fixture_expect_booted(fixture_boot_bzimage());
	ck_assert_uint_eq(entry.initrd_size, 9);
	ck_assert_mem_eq(guest_bytes(KERNEL_END, 9), "abc\0fffff", 9);
}
END_TEST

START_TEST(parts_that_fail)
{
	struct boot_initrd_part huge[] = {{.size = UINT64_MAX - 2, .data = "x"},
					  {.size = 8, .data = "abcdefgh"}};

	set_parts(3);
	fill_result = -EIO;
	fixture_expect_refused(fixture_boot_bzimage(), EIO, "as the test wants it");
	cfg.initrd_parts = huge;
	cfg.n_initrd_parts = 2;
	fixture_expect_refused(fixture_boot_bzimage(), EFBIG, "too large");
	huge[0].size = 64 * MIB - KERNEL_END;
	fixture_expect_refused(fixture_boot_bzimage(), ENOMEM, "need at least 65 MiB");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("boot/initrd");
	TCase *tc = tcase_create("initrd");

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, setup, fixture_teardown);
	tcase_add_test(tc, goes_behind_the_kernel);
	tcase_add_test(tc, fills_memory_to_the_last_byte);
	tcase_add_test(tc, goes_before_the_kernel);
	tcase_add_test(tc, stays_below_the_limit_of_the_kernel);
	tcase_add_test(tc, has_no_limit_of_the_kernel);
	tcase_add_test(tc, skips_holes_and_what_is_no_ram);
	tcase_add_test(tc, refuses_what_is_too_large);
	tcase_add_test(tc, refuses_what_is_no_file);
	tcase_add_test(tc, reports_read_errors);
	tcase_add_test(tc, parts_follow_the_file);
	tcase_add_test(tc, parts_alone);
	tcase_add_test(tc, parts_that_fail);
	return fixture_run(suite);
}
