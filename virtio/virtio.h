/*
 * What a virtio device is to its transport, and what a transport is to its device (virtio 1.2, 2 and 3).
 *
 * A device embeds struct virtio_device, fills in the fields of the first group and never learns which
 * transport carries it. The transport negotiates on the vCPU threads, then hands complete queues to the
 * device. A device has a loop for what concerns all of it, and each queue has a loop that serves it, often the same; from
 * start to stop a queue belongs to its loop's thread alone, but for those that a vCPU which kicks may serve itself
 * (serve_inline). A reset is asynchronous: the driver reads status 0 only after the device has let go of its queues (2.1.2, 4.1.4.3.1),
 * and no vCPU waits for disk or network, but for one that resets a device or takes a queue back on MMIO, or on PCI writes on before
 * the reset is over (see virtio_mmio.h and virtio_pci.h).
 *
 * Life: the device's own init calls virtio_device_init(); then the transport's init attaches to it; fini in the
 * opposite order, after the loop was stopped.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "virtio/virtq.h"
#include "vmm/core/evloop.h"
#include "vmm/core/log.h"

#define VIRTIO_MAX_QUEUES 33
#define VIRTIO_MAX_CONFIG 64 /* bytes */

struct virtio_device;

struct virtio_device_ops {
	/* The device's loop. DRIVER_OK: negotiated and queue[] are valid. It may give a queue another loop. Every queue is
	 * kicked once right after this. */
	void (*start)(struct virtio_device *dev);
	/* The queue's loop, before its first kick. True: others wait for kick_fd and serve the queue, until quiesce gets it
	 * back from them; kick is not called for it. NULL: no queue is given away. */
	bool (*delegate)(struct virtio_device *dev, unsigned int queue);
	/* A vCPU thread, also while no driver has the queue. virtio_device_interrupt_fd(queue) may return something else from now on. NULL: nobody asks. */
	void (*interrupt_moved)(struct virtio_device *dev, unsigned int queue);
	/* The queue's loop; under the queue's lock, if it is served inline. The driver kicked this queue, which is enabled.
	 * Serve it, with a bound, or ask to be called again with virtio_device_rekick(). */
	void (*kick)(struct virtio_device *dev, unsigned int queue);
	/* A vCPU, under the queue's lock: the same for a queue that is served inline, where it is soon over and waits for
	 * nothing. False: the rest is for the loop, whose kick is called. */
	bool (*kick_inline)(struct virtio_device *dev, unsigned int queue);
	/* Any loop of the device, or a vCPU in kick_inline, once until the next start. The driver broke the protocol, and no queue may be served any more
	 * (2.1.2): those that were given away stop here, and none is given away from now on. NULL: none ever is. */
	void (*broken)(struct virtio_device *dev);
	/* The queue's loop. Reset: no kick comes any more. Complete or cancel what is in flight and touch the queue's memory
	 * no more, then call virtio_device_quiesced(), now or later. NULL: nothing is ever in flight between two calls. */
	void (*quiesce)(struct virtio_device *dev, unsigned int queue);
	/* The device's loop. Every queue is quiet: forget them. No guest memory may be touched after this returns. */
	void (*stop)(struct virtio_device *dev);
};

/* The way back, set by the transport. Any thread. */
struct virtio_transport {
	void (*interrupt)(void *arg, unsigned int queue);
	/* An eventfd that does what interrupt() does, or -1. NULL: there never is one. */
	int (*interrupt_fd)(void *arg, unsigned int queue);
	void (*config_changed)(void *arg);
	void (*needs_reset)(void *arg);
	void (*stopped)(void *arg); /* the device's loop thread; the reset is complete */
	void *arg;
};

/* One queue of one device as its loop knows it. */
struct virtio_queue_ref {
	struct virtio_device *dev;
	unsigned int queue;
	struct evloop_task watch;
	struct evloop_task unwatch;
};

struct virtio_device {
	/* immutable after virtio_device_init() */
	const struct virtio_device_ops *ops;
	const char *name;    /* for messages, such as "disk 'x.img'"; owned by the device */
	struct evloop *loop; /* borrowed, as are those of the queues */
	uint16_t id;	     /* VIRTIO_ID_* */
	uint16_t queue_size; /* the largest size offered, a power of two */
	unsigned int n_queues;
	size_t config_size;
	bool no_indirect;	  /* VIRTIO_RING_F_INDIRECT_DESC is not offered */
	uint64_t config_writable; /* bit i: the driver may write byte i of config */
	uint64_t features; /* offered; VIRTIO_F_VERSION_1 and the ring features are added by init */

	/* set by the transport before any driver can reach the device */
	struct virtio_transport transport;

	/* immutable from start to stop */
	uint64_t negotiated;
	/* owned by the device's loop thread */
	bool started;
	/* any thread */
	_Atomic bool broken;	   /* until the next start; kick is not called meanwhile */
	_Atomic unsigned int busy; /* during a reset: queues that are not quiet yet */
	struct evloop_task start_task;
	struct evloop_task stop_task;
	struct evloop_task stopped_task;

	/* under config_lock, a leaf lock */
	pthread_mutex_t config_lock;
	uint8_t config[VIRTIO_MAX_CONFIG]; /* device-specific configuration, little endian */
	uint32_t config_generation;

	struct log_limit log;

	/* for each queue: immutable after virtio_device_init() */
	struct virtio_queue_ref queue_ref[VIRTIO_MAX_QUEUES];
	int kick_fd
		[VIRTIO_MAX_QUEUES]; /* eventfds; the transport or KVM writes, nobody reads: edges count */
	/*
	 * A kick is served by the vCPU that did it, before it returns, unless the loop is at this queue: for a driver that
	 * waits for it, which two changes of threads would make wait longer than the service itself takes.
	 */
	bool serve_inline[VIRTIO_MAX_QUEUES];
	/* immutable from start to stop; written by the device's start, on its loop, else before init */
	struct evloop *queue_loop[VIRTIO_MAX_QUEUES]; /* NULL before init: loop serves it too */
	/* immutable from start to stop */
	bool enabled[VIRTIO_MAX_QUEUES];
	/* valid from start to stop; each is owned by its queue's loop thread; one that is served inline, by who holds its lock */
	struct virtq queue[VIRTIO_MAX_QUEUES];
	struct evloop_fd kick[VIRTIO_MAX_QUEUES];
	/* for a queue that is served inline; a vCPU never waits for it */
	pthread_mutex_t serve_lock[VIRTIO_MAX_QUEUES];
	bool serve_open[VIRTIO_MAX_QUEUES]; /* under the queue's lock; between start and quiesce */
};

/* For devices. Needs the immutable fields up to features set; makes the eventfds. Returns 0 or negative errno. */
int virtio_device_init(struct virtio_device *dev);
void virtio_device_fini(struct virtio_device *dev);

/* Any thread. Stores into the configuration space and tells the driver when it changed while running. */
void virtio_device_config_set(struct virtio_device *dev, size_t offset, const void *src,
			      size_t len);

/* The queue's loop thread, or a vCPU in kick_inline. Publishes what was pushed to the queue and interrupts when the driver asked for it. */
void virtio_device_publish(struct virtio_device *dev, unsigned int queue);

/* Any loop of the device, or a vCPU in kick_inline. The driver broke the protocol: no queue is served until it resets the device (2.1.2). */
void virtio_device_broken(struct virtio_device *dev, const char *why);

/* Any thread. An eventfd that interrupts for the queue, until ops->interrupt_moved is called; -1: there is none now. */
int virtio_device_interrupt_fd(struct virtio_device *dev, unsigned int queue);

/* Any thread. Has kick called again later, after other work of the loop. */
void virtio_device_rekick(struct virtio_device *dev, unsigned int queue);

/* The queue's loop thread, for what it does to a queue outside of the calls of struct virtio_device_ops: keeps the vCPUs out of
 * a queue that is served inline. */
void virtio_device_enter(struct virtio_device *dev, unsigned int queue);
void virtio_device_leave(struct virtio_device *dev, unsigned int queue);

/* The queue's loop thread, once for each call of quiesce: that queue's memory is not touched any more. */
void virtio_device_quiesced(struct virtio_device *dev);

/*
 * Any thread, for transports and devices; bytes past the end read as zero. Returns the generation, which does not
 * count what the driver writes.
 */
uint32_t virtio_device_config_get(struct virtio_device *dev, size_t offset, void *dst, size_t len);

/*
 * For transports. vCPU threads, with no lock held. The driver kicks the queue, which exists; for one
 * that is not served inline, KVM may signal kick_fd instead.
 */
void virtio_device_kick(struct virtio_device *dev, unsigned int queue);

/* For transports. Any thread. The driver writes width bytes, at most 8; those that are not its own stay as they are. */
void virtio_device_config_write(struct virtio_device *dev, size_t offset, unsigned int width,
				uint64_t value);

/*
 * For transports. Any thread. The transport has filled negotiated, queue[] and enabled[] before
 * virtio_device_start(); after virtio_device_stop() it leaves them alone until stopped() was called.
 */
void virtio_device_start(struct virtio_device *dev);
void virtio_device_stop(struct virtio_device *dev);
