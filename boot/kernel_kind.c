#include "boot/kernel_kind.h"

#include <stdbool.h>
#include <string.h>

#include <elf.h>

/* Offsets in the first two sectors of a bzImage, boot.rst "The Real-Mode Kernel Header". */
#define BOOT_FLAG_OFFSET 0x1fe
#define HEADER_OFFSET	 0x202

struct kind {
	size_t offset;
	const char *magic;
	size_t magic_len;
	const char *phrase;
};

#define MAGIC(m)  m, sizeof(m) - 1
#define WANTED	  "; vmm needs an x86-64 bzImage or vmlinux"
#define UNPACK	  "; unpack it first"
#define TOO_SHORT "the file is too short for a kernel; it may have been cut off"

static const struct kind compressions[] = {
	{0, MAGIC("\x1f\x8b"), "gzip"},		{0, MAGIC("\3757zXZ\0"), "xz"},
	{0, MAGIC("\x28\xb5\x2f\xfd"), "zstd"}, {0, MAGIC("\x02\x21\x4c\x18"), "lz4"},
	{0, MAGIC("\x04\x22\x4d\x18"), "lz4"},	{0, MAGIC("BZh"), "bzip2"},
	{0, MAGIC("\x5d\x00\x00"), "lzma"},	{0, MAGIC("\x89LZO"), "lzo"},
};

/* The first match counts: the arm64, RISC-V and zboot images begin with "MZ" like an EFI program. */
static const struct kind kinds[] = {
	{4, MAGIC("zimg"),
	 "this is an EFI zboot image; unpack the kernel inside it, vmm needs an x86-64 bzImage or "
	 "vmlinux"},
	{0x38, MAGIC("ARM\x64"), "this is an arm64 kernel Image" WANTED},
	{0x38, MAGIC("RSC\x05"), "this is a RISC-V kernel Image" WANTED},
	{0x30, MAGIC("RISCV\0\0\0"), "this is a RISC-V kernel Image" WANTED},
	{0x38, MAGIC("\xcd\x23\x82\x81"), "this is a LoongArch kernel Image" WANTED},
	{0x24, MAGIC("\x18\x28\x6f\x01"), "this is a 32-bit ARM zImage" WANTED},
	{0, MAGIC("\x27\x05\x19\x56"), "this is a U-Boot uImage" WANTED},
	{0, MAGIC("ANDROID!"), "this is an Android boot image" WANTED},
	{0, MAGIC("\x1f\x8b"), "this is a gzip-compressed file" UNPACK " (gunzip)"},
	{0, MAGIC("\3757zXZ\0"), "this is an xz-compressed file" UNPACK " (unxz)"},
	{0, MAGIC("\x28\xb5\x2f\xfd"), "this is a zstd-compressed file" UNPACK " (unzstd)"},
	{0, MAGIC("\x02\x21\x4c\x18"), "this is an lz4-compressed file" UNPACK " (unlz4)"},
	{0, MAGIC("\x04\x22\x4d\x18"), "this is an lz4-compressed file" UNPACK " (unlz4)"},
	{0, MAGIC("BZh"), "this is a bzip2-compressed file" UNPACK " (bunzip2)"},
	{0, MAGIC("\x5d\x00\x00"), "this is an lzma-compressed file" UNPACK " (unlzma)"},
	{0, MAGIC("\x89LZO"), "this is an lzop-compressed file" UNPACK " (lzop -d)"},
	{0, MAGIC("070701"), "this is a cpio archive; give an initrd with --initrd"},
	{0, MAGIC("QFI\xfb"), "this is a qcow2 disk image; give disks with --disk"},
	{0, MAGIC("!<arch>\n"),
	 "this is an ar archive or Debian package; unpack the kernel from it"},
	{0, MAGIC("\xed\xab\xee\xdb"), "this is an RPM package; unpack the kernel from it"},
};

static bool kind_matches(const struct kind *k, const uint8_t *head, size_t len)
{
	return len >= k->offset + k->magic_len &&
	       memcmp(head + k->offset, k->magic, k->magic_len) == 0;
}

static bool is_bzimage(const uint8_t *head, size_t len)
{
	return len >= HEADER_OFFSET + 4 && memcmp(head + HEADER_OFFSET, "HdrS", 4) == 0;
}

enum kernel_kind kernel_kind_find(const uint8_t *head, size_t len)
{
	if (len >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0)
		return KERNEL_KIND_ELF;
	return is_bzimage(head, len) ? KERNEL_KIND_BZIMAGE : KERNEL_KIND_OTHER;
}

static bool is_text(const uint8_t *head, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		/* controls below a space other than \t \n \v \f \r, and DEL; bytes of UTF-8 are fine */
		if ((head[i] < 0x20 && (head[i] < '\t' || head[i] > '\r')) || head[i] == 0x7f)
			return false;
	}
	return true;
}

static bool is_zeros(const uint8_t *head, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (head[i] != 0)
			return false;
	}
	return true;
}

const char *kernel_kind_describe(const uint8_t *head, size_t len, uint64_t size)
{
	if (size == 0)
		return "the file is empty";
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (kind_matches(&kinds[i], head, len))
			return kinds[i].phrase;
	}
	if (len >= 2 && head[0] == 'M' && head[1] == 'Z')
		return size < HEADER_OFFSET + 4
			       ? TOO_SHORT
			       : "this is an EFI program, perhaps a unified kernel image" WANTED;
	if (is_text(head, len))
		return "this is a text file" WANTED;
	if (is_zeros(head, len))
		return "the file holds only zeros" WANTED;
	if (size < HEADER_OFFSET + 4)
		return TOO_SHORT;
	if (head[BOOT_FLAG_OFFSET] == 0x55 && head[BOOT_FLAG_OFFSET + 1] == 0xaa)
		return "this is a boot sector or disk image" WANTED;
	return "this is no kernel image that vmm knows" WANTED;
}

const char *kernel_kind_compression(const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < sizeof(compressions) / sizeof(compressions[0]); i++) {
		if (kind_matches(&compressions[i], p, len))
			return compressions[i].phrase;
	}
	return NULL;
}
