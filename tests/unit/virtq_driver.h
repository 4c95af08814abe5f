/*
 * The driver's side of a split virtqueue (virtio 1.2, 2.7), by hand, for tests: it lays the rings out in a
 * guest_mem, cuts requests into descriptors as the test likes, publishes them and reads what was used. Every
 * field can also be set to nonsense.
 *
 * The driver borrows the guest_mem. Its rings lie at base, its heap for buffers and indirect tables follows
 * them up to end. One thread, but the device may run on another: indices are loaded and stored atomically.
 * What a test itself does wrong (heap or descriptors used up) ends it by assert.
 *
 *	virtq_driver_init(&drv, &mem, base, end, 256);
 *	virtq_init(&vq, &mem, &drv.config, features);
 *	gpa_t buf = virtq_driver_alloc(&drv, 4096);
 *	struct virtq_piece pieces[8];
 *	unsigned int n = virtq_driver_cut(pieces, 8, buf, 512, false, 100);
 *	n += virtq_driver_cut(pieces + n, 8 - n, buf + 512, 1, true, 1);
 *	virtq_driver_send(&drv, pieces, n);
 *	... the device works ...
 *	virtq_driver_used(&drv, &head, &len);
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <linux/virtio_ring.h>

#include "virtio/virtq.h"
#include "vmm/core/guest_mem.h"

/* One descriptor's worth of a request. */
struct virtq_piece {
	gpa_t gpa;
	uint32_t len;
	bool writable;
};

struct virtq_driver {
	/* immutable after init */
	const struct guest_mem *mem;
	struct virtq_config config; /* for virtq_init() */
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	gpa_t end;
	/* owned by the test's thread */
	gpa_t heap;	     /* next free byte; a test may save and restore it */
	uint16_t next_avail; /* avail->idx as last published */
	uint16_t next_used;  /* used entry to read next */
	uint16_t kicked;     /* avail->idx at the last decision to kick */
	uint16_t n_free;
	uint16_t free[VIRTQ_MAX_SIZE];	    /* stack of free descriptors */
	uint16_t chain[VIRTQ_MAX_SIZE];	    /* chain[i]: descriptor behind i */
	uint16_t chain_len[VIRTQ_MAX_SIZE]; /* at its head; 0: not a head */
};

/* Clears the rings and starts anew; size need not be a power of two, for tests of that. */
void virtq_driver_init(struct virtq_driver *drv, const struct guest_mem *mem, gpa_t base, gpa_t end,
		       uint16_t size);

/* 16-byte aligned bytes of the heap; never freed one by one. */
gpa_t virtq_driver_alloc(struct virtq_driver *drv, uint32_t len);
gpa_t virtq_driver_alloc_copy(struct virtq_driver *drv, const void *src, uint32_t len);

/*
 * Cuts [gpa, gpa + len) into pieces of at most cut bytes (0: one piece). Returns their number, at most max
 * (asserted); len 0 gives one empty piece.
 */
unsigned int virtq_driver_cut(struct virtq_piece *pieces, unsigned int max, gpa_t gpa, uint32_t len,
			      bool writable, uint32_t cut);

/* Writes the pieces into free descriptors, in the order given even if that breaks the rules. Returns the head. */
uint16_t virtq_driver_chain(struct virtq_driver *drv, const struct virtq_piece *pieces,
			    unsigned int n);

/* The same as an indirect table on the heap, which takes one descriptor. */
uint16_t virtq_driver_chain_indirect(struct virtq_driver *drv, const struct virtq_piece *pieces,
				     unsigned int n);

/* One descriptor, field by field. */
void virtq_driver_set_desc(struct virtq_driver *drv, uint16_t i, gpa_t gpa, uint32_t len,
			   uint16_t flags, uint16_t next);

/* Puts head into the available ring without showing it, and shows all that were put. */
void virtq_driver_put(struct virtq_driver *drv, uint16_t head);
void virtq_driver_publish(struct virtq_driver *drv);

/* chain, put and publish in one. */
uint16_t virtq_driver_send(struct virtq_driver *drv, const struct virtq_piece *pieces,
			   unsigned int n);

/* avail->idx set to anything. */
void virtq_driver_set_avail_idx(struct virtq_driver *drv, uint16_t idx);

/* Takes the next used entry and frees its descriptors. Returns whether there was one; head and len may be NULL. */
bool virtq_driver_used(struct virtq_driver *drv, uint32_t *head, uint32_t *len);

/* Used entries not yet taken. */
uint16_t virtq_driver_n_used(const struct virtq_driver *drv);

/* VRING_AVAIL_F_NO_INTERRUPT, and the index after which the driver wants an interrupt (2.7.7, 2.7.8). */
void virtq_driver_set_avail_flags(struct virtq_driver *drv, uint16_t flags);
void virtq_driver_set_used_event(struct virtq_driver *drv, uint16_t idx);

/* VRING_USED_F_NO_NOTIFY, and the index after which the device wants a kick (2.7.9, 2.7.10). */
uint16_t virtq_driver_used_flags(const struct virtq_driver *drv);
uint16_t virtq_driver_avail_event(const struct virtq_driver *drv);

/* Whether a driver must kick for what it published since it was asked last (2.7.13.4). */
bool virtq_driver_needs_kick(struct virtq_driver *drv, bool event_idx);
