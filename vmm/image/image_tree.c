#include "vmm/image/image_tree.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/image/image_names.h"

#define MAX_LINKS 40 /* followed for one name, as Linux does */

static int image_tree_refuse(const struct image_tree *tree, const char *name, const char *what,
			     struct image_why *why)
{
	return image_fail(why, -EINVAL, "'%s', layer %u of %u: '%.200s' %s", tree->of,
			  tree->layer + 1, tree->n_layers, name, what);
}

static int image_tree_no_memory(struct image_why *why)
{
	return image_fail(why, -ENOMEM, "out of memory for the names of an image");
}

/* ---- paths ---- */

struct image_walk {
	struct image_tree *tree;
	const char *name; /* the whole, for messages */
	unsigned int links;
	bool create;	/* directories that are missing */
	bool may_climb; /* ".." is allowed: in a link */
	struct image_why *why;
};

static int image_walk_step(struct image_walk *w, struct image_tree_name **at, const char *part,
			   size_t len);

/* From *at. Returns 0 with the directory in *at, -ENOENT when there is none, or another error. */
static int image_walk_path(struct image_walk *w, struct image_tree_name **at, const char *path,
			   size_t len)
{
	const char *end = path + len;
	int err = 0;

	while (path < end && err == 0) {
		const char *slash = memchr(path, '/', (size_t)(end - path));
		size_t n = (size_t)((slash ? slash : end) - path);

		if (n > 0 && !(n == 1 && *path == '.'))
			err = image_walk_step(w, at, path, n);
		path += n + 1;
	}
	return err;
}

static int image_walk_link(struct image_walk *w, struct image_tree_name **at, const char *target)
{
	bool may_climb = w->may_climb;
	int err;

	if (++w->links > MAX_LINKS)
		return image_tree_refuse(w->tree, w->name, "is behind too many links", w->why);
	if (*target == '/')
		*at = w->tree->root;
	w->may_climb = true;
	err = image_walk_path(w, at, target, strlen(target));
	w->may_climb = may_climb;
	return err;
}

static int image_walk_step(struct image_walk *w, struct image_tree_name **at, const char *part,
			   size_t len)
{
	struct image_tree_name *child;

	if (len > IMAGE_MAX_NAME)
		return image_tree_refuse(w->tree, w->name, "has a name that is too long", w->why);
	if (len == 2 && memcmp(part, "..", 2) == 0) {
		if (!w->may_climb)
			return image_tree_refuse(w->tree, w->name, "leads out of the image (..)",
						 w->why);
		if ((*at)->parent)
			*at = (*at)->parent;
		return 0;
	}
	child = image_names_child(w->tree, *at, part, len);
	if (!child && !w->create)
		return -ENOENT;
	if (!child && image_names_is_full(w->tree, *at))
		return image_tree_refuse(w->tree, w->name, "is one name too many, or too deep",
					 w->why);
	if (!child)
		child = image_names_add(w->tree, *at, part, len);
	if (!child)
		return image_tree_no_memory(w->why);
	if (child->type == IMAGE_SYMLINK)
		return image_walk_link(w, at, child->target);
	if (child->type != IMAGE_DIR)
		return w->create ? image_tree_refuse(w->tree, w->name,
						     "lies in what is no directory", w->why)
				 : -ENOENT;
	*at = child;
	return 0;
}

/* The last part of the path, without slashes behind it; its length is 0 for the root. */
static const char *image_path_base(const char *path, size_t *len)
{
	size_t end = strlen(path), start;

	for (;;) {
		while (end > 0 && path[end - 1] == '/')
			end--;
		if (end == 0 || path[end - 1] != '.' || (end > 1 && path[end - 2] != '/'))
			break;
		end--; /* "." */
	}
	for (start = end; start > 0 && path[start - 1] != '/';)
		start--;
	*len = end - start;
	return path + start;
}

/*
 * Finds the directory of a path, following links, and the last part of it, which is not followed. Returns 0, -ENOENT when it is not there
 * and not to be made, or another error.
 */
static int image_tree_locate(struct image_tree *tree, const char *path, bool create,
			     struct image_tree_name **dir, const char **base, size_t *len,
			     struct image_why *why)
{
	struct image_walk walk = {.tree = tree, .name = path, .create = create, .why = why};

	if (strlen(path) > IMAGE_MAX_PATH)
		return image_tree_refuse(tree, path, "is too long a name", why);
	*base = image_path_base(path, len);
	if (*len > IMAGE_MAX_NAME)
		return image_tree_refuse(tree, path, "has a name that is too long", why);
	if (*len == 2 && memcmp(*base, "..", 2) == 0)
		return image_tree_refuse(tree, path, "leads out of the image (..)", why);
	*dir = tree->root;
	return image_walk_path(&walk, dir, path, (size_t)(*base - path));
}

struct image_tree_name *image_tree_find(struct image_tree *tree, const char *path)
{
	struct image_tree_name *dir;
	struct image_why why;
	const char *base;
	size_t len;

	if (image_tree_locate(tree, path, false, &dir, &base, &len, &why) < 0)
		return NULL;
	return len == 0 ? dir : image_names_child(tree, dir, base, len);
}

const char *image_tree_path(const struct image_tree_name *name, char *path)
{
	size_t at = IMAGE_MAX_PATH;

	path[at] = '\0';
	for (; name->parent; name = name->parent) {
		size_t len = strlen(name->name);

		/* Links lead to longer names than the layers have. */
		if (len + 1 > at)
			return NULL;
		if (path[at])
			path[--at] = '/';
		at -= len;
		memcpy(path + at, name->name, len);
	}
	return path + at;
}

const struct image_tree_name *image_tree_next(const struct image_tree *tree,
					      const struct image_tree_name *name)
{
	if (!name)
		return tree->root;
	if (name->children)
		return name->children;
	while (name && !name->next)
		name = name->parent;
	return name ? name->next : NULL;
}

/* ---- entries ---- */

static struct image_inode *image_tree_make_inode(struct image_tree *tree, uint64_t entry)
{
	struct image_inode *inode = calloc(1, sizeof(*inode));

	if (!inode)
		return NULL;
	inode->entry = entry;
	if (tree->layers[tree->layer].last)
		tree->layers[tree->layer].last->next = inode;
	else
		tree->layers[tree->layer].first = inode;
	tree->layers[tree->layer].last = inode;
	return inode;
}

static int image_tree_white_out(struct image_tree *tree, const struct image_tree_entry *entry,
				struct image_tree_name *dir, const char *base, size_t len,
				struct image_why *why)
{
	struct image_tree_name *name;

	if (len == 12 && memcmp(base, ".wh..wh..opq", 12) == 0) {
		image_names_prune_children(tree, dir);
		return 0;
	}
	/* Aufs's own files. */
	if (len >= 8 && memcmp(base, ".wh..wh.", 8) == 0)
		return 0;
	base += 4;
	len -= 4;
	if (len == 0 || (len == 1 && base[0] == '.') || (len == 2 && memcmp(base, "..", 2) == 0))
		return image_tree_refuse(tree, entry->name, "removes no name", why);
	name = image_names_child(tree, dir, base, len);
	if (name)
		image_names_prune(tree, name);
	return 0;
}

/* A hard link to a symbolic one has its own: a few bytes of an archive make many. */
static int image_tree_keep_target(struct image_tree *tree, const struct image_tree_entry *entry,
				  const char *text, char **target, struct image_why *why)
{
	if (tree->n_text + strlen(text) > IMAGE_MAX_TEXT)
		return image_tree_refuse(tree, entry->name, "is one link too many", why);
	*target = strdup(text);
	return *target ? 0 : image_tree_no_memory(why);
}

/* The file that a hard link is one more name of. */
static int image_tree_linked(struct image_tree *tree, const struct image_tree_entry *entry,
			     struct image_inode **inode, enum image_type *type, char **target,
			     struct image_why *why)
{
	struct image_tree_name *to, *dir;
	const char *base;
	size_t len;
	int err = image_tree_locate(tree, entry->link, false, &dir, &base, &len, why);

	if (err < 0 && err != -ENOENT)
		return err;
	to = err == 0 && len > 0 ? image_names_child(tree, dir, base, len) : NULL;
	if (!to)
		return image_tree_refuse(tree, entry->name, "is a hard link to what is not there",
					 why);
	if (to->type == IMAGE_DIR)
		return image_tree_refuse(tree, entry->name, "is a hard link to a directory", why);
	*inode = to->inode;
	*type = to->type;
	return to->target ? image_tree_keep_target(tree, entry, to->target, target, why) : 0;
}

static int image_tree_describe(struct image_tree *tree, const struct image_tree_entry *entry,
			       struct image_inode **inode, enum image_type *type, char **target,
			       struct image_why *why)
{
	*target = NULL;
	*type = entry->type;
	if (entry->type == IMAGE_LINK)
		return image_tree_linked(tree, entry, inode, type, target, why);
	if (entry->type == IMAGE_SYMLINK) {
		if (!entry->link[0] || strlen(entry->link) > IMAGE_MAX_PATH)
			return image_tree_refuse(tree, entry->name,
						 "is a link to nowhere, or too long a one", why);
		if (image_tree_keep_target(tree, entry, entry->link, target, why) < 0)
			return -EINVAL;
	}
	*inode = image_tree_make_inode(tree, entry->entry);
	if (*inode)
		return 0;
	free(*target);
	return image_tree_no_memory(why);
}

/* The name, empty of what it was before, unless a directory stays one. */
static int image_tree_place(struct image_tree *tree, const struct image_tree_entry *entry,
			    struct image_tree_name *dir, const char *base, size_t len,
			    enum image_type type, struct image_tree_name **name,
			    struct image_why *why)
{
	*name = image_names_child(tree, dir, base, len);
	if (*name && !((*name)->type == IMAGE_DIR && type == IMAGE_DIR)) {
		image_names_remove(tree, *name);
		*name = NULL;
	}
	if (!*name && image_names_is_full(tree, dir))
		return image_tree_refuse(tree, entry->name, "is one name too many, or too deep",
					 why);
	if (!*name)
		*name = image_names_add(tree, dir, base, len);
	return *name ? 0 : image_tree_no_memory(why);
}

static int image_tree_put(struct image_tree *tree, const struct image_tree_entry *entry,
			  struct image_tree_name *dir, const char *base, size_t len,
			  struct image_why *why)
{
	struct image_inode *inode = NULL;
	struct image_tree_name *name;
	enum image_type type;
	char *target;
	int err = image_tree_describe(tree, entry, &inode, &type, &target, why);

	if (err < 0)
		return err;
	name = image_names_child(tree, dir, base, len);
	if (name && name->inode == inode) { /* a link to itself */
		free(target);
		return 0;
	}
	err = image_tree_place(tree, entry, dir, base, len, type, &name, why);
	if (err < 0) {
		free(target);
		return err;
	}
	name->type = type;
	name->layer = tree->layer;
	image_names_set_target(tree, name, target);
	image_names_join_inode(name, inode);
	return 0;
}

int image_tree_apply(struct image_tree *tree, const struct image_tree_entry *entry,
		     struct image_why *why)
{
	struct image_tree_name *dir;
	const char *base;
	bool whiteout;
	size_t len;
	int err;

	if (++tree->n_entries > IMAGE_MAX_NAMES)
		return image_tree_refuse(tree, entry->name, "is one entry too many", why);
	base = image_path_base(entry->name, &len);
	whiteout = len >= 4 && memcmp(base, ".wh.", 4) == 0;
	err = image_tree_locate(tree, entry->name, !whiteout, &dir, &base, &len, why);
	if (whiteout && err == -ENOENT)
		return 0;
	if (err < 0)
		return err;
	if (whiteout)
		return image_tree_white_out(tree, entry, dir, base, len, why);
	/* Whose root it is, is no matter of the image. */
	if (len == 0)
		return entry->type == IMAGE_DIR
			       ? 0
			       : image_tree_refuse(tree, entry->name,
						   "is the root, and no directory", why);
	return image_tree_put(tree, entry, dir, base, len, why);
}

/* ---- life ---- */

int image_tree_init(struct image_tree *tree, const char *of, uint32_t n_layers,
		    struct image_why *why)
{
	memset(tree, 0, sizeof(*tree));
	tree->of = of;
	tree->n_layers = n_layers;
	assert(n_layers <= IMAGE_MAX_LAYERS);
	if (image_names_grow(tree) == 0)
		tree->root = image_names_add(tree, NULL, "", 0);
	return tree->root ? 0 : image_tree_no_memory(why);
}

void image_tree_begin_layer(struct image_tree *tree, uint32_t layer)
{
	assert(layer < tree->n_layers);
	tree->layer = layer;
}

void image_tree_fini(struct image_tree *tree)
{
	for (size_t i = 0; i < tree->n_buckets; i++) {
		struct image_tree_name *name = tree->buckets[i], *next;

		for (; name; name = next) {
			next = name->next_in_bucket;
			free(name->target);
			free(name);
		}
	}
	free(tree->buckets);
	for (uint32_t i = 0; i < tree->n_layers; i++) {
		struct image_inode *inode = tree->layers[i].first, *next;

		for (; inode; inode = next) {
			next = inode->next;
			free(inode);
		}
	}
	memset(tree, 0, sizeof(*tree));
}
