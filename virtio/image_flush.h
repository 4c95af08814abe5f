/*
 * One thread flushes an image's file for all who ask meanwhile.
 *
 * Linux tells an error of writing back once for each open file: of two fdatasync() at a time that wait for the same pages, one may succeed
 * though they are lost. So there is one at a time, each caller is served by one that began after its call, and once data may be lost,
 * no caller is told anything else.
 *
 * Internal to the image formats. Threads: image_flush_run() by any number at once; it blocks on storage.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct image_flush {
	pthread_mutex_t lock;
	pthread_cond_t done;
	/* under lock */
	bool running;
	bool lost;
	uint64_t n_begun, n_done;
	int result; /* of the last one done */
};

/* Makes all stable that was written before the call. Returns 0 or negative errno; *lost, which is false at first: data may be gone. */
typedef int image_flush_fn(void *arg, bool *lost);

void image_flush_init(struct image_flush *flush);

/* Returns what the call returned that served this one, or -EIO when data may have been lost before it, since the image was opened; see *lost. */
int image_flush_run(struct image_flush *flush, image_flush_fn *fn, void *arg, bool *lost);

/* For such a function: fdatasync(), after whose failure data may be gone. Returns 0 or negative errno. */
int image_flush_file(int fd, bool *lost);

void image_flush_fini(struct image_flush *flush);
