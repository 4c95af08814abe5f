#include "boot/pvh.h"

#include <stddef.h>

#include "boot/start_info.h"
#include "vmm/core/assert.h"

struct pvh_info {
	struct hvm_start_info start;
	struct hvm_modlist_entry initrd;
	struct hvm_memmap_table_entry memmap[BOOT_E820_MAX];
};

static_assert(sizeof(struct pvh_info) <= BOOT_PVH_INFO_SIZE, "the size promised");

int pvh_write_info(const struct guest_mem *mem, const struct boot_config *cfg,
		   const struct image *image)
{
	const gpa_t at = cfg->layout->pvh_info;
	struct pvh_info info = {
		.start =
			{
				.magic = XEN_HVM_START_MAGIC_VALUE,
				.version = XEN_HVM_START_INFO_VERSION1,
				.cmdline_paddr = cfg->layout->cmdline,
				.rsdp_paddr = cfg->layout->acpi_rsdp,
				.memmap_paddr = at + offsetof(struct pvh_info, memmap),
				.memmap_entries = cfg->n_e820,
			},
	};

	assert(cfg->n_e820 <= BOOT_E820_MAX);
	if (image->initrd_size > 0) {
		info.start.nr_modules = 1;
		info.start.modlist_paddr = at + offsetof(struct pvh_info, initrd);
		info.initrd.paddr = image->initrd;
		info.initrd.size = image->initrd_size;
	}
	for (unsigned int i = 0; i < cfg->n_e820; i++) {
		info.memmap[i].addr = cfg->e820[i].base;
		info.memmap[i].size = cfg->e820[i].size;
		info.memmap[i].type = cfg->e820[i].type;
	}
	return guest_mem_write(mem, at, &info, sizeof(info));
}
