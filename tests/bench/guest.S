/*
 * The guest of the bench's starts: its first instructions write "!" to the serial port, its last ones end the machine, in every
 * way that the programs measured understand. The ways in are those of guest-images/tiny/tiny.S.
 */
#define COM1 0x3f8
#define DEBUG_EXIT 0xf4 /* QEMU's isa-debug-exit, for its microvm has no keyboard controller */

.macro say_and_end
	mov $COM1, %edx
	put_char $'!'
	mov $DEBUG_EXIT, %edx
	out %al, %dx
	reset
.endm

#include "tiny.S"
