/*
 * A driver for virtio devices on both transports, one that does what it is told, right or wrong: rings are open to every
 * hand, and nothing is checked on the way.
 */
#pragma once

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>

#include "guest.h"

#define MAX_DEVICES 16
#define MAX_QUEUES  8
#define RING_SIZE   64

#define BIT64(n)     (UINT64_C(1) << (n))
#define ALL_FEATURES (~UINT64_C(0))

struct ring {
	volatile struct vring_desc *desc;
	volatile struct vring_avail *avail;
	volatile struct vring_used *used;
	uint16_t size;
	uint16_t next_desc;
};

/* What the registers of a queue take. */
struct queue_setup {
	uint16_t size;
	uint64_t desc, avail, used;
};

struct device {
	bool pci;
	uint32_t id;	       /* VIRTIO_ID_* */
	uint8_t devfn;	       /* of PCI */
	uint64_t regs;	       /* BAR 0, or the page of registers */
	uint16_t ports;	       /* BAR 1 */
	unsigned int n_queues; /* that the driver sets up, MAX_QUEUES at most */
	uint64_t features;     /* negotiated */
	bool clean;	       /* nothing wrong was offered since the start: it must not break */
	struct ring ring[MAX_QUEUES];
};

extern struct device devices[MAX_DEVICES];
extern unsigned int n_devices;

/* Fills the above. Without a device there is no theme: it fails and halts. */
void find_devices(void);
/* Whether no device before it is of the same kind: its front is the same code then. */
bool first_of_kind(const struct device *d);
/* The first with this VIRTIO_ID_*, or NULL. */
struct device *find_device(uint32_t id);
const char *device_name(const struct device *d);

/* ---- PCI ---- */

uint32_t pci_read(uint8_t devfn, unsigned int offset, unsigned int width);
void pci_write(uint8_t devfn, unsigned int offset, unsigned int width, uint32_t value);

/* Where vmm puts the parts of BAR 0 (virtio/virtio_pci.c). */
#define PCI_REGS_COMMON 0x0000
#define PCI_REGS_ISR	0x1000
#define PCI_REGS_DEVICE 0x2000
#define PCI_REGS_NOTIFY 0x3000
#define PCI_REGS_MSIX	0x4000
#define PCI_REGS_PBA	0x5000
#define PCI_REGS_SIZE	0x8000
#define MMIO_REGS_SIZE	0x1000

/* ---- registers ---- */

uint8_t get_status(const struct device *d);
void set_status(const struct device *d, uint8_t status);
uint64_t get_features(const struct device *d);
void set_features(const struct device *d, uint64_t features);
/* Selects the queue and returns the largest size it offers. */
uint16_t select_queue(const struct device *d, unsigned int queue);
/* The size as the selected queue says it now; on MMIO, where it cannot be read, what the device would allow. */
uint16_t queue_size(const struct device *d);
/* Of the selected queue. */
void set_queue(const struct device *d, const struct queue_setup *setup);
void enable_queue(const struct device *d);
/* The offset of the device's own configuration from regs. */
uint64_t config_offset(const struct device *d);
void kick(const struct device *d, unsigned int queue);
bool needs_reset(const struct device *d);

/* ---- life ---- */

/* Returns when status is 0; fails and halts if that does not come. */
void device_reset(const struct device *d);
/* Reset, and up to FEATURES_OK with those of the features that the device has. */
void device_negotiate(struct device *d, uint64_t features);
/* All of it, with rings of RING_SIZE in fresh memory. */
void device_start(struct device *d, uint64_t features);
/* Resets it and looks whether it does what it is for; fails if not. */
void device_check(struct device *d);

/* ---- rings ---- */

struct piece {
	uint64_t address;
	uint32_t len;
	bool write; /* for the device */
};

/* In fresh memory. */
void ring_make(struct ring *ring, uint16_t size);
struct queue_setup ring_setup(const struct ring *ring);
void ring_desc(struct ring *ring, uint16_t i, uint64_t address, uint32_t len, uint16_t flags,
	       uint16_t next);
/* Writes a chain into the next free descriptors and returns its head. */
uint16_t ring_chain(struct ring *ring, const struct piece *pieces, unsigned int n);
void ring_offer(struct ring *ring, uint16_t head);
/* Everything that was offered has been used. */
bool ring_idle(const struct ring *ring);

enum outcome {
	DONE,	/* all was used */
	BROKEN, /* the device needs a reset */
	SILENT, /* neither */
};

/* Until one of the above, at most for ticks of now(). */
enum outcome ring_wait(const struct device *d, unsigned int queue, uint64_t ticks);
/* Offers a chain, kicks and waits for long. */
enum outcome exchange(struct device *d, unsigned int queue, const struct piece *pieces,
		      unsigned int n);

/* Long, for what ends sooner where nothing is wrong; the machine under all this may stand still for a while. */
#define PATIENCE (30 * SECOND)
