/*
 * What a container image is called by: "docker-archive:FILE[:NAME]", "oci-archive:FILE[:TAG]", "oci:DIR[:TAG]", each also with
 * "@sha256:..." for the digest of one in it, as skopeo(1) writes it. So a path has no colon.
 *
 * Pure functions.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "vmm/image/image_why.h"

enum image_kind {
	IMAGE_DOCKER_ARCHIVE,
	IMAGE_OCI_ARCHIVE,
	IMAGE_OCI_DIR,
};

struct image_ref {
	enum image_kind kind;
	char path[PATH_MAX];
	char name[512];	 /* "": the only one */
	char digest[72]; /* "sha256:" and 64 hex digits; "": not given */
};

/* Whether text begins as one of them does. */
bool image_ref_is(const char *text);

/* Returns 0 or -EINVAL. */
int image_ref_parse(struct image_ref *ref, const char *text, struct image_why *why);

/* Whether it is "sha256:" and 64 hex digits in lower case. */
bool image_digest_is_good(const char *digest);
