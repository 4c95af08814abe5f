/*
 * What a whole process gives up once all is open and before the guest's first instruction. Each stage stands in confine.c with
 * what it takes away, and why it comes when it does; docs/threat-model.md says what each is good for.
 *
 * Owner's thread, while it is the only one of the process: threads that exist already would keep what they have.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Where a directory with sockets is found afterwards, when there is a root of our own. */
#define CONFINE_SOCKETS "/sockets"

/*
 * A directory in which something will be opened later, by a descriptor (O_PATH). Where there is one, no file system of the kernel's own
 * (mounts.h) is found by its name afterwards, nor in a tree that is read.
 */
struct confine_tree {
	int fd;	    /* leads to the same directory afterwards, from which no way leads out */
	bool read;  /* files in it will be opened, to be read */
	bool write; /* and written, made and removed, all but devices */
};

struct confine_options {
	bool strict;	/* a layer that this host cannot have is an error */
	int still_open; /* negative errno: why the process could not close what its parent left open */
	bool change_user;
	uid_t uid; /* with change_user */
	gid_t gid;
	/* Directories in which names may be removed later, by these descriptors (O_PATH). They keep their numbers, but become
	 * others, from which no way leads up. */
	const int *remove_in;
	unsigned int n_remove_in;
	const struct confine_tree *const *trees; /* none twice */
	unsigned int n_trees;
	/* Root, and nobody else, keeps its rights over the owners of files, and over others' files: for trees that are written. Each
	 * thread but those that write calls confine_drop_capabilities(). */
	bool keep_owners;
	const char *socket_dir; /* with sockets to be connected to later, or "."; NULL: none */
	bool mounts;		/* result.mounts is wanted */
};

struct confine_result {
	bool kept;	   /* options.keep_owners held */
	bool hidden;	   /* no file of this host can be opened by name, but for those in trees */
	bool out_of_reach; /* nor changed, by who may write in trees, nor opened for more than it was */
	bool moved; /* socket_dir is the working directory now, and no other name means anything */
	bool alone; /* in a user namespace in which there is no user but ours */
	/* A descriptor of the mount namespace, where there is nothing in it but the empty root, as far as the kernel tells (Linux 6.12), and
	 * options.mounts is set; else -1. Who has the last waits for a grace period of the kernel's. */
	int mounts;
	char held[256];	   /* which layers hold, in words */
	char missing[256]; /* which do not, and why; "": none */
};

/*
 * Applies every layer that this host has. Returns 0, or negative errno after a line that says which layer failed: of any in
 * strict mode, of the change of user always. After an error the process may have lost some of its rights.
 */
int confine_process(const struct confine_options *options, struct confine_result *result);

/* The calling thread keeps none. */
void confine_drop_capabilities(void);

/* The calling thread keeps those that are effective, and can take no others. */
void confine_settle_capabilities(void);
