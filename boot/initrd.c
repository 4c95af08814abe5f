#include "boot/initrd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "vmm/core/assert.h"

/* Linux looks for an archive at such places (init/initramfs.c). */
#define INITRD_ALIGN 4

static int initrd_measure_file(const struct boot_config *cfg, uint64_t *size)
{
	struct stat st;

	if (fstat(cfg->initrd_fd, &st) < 0)
		return image_refuse_initrd(cfg, errno, "%m");
	if (S_ISDIR(st.st_mode))
		return image_refuse_initrd(cfg, EISDIR, "%s", strerror(EISDIR));
	if (!S_ISREG(st.st_mode))
		return image_refuse_initrd(cfg, EINVAL, "it is not a regular file");
	if (st.st_size == 0)
		return image_refuse_initrd(cfg, EINVAL, "the file is empty");
	*size = (uint64_t)st.st_size;
	return 0;
}

/* file is the size of that part of the initrd. */
static int initrd_add_parts(const struct boot_config *cfg, uint64_t file, uint64_t *size)
{
	*size = file;
	for (unsigned int i = 0; i < cfg->n_initrd_parts; i++) {
		if (!image_align(*size, INITRD_ALIGN, size) ||
		    __builtin_add_overflow(*size, cfg->initrd_parts[i].size, size))
			return image_refuse_initrd(cfg, EFBIG, "its parts are too large");
	}
	return 0;
}

int initrd_measure(const struct boot_config *cfg, uint64_t *size)
{
	uint64_t file = 0;
	int ret = cfg->initrd_fd >= 0 ? initrd_measure_file(cfg, &file) : 0;

	return ret < 0 ? ret : initrd_add_parts(cfg, file, size);
}

/* The lowest page-aligned place for size bytes in [low, high) and in usable RAM. */
static bool initrd_find(const struct boot_config *cfg, gpa_t low, gpa_t high, uint64_t size,
			gpa_t *place)
{
	for (unsigned int i = 0; i < cfg->n_e820; i++) {
		const struct boot_e820 *e = &cfg->e820[i];
		gpa_t start = e->base > low ? e->base : low;
		gpa_t end = e->base + e->size < high ? e->base + e->size : high;

		if (e->type != BOOT_E820_RAM || !image_align(start, IMAGE_PAGE_SIZE, &start))
			continue;
		if (start < end && size <= end - start) {
			*place = start;
			return true;
		}
	}
	return false;
}

static int initrd_refuse_size(const struct guest_mem *mem, const struct boot_config *cfg,
			      const struct image *image, uint64_t size)
{
	uint64_t have = guest_mem_size(mem) >> 20;
	uint64_t start, end, need;

	if (!image_align(image->end, IMAGE_PAGE_SIZE, &start) ||
	    __builtin_add_overflow(start, size, &end) || end - 1 > image->initrd_max)
		return image_refuse_initrd(cfg, ENOMEM,
					   "its %" PRIu64 " MiB do not fit below 0x%" PRIx64
					   ", the limit of the kernel",
					   image_mib(size), (uint64_t)image->initrd_max);
	need = image_mib(end);
	if (need > have)
		return image_refuse_initrd(cfg, ENOMEM,
					   "its %" PRIu64
					   " MiB and the kernel need at least %" PRIu64
					   " MiB of guest memory, has %" PRIu64 " MiB",
					   image_mib(size), need, have);
	return image_refuse_initrd(cfg, ENOMEM,
				   "its %" PRIu64
				   " MiB fit in no piece of RAM below 4 GiB beside the kernel",
				   image_mib(size));
}

/*
 * Close behind the kernel, so that no page table is touched for it alone. Before the kernel there is room
 * where guests are small: most kernels run at 16 MiB.
 */
static int initrd_place(const struct guest_mem *mem, const struct boot_config *cfg,
			struct image *image, uint64_t size)
{
	gpa_t limit = image->initrd_max < IMAGE_LIMIT ? image->initrd_max + 1 : IMAGE_LIMIT;

	if (!initrd_find(cfg, image->end, limit, size, &image->initrd) &&
	    !initrd_find(cfg, IMAGE_LOWEST, image->start < limit ? image->start : limit, size,
			 &image->initrd))
		return initrd_refuse_size(mem, cfg, image, size);
	image->initrd_size = size;
	return 0;
}

static int initrd_load_file(const struct guest_mem *mem, const struct boot_config *cfg,
			    const struct image *image, uint64_t size)
{
	int ret = image_read_guest(mem, image->initrd, cfg->initrd_fd, 0, size);

	return ret < 0 ? image_refuse_initrd(cfg, -ret, "%s", strerror(-ret)) : 0;
}

/* Behind what is there up to *at, which moves on. All of it was placed in RAM. */
static int initrd_load_part(const struct guest_mem *mem, const struct boot_initrd_part *part,
			    const struct image *image, uint64_t *at)
{
	static const uint8_t zeros[INITRD_ALIGN];
	size_t gap = -*at % INITRD_ALIGN;
	void *to;

	if (part->size == 0)
		return 0;
	if (gap > 0)
		guest_mem_write(mem, image->initrd + *at, zeros, gap);
	to = guest_mem_ptr(mem, image->initrd + *at + gap, part->size);
	assert(to);
	*at += gap + part->size;
	if (!part->data)
		return part->fill(part->arg, to, part->size);
	memcpy(to, part->data, part->size);
	return 0;
}

int initrd_load(const struct guest_mem *mem, const struct boot_config *cfg, struct image *image)
{
	uint64_t file = 0, size = 0;
	int ret = 0;

	if (cfg->initrd_fd >= 0)
		ret = initrd_measure_file(cfg, &file);
	if (ret == 0)
		ret = initrd_add_parts(cfg, file, &size);
	if (ret == 0)
		ret = initrd_place(mem, cfg, image, size);
	if (ret == 0 && file > 0)
		ret = initrd_load_file(mem, cfg, image, file);
	for (unsigned int i = 0; i < cfg->n_initrd_parts && ret == 0; i++)
		ret = initrd_load_part(mem, &cfg->initrd_parts[i], image, &file);
	return ret;
}
