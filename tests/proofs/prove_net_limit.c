/*
 * virtio/net_limit.c: no sum, difference or product overflows, debts only grow, and who waits as long as he is told is then let through.
 *
 * Others pay at the same time; here nobody does between a load and the store that depends on it.
 *
 * Flags: --unsigned-overflow-check
 * Unwind: 3
 * Mutant: prove_pay virtio/net_limit.c s/return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum/return a + b/
 * Mutant: prove_pay virtio/net_limit.c s/(net_limit_wide)amount . NS_PER_S/amount * NS_PER_S/
 * Mutant: prove_pay virtio/net_limit.c s/price % bucket->rate/price/
 * Mutant: prove_wait_bucket virtio/net_limit.c s/ || full_ns <= allowed_ns//
 * Mutant: prove_wait_bucket virtio/net_limit.c s/wait_ns > bucket->least_ns ?/wait_ns < bucket->least_ns ?/
 * Mutant: prove_init virtio/net_limit.c s/if (burst == 0)/if (false)/
 * Mutant: prove_pay virtio/net_limit.c s/full_ns > now_ns ? full_ns : now_ns/now_ns/
 * Mutant: prove_wait virtio/net_limit.c s/return bytes > packets ?/return bytes < packets ?/
 */
#include "tests/proofs/proof.h"

#include "virtio/net_limit.c"

NONDET(struct net_limit_config, nondet_config)
NONDET(struct net_limit, nondet_limit)

static unsigned int n_timers;

uint64_t evloop_now(void)
{
	return nondet_u64();
}

void evloop_timer_set(struct evloop *loop, struct evloop_timer *timer, uint64_t delay_ns)
{
	(void)loop;
	prove(delay_ns > 0);
	timer->armed = true;
	n_timers++;
}

void evloop_timer_cancel(struct evloop *loop, struct evloop_timer *timer)
{
	(void)loop;
	timer->armed = false;
}

/* As it may be at any moment of its life. */
static void setup_limit(struct net_limit *limit)
{
	*limit = nondet_limit();
	for (unsigned int i = 0; i < NET_LIMIT_KINDS; i++)
		assume(limit->bucket[i].least_ns <= limit->bucket[i].spare_ns);
	assume(limit->limited || (limit->bucket[0].rate == 0 && limit->bucket[1].rate == 0));
}

static void setup_rest(const struct net_limit *limit, struct net_limit_rest *rest)
{
	for (unsigned int i = 0; i < NET_LIMIT_KINDS; i++) {
		rest->rest[i] = nondet_u64();
		assume(limit->bucket[i].rate == 0 || rest->rest[i] < limit->bucket[i].rate);
	}
}

void prove_init(void)
{
	struct net_limit_config config = nondet_config();
	struct net_limit limit;

	net_limit_init(&limit, &config);
	for (unsigned int i = 0; i < NET_LIMIT_KINDS; i++)
		prove(limit.bucket[i].least_ns <= limit.bucket[i].spare_ns);
	prove(limit.limited || (limit.bucket[0].rate == 0 && limit.bucket[1].rate == 0));
}

void prove_pay(void)
{
	struct net_limit limit, before;
	struct net_limit_rest rest;
	uint64_t now = nondet_u64();

	setup_limit(&limit);
	setup_rest(&limit, &rest);
	before = limit;
	net_limit_pay(&limit, &rest, now, nondet_size());
	for (unsigned int i = 0; i < NET_LIMIT_KINDS; i++) {
		const struct net_limit_bucket *bucket = &limit.bucket[i];

		prove(bucket->full_ns >= before.bucket[i].full_ns);
		prove(bucket->rate == 0 ? bucket->full_ns == before.bucket[i].full_ns
					: bucket->full_ns >= now);
		prove(bucket->rate == 0 || rest.rest[i] < bucket->rate);
	}
}

void prove_wait_bucket(void)
{
	uint64_t now = nondet_u64(), later = nondet_u64(), wait;
	struct net_limit limit;

	setup_limit(&limit);
	limit.bucket[0].spare_ns = nondet_u16();
	assume(limit.bucket[0].least_ns <= limit.bucket[0].spare_ns);
	wait = net_limit_wait_bucket(&limit.bucket[0], now);
	prove(limit.limited || wait == 0);
	if (later >= now && later - now >= wait)
		prove(net_limit_wait_bucket(&limit.bucket[0], later) == 0);
}

/* It waits for both. */
void prove_wait(void)
{
	uint64_t now = nondet_u64(), wait;
	struct net_limit limit;

	setup_limit(&limit);
	wait = net_limit_wait(&limit, now);
	for (unsigned int i = 0; i < NET_LIMIT_KINDS; i++)
		prove(wait >= net_limit_wait_bucket(&limit.bucket[i], now));
}

/* It is open, or calls back. */
void prove_gate(void)
{
	struct net_limit limit;
	struct net_gate gate;
	bool armed = nondet_bool(), open;

	setup_limit(&limit);
	net_gate_init(&gate, &limit, NULL, NULL);
	setup_rest(&limit, &gate.rest);
	gate.timer.armed = armed;
	gate.turn = nondet_bool();
	open = net_gate_open(&gate, NULL);
	prove(open || gate.timer.armed);
	prove(n_timers == (!open && !armed));
	net_gate_pay(&gate, nondet_size());
	net_gate_stop(&gate, NULL);
	prove(!gate.timer.armed && !gate.turn);
}
