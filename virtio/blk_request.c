#include "virtio/blk_request.h"

#include <errno.h>
#include <string.h>

#include "vmm/core/iov.h"
#include "vmm/core/unset.h"

#define BLK_REQUEST_SECTOR 512u

/* Sectors are 512 bytes here, whatever the disk's block size is (5.2.4). */
static uint8_t blk_request_check_range(struct blk_request *req, uint64_t sector, uint64_t len,
				       uint64_t size)
{
	uint64_t end;

	if (len % BLK_REQUEST_SECTOR != 0)
		return VIRTIO_BLK_S_IOERR;
	if (__builtin_mul_overflow(sector, BLK_REQUEST_SECTOR, &req->offset) ||
	    __builtin_add_overflow(req->offset, len, &end) || end > size)
		return VIRTIO_BLK_S_IOERR;
	return VIRTIO_BLK_S_OK;
}

/* Copies one segment, checks the copy and keeps it as a range (5.2.6.2). */
static uint8_t blk_request_add_range(struct blk_request *req, struct iov_cursor *cur, uint64_t size)
{
	uint32_t known = req->type == VIRTIO_BLK_T_DISCARD ? 0 : VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
	struct virtio_blk_discard_write_zeroes segment;
	uint64_t len;
	uint8_t verdict;

	iov_cursor_read(cur, &segment, sizeof(segment));
	if (segment.flags & ~known)
		return VIRTIO_BLK_S_UNSUPP;
	if (segment.num_sectors > BLK_REQUEST_MAX_SECTORS)
		return VIRTIO_BLK_S_IOERR;
	len = (uint64_t)segment.num_sectors * BLK_REQUEST_SECTOR;
	verdict = blk_request_check_range(req, segment.sector, len, size);
	req->unmap = req->unmap && (segment.flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
	req->ranges[req->n_ranges++] = (struct disk_range){.offset = req->offset, .len = len};
	return verdict;
}

static uint8_t __attribute__((cold))
blk_request_read_ranges(struct blk_request *req, const struct blk_request_limits *limits)
{
	const size_t segment = sizeof(struct virtio_blk_discard_write_zeroes);
	uint8_t verdict = VIRTIO_BLK_S_OK;
	struct iov_cursor cur;

	if (req->in.len > 0 || limits->readonly)
		return VIRTIO_BLK_S_IOERR;
	if (req->out.len == 0 || req->out.len % segment != 0 ||
	    req->out.len / segment > BLK_REQUEST_RANGES)
		return VIRTIO_BLK_S_IOERR;
	req->unmap = true;
	iov_cursor_init(&cur, req->out.iov, req->out.n);
	while (verdict == VIRTIO_BLK_S_OK && iov_cursor_left(&cur) > 0)
		verdict = blk_request_add_range(req, &cur, limits->size);
	return verdict;
}

static uint8_t blk_request_judge(struct blk_request *req, uint64_t sector,
				 const struct blk_request_limits *limits)
{
	switch (req->type) {
	case VIRTIO_BLK_T_IN:
		if (req->out.len > 0)
			return VIRTIO_BLK_S_IOERR;
		return blk_request_check_range(req, sector, req->in.len, limits->size);
	case VIRTIO_BLK_T_OUT:
		/* 5.2.6.2: a read-only device fails writes and writes nothing */
		if (req->in.len > 0 || limits->readonly)
			return VIRTIO_BLK_S_IOERR;
		return blk_request_check_range(req, sector, req->out.len, limits->size);
	case VIRTIO_BLK_T_FLUSH:
		/* 5.2.6.1 asks drivers for sector 0 and no data; neither means anything here */
		return VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_GET_ID:
		return req->out.len > 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
	case VIRTIO_BLK_T_DISCARD:
	case VIRTIO_BLK_T_WRITE_ZEROES:
		return blk_request_read_ranges(req, limits);
	default:
		return VIRTIO_BLK_S_UNSUPP;
	}
}

/* Where the driver has not put the header into a buffer of its own. */
static bool __attribute__((cold))
blk_request_cut_pieces(struct blk_request_data *out, struct virtio_blk_outhdr *hdr)
{
	UNSET struct iov_cursor cur;

	iov_cursor_init(&cur, out->iov, out->n);
	if (iov_cursor_read(&cur, hdr, sizeof(*hdr)) < sizeof(*hdr))
		return false;
	out->iov += cur.iov - out->iov;
	out->n = cur.n;
	out->len = iov_cursor_left(&cur);
	if (cur.off > 0) {
		out->iov->iov_base = (char *)out->iov->iov_base + cur.off;
		out->iov->iov_len -= cur.off;
	}
	return true;
}

/* Copies the header, which ends anywhere in what the driver wrote (2.7.4.3), and leaves the data. */
static bool blk_request_cut_header(struct blk_request_data *out, struct virtio_blk_outhdr *hdr)
{
	if (out->n == 0 || out->iov->iov_len != sizeof(*hdr))
		return blk_request_cut_pieces(out, hdr);
	memcpy(hdr, out->iov->iov_base, sizeof(*hdr));
	out->iov++;
	out->n--;
	out->len -= sizeof(*hdr);
	return true;
}

/* The last byte that the device may write, whatever precedes it (5.2.6, 2.7.4.2). Empty elements may follow. */
static uint8_t *blk_request_cut_status(struct blk_request_data *in)
{
	struct iovec *last;

	while (in->iov[in->n - 1].iov_len == 0)
		in->n--;
	last = &in->iov[in->n - 1];
	last->iov_len--;
	in->len--;
	if (last->iov_len == 0)
		in->n--;
	return (uint8_t *)last->iov_base + last->iov_len;
}

int blk_request_parse(struct blk_request *req, const struct virtq_chain *chain,
		      const struct blk_request_limits *limits)
{
	UNSET struct virtio_blk_outhdr hdr;

	/* but for the ranges, which few requests have */
	req->offset = 0;
	req->unmap = false;
	req->n_ranges = 0;
	/* The used ring counts written bytes in 32 bits. */
	if (chain->writable_bytes == 0 || chain->writable_bytes > UINT32_MAX)
		return -EPROTO;
	req->out = (struct blk_request_data){chain->readable, chain->n_readable,
					     chain->readable_bytes};
	if (!blk_request_cut_header(&req->out, &hdr))
		return -EPROTO;
	req->in = (struct blk_request_data){chain->writable, chain->n_writable,
					    chain->writable_bytes};
	req->status = blk_request_cut_status(&req->in);
	req->type = hdr.type;
	req->verdict = blk_request_judge(req, hdr.sector, limits);
	return 0;
}

uint64_t blk_request_bytes(const struct blk_request *req)
{
	uint64_t bytes = 0;

	if (req->type != VIRTIO_BLK_T_WRITE_ZEROES)
		return req->in.len + req->out.len;
	for (unsigned int i = 0; i < req->n_ranges; i++)
		bytes += req->ranges[i].len;
	return bytes;
}
