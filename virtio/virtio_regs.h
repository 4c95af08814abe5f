/*
 * What every transport of virtio keeps for its driver and does alike: the device status (virtio 1.2, 2.1), the
 * negotiation of features (2.2), the configuration of the queues, going live and the reset.
 *
 * A transport embeds struct virtio_regs, translates its own registers into these calls, and is called back when
 * kicks have to be bound or the driver has to look at the configuration.
 *
 * Owner: the transport. Device and memory are borrowed.
 *
 * Threads: registers are accessed on vCPU threads; the device calls back from its loops, from a vCPU that serves a kick itself, and from
 * threads of the program that change its configuration. All calls are made under the lock, but for init, fini and the three that say
 * otherwise. The lock is taken after the device's serve_lock, before its other locks and those of the interrupt, and never held while the
 * device works: start and stop are posted to its loop.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "virtio/virtio.h"

/* The transport's part; called under the lock. */
struct virtio_regs_ops {
	/* regs->live has changed: kicks are bound while it is true */
	void (*live_changed)(void *arg);
	/* the device is as after power on: so be the transport's own registers */
	void (*cleared)(void *arg);
	/* a configuration change interrupt */
	void (*notify_config)(void *arg);
};

/* What the driver wrote; a snapshot saves it. */
struct virtio_regs_state {
	uint32_t device_feature_select;
	uint32_t driver_feature_select;
	uint64_t driver_features;
	uint32_t queue_select;
	uint8_t status;
	struct virtq_config queue[VIRTIO_MAX_QUEUES];
};

struct virtio_regs {
	/* immutable after init */
	struct virtio_device *dev;
	const struct guest_mem *mem;
	const struct virtio_regs_ops *ops;
	void *arg;
	pthread_mutex_t lock;
	/* under lock */
	bool live;		   /* DRIVER_OK was seen; the device has the queues */
	bool resetting;		   /* from the driver's reset until the device has let go */
	bool taking;		   /* meanwhile: it is no reset, the driver takes a queue back */
	pthread_cond_t reset_done; /* with lock */
	/* any thread */
	_Atomic bool listens;  /* copy of live */
	_Atomic uint32_t told; /* generation of the configuration that a driver was told of last */
	/* under lock, too */
	struct virtio_regs_state state;
};

/* ops and arg outlive this. Calls ops->cleared(), without the lock. */
void virtio_regs_init(struct virtio_regs *regs, struct virtio_device *dev,
		      const struct guest_mem *mem, const struct virtio_regs_ops *ops, void *arg);

/* The half that the driver has selected; there is nothing above bit 63. */
uint32_t virtio_regs_device_features(const struct virtio_regs *regs);
uint32_t virtio_regs_driver_features(const struct virtio_regs *regs);
void virtio_regs_write_features(struct virtio_regs *regs, uint32_t value);

/* 0 begins the reset: it is complete once status reads 0. */
void virtio_regs_write_status(struct virtio_regs *regs, uint8_t value);
void virtio_regs_reset(struct virtio_regs *regs);
/*
 * The driver takes a queue back (4.2.2.2). One of a live device is enabled until the device has let go, as in a reset. It lets go of
 * all its queues, and none is enabled until the driver has reset it: a driver takes them one after the other, and then resets;
 * none is known that goes on with the rest, and devices have queues that work for each other.
 */
void virtio_regs_take_queue(struct virtio_regs *regs, struct virtq_config *queue);
/* Returns once a reset that has begun is complete, or a queue taken, which takes no longer than the requests in flight. The lock is let go meanwhile. */
void virtio_regs_await_reset(struct virtio_regs *regs);

/* The selected queue; NULL when there is none. */
struct virtq_config *virtio_regs_queue(struct virtio_regs *regs);
/* The same, also NULL while its registers hold still: once it is enabled, and after DRIVER_OK in any case. */
struct virtq_config *virtio_regs_queue_writable(struct virtio_regs *regs);
/* 0 to the largest offered; other values change nothing. */
void virtio_regs_set_queue_size(struct virtio_regs *regs, struct virtq_config *queue,
				uint32_t size);

/*
 * What of a device's way back is the same everywhere. Any thread, without the lock.
 *
 * The configuration has changed. Whether the driver is to be told now; 3.1.1: there are no notifications before DRIVER_OK. If not, it is told
 * then, for it may have read what was there before, or when it last ran, as Linux does when it wakes up.
 */
bool virtio_regs_on_config_changed(struct virtio_regs *regs);
void virtio_regs_on_needs_reset(struct virtio_regs *regs);
void virtio_regs_on_stopped(struct virtio_regs *regs);

void virtio_regs_fini(struct virtio_regs *regs);

/* A register of 64 bits that is accessed in halves, the upper one at offset 4. It is little endian, as is every host that vmm runs on. */
static inline void virtio_regs_set_half(uint64_t *value, uint64_t offset, uint32_t half)
{
	memcpy((char *)value + (offset & 4), &half, sizeof(half));
}

static inline uint32_t virtio_regs_half(uint64_t value, uint64_t offset)
{
	return (uint32_t)(value >> 8 * (offset & 4));
}
