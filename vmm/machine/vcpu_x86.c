/* Registers and MSRs of an x86 vCPU at start. */
#include "vmm/machine/vcpu.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <asm/processor-flags.h>

/* Architectural, Intel SDM volume 4 and AMD APM volume 2; the kernel exports no header with them. */
#define MSR_IA32_MISC_ENABLE	0x1a0
#define MISC_ENABLE_FAST_STRING 1u
#define MSR_MTRR_DEF_TYPE	0x2ff
#define MTRR_ENABLED		0x800u
#define MTRR_TYPE_WRITE_BACK	6u
#define EFER_LME		0x100u
#define EFER_LMA		0x400u
#define SEGMENT_CODE		0xb /* execute, read, accessed */
#define SEGMENT_DATA		0x3 /* read, write, accessed */
#define SEGMENT_TSS		0xb /* 32-bit or 64-bit TSS, busy */

int vcpu_x86_set_msrs(struct vcpu *vcpu)
{
	/*
	 * All memory write-back by default: with MTRRs off, as after reset, the kernel would take all memory for
	 * uncacheable and switch its page attribute table off. Fast string operations as on real hardware; the other
	 * bits tell what KVM has of performance monitoring.
	 */
	struct {
		struct kvm_msrs header;
		struct kvm_msr_entry entries[2];
	} msrs = {
		.header.nmsrs = 2,
		.entries = {{.index = MSR_MTRR_DEF_TYPE}, {.index = MSR_IA32_MISC_ENABLE}},
	};
	int n = ioctl(vcpu->fd, KVM_GET_MSRS, &msrs);

	if (n < 2)
		msrs.entries[1].data = 0;
	msrs.entries[0].data = MTRR_ENABLED | MTRR_TYPE_WRITE_BACK;
	msrs.entries[1].data |= MISC_ENABLE_FAST_STRING;
	n = ioctl(vcpu->fd, KVM_SET_MSRS, &msrs);
	/* KVM stops at the first MSR it refuses; MISC_ENABLE may be one. */
	if (n < 0)
		return -errno;
	return n >= 1 ? 0 : -EIO;
}

static struct kvm_segment vcpu_flat_segment(uint16_t selector, uint8_t type, bool code64)
{
	bool code = type == SEGMENT_CODE;

	return (struct kvm_segment){.base = 0,
				    .limit = UINT32_MAX,
				    .selector = selector,
				    .type = type,
				    .present = 1,
				    .db = !(code && code64),
				    .s = 1,
				    .l = code && code64,
				    .g = 1};
}

static void vcpu_set_segments(struct kvm_sregs *s, bool code64, gpa_t gdt)
{
	struct kvm_segment data = vcpu_flat_segment(BOOT_DS, SEGMENT_DATA, code64);

	s->cs = vcpu_flat_segment(BOOT_CS, SEGMENT_CODE, code64);
	s->ds = data;
	s->es = data;
	s->fs = data;
	s->gs = data;
	s->ss = data;
	/* The CPU does not enter a guest in protected mode without a task register. */
	s->tr = (struct kvm_segment){
		.selector = BOOT_TR, .type = SEGMENT_TSS, .present = 1, .limit = 0x67};
	s->gdt.base = gdt;
	s->gdt.limit = BOOT_GDT_LEN - 1;
	s->idt.base = 0;
	s->idt.limit = 0;
}

int vcpu_set_boot_state(struct vcpu *vcpu, const struct boot_entry *entry)
{
	struct kvm_regs regs = {.rip = entry->entry, .rflags = X86_EFLAGS_FIXED};
	bool long_mode = entry->protocol == BOOT_LINUX64;
	struct kvm_sregs s;

	if (ioctl(vcpu->fd, KVM_GET_SREGS, &s) < 0)
		goto fail;
	vcpu_set_segments(&s, long_mode, entry->gdt);
	/* The rest as after reset, so that caches are on and only what the protocol asks for differs. */
	s.cr0 = X86_CR0_PE | X86_CR0_ET;
	s.cr4 = 0;
	if (long_mode) {
		s.cr0 |= X86_CR0_PG;
		s.cr3 = entry->page_tables;
		s.cr4 |= X86_CR4_PAE;
		s.efer |= EFER_LME | EFER_LMA;
	}
	if (entry->protocol == BOOT_PVH)
		regs.rbx = entry->params;
	else
		regs.rsi = entry->params;
	if (ioctl(vcpu->fd, KVM_SET_SREGS, &s) < 0 || ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0)
		goto fail;
	return 0;
fail:
	return log_failure(-errno, "cannot set the registers of vCPU %u", vcpu->index);
}

int vcpu_read_registers(const struct vcpu *vcpu, struct vcpu_registers *registers)
{
	struct kvm_mp_state state;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &registers->regs) < 0 ||
	    ioctl(vcpu->fd, KVM_GET_SREGS, &registers->sregs) < 0 ||
	    ioctl(vcpu->fd, KVM_GET_MP_STATE, &state) < 0)
		return -errno;
	registers->mp_state = state.mp_state;
	return 0;
}
