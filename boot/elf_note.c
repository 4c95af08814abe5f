#include "boot/elf_note.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define XEN_ELFNOTE_PHYS32_ENTRY 18

/* Kernels have some hundred bytes of notes. */
#define NOTES_MAX 65536

struct notes {
	const uint8_t *bytes;
	size_t size;
	size_t align;
};

struct note {
	uint32_t type;
	const uint8_t *name;
	uint32_t name_size;
	const uint8_t *desc;
	uint32_t desc_size;
};

/* Takes the note at *pos and moves behind it. Returns false at the end, or where a note runs over it. */
static bool elf_note_next(const struct notes *notes, uint64_t *pos, struct note *note)
{
	Elf64_Nhdr nhdr; /* the same in both classes */
	uint64_t desc, end;

	if (*pos + sizeof(nhdr) > notes->size)
		return false;
	memcpy(&nhdr, notes->bytes + *pos, sizeof(nhdr));
	*pos += sizeof(nhdr);
	/* 32-bit sizes in 64-bit sums: nothing wraps */
	if (!image_align(*pos + nhdr.n_namesz, notes->align, &desc))
		return false;
	end = desc + nhdr.n_descsz;
	if (end > notes->size)
		return false;

	*note = (struct note){
		.type = nhdr.n_type,
		.name = notes->bytes + *pos,
		.name_size = nhdr.n_namesz,
		.desc = notes->bytes + desc,
		.desc_size = nhdr.n_descsz,
	};
	return image_align(end, notes->align, pos);
}

static bool elf_note_is_pvh(const struct note *note)
{
	return note->type == XEN_ELFNOTE_PHYS32_ENTRY && note->name_size == sizeof("Xen") &&
	       memcmp(note->name, "Xen", sizeof("Xen")) == 0 && note->desc_size >= 4;
}

/* The descriptor has 4 bytes, or 8 as Linux and FreeBSD write it. */
static bool elf_note_search(const struct notes *notes, uint64_t *entry)
{
	uint64_t pos = 0;
	struct note note;

	while (elf_note_next(notes, &pos, &note)) {
		if (!elf_note_is_pvh(&note))
			continue;
		*entry = 0;
		memcpy(entry, note.desc, note.desc_size < 8 ? 4 : 8);
		return true;
	}
	return false;
}

static int elf_note_read(const struct boot_config *cfg, const struct image_file *file,
			 const Elf64_Phdr *phdr, bool *found, uint64_t *entry)
{
	struct notes notes = {.size = phdr->p_filesz, .align = phdr->p_align == 8 ? 8 : 4};
	uint8_t *bytes;
	uint64_t end;
	int ret;

	if (phdr->p_filesz > NOTES_MAX ||
	    __builtin_add_overflow(phdr->p_offset, phdr->p_filesz, &end) || end > file->size)
		return image_refuse(cfg, ENOEXEC,
				    "the ELF file is cut off or broken: %" PRIu64
				    " bytes of notes at 0x%" PRIx64,
				    (uint64_t)phdr->p_filesz, (uint64_t)phdr->p_offset);
	bytes = malloc(phdr->p_filesz + 1); /* never 0 */
	if (!bytes)
		return image_refuse_errno(cfg, -ENOMEM);
	ret = image_read(file->fd, phdr->p_offset, bytes, phdr->p_filesz);
	if (ret == 0) {
		notes.bytes = bytes;
		*found = elf_note_search(&notes, entry);
	}
	free(bytes);
	return ret < 0 ? image_refuse_errno(cfg, ret) : 0;
}

int elf_note_find_pvh(const struct boot_config *cfg, const struct image_file *file,
		      const struct elf_file *elf, bool *found, uint64_t *entry)
{
	*found = false;
	for (unsigned int i = 0; i < elf->ehdr.e_phnum && !*found; i++) {
		int ret;

		if (elf->phdrs[i].p_type != PT_NOTE)
			continue;
		ret = elf_note_read(cfg, file, &elf->phdrs[i], found, entry);
		if (ret < 0)
			return ret;
	}
	return 0;
}
