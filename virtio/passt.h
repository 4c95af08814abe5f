/*
 * passt(1): the guest's network through ordinary sockets of the user who runs us, without any privilege.
 *
 * passt runs as a child, in a process group of its own, with one end of a socket pair. It ends when the other end is
 * closed, so it ends with us, however we end. It says that it is ready by writing its process id, and
 * what hinders it on its standard error. One that ends before us is reaped at once; for the backend that is a link that is
 * down for good.
 *
 * Owner: whoever called passt_open(), until passt_close(). Threads: both by the owner; the backend as its header says.
 */
#pragma once

#include <sys/types.h>

#include "virtio/net_stream.h"

/* Messages and the default Ethernet address name a machine's networks "user", "user 2", ... */
#define PASST_NAME_MAX 16u

/* The largest, for passt takes no longer frames. It tells guests that ask by DHCP of theirs too. */
#define PASST_MTU 65520u

#define PASST_MAX_FORWARDS 64u

struct passt_forward {
	bool udp;
	uint16_t host;
	uint16_t guest;
};

struct passt_config {
	const struct passt_forward *forwards;
	unsigned int n_forwards;
	unsigned int mtu;    /* 0: PASST_MTU */
	unsigned int number; /* of this network in its machine, from 0 on */
};

struct passt {
	struct net_stream stream;
	/* immutable after open */
	char name[PASST_NAME_MAX];
	struct net_backend_ops ops; /* the stream's, with a link */
	/* by the card's thread between open and close */
	pid_t pid; /* 0: none */
	int complaints; /* kept open for it to write to, never more than a pipe holds, and not read; -1: none */
};

/* Starts passt and waits until it is ready. Reports errors itself. Returns 0 or negative errno. */
int passt_open(struct passt *passt, const struct passt_config *config);

/* Ends passt and waits for that. */
void passt_close(struct passt *passt);
