/* A struct packed (packed.h) from PACKED_FILE, as PACKED_NAME. */
#ifdef __CET__ /* no code, but the linker wants to be told */
#include <cet.h>
#endif
	.section .rodata.packed_image, "a"
	.globl	PACKED_NAME
	.balign	4
PACKED_NAME:
	.incbin	PACKED_FILE
	.section .note.GNU-stack, "", @progbits
