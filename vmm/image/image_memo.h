/*
 * Which image an archive was found to hold: remembered by what the archive's file is, so that it need not be read again.
 *
 * The main thread.
 */
#pragma once

#include "vmm/image/image_cache.h"

#define IMAGE_MEMO_SUFFIX ".ref"

struct image_memo {
	char name[160]; /* of its file; "": the archive cannot be looked at */
	char text[640]; /* what is to be kept beside the digest */
};

/* Looks at the archive's file. Returns 0 or negative errno. */
int image_memo_init(struct image_memo *memo, const struct image_ref *ref, struct image_why *why);

/* Returns whether it is known; then hex has its digits. */
bool image_memo_read(const struct image_memo *memo, const struct image_cache *cache, char hex[65]);
/* When it cannot be kept, it is looked for again. */
void image_memo_write(const struct image_memo *memo, const struct image_cache *cache,
		      const char *hex);
/* Whether a file of that name is one. */
bool image_memo_is(const char *name);
/* Removes those of images that are not there any more; name: of a memo's file. */
void image_memo_sweep(const struct image_cache *cache, const char *name);
