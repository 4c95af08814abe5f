/*
 * How an image's command runs, and what the image is called: what is kept of its configuration (OCI image-spec, config.md).
 *
 * Kept, it is one text of strings. Owner: the caller. One thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define IMAGE_MAX_CONFIG (UINT32_C(1) << 20) /* bytes of its strings */

struct image_config {
	char *text; /* the strings, each with its NUL */
	uint32_t size, room;
	uint32_t n_entrypoint, n_cmd, n_env;
};

/*
 * In this order; then the entrypoint's words, those of the command, and the environment; and of an image with a user the texts of its /etc/passwd
 * and its /etc/group, unless what they are is known to the guest alone.
 */
enum image_config_string {
	IMAGE_CONFIG_NAME,   /* for people */
	IMAGE_CONFIG_SOURCE, /* where it came from */
	IMAGE_CONFIG_USER,   /* "" */
	IMAGE_CONFIG_DIRECTORY,
	IMAGE_CONFIG_STRINGS
};

/* Adds the next string. Returns 0, -E2BIG or -ENOMEM. */
int image_config_add(struct image_config *config, const char *string);

/* The string of that number; NULL beyond the last. */
const char *image_config_string(const struct image_config *config, uint32_t n);

/* The number of the string behind the environment. */
uint32_t image_config_end(const struct image_config *config);

/* Whether text and numbers, read from a file, hold what they say. */
int image_config_check(const struct image_config *config);

void image_config_fini(struct image_config *config);
