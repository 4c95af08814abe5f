/*
 * virtio over PCI, modern only (virtio 1.2, 4.1), with MSI-X and one notification address per queue.
 *
 * A driver kicks a queue by a port, or by memory where it has no use for ports (4.1.4.1: it takes the first of our two
 * capabilities that it can). On AMD's CPUs an exit for a port tells all about the access, while KVM must fetch and decode
 * the instruction that wrote to memory; on Intel's both are equal.
 *
 * Owner: the machine, which wires it to the PCI bus, to interrupts and to KVM's ioeventfds through struct
 * virtio_pci_host; nothing here knows KVM. The device is borrowed.
 *
 * The reset. Its end is there to be read (4.1.4.3.2 has drivers wait for status 0), and what a driver that does not look writes
 * meanwhile waits for it: those of NetBSD and OVMF go on at once.
 *
 * Threads: registers are accessed on vCPU threads under the lock. The device calls back as virtio_regs.h says.
 * Lock order: pci_bus.lock, then virtio_pci.regs.lock, then msix.lock and virtio_device.config_lock. Start and stop are
 * posted to the device's loop; a kick may be served at once, with no lock of ours. So the bus does what the window in
 * configuration space (4.1.4.9) asks for after it has let go of its lock.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio/virtio_regs.h"
#include "vmm/core/msix.h"
#include "vmm/core/pci.h"

/* Where a queue's notification address lies in the BAR of memory, one step a queue; in that of ports, from 0 on. */
#define VIRTIO_PCI_NOTIFY      0x3000
#define VIRTIO_PCI_NOTIFY_STEP 4

/* An address where kicks arrive. */
struct virtio_pci_kick {
	bool port;
	uint64_t address; /* a port, or a guest address; 0: nowhere */
};

struct virtio_pci_host {
	/*
	 * vCPU thread. Writes of the guest to this address, of any width and value, signal the eventfd from now on without
	 * reaching the BAR's handler. May fail: then the handler signals it.
	 */
	int (*bind_kick)(void *arg, struct virtio_pci_kick at, int fd);
	void (*unbind_kick)(void *arg, struct virtio_pci_kick at, int fd);
	void *arg;
	struct msix_ops msix;
};

/* What the driver wrote besides struct virtio_regs_state; a snapshot saves it. */
struct virtio_pci_vectors {
	uint16_t config;
	uint16_t queue[VIRTIO_MAX_QUEUES];
};

struct virtio_pci {
	/* immutable after init */
	struct virtio_pci_host host;
	unsigned int msix_cap;	 /* offset in the configuration space */
	unsigned int window_cap; /* the same, of VIRTIO_PCI_CAP_PCI_CFG */
	/* under the PCI bus's lock */
	struct pci_function fn;
	/* own locking */
	struct msix msix;
	struct virtio_regs regs;
	/* under regs.lock */
	struct virtio_pci_vectors vectors;
	uint64_t bar;	   /* guest address of the BAR of memory; 0: unmapped */
	uint64_t port_bar; /* the first port of that of ports; 0: unmapped */
	struct virtio_pci_kick
		bound; /* where the first queue's kicks are bound; address 0: none are */
	/* any thread; copies of vectors, for the interrupt path */
	_Atomic uint16_t config_vector;
	_Atomic uint16_t queue_vector[VIRTIO_MAX_QUEUES];
	_Atomic uint8_t isr;
};

/* Attaches to an initialized device. mem, host's arg and dev outlive this. */
void virtio_pci_init(struct virtio_pci *vpci, struct virtio_device *dev,
		     const struct guest_mem *mem, const struct virtio_pci_host *host);

/*
 * The register file of 4.1.4.3, in virtio_pci_common.c. All are called under the lock; writes count
 * only in the field's own width.
 */
void virtio_pci_clear(struct virtio_pci *vpci);
uint64_t virtio_pci_common_read(struct virtio_pci *vpci, uint64_t offset);
void virtio_pci_common_write(struct virtio_pci *vpci, uint64_t offset, unsigned int width,
			     uint32_t value);
/* A BAR moved, or the device went live or was reset: binds the kicks where they belong now. */
void virtio_pci_rebind(struct virtio_pci *vpci);

/* The vCPUs and the device's loop have stopped. */
void virtio_pci_fini(struct virtio_pci *vpci);
