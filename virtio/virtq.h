/*
 * A split virtqueue as the device sees it (virtio 1.2, 2.7).
 *
 * The rings lie in guest memory and change under us: each field is loaded once, checked, and only the copy is
 * used. A device gets the buffers of a chain as iovecs that point into guest RAM, never descriptors. Any cut
 * of a request into descriptors is accepted; a chain that breaks the rules of 2.7 makes the queue broken, and
 * the device must then ask for a reset (2.1.2).
 *
 * Owner: the device. Threads: after virtq_init() the thread that serves the queue, alone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <linux/virtio_ring.h>

#include "vmm/core/guest_mem.h"

#define VIRTQ_MAX_SIZE 1024

/* What the driver wrote into the transport's registers. */
struct virtq_config {
	uint16_t size; /* descriptors */
	bool enabled;
	gpa_t desc;
	gpa_t avail; /* "driver area" */
	gpa_t used;  /* "device area" */
};

/* What a snapshot must save besides the configuration. */
struct virtq_state {
	uint16_t next_avail; /* head to take next, free running */
	uint16_t next_used;  /* used entry to write next, free running */
	uint16_t published;  /* used->idx as the guest sees it */
};

struct virtq {
	/* immutable after init */
	const struct guest_mem *mem;
	uint16_t size;
	bool event_idx;
	bool indirect;
	const struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	/* owned by the serving thread */
	struct virtq_state state;
	bool broken;
};

/* One request. readable comes before writable, as 2.7.4.2 demands; both point into the caller's array. */
struct virtq_chain {
	uint16_t head;
	struct iovec *readable;
	unsigned int n_readable;
	size_t readable_bytes;
	struct iovec *writable;
	unsigned int n_writable;
	size_t writable_bytes;
};

/*
 * Checks the configuration (power of two, alignment, each ring wholly inside RAM) and starts from ring index 0.
 * features are the negotiated ones. Returns 0 or -EINVAL.
 */
int virtq_init(struct virtq *vq, const struct guest_mem *mem, const struct virtq_config *config,
	       uint64_t features);

/*
 * Takes the next available chain. iov has room for max_iov elements; a chain needs at most vq->size. Empty
 * descriptors are dropped. Returns 1 with *chain filled, 0 when there is none, -ENOBUFS when max_iov is too
 * small (nothing was taken), -EPROTO when the ring is broken (now and for good).
 */
int virtq_pop(struct virtq *vq, struct virtq_chain *chain, struct iovec *iov, unsigned int max_iov);

/* Others have served the ring: they took every chain before index, pushed and published it. Goes on from there. */
void virtq_resume(struct virtq *vq, uint16_t index);

/* Puts the n chains popped last back, of which none was pushed: they are popped, and checked, again. */
void virtq_unpop(struct virtq *vq, unsigned int n);

/* Gives the chain back: written bytes were stored in its writable part. Not visible before virtq_publish(). */
void virtq_push(struct virtq *vq, uint16_t head, uint32_t written);

/* Makes all pushed chains visible at once. Returns whether the driver wants an interrupt for them. */
bool virtq_publish(struct virtq *vq);

/* How many chains the driver says wait to be taken: more than the ring's size on a ring that virtq_pop() would refuse. */
uint16_t virtq_waiting(const struct virtq *vq);

/* Whether a chain waits to be taken. Cheap; a broken ring has none. */
bool virtq_pending(const struct virtq *vq);

/*
 * Asks the driver not to kick, or to kick again. virtq_enable_kick() returns true when chains arrived in the
 * meantime: the caller goes on serving, because no kick will come for those.
 */
void virtq_disable_kick(struct virtq *vq);
bool virtq_enable_kick(struct virtq *vq);
