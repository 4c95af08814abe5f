/*
 * The KVM virtual machine: memory slots, split interrupt controller, message interrupts and ioeventfds.
 *
 * Owner: the machine. Threads: init and fini on the machine's thread; vm_send_msi(), vm_bind_kick() and
 * vm_unbind_kick() on any thread (KVM locks); MSI routes are under gsi_lock.
 *
 * The order of the calls matters more than their number: memory slots come before anything that registers on
 * KVM's I/O bus, because every later change of a slot would wait for an SRCU grace period, and the local APICs
 * alone are in the kernel, because in-kernel PIC, PIT and IO-APIC register there too.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <linux/kvm.h>

#include "vmm/core/guest_mem.h"
#include "vmm/core/log.h"
#include "vmm/core/msix.h"

#define VM_IOAPIC_PINS 64
#define VM_MAX_GSIS    2048 /* 32 disks of 32 queues, and what else there is; KVM has 4096 */

struct vm {
	/* immutable after init */
	int kvm_fd;
	int fd;
	const struct guest_mem *mem;
	unsigned int max_vcpus;
	size_t run_size; /* bytes to map of a vCPU's fd */
	/* owned by the owner's thread */
	int held_by; /* see late_close.h; negative: nothing holds it */
	/* under gsi_lock */
	pthread_mutex_t gsi_lock;
	unsigned int n_gsis;		 /* handed out, the pins included */
	struct kvm_irq_routing *routing; /* room for VM_MAX_GSIS entries*/
};

/*
 * Opens /dev/kvm and builds the VM around mem, which outlives it. Reports errors itself. Returns 0 or negative
 * errno.
 */
int vm_init(struct vm *vm, const struct guest_mem *mem);
void vm_fini(struct vm *vm);

/*
 * Once, and the owner's thread: vm_fini() will not wait until the kernel has done away with the VM, where that is possible, nor the process'
 * end with what other is a descriptor of (negative: nothing).
 */
void vm_end_late(struct vm *vm, int other);

/* What vmm cannot do without and /dev/kvm, open as kvm_fd, does not have; NULL: nothing. */
const char *vm_lacks(int kvm_fd);

/* Sends one message interrupt now. Returns > 0 when a vCPU took it, 0 when none did, or negative errno. */
int vm_send_msi(struct vm *vm, uint64_t address, uint32_t data);

/*
 * IO-APIC pin as KVM must know it to report the end of a level-triggered interrupt (KVM_EXIT_IOAPIC_EOI).
 * Returns 0 or negative errno.
 */
int vm_route_pin(struct vm *vm, unsigned int pin, uint64_t address, uint32_t data);

/* Writes of any width to a port, or to a guest address, signal fd without leaving the kernel. Return 0 or negative errno. */
int vm_bind_kick(struct vm *vm, bool port, uint64_t address, int fd);
int vm_unbind_kick(struct vm *vm, bool port, uint64_t address, int fd);

/* The same for writes of 32 bits of this value alone. */
int vm_bind_kick_value(struct vm *vm, uint64_t gpa, uint32_t value, int fd);
int vm_unbind_kick_value(struct vm *vm, uint64_t gpa, uint32_t value, int fd);

/* The MSI-X vectors of one device: a global system interrupt each, and an irqfd once it is used. */
struct vm_msi {
	/* immutable after init */
	struct vm *vm;
	unsigned int n_vectors;
	unsigned int first_gsi;
	/* set once, under the lock of the device's MSI-X table, when the vector is first routed; -1 before that */
	int fd[MSIX_MAX_VECTORS];
	/* own locking */
	struct log_limit log;
};

/* Returns 0 or negative errno. */
int vm_msi_init(struct vm_msi *msi, struct vm *vm, unsigned int n_vectors);
void vm_msi_fini(struct vm_msi *msi);

/* For struct msix_ops; arg is the struct vm_msi. */
int vm_msi_route(void *arg, unsigned int vector, uint64_t address, uint32_t data);
void vm_msi_signal(void *arg, unsigned int vector);
int vm_msi_fd(void *arg, unsigned int vector);
