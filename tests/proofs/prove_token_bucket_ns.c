/*
 * vmm/core/token_bucket.c: how long tokens take to come in is reckoned without overflow, and fewer tokens never take longer.
 *
 * The second is proven for numbers of SMALL bits, since dividing takes long to prove; the first for all.
 *
 * Flags: --unsigned-overflow-check
 * Unwind: 2
 * Mutant: prove_sums vmm/core/token_bucket.c s/((token_bucket_wide)amount . NS_PER_S + rate - 1)/(amount * NS_PER_S + rate - 1)/
 * Mutant: prove_init vmm/core/token_bucket.c s/burst > 0 ? burst : 1/burst/
 * Mutant: prove_init vmm/core/token_bucket.c s/if (rate_per_s > 0)/if (true)/
 * Mutant: prove_order vmm/core/token_bucket.c s/ + rate - 1) . rate/ + rate - 1) % rate/
 */
#include "tests/proofs/proof.h"

#include "vmm/core/token_bucket.c"

#define SMALL 3

void prove_sums(void)
{
	uint64_t rate = nondet_u64();

	assume(rate > 0);
	token_bucket_ns(rate, nondet_u64());
}

void prove_order(void)
{
	uint64_t rate = nondet_u64() >> (64 - SMALL), more = nondet_u64() >> (64 - SMALL);
	uint64_t less = nondet_u64() >> (64 - SMALL);

	assume(rate > 0 && less <= more);
	prove(token_bucket_ns(rate, less) <= token_bucket_ns(rate, more));
}

void prove_init(void)
{
	struct token_bucket bucket;
	uint64_t rate = nondet_u64();

	token_bucket_init(&bucket, rate, nondet_u64());
	prove(bucket.rate == rate && bucket.burst > 0);
	prove(bucket.full_ns == 0 && bucket.fraction == 0);
}
