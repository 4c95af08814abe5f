#include "boot/initrd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

static int initrd_measure(const struct boot_config *cfg, uint64_t *size)
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

int initrd_load(const struct guest_mem *mem, const struct boot_config *cfg, struct image *image)
{
	uint64_t size = 0;
	int ret;

	ret = initrd_measure(cfg, &size);
	if (ret == 0)
		ret = initrd_place(mem, cfg, image, size);
	if (ret < 0)
		return ret;
	ret = image_read_guest(mem, image->initrd, cfg->initrd_fd, 0, size);
	if (ret < 0)
		return image_refuse_initrd(cfg, -ret, "%s", strerror(-ret));
	return 0;
}
