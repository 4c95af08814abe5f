/*
 * A file that has its name when it is whole, and leaves nothing behind when it does not become so, however its maker ends. Where the
 * file system cannot do that it has another name until then, NAME.new.
 *
 * Owner: the caller. One thread.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

struct image_file {
	int dir; /* borrowed */
	int fd;
	bool named;
	char name[NAME_MAX + 1];
	char path[PATH_MAX]; /* of the other name; "": none */
};

/* dir_path: the directory's own. Returns 0 or negative errno. */
int image_file_begin(struct image_file *file, int dir, const char *dir_path, const char *name);

/* Gives it its name; what had it before has none any more. Returns 0 or negative errno, and it is over. */
int image_file_finish(struct image_file *file);
void image_file_abandon(struct image_file *file);
