/*
 * What the tests of unpacking share: a vmlinux made by hand with four segments, as Linux has them, packed by each codec into
 * a bzImage. Everything is static, as in boot_fixture.h.
 */
#pragma once

#include <elf.h>
#include <sys/stat.h>
#include <zlib.h>
#ifdef VMM_HAVE_LZ4
#include <lz4.h>
#endif
#ifdef VMM_HAVE_LZMA
#include <lzma.h>
#endif
#ifdef VMM_HAVE_ZSTD
#include <zstd.h>
#endif

#include "boot_fixture.h"

/* As in Linux, the first two are where they belong when the file lies 2 MiB below the kernel, and the others are not. */
static const struct seg {
	uint64_t vaddr, offset, paddr, size, room;
} segs[] = {
	{0xffffffff81000000, 0x200000, 0x1000000, 0x3210, 0x3210},
	{0xffffffff81200000, 0x400000, 0x1200000, 0x2000, 0x2000},
	{0, 0x600000, 0x1202000, 0x1000, 0x1000},
	{0xffffffff81203000, 0x603000, 0x1203000, 0x1800, 0x5000},
};

#define N_SEGS	    4
#define VM_ENTRY    UINT64_C(0x1000040)
#define VM_SECTIONS 0x605000
#define VM_TAIL	    (VM_SECTIONS + 2 * sizeof(Elf64_Shdr))
#define VM_TAIL_LEN 0x404
#define VM_SIZE	    (VM_TAIL + VM_TAIL_LEN)
#define VM_INIT	    0x600000

static uint8_t vm_file[VM_SIZE];
static Elf64_Ehdr *const vm_ehdr = (Elf64_Ehdr *)vm_file;
static Elf64_Phdr *const vm_phdrs = (Elf64_Phdr *)(vm_file + sizeof(Elf64_Ehdr));

static uint8_t *bzi;	/* the bzImage; freed by the next one */
static size_t bzi_size; /* of it */
static size_t bzi_payload;

static inline void fixture_make_vmlinux(void)
{
	memset(vm_file, 0, sizeof(vm_file));
	*vm_ehdr = (Elf64_Ehdr){
		.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_entry = VM_ENTRY,
		.e_phoff = sizeof(Elf64_Ehdr),
		.e_shoff = VM_SECTIONS,
		.e_ehsize = sizeof(Elf64_Ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = N_SEGS,
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = 2,
	};
	for (unsigned int i = 0; i < N_SEGS; i++) {
		vm_phdrs[i] = (Elf64_Phdr){.p_type = PT_LOAD,
					   .p_offset = segs[i].offset,
					   .p_vaddr = segs[i].vaddr,
					   .p_paddr = segs[i].paddr,
					   .p_filesz = segs[i].size,
					   .p_memsz = segs[i].room};
		for (uint64_t j = 0; j < segs[i].size; j++)
			vm_file[segs[i].offset + j] = (uint8_t)(j * 13 + (j >> 7) + i + 1);
	}
	/* a page of zeros, as the cache leaves out */
	memset(vm_file + segs[0].offset + 0x1000, 0, 0x1000);
	memset(vm_file + VM_SECTIONS, 0x5a, VM_SIZE - VM_SECTIONS);
}

/* ---- the codecs; each returns how many bytes it wrote to out, which has room ---- */

typedef size_t pack_fn(const void *in, size_t len, uint8_t *out, size_t room);

static inline size_t pack_gzip(const void *in, size_t len, uint8_t *out, size_t room)
{
	z_stream z = {.next_in = (Bytef *)(uintptr_t)in, .avail_in = (uInt)len};

	ck_assert_int_eq(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, 0), Z_OK);
	z.next_out = out;
	z.avail_out = (uInt)room;
	ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	/* the size that ends the payload is gzip's own */
	return z.total_out - 4;
}

#ifdef VMM_HAVE_LZ4
/* In blocks of 8 MiB, as lz4 -l writes; the file is one. */
static inline size_t pack_lz4(const void *in, size_t len, uint8_t *out, size_t room)
{
	uint32_t n = (uint32_t)LZ4_compress_default(in, (char *)out + 8, (int)len, (int)room - 8);

	ck_assert_uint_gt(n, 0);
	memcpy(out, "\x02\x21\x4c\x18", 4);
	memcpy(out + 4, &n, 4);
	return n + 8;
}
#endif

#ifdef VMM_HAVE_ZSTD
static inline size_t pack_zstd(const void *in, size_t len, uint8_t *out, size_t room)
{
	size_t n = ZSTD_compress(out, room, in, len, 3);

	ck_assert(!ZSTD_isError(n));
	return n;
}
#endif

#ifdef VMM_HAVE_LZMA
static inline size_t pack_stream(lzma_stream *s, const void *in, size_t len, uint8_t *out,
				 size_t room)
{
	s->next_in = in;
	s->avail_in = len;
	s->next_out = out;
	s->avail_out = room;
	ck_assert_int_eq(lzma_code(s, LZMA_FINISH), LZMA_STREAM_END);
	len = s->total_out;
	lzma_end(s);
	return len;
}

static inline size_t pack_xz(const void *in, size_t len, uint8_t *out, size_t room)
{
	lzma_stream s = LZMA_STREAM_INIT;

	ck_assert_int_eq(lzma_easy_encoder(&s, 1, LZMA_CHECK_CRC32), LZMA_OK);
	return pack_stream(&s, in, len, out, room);
}

static inline size_t pack_lzma(const void *in, size_t len, uint8_t *out, size_t room)
{
	lzma_stream s = LZMA_STREAM_INIT;
	lzma_options_lzma options;

	lzma_lzma_preset(&options, 1);
	ck_assert_int_eq(lzma_alone_encoder(&s, &options), LZMA_OK);
	return pack_stream(&s, in, len, out, room);
}
#endif

static const struct packer {
	const char *name;
	pack_fn *pack;
} packers[] = {
	{"gzip", pack_gzip},
#ifdef VMM_HAVE_LZ4
	{"lz4", pack_lz4},
#endif
#ifdef VMM_HAVE_ZSTD
	{"zstd", pack_zstd},
#endif
#ifdef VMM_HAVE_LZMA
	{"xz", pack_xz},     {"lzma", pack_lzma},
#endif
};

#define N_PACKERS ((int)(sizeof(packers) / sizeof(packers[0])))

static inline struct setup_header *bzi_hdr(void)
{
	return (struct setup_header *)(bzi + 0x1f1);
}

/* The bzImage of len bytes of vm_file, with this size at the end of its payload. */
static inline void fixture_pack_len(const struct packer *p, size_t len, uint32_t size)
{
	size_t room = sizeof(vm_file) + (1 << 20), n;

	fixture_make_bzimage();
	free(bzi);
	bzi = calloc(1, BZ_OFFSET + BZ_PAYLOAD + room);
	ck_assert_ptr_nonnull(bzi);
	memcpy(bzi, bz_file, BZ_OFFSET + BZ_PAYLOAD);
	bzi_payload = BZ_OFFSET + BZ_PAYLOAD;
	n = p->pack(vm_file, len, bzi + bzi_payload, room);
	memcpy(bzi + bzi_payload + n, &size, 4);
	bzi_hdr()->payload_length = (uint32_t)n + 4;
	bzi_hdr()->syssize = (uint32_t)((BZ_PAYLOAD + n + 4 + 15) / 16);
	bzi_hdr()->init_size = VM_INIT;
	bzi_size = BZ_OFFSET + 16 * (size_t)bzi_hdr()->syssize;
}

static inline void fixture_pack(const struct packer *p)
{
	fixture_pack_len(p, VM_SIZE, VM_SIZE);
}

/* ---- booting ---- */

static inline void fixture_open_bzimage(void)
{
	fixture_close(&cfg.kernel_fd);
	cfg.kernel_fd = fixture_file(bzi, bzi_size);
}

/* The file that was opened, into fresh memory. */
static inline int fixture_boot_opened(const char *cache_dir)
{
	struct boot_job *job;

	fixture_clear_ram();
	n_lines = 0;
	job = boot_begin(&mem, &cfg, cache_dir);
	return boot_finish(job, &mem, &cfg, &entry);
}

static inline int fixture_boot_unpacked(void)
{
	fixture_open_bzimage();
	return fixture_boot_opened(NULL);
}

static inline void fixture_expect_zeros(gpa_t from, gpa_t to)
{
	const uint8_t *p = from < to ? guest_bytes(from, to - from) : NULL;

	ck_assert_msg(!p || (p[0] == 0 && memcmp(p, p + 1, to - from - 1) == 0),
		      "not zero between 0x%llx and 0x%llx", (unsigned long long)from,
		      (unsigned long long)to);
}

/* Whether guest memory holds zeros but for the segments, from the kernel's place on shifted by this. */
static inline void fixture_expect_segments(uint64_t shift)
{
	gpa_t at = MIB;

	for (unsigned int i = 0; i < N_SEGS; i++) {
		gpa_t gpa = segs[i].paddr + shift;

		fixture_expect_zeros(at, gpa);
		ck_assert_mem_eq(guest_bytes(gpa, segs[i].size), vm_file + segs[i].offset,
				 segs[i].size);
		at = gpa + segs[i].size;
	}
	fixture_expect_zeros(at, guest_mem_size(&mem));
}

static inline void fixture_expect_unpacked(int ret)
{
	fixture_expect_booted(ret);
	ck_assert_int_eq(entry.protocol, BOOT_LINUX64);
	ck_assert_uint_eq(entry.entry, VM_ENTRY);
	fixture_expect_segments(0);
}

/* As if nobody had tried to unpack it: RAM holds what the file's second part has, and nothing else. */
static inline void fixture_expect_plain(int ret)
{
	gpa_t load = entry.entry - (entry.protocol == BOOT_LINUX64 ? 0x200 : 0);
	size_t size = 16 * (size_t)bzi_hdr()->syssize;

	fixture_expect_booted(ret);
	ck_assert_uint_ne(entry.entry, VM_ENTRY);
	fixture_expect_zeros(MIB, load);
	ck_assert(memcmp(guest_bytes(load, size), bzi + BZ_OFFSET, size) == 0);
	fixture_expect_zeros(load + size, guest_mem_size(&mem));
}
