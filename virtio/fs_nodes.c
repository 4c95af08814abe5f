#include "virtio/fs_nodes.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "virtio/fs_fuse.h"

#define FS_NODES_BUCKETS (UINT32_C(1) << 15)
#define FS_NODES_FIRST	 64 /* room at first */

static uint32_t *fs_nodes_bucket(struct fs_nodes *nodes, dev_t dev, ino_t ino, uint64_t mount)
{
	uint64_t hash = ((uint64_t)ino ^ ((uint64_t)dev << 32) ^ (mount << 16)) *
			UINT64_C(0x9e3779b97f4a7c15);

	return &nodes->buckets[hash >> 49];
}

_Static_assert(FS_NODES_BUCKETS == 1 << (64 - 49), "the hash's upper bits are a bucket");

/* A mount's number is known since Linux 5.8, and 0 before. */
static bool fs_nodes_is(const struct fs_node *node, const struct statx *st)
{
	return node->ino == st->stx_ino && node->dev == fs_stat_dev(st) &&
	       node->mount == st->stx_mnt_id && node->type == (st->stx_mode & S_IFMT);
}

static uint32_t fs_nodes_id(const struct fs_nodes *nodes, const struct fs_node *node)
{
	return (uint32_t)(node - nodes->nodes);
}

/* ---- descriptors ---- */

static void fs_nodes_unlink(struct fs_nodes *nodes, struct fs_node *node)
{
	*(node->newer ? &nodes->nodes[node->newer].older : &nodes->newest) = node->older;
	*(node->older ? &nodes->nodes[node->older].newer : &nodes->oldest) = node->newer;
	node->newer = node->older = 0;
}

static void fs_nodes_link(struct fs_nodes *nodes, struct fs_node *node)
{
	uint32_t id = fs_nodes_id(nodes, node);

	node->older = nodes->newest;
	*(nodes->newest ? &nodes->nodes[nodes->newest].newer : &nodes->oldest) = id;
	nodes->newest = id;
}

static void fs_nodes_close(struct fs_nodes *nodes, struct fs_node *node)
{
	if (node->fd < 0)
		return;
	if (node->pinned)
		nodes->pinned--;
	else
		fs_nodes_unlink(nodes, node);
	close(node->fd);
	node->fd = -1;
	node->pinned = false;
	nodes->fds--;
}

/* Not all descriptors are pinned. */
static void fs_nodes_hold(struct fs_nodes *nodes, struct fs_node *node, int fd)
{
	if (nodes->fds == nodes->most_fds)
		fs_nodes_close(nodes, &nodes->nodes[nodes->oldest]);
	node->fd = fd;
	fs_nodes_link(nodes, node);
	nodes->fds++;
}

bool fs_nodes_pin(struct fs_nodes *nodes, struct fs_node *node)
{
	uint32_t most = nodes->most_fds - (nodes->most_fds + 3) / 4;

	if (node->pinned)
		return true;
	if (node->fd < 0 || !node->name || nodes->pinned >= most)
		return false;
	fs_nodes_unlink(nodes, node);
	node->pinned = true;
	nodes->pinned++;
	return true;
}

static void fs_nodes_unpin(struct fs_nodes *nodes, struct fs_node *node)
{
	if (!node->pinned)
		return;
	node->pinned = false;
	nodes->pinned--;
	fs_nodes_link(nodes, node);
}

bool fs_nodes_spare(struct fs_nodes *nodes)
{
	uint32_t n = (nodes->fds - nodes->pinned + 1) / 2;

	for (uint32_t i = 0; i < n; i++)
		fs_nodes_close(nodes, &nodes->nodes[nodes->oldest]);
	return n > 0;
}

/* The kernel gives the lowest number that is free: one that is high tells that all below are in use. */
int fs_nodes_opened(const struct fs_nodes *nodes, int fd)
{
	if (fd < 0)
		return -errno;
	if (fd >= nodes->first_spare) {
		close(fd);
		return -EMFILE;
	}
	return fd;
}

int fs_nodes_open(const struct fs_nodes *nodes, int dir, const char *name, int flags)
{
	return fs_nodes_opened(nodes, openat(dir, name, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

/* Its parent has a descriptor. */
static int fs_nodes_find_again(struct fs_nodes *nodes, struct fs_node *node)
{
	int fd = fs_nodes_open(nodes, nodes->nodes[node->parent].fd, node->name,
			       O_PATH | O_NOFOLLOW);
	struct statx st;

	if (fd < 0)
		return fd == -ENOENT || fd == -ENOTDIR ? -ESTALE : fd;
	if (fs_stat_get(fd, &st) < 0 || !fs_nodes_is(node, &st) ||
	    (node->dev != nodes->nodes[node->parent].dev &&
	     (fs_stat_is_kernels_own(fd) != 0) != node->sealed)) {
		close(fd);
		return -ESTALE;
	}
	fs_nodes_hold(nodes, node, fd);
	return 0;
}

static __attribute__((noinline)) int fs_nodes_walk(struct fs_nodes *nodes, struct fs_node *node)
{
	struct fs_node *path[FS_NODES_DEPTH], *at = node;
	unsigned int n = 0;
	int err;

	while (at->fd < 0) {
		if (n == FS_NODES_DEPTH)
			return -ESTALE;
		path[n++] = at;
		at = &nodes->nodes[at->parent];
	}
	while (n > 0) {
		err = fs_nodes_find_again(nodes, path[--n]);
		if (err < 0)
			return err;
	}
	return node->fd;
}

/* Most have one: a frame as large as that of the search is not set up for them. */
int fs_nodes_fd(struct fs_nodes *nodes, struct fs_node *node)
{
	if (node->fd < 0)
		return fs_nodes_walk(nodes, node);
	if (node->name && !node->pinned && node->newer) {
		fs_nodes_unlink(nodes, node);
		fs_nodes_link(nodes, node);
	}
	return node->fd;
}

/* ---- numbers ---- */

int fs_nodes_init(struct fs_nodes *nodes, uint32_t most, uint32_t most_fds, int root,
		  const struct statx *st)
{
	*nodes = (struct fs_nodes){.nodes = calloc(FS_NODES_FIRST, sizeof(struct fs_node)),
				   .room = FS_NODES_FIRST,
				   .buckets = calloc(FS_NODES_BUCKETS, sizeof(uint32_t)),
				   .n = FUSE_ROOT_ID + 1,
				   .most = most,
				   .most_fds = most_fds,
				   .first_spare = INT_MAX};
	if (!nodes->nodes || !nodes->buckets) {
		fs_nodes_fini(nodes);
		return -ENOMEM;
	}
	nodes->nodes[FUSE_ROOT_ID] = (struct fs_node){.lookups = 1,
						      .fd = root,
						      .type = S_IFDIR,
						      .dev = fs_stat_dev(st),
						      .ino = st->stx_ino,
						      .mount = st->stx_mnt_id};
	*fs_nodes_bucket(nodes, fs_stat_dev(st), st->stx_ino, st->stx_mnt_id) = FUSE_ROOT_ID;
	return 0;
}

void fs_nodes_fini(struct fs_nodes *nodes)
{
	if (nodes->nodes && nodes->buckets)
		fs_nodes_clear(nodes);
	free(nodes->nodes);
	free(nodes->buckets);
	nodes->nodes = NULL;
	nodes->buckets = NULL;
}

struct fs_node *fs_nodes_get(struct fs_nodes *nodes, uint64_t id)
{
	if (id < FUSE_ROOT_ID || id >= nodes->n || nodes->nodes[id].lookups == 0)
		return NULL;
	return &nodes->nodes[id];
}

static uint32_t fs_nodes_find(struct fs_nodes *nodes, const struct statx *st)
{
	uint32_t id = *fs_nodes_bucket(nodes, fs_stat_dev(st), st->stx_ino, st->stx_mnt_id);

	while (id && !fs_nodes_is(&nodes->nodes[id], st))
		id = nodes->nodes[id].next;
	return id;
}

static void fs_nodes_remove(struct fs_nodes *nodes, struct fs_node *node)
{
	uint32_t id = fs_nodes_id(nodes, node);
	uint32_t *at = fs_nodes_bucket(nodes, node->dev, node->ino, node->mount);

	while (*at != id)
		at = &nodes->nodes[*at].next;
	*at = node->next;
	fs_nodes_close(nodes, node);
	free(node->name);
	*node = (struct fs_node){.fd = -1, .next = nodes->free};
	nodes->free = id;
}

/* Goes up as long as nobody knows a directory any more. */
static void fs_nodes_drop(struct fs_nodes *nodes, struct fs_node *node)
{
	while (node->name && node->lookups == 0 && node->children == 0) {
		struct fs_node *parent = &nodes->nodes[node->parent];

		fs_nodes_remove(nodes, node);
		parent->children--;
		node = parent;
	}
}

/* A file may have several names, and each may change: the last one seen is where it will be looked for. */
static int fs_nodes_move(struct fs_nodes *nodes, struct fs_node *node, uint32_t parent,
			 const char *name)
{
	struct fs_node *before = &nodes->nodes[node->parent];
	char *copy;

	if (node->parent == parent && strcmp(node->name, name) == 0)
		return 0;
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	free(node->name);
	node->name = copy;
	nodes->nodes[parent].children++;
	node->parent = parent;
	before->children--;
	fs_nodes_drop(nodes, before);
	return 0;
}

/* Whether node is in a directory, or is that. What the host has moved meanwhile may look so, and would never be found. */
static bool fs_nodes_is_above(const struct fs_nodes *nodes, uint32_t node, uint32_t directory)
{
	for (unsigned int i = 0; i < FS_NODES_DEPTH && directory != FUSE_ROOT_ID; i++) {
		if (directory == node)
			return true;
		directory = nodes->nodes[directory].parent;
	}
	return directory != FUSE_ROOT_ID;
}

/* The newer one stays: the number may be another file's by now where a server gives it, and the older one of no use. */
static void fs_nodes_renew(struct fs_nodes *nodes, struct fs_node *node, int fd)
{
	if (node->fd < 0) {
		fs_nodes_hold(nodes, node, fd);
	} else if (!node->name) { /* the root's is not ours */
		close(fd);
	} else {
		close(node->fd);
		node->fd = fd;
	}
}

static int64_t fs_nodes_tell_again(struct fs_nodes *nodes, uint32_t id, uint32_t parent,
				   const char *name, int fd)
{
	struct fs_node *node = &nodes->nodes[id];
	int err = 0;

	if (node->name && !fs_nodes_is_above(nodes, id, parent)) {
		err = fs_nodes_move(nodes, node, parent, name);
		fs_nodes_unpin(nodes, node);
	}
	if (err < 0) {
		close(fd);
		return err;
	}
	fs_nodes_renew(nodes, node, fd);
	if (node->lookups < UINT64_MAX)
		node->lookups++;
	return id;
}

/* A number that is not in use, or 0 when there is none. */
static uint32_t fs_nodes_take(struct fs_nodes *nodes)
{
	uint32_t id = nodes->free, room = 2 * nodes->room;
	struct fs_node *more;

	if (id) {
		nodes->free = nodes->nodes[id].next;
		return id;
	}
	if (nodes->n > nodes->most)
		return 0;
	if (nodes->n == nodes->room) {
		more = realloc(nodes->nodes, room * sizeof(*more));
		if (!more)
			return 0;
		nodes->nodes = more;
		nodes->room = room;
	}
	return nodes->n++;
}

static int64_t fs_nodes_tell_new(struct fs_nodes *nodes, uint32_t parent, const char *name, int fd,
				 const struct statx *st)
{
	uint32_t id = fs_nodes_take(nodes),
		 *bucket = fs_nodes_bucket(nodes, fs_stat_dev(st), st->stx_ino, st->stx_mnt_id);
	char *copy = id ? strdup(name) : NULL;

	if (!copy) {
		if (id) {
			nodes->nodes[id] = (struct fs_node){.fd = -1, .next = nodes->free};
			nodes->free = id;
		}
		close(fd);
		return -ENFILE;
	}
	nodes->nodes[id] = (struct fs_node){.lookups = 1,
					    .generation = ++nodes->generation,
					    .name = copy,
					    .dev = fs_stat_dev(st),
					    .ino = st->stx_ino,
					    .mount = st->stx_mnt_id,
					    .fd = -1,
					    .parent = parent,
					    .next = *bucket,
					    .type = st->stx_mode & S_IFMT};
	*bucket = id;
	nodes->nodes[parent].children++;
	fs_nodes_hold(nodes, &nodes->nodes[id], fd);
	return id;
}

int64_t fs_nodes_add(struct fs_nodes *nodes, uint32_t parent, const char *name, int fd,
		     const struct statx *st)
{
	uint32_t id = fs_nodes_find(nodes, st);

	return id ? fs_nodes_tell_again(nodes, id, parent, name, fd)
		  : fs_nodes_tell_new(nodes, parent, name, fd, st);
}

/* The file that fd leads to, if the guest knows it; it has a descriptor then. fd is the table's. */
static struct fs_node *fs_nodes_give(struct fs_nodes *nodes, int fd, const struct statx *st)
{
	uint32_t id = fs_nodes_find(nodes, st);
	struct fs_node *node = id && nodes->nodes[id].name ? &nodes->nodes[id] : NULL;

	if (node)
		fs_nodes_renew(nodes, node, fd);
	else
		close(fd);
	return node;
}

void fs_nodes_lose(struct fs_nodes *nodes, uint32_t parent, const char *name, int fd,
		   const struct statx *st)
{
	struct fs_node *node = fs_nodes_give(nodes, fd, st);

	if (node && node->parent == parent && strcmp(node->name, name) == 0)
		fs_nodes_pin(nodes, node);
}

void fs_nodes_rename(struct fs_nodes *nodes, uint32_t parent, const char *name, int fd,
		     const struct statx *st)
{
	struct fs_node *node = fs_nodes_give(nodes, fd, st);

	if (!node || fs_nodes_is_above(nodes, fs_nodes_id(nodes, node), parent))
		return;
	if (fs_nodes_move(nodes, node, parent, name) == 0)
		fs_nodes_unpin(nodes, node);
	else
		fs_nodes_pin(nodes, node);
}

void fs_nodes_note_open(struct fs_nodes *nodes, uint32_t id, uint32_t file, bool is_open)
{
	struct fs_node *node = &nodes->nodes[id];

	/* The number may be another file's by now, which this one never was. */
	if (is_open)
		node->open = file;
	else if (node->open == file)
		node->open = 0;
}

void fs_nodes_forget(struct fs_nodes *nodes, uint64_t id, uint64_t n)
{
	struct fs_node *node = fs_nodes_get(nodes, id);

	if (!node || id == FUSE_ROOT_ID)
		return;
	node->lookups -= n < node->lookups ? n : node->lookups;
	fs_nodes_drop(nodes, node);
}

void fs_nodes_clear(struct fs_nodes *nodes)
{
	for (uint32_t id = FUSE_ROOT_ID + 1; id < nodes->n; id++) {
		struct fs_node *node = &nodes->nodes[id];

		node->lookups = 0;
		if (node->name)
			fs_nodes_drop(nodes, node);
	}
}
