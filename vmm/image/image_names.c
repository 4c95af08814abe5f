#include "vmm/image/image_names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint32_t image_names_hash(const struct image_tree_name *parent, const char *name, size_t len)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ (uintptr_t)parent;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (uint8_t)name[i]) * UINT64_C(0x100000001b3);
	return (uint32_t)(hash ^ hash >> 32);
}

struct image_tree_name *image_names_child(const struct image_tree *tree,
					  const struct image_tree_name *parent, const char *name,
					  size_t len)
{
	uint32_t hash = image_names_hash(parent, name, len);
	struct image_tree_name *n = tree->buckets[hash & (tree->n_buckets - 1)];

	while (n && (n->hash != hash || n->parent != parent || strncmp(n->name, name, len) != 0 ||
		     n->name[len] != '\0'))
		n = n->next_in_bucket;
	return n;
}

int image_names_grow(struct image_tree *tree)
{
	size_t n = tree->n_buckets ? 2 * tree->n_buckets : 1024;
	struct image_tree_name **buckets = calloc(n, sizeof(*buckets));

	if (!buckets)
		return -ENOMEM;
	for (size_t i = 0; i < tree->n_buckets; i++) {
		struct image_tree_name *name = tree->buckets[i], *next;

		for (; name; name = next) {
			next = name->next_in_bucket;
			name->next_in_bucket = buckets[name->hash & (n - 1)];
			buckets[name->hash & (n - 1)] = name;
		}
	}
	free(tree->buckets);
	tree->buckets = buckets;
	tree->n_buckets = n;
	return 0;
}

struct image_tree_name *image_names_add(struct image_tree *tree, struct image_tree_name *parent,
					const char *text, size_t len)
{
	struct image_tree_name *name;

	if (tree->n_names >= tree->n_buckets && image_names_grow(tree) < 0)
		return NULL;
	name = calloc(1, sizeof(*name) + len + 1);
	if (!name)
		return NULL;
	memcpy(name->name, text, len);
	name->type = IMAGE_DIR;
	name->layer = tree->layer;
	name->parent = parent;
	name->depth = parent ? parent->depth + 1 : 0;
	tree->n_text += len;
	name->hash = image_names_hash(parent, text, len);
	name->next_in_bucket = tree->buckets[name->hash & (tree->n_buckets - 1)];
	tree->buckets[name->hash & (tree->n_buckets - 1)] = name;
	if (parent) {
		name->next = parent->children;
		if (name->next)
			name->next->previous = name;
		parent->children = name;
	}
	tree->n_names++;
	return name;
}

bool image_names_is_full(const struct image_tree *tree, const struct image_tree_name *dir)
{
	return tree->n_names >= IMAGE_MAX_NAMES || tree->n_text >= IMAGE_MAX_TEXT ||
	       dir->depth >= IMAGE_MAX_DEPTH;
}

static void image_names_leave_inode(struct image_tree_name *name)
{
	if (!name->inode)
		return;
	*name->at_inode = name->next_of_inode;
	if (name->next_of_inode)
		name->next_of_inode->at_inode = name->at_inode;
	name->inode = NULL;
}

void image_names_join_inode(struct image_tree_name *name, struct image_inode *inode)
{
	image_names_leave_inode(name);
	name->inode = inode;
	name->next_of_inode = inode->names;
	name->at_inode = &inode->names;
	if (inode->names)
		inode->names->at_inode = &name->next_of_inode;
	inode->names = name;
}

void image_names_set_target(struct image_tree *tree, struct image_tree_name *name, char *target)
{
	tree->n_text -= name->target ? strlen(name->target) : 0;
	tree->n_text += target ? strlen(target) : 0;
	free(name->target);
	name->target = target;
}

void image_names_remove(struct image_tree *tree, struct image_tree_name *name)
{
	struct image_tree_name **at = &tree->buckets[name->hash & (tree->n_buckets - 1)];

	while (name->children)
		image_names_remove(tree, name->children);
	while (*at != name)
		at = &(*at)->next_in_bucket;
	*at = name->next_in_bucket;
	if (name->next)
		name->next->previous = name->previous;
	if (name->previous)
		name->previous->next = name->next;
	else
		name->parent->children = name->next;
	image_names_leave_inode(name);
	tree->n_names--;
	tree->n_text -= strlen(name->name);
	image_names_set_target(tree, name, NULL);
	free(name);
}

void image_names_prune(struct image_tree *tree, struct image_tree_name *name)
{
	image_names_prune_children(tree, name);
	if (name->layer < tree->layer && !name->children)
		image_names_remove(tree, name);
}

void image_names_prune_children(struct image_tree *tree, struct image_tree_name *name)
{
	struct image_tree_name *child, *next;

	/* A layer may say so again and again; all that has come since is its own. */
	if (name->pruned == tree->layer + 1)
		return;
	name->pruned = tree->layer + 1;
	for (child = name->children; child; child = next) {
		next = child->next;
		image_names_prune(tree, child);
	}
}
