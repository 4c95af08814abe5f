/*
 * What carries a network card's frames outside: a TAP of the host, or a program behind a stream socket.
 *
 * A backend embeds struct net_backend and is served through its operations. Each queue moves packets of its own: a
 * struct virtio_net_hdr_v1, little endian, and one Ethernet frame behind it, straight from and to the guest's
 * buffers. Whatever the backend cannot do with the header (checksums, segmentation) it does not offer.
 *
 * Owner: whoever opened the backend; it outlives the card. Threads: read, write, ready and pending by the thread that
 * serves that direction of that queue, which for one queue is one thread; all else by the thread of the card.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <linux/if_ether.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>

/* The headers of Debian 12 are older than segmentation of UDP (Linux 6.2, virtio 1.3). */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif
#ifndef VIRTIO_NET_F_GUEST_USO4
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO	56
#endif

#define NET_MAX_PAIRS 16u

/* The longest packet: header, Ethernet with two VLAN tags, and 64 KiB (5.1.6.3.1 has 65562, without tags). */
#define NET_PACKET_MAX (12u + 14u + 8u + 65535u)

#define NET_MTU_MIN 68u /* virtio 1.2, 5.1.4.1 */
#define NET_MTU_MAX 65535u

#define NET_FILTER_MAX 64u

/* Which frames the guest wants to see; a backend may give it more. */
struct net_filter {
	bool all;      /* everything; the other members say nothing then */
	bool allmulti; /* every group address, those of addr aside */
	unsigned int n;
	uint8_t addr[NET_FILTER_MAX][ETH_ALEN];
};

struct net_backend;

struct net_backend_ops {
	/*
	 * Reads one packet. Returns its length, which may be more than fits (the rest is lost), 0 when none waits, or a
	 * negative errno when there will never be one again.
	 */
	ssize_t (*read)(struct net_backend *backend, unsigned int queue, const struct iovec *iov,
			unsigned int n);
	/* Sends one packet of bytes. What it does not take is lost. Returns 0 or negative errno; -EINVAL: it makes no sense. */
	int (*write)(struct net_backend *backend, unsigned int queue, const struct iovec *iov,
		     unsigned int n, size_t bytes);
	/* Whether write() has room; else write_fd[queue] polls writable once it has. NULL: always. */
	bool (*ready)(struct net_backend *backend, unsigned int queue);
	/* Whether read() has something that fd[queue] does not poll readable for. NULL: never. */
	bool (*pending)(struct net_backend *backend, unsigned int queue);
	/* Which of offloads the guest can take from now on, as a subset of them. NULL: there are none. */
	int (*set_offloads)(struct net_backend *backend, unsigned int offloads);
	/* Only the first n queues are read from now on. NULL: there is but one. */
	int (*set_queues)(struct net_backend *backend, unsigned int n);
	/* NULL: everything passes. */
	int (*set_filter)(struct net_backend *backend, const struct net_filter *filter);
	/*
	 * Reads from link_fd. Returns 1 when link_up changed, 0 when not, or a negative errno when no packet will ever pass
	 * again; link_fd is not watched any more then. NULL without link_fd.
	 */
	int (*read_link)(struct net_backend *backend);
	/* Throws away the frames that wait to be read, with a bound. */
	void (*discard)(struct net_backend *backend);
};

struct net_backend {
	/* immutable after open */
	const struct net_backend_ops *ops;
	const char *kind; /* "TAP interface" */
	const char *name; /* owned by the backend */
	const uint8_t
		*mac; /* the one address whose frames come; NULL: there is none such, any does */
	unsigned int n_queues;
	unsigned int mtu;      /* 0: unknown */
	unsigned int offloads; /* TUN_F_*: what may be left undone for a receiver who asks */
	bool sends_offloaded;  /* takes packets with checksums and segments left undone */
	int link_fd;	       /* readable when the link may have changed; -1: it does not */
	/* owned by the thread of the card */
	unsigned int offloads_on;
	bool link_up;
	/* immutable after open, too */
	int fd[NET_MAX_PAIRS]; /* polls readable while frames wait */
	int write_fd[NET_MAX_PAIRS];
};

/* As ops->set_offloads; others than the backend's are ignored, as are those that need one that is missing. */
int net_backend_set_offloads(struct net_backend *backend, unsigned int offloads);
