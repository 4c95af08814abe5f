/*
 * What a debugger does with an x86 vCPU: its registers in gdb's order, and which exceptions of the guest come to us
 * (KVM_SET_GUEST_DEBUG; Intel SDM volume 3, 18.2, for the debug registers).
 *
 * Any thread that may make these system calls, while the vCPU is paused. Functions return 0 or negative errno.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/gdb/gdb_registers.h"
#include "vmm/machine/vcpu.h"

#define VCPU_DEBUG_SLOTS 4 /* as many as the CPU has debug registers for addresses */

enum vcpu_debug_kind {
	VCPU_DEBUG_EXECUTE = 0, /* as in DR7 */
	VCPU_DEBUG_WRITE = 1,
	VCPU_DEBUG_ACCESS = 3,
};

struct vcpu_debug_slot {
	bool used;
	enum vcpu_debug_kind kind;
	uint64_t address; /* a multiple of len */
	unsigned int len; /* 1, 2, 4, 8; of VCPU_DEBUG_EXECUTE 1 */
};

/* What a vCPU leaves the guest for, by KVM_EXIT_DEBUG. */
struct vcpu_debug {
	bool step;     /* one instruction */
	bool quiet;    /* and no interrupt before it, if KVM knows how */
	bool software; /* int3 */
	struct vcpu_debug_slot slots
		[VCPU_DEBUG_SLOTS]; /* when one is used, the guest's own debug registers rest */
};

/* Whether this KVM debugs guests, and what quiet shall be. */
bool vcpu_debug_available(const struct vm *vm, bool *quiet);

/* Whether an int3 of the guest can come to us. */
bool vcpu_debug_has_int3(void);

int vcpu_debug_set(const struct vcpu *vcpu, const struct vcpu_debug *debug);

/* The exception of the last exit was the guest's own: it gets it when it runs. What is set changes, so vcpu_debug_set() follows. */
int vcpu_debug_give_back(const struct vcpu *vcpu);

int vcpu_debug_read(const struct vcpu *vcpu, struct gdb_registers *registers);

/* All but the segments' selectors, which mean nothing without what belongs to them. */
int vcpu_debug_write(const struct vcpu *vcpu, const struct gdb_registers *registers);
