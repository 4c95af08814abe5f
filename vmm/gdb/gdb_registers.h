/*
 * The registers of an x86-64 CPU as gdb sees them: their bytes in gdb's order, and the description of that order which gdb asks for
 * (features org.gnu.gdb.i386.core, sse and segments, and the control registers behind them).
 *
 * Owner: the caller. Pure functions, any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Little endian and without gaps: what the packets g and G carry. */
struct gdb_registers {
	uint64_t gpr[16]; /* rax rbx rcx rdx rsi rdi rbp rsp r8 ... r15 */
	uint64_t rip;
	uint32_t eflags;
	uint32_t segments[6]; /* cs ss ds es fs gs */
	uint8_t st[8][10];
	uint32_t fctrl, fstat, ftag, fiseg, fioff, foseg, fooff, fop;
	uint8_t xmm[16][16];
	uint32_t mxcsr;
	uint64_t fs_base, gs_base;
	uint64_t cr0, cr2, cr3, cr4, cr8, efer;
} __attribute__((packed));

/* Where a register lies in the struct above, in bytes. False: there is no register of this number. */
bool gdb_register_find(uint64_t number, size_t *offset, size_t *size);

/*
 * Writes the part of the description that begins at offset, size bytes at most. Returns how many were written, less than size at its
 * end.
 */
size_t gdb_register_description(uint64_t offset, char *text, size_t size);
