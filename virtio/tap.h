/*
 * A network card's backend: a TAP interface of the host (Linux, Documentation/networking/tuntap.rst).
 *
 * The interface exists before and after us: we attach to it, and never make, configure or remove one. Each
 * read() and write() moves one packet; the kernel checks the headers written to it. One made with multi_queue has
 * a descriptor for each queue; those that the guest does not use are detached, so that no frame waits there. The
 * kernel keeps the filter of addresses too, which is taken back at the end as the offloads are.
 *
 * A macvtap interface comes as a descriptor of its own device, /dev/tapN, which is attached by being opened. It has
 * one address, of which alone it receives, and no filter besides.
 *
 * Owner: whoever calls tap_open(), until tap_close(). Threads: both by the owner; the rest as struct net_backend says.
 */
#pragma once

#include <net/if.h>

#include "virtio/net_backend.h"
#include "virtio/tap_link.h"

struct tap_config {
	const char *name; /* attach to this interface; NULL: fd is one already attached */
	int fd; /* borrowed: the struct tap works on a duplicate, which shares its settings */
	unsigned int mtu; /* what the guest is told; 0: the interface's own */
	unsigned int
		queues; /* at most NET_MAX_PAIRS; 0: max_queues, or what the interface has if that is less */
	unsigned int max_queues; /* 0: one */
};

struct tap {
	/* immutable after open */
	char name[IFNAMSIZ];
	uint8_t mac[ETH_ALEN]; /* of a macvtap */
	/* owned by the thread of the card */
	struct tap_link link;
	bool filters; /* the kernel keeps frames from us */
	/* see its header */
	struct net_backend be;
};

/* Attached to nothing. */
void tap_init(struct tap *tap);

/*
 * Attaches. On failure one line was reported by log_error(), which says what to do where that is not obvious,
 * and nothing is left open. An inherited descriptor may have
 * been made non-blocking by then. Returns 0 or negative errno; -ENODEV: no such interface; -EBUSY: somebody
 * uses it.
 */
int tap_open(struct tap *tap, const struct tap_config *config);

/* Detaches; the interface stays. */
void tap_close(struct tap *tap);
