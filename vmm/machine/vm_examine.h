/*
 * What the host's KVM is fit for, without a VM that runs.
 *
 * Any thread. Nothing is reported.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vm_examined {
	bool virtualization; /* the CPU shows VT-x or AMD-V */
	int kvm_error; /* negative errno of opening /dev/kvm, and nothing else is known; 0: it can be opened */
	int kvm_version;
	const char *lacks; /* what vmm cannot do without, and is not there; NULL: all is */
	int vm_error;	/* negative errno of making a VM, or 0; not tried if something is lacking */
	uint64_t vm_us; /* how long that took, its interrupt controller included */
};

void vm_examine(struct vm_examined *e);
