/* boot/elf_kernel, elf_file, elf_note: vmlinux files made by hand, good ones and hostile ones. */
#include <elf.h>

#include "boot_fixture.h"

/* The file: header, three program headers, a note, then text and data of a page each. */
#define TEXT_OFFSET 0x1000
#define TEXT_SIZE   0x1000
#define TEXT_PADDR  0x1000000
#define TEXT_VADDR  0xffffffff81000000
#define DATA_OFFSET 0x2000
#define DATA_SIZE   0x800
#define DATA_PADDR  0x1400000
#define DATA_MEMSZ  0x3000
#define NOTE_OFFSET 0x400
#define ELF_SIZE    (DATA_OFFSET + DATA_SIZE)
#define PVH_ENTRY   (TEXT_PADDR + 0x120)

#define XEN_ELFNOTE_PHYS32_ENTRY 18

static uint8_t elf[ELF_SIZE];
static Elf64_Ehdr *const ehdr = (Elf64_Ehdr *)elf;
static Elf64_Phdr *const phdrs = (Elf64_Phdr *)(elf + sizeof(Elf64_Ehdr));

static void setup(void)
{
	fixture_setup();
	for (unsigned int i = 0; i < ELF_SIZE; i++)
		elf[i] = (uint8_t)(i * 11 + (i >> 8) + 1);
	memset(elf, 0, TEXT_OFFSET);
	*ehdr = (Elf64_Ehdr){
		.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_entry = TEXT_PADDR,
		.e_phoff = sizeof(Elf64_Ehdr),
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 2,
	};
	phdrs[0] = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = TEXT_OFFSET,
		.p_vaddr = TEXT_VADDR,
		.p_paddr = TEXT_PADDR,
		.p_filesz = TEXT_SIZE,
		.p_memsz = TEXT_SIZE,
	};
	phdrs[1] = (Elf64_Phdr){
		.p_type = PT_LOAD,
		.p_offset = DATA_OFFSET,
		.p_vaddr = 0,
		.p_paddr = DATA_PADDR,
		.p_filesz = DATA_SIZE,
		.p_memsz = DATA_MEMSZ,
	};
}

static size_t add_note(size_t at, const char *name, uint32_t type, const void *desc, size_t size,
		       size_t align)
{
	const Elf64_Nhdr nhdr = {(uint32_t)strlen(name) + 1, (uint32_t)size, type};
	uint8_t *p = elf + NOTE_OFFSET + at;
	size_t desc_at = (sizeof(nhdr) + nhdr.n_namesz + align - 1) & ~(align - 1);

	memcpy(p, &nhdr, sizeof(nhdr));
	memcpy(p + sizeof(nhdr), name, nhdr.n_namesz);
	memcpy(p + desc_at, desc, size);
	return at + ((desc_at + size + align - 1) & ~(align - 1));
}

static void set_notes(size_t size, size_t align)
{
	ehdr->e_phnum = 3;
	phdrs[2] = (Elf64_Phdr){
		.p_type = PT_NOTE,
		.p_offset = NOTE_OFFSET,
		.p_filesz = size,
		.p_align = align,
	};
}

/* As Linux has it: other notes of Xen before and behind it. */
static void add_pvh_notes(const void *desc, size_t desc_size, size_t align)
{
	size_t at = add_note(0, "GNU", 3, "build id of 20 bytes", 20, align);

	at = add_note(at, "Xen", 6, "linux", 6, align);
	at = add_note(at, "XeN", XEN_ELFNOTE_PHYS32_ENTRY, "12345678", 8, align);
	at = add_note(at, "Xen", XEN_ELFNOTE_PHYS32_ENTRY, desc, desc_size, align);
	at = add_note(at, "Xen", 5, "2.6", 4, align);
	set_notes(at, align);
}

static int boot(void)
{
	return fixture_boot(elf, sizeof(elf));
}

static const struct boot_params *zero_page(void)
{
	return guest_mem_ptr(&mem, layout.zero_page, sizeof(struct boot_params));
}

static void expect_segments(void)
{
	static const uint8_t zeros[DATA_MEMSZ - DATA_SIZE];

	ck_assert_mem_eq(guest_bytes(TEXT_PADDR, TEXT_SIZE), elf + TEXT_OFFSET, TEXT_SIZE);
	ck_assert_mem_eq(guest_bytes(DATA_PADDR, DATA_SIZE), elf + DATA_OFFSET, DATA_SIZE);
	ck_assert_mem_eq(guest_bytes(DATA_PADDR + DATA_SIZE, sizeof(zeros)), zeros, sizeof(zeros));
}

START_TEST(boots_linux_by_physical_entry)
{
	fixture_expect_booted(boot());
	ck_assert_int_eq(entry.protocol, BOOT_LINUX64);
	ck_assert_uint_eq(entry.entry, TEXT_PADDR);
	ck_assert_uint_eq(entry.params, layout.zero_page);
	ck_assert_uint_eq(entry.page_tables, layout.page_tables);
	expect_segments();

	ck_assert_uint_eq(zero_page()->hdr.boot_flag, 0xaa55);
	ck_assert_uint_eq(zero_page()->hdr.header, 0x53726448);
	ck_assert_uint_ge(zero_page()->hdr.version, 0x202);
	ck_assert_uint_eq(zero_page()->hdr.type_of_loader, 0xff);
	ck_assert_uint_eq(zero_page()->hdr.loadflags, LOADED_HIGH);
	ck_assert_uint_eq(zero_page()->hdr.cmd_line_ptr, layout.cmdline);
	ck_assert_uint_eq(zero_page()->hdr.cmdline_size, sizeof("console=ttyS0"));
	ck_assert_uint_eq(zero_page()->e820_entries, 3);
}
END_TEST

START_TEST(boots_linux_by_virtual_entry)
{
	ehdr->e_entry = TEXT_VADDR + 0x30;
	fixture_expect_booted(boot());
	ck_assert_uint_eq(entry.entry, TEXT_PADDR + 0x30);
}
END_TEST

START_TEST(boots_by_pvh_note)
{
	const uint64_t desc = PVH_ENTRY;
	static const size_t sizes[] = {4, 8, 8};
	static const size_t aligns[] = {4, 4, 8};

	add_pvh_notes(&desc, sizes[_i], aligns[_i]);
	fixture_expect_booted(boot());
	ck_assert_int_eq(entry.protocol, BOOT_PVH);
	ck_assert_uint_eq(entry.entry, PVH_ENTRY);
	ck_assert_uint_eq(entry.params, layout.pvh_info);
	ck_assert_uint_eq(entry.gdt, layout.gdt);
	ck_assert_uint_eq(entry.page_tables, 0);
	expect_segments();
}
END_TEST

/* FreeBSD's kernels have one. */
START_TEST(an_interpreter_is_no_program_with_pvh)
{
	const uint64_t desc = PVH_ENTRY;

	add_pvh_notes(&desc, 8, 4);
	phdrs[3].p_type = PT_INTERP;
	ehdr->e_phnum = 4;
	fixture_expect_booted(boot());
	ck_assert_int_eq(entry.protocol, BOOT_PVH);
	phdrs[2].p_filesz = 40; /* up to the first of them */
	phdrs[0].p_paddr = 0;	/* as in programs, but not what is wrong */
	memset(&entry, 0xee, sizeof(entry));
	fixture_expect_refused(boot(), ENOEXEC, "a program, not a kernel");
}
END_TEST

START_TEST(boots_without_pvh_for_setup_data)
{
	const uint64_t desc = PVH_ENTRY;
	struct boot_layout own = layout;

	own.setup_data = 0x30000;
	cfg.layout = &own;
	add_pvh_notes(&desc, 8, 4);
	fixture_expect_booted(boot());
	ck_assert_int_eq(entry.protocol, BOOT_LINUX64);
	ck_assert_uint_eq(entry.entry, TEXT_PADDR);
	ck_assert_uint_eq(entry.params, layout.zero_page);
	ck_assert_uint_eq(zero_page()->hdr.setup_data, 0x30000);
}
END_TEST

/* A note segment that is part of a loaded one, several note segments, an empty one. */
START_TEST(searches_all_note_segments)
{
	const uint64_t desc = PVH_ENTRY;

	add_pvh_notes(&desc, 8, 4);
	phdrs[3] = phdrs[2];
	phdrs[2].p_filesz = 0;
	ehdr->e_phnum = 4;
	fixture_expect_booted(boot());
	ck_assert_int_eq(entry.protocol, BOOT_PVH);
}
END_TEST

START_TEST(refuses_pvh_entry_outside)
{
	static const uint64_t entries[] = {
		0,	    TEXT_PADDR - 1,	    TEXT_PADDR + TEXT_SIZE,
		TEXT_VADDR, DATA_PADDR + DATA_SIZE, ~0ULL};

	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		add_pvh_notes(&entries[i], 8, 4);
		fixture_expect_refused(boot(), ENOEXEC, "no usable entry point");
	}
}
END_TEST

/* Broken notes end the search, and the kernel is booted by its entry point. */
START_TEST(survives_broken_notes)
{
	const uint64_t desc = PVH_ENTRY;
	Elf64_Nhdr *first = (Elf64_Nhdr *)(elf + NOTE_OFFSET);
	static const Elf64_Nhdr bad[] = {
		{0xffffffff, 20, 3}, {4, 0xffffffff, 3}, {0xfffffffd, 0xfffffffd, 3},
		{0x7fffffff, 4, 18}, {4, 0x10000, 18},	 {0x1000, 0, 0},
	};

	add_pvh_notes(&desc, 8, 4);
	*first = bad[_i];
	fixture_expect_booted(boot());
	ck_assert_int_eq(entry.protocol, BOOT_LINUX64);
}
END_TEST

/* The note segment cut at each byte: found only where the note is whole. */
START_TEST(survives_notes_cut_off)
{
	const uint64_t desc = PVH_ENTRY;
	size_t size, end;

	add_pvh_notes(&desc, 8, 4);
	size = phdrs[2].p_filesz;
	end = size - (12 + 4 + 4); /* the note behind it */
	for (size_t i = 0; i <= size; i++) {
		phdrs[2].p_filesz = i;
		fixture_expect_booted(boot());
		ck_assert_int_eq(entry.protocol, i < end ? BOOT_LINUX64 : BOOT_PVH);
	}
}
END_TEST

START_TEST(refuses_note_segments_out_of_bounds)
{
	set_notes(16, 4);
	phdrs[2].p_offset = ELF_SIZE - 15;
	fixture_expect_refused(boot(), ENOEXEC, "16 bytes of notes at 0x27f1");
	phdrs[2].p_offset = ~0ULL;
	fixture_expect_refused(boot(), ENOEXEC, "of notes at");
	phdrs[2].p_offset = 0;
	phdrs[2].p_filesz = 65537;
	fixture_expect_refused(boot(), ENOEXEC, "65537 bytes of notes");
	phdrs[2].p_filesz = ~0ULL;
	fixture_expect_refused(boot(), ENOEXEC, "of notes");
}
END_TEST

START_TEST(refuses_a_short_pvh_note)
{
	const uint64_t desc = PVH_ENTRY;

	add_pvh_notes(&desc, 3, 4);
	fixture_expect_booted(boot());
	ck_assert_int_eq(entry.protocol, BOOT_LINUX64);
}
END_TEST

static void narrow(uint8_t *to)
{
	Elf32_Ehdr ehdr32 = {
		.e_type = ET_EXEC,
		.e_machine = EM_386,
		.e_entry = (uint32_t)ehdr->e_entry,
		.e_phoff = sizeof(Elf32_Ehdr),
		.e_phentsize = sizeof(Elf32_Phdr),
		.e_phnum = ehdr->e_phnum,
	};

	memcpy(ehdr32.e_ident, ehdr->e_ident, EI_NIDENT);
	ehdr32.e_ident[EI_CLASS] = ELFCLASS32;
	for (unsigned int i = 0; i < ehdr->e_phnum; i++) {
		const Elf32_Phdr phdr32 = {
			.p_type = phdrs[i].p_type,
			.p_offset = (uint32_t)phdrs[i].p_offset,
			.p_vaddr = (uint32_t)phdrs[i].p_vaddr,
			.p_paddr = (uint32_t)phdrs[i].p_paddr,
			.p_filesz = (uint32_t)phdrs[i].p_filesz,
			.p_memsz = (uint32_t)phdrs[i].p_memsz,
			.p_align = (uint32_t)phdrs[i].p_align,
		};

		memcpy(to + sizeof(ehdr32) + i * sizeof(phdr32), &phdr32, sizeof(phdr32));
	}
	memcpy(to, &ehdr32, sizeof(ehdr32));
}

START_TEST(boots_32_bit_files)
{
	static uint8_t elf32[ELF_SIZE];
	const uint64_t desc = PVH_ENTRY;

	memcpy(elf32, elf, sizeof(elf32));
	narrow(elf32);
	fixture_expect_booted(fixture_boot(elf32, sizeof(elf32)));
	ck_assert_int_eq(entry.protocol, BOOT_LINUX32);
	ck_assert_uint_eq(entry.entry, TEXT_PADDR);
	expect_segments();

	add_pvh_notes(&desc, 4, 4);
	memcpy(elf32, elf, sizeof(elf32));
	narrow(elf32);
	fixture_expect_booted(fixture_boot(elf32, sizeof(elf32)));
	ck_assert_int_eq(entry.protocol, BOOT_PVH);
	ck_assert_uint_eq(entry.entry, PVH_ENTRY);

	elf32[offsetof(Elf32_Ehdr, e_machine)] = EM_ARM;
	memset(&entry, 0xee, sizeof(entry));
	fixture_expect_refused(fixture_boot(elf32, sizeof(elf32)), ENOEXEC, "for ARM CPUs");
}
END_TEST

struct absurd {
	size_t offset;
	size_t width;
	uint64_t value;
	int err;
	const char *words;
};

#define EHDR(name) offsetof(Elf64_Ehdr, name), sizeof(((Elf64_Ehdr *)0)->name)
#define PHDR(n, name)                                                                              \
	sizeof(Elf64_Ehdr) + (n) * sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, name),                \
		sizeof(((Elf64_Phdr *)0)->name)

static const struct absurd absurds[] = {
	{EI_CLASS, 1, ELFCLASS32, ENOEXEC, "CPU"},
	{EI_CLASS, 1, 0, ENOEXEC, "unknown class 0"},
	{EI_CLASS, 1, 0xff, ENOEXEC, "unknown class 255"},
	/* the machine's two bytes change their places, too: 62 is 0x003e */
	{EI_DATA, 1, ELFDATA2MSB, ENOEXEC, "for other CPUs (machine 15872)"},
	{EI_VERSION, 1, 0, ENOEXEC, "unknown version 0"},
	{EHDR(e_type), ET_REL, ENOEXEC, "object file or kernel module"},
	{EHDR(e_type), ET_CORE, ENOEXEC, "core dump"},
	{EHDR(e_type), 0xffff, ENOEXEC, "unknown type"},
	{EHDR(e_machine), EM_AARCH64, ENOEXEC, "for arm64 CPUs"},
	{EHDR(e_machine), EM_RISCV, ENOEXEC, "RISC-V"},
	{EHDR(e_machine), EM_PPC64, ENOEXEC, "POWER"},
	{EHDR(e_machine), EM_S390, ENOEXEC, "s390"},
	{EHDR(e_machine), 258, ENOEXEC, "LoongArch"},
	{EHDR(e_machine), EM_MIPS, ENOEXEC, "for MIPS CPUs (machine 8)"},
	{EHDR(e_machine), EM_PPC, ENOEXEC, "for PowerPC CPUs (machine 20)"},
	{EHDR(e_machine), EM_386, ENOEXEC, "machine 3"},
	{EHDR(e_machine), 0xffff, ENOEXEC, "machine 65535"},
	{EHDR(e_entry), 0, ENOEXEC, "no usable entry point: 0x0 "},
	{EHDR(e_entry), TEXT_PADDR + TEXT_SIZE, ENOEXEC, "no usable entry point"},
	{EHDR(e_entry), ~0ULL, ENOEXEC, "no usable entry point"},
	{EHDR(e_phoff), ~0ULL, ENOEXEC, "program headers at 0xffffffffffffffff"},
	{EHDR(e_phoff), ELF_SIZE, ENOEXEC, "program headers at 0x2800 of 0x2800"},
	{EHDR(e_phoff), ELF_SIZE - 111, ENOEXEC, "program headers at"},
	{EHDR(e_phoff), TEXT_OFFSET - 112, ENOEXEC, "nothing to load"},
	{EHDR(e_phentsize), 0, ENOEXEC, "program headers of 0 bytes"},
	{EHDR(e_phentsize), 57, ENOEXEC, "program headers of 57 bytes"},
	{EHDR(e_phentsize), 0xffff, ENOEXEC, "program headers of 65535"},
	{EHDR(e_phnum), 0, ENOEXEC, "0 program headers"},
	{EHDR(e_phnum), 65, ENOEXEC, "65 program headers; vmm takes 1 to 64"},
	{EHDR(e_phnum), 0xffff, ENOEXEC, "65535 program headers"},
	{PHDR(0, p_type), PT_NULL, ENOEXEC, "no usable entry point"},
	{PHDR(0, p_type), PT_INTERP, ENOEXEC, "a program, not a kernel"},
	{PHDR(0, p_offset), ELF_SIZE, ENOEXEC, "cut off or broken: a segment of 0x1000 bytes"},
	{PHDR(0, p_offset), ELF_SIZE - TEXT_SIZE + 1, ENOEXEC, "cut off or broken"},
	{PHDR(0, p_offset), ~0ULL, ENOEXEC, "cut off or broken"},
	{PHDR(0, p_paddr), 0, ENOEXEC, "at 0x0, in the first MiB"},
	{PHDR(0, p_paddr), 0xfffff, ENOEXEC, "in the first MiB"},
	{PHDR(0, p_paddr), 64 * MIB, ENOMEM, "needs at least 65 MiB of guest memory, has 64 MiB"},
	{PHDR(0, p_paddr), 1ULL << 32, ENOMEM, "needs at least 4097 MiB"},
	{PHDR(0, p_paddr), -0x1000ULL, ENOEXEC, "is broken: a segment at"},
	{PHDR(0, p_paddr), -0x1001ULL, ENOMEM, "MiB"},
	{PHDR(0, p_filesz), TEXT_SIZE + 1, ENOEXEC, "has 0x1001 bytes of 0x1000"},
	{PHDR(0, p_filesz), ~0ULL, ENOEXEC, "is broken"},
	{PHDR(0, p_memsz), TEXT_SIZE - 1, ENOEXEC, "has 0x1000 bytes of 0xfff"},
	{PHDR(0, p_memsz), ~0ULL, ENOEXEC, "is broken"},
	{PHDR(1, p_memsz), 44 * MIB + 1, ENOMEM, "needs at least 65 MiB"},
	{PHDR(0, p_memsz), DATA_PADDR - TEXT_PADDR + 1, ENOEXEC, "overlap"},
	{PHDR(1, p_paddr), TEXT_PADDR, ENOEXEC, "segments at 0x1000000 and 0x1000000 overlap"},
	{PHDR(1, p_paddr), TEXT_PADDR + TEXT_SIZE - 1, ENOEXEC, "overlap"},
	{PHDR(1, p_paddr), TEXT_PADDR - DATA_MEMSZ + 1, ENOEXEC, "overlap"},
	{PHDR(1, p_offset), ELF_SIZE - DATA_SIZE + 1, ENOEXEC, "cut off or broken"},
};

START_TEST(refuses_absurd_fields)
{
	const struct absurd *a = &absurds[_i];

	memcpy(elf + a->offset, &a->value, a->width);
	fixture_expect_refused(boot(), a->err, a->words);
}
END_TEST

/* The number told is enough for the whole kernel, whichever segment comes first. */
START_TEST(tells_the_memory_of_all_segments)
{
	phdrs[0].p_paddr = 70 * MIB;
	phdrs[1].p_paddr = 90 * MIB;
	fixture_expect_refused(boot(), ENOMEM, "needs at least 91 MiB of guest memory, has 64 MiB");
}
END_TEST

START_TEST(says_where_memory_is_missing)
{
	e820[2].size = TEXT_PADDR + TEXT_SIZE - MIB;
	fixture_expect_refused(boot(), ENOMEM, "needs memory from 0x1400000 to 0x1403000");
	e820[3] = (struct boot_e820){DATA_PADDR, DATA_MEMSZ, BOOT_E820_RAM};
	cfg.n_e820 = 4;
	fixture_expect_booted(boot());
}
END_TEST

START_TEST(takes_segments_that_touch)
{
	phdrs[1].p_paddr = TEXT_PADDR + TEXT_SIZE;
	fixture_expect_booted(boot());
	phdrs[1].p_paddr = TEXT_PADDR - DATA_MEMSZ;
	fixture_expect_booted(boot());
	phdrs[1].p_paddr = 64 * MIB - DATA_MEMSZ;
	fixture_expect_booted(boot());
}
END_TEST

/* Segments of no size are nothing, wherever they are. */
START_TEST(skips_empty_segments)
{
	phdrs[1].p_paddr = ~0ULL;
	phdrs[1].p_filesz = 0;
	phdrs[1].p_memsz = 0;
	fixture_expect_booted(boot());
}
END_TEST

START_TEST(takes_64_program_headers)
{
	static uint8_t file[ELF_SIZE + 64 * sizeof(Elf64_Phdr)];

	memcpy(file, elf, sizeof(elf));
	memcpy(file + ELF_SIZE, phdrs, 2 * sizeof(Elf64_Phdr));
	((Elf64_Ehdr *)file)->e_phoff = ELF_SIZE;
	((Elf64_Ehdr *)file)->e_phnum = 64;
	fixture_expect_booted(fixture_boot(file, sizeof(file)));
	expect_segments();
}
END_TEST

START_TEST(refuses_files_cut_off)
{
	static const size_t cuts[] = {
		4, 16, 63, 64, 119, 175, 0x400, 0xfff, 0x1000, 0x1001, 0x1fff, 0x2000, ELF_SIZE - 1,
	};

	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++)
		fixture_expect_refused(fixture_boot(elf, cuts[i]), ENOEXEC, "cut off");
}
END_TEST

#define N(array) ((int)(sizeof(array) / sizeof((array)[0])))

int main(void)
{
	Suite *suite = suite_create("boot/elf_kernel");
	TCase *tc = tcase_create("elf");

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, setup, fixture_teardown);
	tcase_add_test(tc, boots_linux_by_physical_entry);
	tcase_add_test(tc, boots_linux_by_virtual_entry);
	tcase_add_loop_test(tc, boots_by_pvh_note, 0, 3);
	tcase_add_test(tc, an_interpreter_is_no_program_with_pvh);
	tcase_add_test(tc, boots_without_pvh_for_setup_data);
	tcase_add_test(tc, searches_all_note_segments);
	tcase_add_test(tc, refuses_pvh_entry_outside);
	tcase_add_loop_test(tc, survives_broken_notes, 0, 6);
	tcase_add_test(tc, survives_notes_cut_off);
	tcase_add_test(tc, refuses_note_segments_out_of_bounds);
	tcase_add_test(tc, refuses_a_short_pvh_note);
	tcase_add_test(tc, boots_32_bit_files);
	tcase_add_loop_test(tc, refuses_absurd_fields, 0, N(absurds));
	tcase_add_test(tc, tells_the_memory_of_all_segments);
	tcase_add_test(tc, says_where_memory_is_missing);
	tcase_add_test(tc, takes_segments_that_touch);
	tcase_add_test(tc, skips_empty_segments);
	tcase_add_test(tc, takes_64_program_headers);
	tcase_add_test(tc, refuses_files_cut_off);
	return fixture_run(suite);
}
