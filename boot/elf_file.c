#include "boot/elf_file.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#ifndef EM_LOONGARCH
#define EM_LOONGARCH 258 /* in <elf.h> since glibc 2.36 */
#endif

static const struct {
	uint16_t machine;
	char name[10];
} elf_file_machines[] = {
	{EM_AARCH64, "arm64"}, {EM_ARM, "ARM"},	  {EM_RISCV, "RISC-V"}, {EM_PPC64, "POWER"},
	{EM_PPC, "PowerPC"},   {EM_S390, "s390"}, {EM_MIPS, "MIPS"},	{EM_LOONGARCH, "LoongArch"},
};

static const char *elf_file_machine_name(uint16_t machine)
{
	for (size_t i = 0; i < sizeof(elf_file_machines) / sizeof(elf_file_machines[0]); i++) {
		if (elf_file_machines[i].machine == machine)
			return elf_file_machines[i].name;
	}
	return "other";
}

static const char *elf_file_type_name(uint16_t type)
{
	switch (type) {
	case ET_REL:
		return "an object file or kernel module";
	case ET_CORE:
		return "a core dump";
	default:
		return "of an unknown type";
	}
}

static void elf_file_widen_ehdr(Elf64_Ehdr *to, const Elf32_Ehdr *from)
{
	memcpy(to->e_ident, from->e_ident, EI_NIDENT);
	to->e_type = from->e_type;
	to->e_machine = from->e_machine;
	to->e_entry = from->e_entry;
	to->e_phoff = from->e_phoff;
	to->e_phentsize = from->e_phentsize;
	to->e_phnum = from->e_phnum;
}

static void elf_file_widen_phdr(Elf64_Phdr *to, const Elf32_Phdr *from)
{
	to->p_type = from->p_type;
	to->p_flags = from->p_flags;
	to->p_offset = from->p_offset;
	to->p_vaddr = from->p_vaddr;
	to->p_paddr = from->p_paddr;
	to->p_filesz = from->p_filesz;
	to->p_memsz = from->p_memsz;
	to->p_align = from->p_align;
}

static int elf_file_read_ehdr(const struct boot_config *cfg, const struct image_file *file,
			      struct elf_file *elf)
{
	Elf32_Ehdr ehdr32;

	if (file->head_len < sizeof(elf->ehdr))
		return image_refuse(cfg, ENOEXEC, "the ELF file is cut off after %" PRIu64 " bytes",
				    file->size);
	elf->is32 = file->head[EI_CLASS] == ELFCLASS32;
	if (!elf->is32) {
		memcpy(&elf->ehdr, file->head, sizeof(elf->ehdr));
		return 0;
	}
	memcpy(&ehdr32, file->head, sizeof(ehdr32));
	elf_file_widen_ehdr(&elf->ehdr, &ehdr32);
	return 0;
}

static int elf_file_check_ehdr(const struct boot_config *cfg, const struct elf_file *elf)
{
	const Elf64_Ehdr *ehdr = &elf->ehdr;
	size_t entsize = elf->is32 ? sizeof(Elf32_Phdr) : sizeof(Elf64_Phdr);
	uint16_t machine = ehdr->e_machine;

	if (ehdr->e_ident[EI_CLASS] != ELFCLASS32 && ehdr->e_ident[EI_CLASS] != ELFCLASS64)
		return image_refuse(cfg, ENOEXEC, "it is an ELF file of unknown class %u",
				    ehdr->e_ident[EI_CLASS]);
	if (ehdr->e_ident[EI_DATA] == ELFDATA2MSB)
		machine = __builtin_bswap16(machine);
	if (ehdr->e_ident[EI_DATA] != ELFDATA2LSB || machine != (elf->is32 ? EM_386 : EM_X86_64))
		return image_refuse(
			cfg, ENOEXEC,
			"this is an ELF file for %s CPUs (machine %u); vmm needs an x86-64"
			" bzImage or vmlinux",
			elf_file_machine_name(machine), machine);
	if (ehdr->e_ident[EI_VERSION] != EV_CURRENT)
		return image_refuse(cfg, ENOEXEC, "it is an ELF file of unknown version %u",
				    ehdr->e_ident[EI_VERSION]);
	if (ehdr->e_type != ET_EXEC && ehdr->e_type != ET_DYN)
		return image_refuse(cfg, ENOEXEC, "this ELF file is %s, not a kernel",
				    elf_file_type_name(ehdr->e_type));
	if (ehdr->e_phentsize != entsize)
		return image_refuse(cfg, ENOEXEC,
				    "the ELF file is broken: program headers of %u bytes, not %zu",
				    ehdr->e_phentsize, entsize);
	if (ehdr->e_phnum == 0 || ehdr->e_phnum > ELF_FILE_MAX_PHDRS)
		return image_refuse(cfg, ENOEXEC,
				    "the ELF file has %u program headers; vmm takes 1 to %d",
				    ehdr->e_phnum, ELF_FILE_MAX_PHDRS);
	return 0;
}

static int elf_file_read_phdrs(const struct boot_config *cfg, const struct image_file *file,
			       struct elf_file *elf)
{
	const Elf64_Ehdr *ehdr = &elf->ehdr;
	size_t size = (size_t)ehdr->e_phnum * ehdr->e_phentsize;
	Elf32_Phdr phdrs32[ELF_FILE_MAX_PHDRS];
	uint64_t end;
	int ret;

	if (__builtin_add_overflow(ehdr->e_phoff, size, &end) || end > file->size)
		return image_refuse(
			cfg, ENOEXEC,
			"the ELF file is cut off or broken: program headers at 0x%" PRIx64
			" of 0x%" PRIx64 " bytes",
			(uint64_t)ehdr->e_phoff, file->size);
	ret = image_read(file->fd, ehdr->e_phoff, elf->is32 ? (void *)phdrs32 : elf->phdrs, size);
	if (ret < 0)
		return image_refuse_errno(cfg, ret);
	for (unsigned int i = 0; elf->is32 && i < ehdr->e_phnum; i++)
		elf_file_widen_phdr(&elf->phdrs[i], &phdrs32[i]);
	return 0;
}

int elf_file_read(const struct boot_config *cfg, const struct image_file *file,
		  struct elf_file *elf)
{
	int ret = elf_file_read_ehdr(cfg, file, elf);

	if (ret == 0)
		ret = elf_file_check_ehdr(cfg, elf);
	if (ret == 0)
		ret = elf_file_read_phdrs(cfg, file, elf);
	return ret;
}
