/*
 * Receive buffers that were taken from the ring and wait for bytes: a FIFO of chains and of their pieces.
 *
 * A packet is read from the backend before its length is known, so it needs buffers for the longest one; most
 * packets use the first few and the others stay here for the next. The pieces of all chains lie one behind the
 * other in memory, with room for one more behind them, so that readv() takes them as they are.
 *
 * Owner: struct net_rx. Loop thread only. The buffers are the guest's, valid until its device is stopped.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "virtio/virtq.h"

#define NET_WINDOW_CHAINS 256u /* a power of two, and the largest receive ring */
#define NET_WINDOW_IOV	  (UIO_MAXIOV - 1)

struct net_window_chain {
	uint16_t head;
	uint16_t n_iov;
	uint32_t bytes;
};

/* What a snapshot must save: a restored ring starts that many chains earlier, because none of them was used. */
struct net_window_state {
	uint16_t n_chains;
};

struct net_window {
	unsigned int max_chains; /* immutable after reset */
	struct net_window_state state;
	bool full; /* no chain fits in any more */
	size_t bytes;
	unsigned int first_chain; /* free running */
	unsigned int first_iov;
	unsigned int n_iov;
	struct net_window_chain chain[NET_WINDOW_CHAINS];
	struct iovec iov[NET_WINDOW_IOV + 1];
};

/* Empty, to hold at most max_chains (1 to NET_WINDOW_CHAINS). Forgets what was in it. */
void net_window_reset(struct net_window *window, unsigned int max_chains);

/*
 * Takes chains until there are buffers for bytes, or no more chains, or no room for them. Returns 0, -EPROTO when
 * the ring is broken, -EBADMSG for a chain that is no receive buffer (it is readable, or too small for the header).
 */
int net_window_fill(struct net_window *window, struct virtq *vq, size_t bytes);

/* All pieces, of window->n_iov; one more may be stored behind them. */
struct iovec *net_window_iov(struct net_window *window);

/* How many of these pieces belong to the first chain; together they hold the header at least. */
unsigned int net_window_n_first(const struct net_window *window);

/* How many chains the first bytes take. There must be as many bytes. */
unsigned int net_window_span(const struct net_window *window, size_t bytes);

/* Pushes the chains that hold the first bytes, which were written, and forgets them. */
void net_window_use(struct net_window *window, struct virtq *vq, size_t bytes);
