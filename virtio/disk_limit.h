/*
 * How fast a disk may be used: so many requests and so many bytes a second, with bursts.
 *
 * Owner: the device. Threads: any; the queues of a disk share its limits, under a lock that is taken only when there are any.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/core/token_bucket.h"

struct disk_limit_config {
	uint64_t iops;	     /* requests a second; 0: no limit */
	uint64_t iops_burst; /* at once after a rest; 0: what a tenth of a second allows */
	uint64_t bps;	     /* bytes a second, read and written together; 0: no limit */
	uint64_t bps_burst;
};

struct disk_limit {
	/* immutable after init */
	bool limited;
	/* under lock, a leaf lock */
	pthread_mutex_t lock;
	struct token_bucket requests;
	struct token_bucket bytes;
};

/* config NULL: no limit. */
void disk_limit_init(struct disk_limit *limit, const struct disk_limit_config *config);

/*
 * One request of that many bytes. Returns 0 when it may be done now, else the ns to wait before asking again. Who has waited so long passes
 * (waited), or a queue of small requests could take what a large one of another queue waits for, each time; all that follow pay for it.
 */
uint64_t disk_limit_take(struct disk_limit *limit, uint64_t now_ns, uint64_t bytes, bool waited);

void disk_limit_fini(struct disk_limit *limit);
