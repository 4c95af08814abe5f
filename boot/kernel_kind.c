#include "boot/kernel_kind.h"

#include <string.h>

#include <elf.h>

/* Offsets in the first two sectors of a bzImage, boot.rst "The Real-Mode Kernel Header". */
#define BOOT_FLAG_OFFSET 0x1fe
#define HEADER_OFFSET	 0x202

struct kind {
	const char *magic;
	const char *phrase;
	uint8_t magic_len;
	uint8_t offset;
};

#define MAGIC(m)	   .magic = m, .magic_len = sizeof(m) - 1
#define WANTED		   "; vmm needs an x86-64 bzImage or vmlinux"
#define PACKED(what, tool) .phrase = "this is " what "-compressed file; unpack it first (" tool ")"
#define TOO_SHORT	   "the file is too short for a kernel; it may have been cut off"

/* The payload formats of scripts/Makefile.lib. */
static const struct kind packed[] = {
	{MAGIC("\x1f\x8b"), PACKED("a gzip", "gunzip")},
	{MAGIC("\3757zXZ\0"), PACKED("an xz", "unxz")},
	{MAGIC("\x28\xb5\x2f\xfd"), PACKED("a zstd", "unzstd")},
	{MAGIC("\x02\x21\x4c\x18"), PACKED("an lz4", "unlz4")},
	{MAGIC("\x04\x22\x4d\x18"), PACKED("an lz4", "unlz4")},
	{MAGIC("BZh"), PACKED("a bzip2", "bunzip2")},
	{MAGIC("\x5d\x00\x00"), PACKED("an lzma", "unlzma")},
	{MAGIC("\x89LZO"), PACKED("an lzop", "lzop -d")},
};

/* The first match counts: the arm64, RISC-V and zboot images begin with "MZ" like an EFI program. */
static const struct kind others[] = {
	{MAGIC("zimg"), .offset = 4,
	 .phrase = "this is an EFI zboot image; unpack the kernel inside it, vmm needs an x86-64 "
		   "bzImage or vmlinux"},
	{MAGIC("ARM\x64"), .offset = 0x38, .phrase = "this is an arm64 kernel Image" WANTED},
	{MAGIC("RSC\x05"), .offset = 0x38, .phrase = "this is a RISC-V kernel Image" WANTED},
	{MAGIC("RISCV\0\0\0"), .offset = 0x30, .phrase = "this is a RISC-V kernel Image" WANTED},
	{MAGIC("\xcd\x23\x82\x81"), .offset = 0x38,
	 .phrase = "this is a LoongArch kernel Image" WANTED},
	{MAGIC("\x18\x28\x6f\x01"), .offset = 0x24, .phrase = "this is a 32-bit ARM zImage" WANTED},
	{MAGIC("\x27\x05\x19\x56"), .phrase = "this is a U-Boot uImage" WANTED},
	{MAGIC("ANDROID!"), .phrase = "this is an Android boot image" WANTED},
	{MAGIC("070701"), .phrase = "this is a cpio archive; give an initrd with --initrd"},
	{MAGIC("QFI\xfb"), .phrase = "this is a qcow2 disk image; give disks with --disk"},
	{MAGIC("!<arch>\n"),
	 .phrase = "this is an ar archive or Debian package; unpack the kernel from it"},
	{MAGIC("\xed\xab\xee\xdb"), .phrase = "this is an RPM package; unpack the kernel from it"},
};

/* What such a file is called, or NULL. */
static const char *kind_of(const struct kind *kinds, size_t n, const uint8_t *head, size_t len)
{
	for (const struct kind *k = kinds; k < kinds + n; k++) {
		if (len >= (size_t)k->offset + k->magic_len &&
		    memcmp(head + k->offset, k->magic, k->magic_len) == 0)
			return k->phrase;
	}
	return NULL;
}

#define KIND_OF(kinds, head, len) kind_of(kinds, sizeof(kinds) / sizeof(kinds[0]), head, len)

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
	const char *phrase = KIND_OF(others, head, len);

	if (!phrase)
		phrase = KIND_OF(packed, head, len);
	if (phrase)
		return phrase;
	if (size == 0)
		return "the file is empty";
	if (len >= 2 && head[0] == 'M' && head[1] == 'Z')
		return size < HEADER_OFFSET + 4 ? TOO_SHORT
						: "this is an EFI program; if it is a unified "
						  "kernel image, 'objcopy -O "
						  "binary -j .linux' takes the kernel out" WANTED;
	if (is_text(head, len))
		return "this is a text file" WANTED;
	if (is_zeros(head, len))
		return "the file begins with zeros alone" WANTED;
	if (size < HEADER_OFFSET + 4)
		return TOO_SHORT;
	if (head[BOOT_FLAG_OFFSET] == 0x55 && head[BOOT_FLAG_OFFSET + 1] == 0xaa)
		return "this is a boot sector or disk image" WANTED;
	return "this is no kernel image that vmm knows" WANTED;
}

bool kernel_kind_is_packed(const uint8_t *p, size_t len)
{
	return KIND_OF(packed, p, len);
}
