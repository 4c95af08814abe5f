/*
 * The way in, for both CPUs. The first comes from vmm in 64-bit mode with boot_params in %rsi. The second comes from a startup
 * interrupt in real mode, at the copy of second_begin that smp.c has made at SECOND_AT, and goes the short way to 64-bit mode.
 */
#define SECOND_AT 0x10000
#define PAGE_TABLES 0x9000 /* vmm/machine/layout_x86.h: one to one, up to 4 GiB */
#define CR4_PAE 0x20
#define MSR_EFER 0xc0000080
#define EFER_LME 0x100
#define CR0_PG_PE 0x80000001
#define CODE 8
#define DATA 16

	.text
	.code64
	.globl _start
_start:
	cli
	lea first_stack_end(%rip), %rsp
	mov %rsi, %rdi
	call guest_main
0:	cli
	hlt
	jmp 0b

	.globl second_begin, second_end
second_begin:
	.code16
	cli
	mov %cs, %ax
	mov %ax, %ds
	lgdtl gdt_pointer - second_begin
	mov $CR4_PAE, %eax
	mov %eax, %cr4
	mov $PAGE_TABLES, %eax
	mov %eax, %cr3
	mov $MSR_EFER, %ecx
	rdmsr
	or $EFER_LME, %eax
	wrmsr
	mov %cr0, %eax
	or $CR0_PG_PE, %eax
	mov %eax, %cr0
	ljmpl $CODE, $second_long
	.balign 8
gdt:
	.quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff
gdt_pointer:
	.word gdt_pointer - gdt - 1
	.long SECOND_AT + gdt - second_begin
second_end:

	.code64
second_long:
	mov $DATA, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	lea second_stack_end(%rip), %rsp
	call second_main
0:	cli
	hlt
	jmp 0b

	.bss
	.globl first_stack_end
	.balign 16
	.skip 65536
first_stack_end:
	.skip 65536
second_stack_end:
	.section .note.GNU-stack, "", @progbits
