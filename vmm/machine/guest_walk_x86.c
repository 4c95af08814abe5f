#include "vmm/machine/guest_walk_x86.h"

#include <errno.h>
#include <stdbool.h>
#include <asm/processor-flags.h>

/* Bits of an entry, the same in all modes. */
#define ENTRY_PRESENT 0x1u
#define ENTRY_LARGE   0x80u
#define ENTRY_ADDRESS UINT64_C(0x000ffffffffff000)

#define PAGE_BITS 12

/* Of a root table, where page tables are isolated. */
#define ISOLATED_BIT  UINT64_C(0x1000)
#define ISOLATED_HALF 256

/* How this vCPU's tables are built. */
struct guest_walk_mode {
	unsigned int levels; /* 0: no paging */
	unsigned int index_bits;
	unsigned int large_levels; /* the highest at which an entry may be a page */
	bool narrow;		   /* entries of 32 bits */
	gpa_t root;
};

static struct guest_walk_mode guest_walk_mode(const struct kvm_sregs *s)
{
	struct guest_walk_mode m = {.index_bits = 9, .root = s->cr3 & ENTRY_ADDRESS};

	if (!(s->cr0 & X86_CR0_PG))
		return m;
	if (s->efer & X86_EFER_LMA) {
		m.levels = s->cr4 & X86_CR4_LA57 ? 5 : 4;
		m.large_levels = 3;
	} else if (s->cr4 & X86_CR4_PAE) {
		m.levels = 3;
		m.large_levels = 2;
		m.root = s->cr3 & UINT64_C(0xffffffe0);
	} else {
		m.levels = 2;
		m.large_levels = s->cr4 & X86_CR4_PSE ? 2 : 1;
		m.index_bits = 10;
		m.narrow = true;
		m.root = s->cr3 & UINT64_C(0xfffff000);
	}
	return m;
}

static bool guest_walk_has(const struct kvm_sregs *s, const struct guest_walk_mode *m,
			   uint64_t address)
{
	unsigned int unused = 64 - (PAGE_BITS + m->levels * m->index_bits);

	if (!(s->efer & X86_EFER_LMA))
		return address <= UINT32_MAX;
	/* canonical: the upper bits are copies of the highest that is translated */
	return (uint64_t)((int64_t)(address << unused) >> unused) == address;
}

/* Where the page is that an entry maps. */
static gpa_t guest_walk_page(const struct guest_walk_mode *m, uint64_t entry, uint64_t page_size)
{
	gpa_t page = entry & ENTRY_ADDRESS & ~(page_size - 1);

	/* PSE-36: large pages have bits 32 to 39 of their address at 13 to 20. */
	if (m->narrow && page_size > (1u << PAGE_BITS))
		page |= (entry >> 13 & 0xff) << 32;
	return page;
}

static int guest_walk_tables(const struct guest_mem *mem, const struct kvm_sregs *sregs,
			     uint64_t address, gpa_t *gpa, uint64_t *left)
{
	struct guest_walk_mode m = guest_walk_mode(sregs);
	uint64_t entry = 0, offset, page_size = 1u << PAGE_BITS;
	gpa_t table = m.root;

	*left = 1;
	if (!guest_walk_has(sregs, &m, address))
		return -EFAULT;
	for (unsigned int level = m.levels; level > 0; level--) {
		unsigned int shift = PAGE_BITS + (level - 1) * m.index_bits;
		size_t size = m.narrow ? 4 : 8;
		uint64_t index = address >> shift & ((1u << m.index_bits) - 1);

		entry = 0;
		page_size = UINT64_C(1) << shift;
		*left = page_size - (address & (page_size - 1));
		if (guest_mem_read(mem, table + index * size, &entry, size) < 0 ||
		    !(entry & ENTRY_PRESENT))
			return -EFAULT;
		table = entry & ENTRY_ADDRESS;
		if (level <= m.large_levels && entry & ENTRY_LARGE)
			break;
	}
	offset = address & (page_size - 1);
	*gpa = (m.levels ? guest_walk_page(&m, entry, page_size) : address - offset) + offset;
	*left = page_size - offset;
	return 0;
}

/*
 * Linux has two root tables side by side then (arch/x86/mm/pti.c): the program's lies behind the kernel's, which has the same lower
 * half, where nothing may be executed. That tells them from others.
 */
static bool guest_walk_is_isolated(const struct guest_mem *mem, const struct kvm_sregs *sregs)
{
	uint64_t user[ISOLATED_HALF], kernel[ISOLATED_HALF];
	gpa_t root = sregs->cr3 & ENTRY_ADDRESS;
	unsigned int same = 0;

	if (!(sregs->efer & X86_EFER_LMA) || !(root & ISOLATED_BIT) ||
	    guest_mem_read(mem, root, user, sizeof(user)) < 0 ||
	    guest_mem_read(mem, root & ~ISOLATED_BIT, kernel, sizeof(kernel)) < 0)
		return false;
	for (unsigned int i = 0; i < ISOLATED_HALF; i++) {
		if ((user[i] ^ kernel[i]) & (ENTRY_ADDRESS | ENTRY_PRESENT))
			return false;
		same += user[i] & ENTRY_PRESENT;
	}
	return same > 0;
}

int guest_walk(const struct guest_mem *mem, const struct kvm_sregs *sregs, uint64_t address,
	       gpa_t *gpa, uint64_t *left)
{
	int err = guest_walk_tables(mem, sregs, address, gpa, left);
	struct kvm_sregs kernel;

	if (err == 0 || !(address >> 63) || !guest_walk_is_isolated(mem, sregs))
		return err;
	kernel = *sregs;
	kernel.cr3 &= ~ISOLATED_BIT;
	return guest_walk_tables(mem, &kernel, address, gpa, left);
}

/* One of dst and src is NULL. */
static size_t guest_walk_copy(const struct guest_mem *mem, const struct kvm_sregs *sregs,
			      uint64_t address, uint8_t *dst, const uint8_t *src, size_t len)
{
	size_t done = 0;

	while (done < len) {
		uint64_t left;
		gpa_t gpa;
		size_t n;

		if (guest_walk(mem, sregs, address + done, &gpa, &left) < 0)
			break;
		n = left < len - done ? (size_t)left : len - done;
		if ((dst ? guest_mem_read(mem, gpa, dst + done, n)
			 : guest_mem_write(mem, gpa, src + done, n)) < 0)
			break;
		done += n;
	}
	return done;
}

size_t guest_walk_read(const struct guest_mem *mem, const struct kvm_sregs *sregs, uint64_t address,
		       void *dst, size_t len)
{
	return guest_walk_copy(mem, sregs, address, dst, NULL, len);
}

size_t guest_walk_write(const struct guest_mem *mem, const struct kvm_sregs *sregs,
			uint64_t address, const void *src, size_t len)
{
	return guest_walk_copy(mem, sregs, address, NULL, src, len);
}
