/*
 * virtio over PCI, modern only (virtio 1.2, 4.1), with MSI-X and one notification address per queue.
 *
 * Owner: the machine, which wires it to the PCI bus, to interrupts and to KVM's ioeventfds through struct
 * virtio_pci_host; nothing here knows KVM. The device is borrowed.
 *
 * Threads: registers are accessed on vCPU threads under the lock. The device calls back from its loop thread.
 * Lock order: pci_bus.lock, then virtio_pci.lock, then msix.lock and virtio_device.config_lock. No lock is held
 * while the device works: start and stop are posted to its loop.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio/virtio.h"
#include "vmm/core/msix.h"
#include "vmm/core/pci.h"

/* Where a queue's notification address lies in the BAR, one step a queue. */
#define VIRTIO_PCI_NOTIFY      0x3000
#define VIRTIO_PCI_NOTIFY_STEP 4

struct virtio_pci_host {
	/*
	 * vCPU thread. Writes of the guest to gpa, of any width and value, signal the eventfd from now on without
	 * reaching the BAR's handler. May fail: then the handler signals it.
	 */
	int (*bind_kick)(void *arg, uint64_t gpa, int fd);
	void (*unbind_kick)(void *arg, uint64_t gpa, int fd);
	void *arg;
	struct msix_ops msix;
};

/* What the driver wrote; what a snapshot saves. */
struct virtio_pci_state {
	uint32_t device_feature_select;
	uint32_t driver_feature_select;
	uint64_t driver_features;
	uint16_t config_vector;
	uint16_t queue_select;
	uint8_t status;
	struct virtq_config queue[VIRTIO_MAX_QUEUES];
	uint16_t queue_vector[VIRTIO_MAX_QUEUES];
};

struct virtio_pci {
	/* immutable after init */
	struct virtio_device *dev;
	const struct guest_mem *mem;
	struct virtio_pci_host host;
	unsigned int msix_cap;	 /* offset in the configuration space */
	unsigned int window_cap; /* the same, of VIRTIO_PCI_CAP_PCI_CFG */
	/* under the PCI bus's lock */
	struct pci_function fn;
	/* own locking */
	struct msix msix;
	pthread_mutex_t lock;
	/* under lock */
	struct virtio_pci_state state;
	bool live;	/* DRIVER_OK was seen; the device has the queues */
	bool resetting; /* from the driver's reset until the device has let go */
	uint64_t bar;	/* guest address of the BAR; 0: unmapped */
	uint64_t bound; /* guest address at which kicks are bound; 0: not */
	/* any thread; copies of state, for the interrupt path */
	_Atomic uint16_t config_vector;
	_Atomic uint16_t queue_vector[VIRTIO_MAX_QUEUES];
	_Atomic uint8_t isr;
	_Atomic bool listens; /* copy of live */
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
void virtio_pci_needs_reset(struct virtio_pci *vpci);
void virtio_pci_reset(struct virtio_pci *vpci);
/* The BAR moved, or the device went live or was reset: binds the kicks where they belong now. */
void virtio_pci_rebind(struct virtio_pci *vpci);

/* The vCPUs and the device's loop have stopped. */
void virtio_pci_fini(struct virtio_pci *vpci);
