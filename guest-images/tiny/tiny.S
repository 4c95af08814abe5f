/*
 * Free-standing guests of a few instructions, for tests that need a guest but no kernel.
 *
 * One source, built once for each behaviour and each way in (see build.sh):
 *
 *   BEHAVIOUR  what the guest does, one of the macros below
 *   PVH        an ELF file with the PVH note; entered in 32-bit protected mode, start_info in %ebx
 *   ELF64      an ELF file without a note; entered in 64-bit mode at e_entry, boot_params in %rsi
 *   BZIMAGE64  a bzImage with both entries, 32-bit at its start and 64-bit at 0x200
 *   BZIMAGE32  a bzImage with the 32-bit entry alone; boot_params in %esi
 *
 * The instructions are plain ones that every software KVM can emulate, mean the same in 32-bit and
 * 64-bit mode, use no stack and no address of their own, and so run wherever they are loaded.
 */
#include <linux/serial_reg.h>

#define COM1 0x3f8
#define I8042_COMMAND 0x64
#define I8042_RESET 0xfe
#define END_OF_TRANSMISSION 4

/* Where the VMM left the boot parameters, and the pointer to the command line in them. */
#ifdef PVH
#define PARAMS %ebx
#define CMDLINE_PTR 24
#elif defined(BZIMAGE32)
#define PARAMS %esi
#define CMDLINE_PTR 0x228
#else
#define PARAMS %rsi
#define CMDLINE_PTR 0x228
#endif

.macro put_char char
	mov \char, %al
	out %al, %dx
.endm

.macro reset
	mov $I8042_RESET, %al
	out %al, $I8042_COMMAND
0:	hlt
	jmp 0b
.endm

/* Resets the machine at once. */
.macro poweroff
	reset
.endm

.macro hello
	mov $COM1, %edx
	put_char $'h'
	put_char $'e'
	put_char $'l'
	put_char $'l'
	put_char $'o'
	put_char $'\n'
	reset
.endm

/* Writes its command line to the serial port. */
.macro cmdline
	mov CMDLINE_PTR(PARAMS), %esi
	mov $COM1, %edx
1:	mov (%esi), %al
	cmp $0, %al
	je 2f
	out %al, %dx
	add $1, %esi
	jmp 1b
2:	put_char $'\n'
	reset
.endm

/* An invalid instruction with an empty table of interrupt gates: the shortest way to a triple fault. */
.macro triple
	movl $0, (PARAMS)
	movl $0, 4(PARAMS)
	movl $0, 8(PARAMS)
	lidt (PARAMS)
	ud2
.endm

/* Stops for good: no interrupt can wake it. */
.macro halt
	cli
0:	hlt
	jmp 0b
.endm

/* Waits for interrupts that nobody sends. */
.macro idle
0:	sti
	hlt
	jmp 0b
.endm

.macro spin
0:	jmp 0b
.endm

/* Lines of the alphabet without end, and without asking whether the port is ready. */
.macro flood
	mov $COM1, %edx
1:	mov $'a', %al
2:	out %al, %dx
	add $1, %al
	cmp $'z', %al
	jbe 2b
	put_char $'\n'
	jmp 1b
.endm

/* Sends back what it receives, up to and including the end-of-transmission character (Ctrl-D). */
.macro echo
1:	mov $COM1 + UART_LSR, %edx
2:	in %dx, %al
	test $UART_LSR_DR, %al
	jz 2b
	mov $COM1 + UART_RX, %edx
	in %dx, %al
	mov %al, %cl
	mov $COM1 + UART_LSR, %edx
3:	in %dx, %al
	test $UART_LSR_THRE, %al
	jz 3b
	mov $COM1 + UART_TX, %edx
	put_char %cl
	cmp $END_OF_TRANSMISSION, %cl
	jne 1b
	reset
.endm

#if defined(PVH) || defined(ELF64)

	.text
	.globl _start
_start:
#ifdef PVH
	.code32
#else
	.code64
#endif
	BEHAVIOUR

#ifdef PVH
#define XEN_ELFNOTE_PHYS32_ENTRY 18
	.section .note.pvh, "a", @note
	.balign 4
	.long 2f - 1f, 4f - 3f, XEN_ELFNOTE_PHYS32_ENTRY
1:	.asciz "Xen"
2:	.balign 4
3:	.long _start
4:
#endif

#else /* a bzImage: the Linux/x86 boot protocol, version 2.15 */

#define SETUP_SECTORS 1
#define KERNEL_START ((SETUP_SECTORS + 1) * 512)
#define XLF_KERNEL_64 1
#define LOADED_HIGH 1

	.text
	.org 0x1f1
	.byte SETUP_SECTORS		/* setup_sects */
	.word 0				/* root_flags */
	.long (kernel_end - kernel) / 16 /* syssize */
	.word 0, 0, 0			/* ram_size, vid_mode, root_dev */
	.word 0xaa55			/* boot_flag */
	.byte 0xeb, header_end - header	/* jump */
header:
	.ascii "HdrS"
	.word 0x20f			/* version */
	.long 0				/* realmode_swtch */
	.word 0, 0			/* start_sys_seg, kernel_version */
	.byte 0, LOADED_HIGH		/* type_of_loader, loadflags */
	.word 0				/* setup_move_size */
	.long 0x100000			/* code32_start */
	.long 0, 0, 0			/* ramdisk_image, ramdisk_size, bootsect_kludge */
	.word 0, 0			/* heap_end_ptr, ext_loader_ver and _type */
	.long 0				/* cmd_line_ptr */
	.long 0x7fffffff		/* initrd_addr_max */
	.long 0x200000			/* kernel_alignment */
	.byte 1, 21			/* relocatable_kernel, min_alignment */
#ifdef BZIMAGE64
	.word XLF_KERNEL_64		/* xloadflags */
#else
	.word 0
#endif
	.long 2047			/* cmdline_size */
	.long 0				/* hardware_subarch */
	.quad 0				/* hardware_subarch_data */
	.long 0, 0			/* payload_offset, payload_length */
	.quad 0				/* setup_data */
	.quad 0x1000000			/* pref_address */
	.long kernel_end - kernel	/* init_size */
	.long 0, 0			/* handover_offset, kernel_info_offset */
header_end:

	.org KERNEL_START
kernel:
	.code32
#ifdef BZIMAGE64
	ud2				/* a VMM that can enter in 64-bit mode shall do so */
	.org KERNEL_START + 0x200
	.code64
#endif
	BEHAVIOUR
	.balign 16
	.org KERNEL_START + 0x1000
kernel_end:

#endif
