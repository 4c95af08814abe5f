/*
 * Where an image's pieces are: the members of a tar archive, or the files of a directory.
 *
 * Nothing is believed of an archive but where its members lie; what is in them is checked by who reads it. Owner: the caller. One thread.
 */
#pragma once

#ifdef VMM_HAVE_IMAGES
#include <stddef.h>
#include <stdint.h>

#include "vmm/image/image_libs.h"
#include "vmm/image/image_ref.h"

#define IMAGE_MAX_MEMBERS 65536
#define IMAGE_MAX_JSON	  (4 << 20) /* bytes */

struct image_member {
	char *name;
	char *link;	 /* a name that it stands for; NULL: none */
	uint64_t offset; /* in the archive */
	uint64_t size;
};

struct image_source {
	const struct image_libs *libs;
	const struct image_ref *ref;
	int fd;
	struct image_member *members; /* of an archive */
	size_t n_members;
};

/* A piece. */
struct image_blob {
	int fd;
	uint64_t offset;
	uint64_t size;
};

/* Returns 0 or negative errno. */
int image_source_open(struct image_source *source, const struct image_libs *libs,
		      const struct image_ref *ref, struct image_why *why);

/* Returns 0, or negative errno: -ENOENT when there is none of that name. */
int image_source_find(const struct image_source *source, const char *name, struct image_blob *blob,
		      struct image_why *why);
void image_source_release(const struct image_source *source, struct image_blob *blob);

/* "blobs/sha256/..." of a digest that is good. */
int image_source_find_digest(const struct image_source *source, const char *digest,
			     struct image_blob *blob, struct image_why *why);

/*
 * Reads a piece of at most IMAGE_MAX_JSON bytes; digest, unless it is NULL, has to be its own, or -EBADMSG is returned. *text is to be
 * freed by free() and has a NUL behind its *size bytes.
 */
int image_source_read(const struct image_source *source, const char *name, const char *digest,
		      char **text, size_t *size, struct image_why *why);

void image_source_close(struct image_source *source);

/* "sha256:" and the digits of what a context has seen, which is over then. */
struct sha256_ctx;
void image_digest_of(const struct image_libs *libs, struct sha256_ctx *sha, char digest[72]);
#endif
