/*
 * An image's archive, from which a file system is made. Without the libraries for that (image_libs.h) it says so.
 *
 * Owner: the caller, which must not move it. The main thread, before there are others.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "vmm/image/image_libs.h"
#include "vmm/image/image_ref.h"
#include "vmm/image/image_tool.h"
#include "vmm/image/image_why.h"

#ifdef VMM_HAVE_IMAGES
#include "vmm/image/image_manifest.h"
#include "vmm/image/image_source.h"
#endif

struct image_make {
	struct image_libs libs;
#ifdef VMM_HAVE_IMAGES
	struct image_source source;
	struct image_manifest manifest;
#endif
};

/* ref is borrowed. Returns 0 or negative errno. */
int image_make_open(struct image_make *make, const struct image_ref *ref, struct image_why *why);

const char *image_make_digest(const struct image_make *make);

/* Makes a squashfs of that name; sealed: for the cache, with the configuration behind it (image_entry.h). Returns 0 or negative errno. */
int image_make_file(struct image_make *make, int dir, const char *dir_path, const char *name,
		    bool sealed, const struct image_progress *progress, struct image_why *why);

/* Also after image_make_open() failed. */
void image_make_close(struct image_make *make);

/* Opens the directory of a file to be made, whose path becomes dir_path, and points *name to the rest. Returns a descriptor or negative errno. */
int image_make_dir(const char *path, char dir_path[static PATH_MAX], const char **name,
		   struct image_why *why);

/* Unpacks an image to a file of the user. Returns 0 or negative errno. */
int image_build(const struct image_ref *ref, const char *path,
		const struct image_progress *progress, struct image_why *why);
