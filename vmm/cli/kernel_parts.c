#include "vmm/cli/kernel_parts.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/api/vmm.h"
#include "vmm/cli/modules.h"
#include "vmm/cli/report.h"

static const struct kernel_part_names {
	char symbol[20]; /* of the configuration, without CONFIG_ */
	char name[22];
	char module[27]; /* "": it is never one */
} kernel_parts[KERNEL_PARTS] = {
	[KERNEL_INITRAMFS] = {"BLK_DEV_INITRD", "an initramfs", ""},
	[KERNEL_ELF] = {"BINFMT_ELF", "ELF programs", ""},
	[KERNEL_CLOCK] = {"KVM_GUEST", "KVM's clock", ""},
	[KERNEL_SERIAL] = {"SERIAL_8250_CONSOLE", "a serial console", ""},
	[KERNEL_SHA256] = {"CRYPTO_SHA256_SSSE3", "fast SHA-256", "sha256_ssse3"},
	[KERNEL_PCI] = {"PCI", "PCI", ""},
	[KERNEL_VIRTIO_PCI] = {"VIRTIO_PCI", "virtio on PCI", "virtio_pci"},
	[KERNEL_VIRTIO_MMIO] = {"VIRTIO_MMIO", "virtio on MMIO", "virtio_mmio"},
	[KERNEL_CONSOLE] = {"VIRTIO_CONSOLE", "virtio console", "virtio_console"},
	[KERNEL_BLK] = {"VIRTIO_BLK", "virtio disk", "virtio_blk"},
	[KERNEL_NET] = {"VIRTIO_NET", "virtio network card", "virtio_net"},
	[KERNEL_PACKET] = {"PACKET", "packet sockets", "af_packet"},
	[KERNEL_VSOCK] = {"VIRTIO_VSOCKETS", "virtio sockets", "vmw_vsock_virtio_transport"},
	[KERNEL_RNG] = {"HW_RANDOM_VIRTIO", "virtio entropy source", "virtio_rng"},
	[KERNEL_BALLOON] = {"VIRTIO_BALLOON", "virtio balloon", "virtio_balloon"},
	[KERNEL_EXT4] = {"EXT4_FS", "ext4", "ext4"},
	[KERNEL_SQUASHFS] = {"SQUASHFS", "squashfs", "squashfs"},
	[KERNEL_EROFS] = {"EROFS_FS", "erofs", "erofs"},
	[KERNEL_VIRTIOFS] = {"VIRTIO_FS", "shared directories", "virtiofs"},
	[KERNEL_OVERLAY] = {"OVERLAY_FS", "overlayfs", "overlay"},
	[KERNEL_SQUASHFS_LZ4] = {"SQUASHFS_LZ4", "squashfs with lz4", ""},
	[KERNEL_SQUASHFS_ZLIB] = {"SQUASHFS_ZLIB", "squashfs with gzip", ""},
	[KERNEL_SQUASHFS_LZO] = {"SQUASHFS_LZO", "squashfs with lzo", ""},
	[KERNEL_SQUASHFS_XZ] = {"SQUASHFS_XZ", "squashfs with xz", ""},
	[KERNEL_SQUASHFS_ZSTD] = {"SQUASHFS_ZSTD", "squashfs with zstd", ""},
};

const char *kernel_part_name(enum kernel_part part)
{
	return kernel_parts[part].name;
}

const char *kernel_part_symbol(enum kernel_part part)
{
	return kernel_parts[part].symbol;
}

/* ---- the configuration ---- */

/* Whether there is a line "CONFIG_SYMBOL=y". */
static bool kernel_config_has(const char *config, const char *symbol)
{
	char line[64];

	snprintf(line, sizeof(line), "\nCONFIG_%.19s=y\n", symbol);
	return strncmp(config, line + 1, strlen(line) - 1) == 0 || strstr(config, line);
}

/* What cannot be known without modules' files: those of a kernel whose modules are not here are lacking. */
static enum kernel_answer kernel_answer_of_config(const char *config, enum kernel_part part)
{
	return kernel_config_has(config, kernel_parts[part].symbol) ? KERNEL_BUILTIN : KERNEL_LACKS;
}

/* ---- the modules ---- */

static int kernel_ask_modules(const struct kernel_choice *kernel, uint32_t want,
			      enum kernel_answer *answers, FILE *out)
{
	static const enum kernel_answer of_state[] = {[MODULE_MISSING] = KERNEL_LACKS,
						      [MODULE_BUILTIN] = KERNEL_BUILTIN,
						      [MODULE_FILE] = KERNEL_MODULE};
	struct module modules[KERNEL_PARTS];
	enum kernel_part parts[KERNEL_PARTS];
	size_t n = 0;
	int err;

	for (unsigned int part = 0; part < KERNEL_PARTS; part++) {
		if (!(want & KERNEL_PART(part)) || !kernel_parts[part].module[0])
			continue;
		parts[n] = part;
		modules[n++] = (struct module){.name = kernel_parts[part].module};
	}
	err = modules_gather(kernel->modules, kernel->release, modules, n, out);
	for (size_t i = 0; i < n && err == 0; i++) {
		if (answers[parts[i]] != KERNEL_BUILTIN && modules[i].state != MODULE_UNKNOWN)
			answers[parts[i]] = of_state[modules[i].state];
	}
	return err;
}

int kernel_ask(const struct kernel_choice *kernel, const char *config, uint32_t want,
	       enum kernel_answer answers[KERNEL_PARTS], FILE *out)
{
	for (unsigned int part = 0; part < KERNEL_PARTS; part++)
		answers[part] = config && (want & KERNEL_PART(part))
					? kernel_answer_of_config(config, part)
					: KERNEL_UNKNOWN;
	return kernel->modules[0] ? kernel_ask_modules(kernel, want, answers, out) : 0;
}

char *kernel_read_config(const struct kernel_choice *kernel)
{
	void *text;
	size_t size;

	/* it ends with a zero */
	return kernel->config[0] && vmm_unpack_file(kernel->config, &text, &size) == 0 ? text
										       : NULL;
}

/* ---- a start ---- */

/* Returns 0 or -ENOTSUP. */
static int kernel_refuse_lacking(const struct kernel_choice *kernel, uint32_t needs,
				 const enum kernel_answer *answers)
{
	char list[512] = "";
	size_t used = 0;

	for (unsigned int part = 0; part < KERNEL_PARTS; part++) {
		if ((needs & KERNEL_PART(part)) && answers[part] == KERNEL_LACKS &&
		    used < sizeof(list))
			used += (size_t)snprintf(list + used, sizeof(list) - used,
						 "%s%s (CONFIG_%s)", used ? ", " : "",
						 kernel_parts[part].name,
						 kernel_parts[part].symbol);
	}
	if (!used)
		return 0;
	if (kernel->modules[0])
		report("kernel '%s' lacks %s: it is not built in, and no module in '%s'",
		       kernel->path, list, kernel->modules);
	else if (!kernel->release[0])
		report("kernel '%s' lacks %s: it is not built in, and which modules it has cannot "
		       "be known without its release",
		       kernel->path, list);
	else
		report("kernel '%s' lacks %s: it is not built in, and there is no "
		       "/lib/modules/%s/modules.dep that tells of modules",
		       kernel->path, list, kernel->release);
	return -ENOTSUP;
}

/* Unpacking a kernel takes as long as all the rest of a start, so it is done once: the cache knows of those that it has. */
static char *kernel_read_own_config(const struct kernel_choice *kernel, const char *cache)
{
	int err = -ENOENT;
	char *text;

	if (kernel->modules[0])
		return NULL;
	if (cache)
		err = vmm_kernel_cached_config(kernel->path, cache, &text);
	if (err < 0 && err != -ENODATA)
		err = vmm_kernel_config(kernel->path, &text);
	return err == 0 ? text : NULL;
}

static int kernel_pack(const struct kernel_choice *kernel, const char *cache, bool needs,
		       uint32_t want, enum kernel_answer *answers, char **archive, size_t *size)
{
	FILE *out = open_memstream(archive, size);
	char *config;
	int err;

	if (!out) {
		report("out of memory");
		return -ENOMEM;
	}
	config = kernel_read_config(kernel);
	if (!config && needs)
		config = kernel_read_own_config(kernel, cache);
	err = kernel_ask(kernel, config, want, answers, out);
	free(config);
	if (fclose(out) != 0 && err == 0) {
		report("no memory for the modules of kernel '%s'", kernel->path);
		err = -ENOMEM;
	}
	return err;
}

int kernel_prepare(const struct kernel_choice *kernel, const char *cache, uint32_t needs,
		   uint32_t wishes, uint32_t *lacking, void **archive, size_t *size)
{
	enum kernel_answer answers[KERNEL_PARTS];
	char *bytes = NULL;
	int err = kernel_pack(kernel, cache, needs != 0, needs | wishes, answers, &bytes, size);

	if (err == 0)
		err = kernel_refuse_lacking(kernel, needs, answers);
	for (unsigned int part = 0; part < KERNEL_PARTS && lacking; part++) {
		if ((wishes & KERNEL_PART(part)) && answers[part] == KERNEL_LACKS)
			*lacking |= KERNEL_PART(part);
	}
	if (err < 0 || *size == 0) {
		free(bytes);
		bytes = NULL;
	}
	*archive = bytes;
	return err;
}

bool kernel_hint(const struct kernel_choice *kernel)
{
	if (kernel->config[0] || kernel->modules[0])
		return false;
	report("nothing beside the kernel told what it has; see: vmm doctor --kernel %s",
	       kernel->path);
	return true;
}
