/* boot/kernel: what is no kernel, the command line, the zero page, PVH start info, and the CPU's tables. */
#include <elf.h>
#include <fcntl.h>

#include "boot/start_info.h"
#include "boot/zero_page.h"
#include "boot_fixture.h"

static void setup(void)
{
	fixture_setup();
	fixture_make_bzimage();
}

static const struct boot_params *zero_page(void)
{
	return guest_mem_ptr(&mem, layout.zero_page, sizeof(struct boot_params));
}

struct sample {
	size_t offset;
	const char *magic;
	size_t magic_len;
	const char *words;
};

#define MAGIC(m) m, sizeof(m) - 1

static const struct sample samples[] = {
	{0, MAGIC("MZ\0\0zimg"), "EFI zboot image"},
	{0x38, MAGIC("ARM\x64"),
	 "this is an arm64 kernel Image; vmm needs an x86-64 bzImage or vmlinux"},
	{0x38, MAGIC("RSC\x05"), "RISC-V kernel Image"},
	{0x30, MAGIC("RISCV\0\0\0"), "RISC-V kernel Image"},
	{0x38, MAGIC("\xcd\x23\x82\x81"), "LoongArch kernel Image"},
	{0x24, MAGIC("\x18\x28\x6f\x01"), "32-bit ARM zImage"},
	{0, MAGIC("\x27\x05\x19\x56"), "U-Boot uImage"},
	{0, MAGIC("ANDROID!"), "Android boot image"},
	{0, MAGIC("\x1f\x8b\x08"), "gzip-compressed file; unpack it first (gunzip)"},
	{0, MAGIC("\3757zXZ\0"), "xz-compressed"},
	{0, MAGIC("\x28\xb5\x2f\xfd"), "zstd-compressed"},
	{0, MAGIC("\x02\x21\x4c\x18"), "lz4-compressed"},
	{0, MAGIC("\x04\x22\x4d\x18"), "lz4-compressed"},
	{0, MAGIC("BZh9"), "bzip2-compressed"},
	{0, MAGIC("\x5d\0\0\x80"), "lzma-compressed"},
	{0, MAGIC("\x89LZO"), "lzop-compressed"},
	{0, MAGIC("070701"), "cpio archive; give an initrd with --initrd"},
	{0, MAGIC("QFI\xfb"), "qcow2 disk image; give disks with --disk"},
	{0, MAGIC("!<arch>\n"), "Debian package"},
	{0, MAGIC("\xed\xab\xee\xdb"), "RPM package"},
	{0, MAGIC("MZ"),
	 "EFI program; if it is a unified kernel image, 'objcopy -O binary -j .linux' takes"},
	{0x1fe, MAGIC("\x55\xaa"), "boot sector or disk image"},
	{0, MAGIC("\x01"), "no kernel image that vmm knows"},
	{0, MAGIC(""), "begins with zeros alone"},
};

START_TEST(says_what_a_file_is)
{
	const struct sample *s = &samples[_i];
	uint8_t file[8192] = {0};

	memcpy(file + s->offset, s->magic, s->magic_len);
	fixture_expect_refused(fixture_boot(file, sizeof(file)), ENOEXEC, s->words);
}
END_TEST

START_TEST(tells_text_from_noise)
{
	static const char text[] = "#!/bin/sh\n\t# \xc3\xa4\necho no kernel\r\n";

	fixture_expect_refused(fixture_boot(text, sizeof(text) - 1), ENOEXEC, "a text file");
	fixture_expect_refused(fixture_boot("\x01\x02", 2), ENOEXEC, "too short");
	fixture_expect_refused(fixture_boot("\x7f", 1), ENOEXEC, "too short");
	fixture_expect_refused(fixture_boot("\x7f"
					    "ELF",
					    4),
			       ENOEXEC, "ELF file is cut off");
	fixture_expect_refused(fixture_boot("", 0), ENOEXEC, "the file is empty");
}
END_TEST

START_TEST(refuses_what_is_no_file)
{
	int pipes[2];

	cfg.kernel_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fixture_expect_refused(boot_finish(NULL, &mem, &cfg, &entry), EISDIR, "Is a directory");
	fixture_close(&cfg.kernel_fd);

	ck_assert_int_eq(pipe(pipes), 0);
	n_lines = 0;
	cfg.kernel_fd = pipes[0];
	fixture_expect_refused(boot_finish(NULL, &mem, &cfg, &entry), ENOEXEC,
			       "not a regular file");
	fixture_close(&cfg.kernel_fd);
	close(pipes[1]);

	n_lines = 0;
	fixture_expect_refused(boot_finish(NULL, &mem, &cfg, &entry), EBADF, "Bad file descriptor");
}
END_TEST

/* Opened for writing only: pread() fails where fstat() did not. */
START_TEST(reports_read_errors)
{
	char path[64];
	int fd = fixture_file(bz_file, sizeof(bz_file));

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	cfg.kernel_fd = open(path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(cfg.kernel_fd, 0);
	fixture_expect_refused(boot_finish(NULL, &mem, &cfg, &entry), EBADF, "Bad file descriptor");
	close(fd);
}
END_TEST

static void set_cmdline(char *text, size_t len)
{
	memset(text, 'x', len);
	text[len] = '\0';
	cfg.cmdline = text;
}

START_TEST(limits_the_cmdline_by_the_kernel)
{
	char text[8192];

	set_cmdline(text, 2047);
	fixture_expect_booted(fixture_boot_bzimage());
	ck_assert_str_eq((const char *)guest_bytes(layout.cmdline, 2048), text);
	ck_assert_uint_eq(zero_page()->hdr.cmd_line_ptr, layout.cmdline);
	ck_assert_uint_eq(zero_page()->ext_cmd_line_ptr, 0);

	memset(&entry, 0xee, sizeof(entry));
	set_cmdline(text, 2048);
	fixture_expect_refused(fixture_boot_bzimage(), E2BIG,
			       "the command line has 2048 characters, the kernel takes 2047");
}
END_TEST

START_TEST(limits_the_cmdline_by_the_layout)
{
	char text[8192];

	bz_hdr->cmdline_size = 100000;
	set_cmdline(text, CMDLINE_MAX - 1);
	fixture_expect_booted(fixture_boot_bzimage());
	ck_assert_uint_eq(*guest_bytes(layout.cmdline + CMDLINE_MAX - 1, 1), 0);

	memset(&entry, 0xee, sizeof(entry));
	set_cmdline(text, CMDLINE_MAX);
	fixture_expect_refused(fixture_boot_bzimage(), E2BIG,
			       "has 4096 characters, the kernel takes 4095");
}
END_TEST

START_TEST(takes_an_empty_cmdline)
{
	cfg.cmdline = "";
	bz_hdr->cmdline_size = 0;
	fixture_expect_booted(fixture_boot_bzimage());
	ck_assert_uint_eq(*guest_bytes(layout.cmdline, 1), 0);
}
END_TEST

START_TEST(fills_in_the_zero_page)
{
	static const struct boot_params none;
	const struct boot_params *params;

	fixture_expect_booted(fixture_boot_bzimage());
	params = zero_page();
	ck_assert_uint_eq(params->acpi_rsdp_addr, layout.acpi_rsdp);
	ck_assert_uint_eq(params->e820_entries, cfg.n_e820);
	for (unsigned int i = 0; i < cfg.n_e820; i++) {
		ck_assert_uint_eq(params->e820_table[i].addr, e820[i].base);
		ck_assert_uint_eq(params->e820_table[i].size, e820[i].size);
		ck_assert_uint_eq(params->e820_table[i].type, e820[i].type);
	}
	ck_assert_uint_eq(params->e820_table[cfg.n_e820].size, 0);
	ck_assert_mem_eq(&params->screen_info, &none.screen_info, sizeof(none.screen_info));
	ck_assert_uint_eq(params->sentinel, 0);
	ck_assert_uint_eq(params->hdr.ramdisk_image, 0);
	ck_assert_uint_eq(params->hdr.ramdisk_size, 0);
}
END_TEST

/* A chain that the file's header may hold is not the machine's. */
START_TEST(points_to_the_setup_data)
{
	struct boot_layout own = layout;

	bz_hdr->setup_data = 0x1234;
	fixture_expect_booted(fixture_boot_bzimage());
	ck_assert_uint_eq(zero_page()->hdr.setup_data, 0);
	own.setup_data = 0x30000;
	cfg.layout = &own;
	fixture_expect_booted(fixture_boot_bzimage());
	ck_assert_uint_eq(zero_page()->hdr.setup_data, 0x30000);
}
END_TEST

START_TEST(takes_a_full_memory_map)
{
	for (unsigned int i = 3; i < BOOT_E820_MAX; i++)
		e820[i] = (struct boot_e820){(4096 + i) * MIB, MIB, i % 4 + 1};
	cfg.n_e820 = BOOT_E820_MAX;
	fixture_expect_booted(fixture_boot_bzimage());
	ck_assert_uint_eq(zero_page()->e820_entries, 128);
	ck_assert_uint_eq(zero_page()->e820_table[127].addr, (4096 + 127) * MIB);
}
END_TEST

START_TEST(writes_gdt_and_page_tables)
{
	uint64_t gdt[5], table[512];
	gpa_t pml4 = layout.page_tables;

	fixture_expect_booted(fixture_boot_bzimage());
	ck_assert_int_eq(guest_mem_read(&mem, layout.gdt, gdt, sizeof(gdt)), 0);
	ck_assert_uint_eq(sizeof(gdt), BOOT_GDT_LEN);
	ck_assert_uint_eq(gdt[0], 0);
	ck_assert_uint_eq(gdt[BOOT_CS / 8], 0x00af9b000000ffff);
	ck_assert_uint_eq(gdt[BOOT_DS / 8], 0x00cf93000000ffff);
	ck_assert_uint_eq(gdt[BOOT_TR / 8], 0x00008b0000000067);

	/* walk it as the CPU does */
	for (uint64_t addr = 0; addr < 4096 * MIB; addr += 2 * MIB) {
		guest_mem_read(&mem, pml4, table, sizeof(table));
		ck_assert_uint_eq(table[0] & 0xfff, 0x23);
		ck_assert_uint_eq(table[1], 0);
		guest_mem_read(&mem, table[0] & ~0xfffULL, table, sizeof(table));
		ck_assert_uint_eq(table[addr >> 30] & 0xfff, 0x23);
		ck_assert_uint_eq(table[4], 0);
		guest_mem_read(&mem, table[addr >> 30] & ~0xfffULL, table, sizeof(table));
		ck_assert_uint_eq(table[addr >> 21 & 511], addr | 0xe3);
	}

	bz_hdr->xloadflags = 0;
	fixture_expect_booted(fixture_boot_bzimage());
	ck_assert_int_eq(guest_mem_read(&mem, layout.gdt, gdt, sizeof(gdt)), 0);
	ck_assert_uint_eq(gdt[BOOT_CS / 8], 0x00cf9b000000ffff);
}
END_TEST

struct pvh_kernel {
	Elf64_Ehdr ehdr;
	Elf64_Phdr load;
	Elf64_Phdr note;
	struct {
		Elf64_Nhdr nhdr;
		char name[4];
		uint32_t entry;
	} pvh;
};

static const struct pvh_kernel pvh_kernel = {
	.ehdr =
		{
			.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
			.e_type = ET_EXEC,
			.e_machine = EM_X86_64,
			.e_phoff = offsetof(struct pvh_kernel, load),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 2,
		},
	.load =
		{
			.p_type = PT_LOAD,
			.p_paddr = MIB,
			.p_filesz = sizeof(struct pvh_kernel),
			.p_memsz = sizeof(struct pvh_kernel),
		},
	.note =
		{
			.p_type = PT_NOTE,
			.p_offset = offsetof(struct pvh_kernel, pvh),
			.p_filesz = sizeof(pvh_kernel.pvh),
		},
	.pvh = {.nhdr = {4, 4, 18}, .name = "Xen", .entry = MIB},
};

static const struct hvm_start_info *start_info(void)
{
	return guest_mem_ptr(&mem, layout.pvh_info, sizeof(struct hvm_start_info));
}

START_TEST(writes_pvh_start_info)
{
	const struct hvm_memmap_table_entry *map;
	const struct hvm_start_info *info;

	fixture_expect_booted(fixture_boot(&pvh_kernel, sizeof(pvh_kernel)));
	ck_assert_int_eq(entry.protocol, BOOT_PVH);
	info = start_info();
	ck_assert_uint_eq(info->magic, 0x336ec578);
	ck_assert_uint_eq(info->version, 1);
	ck_assert_uint_eq(info->flags, 0);
	ck_assert_uint_eq(info->nr_modules, 0);
	ck_assert_uint_eq(info->modlist_paddr, 0);
	ck_assert_uint_eq(info->cmdline_paddr, layout.cmdline);
	ck_assert_uint_eq(info->rsdp_paddr, layout.acpi_rsdp);
	ck_assert_uint_eq(info->memmap_entries, 3);
	map = guest_mem_ptr(&mem, info->memmap_paddr, 3 * sizeof(*map));
	for (unsigned int i = 0; i < 3; i++) {
		ck_assert_uint_eq(map[i].addr, e820[i].base);
		ck_assert_uint_eq(map[i].size, e820[i].size);
		ck_assert_uint_eq(map[i].type, e820[i].type);
		ck_assert_uint_eq(map[i].reserved, 0);
	}
	ck_assert_str_eq((const char *)guest_bytes(layout.cmdline, 14), "console=ttyS0");
}
END_TEST

START_TEST(gives_the_initrd_as_pvh_module)
{
	const struct hvm_modlist_entry *mod;

	cfg.initrd_fd = fixture_file("initrd", 6);
	fixture_expect_booted(fixture_boot(&pvh_kernel, sizeof(pvh_kernel)));
	ck_assert_uint_eq(start_info()->nr_modules, 1);
	mod = guest_mem_ptr(&mem, start_info()->modlist_paddr, sizeof(*mod));
	ck_assert_uint_eq(mod->paddr, MIB + 4096);
	ck_assert_uint_eq(mod->size, 6);
	ck_assert_uint_eq(mod->cmdline_paddr, 0);
	ck_assert_mem_eq(guest_bytes(mod->paddr, 6), "initrd", 6);
}
END_TEST

START_TEST(limits_the_cmdline_of_elf_kernels)
{
	char text[8192];

	set_cmdline(text, 2048);
	fixture_expect_refused(fixture_boot(&pvh_kernel, sizeof(pvh_kernel)), E2BIG,
			       "has 2048 characters, the kernel takes 2047");
}
END_TEST

/* The seed is the first of the list, whatever else is in it, and each boot has its own. */
START_TEST(hands_a_seed_over)
{
	struct boot_layout own = layout;
	const struct {
		struct setup_data head;
		uint8_t seed[32];
	} * entry_of_seed;
	uint8_t before[32];

	cfg.layout = &own;
	own.rng_seed = 0x8000;
	fixture_expect_booted(fixture_boot_bzimage());
	entry_of_seed = guest_mem_ptr(&mem, 0x8000, sizeof(*entry_of_seed));
	ck_assert_uint_eq(sizeof(*entry_of_seed), BOOT_RNG_SEED_SIZE);
	ck_assert_uint_eq(zero_page()->hdr.setup_data, 0x8000);
	ck_assert_uint_eq(entry_of_seed->head.next, 0);
	ck_assert_uint_eq(entry_of_seed->head.type, SETUP_RNG_SEED);
	ck_assert_uint_eq(entry_of_seed->head.len, 32);
	memcpy(before, entry_of_seed->seed, sizeof(before));

	own.setup_data = 0x30000;
	fixture_expect_booted(fixture_boot_bzimage());
	ck_assert_uint_eq(zero_page()->hdr.setup_data, 0x8000);
	ck_assert_uint_eq(entry_of_seed->head.next, 0x30000);
	ck_assert_mem_ne(entry_of_seed->seed, before, sizeof(before));
}
END_TEST

#define N(array) ((int)(sizeof(array) / sizeof((array)[0])))

int main(void)
{
	Suite *suite = suite_create("boot/kernel");
	TCase *tc = tcase_create("kernel");

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, setup, fixture_teardown);
	tcase_add_loop_test(tc, says_what_a_file_is, 0, N(samples));
	tcase_add_test(tc, tells_text_from_noise);
	tcase_add_test(tc, refuses_what_is_no_file);
	tcase_add_test(tc, reports_read_errors);
	tcase_add_test(tc, limits_the_cmdline_by_the_kernel);
	tcase_add_test(tc, limits_the_cmdline_by_the_layout);
	tcase_add_test(tc, takes_an_empty_cmdline);
	tcase_add_test(tc, fills_in_the_zero_page);
	tcase_add_test(tc, points_to_the_setup_data);
	tcase_add_test(tc, hands_a_seed_over);
	tcase_add_test(tc, takes_a_full_memory_map);
	tcase_add_test(tc, writes_gdt_and_page_tables);
	tcase_add_test(tc, writes_pvh_start_info);
	tcase_add_test(tc, gives_the_initrd_as_pvh_module);
	tcase_add_test(tc, limits_the_cmdline_of_elf_kernels);
	return fixture_run(suite);
}
