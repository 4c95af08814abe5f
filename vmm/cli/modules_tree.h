/*
 * The modules of a kernel in the source tree where it was built, which depmod(8) has not seen: modules.order lists them, and each
 * file says by itself what it depends on.
 *
 * Owner: the caller. One thread.
 */
#pragma once

#include <stdio.h>

struct modules_tree {
	const char *dir;
	const char *release; /* of the kernel that is to load them */
	char *list; /* the text of modules.order, owned by the caller; set by modules_tree_open() */
	unsigned int n_stale; /* files that were left out */
	/* a line's */
	FILE *out;
	unsigned int n; /* files in out; they may be there more than once */
};

/* dir and release are set, all else is 0. Returns 0, or -ENOENT when dir is no such tree. Nothing is reported. */
int modules_tree_open(struct modules_tree *tree);

/*
 * A line as modules.dep has them, "FILE: FILE...", with what each depends on behind it, for the module of that name; to be freed. NULL
 * when there is no such module, no memory, or one of the files is of another kernel: one that was not built again since. The kernel would refuse it, or, where it goes by versions of symbols, perhaps not. The first of
 * those is reported.
 */
char *modules_tree_line(struct modules_tree *tree, const char *name);
