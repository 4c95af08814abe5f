#include "vmm/cli/kernel_parts.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/api/vmm.h"
#include "vmm/cli/modules.h"
#include "vmm/cli/report.h"

/* In the order of enum kernel_part: the symbol of the configuration without CONFIG_, the name, and the module, "" for what is never one. */
static const char kernel_parts[] = "BLK_DEV_INITRD\0an initramfs\0\0"
				   "BINFMT_ELF\0ELF programs\0\0"
				   "X86_64\0programs of 64 bits\0\0"
				   "DEVTMPFS\0devtmpfs\0\0"
				   "KVM_GUEST\0KVM's clock\0\0"
				   "SERIAL_8250_CONSOLE\0a serial console\0\0"
				   "CRYPTO_SHA256_SSSE3\0fast SHA-256\0sha256_ssse3\0"
				   "PCI\0PCI\0\0"
				   "PCI_MSI\0MSI-X\0\0"
				   "VIRTIO_PCI\0virtio on PCI\0virtio_pci\0"
				   "VIRTIO_MMIO\0virtio on MMIO\0virtio_mmio\0"
				   "VIRTIO_CONSOLE\0virtio console\0virtio_console\0"
				   "VIRTIO_BLK\0virtio disk\0virtio_blk\0"
				   "VIRTIO_NET\0virtio network card\0virtio_net\0"
				   "PACKET\0packet sockets\0af_packet\0"
				   "VSOCKETS\0sockets of VMs\0vsock\0"
				   "VIRTIO_VSOCKETS\0virtio sockets\0vmw_vsock_virtio_transport\0"
				   "HW_RANDOM_VIRTIO\0virtio entropy source\0virtio_rng\0"
				   "VIRTIO_BALLOON\0virtio balloon\0virtio_balloon\0"
				   "EXT4_FS\0ext4\0ext4\0"
				   "SQUASHFS\0squashfs\0squashfs\0"
				   "EROFS_FS\0erofs\0erofs\0"
				   "OVERLAY_FS\0overlayfs\0overlay\0"
				   "FUSE_FS\0FUSE\0fuse\0"
				   "VIRTIO_FS\0shared directories\0virtiofs\0"
				   "SQUASHFS_LZ4\0squashfs with lz4\0\0"
				   "SQUASHFS_ZLIB\0squashfs with gzip\0\0"
				   "SQUASHFS_LZO\0squashfs with lzo\0\0"
				   "SQUASHFS_XZ\0squashfs with xz\0\0"
				   "SQUASHFS_ZSTD\0squashfs with zstd\0\0";

enum kernel_part_word { PART_SYMBOL, PART_NAME, PART_MODULE, PART_WORDS };

static const char *kernel_part_get(enum kernel_part part, enum kernel_part_word word)
{
	const char *at = kernel_parts;

	for (unsigned int n = part * PART_WORDS + word; n > 0; n--)
		at += strlen(at) + 1;
	return at;
}

const char *kernel_part_name(enum kernel_part part)
{
	return kernel_part_get(part, PART_NAME);
}

const char *kernel_part_symbol(enum kernel_part part)
{
	return kernel_part_get(part, PART_SYMBOL);
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
	return kernel_config_has(config, kernel_part_symbol(part)) ? KERNEL_BUILTIN : KERNEL_LACKS;
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
		const char *module = kernel_part_get(part, PART_MODULE);

		if (!(want & KERNEL_PART(part)) || !module[0])
			continue;
		parts[n] = part;
		modules[n++] = (struct module){.name = module};
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
						 kernel_part_name(part), kernel_part_symbol(part));
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
