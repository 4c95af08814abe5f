/*
 * An image's file in the cache: a squashfs, behind it the strings of its configuration, and at the very end what tells of both.
 *
 * Owner: the caller. The main thread.
 */
#pragma once

#include "vmm/image/image_cache.h"

#define IMAGE_ENTRY_SUFFIX ".squashfs"

/* Writes what is behind the squashfs. Returns 0 or negative errno. */
int image_entry_seal(int fd, const struct image_config *config);

/*
 * hex: the digest's digits. to_take: for image_entry_take(), which over NFS takes a descriptor that may write; a machine gets none. What it
 * holds may be unknown then, and its configuration empty.
 * Returns 0, -ENOENT when there is no such image, -EWOULDBLOCK when somebody holds it who does not let go, or another error.
 */
int image_entry_open(struct image_entry *entry, const struct image_cache *cache, const char *hex,
		     bool to_take);

/* Whether nobody else holds it, or only for a moment when there is patience; from then on nobody gets it. */
bool image_entry_take(const struct image_entry *entry, bool patient);
