#include "virtio/blk.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_ids.h>
#include <string.h>

#include "virtio/blk_request.h"
#include "vmm/core/iov.h"

/*
 * How much one kick may do before the loop gets its turn (a reset waits that long), and how much may be done
 * before the driver sees it: batches save interrupts, but what is done should not wait for a slow request.
 */
#define VIRTIO_BLK_KICK_REQUESTS    256
#define VIRTIO_BLK_KICK_BYTES	    (UINT64_C(16) << 20)
#define VIRTIO_BLK_PUBLISH_REQUESTS 16
#define VIRTIO_BLK_PUBLISH_BYTES    (256u << 10)

/* Linux refuses a device whose blocks are larger than its pages. */
#define VIRTIO_BLK_MAX_BLOCK 4096u

/* The fields up to write zeroes; drivers look only at those whose feature is offered. */
#define VIRTIO_BLK_CONFIG_SIZE offsetof(struct virtio_blk_config, max_secure_erase_sectors)

static struct virtio_blk *virtio_blk_of(struct virtio_device *dev)
{
	return (struct virtio_blk *)(void *)((char *)dev - offsetof(struct virtio_blk, dev));
}

static uint64_t virtio_blk_features(const struct disk *disk)
{
	uint64_t features = UINT64_C(1) << VIRTIO_BLK_F_SEG_MAX |
			    UINT64_C(1) << VIRTIO_BLK_F_BLK_SIZE |
			    UINT64_C(1) << VIRTIO_BLK_F_FLUSH;

	if (disk->readonly)
		features |= UINT64_C(1) << VIRTIO_BLK_F_RO;
	if (disk->physical_block > disk->logical_block)
		features |= UINT64_C(1) << VIRTIO_BLK_F_TOPOLOGY;
	return features;
}

/* virtio 1.2, 5.2.4. A request needs one descriptor for the header and one for the status. */
static void virtio_blk_fill_config(struct virtio_blk *blk)
{
	const struct disk *disk = blk->disk;
	uint32_t block = disk->logical_block;
	uint32_t ratio;
	struct virtio_blk_config config = {
		.capacity = htole64(disk->size / DISK_SECTOR),
		.seg_max = htole32(VIRTIO_BLK_QUEUE_SIZE - 2),
	};

	if (block > VIRTIO_BLK_MAX_BLOCK)
		block = VIRTIO_BLK_MAX_BLOCK;
	ratio = disk->physical_block / block;
	config.blk_size = htole32(block);
	config.physical_block_exp = (uint8_t)__builtin_ctz(ratio);
	config.min_io_size = htole16((uint16_t)(ratio < UINT16_MAX ? ratio : UINT16_MAX));
	virtio_device_config_set(&blk->dev, 0, &config, VIRTIO_BLK_CONFIG_SIZE);
}

static void virtio_blk_start(struct virtio_device *dev)
{
	struct virtio_blk *blk = virtio_blk_of(dev);

	blk->state.writethrough = !(dev->negotiated & UINT64_C(1) << VIRTIO_BLK_F_FLUSH);
}

static void virtio_blk_publish(struct virtio_blk *blk, unsigned int queue)
{
	if (blk->unpublished == 0)
		return;
	blk->unpublished = 0;
	blk->unpublished_bytes = 0;
	virtio_device_publish(&blk->dev, queue);
}

/* Everything up to the status byte, so that the used length is true whatever happened (2.7.8.2). */
static void virtio_blk_zero(const struct blk_request_data *in)
{
	for (unsigned int i = 0; i < in->n; i++)
		memset(in->iov[i].iov_base, 0, in->iov[i].iov_len);
}

static uint8_t virtio_blk_failed(struct virtio_blk *blk, const char *what,
				 const struct blk_request *req, int err)
{
	log_guest(&blk->dev.log, "%s: %s of %zu bytes at byte %" PRIu64 " failed: %s",
		  blk->dev.name, what, req->in.len + req->out.len, req->offset, strerror(-err));
	return VIRTIO_BLK_S_IOERR;
}

static uint8_t virtio_blk_read(struct virtio_blk *blk, const struct blk_request *req)
{
	int err = disk_readv(blk->disk, req->in.iov, req->in.n, req->offset);

	if (err == 0)
		return VIRTIO_BLK_S_OK;
	virtio_blk_zero(&req->in);
	return virtio_blk_failed(blk, "read", req, err);
}

/* It may take long, so what is done already is shown first. */
static uint8_t virtio_blk_flush(struct virtio_blk *blk, unsigned int queue)
{
	int err;

	virtio_blk_publish(blk, queue);
	err = disk_flush(blk->disk);
	if (err == 0)
		return VIRTIO_BLK_S_OK;
	log_guest(&blk->dev.log, "%s: flush failed, written data may be lost: %s", blk->dev.name,
		  strerror(-err));
	return VIRTIO_BLK_S_IOERR;
}

static uint8_t virtio_blk_write(struct virtio_blk *blk, unsigned int queue,
				const struct blk_request *req)
{
	int err = disk_writev(blk->disk, req->out.iov, req->out.n, req->offset);

	if (err < 0)
		return virtio_blk_failed(blk, "write", req, err);
	return blk->state.writethrough ? virtio_blk_flush(blk, queue) : VIRTIO_BLK_S_OK;
}

/* 5.2.6: up to 20 bytes; more room than that is filled with zeros. */
static uint8_t virtio_blk_get_id(const struct virtio_blk *blk, const struct blk_request *req)
{
	struct iov_cursor cur;

	virtio_blk_zero(&req->in);
	iov_cursor_init(&cur, req->in.iov, req->in.n);
	iov_cursor_write(&cur, blk->serial, sizeof(blk->serial));
	return VIRTIO_BLK_S_OK;
}

static uint8_t virtio_blk_execute(struct virtio_blk *blk, unsigned int queue,
				  const struct blk_request *req)
{
	if (req->verdict != VIRTIO_BLK_S_OK) {
		virtio_blk_zero(&req->in);
		return req->verdict;
	}
	switch (req->type) {
	case VIRTIO_BLK_T_IN:
		return virtio_blk_read(blk, req);
	case VIRTIO_BLK_T_OUT:
		return virtio_blk_write(blk, queue, req);
	case VIRTIO_BLK_T_FLUSH:
		virtio_blk_zero(&req->in);
		return virtio_blk_flush(blk, queue);
	default: /* the parser accepts no other */
		assert(req->type == VIRTIO_BLK_T_GET_ID);
		return virtio_blk_get_id(blk, req);
	}
}

/* The only way a request ends. */
static void virtio_blk_complete(struct virtio_blk *blk, unsigned int queue, uint16_t head,
				const struct blk_request *req, uint8_t status)
{
	*req->status = status;
	virtq_push(&blk->dev.queue[queue], head, (uint32_t)(req->in.len + 1));
	blk->unpublished++;
	blk->unpublished_bytes += req->in.len + req->out.len;
	if (blk->unpublished >= VIRTIO_BLK_PUBLISH_REQUESTS ||
	    blk->unpublished_bytes >= VIRTIO_BLK_PUBLISH_BYTES)
		virtio_blk_publish(blk, queue);
}

/* Serves the next chain. Returns 1, 0 when there is none, or -EPROTO when the driver is at fault. */
static int virtio_blk_serve(struct virtio_blk *blk, unsigned int queue, uint64_t *bytes)
{
	struct blk_request_limits limits = {blk->state.size, blk->disk->readonly};
	struct virtq_chain chain;
	struct blk_request req;
	int ret = virtq_pop(&blk->dev.queue[queue], &chain, blk->iov, VIRTIO_BLK_QUEUE_SIZE);

	if (ret > 0 && blk_request_parse(&req, &chain, &limits) < 0)
		ret = -EPROTO;
	if (ret <= 0)
		return ret;
	*bytes += req.in.len + req.out.len;
	virtio_blk_complete(blk, queue, chain.head, &req, virtio_blk_execute(blk, queue, &req));
	return 1;
}

/* Returns 0 when the queue is empty, 1 when the kick has done enough, or -EPROTO. */
static int virtio_blk_drain(struct virtio_blk *blk, unsigned int queue, unsigned int *requests,
			    uint64_t *bytes)
{
	int ret = 1;

	while (ret > 0 && *bytes < VIRTIO_BLK_KICK_BYTES &&
	       (*requests)++ < VIRTIO_BLK_KICK_REQUESTS)
		ret = virtio_blk_serve(blk, queue, bytes);
	return ret;
}

static void virtio_blk_kick(struct virtio_device *dev, unsigned int queue)
{
	struct virtio_blk *blk = virtio_blk_of(dev);
	unsigned int requests = 0;
	uint64_t bytes = 0;
	int ret;

	do {
		virtq_disable_kick(&dev->queue[queue]);
		ret = virtio_blk_drain(blk, queue, &requests, &bytes);
		virtio_blk_publish(blk, queue);
	} while (ret == 0 && virtq_enable_kick(&dev->queue[queue]));
	if (ret > 0)
		virtio_device_rekick(dev, queue);
	else if (ret < 0)
		virtio_device_broken(dev, "malformed ring, chain or request");
}

/* Nothing is in flight or unpublished between two callbacks; what was not taken is dropped. */
static void virtio_blk_stop(struct virtio_device *dev)
{
	(void)dev;
}

static const struct virtio_device_ops virtio_blk_ops = {
	.start = virtio_blk_start,
	.kick = virtio_blk_kick,
	.stop = virtio_blk_stop,
};

int virtio_blk_init(struct virtio_blk *blk, const struct virtio_blk_options *options)
{
	size_t serial_len = options->serial ? strlen(options->serial) : 0;
	int ret;

	memset(blk, 0, sizeof(*blk));
	blk->disk = options->disk;
	blk->state.size = options->disk->size;
	if (serial_len > sizeof(blk->serial)) {
		log_error("%s: serial '%s' is longer than %zu characters", blk->disk->name,
			  options->serial, sizeof(blk->serial));
		return -EINVAL;
	}
	if (serial_len > 0)
		memcpy(blk->serial, options->serial, serial_len);
	blk->dev = (struct virtio_device){
		.ops = &virtio_blk_ops,
		.name = blk->disk->name,
		.loop = options->loop,
		.id = VIRTIO_ID_BLOCK,
		.queue_size = VIRTIO_BLK_QUEUE_SIZE,
		.n_queues = 1,
		.config_size = VIRTIO_BLK_CONFIG_SIZE,
		.features = virtio_blk_features(blk->disk),
	};
	ret = virtio_device_init(&blk->dev);
	if (ret < 0)
		log_error("cannot set up %s: %s", blk->disk->name, strerror(-ret));
	else
		virtio_blk_fill_config(blk);
	return ret;
}

void virtio_blk_fini(struct virtio_blk *blk)
{
	virtio_device_fini(&blk->dev);
}
