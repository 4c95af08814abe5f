/*
 * A console with one port (virtio 1.2, 5.3): hvc0 of Linux. Whole buffers go each way.
 *
 * What is behind it is struct virtio_console_host. When that takes less than it is given, the rest of the buffer and
 * all that follow wait in the queue until virtio_console_tx_ready(): the guest's memory is the only place where output
 * gathers.
 *
 * Linux waits for each buffer of its console busily, with interrupts off, and some of them hold 16 bytes or less. So the
 * vCPU that kicks hands the buffer over itself; a thread of ours would have to be woken for each of them.
 *
 * Owner: the machine. Threads: init and fini by the owner while the loop does not run or the device was never started;
 * virtio_console_resize() any thread; all else on the loop's thread, where the host's functions are called, too, but for
 * write(), which a vCPU may call.
 *
 * Snapshot: the configuration space and the queues, and struct virtio_console_state.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtio/virtio.h"
#include "vmm/core/iov.h"

/* Linux fills the receive queue with a page for each element. */
#define VIRTIO_CONSOLE_QUEUE_SIZE 16

/* What a kick may do. */
#define VIRTIO_CONSOLE_KICK_CHAINS 32
#define VIRTIO_CONSOLE_KICK_BYTES  (UINT64_C(256) << 10)

struct virtio_console_host {
	/* Takes n bytes of output or fewer; returns how many. Any thread, one at a time; does not wait. */
	size_t (*write)(void *arg, const void *buf, size_t n);
	/* virtio_console_receive() may take more input now than when it took less than it was offered. */
	void (*rx_room)(void *arg);
	void *arg;
};

struct virtio_console_state {
	/* under the queue's lock (virtio_device_enter()) */
	bool tx_held;	  /* a buffer was taken from the queue and not given back */
	uint16_t tx_head; /* its chain, */
	uint64_t tx_done; /* of which so many bytes were written */
	/* owned by the loop thread */
	bool rx_hungry; /* input waits for buffers */
};

struct virtio_console {
	struct virtio_device dev;
	/* immutable after init */
	struct virtio_console_host host;
	struct virtio_console_state state;
	/* under the queue's lock (virtio_device_enter()) */
	struct iov_cursor tx; /* the rest of the held buffer; into tx_iov */
	struct iovec tx_iov[VIRTIO_CONSOLE_QUEUE_SIZE];
	/* owned by the loop thread */
	struct iovec rx_iov[VIRTIO_CONSOLE_QUEUE_SIZE];
};

/* Returns 0 or negative errno, which was reported. loop is borrowed. */
int virtio_console_init(struct virtio_console *console, struct evloop *loop,
			const struct virtio_console_host *host);

/* Offers n bytes of input; returns how many the driver's buffers took, none before there is a driver. */
size_t virtio_console_receive(struct virtio_console *console, const void *buf, size_t n);

/* The host takes output again. */
void virtio_console_tx_ready(struct virtio_console *console);

/* Any thread. The size of the terminal in characters; 0 for both, as at first: unknown. */
void virtio_console_resize(struct virtio_console *console, unsigned int rows, unsigned int columns);

/* The transport is detached and the loop stopped. */
void virtio_console_fini(struct virtio_console *console);
