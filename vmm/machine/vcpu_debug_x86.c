#include "vmm/machine/vcpu_debug_x86.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

/* Linux 5.15; older headers do not know it. */
#ifndef KVM_GUESTDBG_BLOCKIRQ
#define KVM_GUESTDBG_BLOCKIRQ 0x00100000
#endif

#define CPUID_HYPERVISOR 0x80000000u
#define HYPERVISOR_LEAF	 0x40000000u
#define HYPERVISOR_TCG	 0x54474354u /* "TCGT": QEMU's emulation takes int3 for the guest's alone */

#define DR7_FIXED 0x400u
#define DR7_EXACT 0x200u

#define XSAVE_PRESENT 512 /* a bit for each part */
#define XSAVE_FPU_SSE 3

#define EXCEPTION_BREAKPOINT 3

/* ---- exits ---- */

bool vcpu_debug_available(const struct vm *vm, bool *quiet)
{
	int flags = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_GUEST_DEBUG2);

	*quiet = flags > 0 && flags & KVM_GUESTDBG_BLOCKIRQ;
	return ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_SET_GUEST_DEBUG) > 0;
}

bool vcpu_debug_has_int3(void)
{
	unsigned int eax, ebx = 0, ecx, edx;

	/* What runs below us, if the CPU says that something does. */
	__cpuid(1, eax, ebx, ecx, edx);
	if (ecx & CPUID_HYPERVISOR)
		__cpuid(HYPERVISOR_LEAF, eax, ebx, ecx, edx);
	return vcpu_host_has_virtualization() && ebx != HYPERVISOR_TCG;
}

int vcpu_debug_set(const struct vcpu *vcpu, const struct vcpu_debug *debug)
{
	static const uint8_t lengths[9] = {[1] = 0, [2] = 1, [4] = 3, [8] = 2};
	struct kvm_guest_debug d = {.arch.debugreg[7] = DR7_FIXED | DR7_EXACT};

	if (debug->step)
		d.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP |
			     (debug->quiet ? KVM_GUESTDBG_BLOCKIRQ : 0);
	if (debug->software)
		d.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
	for (unsigned int i = 0; i < VCPU_DEBUG_SLOTS; i++) {
		const struct vcpu_debug_slot *slot = &debug->slots[i];

		if (!slot->used)
			continue;
		d.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
		d.arch.debugreg[i] = slot->address;
		d.arch.debugreg[7] |=
			2u << 2 * i |
			((unsigned int)slot->kind | (unsigned int)lengths[slot->len] << 2)
				<< (16 + 4 * i);
	}
	return ioctl(vcpu->fd, KVM_SET_GUEST_DEBUG, &d) < 0 ? -errno : 0;
}

int vcpu_debug_give_back(const struct vcpu *vcpu)
{
	const struct kvm_debug_exit_arch *exit = &vcpu->run->debug.arch;
	struct kvm_guest_debug d = {.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_INJECT_BP};
	struct kvm_debugregs regs;

	if (exit->exception != EXCEPTION_BREAKPOINT) {
		d.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_INJECT_DB;
		/* Why it was, which KVM has told us alone. */
		if (ioctl(vcpu->fd, KVM_GET_DEBUGREGS, &regs) < 0)
			return -errno;
		regs.dr6 = exit->dr6;
		if (ioctl(vcpu->fd, KVM_SET_DEBUGREGS, &regs) < 0)
			return -errno;
	}
	return ioctl(vcpu->fd, KVM_SET_GUEST_DEBUG, &d) < 0 ? -errno : 0;
}

/* ---- registers ---- */

/* What KVM knows of them. */
struct vcpu_debug_state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_fpu fpu;
};

/* The same bytes in both; what is shorter at KVM's is continued by zeros. */
struct vcpu_debug_field {
	uint16_t gdb, kvm; /* offsets */
	uint16_t gdb_size, kvm_size;
};

#define SIZE(type, member) sizeof(((struct type *)0)->member)
#define FIELD(g, k)                                                                                \
	{                                                                                          \
		.gdb = offsetof(struct gdb_registers, g),                                          \
		.kvm = offsetof(struct vcpu_debug_state, k), .gdb_size = SIZE(gdb_registers, g),   \
		.kvm_size = SIZE(vcpu_debug_state, k)                                              \
	}
#define HALF(g, k, byte)                                                                           \
	{                                                                                          \
		.gdb = offsetof(struct gdb_registers, g),                                          \
		.kvm = offsetof(struct vcpu_debug_state, k) + (byte), .gdb_size = 4, .kvm_size = 4 \
	}

static const struct vcpu_debug_field vcpu_debug_fields[] = {
	FIELD(gpr[0], regs.rax),
	FIELD(gpr[1], regs.rbx),
	FIELD(gpr[2], regs.rcx),
	FIELD(gpr[3], regs.rdx),
	FIELD(gpr[4], regs.rsi),
	FIELD(gpr[5], regs.rdi),
	FIELD(gpr[6], regs.rbp),
	FIELD(gpr[7], regs.rsp),
	FIELD(gpr[8], regs.r8),
	FIELD(gpr[9], regs.r9),
	FIELD(gpr[10], regs.r10),
	FIELD(gpr[11], regs.r11),
	FIELD(gpr[12], regs.r12),
	FIELD(gpr[13], regs.r13),
	FIELD(gpr[14], regs.r14),
	FIELD(gpr[15], regs.r15),
	FIELD(rip, regs.rip),
	HALF(eflags, regs.rflags, 0),
	FIELD(st[0], fpu.fpr[0]),
	FIELD(st[1], fpu.fpr[1]),
	FIELD(st[2], fpu.fpr[2]),
	FIELD(st[3], fpu.fpr[3]),
	FIELD(st[4], fpu.fpr[4]),
	FIELD(st[5], fpu.fpr[5]),
	FIELD(st[6], fpu.fpr[6]),
	FIELD(st[7], fpu.fpr[7]),
	FIELD(fctrl, fpu.fcw),
	FIELD(fstat, fpu.fsw),
	HALF(fiseg, fpu.last_ip, 4),
	HALF(fioff, fpu.last_ip, 0),
	HALF(foseg, fpu.last_dp, 4),
	HALF(fooff, fpu.last_dp, 0),
	FIELD(fop, fpu.last_opcode),
	FIELD(xmm, fpu.xmm),
	FIELD(mxcsr, fpu.mxcsr),
	FIELD(fs_base, sregs.fs.base),
	FIELD(gs_base, sregs.gs.base),
	FIELD(cr0, sregs.cr0),
	FIELD(cr2, sregs.cr2),
	FIELD(cr3, sregs.cr3),
	FIELD(cr4, sregs.cr4),
	FIELD(cr8, sregs.cr8),
	FIELD(efer, sregs.efer),
	/* These mean nothing without what belongs to them, so that another value is refused. */
	FIELD(segments[0], sregs.cs.selector),
	FIELD(segments[1], sregs.ss.selector),
	FIELD(segments[2], sregs.ds.selector),
	FIELD(segments[3], sregs.es.selector),
	FIELD(segments[4], sregs.fs.selector),
	FIELD(segments[5], sregs.gs.selector),
};

#define N_FIELDS  (sizeof(vcpu_debug_fields) / sizeof(vcpu_debug_fields[0]))
#define N_WRITTEN (N_FIELDS - 6)

static int vcpu_debug_read_state(const struct vcpu *vcpu, struct vcpu_debug_state *state)
{
	if (ioctl(vcpu->fd, KVM_GET_REGS, &state->regs) < 0 ||
	    ioctl(vcpu->fd, KVM_GET_SREGS, &state->sregs) < 0 ||
	    ioctl(vcpu->fd, KVM_GET_FPU, &state->fpu) < 0)
		return -errno;
	return 0;
}

int vcpu_debug_read(const struct vcpu *vcpu, struct gdb_registers *registers)
{
	struct vcpu_debug_state state;
	int err = vcpu_debug_read_state(vcpu, &state);

	if (err < 0)
		return err;
	memset(registers, 0, sizeof(*registers));
	for (unsigned int i = 0; i < N_FIELDS; i++) {
		const struct vcpu_debug_field *f = &vcpu_debug_fields[i];

		memcpy((uint8_t *)registers + f->gdb, (const uint8_t *)&state + f->kvm,
		       f->gdb_size < f->kvm_size ? f->gdb_size : f->kvm_size);
	}
	/* The tag word has two bits for a register, of which KVM's has one: 3 is an empty one. */
	for (unsigned int i = 0; i < 8; i++)
		registers->ftag |= state.fpu.ftwx >> i & 1 ? 0 : 3u << 2 * i;
	return 0;
}

/*
 * As FXSAVE lays them out, at the start of what XSAVE does. KVM_SET_FPU would not do: what the guest has not used yet stays as it was, unless
 * the header says that it is there.
 */
static int vcpu_debug_write_fpu(const struct vcpu *vcpu, const struct kvm_fpu *fpu)
{
	struct kvm_xsave xsave;
	uint8_t *area = (uint8_t *)xsave.region;

	if (ioctl(vcpu->fd, KVM_GET_XSAVE, &xsave) < 0)
		return -errno;
	memcpy(area, &fpu->fcw, 2);
	memcpy(area + 2, &fpu->fsw, 2);
	area[4] = fpu->ftwx;
	memcpy(area + 6, &fpu->last_opcode, 2);
	memcpy(area + 8, &fpu->last_ip, 8);
	memcpy(area + 16, &fpu->last_dp, 8);
	memcpy(area + 24, &fpu->mxcsr, 4);
	memcpy(area + 32, fpu->fpr, sizeof(fpu->fpr));
	memcpy(area + 160, fpu->xmm, sizeof(fpu->xmm));
	area[XSAVE_PRESENT] |= XSAVE_FPU_SSE;
	return ioctl(vcpu->fd, KVM_SET_XSAVE, &xsave) < 0 ? -errno : 0;
}

/* Whether one is changed that cannot be. */
static bool vcpu_debug_changes_segment(const struct vcpu_debug_state *old,
				       const struct gdb_registers *registers)
{
	uint32_t was;

	for (unsigned int i = N_WRITTEN; i < N_FIELDS; i++) {
		const struct vcpu_debug_field *f = &vcpu_debug_fields[i];

		was = 0;
		memcpy(&was, (const uint8_t *)old + f->kvm, f->kvm_size);
		if (memcmp(&was, (const uint8_t *)registers + f->gdb, sizeof(was)) != 0)
			return true;
	}
	return false;
}

/* KVM may refuse what it has given, so what stays as it is is not set. */
int vcpu_debug_write(const struct vcpu *vcpu, const struct gdb_registers *registers)
{
	struct vcpu_debug_state state, old;
	int err = vcpu_debug_read_state(vcpu, &old);

	if (err < 0)
		return err;
	if (vcpu_debug_changes_segment(&old, registers))
		return -EINVAL;
	state = old;
	for (unsigned int i = 0; i < N_WRITTEN; i++) {
		const struct vcpu_debug_field *f = &vcpu_debug_fields[i];

		memcpy((uint8_t *)&state + f->kvm, (const uint8_t *)registers + f->gdb,
		       f->gdb_size < f->kvm_size ? f->gdb_size : f->kvm_size);
	}
	state.fpu.ftwx = 0;
	for (unsigned int i = 0; i < 8; i++)
		state.fpu.ftwx |= (uint8_t)(((registers->ftag >> 2 * i & 3) != 3) << i);
	if (memcmp(&state.sregs, &old.sregs, sizeof(old.sregs)) != 0 &&
	    ioctl(vcpu->fd, KVM_SET_SREGS, &state.sregs) < 0)
		return -errno;
	if (memcmp(&state.fpu, &old.fpu, sizeof(old.fpu)) != 0)
		err = vcpu_debug_write_fpu(vcpu, &state.fpu);
	if (err < 0)
		return err;
	return ioctl(vcpu->fd, KVM_SET_REGS, &state.regs) < 0 ? -errno : 0;
}
