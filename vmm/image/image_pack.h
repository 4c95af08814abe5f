/*
 * A file system's image, as --root and --disk take it, made of a directory or a container image.
 *
 * The main thread, before there are others.
 */
#pragma once

#include "vmm/image/image_tool.h"
#include "vmm/image/image_why.h"

/*
 * from: a directory, or a name of image_ref.h. The end of the file's name says which: .squashfs, and for directories .erofs and .ext4, by
 * the usual programs. Owners stay as they are. The file must not be there. Returns 0 or negative errno.
 */
int image_pack(const char *from, const char *path, const struct image_progress *progress,
	       struct image_why *why);
