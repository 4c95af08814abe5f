/*
 * The log of a Linux guest's kernel (dmesg), read out of its memory: what is left to say after a panic whose console nobody sees.
 *
 * Linux 5.10 and newer describe their ring of messages in VMCOREINFO. All of it is the guest's: addresses are walked by its
 * tables as any others, indices and sizes are cut to the rings they belong to, and at most so many messages are looked at
 * as are asked for.
 *
 * Any thread, while the vCPUs are paused or have ended.
 */
#pragma once

#include <linux/kvm.h>

#include "vmm/core/guest_mem.h"
#include "vmm/machine/guest_vmcoreinfo.h"

/*
 * The last messages, at most n, each with its time and a newline, as they are, zeros aside. Returns a text to be freed, or NULL
 * when there are none that can be read, or no memory.
 */
char *guest_log_read(const struct guest_mem *mem, const struct kvm_sregs *sregs,
		     const struct guest_vmcoreinfo *info, unsigned int n);
