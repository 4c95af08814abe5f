/*
 * virtio over MMIO, version 2 (virtio 1.2, 4.2): one page of registers and one interrupt line for each device.
 *
 * Owner: the machine, which maps the registers and wires line and kicks through struct virtio_mmio_host; nothing
 * here knows KVM. The device is borrowed.
 *
 * The interrupt. The line is high exactly while InterruptStatus is not 0, and its pin is edge-triggered: an end of
 * interrupt then costs no exit. What arrives while the line is high makes no edge of its own, and none is lost: Linux
 * reads the status, acknowledges what it read, and only then looks at the rings, so that it sees everything
 * published before the acknowledgement. An acknowledgement that leaves other bits standing lowers and raises the line:
 * their edge comes again. A masked pin is the IO-APIC's concern, which keeps an edge for as long as the line is up.
 *
 * The reset. Drivers of this transport do not read the status back before they free their rings (4.2.3.1.1 does not ask
 * them to), so the write of 0 returns only when the device has let go: with PCI's writes during a
 * reset the one place where a vCPU waits for a device, and for no longer than the requests in flight take. So does a write
 * of 0 to QueueReady of a queue in use: the device lets go of all its queues, as in a reset, and the other registers stay
 * (virtio_regs_take_queue()).
 *
 * Threads: registers are accessed on vCPU threads under the lock of regs. The device calls back from its loops. Lock order:
 * regs.lock, then irq_lock, then what the line takes, or virtio_device.config_lock.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio/virtio_regs.h"
#include "vmm/core/irq.h"

#define VIRTIO_MMIO_SIZE 0x1000 /* of the register page */

struct virtio_mmio_host {
	gpa_t base; /* where the guest sees the registers */
	/*
	 * vCPU thread. Writes of 32 bits of the value queue to gpa signal the eventfd from now on without reaching the
	 * handler. May fail: then the handler signals it.
	 */
	int (*bind_kick)(void *arg, uint64_t gpa, unsigned int queue, int fd);
	void (*unbind_kick)(void *arg, uint64_t gpa, unsigned int queue, int fd);
	void *arg;
	struct irq_line irq; /* edge-triggered */
};

struct virtio_mmio {
	/* immutable after init */
	struct virtio_mmio_host host;
	/* own locking */
	struct virtio_regs regs;
	/* under irq_lock */
	pthread_mutex_t irq_lock;
	uint32_t interrupt_status;
	/* under regs.lock */
	bool bound[VIRTIO_MAX_QUEUES];
};

/* Attaches to an initialized device. mem, what host points to, and dev outlive this. */
void virtio_mmio_init(struct virtio_mmio *vmmio, struct virtio_device *dev,
		      const struct guest_mem *mem, const struct virtio_mmio_host *host);

/* For a bus region of VIRTIO_MMIO_SIZE bytes at host.base. */
uint64_t virtio_mmio_read(void *vmmio, uint64_t offset, unsigned int width);
void virtio_mmio_write(void *vmmio, uint64_t offset, unsigned int width, uint64_t value);

/* The vCPUs and the device's loop have stopped. */
void virtio_mmio_fini(struct virtio_mmio *vmmio);
