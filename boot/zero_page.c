#include "boot/zero_page.h"

#include <errno.h>
#include <string.h>

#include "vmm/core/assert.h"

#define VERSION 0x20c /* the last one that added a field which a loader fills in */

static_assert(sizeof(struct boot_params) == BOOT_ZERO_PAGE_SIZE, "zero-page.rst");
static_assert(BOOT_E820_MAX == E820_MAX_ENTRIES_ZEROPAGE, "<asm/bootparam.h>");

void zero_page_init_header(struct setup_header *hdr)
{
	hdr->boot_flag = IMAGE_BOOT_FLAG;
	memcpy(&hdr->header, "HdrS", 4);
	hdr->version = VERSION;
	hdr->type_of_loader = IMAGE_TYPE_OF_LOADER;
	hdr->loadflags = LOADED_HIGH;
	hdr->vid_mode = IMAGE_VIDEO_MODE;
}

/*
 * Linux 6.0 and later take the seed, erase it, and trust it as far as they trust their loader
 * (CONFIG_RANDOM_TRUST_BOOTLOADER); others leave entries of the list aside that they do not know.
 */
static int zero_page_write_seed(const struct guest_mem *mem, const struct boot_layout *layout,
				const struct image *image)
{
	struct {
		struct setup_data head;
		uint8_t seed[sizeof(image->seed)];
	} entry = {.head = {.next = layout->setup_data,
			    .type = SETUP_RNG_SEED,
			    .len = sizeof(entry.seed)}};

	static_assert(sizeof(entry) == BOOT_RNG_SEED_SIZE, "the size promised");
	memcpy(entry.seed, image->seed, sizeof(entry.seed));
	return guest_mem_write(mem, layout->rng_seed, &entry, sizeof(entry));
}

static void zero_page_set_e820(struct boot_params *params, const struct boot_config *cfg)
{
	assert(cfg->n_e820 <= BOOT_E820_MAX);
	for (unsigned int i = 0; i < cfg->n_e820; i++) {
		params->e820_table[i].addr = cfg->e820[i].base;
		params->e820_table[i].size = cfg->e820[i].size;
		params->e820_table[i].type = cfg->e820[i].type;
	}
	params->e820_entries = (uint8_t)cfg->n_e820;
}

int zero_page_write(const struct guest_mem *mem, const struct boot_config *cfg, struct image *image)
{
	struct boot_params *params = &image->params;
	const struct boot_layout *layout = cfg->layout;

	zero_page_set_e820(params, cfg);
	/* Both are below 4 GiB (IMAGE_LIMIT, struct boot_layout), and have no upper half. */
	params->hdr.ramdisk_image = (uint32_t)image->initrd;
	params->hdr.ramdisk_size = (uint32_t)image->initrd_size;
	params->hdr.cmd_line_ptr = (uint32_t)layout->cmdline;
	params->acpi_rsdp_addr = layout->acpi_rsdp;
	params->hdr.setup_data = layout->rng_seed ? layout->rng_seed : layout->setup_data;
	if (layout->rng_seed && zero_page_write_seed(mem, layout, image) < 0)
		return -EFAULT;
	return guest_mem_write(mem, layout->zero_page, params, sizeof(*params));
}
