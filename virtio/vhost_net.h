/*
 * The queues of a network card served by the host's kernel: vhost-net (linux/vhost.h), between the guest's rings and a TAP.
 *
 * One descriptor of /dev/vhost-net serves one pair of queues. It reads the kicks from the queue's kick_fd and signals an
 * eventfd for interrupts: the transport's own (virtio_device_interrupt_fd()) or, while there is none, as for a vector
 * that is masked, one of ours, whose signals the queue's loop takes to the transport. The card keeps everything else:
 * the control queue, the link, offloads and filters, which are the TAP's.
 *
 * What the kernel does not do is left to the card: it neither clears the flags for a driver without GUEST_CSUM nor
 * counts buffers for one without MRG_RXBUF (virtio 1.2, 5.1.6.4.1). Such a driver has none of its queues taken.
 *
 * A malformed ring stops the kernel's work on it and is reported through an eventfd: then no queue of the card is served
 * any more, and the device needs a reset. The kernel sees guest memory alone, through the table of its regions.
 *
 * Owner: the machine. The device, memory and backend are borrowed. Threads: open, attach, own, detach and close by the owner,
 * not on a loop's thread; start and stop on the device's loop; take and release on the queue's loop; halt on any loop;
 * interrupt_moved on any thread. These calls may wait until the kernel has done one batch of packets.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio/net_backend.h"
#include "virtio/virtio.h"

/* What the kernel does for us; a test brings its own. Both return 0 (open: a descriptor) or negative errno. */
struct vhost_net_host {
	int (*open)(void *arg);
	int (*control)(void *arg, int fd, unsigned long request, void *data);
	void *arg;
};

struct vhost_net_options {
	const struct vhost_net_host *host; /* NULL: /dev/vhost-net */
	const struct guest_mem *mem;
	const struct net_backend *backend; /* one that is a TAP */
	bool must; /* a failure is an error; else a remark, for the card works without */
};

struct vhost_net;

struct vhost_net_queue {
	/* immutable after attach */
	struct vhost_net *vhost;
	unsigned int queue; /* of the device */
	int call_fd;
	/* owned by the queue's loop thread */
	struct evloop_fd call;
	/* under vhost_net.lock */
	bool running;
	int signals; /* the eventfd that the kernel signals */
};

struct vhost_net {
	/* immutable after attach */
	struct vhost_net_host host;
	const struct net_backend *backend;
	const struct guest_mem *mem;
	bool must;
	struct virtio_device *dev;
	unsigned int n_pairs;
	int error_fd;
	bool owned; /* immutable after own: the kernel has the memory, and may be given queues */
	/* owned by the device's loop thread */
	struct evloop_fd error;
	/* immutable from start to stop */
	unsigned int pairs; /* that the kernel may serve; 0: none */
	/* Taken under msix.lock or virtio_regs.lock; held while the kernel is told something. */
	pthread_mutex_t lock;
	bool halted; /* from halt to the next start */
	/* immutable after attach, too */
	int fd[NET_MAX_PAIRS]; /* of vhost-net */
	struct vhost_net_queue queue[2 * NET_MAX_PAIRS];
};

/*
 * Opens a descriptor for each queue of the backend. Returns 0 or negative errno, with one line
 * logged; nothing is left open then.
 */
int vhost_net_open(struct vhost_net *vhost, const struct vhost_net_options *options);

/* For the card's init and fini. The device is initialized; its queues 2 * i and 2 * i + 1 are pair i. */
void vhost_net_attach(struct vhost_net *vhost, struct virtio_device *dev);
void vhost_net_detach(struct vhost_net *vhost);

/*
 * Makes the descriptors this process's and shows them the memory, before the loops run. Without it, or when it fails, the
 * kernel gets no queue. Since Linux 6.4 the kernel's threads, which begin here, are threads of this process: so what the process
 * can do only while it has one thread comes before. Returns 0, or negative errno after a line if it was a must; else a remark was
 * made.
 */
int vhost_net_own(struct vhost_net *vhost);

/* DRIVER_OK: the driver has so many pairs, if the kernel can serve it. */
void vhost_net_start(struct vhost_net *vhost, unsigned int pairs);

/* Gives the queue to the kernel. Returns whether that has it now; else it is the card's. */
bool vhost_net_take(struct vhost_net *vhost, unsigned int queue);

/* The interrupts of the queue take another way. */
void vhost_net_interrupt_moved(struct vhost_net *vhost, unsigned int queue);

/* The device is broken: the kernel touches none of its queues any more. */
void vhost_net_halt(struct vhost_net *vhost);

/* Takes the queue and the state of its ring back. Of a queue that the kernel does not have: nothing. */
void vhost_net_release(struct vhost_net *vhost, unsigned int queue);

/* Every queue was released. */
void vhost_net_stop(struct vhost_net *vhost);

void vhost_net_close(struct vhost_net *vhost);
