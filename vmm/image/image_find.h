/*
 * Which of the images in an archive or a directory is meant.
 *
 * One thread.
 */
#pragma once

#ifdef VMM_HAVE_IMAGES
#include "vmm/image/image_json.h"

/* The element of manifest.json; borrowed. Returns 0 or negative errno. */
int image_find_docker(const struct image_source *source, const struct image_json *manifests,
		      const json_t **image, char *name, size_t size, struct image_why *why);

/* Reads the manifest, by way of index.json and the indexes that it leads to. Returns 0 or negative errno. */
int image_find_oci(const struct image_source *source, struct image_json *manifest, char *name,
		   size_t size, struct image_why *why);

/* The digest of what a descriptor describes, which is there in the size that it says. Returns 0 or negative errno. */
int image_find_digest(const struct image_source *source, const struct image_json *json,
		      const json_t *descriptor, char digest[72], struct image_why *why);
#endif
