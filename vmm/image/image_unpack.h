/*
 * An image's layers, merged into one file system. They are read twice: first for their names, and to check all of it, then for what is in
 * the files, which goes as one tar stream to sqfstar(1). Nothing else is started or written before the image was found good, and
 * no file of the image is ever made on the host.
 *
 * The main thread, before there are others.
 */
#pragma once

#ifdef VMM_HAVE_IMAGES
#include "vmm/image/image_manifest.h"
#include "vmm/image/image_tool.h"

/*
 * Writes a squashfs to file, which is empty; path: its name, or NULL when it has none. What is known of users then is added to the manifest's
 * configuration. Returns 0 or negative errno.
 */
int image_unpack(const struct image_source *source, struct image_manifest *manifest, int file,
		 const char *path, const struct image_progress *progress, struct image_why *why);
#endif
