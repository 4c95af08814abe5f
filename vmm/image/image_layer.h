/*
 * One layer, entry by entry: a tar archive, plain or packed by gzip or zstd, whose digests are checked when it has come to its end.
 *
 * Owner: the caller, which must not move it. One thread.
 */
#pragma once

#ifdef VMM_HAVE_IMAGES
#include <stdbool.h>
#include <stdint.h>

#include "vmm/image/image_libs.h"
#include "vmm/image/image_source.h"

#define IMAGE_MAX_BYTES (UINT64_C(64) << 30) /* that all layers of an image unpack to */

/* What is known of it beforehand. */
struct image_layer {
	char *name;	  /* of a member; NULL: it has a digest alone */
	char digest[72];  /* of the bytes as they lie there; "": not known */
	char diff_id[72]; /* of what they unpack to */
};

struct image_layer_reader {
	const struct image_source *source;
	const struct image_libs *libs;
	const struct image_layer *layer;
	const char *of; /* "layer 1 of 2" */
	struct image_blob blob;
	struct archive *packed;
	struct archive *tar;
	uint64_t at;	    /* bytes that were read of the blob */
	uint64_t *unpacked; /* bytes of all layers so far */
	struct sha256_ctx sha;
	struct sha256_ctx plain_sha;
	bool empty; /* there is nothing to unpack */
	int err;    /* of what a callback has said in why */
	struct image_why *why;
	bool (*stops)(void *arg); /* whether somebody wants us to end; set before it is opened */
	void *stops_arg;
	uint8_t bytes[65536];
	uint8_t plain[65536];
};

/* unpacked is counted on, and bounded. Returns 0 or negative errno. */
int image_layer_open(struct image_layer_reader *reader, const struct image_source *source,
		     const struct image_layer *layer, const char *of, uint64_t *unpacked,
		     struct image_why *why);

/* Returns 1 with the next entry, 0 at the end, or negative errno. */
int image_layer_next(struct image_layer_reader *reader, struct archive_entry **entry);
/* Of the entry's contents; as read(). */
long image_layer_read(struct image_layer_reader *reader, void *to, size_t size);

/* After the last entry: whether it was what it should have been. Returns 0 or negative errno. */
int image_layer_verify(struct image_layer_reader *reader);
/* Also after image_layer_open() failed. */
void image_layer_close(struct image_layer_reader *reader);
#endif
