/*
 * Which image in an archive or a directory is meant, and what it is made of: docker's manifest.json, or OCI's index.json with what
 * it leads to (image-spec: image-index.md, manifest.md, config.md). Of several platforms it is linux/amd64.
 *
 * Owner: the caller. One thread.
 */
#pragma once

#ifdef VMM_HAVE_IMAGES
#include "vmm/image/image_config.h"
#include "vmm/image/image_layer.h"
#include "vmm/image/image_source.h"
#include "vmm/image/image_tree.h"

struct image_manifest {
	char name[512];	 /* as its maker calls it; "": it has none */
	char digest[72]; /* of its configuration, which names all of it */
	struct image_layer *layers;
	uint32_t n_layers;
	struct image_config config;
};

/* Returns 0 or negative errno. */
int image_manifest_read(struct image_manifest *manifest, const struct image_source *source,
			struct image_why *why);

/* Also after image_manifest_read() failed. */
void image_manifest_fini(struct image_manifest *manifest);
#endif
