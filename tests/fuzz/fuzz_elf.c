/*
 * An ELF kernel, with a PVH note or without, of which a few fields say something else: it is booted or refused.
 *
 * The input is a byte that says how it is booted, one for the file's class and whether it has notes, then changes of a good file (bytes_patch()).
 *
 * Fuzzes: boot/elf_file.c boot/elf_kernel.c boot/elf_note.c boot/pvh.c boot/zero_page.c
 */
#include <elf.h>

#include "tests/fuzz/boot_machine.h"

#define SIZE	 8192
#define SEGMENTS 3
#define NOTES	 0x800
#define NOTE_LEN 64
#define BASE	 UINT64_C(0x1000000)
#define VIRTUAL	 UINT64_C(0xc0000000)

enum {
	ELF_32 = 1,
	ELF_WITHOUT_NOTES = 2,
	ELF_WIDE_NOTES = 4, /* aligned to 8, and two of them */
	ELF_VIRTUAL_ENTRY = 8,
};

#define EHDR_FIELDS(type)                                                                          \
	FIELD(0, type, e_type), FIELD(0, type, e_machine), FIELD(0, type, e_entry),                \
		FIELD(0, type, e_phoff), FIELD(0, type, e_phentsize), FIELD(0, type, e_phnum),     \
		{EI_CLASS, 1}, {EI_DATA, 1}, {EI_VERSION, 1}, {NOTES, 4}, {NOTES + 4, 4},          \
		{NOTES + 8, 4}, {NOTES + 12, 4},                                                   \
	{                                                                                          \
		NOTES + 16, 4                                                                      \
	}

#define PHDR_FIELDS(ehdr, type, i)                                                                 \
	FIELD(sizeof(ehdr) + (i) * sizeof(type), type, p_type),                                    \
		FIELD(sizeof(ehdr) + (i) * sizeof(type), type, p_offset),                          \
		FIELD(sizeof(ehdr) + (i) * sizeof(type), type, p_vaddr),                           \
		FIELD(sizeof(ehdr) + (i) * sizeof(type), type, p_paddr),                           \
		FIELD(sizeof(ehdr) + (i) * sizeof(type), type, p_filesz),                          \
		FIELD(sizeof(ehdr) + (i) * sizeof(type), type, p_memsz),                           \
		FIELD(sizeof(ehdr) + (i) * sizeof(type), type, p_align)

#define ALL_FIELDS(ehdr, phdr)                                                                     \
	EHDR_FIELDS(ehdr), PHDR_FIELDS(ehdr, phdr, 0), PHDR_FIELDS(ehdr, phdr, 1),                 \
		PHDR_FIELDS(ehdr, phdr, 2), PHDR_FIELDS(ehdr, phdr, 3)

static const struct field fields64[] = {ALL_FIELDS(Elf64_Ehdr, Elf64_Phdr)};
static const struct field fields32[] = {ALL_FIELDS(Elf32_Ehdr, Elf32_Phdr)};

#define N_FIELDS (sizeof(fields64) / sizeof(fields64[0]))

/* The two classes have members of the same names. */
#define MAKE_HEADERS(file, ehdr, phdr, class_, machine, what)                                      \
	do {                                                                                       \
		*(ehdr *)(file) = (ehdr){                                                          \
			.e_ident = {0x7f, 'E', 'L', 'F', class_, ELFDATA2LSB, EV_CURRENT},         \
			.e_type = ET_EXEC,                                                         \
			.e_machine = machine,                                                      \
			.e_version = EV_CURRENT,                                                   \
			.e_entry = ((what)&ELF_VIRTUAL_ENTRY ? VIRTUAL : 0) + BASE + 0x40,         \
			.e_phoff = sizeof(ehdr),                                                   \
			.e_phentsize = sizeof(phdr),                                               \
			.e_phnum = SEGMENTS + !((what)&ELF_WITHOUT_NOTES),                         \
		};                                                                                 \
		for (unsigned int i = 0; i < SEGMENTS; i++)                                        \
			((phdr *)((file) + sizeof(ehdr)))[i] =                                     \
				(phdr){.p_type = PT_LOAD,                                          \
				       .p_offset = 0x1000 + i * 0x400,                             \
				       .p_vaddr = VIRTUAL + BASE + i * 0x1000,                     \
				       .p_paddr = BASE + i * 0x1000,                               \
				       .p_filesz = 0x400,                                          \
				       .p_memsz = 0x1000,                                          \
				       .p_align = 0x1000};                                         \
		((phdr *)((file) + sizeof(ehdr)))[SEGMENTS] =                                      \
			(phdr){.p_type = PT_NOTE,                                                  \
			       .p_offset = NOTES,                                                  \
			       .p_filesz = NOTE_LEN,                                               \
			       .p_align = (what)&ELF_WIDE_NOTES ? 8 : 4};                          \
	} while (0)

static void make_notes(uint8_t *at, uint8_t what)
{
	const uint32_t other[] = {4, 8, 7, 0x554e47, 1, 2};   /* "GNU" */
	const uint32_t pvh[] = {4, 8, 18, 0x6e6558, BASE, 0}; /* "Xen" */

	memcpy(at, what & ELF_WIDE_NOTES ? other : pvh, sizeof(pvh));
	memcpy(at + 24, pvh, sizeof(pvh));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static _Alignas(8) uint8_t file[SIZE];
	struct bytes in = {data, size};
	uint8_t how = bytes_u8(&in), what = bytes_u8(&in);
	bool is32 = what & ELF_32;
	size_t len;

	memset(file, 0, sizeof(file));
	memset(file + 0x1000, 0x5a, SIZE - 0x1000);
	if (is32)
		MAKE_HEADERS(file, Elf32_Ehdr, Elf32_Phdr, ELFCLASS32, EM_386, what);
	else
		MAKE_HEADERS(file, Elf64_Ehdr, Elf64_Phdr, ELFCLASS64, EM_X86_64, what);
	make_notes(file + NOTES, what);
	len = bytes_patch(&in, file, sizeof(file), is32 ? fields32 : fields64, N_FIELDS);
	boot_file(bytes_file(file, len), how, CMDLINE);
	return 0;
}
