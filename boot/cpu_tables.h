/*
 * The GDT and the page tables with which the first vCPU enters the kernel (boot.rst, "64-bit Boot Protocol"
 * and "32-bit Boot Protocol"; Xen's docs/misc/pvh.pandoc).
 *
 * Internal to boot/; the tables belong to the guest once it runs. Functions return 0, or -EFAULT when the
 * place is not RAM.
 */
#pragma once

#include "boot/kernel.h"
#include "vmm/core/guest_mem.h"

/* Writes BOOT_GDT_LEN bytes: a code segment of 64 bits for BOOT_LINUX64, of 32 bits otherwise. */
int cpu_tables_write_gdt(const struct guest_mem *mem, gpa_t gdt, enum boot_protocol protocol);

/* Writes BOOT_PAGE_TABLES_SIZE bytes: an identity map of the first 4 GiB in pages of 2 MiB. */
int cpu_tables_write_pages(const struct guest_mem *mem, gpa_t page_tables);
