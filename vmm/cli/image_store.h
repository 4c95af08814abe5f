/*
 * Where container images are kept: what --image-cache says, or VMM_IMAGE_CACHE in the environment, or the user's cache directory.
 *
 * The main thread.
 */
#pragma once

#include <stdint.h>

#include "vmm/image/image_cache.h"

/* dir: NULL when the command line does not say; size: what it says, or the default. Returns 0, or negative errno after one line on stderr. */
int image_store_open(struct image_cache *cache, const char *dir, uint64_t size);

/* What is shown of long work. */
extern const struct image_progress image_store_progress;
