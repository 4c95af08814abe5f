/*
 * What a virtio device is to its transport, and what a transport is to its device (virtio 1.2, 2 and 3).
 *
 * A device embeds struct virtio_device, fills in the fields of the first group and never learns which
 * transport carries it. The transport negotiates on the vCPU threads, then hands complete queues to the
 * device's event loop; from start to stop the queues belong to that loop's thread alone. A reset is
 * asynchronous: the driver reads status 0 only after the device has let go of its queues (2.1.2, 4.1.4.3.1),
 * and no vCPU ever waits for disk or network.
 *
 * Life: the device's own init calls virtio_device_init(); then the transport's init attaches to it; fini in the
 * opposite order, after the loop was stopped.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "virtio/virtq.h"
#include "vmm/core/evloop.h"
#include "vmm/core/log.h"

#define VIRTIO_MAX_QUEUES 8
#define VIRTIO_MAX_CONFIG 64 /* bytes */

struct virtio_device;

/* All are called on the loop thread. */
struct virtio_device_ops {
	/* DRIVER_OK: negotiated and queue[] are valid. Every queue is kicked once right after this. */
	void (*start)(struct virtio_device *dev);
	/* The driver kicked this queue, which is enabled. Serve it, with a bound, or ask to be called again
	 * with virtio_device_rekick(). */
	void (*kick)(struct virtio_device *dev, unsigned int queue);
	/* Reset: complete or drop what is in flight, forget the queues. Their memory must not be touched
	 * after this returns. */
	void (*stop)(struct virtio_device *dev);
};

/* The way back, set by the transport. Any thread. */
struct virtio_transport {
	void (*interrupt)(void *arg, unsigned int queue);
	void (*config_changed)(void *arg);
	void (*needs_reset)(void *arg);
	void (*stopped)(void *arg); /* loop thread; the reset is complete */
	void *arg;
};

/* Names one queue of one device: the argument of its kick callback. */
struct virtio_queue_ref {
	struct virtio_device *dev;
	unsigned int queue;
};

struct virtio_device {
	/* immutable after virtio_device_init() */
	const struct virtio_device_ops *ops;
	const char *name; /* for messages, such as "disk 'x.img'"; owned by the device */
	struct evloop *loop;
	uint16_t id;	     /* VIRTIO_ID_* */
	uint16_t queue_size; /* the largest size offered, a power of two */
	unsigned int n_queues;
	size_t config_size;
	uint64_t features; /* offered; VIRTIO_F_VERSION_1 and the ring features are added by init */
	struct virtio_queue_ref queue_ref[VIRTIO_MAX_QUEUES];
	int kick_fd[VIRTIO_MAX_QUEUES]; /* eventfds; the transport or KVM writes, the loop reads */

	/* set by the transport before any driver can reach the device */
	struct virtio_transport transport;

	/* valid from start to stop; then owned by the loop thread */
	uint64_t negotiated;
	struct virtq queue[VIRTIO_MAX_QUEUES];
	bool enabled[VIRTIO_MAX_QUEUES];
	struct evloop_fd kick[VIRTIO_MAX_QUEUES];
	bool started;
	bool broken; /* until the next start; kick is not called meanwhile */

	/* any thread may post */
	struct evloop_task start_task;
	struct evloop_task stop_task;

	/* under config_lock, a leaf lock */
	pthread_mutex_t config_lock;
	uint8_t config[VIRTIO_MAX_CONFIG]; /* device-specific configuration, little endian */
	uint32_t config_generation;

	struct log_limit log;
};

/* For devices. Needs the immutable fields up to features set; makes the eventfds. Returns 0 or negative errno. */
int virtio_device_init(struct virtio_device *dev);
void virtio_device_fini(struct virtio_device *dev);

/* Any thread. Stores into the configuration space and tells the driver when it changed while running. */
void virtio_device_config_set(struct virtio_device *dev, size_t offset, const void *src,
			      size_t len);

/* Loop thread. Publishes what was pushed to the queue and interrupts when the driver asked for it. */
void virtio_device_publish(struct virtio_device *dev, unsigned int queue);

/* Loop thread. The driver broke the protocol: no queue is served until it resets the device (2.1.2). */
void virtio_device_broken(struct virtio_device *dev, const char *why);

/* Loop thread. Has kick called again later, after other work of the loop. */
void virtio_device_rekick(struct virtio_device *dev, unsigned int queue);

/* For transports. Any thread; bytes past the end read as zero. Returns the generation. */
uint32_t virtio_device_config_get(struct virtio_device *dev, size_t offset, void *dst, size_t len);

/*
 * For transports. Any thread. The transport has filled negotiated, queue[] and enabled[] before
 * virtio_device_start(); after virtio_device_stop() it leaves them alone until stopped() was called.
 */
void virtio_device_start(struct virtio_device *dev);
void virtio_device_stop(struct virtio_device *dev);
