/*
 * A piece of an image that is JSON: of what is looked up, what is missing is NULL, as jansson has it.
 *
 * Owner: the caller. One thread.
 */
#pragma once

#ifdef VMM_HAVE_IMAGES
#include "vmm/image/image_source.h"

struct image_json {
	const struct image_libs *libs;
	json_t *root;
	char digest[72]; /* of its text */
};

/* digest: its own, or NULL. Returns 0 or negative errno. */
int image_json_read(struct image_json *json, const struct image_source *source, const char *name,
		    const char *digest, struct image_why *why);
void image_json_close(struct image_json *json);

/* "" when it is missing, or no string. */
const char *image_json_string(const struct image_json *json, const json_t *of, const char *key);
/* An array, or NULL. */
const json_t *image_json_array(const struct image_json *json, const json_t *of, const char *key);
#endif
