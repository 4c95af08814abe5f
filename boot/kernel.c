#include "boot/kernel.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "boot/cpu_tables.h"
#include "boot/elf_kernel.h"
#include "boot/image.h"
#include "boot/initrd.h"
#include "boot/kaslr.h"
#include "boot/job.h"
#include "boot/kernel_kind.h"
#include "boot/pvh.h"
#include "boot/zero_page.h"
#include "vmm/core/assert.h"
#include "vmm/core/log.h"

/* Linux takes everything up to a space for the end of a word. */
static bool boot_is_space(char c)
{
	return (unsigned char)c <= ' ';
}

bool boot_has_word(const char *line, const char *start, bool whole)
{
	size_t len = strlen(start);

	for (const char *at = line; (at = strstr(at, start)); at += len) {
		if ((at == line || boot_is_space(at[-1])) && (!whole || boot_is_space(at[len])))
			return true;
	}
	return false;
}

/* The layout and the memory map are the machine's own, no input. */
static void boot_assert_config(const struct boot_config *cfg)
{
	const struct boot_layout *layout = cfg->layout;
	const gpa_t places[] = {layout->zero_page,  layout->cmdline,	layout->gdt,
				layout->pvh_info,   layout->setup_data, layout->rng_seed,
				layout->page_tables};

	assert(cfg->n_e820 <= BOOT_E820_MAX);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		assert(places[i] < IMAGE_LOWEST && places[i] % 8 == 0);
	assert(layout->page_tables % IMAGE_PAGE_SIZE == 0 && layout->cmdline_max > 0);
}

static int boot_measure_file(const struct boot_config *cfg, struct image_file *file)
{
	struct stat st;

	if (fstat(cfg->kernel_fd, &st) < 0)
		return image_refuse_errno(cfg, -errno);
	if (S_ISDIR(st.st_mode))
		return image_refuse_errno(cfg, -EISDIR);
	if (!S_ISREG(st.st_mode))
		return image_refuse(cfg, ENOEXEC, "it is not a regular file");
	file->fd = cfg->kernel_fd;
	file->size = (uint64_t)st.st_size;
	return 0;
}

/* head has room for KERNEL_KIND_HEAD bytes, and belongs to file from then on. */
static int boot_read_head(const struct boot_config *cfg, struct image_file *file, uint8_t *head)
{
	int ret = boot_measure_file(cfg, file);

	if (ret < 0)
		return ret;
	file->head = head;
	file->head_len = file->size < KERNEL_KIND_HEAD ? file->size : KERNEL_KIND_HEAD;
	ret = image_read(file->fd, 0, head, file->head_len);
	return ret < 0 ? image_refuse_errno(cfg, ret) : 0;
}

static int boot_load_kernel(const struct guest_mem *mem, const struct boot_config *cfg,
			    struct image *image)
{
	uint8_t head[KERNEL_KIND_HEAD];
	struct image_file file;
	int ret = boot_read_head(cfg, &file, head);

	if (ret < 0)
		return ret;
	switch (kernel_kind_find(head, file.head_len)) {
	case KERNEL_KIND_BZIMAGE:
		return bzimage_load(mem, cfg, &file, image);
	case KERNEL_KIND_ELF:
		return elf_kernel_load(mem, cfg, &file, image);
	default:
		return image_refuse(cfg, ENOEXEC, "%s",
				    kernel_kind_describe(head, file.head_len, file.size));
	}
}

/* unpacked is the error of the job that should have: what is damaged may say nothing of it when it unpacks itself. */
static void boot_warn(const struct boot_config *cfg, const struct image *image, int unpacked)
{
	if (unpacked == -EBADMSG)
		log_warn("kernel '%s' may be damaged: vmm cannot unpack it, and leaves that to it",
			 cfg->kernel_name);
	/* A kernel that unpacks itself has been told nothing of our offsets, and chooses its own. */
	if (!cfg->kaslr && image->params.hdr.relocatable_kernel && kaslr_is_wanted(cfg->cmdline))
		log_warn("kernel '%s' unpacks itself and may choose its addresses itself; only "
			 "'nokaslr' on its command line keeps it from that",
			 cfg->kernel_name);
}

static int boot_get_seed(const struct boot_config *cfg, struct image *image)
{
	int ret = image_get_random(image->seed, sizeof(image->seed));

	return ret < 0 ? image_refuse(cfg, -ret, "the host has no random numbers: %s",
				      strerror(-ret))
		       : 0;
}

static int boot_write_cmdline(const struct guest_mem *mem, const struct boot_config *cfg,
			      const struct image *image)
{
	size_t len = strlen(cfg->cmdline);
	size_t max = cfg->layout->cmdline_max - 1;
	int ret;

	if (max > image->cmdline_size)
		max = image->cmdline_size;
	if (len > max)
		return image_refuse(cfg, E2BIG,
				    "the command line has %zu characters, the kernel takes %zu",
				    len, max);
	ret = guest_mem_write(mem, cfg->layout->cmdline, cfg->cmdline, len + 1);
	assert(ret == 0); /* fails only where the layout is not RAM */
	return ret;
}

static int boot_write_params(const struct guest_mem *mem, const struct boot_config *cfg,
			     struct image *image)
{
	int ret;

	if (image->protocol == BOOT_PVH)
		ret = pvh_write_info(mem, cfg, image);
	else
		ret = zero_page_write(mem, cfg, image);
	if (ret == 0)
		ret = cpu_tables_write_gdt(mem, cfg->layout->gdt, image->protocol);
	if (ret == 0 && image->protocol == BOOT_LINUX64)
		ret = cpu_tables_write_pages(mem, cfg->layout->page_tables);
	return ret;
}

int boot_prepare_unpack(const struct guest_mem *mem, const struct boot_config *cfg,
			struct image *image, struct bzimage_unpack *unpack)
{
	uint8_t head[KERNEL_KIND_HEAD];
	struct image_file file;
	int ret = boot_read_head(cfg, &file, head);

	if (ret < 0)
		return ret;
	if (file.size <= IMAGE_SMALL_KERNEL)
		guest_mem_prefer_small(mem, 0, IMAGE_LOWEST);
	if (kernel_kind_find(head, file.head_len) != KERNEL_KIND_BZIMAGE)
		return -ENOTSUP;
	return bzimage_prepare_unpack(mem, cfg, &file, image, unpack);
}

int boot_finish(struct boot_job *job, const struct guest_mem *mem, const struct boot_config *cfg,
		struct boot_entry *entry)
{
	const struct boot_layout *layout = cfg->layout;
	struct image image = {.initrd_size = 0};
	int unpacked, ret = 0;

	boot_assert_config(cfg);
	unpacked = boot_job_end(job, &image);
	if (unpacked < 0) {
		ret = boot_load_kernel(mem, cfg, &image);
		if (ret == 0)
			boot_warn(cfg, &image, unpacked);
	}
	if (ret == 0)
		ret = boot_get_seed(cfg, &image);
	if (ret == 0)
		ret = boot_write_cmdline(mem, cfg, &image);
	if (ret == 0 && (cfg->initrd_fd >= 0 || cfg->n_initrd_parts > 0))
		ret = initrd_load(mem, cfg, &image);
	if (ret < 0)
		return ret;

	ret = boot_write_params(mem, cfg, &image);
	assert(ret == 0); /* as above */
	*entry = (struct boot_entry){
		.protocol = image.protocol,
		.entry = image.entry,
		.params = image.protocol == BOOT_PVH ? layout->pvh_info : layout->zero_page,
		.gdt = layout->gdt,
		.page_tables = image.protocol == BOOT_LINUX64 ? layout->page_tables : 0,
		.initrd = image.initrd,
		.initrd_size = image.initrd_size,
	};
	return 0;
}
