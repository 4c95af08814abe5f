/*
 * --root DIR: a directory of the host, packed into the initramfs of the guest.
 *
 * Life: scan, which only looks; then the archive is written, once, straight into guest memory; then free. What cannot be done is
 * one line on stderr, with the file at fault. Files that change between the two are refused; the directory itself is not
 * changed. Owner and mode of the directory are not taken over: the guest's root belongs to root.
 *
 * Kept: types, modes, ids, times of change, links of both kinds, device nodes. Lost: extended attributes, holes.
 *
 * One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROOT_DIR_SMALL	     (UINT64_C(8) << 20) /* bytes */
#define ROOT_DIR_SMALL_FILES 1000		 /* directories counted twice */

struct root_dir_entry;

struct root_dir {
	const char *path; /* borrowed */
	uint64_t size;	  /* bytes of the archive */
	struct root_dir_entry *entries;
	size_t n_entries;
	size_t room;
	unsigned int
		n_missing; /* files that the user may not read: they are left out, and this is said */
};

/*
 * Whether to pack the directory is no burden: it is small, wholly readable, and nothing is mounted in it. What makes an answer
 * impossible makes it false.
 */
bool root_dir_is_small(const char *path);

/* Without mounts other file systems are left out; their mount points are empty directories. Returns 0 or negative errno. */
int root_dir_scan(struct root_dir *root, const char *path, bool mounts);

/* struct vmm_initrd_part, fill: arg is the struct root_dir. */
int root_dir_write(void *arg, void *to, size_t size);

void root_dir_free(struct root_dir *root);
