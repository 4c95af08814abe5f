#include "virtio/disk_limit.h"

#include <stddef.h>

/* A burst of nothing would let requests through one by one; a tenth of a second is not felt by who waits for the average. */
static void disk_limit_init_bucket(struct token_bucket *bucket, uint64_t rate, uint64_t burst)
{
	token_bucket_init(bucket, rate, burst > 0 ? burst : rate / 10);
}

void disk_limit_init(struct disk_limit *limit, const struct disk_limit_config *config)
{
	static const struct disk_limit_config none;

	if (!config)
		config = &none;
	limit->limited = config->iops > 0 || config->bps > 0;
	pthread_mutex_init(&limit->lock, NULL);
	disk_limit_init_bucket(&limit->requests, config->iops, config->iops_burst);
	disk_limit_init_bucket(&limit->bytes, config->bps, config->bps_burst);
}

uint64_t disk_limit_take(struct disk_limit *limit, uint64_t now_ns, uint64_t bytes, bool waited)
{
	uint64_t requests_wait = 0, bytes_wait = 0;

	if (!limit->limited)
		return 0;
	pthread_mutex_lock(&limit->lock);
	if (!waited) {
		requests_wait = token_bucket_wait(&limit->requests, now_ns, 1);
		bytes_wait = token_bucket_wait(&limit->bytes, now_ns, bytes);
	}
	if (requests_wait == 0 && bytes_wait == 0) {
		token_bucket_pay(&limit->requests, now_ns, 1);
		token_bucket_pay(&limit->bytes, now_ns, bytes);
	}
	pthread_mutex_unlock(&limit->lock);
	return requests_wait > bytes_wait ? requests_wait : bytes_wait;
}

void disk_limit_fini(struct disk_limit *limit)
{
	pthread_mutex_destroy(&limit->lock);
}
