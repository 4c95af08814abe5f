/*
 * What the header of a qcow2 image says, checked.
 *
 * Threads: any; pure functions on bytes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QCOW2_MIN_CLUSTER_BITS 9u
#define QCOW2_MAX_CLUSTER_BITS 21u
#define QCOW2_MAX_L1_BYTES     (32u << 20)
#define QCOW2_MAX_NAME	       1023u
/* The start of the file that qcow2_header_parse() looks at: the first cluster at most. */
#define QCOW2_HEADER_BYTES     (1u << QCOW2_MAX_CLUSTER_BITS)

enum qcow2_compression {
	QCOW2_DEFLATE = 0,
	QCOW2_ZSTD = 1,
};

struct qcow2_header {
	uint32_t version;
	unsigned int cluster_bits;
	uint64_t size; /* of the disk, in bytes */
	uint64_t l1_offset;
	uint32_t l1_entries; /* that the disk needs */
	bool extended_l2;
	bool dirty; /* was not closed, or somebody writes to it */
	enum qcow2_compression compression;
	char backing_name[QCOW2_MAX_NAME + 1]; /* "": none */
	char backing_format[32];	       /* "": not said */
};

/*
 * The first bytes of a file of this size. On failure returns -EINVAL (no qcow2, or damaged) or -ENOTSUP (a feature) and why, of why_len bytes,
 * continues "cannot open disk 'x': ".
 */
int qcow2_header_parse(struct qcow2_header *header, const unsigned char *bytes, size_t len,
		       uint64_t file_size, char *why, size_t why_len);
