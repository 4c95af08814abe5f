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
	bool cached;
	bool named;
	char name[NAME_MAX + 1];
	char path[PATH_MAX]; /* of the other name; "": none */
};

/* dir_path: the directory's own. cached: it is for this user alone, and replaces what has its name. Returns 0 or negative errno. */
int image_file_begin(struct image_file *file, int dir, const char *dir_path, const char *name,
		     bool cached);

/* Gives it its name. Returns 0, -EEXIST when the name is taken and it is not cached, or another error, and it is over. */
int image_file_finish(struct image_file *file);
void image_file_abandon(struct image_file *file);
