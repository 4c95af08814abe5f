/*
 * What the proofs share.
 *
 * A proof is a function prove_*() in a file of this folder, which includes the real source that it is about. CBMC takes every value of
 * nondet_*() into account, and every way through the code; what is asserted, and that no access is out of bounds and no
 * arithmetic overflows, then holds for all of them. Loops are unwound as often as the file's line "Unwind:" says, and CBMC
 * also proves that this is often enough.
 *
 * "Flags:" are more options of CBMC. Each call of a function named by "Contract:" is taken for what its contract says, which is
 * checked where it is called; what the function does is then the matter of another proof.
 *
 * A line "Mutant: PROOF FILE SED-SCRIPT" is a bug that the proof must find. One that finds none proves nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A function that returns any value of a type: what is not initialized may be anything. */
#define NONDET(type, name)                                                                         \
	static inline type name(void)                                                              \
	{                                                                                          \
		type any;                                                                          \
                                                                                                   \
		return any;                                                                        \
	}

NONDET(bool, nondet_bool)
NONDET(uint8_t, nondet_u8)
NONDET(uint16_t, nondet_u16)
NONDET(uint32_t, nondet_u32)
NONDET(uint64_t, nondet_u64)
NONDET(size_t, nondet_size)

#define assume(condition) __CPROVER_assume(condition)
#define prove(condition)  __CPROVER_assert(condition, #condition)
