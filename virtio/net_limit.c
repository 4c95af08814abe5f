#include "virtio/net_limit.h"

#define NS_PER_S UINT64_C(1000000000)

/* A helping of packets for each timer, instead of a timer for each packet. */
#define NET_LIMIT_LEAST_NS UINT64_C(1000000)

typedef unsigned __int128 net_limit_wide;

static uint64_t net_limit_clamp(net_limit_wide ns)
{
	return ns < UINT64_MAX ? (uint64_t)ns : UINT64_MAX;
}

static uint64_t net_limit_add(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

/* ---- limits ---- */

static void net_limit_init_bucket(struct net_limit_bucket *bucket, uint64_t rate, uint64_t burst)
{
	*bucket = (struct net_limit_bucket){.rate = rate};
	if (rate == 0)
		return;
	if (burst == 0)
		burst = rate / 10 > 0 ? rate / 10 : 1;
	/* All but the one that is asked for may be missing. */
	bucket->spare_ns = net_limit_clamp((net_limit_wide)(burst - 1) * NS_PER_S / rate);
	/* What comes in meanwhile must find room. */
	bucket->least_ns = bucket->spare_ns / 2 < NET_LIMIT_LEAST_NS ? bucket->spare_ns / 2
								     : NET_LIMIT_LEAST_NS;
}

void net_limit_init(struct net_limit *limit, const struct net_limit_config *config)
{
	limit->limited = config->bps > 0 || config->pps > 0;
	net_limit_init_bucket(&limit->bucket[NET_LIMIT_BYTES], config->bps, config->bps_burst);
	net_limit_init_bucket(&limit->bucket[NET_LIMIT_PACKETS], config->pps, config->pps_burst);
}

static uint64_t net_limit_wait_bucket(const struct net_limit_bucket *bucket, uint64_t now_ns)
{
	uint64_t full_ns = atomic_load_explicit(&bucket->full_ns, memory_order_relaxed);
	uint64_t allowed_ns = net_limit_add(now_ns, bucket->spare_ns), wait_ns;

	if (bucket->rate == 0 || full_ns <= allowed_ns)
		return 0;
	wait_ns = full_ns - allowed_ns;
	return wait_ns > bucket->least_ns ? wait_ns : bucket->least_ns;
}

uint64_t net_limit_wait(const struct net_limit *limit, uint64_t now_ns)
{
	uint64_t bytes = net_limit_wait_bucket(&limit->bucket[NET_LIMIT_BYTES], now_ns);
	uint64_t packets = net_limit_wait_bucket(&limit->bucket[NET_LIMIT_PACKETS], now_ns);

	return bytes > packets ? bytes : packets;
}

/* Nothing else is ordered by full_ns, so relaxed is enough. */
static void net_limit_pay_bucket(struct net_limit_bucket *bucket, uint64_t *rest, uint64_t now_ns,
				 uint64_t amount)
{
	uint64_t full_ns = atomic_load_explicit(&bucket->full_ns, memory_order_relaxed), ns, next;
	net_limit_wide price = (net_limit_wide)amount * NS_PER_S + *rest;

	if (bucket->rate == 0)
		return;
	*rest = (uint64_t)(price % bucket->rate);
	ns = net_limit_clamp(price / bucket->rate);
	do {
		next = net_limit_add(full_ns > now_ns ? full_ns : now_ns, ns);
	} while (!atomic_compare_exchange_weak_explicit(
		&bucket->full_ns, &full_ns, next, memory_order_relaxed, memory_order_relaxed));
}

void net_limit_pay(struct net_limit *limit, struct net_limit_rest *rest, uint64_t now_ns,
		   size_t bytes)
{
	net_limit_pay_bucket(&limit->bucket[NET_LIMIT_BYTES], &rest->rest[NET_LIMIT_BYTES], now_ns,
			     bytes);
	net_limit_pay_bucket(&limit->bucket[NET_LIMIT_PACKETS], &rest->rest[NET_LIMIT_PACKETS],
			     now_ns, 1);
}

/* ---- gates ---- */

static void net_gate_on_timer(void *arg)
{
	struct net_gate *gate = arg;

	gate->turn = true;
	gate->go(gate->arg);
}

void net_gate_init(struct net_gate *gate, struct net_limit *limit, void (*go)(void *arg), void *arg)
{
	*gate = (struct net_gate){.limit = limit, .go = go, .arg = arg};
	gate->timer = (struct evloop_timer){.fn = net_gate_on_timer, .arg = gate};
}

bool net_gate_open(struct net_gate *gate, struct evloop *loop)
{
	uint64_t wait;

	if (!gate->limit->limited)
		return true;
	if (gate->timer.armed)
		return false;
	if (gate->turn) {
		gate->turn = false;
		return true;
	}
	wait = net_limit_wait(gate->limit, evloop_now());
	if (wait > 0)
		evloop_timer_set(loop, &gate->timer, wait);
	return wait == 0;
}

void net_gate_pay(struct net_gate *gate, size_t bytes)
{
	if (gate->limit->limited)
		net_limit_pay(gate->limit, &gate->rest, evloop_now(), bytes);
}

void net_gate_stop(struct net_gate *gate, struct evloop *loop)
{
	evloop_timer_cancel(loop, &gate->timer);
	gate->turn = false;
}
