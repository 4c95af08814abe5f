/* What the vCPUs are doing, for a person to read. */
#include "vmm/machine/machine.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/machine/guest_walk_x86.h"

#define SHOW_CODE  16 /* bytes */
#define SHOW_STACK 4  /* words a line */

static const char *show_state(const struct vcpu_registers *r)
{
	switch (r->mp_state) {
	case KVM_MP_STATE_UNINITIALIZED:
	case KVM_MP_STATE_INIT_RECEIVED:
		return "waits to be started";
	case KVM_MP_STATE_HALTED:
		return "is halted";
	default:
		return "runs";
	}
}

static const char *show_exit(uint32_t reason)
{
	switch (reason) {
	case 0:
		return "none yet";
	case KVM_EXIT_IO:
		return "a port";
	case KVM_EXIT_MMIO:
		return "a device's registers";
	case KVM_EXIT_IOAPIC_EOI:
		return "an interrupt's end";
	case KVM_EXIT_SHUTDOWN:
		return "a triple fault";
	default:
		return "another";
	}
}

/* Words of the guest's memory, as far as they are mapped. */
static void show_memory(const struct machine *machine, const struct kvm_sregs *sregs,
			const char *name, uint64_t address, size_t word, size_t n)
{
	uint8_t bytes[SHOW_STACK * 8];
	char text[sizeof(bytes) * 3 + 1] = "";
	size_t len = 0, got = guest_walk_read(&machine->mem, sregs, address, bytes, word * n);

	for (size_t i = 0; i + word <= got; i += word) {
		uint64_t value = 0;

		memcpy(&value, bytes + i, word);
		len += (size_t)snprintf(text + len, sizeof(text) - len, " %0*llx", (int)word * 2,
					(unsigned long long)value);
	}
	log_error("  %s%s", name, len ? text : " (is not mapped)");
}

/* n of them, which lie one behind the other. */
static void show_numbers(const char (*names)[7], const void *numbers, unsigned int n)
{
	for (unsigned int i = 0; i < n; i += 3) {
		unsigned long long number[3];

		memcpy(number, (const uint64_t *)numbers + i, sizeof(number));
		log_error("  %-6s %016llx  %-6s %016llx  %-6s %016llx", names[i], number[0],
			  names[i + 1], number[1], names[i + 2], number[2]);
	}
}

static void show_registers(const struct vcpu_registers *r)
{
	/* As in struct kvm_regs and struct kvm_sregs. */
	static const char general[][7] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi",
					  "rsp", "rbp", "r8",  "r9",  "r10", "r11",
					  "r12", "r13", "r14", "r15", "rip", "rflags"};
	static const char control[][7] = {"cr0", "cr2", "cr3", "cr4", "cr8", "efer"};
	static const char segments[][3] = {"cs", "ds", "es", "fs", "gs", "ss", "tr"};
	const struct kvm_segment *s = (const void *)&r->sregs;

	_Static_assert(sizeof(r->regs) == 18 * 8 && offsetof(struct kvm_sregs, efer) ==
							    offsetof(struct kvm_sregs, cr0) + 5 * 8,
		       "each has its name");
	show_numbers(general, &r->regs, 18);
	show_numbers(control, &r->sregs.cr0, 6);
	for (unsigned int i = 0; i < sizeof(segments) / sizeof(segments[0]); i++)
		log_error("  %s %04x  base %016llx  limit %08x", segments[i], s[i].selector,
			  s[i].base, s[i].limit);
	log_error("  gdt base %016llx  idt base %016llx", r->sregs.gdt.base, r->sregs.idt.base);
}

static void show_vcpu(const struct machine *machine, const struct vcpu *vcpu)
{
	struct vcpu_registers r;
	int err = vcpu_read_registers(vcpu, &r);
	uint64_t stack;
	size_t word;

	if (err < 0) {
		log_failure(err, "cannot read the registers of vCPU %u", vcpu->index);
		return;
	}
	log_error("vCPU %u %s; its last exit: %s (%u)", vcpu->index, show_state(&r),
		  show_exit(vcpu->last_exit), vcpu->last_exit);
	if (r.mp_state == KVM_MP_STATE_UNINITIALIZED)
		return;
	word = r.sregs.cs.l ? 8 : r.sregs.cs.db ? 4 : 2;
	stack = r.sregs.ss.base + r.regs.rsp;
	show_registers(&r);
	show_memory(machine, &r.sregs, "code ", r.sregs.cs.base + r.regs.rip, 1, SHOW_CODE);
	show_memory(machine, &r.sregs, "stack", stack, word, SHOW_STACK);
	show_memory(machine, &r.sregs, "     ", stack + SHOW_STACK * word, word, SHOW_STACK);
}

void machine_tell_stood(struct machine *machine)
{
	/* refused for one that does not use it */
	for (unsigned int i = 0; i < machine->n_vcpus; i++)
		ioctl(machine->vcpus[i].fd, KVM_KVMCLOCK_CTRL, 0);
}

void machine_show_vcpus(struct machine *machine)
{
	vcpu_pause_begin(&machine->pause);
	vcpu_pause_wait(&machine->pause);
	for (unsigned int i = 0; i < machine->n_vcpus; i++)
		show_vcpu(machine, &machine->vcpus[i]);
	vcpu_pause_end(&machine->pause);
}
