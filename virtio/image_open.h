/*
 * From what a user says of a disk to an image: its format, what it holds changes to, and where its own changes go.
 */
#pragma once

#include <stdbool.h>

#include "virtio/image.h"

enum image_format {
	IMAGE_RAW,
	IMAGE_QCOW2,
};

/* Everything is borrowed during the call. */
struct image_config {
	const char *path;
	enum image_format format;
	bool readonly;
	bool direct;	     /* past the host's page cache; a raw image without an overlay */
	const char *backing; /* image that a qcow2 image holds changes to; NULL: none */
	enum image_format backing_format;
	bool overlay;		  /* changes go elsewhere, and the image is opened for reading */
	const char *overlay_path; /* and are kept there; NULL: they end with the VM */
};

/* Refuses, with one line and -EINVAL, what contradicts itself, without a look at any file. image_open() does so too. */
int image_check(const struct image_config *config);

/* On failure one line was reported by log_error() and *image is NULL. Returns 0 or negative errno; -EBUSY: in use. */
int image_open(struct image **image, const struct image_config *config);
