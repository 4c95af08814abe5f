/*
 * Images that were unpacked once, in one directory for all machines of a user: each a squashfs with its configuration behind it, in a
 * file that is called by its digest. Whoever uses one holds a shared flock(2) on it; what nobody uses goes when all together have
 * become larger than the bound, the least recently used (by its time of change) first. Beside them, "*.ref" remember which
 * digest an archive was found to have, as long as it is the same file, so that a later start reads nothing of it; "lock-*" let one unpack
 * while others wait.
 *
 * Owner: the caller. The main thread.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "vmm/image/image_config.h"
#include "vmm/image/image_ref.h"
#include "vmm/image/image_tool.h"
#include "vmm/image/image_why.h"

#define IMAGE_CACHE_BOUND (UINT64_C(16) << 30) /* bytes, unless the user sets another */

struct image_cache {
	int dir;
	char path[PATH_MAX - 128]; /* names in it fit into PATH_MAX */
	uint64_t bound;
};

/* One image in it. */
struct image_entry {
	int fd; /* holds its lock */
	char digest[72];
	char path[PATH_MAX];
	uint64_t size; /* of the file */
	time_t used;
	struct image_config config;
};

/* Makes the directory if it is missing. Returns 0 or negative errno. */
int image_cache_open(struct image_cache *cache, const char *path, uint64_t bound,
		     struct image_why *why);

/* The image that ref names, which is unpacked if it is not there. Returns 0 or negative errno. */
int image_cache_get(struct image_cache *cache, const struct image_ref *ref,
		    const struct image_progress *progress, struct image_entry *entry,
		    struct image_why *why);

/* Also of zeros with fd -1. From then on the image may be removed. */
void image_entry_close(struct image_entry *entry);

/* What it is called by: its name, or where it came from. */
const char *image_entry_name(const struct image_entry *entry);

typedef void image_cache_fn(void *arg, const struct image_entry *entry, bool used);

/* Calls fn for each, the most recently used first; used: by a machine now. Returns 0 or negative errno. */
int image_cache_list(struct image_cache *cache, image_cache_fn *fn, void *arg,
		     struct image_why *why);

/* By its name or the beginning of its digest. Returns 0, -ENOENT, -EBUSY when a machine uses it, or another error. */
int image_cache_remove(struct image_cache *cache, const char *name, struct image_why *why);

/*
 * Removes what is too much, but nothing that is in use, and remains of what was interrupted. Returns 0 with the bytes that are left in
 * *size, or negative errno.
 */
int image_cache_trim(struct image_cache *cache, uint64_t bound, uint64_t *size,
		     struct image_why *why);

void image_cache_close(struct image_cache *cache);
