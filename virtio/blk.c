#include "virtio/blk.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <linux/virtio_ids.h>

#include "vmm/core/assert.h"
#include "vmm/core/log.h"

/* Linux refuses a device whose blocks are larger than its pages. */
#define VIRTIO_BLK_MAX_BLOCK 4096u

/* The fields up to write zeroes, which are all in older headers; drivers look only at those whose feature is offered. */
#define VIRTIO_BLK_CONFIG_SIZE (offsetof(struct virtio_blk_config, unused1) + 3)

static struct virtio_blk *virtio_blk_of(struct virtio_device *dev)
{
	return (struct virtio_blk *)(void *)((char *)dev - offsetof(struct virtio_blk, dev));
}

static uint64_t virtio_blk_features(const struct virtio_blk *blk)
{
	const struct disk *disk = blk->disk;
	uint64_t features = UINT64_C(1) << VIRTIO_BLK_F_SEG_MAX |
			    UINT64_C(1) << VIRTIO_BLK_F_BLK_SIZE |
			    UINT64_C(1) << VIRTIO_BLK_F_FLUSH;

	if (blk->dev.n_queues > 1)
		features |= UINT64_C(1) << VIRTIO_BLK_F_MQ;
	if (!disk->readonly)
		features |= UINT64_C(1) << VIRTIO_BLK_F_DISCARD |
			    UINT64_C(1) << VIRTIO_BLK_F_WRITE_ZEROES;
	else
		features |= UINT64_C(1) << VIRTIO_BLK_F_RO;
	if (disk->physical_block > disk->logical_block || disk->optimal_io > 0)
		features |= UINT64_C(1) << VIRTIO_BLK_F_TOPOLOGY;
	return features;
}

static uint32_t virtio_blk_seg_max(const struct virtio_blk *blk)
{
	uint32_t room = blk->dev.queue_size - 2u;

	return room < VIRTIO_BLK_SEG_MAX ? room : VIRTIO_BLK_SEG_MAX;
}

/* virtio 1.2, 5.2.4. A request needs one descriptor for the header and one for the status. */
static void virtio_blk_fill_config(struct virtio_blk *blk)
{
	const struct disk *disk = blk->disk;
	uint32_t block = disk->logical_block;
	uint32_t ratio;
	struct virtio_blk_config config = {
		.capacity = htole64(disk_size(disk) / DISK_SECTOR),
		.seg_max = htole32(virtio_blk_seg_max(blk)),
		.num_queues = htole16((uint16_t)blk->dev.n_queues),
		.max_discard_sectors = htole32(BLK_REQUEST_MAX_SECTORS),
		.max_discard_seg = htole32(BLK_REQUEST_RANGES),
		.discard_sector_alignment = htole32(disk->physical_block / DISK_SECTOR),
		.max_write_zeroes_sectors = htole32(BLK_REQUEST_MAX_SECTORS),
		.max_write_zeroes_seg = htole32(BLK_REQUEST_RANGES),
		.write_zeroes_may_unmap = 1,
	};

	if (block > VIRTIO_BLK_MAX_BLOCK)
		block = VIRTIO_BLK_MAX_BLOCK;
	ratio = disk->physical_block / block;
	config.blk_size = htole32(block);
	config.physical_block_exp = (uint8_t)__builtin_ctz(ratio);
	config.min_io_size = htole16((uint16_t)(ratio < UINT16_MAX ? ratio : UINT16_MAX));
	config.opt_io_size = htole32(disk->optimal_io / block);
	virtio_device_config_set(&blk->dev, 0, &config, VIRTIO_BLK_CONFIG_SIZE);
}

static void virtio_blk_start(struct virtio_device *dev)
{
	struct virtio_blk *blk = virtio_blk_of(dev);

	blk->state.writethrough = !(dev->negotiated & UINT64_C(1) << VIRTIO_BLK_F_FLUSH);
}

static void virtio_blk_kick(struct virtio_device *dev, unsigned int queue)
{
	virtio_blk_queue_kick(&virtio_blk_of(dev)->queues[queue]);
}

static bool virtio_blk_kick_inline(struct virtio_device *dev, unsigned int queue)
{
	return virtio_blk_queue_kick_inline(&virtio_blk_of(dev)->queues[queue]);
}

static void virtio_blk_quiesce(struct virtio_device *dev, unsigned int queue)
{
	virtio_blk_queue_quiesce(&virtio_blk_of(dev)->queues[queue]);
}

/* The queues are quiet, and nothing else refers to guest memory. */
static void virtio_blk_stop(struct virtio_device *dev)
{
	(void)dev;
}

static const struct virtio_device_ops virtio_blk_ops = {
	.start = virtio_blk_start,
	.kick = virtio_blk_kick,
	.kick_inline = virtio_blk_kick_inline,
	.quiesce = virtio_blk_quiesce,
	.stop = virtio_blk_stop,
};

static int virtio_blk_set_serial(struct virtio_blk *blk, const char *serial)
{
	size_t len = serial ? strlen(serial) : 0;

	if (len > sizeof(blk->serial)) {
		log_error("%s: serial '%s' is longer than %zu characters", blk->disk->name, serial,
			  sizeof(blk->serial));
		return -EINVAL;
	}
	if (len > 0)
		memcpy(blk->serial, serial, len);
	return 0;
}

static void virtio_blk_fill_device(struct virtio_blk *blk, const struct virtio_blk_options *options)
{
	blk->dev = (struct virtio_device){
		.ops = &virtio_blk_ops,
		.name = blk->disk->name,
		.loop = options->loop,
		.id = VIRTIO_ID_BLOCK,
		.queue_size = options->queue_size ? options->queue_size : VIRTIO_BLK_QUEUE_SIZE,
		.n_queues = options->n_queues ? options->n_queues : 1,
		/* see VIRTIO_BLK_QUEUE_SIZE */
		.no_indirect = true,
		.config_size = VIRTIO_BLK_CONFIG_SIZE,
	};
	assert(blk->dev.queue_size <= VIRTQ_MAX_SIZE && blk->dev.queue_size > 2);
	assert(blk->dev.n_queues <= VIRTIO_BLK_MAX_QUEUES);
	for (unsigned int i = 0; i < blk->dev.n_queues; i++) {
		if (options->queue_loops)
			blk->dev.queue_loop[i] = options->queue_loops[i];
		blk->dev.serve_inline[i] = blk->inline_requests > 0;
	}
	blk->dev.features = virtio_blk_features(blk);
}

/* Whether vCPUs serve the queues too. */
static void virtio_blk_choose_inline(struct virtio_blk *blk,
				     const struct virtio_blk_options *options)
{
	if (blk->disk->engine != DISK_ENGINE_AUTO || blk->limit.limited || !disk_can_try(blk->disk))
		return;
	blk->inline_requests = options->inline_requests;
	blk->inline_bytes = options->inline_bytes;
}

static int virtio_blk_init_queues(struct virtio_blk *blk)
{
	unsigned int i = 0;
	int err = 0;

	blk->queues = calloc(blk->dev.n_queues, sizeof(*blk->queues));
	if (!blk->queues)
		return -ENOMEM;
	while (i < blk->dev.n_queues && err == 0) {
		err = virtio_blk_queue_init(&blk->queues[i], blk, i);
		i += err == 0;
	}
	if (err == 0)
		return 0;
	while (i > 0)
		virtio_blk_queue_fini(&blk->queues[--i]);
	free(blk->queues);
	return err;
}

int virtio_blk_init(struct virtio_blk *blk, const struct virtio_blk_options *options)
{
	int err;

	memset(blk, 0, sizeof(*blk));
	blk->disk = options->disk;
	blk->state.size = disk_size(options->disk);
	err = virtio_blk_set_serial(blk, options->serial);
	if (err < 0)
		return err;
	disk_limit_init(&blk->limit, options->limit);
	virtio_blk_choose_inline(blk, options);
	virtio_blk_fill_device(blk, options);
	err = virtio_device_init(&blk->dev);
	if (err == 0) {
		err = virtio_blk_init_queues(blk);
		if (err < 0)
			virtio_device_fini(&blk->dev);
	}
	if (err < 0) {
		disk_limit_fini(&blk->limit);
		log_failure(err, "cannot set up %s", blk->disk->name);
		return err;
	}
	virtio_blk_fill_config(blk);
	return 0;
}

int virtio_blk_resized(struct virtio_blk *blk)
{
	int err = disk_resized(blk->disk);
	uint64_t size = disk_size(blk->disk);
	uint64_t sectors = htole64(size / DISK_SECTOR);

	if (err < 0) {
		log_error("%s: the guest is not told its new size: %s", blk->disk->name,
			  err == -EINVAL ? "it is smaller than one sector (512 bytes)"
					 : strerror(-err));
		return err;
	}
	if (size == __atomic_exchange_n(&blk->state.size, size, __ATOMIC_RELAXED))
		return 0;
	virtio_device_config_set(&blk->dev, offsetof(struct virtio_blk_config, capacity), &sectors,
				 sizeof(sectors));
	return 0;
}

void virtio_blk_fini(struct virtio_blk *blk)
{
	for (unsigned int i = 0; i < blk->dev.n_queues; i++)
		virtio_blk_queue_fini(&blk->queues[i]);
	free(blk->queues);
	disk_limit_fini(&blk->limit);
	virtio_device_fini(&blk->dev);
}
