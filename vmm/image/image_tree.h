/*
 * The names of an image: what its layers, applied one above the other, come to. It holds names and where each one's file is to be
 * found, not what is in it; nothing is made on the host from a name.
 *
 * A layer's entries are applied in their order, as OCI's image-spec has it (layer.md): a name that is there already is replaced,
 * but a directory by a directory, which keeps what is in it; ".wh.NAME" removes NAME and ".wh..wh..opq" all of a directory, of lower layers
 * alone. A name's parents may be symbolic links, which are followed within the image.
 *
 * Pure, but for memory. Owner: the caller. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/image/image_why.h"

#define IMAGE_MAX_LAYERS 1024
#define IMAGE_MAX_NAMES	 (UINT32_C(1) << 21) /* and as many entries */
#define IMAGE_MAX_PATH	 4095
#define IMAGE_MAX_NAME	 255
#define IMAGE_MAX_TEXT                                                                             \
	(UINT32_C(1) << 28)  /* bytes of all names and links that are left, together */
#define IMAGE_MAX_DEPTH 2048 /* of directories: they are walked by recursion */

enum image_type {
	IMAGE_FILE,
	IMAGE_DIR,
	IMAGE_SYMLINK,
	IMAGE_NODE, /* a device or a pipe */
	IMAGE_LINK, /* one more name of a file */
};

struct image_tree_name;

/* What one entry of a layer has given. */
struct image_inode {
	struct image_inode *next;      /* of the same layer, in the entries' order */
	struct image_tree_name *names; /* NULL: nothing of it is left */
	uint64_t entry;		       /* number in its layer */
};

struct image_tree_name {
	struct image_tree_name *parent; /* NULL: the root */
	struct image_tree_name *children, *next, *previous;
	struct image_tree_name *next_in_bucket;
	struct image_tree_name *next_of_inode, **at_inode; /* what points to it there */
	struct image_inode *inode; /* NULL: a directory that no layer has described */
	char *target;		   /* of a symbolic link */
	uint32_t layer;		   /* that has given it last */
	uint32_t hash;
	uint32_t depth;
	uint32_t pruned; /* 1 + the layer that has last left nothing of lower ones in it */
	enum image_type type;
	char name[];
};

struct image_tree_entry {
	const char *name;
	const char *link; /* of IMAGE_LINK and IMAGE_SYMLINK */
	enum image_type type;
	uint64_t entry;
};

struct image_tree {
	const char *of; /* whose it is, for messages; borrowed */
	struct image_tree_name *root;
	struct image_tree_name **buckets;
	size_t n_buckets, n_names, n_entries, n_text;
	uint32_t layer, n_layers;
	struct {
		struct image_inode *first, *last;
	} layers[IMAGE_MAX_LAYERS];
};

/* Returns 0 or -ENOMEM. */
int image_tree_init(struct image_tree *tree, const char *of, uint32_t n_layers,
		    struct image_why *why);

/* What follows is of this one, from 0. */
void image_tree_begin_layer(struct image_tree *tree, uint32_t layer);
/* Returns 0, -EINVAL for what no image has, -E2BIG for more than one has, or -ENOMEM. */
int image_tree_apply(struct image_tree *tree, const struct image_tree_entry *entry,
		     struct image_why *why);

/* NULL when there is none. */
struct image_tree_name *image_tree_find(struct image_tree *tree, const char *path);
/* The next one, parents before what is in them, from the root (name NULL) on; NULL at the end. */
const struct image_tree_name *image_tree_next(const struct image_tree *tree,
					      const struct image_tree_name *name);
/* Without a slash before it. Returns path, of IMAGE_MAX_PATH + 1 bytes. */
const char *image_tree_path(const struct image_tree_name *name, char *path);

void image_tree_fini(struct image_tree *tree);
