/*
 * vmm/core/token_bucket.c: no sum, difference or product overflows, time does not run back, and who waits as long as he is told may then take
 * what he asked for.
 *
 * prove_token_bucket_ns.c has the proof of what token_bucket_ns() returns.
 *
 * Rates have 8 bits where a division depends on them, since dividing takes long to prove.
 *
 * Contract: token_bucket_ns
 * Flags: --unsigned-overflow-check
 * Unwind: 2
 * Mutant: prove_take vmm/core/token_bucket.c s/full = (token_bucket_wide)amount . NS_PER_S/full = amount * NS_PER_S/
 * Mutant: prove_wait vmm/core/token_bucket.c s/ || bucket->full_ns <= now_ns//
 * Mutant: prove_take vmm/core/token_bucket.c s/full < UINT64_MAX ? (uint64_t)full : UINT64_MAX/(uint64_t)full/
 * Mutant: prove_take vmm/core/token_bucket.c s/(uint64_t)(full % bucket->rate)/(uint64_t)full/
 * Mutant: prove_take vmm/core/token_bucket.c s/if (bucket->full_ns < now_ns)/if (false)/
 * Mutant: prove_wait vmm/core/token_bucket.c s/empty > bucket->fill_ns - need ?/empty >= bucket->fill_ns - need - 1 ?/
 */
#include "tests/proofs/proof.h"

/* What is asked for, and how long it takes to come in: never longer than the whole burst. */
static uint64_t asked, need;

/* clang-format off */
static uint64_t token_bucket_ns(uint64_t rate, uint64_t amount)
	__CPROVER_requires(rate > 0 && amount == asked)
	__CPROVER_assigns()
	__CPROVER_ensures(__CPROVER_return_value == need);
/* clang-format on */

#include "vmm/core/token_bucket.c"

NONDET(struct token_bucket, nondet_bucket)

/* At any moment of a bucket's life. */
static struct token_bucket setup_bucket(void)
{
	struct token_bucket bucket = nondet_bucket();

	asked = nondet_u64();
	need = nondet_u64();
	assume(need <= bucket.fill_ns && bucket.burst > 0);
	return bucket;
}

void prove_wait(void)
{
	const struct token_bucket bucket = setup_bucket();
	uint64_t now = nondet_u64(), wait = token_bucket_wait(&bucket, now, asked);

	prove(wait == 0 || (bucket.rate > 0 && bucket.full_ns > now));
	/* and it is not told to wait again */
	if (now <= UINT64_MAX - wait)
		prove(token_bucket_wait(&bucket, now + wait, asked) == 0);
}

void prove_take(void)
{
	struct token_bucket bucket = setup_bucket(), before;
	uint64_t now = nondet_u64(), wait;

	bucket.rate = nondet_u8();
	assume(bucket.rate == 0 || bucket.fraction < bucket.rate);
	before = bucket;
	wait = token_bucket_take(&bucket, now, asked);
	prove(bucket.full_ns >= before.full_ns);
	prove(bucket.rate == 0 || bucket.fraction < bucket.rate);
	if (bucket.rate == 0 || wait > 0)
		prove(bucket.full_ns == before.full_ns && bucket.fraction == before.fraction);
	else
		prove(bucket.full_ns >= now);
}
