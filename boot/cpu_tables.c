#include "boot/cpu_tables.h"

#include <assert.h>
#include <errno.h>

/* Intel SDM 3A, 3.4.5 "Segment Descriptors": present, flat, accessed, so that the CPU need not write them. */
#define GDT_CODE64 UINT64_C(0x00af9b000000ffff)
#define GDT_CODE32 UINT64_C(0x00cf9b000000ffff)
#define GDT_DATA   UINT64_C(0x00cf93000000ffff)
#define GDT_TSS	   UINT64_C(0x00008b0000000067)

/* Intel SDM 3A, 4.5 "4-Level Paging" */
#define PAGE_PRESENT  0x01
#define PAGE_WRITE    0x02
#define PAGE_ACCESSED 0x20
#define PAGE_DIRTY    0x40
#define PAGE_LARGE    0x80

#define TABLE_ENTRIES 512
#define TABLE_SIZE    (TABLE_ENTRIES * sizeof(uint64_t))
#define LARGE_PAGE    UINT64_C(0x200000)
#define MAPPED_GIB    4

int cpu_tables_write_gdt(const struct guest_mem *mem, gpa_t gdt, enum boot_protocol protocol)
{
	const uint64_t table[] = {
		[BOOT_CS / 8] = protocol == BOOT_LINUX64 ? GDT_CODE64 : GDT_CODE32,
		[BOOT_DS / 8] = GDT_DATA,
		[BOOT_TR / 8] = GDT_TSS,
	};

	static_assert(sizeof(table) == BOOT_GDT_LEN, "the length told to the vCPU");
	return guest_mem_write(mem, gdt, table, sizeof(table));
}

/* One PML4, one page directory pointer table, and a page directory for each GiB, in this order. */
int cpu_tables_write_pages(const struct guest_mem *mem, gpa_t page_tables)
{
	const uint64_t flags = PAGE_PRESENT | PAGE_WRITE | PAGE_ACCESSED;
	uint64_t *table = guest_mem_ptr(mem, page_tables, BOOT_PAGE_TABLES_SIZE);
	uint64_t *pdpt, *pd;

	static_assert((2 + MAPPED_GIB) * TABLE_SIZE == BOOT_PAGE_TABLES_SIZE, "the size promised");
	if (!table)
		return -EFAULT;
	pdpt = table + TABLE_ENTRIES;
	pd = pdpt + TABLE_ENTRIES;

	table[0] = (page_tables + TABLE_SIZE) | flags;
	for (unsigned int i = 0; i < MAPPED_GIB; i++)
		pdpt[i] = (page_tables + (2 + i) * TABLE_SIZE) | flags;
	for (unsigned int i = 0; i < MAPPED_GIB * TABLE_ENTRIES; i++)
		pd[i] = (i * LARGE_PAGE) | flags | PAGE_DIRTY | PAGE_LARGE;
	return 0;
}
