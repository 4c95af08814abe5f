/*
 * More tiny guests, for what the tests of this folder alone look at. As in tiny.S, which brings the ways in:
 * plain instructions, no stack, no address of their own.
 */
#include <linux/serial_reg.h>
#include <linux/virtio_mmio.h>

#define COM1 0x3f8

/* The machine's ACPI power registers (vmm/machine/layout_x86.h, devices/acpi_power.h). */
#define SLEEP_CONTROL 0x600
#define POWER_RESET 0x602
#define POWER_EVENT 0x603
#define SLP_EN_S5 (0x20 | 5 << 2)
#define EVENT_BUTTON 1

#define CMOS_INDEX 0x70
#define CMOS_DATA 0x71
#define CMOS_REG_A 0x0a
#define CMOS_UPDATE 0x80
#define CMOS_REG_D 0x0d
#define CMOS_VALID 0x80

#define PCI_RESET_CONTROL 0xcf9
#define PCI_RESET_HARD 0x06

/* Of <asm/bootparam.h>, as offsets. */
#define SETUP_DATA 0x250
#define SETUP_DATA_LEN 12
#define SETUP_DATA_HEAD 16

/* The first card with --transport mmio (vmm/machine/layout_x86.h). */
#define CARDS 0xd0000000

/* Where an operating system tells the firmware why it resets (BIOS data area). */
#define RESET_FLAG 0x472
#define RESET_WARM 0x1234
#define BIOS_RESET 0xffff0

.macro sleep_s5
	mov $SLEEP_CONTROL, %edx
	mov $SLP_EN_S5, %al
	out %al, %dx
0:	hlt
	jmp 0b
.endm

/* Powers off by ACPI. */
.macro acpi_off
	sleep_s5
.endm

/* Resets by ACPI's reset register. */
.macro acpi_reset
	mov $POWER_RESET, %edx
	mov $1, %al
	out %al, %dx
0:	hlt
	jmp 0b
.endm

/* Asks the PC's clock for the time as NetBSD does, which asks whether it had power and waits for the end of an update, and powers off. */
.macro clock
	mov $CMOS_REG_D, %al
	out %al, $CMOS_INDEX
	in $CMOS_DATA, %al
	test $CMOS_VALID, %al
	jz 2f
1:	mov $CMOS_REG_A, %al
	out %al, $CMOS_INDEX
	in $CMOS_DATA, %al
	test $CMOS_UPDATE, %al
	jnz 1b
2:	sleep_s5
.endm

/* The same as Hermit and Unikraft do it, which do not ask whether the time is valid. */
.macro clock_update
1:	mov $CMOS_REG_A, %al
	out %al, $CMOS_INDEX
	in $CMOS_DATA, %al
	test $CMOS_UPDATE, %al
	jnz 1b
	sleep_s5
.endm

/* Resets by PCI's reset control register. */
.macro pci_reset
	mov $PCI_RESET_CONTROL, %edx
	mov $PCI_RESET_HARD, %al
	out %al, %dx
0:	hlt
	jmp 0b
.endm

/* Ends as Linux does after a panic with reboot=panic_warm ... */
.macro panic_reset
	movw $RESET_WARM, RESET_FLAG
	reset
.endm

/* ... with the BIOS as its means of rebooting: the jump to f000:fff0, in whatever mode it is ... */
.macro bios_reset
	movw $0, RESET_FLAG
	bios
.endm
.macro bios_panic_reset
	movw $RESET_WARM, RESET_FLAG
	bios
.endm
.macro bios
	cmpb $0, BIOS_RESET
0:	je 0b /* nothing is there: zeros are instructions too, which end anywhere */
	mov $BIOS_RESET, %eax
	.byte 0xff, 0xe0 /* jmp *%eax or *%rax */
.endm

/* ... and with a triple fault. */
.macro triple_reset
	movw $0, RESET_FLAG
	triple
.endm

/* Says "r", waits for the power button and powers off. */
.macro button
	mov $COM1, %edx
	put_char $'r'
	put_char $'\n'
	mov $POWER_EVENT, %edx
1:	in %dx, %al
	test $EVENT_BUTTON, %al
	jz 1b
	sleep_s5
.endm

/* The echo guest with its port's FIFOs on, which takes many bytes at once. */
.macro fifo_echo
	mov $COM1 + UART_FCR, %edx
	mov $UART_FCR_ENABLE_FIFO, %al
	out %al, %dx
	echo
.endm

/* Writes the entries of the setup data that boot_params (%rsi) lead to, heads and all. */
.macro setup_data
	mov SETUP_DATA(%rsi), %ebx
	mov $COM1, %edx
1:	cmp $0, %ebx
	je 3f
	mov %ebx, %esi
	mov SETUP_DATA_LEN(%ebx), %ecx
	add $SETUP_DATA_HEAD, %ecx
2:	mov (%esi), %al
	out %al, %dx
	add $1, %esi
	sub $1, %ecx
	jne 2b
	mov (%ebx), %ebx /* next */
	jmp 1b
3:	reset
.endm

/*
 * On the MMIO transport: has the first card's driver set up and reset for ever. No feature but VIRTIO_F_VERSION_1 and no queue; each step of the
 * status is one of virtio 1.2, 3.1.1.
 */
.macro card_resets
	mov $COM1, %edx
	put_char $'r'
	put_char $'\n'
	mov $CARDS, %ebx
1:	movl $0, VIRTIO_MMIO_STATUS(%ebx)
	movl $1, VIRTIO_MMIO_STATUS(%ebx)
	movl $3, VIRTIO_MMIO_STATUS(%ebx)
	movl $1, VIRTIO_MMIO_DRIVER_FEATURES_SEL(%ebx)
	movl $1, VIRTIO_MMIO_DRIVER_FEATURES(%ebx)
	movl $0xb, VIRTIO_MMIO_STATUS(%ebx)
	movl $0xf, VIRTIO_MMIO_STATUS(%ebx)
	jmp 1b
.endm

/* Counts at 2 MiB, until somebody writes to what lies 8 bytes behind, and powers off. */
.macro counter
	mov $0x200000, %ebx
1:	addl $1, (%ebx)
	nop
	cmpl $0, 8(%ebx)
	je 1b
	sleep_s5
.endm

#include "tiny.S"
