/*
 * A network card's backend: a TAP interface of the host (Linux, Documentation/networking/tuntap.rst).
 *
 * The interface exists before and after us: we attach to it, and never make, configure or remove one. Each
 * read() and write() on fd moves one Ethernet frame behind a struct virtio_net_hdr_v1, little endian; the
 * kernel checks the headers written to it. fd does not block.
 *
 * Owner: whoever calls tap_open(), until tap_close(). Threads: both by the owner; all else, and fd itself, by the
 * one thread that serves the device.
 */
#pragma once

#include <net/if.h>

#include "virtio/tap_link.h"

/* The longest packet: header, Ethernet with two VLAN tags, and 64 KiB (5.1.6.3.1 has 65562, without tags). */
#define TAP_PACKET_MAX (12u + 14u + 8u + 65535u)

#define TAP_MTU_MIN 68u /* virtio 1.2, 5.1.4.1 */
#define TAP_MTU_MAX 65535u

struct tap_config {
	const char *name; /* attach to this interface; NULL: fd is one already attached */
	int fd; /* borrowed: the struct tap works on a duplicate, which shares its settings */
	unsigned int mtu; /* what the guest is told; 0: the interface's own */
};

struct tap {
	/* immutable after open */
	int fd;
	char name[IFNAMSIZ];
	unsigned int mtu; /* 0: unknown */
	unsigned int
		offloads; /* TUN_F_*: what the kernel can leave undone for a receiver who asks */
	/* owned by the serving thread */
	unsigned int offloads_on;
	struct tap_link link;
};

/*
 * Attaches. On failure one line was reported by log_error(), which says what to do where that is not obvious,
 * and nothing is left open. An inherited descriptor may have
 * been made non-blocking by then. Returns 0 or negative errno; -ENODEV: no such interface; -EBUSY: somebody
 * uses it.
 */
int tap_open(struct tap *tap, const struct tap_config *config);

/*
 * Says which of tap->offloads the receiver can take from now on; others are ignored, as are those that need
 * one that is missing. None after open. Returns 0 or negative errno, then unchanged.
 */
int tap_set_offloads(struct tap *tap, unsigned int offloads);

/* Throws away the frames that wait to be read, with a bound. */
void tap_discard(struct tap *tap);

/* Detaches; the interface stays. */
void tap_close(struct tap *tap);
