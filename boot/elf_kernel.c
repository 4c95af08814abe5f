#include "boot/elf_kernel.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "boot/elf_file.h"
#include "boot/elf_note.h"
#include "boot/zero_page.h"

/* The highest address of an initrd where the file does not tell: what a 32-bit Linux maps (boot.rst). */
#define INITRD_MAX_32 0x37ffffff

/* Programs name an interpreter; FreeBSD's kernels too, "/red/herring", but no program has an entry for PVH. */
static int elf_kernel_check_program(const struct boot_config *cfg, const struct image_file *file,
				    const struct elf_file *elf)
{
	uint64_t entry;
	bool pvh;

	for (unsigned int i = 0; i < elf->ehdr.e_phnum; i++) {
		int ret;

		if (elf->phdrs[i].p_type != PT_INTERP)
			continue;
		ret = elf_note_find_pvh(cfg, file, elf, &pvh, &entry);
		if (ret < 0 || pvh)
			return ret;
		return image_refuse(cfg, ENOEXEC,
				    "this ELF file is a program, not a kernel; vmm needs an"
				    " x86-64 bzImage or vmlinux");
	}
	return 0;
}

static bool elf_kernel_is_loaded(const Elf64_Phdr *phdr)
{
	return phdr->p_type == PT_LOAD && phdr->p_memsz > 0;
}

static int elf_kernel_check_segment(const struct boot_config *cfg, const struct image_file *file,
				    const Elf64_Phdr *phdr)
{
	uint64_t file_end, mem_end;

	if (phdr->p_filesz > phdr->p_memsz ||
	    __builtin_add_overflow(phdr->p_paddr, phdr->p_memsz, &mem_end))
		return image_refuse(cfg, ENOEXEC,
				    "the ELF file is broken: a segment at 0x%" PRIx64
				    " has 0x%" PRIx64 " bytes of 0x%" PRIx64,
				    (uint64_t)phdr->p_paddr, (uint64_t)phdr->p_filesz,
				    (uint64_t)phdr->p_memsz);
	if (__builtin_add_overflow(phdr->p_offset, phdr->p_filesz, &file_end) ||
	    file_end > file->size)
		return image_refuse(cfg, ENOEXEC,
				    "the ELF file is cut off or broken: a segment of 0x%" PRIx64
				    " bytes at 0x%" PRIx64 " of 0x%" PRIx64,
				    (uint64_t)phdr->p_filesz, (uint64_t)phdr->p_offset, file->size);
	return 0;
}

/* Both ranges were checked not to wrap. */
static bool elf_kernel_overlap(const Elf64_Phdr *a, const Elf64_Phdr *b)
{
	return a->p_paddr < b->p_paddr + b->p_memsz && b->p_paddr < a->p_paddr + a->p_memsz;
}

static int elf_kernel_check_overlap(const struct boot_config *cfg, const struct elf_file *elf,
				    unsigned int n)
{
	const Elf64_Phdr *phdr = &elf->phdrs[n];

	for (unsigned int i = 0; i < n; i++) {
		if (elf_kernel_is_loaded(&elf->phdrs[i]) &&
		    elf_kernel_overlap(&elf->phdrs[i], phdr))
			return image_refuse(cfg, ENOEXEC,
					    "the ELF file is broken: its segments at 0x%" PRIx64
					    " and 0x%" PRIx64 " overlap",
					    (uint64_t)elf->phdrs[i].p_paddr,
					    (uint64_t)phdr->p_paddr);
	}
	return 0;
}

/* Also finds the range that holds all segments. */
static int elf_kernel_check_segments(const struct boot_config *cfg, const struct image_file *file,
				     const struct elf_file *elf, struct image *image)
{
	image->start = UINT64_MAX;
	image->end = 0;
	for (unsigned int i = 0; i < elf->ehdr.e_phnum; i++) {
		const Elf64_Phdr *phdr = &elf->phdrs[i];
		int ret;

		if (!elf_kernel_is_loaded(phdr))
			continue;
		ret = elf_kernel_check_segment(cfg, file, phdr);
		if (ret == 0)
			ret = elf_kernel_check_overlap(cfg, elf, i);
		if (ret < 0)
			return ret;
		if (phdr->p_paddr < image->start)
			image->start = phdr->p_paddr;
		if (phdr->p_paddr + phdr->p_memsz > image->end)
			image->end = phdr->p_paddr + phdr->p_memsz;
	}
	if (image->end == 0)
		return image_refuse(cfg, ENOEXEC, "the ELF file has nothing to load");
	return 0;
}

static int elf_kernel_check_range(const struct guest_mem *mem, const struct boot_config *cfg,
				  const Elf64_Phdr *phdr)
{
	return image_check_memory(mem, cfg, phdr->p_paddr, phdr->p_paddr + phdr->p_memsz);
}

/* The last segment comes first: its end tells how much memory is needed in all. */
static int elf_kernel_check_memory(const struct guest_mem *mem, const struct boot_config *cfg,
				   const struct elf_file *elf, const struct image *image)
{
	int ret = 0;

	for (unsigned int i = 0; i < elf->ehdr.e_phnum && ret == 0; i++) {
		const Elf64_Phdr *phdr = &elf->phdrs[i];

		if (elf_kernel_is_loaded(phdr) && phdr->p_paddr + phdr->p_memsz == image->end)
			ret = elf_kernel_check_range(mem, cfg, phdr);
	}
	for (unsigned int i = 0; i < elf->ehdr.e_phnum && ret == 0; i++) {
		if (elf_kernel_is_loaded(&elf->phdrs[i]))
			ret = elf_kernel_check_range(mem, cfg, &elf->phdrs[i]);
	}
	return ret;
}

/* Whether addr lies in the bytes that the file gives to a segment placed at base. */
static bool elf_kernel_has_code(const Elf64_Phdr *phdr, uint64_t base, uint64_t addr)
{
	return elf_kernel_is_loaded(phdr) && addr >= base && addr - base < phdr->p_filesz;
}

static bool elf_kernel_find_physical(const struct elf_file *elf, uint64_t addr, gpa_t *entry)
{
	for (unsigned int i = 0; i < elf->ehdr.e_phnum; i++) {
		if (elf_kernel_has_code(&elf->phdrs[i], elf->phdrs[i].p_paddr, addr)) {
			*entry = addr;
			return true;
		}
	}
	return false;
}

static bool elf_kernel_find_virtual(const struct elf_file *elf, uint64_t addr, gpa_t *entry)
{
	for (unsigned int i = 0; i < elf->ehdr.e_phnum; i++) {
		const Elf64_Phdr *phdr = &elf->phdrs[i];

		if (elf_kernel_has_code(phdr, phdr->p_vaddr, addr)) {
			*entry = phdr->p_paddr + (addr - phdr->p_vaddr);
			return true;
		}
	}
	return false;
}

/*
 * The note holds a physical address. e_entry is physical in Linux, virtual in others. PVH cannot hand setup data over, so
 * that a kernel that is to have some begins at e_entry, note or not.
 */
static int elf_kernel_find_entry(const struct boot_config *cfg, const struct image_file *file,
				 const struct elf_file *elf, struct image *image)
{
	uint64_t addr = elf->ehdr.e_entry;
	bool pvh = false;
	int ret = 0;

	if (!cfg->layout->setup_data)
		ret = elf_note_find_pvh(cfg, file, elf, &pvh, &addr);
	if (ret < 0)
		return ret;
	if (pvh)
		image->protocol = BOOT_PVH;
	else
		image->protocol = elf->is32 ? BOOT_LINUX32 : BOOT_LINUX64;
	/* 0 means no entry point (gABI), though per-CPU data may be linked there */
	if (addr == 0 || (!elf_kernel_find_physical(elf, addr, &image->entry) &&
			  (pvh || !elf_kernel_find_virtual(elf, addr, &image->entry))))
		return image_refuse(cfg, ENOEXEC,
				    "the ELF file has no usable entry point: 0x%" PRIx64
				    " is in no segment",
				    addr);
	return 0;
}

static int elf_kernel_read_segments(const struct guest_mem *mem, const struct boot_config *cfg,
				    const struct image_file *file, const struct elf_file *elf)
{
	for (unsigned int i = 0; i < elf->ehdr.e_phnum; i++) {
		const Elf64_Phdr *phdr = &elf->phdrs[i];
		int ret;

		if (!elf_kernel_is_loaded(phdr))
			continue;
		ret = image_read_guest(mem, phdr->p_paddr, file->fd, phdr->p_offset,
				       phdr->p_filesz);
		if (ret < 0)
			return image_refuse_errno(cfg, ret);
	}
	return 0;
}

int elf_kernel_load(const struct guest_mem *mem, const struct boot_config *cfg,
		    const struct image_file *file, struct image *image)
{
	struct elf_file elf = {.is32 = false};
	int ret = elf_file_read(cfg, file, &elf);

	if (ret == 0)
		ret = elf_kernel_check_program(cfg, file, &elf);
	if (ret == 0)
		ret = elf_kernel_check_segments(cfg, file, &elf, image);
	if (ret == 0)
		ret = elf_kernel_check_memory(mem, cfg, &elf, image);
	if (ret == 0)
		ret = elf_kernel_find_entry(cfg, file, &elf, image);
	if (ret == 0)
		image_choose_pages(mem, image);
	if (ret == 0)
		ret = elf_kernel_read_segments(mem, cfg, file, &elf);
	if (ret < 0)
		return ret;

	image->initrd_max = elf.is32 ? INITRD_MAX_32 : UINT32_MAX;
	image->cmdline_size = IMAGE_CMDLINE_SIZE;
	zero_page_init_header(&image->params.hdr);
	/*
	 * A kernel's own word about what it takes (boot.rst), which an ELF file lacks. Other monitors tell by it how long the command line is,
	 * NUL and all, and unikernels take no more of it: with 0 none, or they stop.
	 */
	image->params.hdr.cmdline_size = (uint32_t)strlen(cfg->cmdline) + 1;
	return 0;
}
