/*
 * How filter_rules.c writes a filter's instructions, and filter.c reads them: the code, where in filter_values the operand is, and how far a
 * jump goes when its test is true, and when it is not. Most jump in one case alone, or do not jump: a bit of the code's says which of
 * the last two bytes there is.
 */
#pragma once

#define FILTER_HAS_JT 0x80u
#define FILTER_HAS_JF 0x08u
#define FILTER_CODE                                                                                \
	0x77u /* all others; no filter compares with BPF's second register, whose bit is the lower of these */

/* Where the number of the process belongs. No process has it. */
#define FILTER_PID 0x7eadbee5u
