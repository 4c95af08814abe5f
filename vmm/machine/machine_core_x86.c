/*
 * The guest's memory and registers as an ELF core file, for gdb and crash(8).
 *
 * Notes: every vCPU's registers (NT_PRSTATUS), and what the kernel tells of itself (VMCOREINFO). Segments: each region of memory at its
 * physical address, and, where the guest is in 64-bit mode, what the kernel has mapped in large pieces, its own image first: gdb
 * knows virtual addresses alone, crash both. Both kinds lie over the same bytes of the file. Pages of zeros are holes.
 */
#include "vmm/machine/machine.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/user.h>
#include <unistd.h>
#include <asm/processor-flags.h>

#include "vmm/machine/guest_log_x86.h"
#include "vmm/machine/guest_vmcoreinfo.h"
#include "vmm/machine/guest_walk_x86.h"

#define CORE_PAGE      4096u
#define CORE_PIECE     (256 * CORE_PAGE) /* written at once, at most */
#define CORE_MAX_LOADS 120
/* Smaller pieces are vmalloc's, of which there are thousands; but for vCPUs' stacks, which lie at multiples of this. */
#define CORE_MIN_MAP   (UINT64_C(2) << 20)
#define CORE_STACK     UINT64_C(0x4000)
#define CORE_MAX_STEPS (1u << 20) /* in a guest's tables, which may have no end */

/* Linux maps its image here, and all memory somewhere between the middle of all addresses and here. */
#define KERNEL_IMAGE	 UINT64_C(0xffffffff80000000)
#define KERNEL_IMAGE_END UINT64_C(0xffffffffc0000000)

struct core {
	const struct machine *machine;
	int fd;
	uint64_t data; /* where memory begins in the file */
	unsigned int n_loads;
	size_t notes_size;
	struct guest_vmcoreinfo info; /* len 0: none */
	struct {
		Elf64_Ehdr file;
		Elf64_Phdr notes;
		Elf64_Phdr loads[CORE_MAX_LOADS];
	} head;
};

/* ---- notes ---- */

static size_t core_padded(size_t size)
{
	return (size + 3) & ~(size_t)3;
}

static size_t core_note_size(const char *name, size_t size)
{
	return sizeof(Elf64_Nhdr) + core_padded(strlen(name) + 1) + core_padded(size);
}

/* Returns where the next one goes. */
static uint8_t *core_note(uint8_t *at, const char *name, uint32_t type, const void *desc,
			  size_t size)
{
	const Elf64_Nhdr note = {
		.n_namesz = (uint32_t)strlen(name) + 1, .n_descsz = (uint32_t)size, .n_type = type};

	memcpy(at, &note, sizeof(note));
	memcpy(at + sizeof(note), name, note.n_namesz);
	memcpy(at + sizeof(note) + core_padded(note.n_namesz), desc, size);
	return at + core_note_size(name, size);
}

static void core_fill_registers(struct user_regs_struct *to, const struct vcpu_registers *from)
{
	const struct kvm_regs *r = &from->regs;
	const struct kvm_sregs *s = &from->sregs;

	*to = (struct user_regs_struct){.r15 = r->r15,
					.r14 = r->r14,
					.r13 = r->r13,
					.r12 = r->r12,
					.rbp = r->rbp,
					.rbx = r->rbx,
					.r11 = r->r11,
					.r10 = r->r10,
					.r9 = r->r9,
					.r8 = r->r8,
					.rax = r->rax,
					.rcx = r->rcx,
					.rdx = r->rdx,
					.rsi = r->rsi,
					.rdi = r->rdi,
					.orig_rax = UINT64_MAX,
					.rip = r->rip,
					.eflags = r->rflags,
					.rsp = r->rsp,
					.fs_base = s->fs.base,
					.gs_base = s->gs.base,
					.cs = s->cs.selector,
					.ss = s->ss.selector,
					.ds = s->ds.selector,
					.es = s->es.selector,
					.fs = s->fs.selector,
					.gs = s->gs.selector};
}

static int core_make_notes(struct core *core, uint8_t *at)
{
	struct vcpu_registers r;

	for (unsigned int i = 0; i < core->machine->n_vcpus; i++) {
		struct elf_prstatus status = {.pr_pid = (pid_t)i + 1};
		struct user_regs_struct regs;
		int err = vcpu_read_registers(&core->machine->vcpus[i], &r);

		_Static_assert(sizeof(regs) == sizeof(status.pr_reg), "the same registers");
		if (err < 0)
			return err;
		core_fill_registers(&regs, &r);
		memcpy(&status.pr_reg, &regs, sizeof(regs));
		at = core_note(at, "CORE", NT_PRSTATUS, &status, sizeof(status));
	}
	if (core->info.len)
		core_note(at, GUEST_VMCOREINFO_NAME, 0, core->info.text, core->info.len);
	return 0;
}

/* ---- segments ---- */

/* As far as it lies in memory. */
static void core_add_load(struct core *core, uint64_t virtual, gpa_t physical, uint64_t size)
{
	const struct guest_mem *mem = &core->machine->mem;
	uint64_t offset = core->data;

	for (unsigned int i = 0; i < mem->n_regions && core->n_loads < CORE_MAX_LOADS; i++) {
		uint64_t in = physical - mem->regions[i].base, left = mem->regions[i].size - in;

		if (in < mem->regions[i].size) {
			size = size < left ? size : left;
			core->head.loads[core->n_loads++] = (Elf64_Phdr){.p_type = PT_LOAD,
									 .p_flags = PF_R | PF_W |
										    PF_X,
									 .p_offset = offset + in,
									 .p_vaddr = virtual,
									 .p_paddr = physical,
									 .p_filesz = size,
									 .p_memsz = size};
			return;
		}
		offset += mem->regions[i].size;
	}
}

/* What is mapped from one address up to, without, another, in pieces of that size and more. */
static void core_add_mapped(struct core *core, const struct kvm_sregs *sregs, uint64_t at,
			    uint64_t end, uint64_t least)
{
	uint64_t start = at, left = 0;
	gpa_t first = 0, gpa = 0;

	for (unsigned int i = 0; i < CORE_MAX_STEPS && at < end; i++, at += left) {
		bool mapped = guest_walk(&core->machine->mem, sregs, at, &gpa, &left) == 0;

		left = left < end - at ? left : end - at;
		if (mapped && gpa == first + (at - start))
			continue;
		if (at - start >= least)
			core_add_load(core, start, first, at - start);
		/* an address that nothing follows on, when it is not mapped */
		start = mapped ? at : at + left;
		first = gpa;
	}
	if (at - start >= least)
		core_add_load(core, start, first, at - start);
}

bool machine_find_kernel(const struct machine *machine, struct kvm_sregs *sregs)
{
	struct vcpu_registers r;
	bool found = false;

	for (unsigned int i = 0; i < machine->n_vcpus; i++) {
		/* Long mode is on with paging alone. In user mode a kernel may have its own tables put aside. */
		if (vcpu_read_registers(&machine->vcpus[i], &r) < 0 ||
		    !(r.sregs.efer & X86_EFER_LMA))
			continue;
		if (!found || r.sregs.ss.dpl == 0)
			*sregs = r.sregs;
		found = true;
		if (r.sregs.ss.dpl == 0)
			break;
	}
	return found;
}

/* Of vCPUs that are in the kernel. */
static void core_add_stacks(struct core *core)
{
	struct vcpu_registers r;

	for (unsigned int i = 0; i < core->machine->n_vcpus; i++) {
		uint64_t page;

		if (vcpu_read_registers(&core->machine->vcpus[i], &r) < 0)
			continue;
		page = r.regs.rsp & ~(uint64_t)(CORE_PAGE - 1);
		if (page >> 63 && page < KERNEL_IMAGE)
			core_add_mapped(core, &r.sregs, page,
					(page & ~(CORE_STACK - 1)) + CORE_STACK, CORE_PAGE);
	}
}

static void core_add_loads(struct core *core)
{
	const struct guest_mem *mem = &core->machine->mem;
	struct kvm_sregs sregs;

	for (unsigned int i = 0; i < mem->n_regions; i++)
		core_add_load(core, mem->regions[i].base, mem->regions[i].base,
			      mem->regions[i].size);
	if (!machine_find_kernel(core->machine, &sregs))
		return;
	core_add_mapped(core, &sregs, KERNEL_IMAGE, KERNEL_IMAGE_END, CORE_MIN_MAP);
	core_add_stacks(core);
	core_add_mapped(core, &sregs, UINT64_MAX << (sregs.cr4 & X86_CR4_LA57 ? 56 : 47),
			KERNEL_IMAGE, CORE_MIN_MAP);
}

/* ---- the file ---- */

static int core_write(int fd, const void *bytes, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, (const uint8_t *)bytes + done, len - done);

		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EINTR)
			return n == 0 ? -EIO : -errno;
	}
	return 0;
}

static bool core_is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, CORE_PAGE - 1) == 0;
}

static int core_skip(int fd, uint64_t n)
{
	/* beyond what its file system can hold */
	return lseek(fd, (off_t)n, SEEK_CUR) < 0 ? (errno == EINVAL ? -EFBIG : -errno) : 0;
}

/* Devices may still write to it; the kernel reads each byte once. */
static int core_write_part(int fd, const uint8_t *bytes, uint64_t size)
{
	int err = 0;

	for (uint64_t at = 0, n; at < size && err == 0; at += n) {
		bool zero = core_is_zero(bytes + at);

		for (n = CORE_PAGE;
		     n < CORE_PIECE && at + n < size && core_is_zero(bytes + at + n) == zero;)
			n += CORE_PAGE;
		err = zero ? core_skip(fd, n) : core_write(fd, bytes + at, n);
	}
	return err;
}

static int core_write_region(struct core *core, const struct guest_mem_region *r)
{
	const uint8_t *bytes = guest_mem_ptr(&core->machine->mem, r->base, r->size);
	uint64_t at = 0, done = 0, end;
	int err = 0;

	while (err == 0 && (end = guest_mem_next_part(&core->machine->mem, r, &at)) > 0) {
		err = core_skip(core->fd, at - done);
		if (err == 0)
			err = core_write_part(core->fd, bytes + at, end - at);
		at = done = end;
	}
	return err == 0 ? core_skip(core->fd, r->size - done) : err;
}

static int core_write_head(struct core *core)
{
	uint8_t *notes = calloc(1, core->notes_size);
	int err = notes ? core_make_notes(core, notes) : -ENOMEM;

	core->head.file = (Elf64_Ehdr){.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
						   ELFDATA2LSB, EV_CURRENT},
				       .e_type = ET_CORE,
				       .e_machine = EM_X86_64,
				       .e_version = EV_CURRENT,
				       .e_phoff = sizeof(Elf64_Ehdr),
				       .e_ehsize = sizeof(Elf64_Ehdr),
				       .e_phentsize = sizeof(Elf64_Phdr),
				       .e_phnum = (uint16_t)(1 + core->n_loads)};
	core->head.notes = (Elf64_Phdr){.p_type = PT_NOTE,
					.p_offset = sizeof(core->head),
					.p_filesz = core->notes_size,
					.p_memsz = core->notes_size};
	if (err == 0)
		err = core_write(core->fd, &core->head, sizeof(core->head));
	if (err == 0)
		err = core_write(core->fd, notes, core->notes_size);
	free(notes);
	return err;
}

static int core_make(struct core *core)
{
	const struct guest_mem *mem = &core->machine->mem;
	int err;

	if (!guest_vmcoreinfo_find(mem, &core->info))
		core->info.len = 0;
	core->notes_size =
		core->machine->n_vcpus * core_note_size("CORE", sizeof(struct elf_prstatus)) +
		(core->info.len ? core_note_size(GUEST_VMCOREINFO_NAME, core->info.len) : 0);
	core->data = (sizeof(core->head) + core->notes_size + CORE_PAGE - 1) &
		     ~(uint64_t)(CORE_PAGE - 1);
	core_add_loads(core);
	if (ftruncate(core->fd, 0) < 0 || lseek(core->fd, 0, SEEK_SET) < 0)
		return -errno;
	err = core_write_head(core);
	if (err == 0 && lseek(core->fd, (off_t)core->data, SEEK_SET) < 0)
		err = -errno;
	for (unsigned int i = 0; i < mem->n_regions && err == 0; i++)
		err = core_write_region(core, &mem->regions[i]);
	/* a file that appends has no holes */
	if (err == 0 && lseek(core->fd, 0, SEEK_CUR) != (off_t)(core->data + guest_mem_size(mem)))
		err = -EINVAL;
	/* a hole at the end */
	if (err == 0 && ftruncate(core->fd, (off_t)(core->data + guest_mem_size(mem))) < 0)
		err = -errno;
	/* of half a dump nothing is of use */
	if (err < 0)
		(void)!ftruncate(core->fd, 0);
	return err;
}

int machine_dump_guest(struct machine *machine, int fd)
{
	struct core *core = calloc(1, sizeof(*core));
	int err = -ENOMEM;

	if (core) {
		core->machine = machine;
		core->fd = fd;
		vcpu_pause_begin(&machine->pause);
		vcpu_pause_wait(&machine->pause);
		err = core_make(core);
		machine_tell_stood(machine);
		vcpu_pause_end(&machine->pause);
	}
	if (err < 0)
		log_error("cannot write the dump of the guest: %s",
			  err == -EINVAL
				  ? "this is no regular file, is not open for writing, or appends"
				  : strerror(-err));
	else
		log_warn("a dump of the guest was written%s",
			 core->info.len ? "" : ", without VMCOREINFO, which its memory has not");
	free(core);
	return err;
}

char *machine_read_kernel_log(struct machine *machine, unsigned int n)
{
	struct guest_vmcoreinfo info;
	struct kvm_sregs sregs;
	char *text = NULL;

	vcpu_pause_begin(&machine->pause);
	vcpu_pause_wait(&machine->pause);
	if (machine_find_kernel(machine, &sregs) && guest_vmcoreinfo_find(&machine->mem, &info))
		text = guest_log_read(&machine->mem, &sregs, &info, n);
	vcpu_pause_end(&machine->pause);
	return text;
}
