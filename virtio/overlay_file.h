/*
 * The file of an overlay: header, bitmap, data.
 *
 *     0                    struct overlay_header, with zeros up to 4096
 *     4096                 the bitmap, a bit for each 512 bytes of the disk, in words of 64 bits, little-endian
 *     header.data_offset   the disk's sectors, at their own offset; the file ends with the disk
 *
 * A file with a name is complete from the moment that it has one, and its header never changes.
 *
 * Owner: the overlay. Threads: one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "virtio/overlay_bitmap.h"

struct image;

#define OVERLAY_HEADER_SIZE 4096u

/* What tells a base from another. */
struct overlay_base {
	uint64_t size; /* bytes */
	int64_t changed_sec;
	uint32_t changed_nsec;
	uint32_t crc; /* of its first and last 64 KiB */
	mode_t mode;  /* no part of that: what a file over it is made with */
};

/* All numbers are little-endian. */
struct overlay_header {
	char magic[16];
	uint32_t version;
	uint32_t crc; /* of this struct, with 0 here */
	uint64_t data_offset;
	uint64_t base_size;
	int64_t base_changed_sec;
	uint32_t base_changed_nsec;
	uint32_t base_crc;
};

/* Returns 0 or negative errno; reports nothing. */
int overlay_base_identify(struct overlay_base *id, struct image *base);

uint64_t overlay_file_data_offset(uint64_t disk_size);

/* Both return the file or negative errno, and report what went wrong. *made: it was not there before. */
int overlay_file_open_temporary(uint64_t disk_size);
int overlay_file_open_kept(const char *path, const struct overlay_base *base, const char *base_name,
			   bool *made);

/* Fills the bitmap from the file; reads only what was written of it. Returns 0 or negative errno. */
int overlay_file_load(int fd, struct overlay_bitmap *bitmap);
