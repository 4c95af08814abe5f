#include "boot/image.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "vmm/core/assert.h"
#include "vmm/core/log.h"

/* name NULL: silently */
__attribute__((format(printf, 4, 0))) static int image_vrefuse(const char *doing, const char *name,
							       int err, const char *fmt,
							       va_list args)
{
	char why[256];

	if (!name)
		return -err;
	vsnprintf(why, sizeof(why), fmt, args);
	log_error("cannot %s '%s': %s", doing, name, why);
	return -err;
}

int image_refuse(const struct boot_config *cfg, int err, const char *fmt, ...)
{
	va_list args;
	int ret;

	va_start(args, fmt);
	ret = image_vrefuse("boot", cfg->quiet ? NULL : cfg->kernel_name, err, fmt, args);
	va_end(args);
	return ret;
}

int image_refuse_errno(const struct boot_config *cfg, int err)
{
	return image_refuse(cfg, -err, "%s", strerror(-err));
}

int image_refuse_initrd(const struct boot_config *cfg, int err, const char *fmt, ...)
{
	va_list args;
	int ret;

	va_start(args, fmt);
	ret = image_vrefuse("load initrd", cfg->quiet ? NULL : cfg->initrd_name, err, fmt, args);
	va_end(args);
	return ret;
}

int image_get_random(void *bytes, size_t len)
{
	ssize_t n;

	assert(len <= 256); /* up to there it is all or nothing: getrandom(2) */
	do
		n = getrandom(bytes, len, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

int image_read(int fd, uint64_t offset, void *dst, size_t len)
{
	uint8_t *to = dst;

	while (len > 0) {
		ssize_t n = pread(fd, to, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENODATA;
		to += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int image_read_guest(const struct guest_mem *mem, gpa_t gpa, int fd, uint64_t offset, uint64_t len)
{
	void *host;

	if (len == 0)
		return 0;
	host = guest_mem_ptr(mem, gpa, len);
	if (!host)
		return -EFAULT;
	return image_read(fd, offset, host, len);
}

static bool image_is_ram(const struct boot_config *cfg, gpa_t start, gpa_t end)
{
	for (unsigned int i = 0; i < cfg->n_e820; i++) {
		const struct boot_e820 *e = &cfg->e820[i];

		if (e->type == BOOT_E820_RAM && start >= e->base && end - e->base <= e->size)
			return end <= IMAGE_LIMIT;
	}
	return false;
}

gpa_t image_ram_start(const struct boot_config *cfg, gpa_t gpa)
{
	for (unsigned int i = 0; i < cfg->n_e820; i++) {
		const struct boot_e820 *e = &cfg->e820[i];

		if (e->type == BOOT_E820_RAM && gpa >= e->base && gpa - e->base < e->size)
			return e->base > IMAGE_LOWEST ? e->base : IMAGE_LOWEST;
	}
	return gpa;
}

int image_check_memory(const struct guest_mem *mem, const struct boot_config *cfg, gpa_t start,
		       gpa_t end)
{
	uint64_t need = image_mib(end);
	uint64_t have = guest_mem_size(mem) >> 20;

	if (start < IMAGE_LOWEST)
		return image_refuse(cfg, ENOEXEC,
				    "it wants to be loaded at 0x%" PRIx64
				    ", in the first MiB, which holds the boot data",
				    start);
	if (image_is_ram(cfg, start, end))
		return 0;
	if (need > have)
		return image_refuse(cfg, ENOMEM,
				    "it needs at least %" PRIu64
				    " MiB of guest memory, has %" PRIu64 " MiB",
				    need, have);
	return image_refuse(cfg, ENOMEM,
			    "it needs memory from 0x%" PRIx64 " to 0x%" PRIx64
			    ", where the machine has no RAM below 4 GiB",
			    start, end);
}

void image_choose_pages(const struct guest_mem *mem, const struct image *image)
{
	if (image->end - image->start <= IMAGE_SMALL_KERNEL)
		guest_mem_prefer_small(mem, image->start, image->end - image->start);
}

bool image_align(uint64_t value, uint64_t align, uint64_t *aligned)
{
	uint64_t sum;

	if (__builtin_add_overflow(value, align - 1, &sum))
		return false;
	*aligned = sum & ~(align - 1);
	return true;
}
