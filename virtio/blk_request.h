/*
 * What a virtio-blk driver asks for (virtio 1.2, 5.2.6), read from a chain and checked before anything is done.
 *
 * blk_request_parse() is pure: it copies the header once, cuts header and status byte off the chain's iovecs
 * and judges the request. It changes neither guest memory nor the device.
 *
 * Owner: the caller; the request points into the chain's iovecs, whose elements it changes. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <linux/virtio_blk.h>

#include "virtio/disk.h"
#include "virtio/virtq.h"

/* Discard and write zeroes: segments in a request, and sectors in a segment (2 GiB). */
#define BLK_REQUEST_RANGES	16u
#define BLK_REQUEST_MAX_SECTORS (UINT32_C(1) << 22)

struct blk_request_data {
	struct iovec *iov;
	unsigned int n;
	size_t len;
};

struct blk_request {
	uint32_t type;	 /* VIRTIO_BLK_T_* as the driver wrote it */
	uint8_t verdict; /* VIRTIO_BLK_S_OK: to be carried out; else the status to answer with */
	uint64_t
		offset; /* bytes; valid for an accepted IN or OUT, whose data lies wholly on the disk */
	struct blk_request_data out; /* from the driver, behind the header */
	struct blk_request_data in;  /* to the driver, before the status byte */
	uint8_t *status;	     /* in guest memory */
	/* DISCARD and WRITE_ZEROES, accepted: all on the disk */
	bool unmap; /* each segment allows that its storage is given back */
	unsigned int n_ranges;
	struct disk_range ranges[BLK_REQUEST_RANGES];
};

/* Reads what the parser needs to know of the disk. */
struct blk_request_limits {
	uint64_t size; /* bytes */
	bool readonly;
};

/*
 * Returns 0 with *req filled, or -EPROTO when the chain has no whole header or no room for the status, so that
 * nothing can be answered and the driver is at fault. Accepted are IN, OUT, FLUSH, GET_ID, DISCARD and WRITE_ZEROES.
 */
int blk_request_parse(struct blk_request *req, const struct virtq_chain *chain,
		      const struct blk_request_limits *limits);

/* What an accepted request reads or writes of the disk, in bytes: its data, or the zeros that it asks for. */
uint64_t blk_request_bytes(const struct blk_request *req);
