/*
 * How an image's names are kept: each in its directory, in a table by directory and name, and with the others of its file. What a
 * layer's entry does to them is in image_tree.h.
 *
 * Pure, but for memory. Owner: the tree. One thread.
 */
#pragma once

#include "vmm/image/image_tree.h"

/* Makes room in the table. Returns 0 or -ENOMEM. */
int image_names_grow(struct image_tree *tree);

/* NULL: there is none. */
struct image_tree_name *image_names_child(const struct image_tree *tree,
					  const struct image_tree_name *parent, const char *name,
					  size_t len);

/* Whether there may be no more names in the directory. */
bool image_names_is_full(const struct image_tree *tree, const struct image_tree_name *dir);

/* A directory that no layer has described. parent NULL: the root. NULL: out of memory. */
struct image_tree_name *image_names_add(struct image_tree *tree, struct image_tree_name *parent,
					const char *text, size_t len);

/* It is one of the file's names, and of no other's. */
void image_names_join_inode(struct image_tree_name *name, struct image_inode *inode);

/* What lower layers have given, in it too; and the same of what is in it alone. */
void image_names_prune(struct image_tree *tree, struct image_tree_name *name);
void image_names_prune_children(struct image_tree *tree, struct image_tree_name *name);

/* Instead of what it led to; owned from then on. */
void image_names_set_target(struct image_tree *tree, struct image_tree_name *name, char *target);

/* With all that is in it. Not the root. */
void image_names_remove(struct image_tree *tree, struct image_tree_name *name);
