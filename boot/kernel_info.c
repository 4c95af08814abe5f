#include "boot/kernel_info.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <asm/bootparam.h>
#include <elf.h>

#include "boot/codec.h"
#include "boot/image.h"
#include "boot/kernel_kind.h"
#include "boot/scratch.h"
#include "vmm/core/zlib.h"

#define FILE_MAX   (UINT64_C(64) << 20)	 /* of a file that is unpacked */
#define KERNEL_MAX (UINT64_C(512) << 20) /* of a kernel, and what is looked at of an ELF file */
#define CONFIG_MAX (UINT64_C(8) << 20)

/* Offsets in a bzImage, boot.rst "The Real-Mode Kernel Header". */
#define HEADER_BASE	0x200 /* of kernel_version */
#define SECTOR		512
#define VERSION_PAYLOAD 0x208

/* The file, or a kernel that was packed in it. */
struct kernel_bytes {
	uint8_t *bytes; /* of scratch_get() */
	size_t len;
};

static int kernel_info_size(int fd, uint64_t *size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -ENOEXEC;
	*size = (uint64_t)st.st_size;
	return 0;
}

/* Returns the kind, with head's *len bytes set, or a negative errno. */
static int kernel_info_head(int fd, uint8_t head[KERNEL_KIND_HEAD], size_t *len, uint64_t *size)
{
	int err = kernel_info_size(fd, size);

	if (err < 0)
		return err;
	*len = *size < KERNEL_KIND_HEAD ? (size_t)*size : KERNEL_KIND_HEAD;
	err = image_read(fd, 0, head, *len);
	return err < 0 ? err : (int)kernel_kind_find(head, *len);
}

/*
 * Where the segments that are loaded end in an ELF file of size bytes: what a kernel says of itself is in one of them, and behind them may be
 * hundreds of megabytes for debuggers. The whole file, if head, aligned as its structs, does not tell.
 */
static uint64_t kernel_info_loaded(const uint8_t *head, size_t len, uint64_t size)
{
	const Elf64_Ehdr __attribute__((may_alias)) *ehdr = (const void *)head;
	const Elf64_Phdr __attribute__((may_alias)) * phdr;
	uint64_t end = 0, stop;

	if (len < sizeof(*ehdr) || ehdr->e_ident[EI_CLASS] != ELFCLASS64 || ehdr->e_phoff > len ||
	    ehdr->e_phoff % _Alignof(Elf64_Phdr) != 0 ||
	    ehdr->e_phnum > (len - ehdr->e_phoff) / sizeof(*phdr))
		return size;
	phdr = (const void *)(head + ehdr->e_phoff);
	for (unsigned int i = 0; i < ehdr->e_phnum; i++, phdr++) {
		if (phdr->p_type != PT_LOAD)
			continue;
		if (__builtin_add_overflow(phdr->p_offset, phdr->p_filesz, &stop) || stop > size)
			return size;
		if (stop > end)
			end = stop;
	}
	return end > 0 ? end : size;
}

/* An ELF file, of which head is the beginning. */
static int kernel_info_read(int fd, const uint8_t *head, size_t len, uint64_t size,
			    struct kernel_bytes *b)
{
	int err;

	size = kernel_info_loaded(head, len, size);
	b->len = size < KERNEL_MAX ? (size_t)size : KERNEL_MAX;
	b->bytes = scratch_get(b->len);
	if (!b->bytes)
		return -ENOMEM;
	err = image_read(fd, 0, b->bytes, b->len);
	if (err < 0)
		scratch_free(b->bytes, b->len);
	return err;
}

/* ---- the release ---- */

static bool kernel_info_is_release(char c)
{
	return isalnum((unsigned char)c) || (c && strchr("+-._~", c));
}

/* text has len bytes. It becomes a part of paths, so that not all may be in it. */
static int kernel_info_copy_release(const char *text, size_t len, char *release, size_t size)
{
	size_t n = 0;

	while (n < len && kernel_info_is_release(text[n]))
		n++;
	if (n == 0 || n == len || text[0] == '.' || (text[n] != ' ' && text[n] != '\0'))
		return -ENODATA;
	if (n >= size)
		return -ENAMETOOLONG;
	memcpy(release, text, n);
	release[n] = '\0';
	return 0;
}

static int kernel_info_bzimage_release(int fd, const uint8_t *head, size_t len, char *release,
				       size_t size)
{
	char text[256] = "";
	uint16_t offset;

	if (len < offsetof(struct boot_params, hdr.kernel_version) + sizeof(offset))
		return -ENODATA;
	memcpy(&offset, head + offsetof(struct boot_params, hdr.kernel_version), sizeof(offset));
	if (offset == 0 || image_read(fd, HEADER_BASE + offset, text, sizeof(text) - 1) < 0)
		return -ENODATA;
	return kernel_info_copy_release(text, sizeof(text), release, size);
}

static int kernel_info_elf_release(int fd, const uint8_t *head, size_t len, uint64_t file_size,
				   char *release, size_t size)
{
	static const char banner[] = "Linux version ";
	struct kernel_bytes b;
	const uint8_t *at, *end;
	int err = kernel_info_read(fd, head, len, file_size, &b);

	if (err < 0)
		return err;
	err = -ENODATA;
	end = b.bytes + b.len;
	at = memmem(b.bytes, b.len, banner, strlen(banner));
	/* the banner for /proc/version has a "%s" there */
	while (at && err < 0) {
		at += strlen(banner);
		if (at < end && isdigit(*at))
			err = kernel_info_copy_release((const char *)at, (size_t)(end - at),
						       release, size);
		at = memmem(at, (size_t)(end - at), banner, strlen(banner));
	}
	scratch_free(b.bytes, b.len);
	return err;
}

int kernel_info_release(int fd, char *release, size_t size)
{
	_Alignas(Elf64_Ehdr) uint8_t head[KERNEL_KIND_HEAD];
	uint64_t file_size;
	size_t len;
	int kind = kernel_info_head(fd, head, &len, &file_size);

	switch (kind) {
	case KERNEL_KIND_BZIMAGE:
		return kernel_info_bzimage_release(fd, head, len, release, size);
	case KERNEL_KIND_ELF:
		return kernel_info_elf_release(fd, head, len, file_size, release, size);
	default:
		return kind < 0 ? kind : -ENODATA;
	}
}

/* ---- the configuration ---- */

static int kernel_info_inflate_to(const uint8_t *packed, size_t len, char *to, uint32_t size)
{
	z_stream z = {.next_in = (Bytef *)(uintptr_t)packed,
		      .avail_in = (uInt)len,
		      .next_out = (Bytef *)to,
		      .avail_out = size};
	struct zlib zlib;
	int ret = zlib_open(&zlib);

	if (ret < 0)
		return ret;
	ret = zlib_begin(&zlib, &z, 16 + MAX_WBITS);
	if (ret == Z_OK) {
		ret = zlib.inflate(&z, Z_FINISH);
		zlib.inflate_end(&z);
	}
	zlib_close(&zlib);
	return ret == Z_STREAM_END && z.avail_out == 0 ? 0 : -EBADMSG;
}

/* packed ends with its size when unpacked, as gzip has it. */
int kernel_info_unpack_config(const uint8_t *packed, size_t len, char **text)
{
	uint32_t size;
	char *to;
	int err;

	if (len < sizeof(size))
		return -EBADMSG;
	memcpy(&size, packed + len - sizeof(size), sizeof(size));
	if (size > CONFIG_MAX)
		return -EFBIG;
	to = calloc(1, (size_t)size + 1);
	if (!to)
		return -ENOMEM;
	err = kernel_info_inflate_to(packed, len, to, size);
	if (err == 0)
		*text = to;
	else
		free(to);
	return err;
}

/* kernel/configs.c of Linux: a gzip file between two words. */
bool kernel_info_find_config(const uint8_t *kernel, size_t size, size_t *at, size_t *len)
{
	static const char start[] = "IKCFG_ST\x1f\x8b", last[] = "IKCFG_ED";
	const uint8_t *from = memmem(kernel, size, start, sizeof(start) - 1), *end;

	if (!from)
		return false;
	from += strlen(last); /* as long as the first */
	end = memmem(from, size - (size_t)(from - kernel), last, sizeof(last) - 1);
	*at = (size_t)(from - kernel);
	*len = end ? (size_t)(end - from) : 0;
	return true;
}

static int kernel_info_payload(int fd, const uint8_t *head, size_t len, uint64_t size,
			       struct kernel_bytes *b)
{
	const atomic_bool stop = false;
	struct boot_params params;
	struct codec_input in;
	uint32_t unpacked;
	int err;

	if (len < sizeof(params))
		return -ENOEXEC;
	memcpy(&params, head, sizeof(params));
	in = (struct codec_input){
		.fd = fd,
		.offset = SECTOR * (UINT64_C(1) +
				    (params.hdr.setup_sects ? params.hdr.setup_sects : 4)) +
			  params.hdr.payload_offset,
		.left = params.hdr.payload_length};
	if (params.hdr.version < VERSION_PAYLOAD || in.left == 0 || in.offset + in.left > size)
		return -ENOEXEC;
	err = codec_size(&in, &unpacked);
	if (err < 0)
		return err;
	if (unpacked == 0 || unpacked > KERNEL_MAX)
		return -EFBIG;
	*b = (struct kernel_bytes){.bytes = scratch_get(unpacked), .len = unpacked};
	if (!b->bytes)
		return -ENOMEM;
	err = codec_unpack(&in, b->bytes, b->len, &stop);
	if (err < 0)
		scratch_free(b->bytes, b->len);
	return err;
}

int kernel_info_config(int fd, char **text)
{
	_Alignas(Elf64_Ehdr) uint8_t head[KERNEL_KIND_HEAD];
	struct kernel_bytes b;
	uint64_t size;
	size_t len, at;
	int err, kind = kernel_info_head(fd, head, &len, &size);

	if (kind < 0)
		return kind;
	if (kind == KERNEL_KIND_OTHER)
		return -ENOEXEC;
	err = kind == KERNEL_KIND_ELF ? kernel_info_read(fd, head, len, size, &b)
				      : kernel_info_payload(fd, head, len, size, &b);
	if (err < 0)
		return err;
	err = -ENODATA;
	if (kernel_info_find_config(b.bytes, b.len, &at, &len))
		err = len > CONFIG_MAX ? -EFBIG
				       : kernel_info_unpack_config(b.bytes + at, len, text);
	scratch_free(b.bytes, b.len);
	return err;
}

/* ---- any file ---- */

static int kernel_info_copy(const uint8_t *from, size_t len, void **bytes)
{
	uint8_t *copy = malloc(len + 1);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, from, len);
	copy[len] = 0;
	*bytes = copy;
	return 0;
}

int kernel_info_unpack(int fd, void **bytes, size_t *len)
{
	uint8_t head[KERNEL_KIND_HEAD], *room;
	uint64_t size;
	int err = kernel_info_head(fd, head, len, &size);

	if (err < 0)
		return err;
	if (size > FILE_MAX)
		return -EFBIG;
	room = scratch_get(FILE_MAX);
	if (!room)
		return -ENOMEM;
	if (kernel_kind_is_packed(head, *len)) {
		err = codec_unpack_file(fd, size, room, FILE_MAX, len);
	} else {
		*len = (size_t)size;
		err = image_read(fd, 0, room, *len);
	}
	if (err == 0)
		err = kernel_info_copy(room, *len, bytes);
	scratch_free(room, FILE_MAX);
	return err;
}
