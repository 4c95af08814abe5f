#include "virtio/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtio/image_flush.h"
#include "virtio/image_io.h"
#include "virtio/overlay_bitmap.h"
#include "virtio/overlay_file.h"
#include "vmm/core/assert.h"
#include "vmm/core/kept_name.h"
#include "vmm/core/log.h"

/* Pages of the bitmap that are stored in one go: 4 GiB of the disk. */
#define OVERLAY_BATCH 256u

struct overlay_batch {
	unsigned int n;
	uint64_t pages[OVERLAY_BATCH];
	uint64_t (*copies)[OVERLAY_BITMAP_PAGE / 8]; /* OVERLAY_BATCH of them */
};

struct overlay {
	struct image image;
	/* immutable after open */
	struct image *base;
	int fd;
	bool kept;
	struct kept_name made; /* of a kept file that was not there before */
	uint64_t data_offset;
	/* shared, with rules of its own */
	struct overlay_bitmap bitmap;
	struct image_flush flush;
	/* owned by the thread that flushes */
	struct overlay_batch batch;
};

static struct overlay *overlay_of(struct image *image)
{
	return (struct overlay *)image;
}

static int overlay_map_read(struct image *image, uint64_t offset, uint64_t len,
			    struct image_extent *extent)
{
	struct overlay *o = overlay_of(image);
	uint64_t first = offset / OVERLAY_SECTOR, run;
	uint64_t last = (offset + len - 1) / OVERLAY_SECTOR;
	bool here = overlay_bitmap_run(&o->bitmap, first, last - first + 1, &run);
	uint64_t run_len = (first + run) * OVERLAY_SECTOR - offset;

	if (run_len > len)
		run_len = len;
	if (!here)
		return o->base->ops->map_read(o->base, offset, run_len, extent);
	*extent = (struct image_extent){
		.place = IMAGE_FILE,
		.fd = o->fd,
		.offset = o->data_offset + offset,
		.len = run_len,
	};
	return 0;
}

/* Of sectors that were not here when they were mapped. */
static int overlay_read(struct image *image, const struct iovec *iov, unsigned int n,
			uint64_t offset)
{
	struct image *base = overlay_of(image)->base;

	return base->ops->read(base, iov, n, offset);
}

static int overlay_map_write(struct image *image, uint64_t offset, uint64_t len,
			     struct image_extent *extent)
{
	struct overlay *o = overlay_of(image);

	/* a sector that is here is here whole */
	assert(offset % OVERLAY_SECTOR == 0 && len % OVERLAY_SECTOR == 0);
	*extent = (struct image_extent){
		.place = IMAGE_FILE,
		.fd = o->fd,
		.offset = o->data_offset + offset,
		.len = len,
	};
	return 0;
}

static void overlay_wrote(struct image *image, uint64_t offset, uint64_t len)
{
	assert(offset % OVERLAY_SECTOR == 0 && len % OVERLAY_SECTOR == 0);
	overlay_bitmap_set(&overlay_of(image)->bitmap, offset / OVERLAY_SECTOR,
			   len / OVERLAY_SECTOR);
}

/* Zeros first, then the mark: until that the base shows. */
static int overlay_zero(struct image *image, uint64_t offset, uint64_t len, bool unmap)
{
	int mode = unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
	struct overlay *o = overlay_of(image);
	int err = image_file_fallocate(o->fd, mode, o->data_offset + offset, len);

	if (err == 0)
		overlay_wrote(image, offset, len);
	return err;
}

/* Returns whether the whole bitmap was looked through. */
static bool overlay_batch_take(struct overlay *o, uint64_t *next)
{
	struct overlay_batch *b = &o->batch;

	for (b->n = 0; b->n < OVERLAY_BATCH; b->n++) {
		if (!overlay_bitmap_take(&o->bitmap, next, b->copies[b->n]))
			return true;
		b->pages[b->n] = (*next)++;
	}
	return false;
}

/* Neighbours are written together. */
static int overlay_batch_write(struct overlay *o)
{
	struct overlay_batch *b = &o->batch;
	unsigned int i = 0;

	while (i < b->n) {
		unsigned int end = i + 1;
		int ret;

		while (end < b->n && b->pages[end] == b->pages[end - 1] + 1)
			end++;
		ret = image_file_pwrite(o->fd, b->copies[i],
					(size_t)(end - i) * OVERLAY_BITMAP_PAGE,
					OVERLAY_HEADER_SIZE + b->pages[i] * OVERLAY_BITMAP_PAGE);
		if (ret < 0) {
			for (; i < b->n; i++)
				overlay_bitmap_put_back(&o->bitmap, b->pages[i]);
			return ret;
		}
		i = end;
	}
	return 0;
}

/*
 * The bits that go to storage were taken before the data were made stable; those set since then wait for the next flush. So no loss of
 * power leaves a bit whose sector is not there. When no page has changed there is one fdatasync() and nothing else.
 */
static int overlay_flush_once(void *arg, bool *lost)
{
	struct overlay *o = arg;
	uint64_t next = 0;
	bool written = false, end = false;
	int ret = 0;

	overlay_bitmap_settle(&o->bitmap);
	while (ret == 0 && !end) {
		end = overlay_batch_take(o, &next);
		if (o->batch.n == 0 && written)
			break;
		ret = image_flush_file(o->fd, lost);
		if (ret == 0)
			ret = overlay_batch_write(o);
		written |= o->batch.n > 0;
	}
	if (ret == 0 && written)
		ret = image_flush_file(o->fd, lost);
	return ret;
}

static int overlay_flush(struct image *image, bool *lost)
{
	struct overlay *o = overlay_of(image);

	*lost = false;
	return o->kept ? image_flush_run(&o->flush, overlay_flush_once, o, lost) : 0;
}

static void overlay_free(struct overlay *o)
{
	overlay_bitmap_fini(&o->bitmap);
	if (o->fd >= 0)
		image_file_close(o->fd);
	if (o->batch.copies)
		munmap(o->batch.copies, sizeof(*o->batch.copies) * OVERLAY_BATCH);
	image_flush_fini(&o->flush);
	o->base->ops->close(o->base);
	kept_name_close(&o->made);
	free(o);
}

static bool overlay_is_empty(const struct overlay *o)
{
	uint64_t sectors = o->image.size / OVERLAY_SECTOR, run;

	return !overlay_bitmap_run(&o->bitmap, 0, sectors, &run) && run == sectors;
}

static void overlay_close(struct image *image)
{
	struct overlay *o = overlay_of(image);

	/* What was made for a machine that never ran, or never wrote, tells no more than no file does. */
	if (overlay_is_empty(o))
		kept_name_remove(&o->made);
	overlay_free(o);
}

static const struct image_ops overlay_ops = {
	.map_read = overlay_map_read,
	.read = overlay_read,
	.map_write = overlay_map_write,
	.wrote = overlay_wrote,
	.zero = overlay_zero,
	.flush = overlay_flush,
	.close = overlay_close,
};

static int overlay_open_kept(struct overlay *o, const struct overlay_config *config)
{
	struct overlay_base id;
	struct stat st;
	bool made;
	int ret = overlay_base_identify(&id, o->base);

	if (ret < 0) {
		log_failure(ret, "cannot read '%s'", config->base_name);
		return ret;
	}
	o->fd = overlay_file_open_kept(config->path, &id, config->base_name, &made);
	if (o->fd < 0)
		return o->fd;
	if (made)
		ret = fstat(o->fd, &st) < 0 ? -errno : kept_name_open(&o->made, config->path, &st);
	if (ret < 0) {
		log_failure(ret, "cannot keep the name of overlay '%s'", config->path);
		unlink(config->path);
		return ret;
	}
	ret = overlay_file_load(o->fd, &o->bitmap);
	if (ret < 0) {
		log_failure(ret, "cannot read overlay '%s'", config->path);
		kept_name_remove(&o->made);
	}
	return ret;
}

static int overlay_alloc_books(struct overlay *o)
{
	int ret = overlay_bitmap_init(&o->bitmap, o->image.size);
	void *copies;

	if (ret < 0 || !o->kept)
		return ret;
	copies = mmap(NULL, sizeof(*o->batch.copies) * OVERLAY_BATCH, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (copies == MAP_FAILED)
		return -ENOMEM;
	o->batch.copies = copies;
	return 0;
}

static struct overlay *overlay_new(const struct overlay_config *config)
{
	const struct image *base = config->base;
	struct overlay *o = calloc(1, sizeof(*o));

	if (!o)
		return NULL;
	o->image = (struct image){
		.ops = &overlay_ops,
		.map_blocks = base->map_blocks,
		.logical_block = base->logical_block,
		.physical_block = base->physical_block,
		.changed = base->changed,
		.size = base->size,
	};
	o->image.made = &o->made;
	o->made = (struct kept_name)KEPT_NAME_NONE;
	o->base = config->base;
	o->fd = -1;
	o->kept = config->path != NULL;
	o->data_offset = overlay_file_data_offset(base->size);
	image_flush_init(&o->flush);
	return o;
}

int overlay_open(struct image **image, const struct overlay_config *config)
{
	struct overlay *o = overlay_new(config);
	int ret;

	*image = NULL;
	if (!o) {
		config->base->ops->close(config->base);
		log_failure(-ENOMEM, "cannot open the overlay of '%s'", config->base_name);
		return -ENOMEM;
	}
	ret = overlay_alloc_books(o);
	if (ret < 0) {
		log_failure(ret, "cannot open the overlay of '%s'", config->base_name);
	} else if (o->kept) {
		ret = overlay_open_kept(o, config);
	} else {
		o->fd = overlay_file_open_temporary(o->image.size);
		ret = o->fd < 0 ? o->fd : 0;
	}
	if (ret < 0) {
		overlay_free(o);
		return ret;
	}
	*image = &o->image;
	return 0;
}
