#include "boot/vmlinux.h"

#include <errno.h>
#include <string.h>

#include "boot/scratch.h"
#include "vmm/core/assert.h"

#define HUGE_PAGE (UINT64_C(2) << 20)
#define ELF_AHEAD HUGE_PAGE /* how far the kernel begins behind the ELF header */
#define PHDRS_MAX 64
#define TAIL_MAX  (UINT64_C(32) << 20)

/* The unpacked file, in guest memory. */
struct vmlinux_file {
	gpa_t at;
	uint8_t *bytes;
	uint64_t size;
	Elf64_Ehdr ehdr;
	/* those that are loaded, ascending as vmlinux->segments */
	uint64_t offsets[VMLINUX_MAX_SEGMENTS];
	uint64_t elf_end;
};

void vmlinux_clear(const struct guest_mem *mem, gpa_t start, gpa_t end)
{
	gpa_t first = (start + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
	gpa_t last = end & ~(HUGE_PAGE - 1);
	uint8_t *bytes;

	if (start >= end)
		return;
	bytes = guest_mem_ptr(mem, start, end - start);
	assert(bytes); /* the caller has checked */
	if (first >= last) {
		memset(bytes, 0, end - start);
		return;
	}
	memset(bytes, 0, first - start);
	if (mem->options.prefault ||
	    guest_mem_discard(mem, bytes + (first - start), last - first) < 0)
		memset(bytes + (first - start), 0, last - first);
	memset(bytes + (last - start), 0, end - last);
}

/* ---- the ELF file: every number in it may be any ---- */

static int vmlinux_check_ehdr(const struct vmlinux_file *file)
{
	const Elf64_Ehdr *e = &file->ehdr;
	uint64_t end;

	if (memcmp(e->e_ident, ELFMAG, SELFMAG) != 0 || e->e_ident[EI_CLASS] != ELFCLASS64 ||
	    e->e_ident[EI_DATA] != ELFDATA2LSB || e->e_machine != EM_X86_64)
		return -ENOEXEC;
	if (e->e_type != ET_EXEC || e->e_phentsize != sizeof(Elf64_Phdr) || e->e_phnum > PHDRS_MAX)
		return -ENOEXEC;
	if (__builtin_add_overflow(e->e_phoff, e->e_phnum * sizeof(Elf64_Phdr), &end) ||
	    end > file->size)
		return -ENOEXEC;
	return 0;
}

/* The end of the sections' table, which is the last in a file that objcopy wrote; 0 where that makes no sense. */
static uint64_t vmlinux_sections_end(const struct vmlinux_file *file)
{
	const Elf64_Ehdr *e = &file->ehdr;
	uint64_t end;

	if (__builtin_add_overflow(e->e_shoff, e->e_shnum * sizeof(Elf64_Shdr), &end) ||
	    end > file->size)
		return 0;
	return end;
}

static int vmlinux_add_segment(const struct vmlinux_place *place, struct vmlinux_file *file,
			       const Elf64_Phdr *phdr, struct vmlinux *v)
{
	struct vmlinux_segment *s = &v->segments[v->n_segments];
	uint64_t end, from;

	if (v->n_segments == VMLINUX_MAX_SEGMENTS)
		return -ENOTSUP;
	if (phdr->p_filesz > phdr->p_memsz || phdr->p_paddr < place->link ||
	    __builtin_add_overflow(phdr->p_offset, phdr->p_filesz, &end) || end > file->size)
		return -ENOEXEC;
	from = phdr->p_paddr - place->link;
	if (from > place->size || phdr->p_memsz > place->size - from)
		return -ENOEXEC;
	*s = (struct vmlinux_segment){.vaddr = phdr->p_vaddr,
				      .gpa = place->load + from,
				      .size = phdr->p_filesz,
				      .room = phdr->p_memsz};
	/* Linux's are ascending; so nothing has to be sorted, and neighbours tell of overlaps */
	if (v->n_segments > 0 && s->gpa < s[-1].gpa + s[-1].room)
		return -ENOTSUP;
	file->offsets[v->n_segments++] = phdr->p_offset;
	if (end > file->elf_end)
		file->elf_end = end;
	return 0;
}

/* e_entry is physical in Linux. */
static int vmlinux_find_entry(const struct vmlinux_place *place, const struct vmlinux_file *file,
			      struct vmlinux *v)
{
	uint64_t from = file->ehdr.e_entry - place->link;

	if (file->ehdr.e_entry < place->link || from >= place->size)
		return -ENOEXEC;
	v->entry = place->load + from;
	for (unsigned int i = 0; i < v->n_segments; i++) {
		if (v->entry >= v->segments[i].gpa &&
		    v->entry - v->segments[i].gpa < v->segments[i].size)
			return 0;
	}
	return -ENOEXEC;
}

/* For size: what it loops over are headers. What copies and clears a whole kernel is not compiled so. */
static int __attribute__((cold))
vmlinux_parse(const struct vmlinux_place *place, struct vmlinux_file *file, struct vmlinux *v)
{
	Elf64_Phdr phdr;
	int err;

	if (file->size < sizeof(file->ehdr))
		return -ENOEXEC;
	memcpy(&file->ehdr, file->bytes, sizeof(file->ehdr));
	err = vmlinux_check_ehdr(file);
	file->elf_end = file->ehdr.e_phoff + file->ehdr.e_phnum * sizeof(phdr);
	for (unsigned int i = 0; i < file->ehdr.e_phnum && err == 0; i++) {
		memcpy(&phdr, file->bytes + file->ehdr.e_phoff + i * sizeof(phdr), sizeof(phdr));
		if (phdr.p_type == PT_LOAD && phdr.p_memsz > 0)
			err = vmlinux_add_segment(place, file, &phdr, v);
	}
	if (err == 0)
		err = vmlinux_find_entry(place, file, v);
	if (err == 0 && vmlinux_sections_end(file) > file->elf_end)
		file->elf_end = vmlinux_sections_end(file);
	return err;
}

/* ---- placing ---- */

static bool vmlinux_overlap(uint64_t a, uint64_t b, uint64_t a_size, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

/* Segments are moved in their order, so that none may land on one that is still to be moved. */
static int __attribute__((cold))
vmlinux_check_moves(const struct vmlinux_file *file, const struct vmlinux *v)
{
	for (unsigned int i = 0; i < v->n_segments; i++) {
		for (unsigned int j = i + 1; j < v->n_segments; j++) {
			if (vmlinux_overlap(v->segments[i].gpa, file->at + file->offsets[j],
					    v->segments[i].size, v->segments[j].size))
				return -ENOTSUP;
		}
	}
	return 0;
}

/* The table goes to where the guest does not write, and out of the way of what is moved. */
static int __attribute__((cold))
vmlinux_take_tail(const struct vmlinux_file *file, struct vmlinux *v)
{
	uint64_t len = file->size - file->elf_end;

	if (len > TAIL_MAX)
		return -ENOTSUP;
	if (len == 0)
		return 0;
	v->tail = scratch_get(len);
	if (!v->tail)
		return -ENOMEM;
	v->tail_len = len;
	memcpy(v->tail, file->bytes + file->elf_end, len);
	return 0;
}

static void vmlinux_move(const struct guest_mem *mem, const struct vmlinux_file *file,
			 const struct vmlinux *v)
{
	for (unsigned int i = 0; i < v->n_segments; i++) {
		const struct vmlinux_segment *s = &v->segments[i];
		uint64_t offset = file->offsets[i];

		if (s->size > 0 && s->gpa != file->at + offset)
			memmove(guest_mem_ptr(mem, s->gpa, s->size), file->bytes + offset, s->size);
	}
}

/* Everything that is of the file and of no segment. */
static void vmlinux_clear_rest(const struct guest_mem *mem, const struct vmlinux_file *file,
			       const struct vmlinux *v)
{
	gpa_t end = file->at + file->size, at = file->at;

	for (unsigned int i = 0; i < v->n_segments && at < end; i++) {
		const struct vmlinux_segment *s = &v->segments[i];

		vmlinux_clear(mem, at, s->gpa < end ? s->gpa : end);
		if (s->gpa + s->size > at)
			at = s->gpa + s->size;
	}
	vmlinux_clear(mem, at, end);
}

/* Where the file goes: 2 MiB before the kernel, if there is RAM, and nothing behind what the kernel itself needs. */
static int __attribute__((cold))
vmlinux_place_file(const struct guest_mem *mem, const struct vmlinux_place *place,
		   struct vmlinux_file *file)
{
	file->at = place->load - place->lowest < ELF_AHEAD ? place->lowest
							   : place->load - ELF_AHEAD;
	if ((place->load - place->link) % HUGE_PAGE != 0 ||
	    file->size > place->load + place->size - file->at)
		return -ENOTSUP;
	file->bytes = guest_mem_ptr(mem, file->at, file->size);
	return file->bytes && guest_mem_ptr(mem, place->load, place->size) ? 0 : -ENOTSUP;
}

int vmlinux_unpack(const struct guest_mem *mem, const struct vmlinux_place *place,
		   const struct codec_input *payload, const atomic_bool *stop,
		   struct vmlinux *vmlinux)
{
	struct vmlinux_file file = {.at = 0};
	uint32_t size;
	int err = codec_size(payload, &size);

	assert(place->lowest <= place->load);
	*vmlinux = (struct vmlinux){.n_segments = 0};
	file.size = size;
	if (err == 0)
		err = vmlinux_place_file(mem, place, &file);
	if (err < 0)
		return err;
	err = codec_unpack(payload, file.bytes, file.size, stop);
	if (err == 0)
		err = vmlinux_parse(place, &file, vmlinux);
	if (err == 0)
		err = vmlinux_check_moves(&file, vmlinux);
	if (err == 0)
		err = vmlinux_take_tail(&file, vmlinux);
	if (err < 0) {
		vmlinux_clear(mem, file.at, file.at + file.size);
		return err;
	}
	vmlinux_move(mem, &file, vmlinux);
	vmlinux_clear_rest(mem, &file, vmlinux);
	return 0;
}

void __attribute__((cold)) vmlinux_fini(struct vmlinux *vmlinux)
{
	scratch_free(vmlinux->tail, vmlinux->tail_len);
	vmlinux->tail = NULL;
	vmlinux->tail_len = 0;
}
