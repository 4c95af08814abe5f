/*
 * The name of a file that was made by the program and goes with it, by a descriptor of its directory: it can still be removed when
 * the process has no other way to files any more.
 *
 * Owner: whoever made the file. Threads: one at a time.
 */
#pragma once

#include <sys/stat.h>

struct kept_name {
	int dir;	  /* O_PATH; -1: nothing is kept */
	char *path;	  /* as it was given: what it leads to may change */
	const char *name; /* its last part */
	/* of the file: somebody may put another one there */
	dev_t device;
	ino_t inode;
};

#define KEPT_NAME_NONE                                                                             \
	{                                                                                          \
		.dir = -1                                                                          \
	}

/* The directory of path, to be freed; NULL: out of memory. */
char *kept_name_directory(const char *path);

/* file is what is at path now. Returns 0, or negative errno with nothing kept. */
int kept_name_open(struct kept_name *kept, const char *path, const struct stat *file);

/*
 * Names a unix socket, which is bound to nothing yet, and has it listen. The name is for this user alone. One that is in the way is
 * replaced when it is a socket that nobody listens on, left by a program that was killed. Returns 0, or negative errno with nothing
 * made or kept; -ENAMETOOLONG, for one.
 */
int kept_name_listen(struct kept_name *kept, int fd, const char *path, int backlog);

/* Removes the name if it still is that file's. */
void kept_name_remove(struct kept_name *kept);

/* Idempotent. */
void kept_name_close(struct kept_name *kept);
