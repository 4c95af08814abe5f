#include "vmm/core/token_bucket.h"

#define NS_PER_S UINT64_C(1000000000)

typedef unsigned __int128 token_bucket_wide;

/* amount tokens in ns, rounded up; what no clock reaches is UINT64_MAX. */
static uint64_t token_bucket_ns(uint64_t rate, uint64_t amount)
{
	token_bucket_wide ns = ((token_bucket_wide)amount * NS_PER_S + rate - 1) / rate;

	return ns < UINT64_MAX ? (uint64_t)ns : UINT64_MAX;
}

void token_bucket_init(struct token_bucket *bucket, uint64_t rate_per_s, uint64_t burst)
{
	*bucket = (struct token_bucket){.rate = rate_per_s, .burst = burst > 0 ? burst : 1};
	if (rate_per_s > 0)
		bucket->fill_ns = token_bucket_ns(rate_per_s, bucket->burst);
}

uint64_t token_bucket_wait(const struct token_bucket *bucket, uint64_t now_ns, uint64_t amount)
{
	uint64_t empty, need;

	if (bucket->rate == 0 || bucket->full_ns <= now_ns)
		return 0;
	/* How empty it is, in ns, and how empty it may be for this amount. */
	empty = bucket->full_ns - now_ns;
	need = amount < bucket->burst ? token_bucket_ns(bucket->rate, amount) : bucket->fill_ns;
	return empty > bucket->fill_ns - need ? empty - (bucket->fill_ns - need) : 0;
}

void token_bucket_pay(struct token_bucket *bucket, uint64_t now_ns, uint64_t amount)
{
	token_bucket_wide full;

	if (bucket->rate == 0)
		return;
	if (bucket->full_ns < now_ns) {
		bucket->full_ns = now_ns;
		bucket->fraction = 0;
	}
	full = (token_bucket_wide)amount * NS_PER_S + bucket->fraction;
	bucket->fraction = (uint64_t)(full % bucket->rate);
	full = full / bucket->rate + bucket->full_ns;
	bucket->full_ns = full < UINT64_MAX ? (uint64_t)full : UINT64_MAX;
}

uint64_t token_bucket_take(struct token_bucket *bucket, uint64_t now_ns, uint64_t amount)
{
	uint64_t wait = token_bucket_wait(bucket, now_ns, amount);

	if (wait == 0)
		token_bucket_pay(bucket, now_ns, amount);
	return wait;
}
