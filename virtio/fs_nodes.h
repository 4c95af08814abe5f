/*
 * The files of a shared directory that a guest has a number for.
 *
 * A file is held by a descriptor that reaches it and nothing else (O_PATH), so that it stays the same whatever happens to its names.
 * Of those there are as many as the table was made for: the one used least recently is closed for a new one, and when that file is
 * asked for again it is looked for where it was seen last. What is found there must be the same file.
 *
 * The same is what has the same number and type, on the same mount. While a file has a descriptor no other gets its number, but for
 * files of a server (NFS). Later another may, as soon as nobody has it any more: it is taken for the one that is gone, with other
 * contents. The guest sees that by times and size, as it would if somebody had written that file anew; what it has open it has by the
 * open file's own descriptor. Its time of birth would tell, but not on overlays, where a file keeps its number and gets another one when it
 * is written first.
 *
 * What the guest removes, or makes without a name, can be found nowhere: its descriptor stays ("pinned") until it is forgotten, or seen
 * under another name. Of those there are three quarters of all descriptors at most; what is more gets lost when its descriptor is
 * needed for another.
 *
 * A number lives as long as the guest has been told of it more often than it has forgotten it, or of something in it. A guest may
 * look up without end; there are as many numbers at a time as the table was made for.
 *
 * Owner: the device. One thread. A node, and a descriptor, is valid until the next call for the same table.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "virtio/fs_stat.h"

#define FS_NODES_DEPTH 512 /* directories in one another that are found again */

struct fs_node {
	uint64_t lookups;    /* that the guest has not forgotten yet */
	uint64_t generation; /* which of the files that had this number */
	uint64_t state;	     /* of its contents when it was opened last, mixed; 0: unknown */
	char *name; /* where it was seen last; "": it has none that is known; NULL: of the root, or free */
	dev_t dev;
	ino_t ino;
	uint64_t mount; /* which shows it: the same directory may be seen at two places */
	int fd;		/* O_PATH; -1: closed */
	uint32_t parent;
	uint32_t children;     /* nodes whose parent it is */
	uint32_t next;	       /* of its bucket, or among the free; 0: the last */
	uint32_t newer, older; /* of those with a descriptor, by use; 0: the first or last */
	uint32_t
		open; /* a file by which it is open, as its owner counts them; 0: none that is known */
	uint32_t type; /* as in st_mode */
	bool sealed; /* a file system of the host's kernel's own: a directory in which nothing is seen */
	bool pinned; /* it has no name that is known: its descriptor is not closed for another */
};

struct fs_nodes {
	struct fs_node *nodes; /* by number; 0 is none, FUSE_ROOT_ID the directory itself */
	uint32_t *buckets;
	uint64_t generation; /* files that were ever known */
	uint32_t n;	     /* numbers that were ever used, and 0 */
	uint32_t room;	     /* for numbers, and 0 */
	uint32_t most;	     /* numbers that there may be */
	uint32_t free;	     /* the first free number; 0: none */
	uint32_t fds;	     /* descriptors, without the root's */
	uint32_t most_fds;
	uint32_t pinned; /* of fds */
	int first_spare; /* descriptors from here on are for the rest of the process; the owner may set it */
	uint32_t newest, oldest; /* the nodes that have them; 0: none */
};

/* root stays the caller's, and is never closed. most_fds is at least 1. Returns 0 or -ENOMEM. */
int fs_nodes_init(struct fs_nodes *nodes, uint32_t most, uint32_t most_fds, int root,
		  const struct statx *st);
void fs_nodes_fini(struct fs_nodes *nodes);

/* NULL: the guest has no such number. */
struct fs_node *fs_nodes_get(struct fs_nodes *nodes, uint64_t id);

/* The node's descriptor. -ESTALE: it is not where it was any more. */
int fs_nodes_fd(struct fs_nodes *nodes, struct fs_node *node);

/* openat(), with what every descriptor of ours has. Returns it, or negative errno: -EMFILE when none but the spare ones are left. */
int fs_nodes_open(const struct fs_nodes *nodes, int dir, const char *name, int flags);
/* The same for what a system call has just returned: fd, or -1 with errno set. */
int fs_nodes_opened(const struct fs_nodes *nodes, int fd);

/* The process has no descriptor left: closes half of them. Returns whether there were any. */
bool fs_nodes_spare(struct fs_nodes *nodes);

/*
 * The guest is told once more of fd, whose state is *st, which was found as a name in parent; fd is the table's from then on, also
 * after an error. A node may be elsewhere afterwards. Returns its number, or -ENFILE when all are in use, or
 * there is no memory for more.
 */
int64_t fs_nodes_add(struct fs_nodes *nodes, uint32_t parent, const char *name, int fd,
		     const struct statx *st);

/*
 * The guest has removed the name from parent, or the file in its place was replaced; fd is the file's, *st its state. fd is the
 * table's from then on.
 */
void fs_nodes_lose(struct fs_nodes *nodes, uint32_t parent, const char *name, int fd,
		   const struct statx *st);

/* The guest has given the file this name instead of one that it had. The rest as above. */
void fs_nodes_rename(struct fs_nodes *nodes, uint32_t parent, const char *name, int fd,
		     const struct statx *st);

/* The file has no name that is known. False: there are too many of those. */
bool fs_nodes_pin(struct fs_nodes *nodes, struct fs_node *node);

/* A node was opened by that file, or this was closed. */
void fs_nodes_note_open(struct fs_nodes *nodes, uint32_t id, uint32_t file, bool is_open);

/* The guest forgets n times that it was told of a number; what it never knew is left alone. */
void fs_nodes_forget(struct fs_nodes *nodes, uint64_t id, uint64_t n);

/* All but the root. */
void fs_nodes_clear(struct fs_nodes *nodes);
