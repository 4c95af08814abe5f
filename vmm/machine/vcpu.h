/*
 * One virtual CPU: its KVM object and the thread that runs it.
 *
 * Owner: the machine. Life: init (all vCPUs), vcpu_set_boot_state() for the first one, start, kick, join, fini.
 * The thread runs the guest until the machine says stop; what it does on each exit is in a table in vcpu.c.
 *
 * A vCPU in the guest is called back by VCPU_KICK_SIGNAL, which its thread keeps blocked except inside KVM_RUN
 * (KVM_SET_SIGNAL_MASK): no signal handler is ever needed or installed, and a kick that comes early stays
 * pending and is not lost.
 */
#pragma once

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <linux/kvm.h>

#include "boot/kernel.h"
#include "vmm/core/bus.h"
#include "vmm/core/log.h"
#include "vmm/core/thread.h"
#include "vmm/machine/vcpu_pause.h"
#include "vmm/machine/vm.h"

/* One of the signals that need no queue entry, which a process may have used up; ignored unless asked for. */
#define VCPU_KICK_SIGNAL SIGURG

/* What the vCPUs of a machine share. */
struct vcpu_host {
	struct vcpu_pause *pause;
	const struct bus *ports;
	const struct bus *mmio;
	/* Any of these may be called on any vCPU thread. */
	void (*eoi)(void *arg, uint8_t vector);	       /* end of a level interrupt */
	void (*triple_fault)(void *arg);	       /* KVM_EXIT_SHUTDOWN */
	void (*failed)(void *arg, unsigned int index); /* cannot go on; said in the log */
	/* KVM_EXIT_DEBUG: it is held. NULL: no debugger */
	void (*debug)(void *arg, unsigned int index);
	bool (*break_at_port)(
		void *arg,
		unsigned int index); /* whether it was one, which is as an exit for debug then */
	void *arg;
};

struct vcpu {
	/* immutable after init */
	struct vm *vm;
	unsigned int index; /* also the APIC id */
	int fd;
	uint32_t tsc_khz;    /* of the guest's TSC; 0: not known */
	struct kvm_run *run; /* owned by the vCPU's thread while it runs */
	struct vcpu_host host;
	/* immutable between start and join */
	pthread_t thread;
	bool running;
	/* owned by the thread, and by who has paused it */
	uint32_t last_exit; /* its reason; 0: none yet */
	/* under pause.lock */
	bool inside; /* may be in the guest; then self is set */
	bool held;   /* stands, whoever pauses or not */
	/* set while all are paused */
	bool port_breaks; /* a read of a port may be a breakpoint: host.break_at_port */
	pthread_t self;
	/* any thread; set once */
	_Atomic bool stop;
};

/* Any thread. */
static inline bool vcpu_must_stop(const struct vcpu *vcpu)
{
	/* acquire: pairs with the release in vcpu_enter_no_more() */
	return atomic_load_explicit(&vcpu->stop, memory_order_acquire);
}

/* Any thread. After its next exit, if not before, it leaves the guest for the last time; nothing is done for that to come soon. */
static inline void vcpu_enter_no_more(struct vcpu *vcpu)
{
	atomic_store_explicit(&vcpu->stop, true, memory_order_release);
}

/*
 * Creates the KVM vCPU with CPUID and MSRs set. cpuid is what KVM supports, as vcpu_cpuid_supported() gives it.
 * Reports errors itself; returns 0 or negative errno.
 */
int vcpu_init(struct vcpu *vcpu, struct vm *vm, unsigned int index, unsigned int n_vcpus,
	      const struct kvm_cpuid2 *cpuid, const struct vcpu_host *host);

/* The first vCPU starts where the boot code says; the others wait for the guest to start them. */
int vcpu_set_boot_state(struct vcpu *vcpu, const struct boot_entry *entry);

/* rights: see vmm/core/thread.h. Reports errors itself; returns 0 or negative errno. */
int vcpu_start(struct vcpu *vcpu, const struct thread_rights *rights);

/* Any thread. The vCPU leaves the guest and its thread ends; when it is paused, after vcpu_pause_let_out(). */
void vcpu_request_stop(struct vcpu *vcpu);

/* Not on the vCPU's thread, after vcpu_request_stop(). Idempotent. */
void vcpu_join(struct vcpu *vcpu);
void vcpu_fini(struct vcpu *vcpu);

/* ---- vcpu_x86.c, cpuid_x86.c: what is x86's own ---- */

/* What KVM offers on this CPU; free() it. Returns 0, or NULL there and -ENOMEM or -ENOTSUP after an error, which is reported. */
int vcpu_cpuid_supported(const struct vm *vm, struct kvm_cpuid2 **supported);

/* Whether the CPU shows VT-x or AMD-V. */
bool vcpu_host_has_virtualization(void);

/* The CPU's physical address width in bits. */
unsigned int vcpu_host_address_bits(void);

int vcpu_x86_set_cpuid(struct vcpu *vcpu, unsigned int n_vcpus, const struct kvm_cpuid2 *supported);
int vcpu_x86_set_msrs(struct vcpu *vcpu);

/* What a vCPU was doing. */
struct vcpu_registers {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	uint32_t mp_state; /* KVM_MP_STATE_RUNNABLE, ..._HALTED, ... */
};

/* Any thread that may make these system calls, while the vCPU is paused or has ended. Returns 0 or negative errno. */
int vcpu_read_registers(const struct vcpu *vcpu, struct vcpu_registers *registers);
