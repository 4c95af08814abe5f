#include "boot/bzimage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "boot/kernel_kind.h"

/* Offsets in the file, boot.rst "The Real-Mode Kernel Header". */
#define SETUP_HEADER 0x1f1
#define JUMP	     0x200
#define HEADER	     0x202

#define SECTOR	       512
#define PARAGRAPH      16 /* what syssize counts */
#define JUMP_OPCODE    0xeb
#define ENTRY64_OFFSET 0x200

#define VERSION_OLDEST	0x206 /* cmdline_size */
#define VERSION_INIT	0x20a /* pref_address, init_size */
#define VERSION_XLOAD	0x20c /* xloadflags */
#define VERSION_PAYLOAD 0x208 /* payload_offset, payload_length */
#define HEADER_END(last)                                                                           \
	(offsetof(struct boot_params, hdr.last) + sizeof(((struct setup_header *)0)->last))

/* The protected-mode part: where it is in the file and where it goes. */
struct bzimage {
	const struct setup_header *hdr;
	uint64_t offset;
	uint64_t size;
	gpa_t load;
	gpa_t runtime; /* where the unpacked kernel runs */
};

/* The length of the header is told by the jump around it (boot.rst, "jump"). */
static int bzimage_copy_header(const struct boot_config *cfg, const struct image_file *file,
			       struct boot_params *params)
{
	size_t end, need;
	uint16_t version;

	if (file->head_len < offsetof(struct boot_params, edd_mbr_sig_buffer))
		return image_refuse(cfg, ENOEXEC, "the bzImage is cut off after %" PRIu64 " bytes",
				    file->size);
	memcpy(&version, file->head + offsetof(struct boot_params, hdr.version), sizeof(version));
	if (version < VERSION_OLDEST)
		return image_refuse(cfg, ENOEXEC,
				    "it speaks boot protocol %u.%02u; vmm needs 2.06 (Linux 2.6.22)"
				    " or later",
				    version >> 8, version & 0xff);
	if (version >> 8 != 2)
		return image_refuse(cfg, ENOEXEC, "it speaks boot protocol %u.%02u; vmm knows 2.x",
				    version >> 8, version & 0xff);
	if (file->head[JUMP] != JUMP_OPCODE || file->head[JUMP + 1] > INT8_MAX)
		return image_refuse(cfg, ENOEXEC,
				    "its setup header is broken: no jump over it at 0x200");

	end = HEADER + file->head[JUMP + 1];
	need = version >= VERSION_INIT ? HEADER_END(init_size) : HEADER_END(cmdline_size);
	if (end < need)
		return image_refuse(cfg, ENOEXEC,
				    "its setup header is broken: %zu bytes are too few for boot"
				    " protocol %u.%02u",
				    end - SETUP_HEADER, version >> 8, version & 0xff);
	memcpy((uint8_t *)params + SETUP_HEADER, file->head + SETUP_HEADER, end - SETUP_HEADER);
	return 0;
}

static int bzimage_measure(const struct boot_config *cfg, const struct image_file *file,
			   struct bzimage *bz)
{
	const struct setup_header *hdr = bz->hdr;
	uint64_t end;

	if (hdr->boot_flag != IMAGE_BOOT_FLAG)
		return image_refuse(cfg, ENOEXEC,
				    "its setup header is broken: boot_flag is 0x%04x, not 0xaa55",
				    hdr->boot_flag);
	if (!(hdr->loadflags & LOADED_HIGH))
		return image_refuse(cfg, ENOEXEC,
				    "this is a zImage, a kernel for 16-bit loaders; vmm needs a"
				    " bzImage or vmlinux");

	/* 0 means 4: boot.rst, "setup_sects" */
	bz->offset = SECTOR * (UINT64_C(1) + (hdr->setup_sects ? hdr->setup_sects : 4));
	bz->size = UINT64_C(1) * PARAGRAPH * hdr->syssize;
	if (bz->size <= ENTRY64_OFFSET)
		return image_refuse(
			cfg, ENOEXEC,
			"its setup header is broken: syssize tells of %" PRIu64 " bytes", bz->size);
	end = bz->offset + bz->size;
	if (end > file->size + PARAGRAPH - 1)
		return image_refuse(cfg, ENOEXEC,
				    "the bzImage is cut off: %" PRIu64 " bytes of %" PRIu64,
				    file->size, end);
	/* Linux fills its last paragraph, memtest86+ and iPXE do not. */
	if (end > file->size)
		bz->size -= end - file->size;
	return 0;
}

/*
 * A compressed kernel lies where the header says, or the header is not to be believed: this finds a wrong
 * setup_sects too, which would otherwise start the guest in the middle of nowhere.
 */
static int bzimage_check_payload(const struct boot_config *cfg, const struct image_file *file,
				 const struct bzimage *bz)
{
	const struct setup_header *hdr = bz->hdr;
	uint64_t end = (uint64_t)hdr->payload_offset + hdr->payload_length;
	uint8_t magic[8];
	int ret;

	if (hdr->version < VERSION_PAYLOAD || (!hdr->payload_offset && !hdr->payload_length))
		return 0;
	if (end > bz->size || hdr->payload_length < sizeof(magic))
		return image_refuse(
			cfg, ENOEXEC,
			"its setup header is broken: %u bytes of payload at 0x%x of %" PRIu64,
			hdr->payload_length, hdr->payload_offset, bz->size);
	if (hdr->version >= VERSION_INIT && hdr->init_size < end)
		return image_refuse(cfg, ENOEXEC,
				    "its setup header is broken: init_size is %u, smaller than the"
				    " kernel",
				    hdr->init_size);
	ret = image_read(file->fd, bz->offset + hdr->payload_offset, magic, sizeof(magic));
	if (ret < 0)
		return image_refuse_errno(cfg, ret);
	if (!kernel_kind_is_packed(magic, sizeof(magic)))
		return image_refuse(cfg, ENOEXEC,
				    "its setup header is broken: no compressed kernel begins at"
				    " setup_sects %u, payload_offset 0x%x",
				    hdr->setup_sects, hdr->payload_offset);
	return 0;
}

/* Where the kernel runs once unpacked, as its own startup code computes it (boot.rst, "init_size"). */
static int bzimage_find_runtime(const struct boot_config *cfg, const struct bzimage *bz,
				uint64_t *runtime)
{
	const struct setup_header *hdr = bz->hdr;
	uint64_t lowest = IMAGE_LOWEST;

	if (hdr->version >= VERSION_INIT) {
		if (!hdr->relocatable_kernel) {
			*runtime = hdr->pref_address;
			return 0;
		}
		if (hdr->pref_address < IMAGE_LOWEST)
			return image_refuse(cfg, ENOEXEC,
					    "its setup header is broken: pref_address 0x%" PRIx64
					    " is below 1 MiB",
					    (uint64_t)hdr->pref_address);
		lowest = hdr->pref_address;
	} else if (!hdr->relocatable_kernel) {
		*runtime = hdr->code32_start;
		return 0;
	}
	if (__builtin_popcount(hdr->kernel_alignment) != 1 ||
	    !image_align(lowest, hdr->kernel_alignment, runtime))
		return image_refuse(
			cfg, ENOEXEC,
			"its setup header is broken: kernel_alignment is 0x%x, pref_address"
			" 0x%" PRIx64,
			hdr->kernel_alignment, lowest);
	return 0;
}

/*
 * A relocatable kernel is loaded where it will run: its startup code then moves the compressed bytes inside
 * the memory it needs anyway, and no other page is touched.
 */
static int bzimage_place(const struct guest_mem *mem, const struct boot_config *cfg,
			 struct bzimage *bz, struct image *image)
{
	const struct setup_header *hdr = bz->hdr;
	uint64_t runtime_end, load_end, init_size;
	int ret = bzimage_find_runtime(cfg, bz, &bz->runtime);

	if (ret < 0)
		return ret;
	/* before init_size existed: thrice the compressed size, as GRUB reckons */
	init_size = hdr->version >= VERSION_INIT ? hdr->init_size : 3 * bz->size;
	bz->load = hdr->relocatable_kernel ? bz->runtime : hdr->code32_start;

	if (__builtin_add_overflow(bz->runtime, init_size, &runtime_end) ||
	    __builtin_add_overflow(bz->load, bz->size, &load_end))
		return image_refuse(cfg, ENOEXEC,
				    "its setup header is broken: pref_address is 0x%" PRIx64,
				    (uint64_t)hdr->pref_address);
	image->start = bz->load < bz->runtime ? bz->load : bz->runtime;
	image->end = load_end > runtime_end ? load_end : runtime_end;
	return image_check_memory(mem, cfg, image->start, image->end);
}

static bool bzimage_is_64(const struct setup_header *hdr)
{
	return hdr->version >= VERSION_XLOAD && (hdr->xloadflags & XLF_KERNEL_64);
}

static void bzimage_finish(const struct bzimage *bz, struct image *image)
{
	struct setup_header *hdr = &image->params.hdr;

	image->initrd_max = hdr->initrd_addr_max;
	if (bzimage_is_64(hdr)) {
		image->protocol = BOOT_LINUX64;
		image->entry = bz->load + ENTRY64_OFFSET;
		/* It takes one anywhere (boot.rst, "xloadflags"); the limit, which is still 2 GiB, is for older boot loaders. */
		if (hdr->xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G)
			image->initrd_max = UINT32_MAX;
	} else {
		image->protocol = BOOT_LINUX32;
		image->entry = bz->load;
	}
	image->cmdline_size = hdr->cmdline_size;

	hdr->type_of_loader = IMAGE_TYPE_OF_LOADER;
	hdr->ext_loader_type = 0;
	hdr->ext_loader_ver = 0;
	hdr->loadflags = LOADED_HIGH;
	hdr->vid_mode = IMAGE_VIDEO_MODE;
	hdr->code32_start = (uint32_t)bz->load;
	hdr->hardware_subarch = X86_SUBARCH_PC;
	hdr->hardware_subarch_data = 0;
	hdr->setup_data = 0;
}

/* All that the header tells. */
static int bzimage_read(const struct guest_mem *mem, const struct boot_config *cfg,
			const struct image_file *file, struct bzimage *bz, struct image *image)
{
	int ret = bzimage_copy_header(cfg, file, &image->params);

	bz->hdr = &image->params.hdr;
	if (ret == 0)
		ret = bzimage_measure(cfg, file, bz);
	if (ret == 0)
		ret = bzimage_check_payload(cfg, file, bz);
	if (ret == 0)
		ret = bzimage_place(mem, cfg, bz, image);
	return ret;
}

int bzimage_load(const struct guest_mem *mem, const struct boot_config *cfg,
		 const struct image_file *file, struct image *image)
{
	struct bzimage bz;
	int ret = bzimage_read(mem, cfg, file, &bz, image);

	if (ret < 0)
		return ret;
	image_choose_pages(mem, image);
	ret = image_read_guest(mem, bz.load, file->fd, bz.offset, bz.size);
	if (ret < 0)
		return image_refuse_errno(cfg, ret);
	bzimage_finish(&bz, image);
	return 0;
}

/*
 * What the startup code of a bzImage does besides unpacking is done by us already (the RSDP), is for other firmware (EFI,
 * SEV), or is not needed: with more RAM than that, the kernel wants page tables of five levels from it.
 */
#define RAM_OF_4_LEVELS (UINT64_C(1) << 46)

static bool bzimage_has_much_ram(const struct boot_config *cfg)
{
	for (unsigned int i = 0; i < cfg->n_e820; i++) {
		if (cfg->e820[i].base + cfg->e820[i].size > RAM_OF_4_LEVELS)
			return true;
	}
	return false;
}

int bzimage_prepare_unpack(const struct guest_mem *mem, const struct boot_config *cfg,
			   const struct image_file *file, struct image *image,
			   struct bzimage_unpack *unpack)
{
	const struct setup_header *hdr = &image->params.hdr;
	struct bzimage bz;
	int ret = bzimage_read(mem, cfg, file, &bz, image);

	if (ret < 0)
		return ret;
	if (!bzimage_is_64(hdr) || hdr->payload_length == 0 || bzimage_has_much_ram(cfg))
		return -ENOTSUP;
	unpack->payload = (struct codec_input){.fd = file->fd,
					       .offset = bz.offset + hdr->payload_offset,
					       .left = hdr->payload_length};
	unpack->place = (struct vmlinux_place){.link = hdr->pref_address,
					       .load = bz.runtime,
					       .size = hdr->init_size,
					       .lowest = image_ram_start(cfg, bz.runtime)};
	bzimage_finish(&bz, image);
	image->start = bz.runtime;
	image->end = bz.runtime + hdr->init_size;
	return 0;
}
