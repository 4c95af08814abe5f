/*
 * A token bucket: so much a second on average, and up to burst at once after a rest.
 *
 * Tokens are whatever the user counts: requests, bytes. The bucket is full at first. It keeps no clock; the user says what
 * time it is, in ns of any clock that does not go back. Accounting is exact: however tokens are cut into
 * calls, no fraction of one is lost.
 *
 * An amount larger than the burst passes when the bucket is full, and what follows waits until it is paid for.
 *
 * Owner: whoever embeds it. Threads: one at a time.
 */
#pragma once

#include <stdint.h>

struct token_bucket {
	/* immutable after init */
	uint64_t rate;	  /* tokens a second; 0: no limit */
	uint64_t burst;	  /* tokens */
	uint64_t fill_ns; /* what it takes to fill the empty bucket */
	/* owned by the user's thread; a snapshot saves full_ns relative to its now */
	uint64_t full_ns;  /* when the bucket is full again if nothing more is taken */
	uint64_t fraction; /* of a ns behind full_ns, in units of 1 / rate ns */
};

/* burst 0 counts as 1: a bucket that holds nothing would let nothing pass. */
void token_bucket_init(struct token_bucket *bucket, uint64_t rate_per_s, uint64_t burst);

/* ns to wait until that amount may be taken, 0 when it is now. Takes nothing: for users who ask several buckets first. */
uint64_t token_bucket_wait(const struct token_bucket *bucket, uint64_t now_ns, uint64_t amount);

/* Takes the amount, there or not: for who has waited as told, while others took what there was. What follows waits until it is paid for. */
void token_bucket_pay(struct token_bucket *bucket, uint64_t now_ns, uint64_t amount);

/* Takes the amount and returns 0, or takes nothing and returns the ns to wait before asking again. */
uint64_t token_bucket_take(struct token_bucket *bucket, uint64_t now_ns, uint64_t amount);
