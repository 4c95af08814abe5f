/*
 * The receive side of a virtio network card: one receiveq fed from one queue of a backend (virtio 1.2, 5.1.6.4).
 *
 * A frame goes from the backend into the guest's buffers in one readv(), into as many as it needs when mergeable
 * buffers were negotiated, else into one. What the buffers at hand do not hold lands in the spill behind them, so
 * that no frame is cut without notice. Such a frame is held until the driver adds buffers; it is dropped when
 * more would not help: without merging, or when the window is full. While the driver has no buffers the
 * backend is not read; frames wait there, and a TAP drops those that find its queue full. So it is while a limit
 * of the rate says to wait.
 *
 * Owner: struct virtio_net. The queue's loop thread only, but net_rx_init(), net_rx_start(), which comes before the
 * queue is served, and net_rx_set_active().
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "virtio/net_backend.h"
#include "virtio/net_limit.h"
#include "virtio/net_window.h"
#include "virtio/virtio.h"

struct net_rx {
	/* immutable after init */
	struct virtio_device *dev;
	struct net_backend *backend;
	unsigned int queue;		  /* of the device */
	unsigned int pair;		  /* queue of the backend */
	void (*gone)(void *arg, int err); /* the backend failed for good */
	void *gone_arg;
	/* written by the card's thread; odd: the backend's queue is in use */
	_Atomic unsigned int active;
	/* owned by the loop thread */
	struct evloop_fd watch;
	bool dead;		  /* gone was called; for the rest of our life */
	bool clear_flags;	  /* the driver takes no notes about checksums */
	size_t packet_max;	  /* of what the backend gives while this driver runs */
	unsigned int unpublished; /* packets */
	size_t held;		  /* bytes of the packet that waits for buffers; 0: none */
	size_t held_inside; /* so many of them lie in the window already, the others in spill */
	struct net_gate gate;
	struct net_window window;
	uint8_t spill[NET_PACKET_MAX];
};

/* Serves the device's queue 2 * pair. */
void net_rx_init(struct net_rx *rx, struct virtio_device *dev, struct net_backend *backend,
		 unsigned int pair, struct net_limit *limit, void (*gone)(void *arg, int err),
		 void *arg);

/* The card's thread. Whether the backend's queue is read at all; a queue that becomes active is kicked. */
void net_rx_set_active(struct net_rx *rx, bool active);

/* The driver is up; its queue is served from the first net_rx_serve() on. */
void net_rx_start(struct net_rx *rx);

/* Moves packets to the guest, a bounded number, and arranges to be called for the next. */
void net_rx_serve(struct net_rx *rx);

/* Forgets the guest's buffers, and the packet that waits. */
void net_rx_stop(struct net_rx *rx);
