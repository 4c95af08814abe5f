/*
 * What somebody may have meant who has named something as a root that is none: a container image without its prefix, or with
 * another tool's.
 *
 * Looks at files. The main thread.
 */
#pragma once

#include <stdbool.h>

#include "vmm/image/image_ref.h"
#include "vmm/image/image_why.h"

/* text: as it was given. Returns whether there is something to say, which is in why then. */
bool image_hint(const char *text, struct image_why *why);

/* What unpacks a file that is packed as a whole, such as "gzip -d"; NULL: it is not. */
const char *image_hint_packed(int fd);

/* Says that a file of the image, path, cannot be opened, or what would have to be said instead. Returns negative errno. */
int image_hint_fail(const struct image_ref *ref, int err, const char *path, struct image_why *why);
/* Says what path is to be called, and returns -EINVAL. */
int image_hint_correct(const char *path, const char *prefix, struct image_why *why);
