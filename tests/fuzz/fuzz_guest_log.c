/*
 * A guest's memory as a dump and a panic's last words look at it: VMCOREINFO, the kernel's log and the page tables on the way, all of it
 * written by the guest. Each look has an end, takes nothing but guest memory and gives no more than was asked for.
 *
 * The input is how the guest's pages are mapped, then changes of a good log: where, and what. The last ones are addresses to be walked.
 *
 * Fuzzes: vmm/machine/guest_log_x86.c vmm/machine/guest_vmcoreinfo.c vmm/machine/guest_walk_x86.c
 */
#include <elf.h>
#include <inttypes.h>
#include <stdio.h>
#include <asm/processor-flags.h>

#include "tests/fuzz/bytes.h"
#include "vmm/machine/guest_log_x86.h"
#include "vmm/machine/guest_walk_x86.h"

#define LOW_SIZE  UINT64_C(0x40000)
#define HIGH_BASE UINT64_C(0x400000)
#define HIGH_SIZE UINT64_C(0x10000)
#define MAX_LINES 20
#define MAX_INPUT 4096

/* Where things are; every table maps addresses to themselves. */
enum {
	NOTE = 0x8000,
	PML5 = 0x10000,
	PML4 = 0x11000,
	PDPT = 0x12000,
	PD = 0x13000,
	PT = 0x14000,
	PD32 = 0x15000,
	PT32 = 0x16000,
	PRB = 0x20000,
	RING = 0x21000,
	DESCS = 0x22000,
	INFOS = 0x23000,
	DATA = 0x24000,
	COUNT_BITS = 3,
	DATA_BITS = 9,
	DESC = 24,
	INFO = 88,
};

#define FINALIZED (UINT64_C(2) << 62)
#define MAPPED	  3u /* present, writable */
#define LARGE	  0x80u

static const struct {
	const char *name;
	unsigned int base;
	uint64_t value;
} lines[] = {{"SYMBOL(prb)", 16, PRB},
	     {"OFFSET(printk_ringbuffer.desc_ring)", 10, 0},
	     {"OFFSET(printk_ringbuffer.text_data_ring)", 10, 48},
	     {"OFFSET(prb_desc_ring.count_bits)", 10, 0},
	     {"OFFSET(prb_desc_ring.descs)", 10, 8},
	     {"OFFSET(prb_desc_ring.infos)", 10, 16},
	     {"OFFSET(prb_desc_ring.head_id)", 10, 24},
	     {"SIZE(prb_desc)", 10, DESC},
	     {"OFFSET(prb_desc.state_var)", 10, 0},
	     {"OFFSET(prb_desc.text_blk_lpos)", 10, 8},
	     {"OFFSET(prb_data_blk_lpos.begin)", 10, 0},
	     {"OFFSET(prb_data_blk_lpos.next)", 10, 8},
	     {"SIZE(printk_info)", 10, INFO},
	     {"OFFSET(printk_info.ts_nsec)", 10, 8},
	     {"OFFSET(printk_info.text_len)", 10, 16},
	     {"OFFSET(prb_data_ring.size_bits)", 10, 0},
	     {"OFFSET(prb_data_ring.data)", 10, 8}};

#define N_LINES (sizeof(lines) / sizeof(lines[0]))

static struct guest_mem mem;

static void put(gpa_t gpa, const void *bytes, size_t len)
{
	must(guest_mem_write(&mem, gpa, bytes, len) == 0);
}

static void put_number(gpa_t gpa, uint64_t value, size_t size)
{
	put(gpa, &value, size);
}

/* ---- a good guest ---- */

static void make_memory(void)
{
	const struct guest_mem_region regions[] = {{.base = 0, .size = LOW_SIZE},
						   {.base = HIGH_BASE, .size = HIGH_SIZE}};

	if (mem.n_regions == 0)
		must(guest_mem_init(&mem, regions, 2) == 0);
	memset(guest_mem_ptr(&mem, 0, LOW_SIZE), 0, LOW_SIZE);
	memset(guest_mem_ptr(&mem, HIGH_BASE, HIGH_SIZE), 0, HIGH_SIZE);
}

static void make_tables(void)
{
	put_number(PML5, PML4 | MAPPED, 8);
	put_number(PML4, PDPT | MAPPED, 8);
	put_number(PDPT, PD | MAPPED, 8);
	put_number(PDPT + 8, UINT64_C(0x40000000) | MAPPED | LARGE, 8);
	put_number(PD, PT | MAPPED, 8);
	put_number(PD32, PT32 | MAPPED, 4);
	for (unsigned int i = 1; i < 4; i++) {
		put_number(PD + 8 * i, i * 0x200000u | MAPPED | LARGE, 8);
		put_number(PD32 + 4 * i, i * 0x400000u | MAPPED | LARGE, 4);
	}
	for (unsigned int i = 0; i < 512; i++) {
		put_number(PT + 8 * i, i * 0x1000u | MAPPED, 8);
		put_number(PT32 + 4 * i, i * 0x1000u | MAPPED, 4);
	}
}

static void make_log(void)
{
	put_number(PRB, RING, 8);
	put_number(RING, COUNT_BITS, 4);
	put_number(RING + 8, DESCS, 8);
	put_number(RING + 16, INFOS, 8);
	put_number(RING + 24, 4, 8); /* the last message's number */
	put_number(RING + 48, DATA_BITS, 4);
	put_number(RING + 56, DATA, 8);
	for (unsigned int id = 1; id <= 4; id++) {
		uint64_t begin = id * 64;

		put_number(DESCS + id * DESC, id | FINALIZED, 8);
		put_number(DESCS + id * DESC + 8, begin, 8);
		put_number(DESCS + id * DESC + 16, begin + 32, 8);
		put_number(INFOS + id * INFO + 8, id * 1000000000u, 8);
		put_number(INFOS + id * INFO + 16, 16, 2);
		put(DATA + begin + 8, "a message\n\0with", 16);
	}
}

static void make_note(const uint64_t *values, uint32_t len_change)
{
	char text[GUEST_VMCOREINFO_SIZE];
	Elf64_Nhdr note = {.n_namesz = sizeof(GUEST_VMCOREINFO_NAME)};
	size_t len = (size_t)sprintf(text, "OSRELEASE=6.1\n");

	for (size_t i = 0; i < N_LINES; i++)
		len += (size_t)sprintf(
			text + len, lines[i].base == 16 ? "%s=%" PRIx64 "\n" : "%s=%" PRIu64 "\n",
			lines[i].name, values[i]);
	note.n_descsz = (uint32_t)len + len_change;
	put(NOTE, &note, sizeof(note));
	put(NOTE + sizeof(note), GUEST_VMCOREINFO_NAME, sizeof(GUEST_VMCOREINFO_NAME));
	put(NOTE + sizeof(note) + 12, text, len);
}

/* ---- what the input makes of it ---- */

static struct kvm_sregs make_sregs(uint8_t mode)
{
	switch (mode % 6) {
	case 0:
		return (struct kvm_sregs){.cr0 = X86_CR0_PE};
	case 1:
		return (struct kvm_sregs){.cr0 = X86_CR0_PG, .cr3 = PD32};
	case 2:
		return (struct kvm_sregs){.cr0 = X86_CR0_PG, .cr3 = PD32, .cr4 = X86_CR4_PSE};
	case 3:
		return (struct kvm_sregs){.cr0 = X86_CR0_PG, .cr3 = PDPT, .cr4 = X86_CR4_PAE};
	case 4:
		return (struct kvm_sregs){
			.cr0 = X86_CR0_PG, .cr3 = PML4, .cr4 = X86_CR4_PAE, .efer = X86_EFER_LMA};
	default:
		return (struct kvm_sregs){.cr0 = X86_CR0_PG,
					  .cr3 = PML5,
					  .cr4 = X86_CR4_PAE | X86_CR4_LA57,
					  .efer = X86_EFER_LMA};
	}
}

/* One change. Returns false for the end of them. */
static bool change(struct bytes *in, struct kvm_sregs *sregs, uint64_t *values)
{
	static const gpa_t places[] = {PRB,  RING, DESCS, INFOS, DATA, NOTE, PML5,
				       PML4, PDPT, PD,	  PT,	 PD32, PT32};
	uint8_t what = bytes_u8(in);
	uint64_t offset;

	if (what == 0)
		return false;
	switch (what % 18) {
	case 13:
	case 14:
		offset = bytes_u8(in) % N_LINES;
		values[offset] = bytes_number(in);
		make_note(values, 0);
		break;
	case 15:
		sregs->cr3 = bytes_number(in);
		break;
	case 16:
		make_note(values, (uint32_t)bytes_number(in));
		break;
	case 17:
		sregs->cr4 ^= bytes_number(in) & (X86_CR4_PSE | X86_CR4_PAE | X86_CR4_LA57);
		break;
	default:
		offset = bytes_u8(in) * 4u;
		put_number(places[what % 18] + offset, bytes_number(in), what & 0x80 ? 4 : 8);
	}
	return true;
}

/* ---- the looks ---- */

static void look_at_log(const struct kvm_sregs *sregs, unsigned int n)
{
	struct guest_vmcoreinfo info;
	char *text;

	if (!guest_vmcoreinfo_find(&mem, &info))
		return;
	must(info.len <= GUEST_VMCOREINFO_SIZE && info.text[info.len] == '\0');
	text = guest_log_read(&mem, sregs, &info, n);
	/* a message's text and its time */
	must(!text || strlen(text) <= n * (1024u + 64));
	free(text);
}

static void look_at_address(const struct kvm_sregs *sregs, uint64_t address)
{
	uint8_t there[9000], again[sizeof(there)];
	uint64_t left;
	gpa_t gpa;
	size_t n;

	memset(there, 0xa5, sizeof(there));
	guest_walk(&mem, sregs, address, &gpa, &left);
	must(left > 0); /* or a walk over many would not end */
	n = guest_walk_read(&mem, sregs, address, there, sizeof(there));
	must(n <= sizeof(there) && (n == sizeof(there) || there[n] == 0xa5));
	/* The same bytes where they are change nothing, tables included. */
	must(guest_walk_write(&mem, sregs, address, there, n) == n);
	must(guest_walk_read(&mem, sregs, address, again, sizeof(again)) == n);
	must(memcmp(there, again, n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = {data, size};
	struct kvm_sregs sregs;
	uint64_t values[N_LINES];
	unsigned int n;

	if (size > MAX_INPUT)
		return 0;
	for (size_t i = 0; i < N_LINES; i++)
		values[i] = lines[i].value;
	make_memory();
	make_tables();
	make_log();
	sregs = make_sregs(bytes_u8(&in));
	n = bytes_u8(&in) % (MAX_LINES + 1);
	make_note(values, 0);
	while (change(&in, &sregs, values))
		;
	look_at_log(&sregs, n);
	for (unsigned int i = 0; i < 4; i++)
		look_at_address(&sregs, bytes_number(&in));
	return 0;
}
