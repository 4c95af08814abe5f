/*
 * How fast a network card may send or receive: so many bytes and so many packets a second, with bursts.
 *
 * The pairs of a card share a limit for each direction. A packet is paid for after it has passed, because before it is
 * read nobody knows how long it is: while there is a token of each kind the next one passes, however long, and what
 * follows waits until its debt is paid. So the average is exact, and queues that look at once go too far by a
 * packet each, which is paid for in the same way. That is also why two atomic words suffice here, and no lock is taken for a
 * packet: each is the time at which a bucket is full again, paying adds to it, and what is rounded off is kept by the
 * queue for its next packet.
 *
 * A queue's way through a limit is its gate, which calls back when the next packet may pass.
 *
 * Owner: the device owns the limits, a queue its gate. Threads: net_limit_wait() and net_limit_pay() any; a gate belongs to its
 * queue's loop thread.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/core/evloop.h"

struct net_limit_config {
	uint64_t bps;	    /* bytes of Ethernet frames a second; 0: no limit */
	uint64_t bps_burst; /* at once after a rest; 0: what a tenth of a second allows */
	uint64_t pps; /* packets a second, as the guest and the backend count them; 0: no limit */
	uint64_t pps_burst;
};

enum net_limit_kind {
	NET_LIMIT_BYTES,
	NET_LIMIT_PACKETS,
	NET_LIMIT_KINDS,
};

struct net_limit_bucket {
	/* immutable after init */
	uint64_t rate;	   /* 0: no limit */
	uint64_t spare_ns; /* how far ahead of now full_ns may be for one more token */
	uint64_t least_ns; /* shorter waits are not worth a timer */
	/* any thread */
	_Atomic uint64_t full_ns; /* when the bucket is full again if nothing more passes */
};

/* One direction. */
struct net_limit {
	bool limited; /* immutable after init */
	struct net_limit_bucket bucket[NET_LIMIT_KINDS];
};

/* What a queue has paid too little so far: parts of a ns, in units of 1 / rate ns. */
struct net_limit_rest {
	uint64_t rest[NET_LIMIT_KINDS];
};

void net_limit_init(struct net_limit *limit, const struct net_limit_config *config);

/* ns to wait until a packet may pass, 0 when one may now. now_ns is evloop_now(), or the time of a test. */
uint64_t net_limit_wait(const struct net_limit *limit, uint64_t now_ns);

/* A packet of that many bytes has passed. */
void net_limit_pay(struct net_limit *limit, struct net_limit_rest *rest, uint64_t now_ns,
		   size_t bytes);

struct net_gate {
	/* immutable after init */
	struct net_limit *limit; /* borrowed */
	void (*go)(void *arg);
	void *arg;
	/* owned by the loop thread */
	struct net_limit_rest rest;
	struct evloop_timer timer;
	bool turn; /* it has waited: a packet passes, even when others were faster, so that no queue starves */
};

/* go is called on the queue's loop when a gate that was shut has opened. */
void net_gate_init(struct net_gate *gate, struct net_limit *limit, void (*go)(void *arg),
		   void *arg);

/* Whether a packet may pass now. If not, go is called when it may. */
bool net_gate_open(struct net_gate *gate, struct evloop *loop);

/* It has passed, with that many bytes. */
void net_gate_pay(struct net_gate *gate, size_t bytes);

/* go is not called any more. */
void net_gate_stop(struct net_gate *gate, struct evloop *loop);
