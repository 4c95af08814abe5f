#include "vmm/cli/command_kernel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guest/protocol.h"
#include "vmm/cli/kernel_parts.h"
#include "vmm/cli/report.h"

static uint32_t command_kernel_file_system(const char *type)
{
	static const struct {
		const char *type;
		enum kernel_part part;
	} types[] = {{"ext4", KERNEL_EXT4},
		     {"squashfs", KERNEL_SQUASHFS},
		     {"erofs", KERNEL_EROFS},
		     {GUEST_SHARED_TYPE, KERNEL_VIRTIOFS}};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strcmp(type, types[i].type) == 0)
			return KERNEL_PART(types[i].part);
	}
	return 0;
}

/* The numbers are squashfs's own. */
static uint32_t command_kernel_compressor(unsigned int packed_by)
{
	switch (packed_by) {
	case 1:
		return KERNEL_PART(KERNEL_SQUASHFS_ZLIB);
	case 3:
		return KERNEL_PART(KERNEL_SQUASHFS_LZO);
	case 4:
		return KERNEL_PART(KERNEL_SQUASHFS_XZ);
	case 5:
		return KERNEL_PART(KERNEL_SQUASHFS_LZ4);
	case 6:
		return KERNEL_PART(KERNEL_SQUASHFS_ZSTD);
	default:
		return 0;
	}
}

static uint32_t command_kernel_needs(const struct vmm_config *config, const char *root_type)
{
	uint32_t needs = KERNEL_PART(KERNEL_INITRAMFS) | KERNEL_PART(KERNEL_ELF) |
			 KERNEL_PART(KERNEL_64) | KERNEL_PART(KERNEL_DEVTMPFS) |
			 KERNEL_PART(KERNEL_CLOCK) | KERNEL_PART(KERNEL_VSOCK) |
			 KERNEL_PART(KERNEL_VIRTIO_VSOCK);

	if (config->mmio_transport)
		needs |= KERNEL_PART(KERNEL_VIRTIO_MMIO);
	else
		needs |= KERNEL_PART(KERNEL_PCI) | KERNEL_PART(KERNEL_PCI_MSI) |
			 KERNEL_PART(KERNEL_VIRTIO_PCI);
	if (config->n_disks > 0)
		needs |= KERNEL_PART(KERNEL_BLK);
	if (config->n_nets > 0)
		needs |= KERNEL_PART(KERNEL_NET);
	if (config->n_shares > 0)
		needs |= KERNEL_PART(KERNEL_VIRTIOFS);
	needs |= command_kernel_file_system(root_type);
	return needs & KERNEL_PART(KERNEL_VIRTIOFS) ? needs | KERNEL_PART(KERNEL_FUSE) : needs;
}

uint32_t command_kernel_usual_needs(void)
{
	const struct vmm_config config = {.n_disks = 0};

	return command_kernel_needs(&config, GUEST_SHARED_TYPE);
}

static uint32_t command_kernel_wishes(const struct vmm_config *config, const struct root *root)
{
	/* Signed modules are hashed whole, which takes the kernel longer than all else about them, but for what it has for this CPU;
	 * what DHCP is asked by; and a layer above a file system that cannot be written. */
	return KERNEL_PART(KERNEL_SHA256) | (config->n_nets > 0 ? KERNEL_PART(KERNEL_PACKET) : 0) |
	       (root->readonly ? KERNEL_PART(KERNEL_OVERLAY) : 0) |
	       (config->rng ? KERNEL_PART(KERNEL_RNG) : 0) |
	       (config->balloon ? KERNEL_PART(KERNEL_BALLOON) : 0) |
	       (config->console_virtio ? KERNEL_PART(KERNEL_CONSOLE) : 0);
}

int command_kernel_open(struct command_kernel *kernel, const struct options *options,
			const struct root *root, struct vmm_initrd_part *part)
{
	uint32_t wishes = command_kernel_wishes(&options->config, root), needs, lacking = 0;
	size_t size;
	int err = kernel_choose(options->config.kernel, "", &kernel->choice);

	if (err < 0)
		return err; /* not for one that is given */
	kernel_look_around("", &kernel->choice);
	kernel->needs = command_kernel_needs(&options->config, root->type) |
			command_kernel_compressor(root->packed_by);
	/* The user's initrd may have modules too. */
	needs = options->config.initrd ? 0 : kernel->needs;
	err = kernel_prepare(&kernel->choice, options->config.kernel_cache, needs,
			     kernel->needs | wishes, &lacking, &kernel->modules, &size);
	if (err == -ENOTSUP && root->shared)
		report("a directory that is packed needs no more of a kernel than an initramfs: "
		       "--root "
		       "DIRECTORY,packed");
	kernel->no_layer = err == 0 && !options->config.initrd &&
			   (lacking & KERNEL_PART(KERNEL_OVERLAY));
	if (kernel->no_layer)
		report("kernel '%s' lacks overlayfs (CONFIG_OVERLAY_FS): the command cannot write "
		       "to its root",
		       kernel->choice.path);
	if (err < 0 || !kernel->modules)
		return err;
	*part = (struct vmm_initrd_part){
		.name = "the kernel's modules", .size = size, .data = kernel->modules};
	return 1;
}

void command_kernel_free_modules(struct command_kernel *kernel)
{
	free(kernel->modules);
	kernel->modules = NULL;
}
