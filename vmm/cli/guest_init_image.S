/* The first program of the guest (guest/), and how many bytes that are: see guest_init.c. */
#ifdef __CET__ /* no code, but the linker wants to be told */
#include <cet.h>
#endif
	.section .rodata.guest_init_image, "a"
	.globl	guest_init_image, guest_init_image_size
	.balign	4
guest_init_image_size:
	.long	1f - guest_init_image
guest_init_image:
	.incbin	GUEST_INIT_IMAGE
1:
	.section .note.GNU-stack, "", @progbits
