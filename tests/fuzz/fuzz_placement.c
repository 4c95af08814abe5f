/*
 * Where an initrd goes, and a kernel that may go anywhere: into RAM, beside one another, within the limits that the
 * kernel's file sets; or nowhere.
 *
 * The input is the memory map, then what the kernel's file says, then the user's command line, then the parts of another initrd.
 *
 * Fuzzes: boot/initrd.c boot/kaslr.c
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "boot/initrd.h"
#include "boot/kaslr.h"
#include "boot/relocs.h"
#include "tests/fuzz/bytes.h"

#define MAX_REGION 16 /* MiB */
#define MIB	   (UINT64_C(1) << 20)

static struct boot_e820 e820[GUEST_MEM_MAX_REGIONS + 1];

/* Some regions of a few MiB with gaps, of which some lie above 4 GiB; the first begins with what is not for kernels. */
static unsigned int make_map(struct bytes *in, struct guest_mem *mem)
{
	struct guest_mem_region regions[GUEST_MEM_MAX_REGIONS];
	unsigned int n = 1 + bytes_u8(in) % GUEST_MEM_MAX_REGIONS;
	uint64_t at = 0;

	for (unsigned int i = 0; i < n; i++) {
		uint64_t size = (2 + bytes_u8(in) % MAX_REGION) * MIB;

		regions[i] = (struct guest_mem_region){.base = at, .size = size};
		e820[i + 1] = (struct boot_e820){at, size, BOOT_E820_RAM};
		at += size + (1 + (bytes_take(in, 2) & 0x1fff)) * MIB / 2;
		at &= ~UINT64_C(0xfff);
	}
	e820[0] = (struct boot_e820){0, MIB, BOOT_E820_RESERVED};
	e820[1].base += MIB;
	e820[1].size -= MIB;
	must(guest_mem_init(mem, regions, n) == 0);
	return n + 1;
}

static bool is_ram(const struct boot_config *cfg, gpa_t start, uint64_t size)
{
	for (unsigned int i = 0; i < cfg->n_e820; i++) {
		const struct boot_e820 *e = &cfg->e820[i];

		if (e->type == BOOT_E820_RAM && start >= e->base &&
		    size <= e->size - (start - e->base) && start - e->base <= e->size)
			return true;
	}
	return false;
}

/* A piece of RAM below 4 GiB that the kernel takes. */
static void take_kernel(struct bytes *in, const struct boot_config *cfg, struct image *image)
{
	const struct boot_e820 *e = &cfg->e820[1 + bytes_u8(in) % (cfg->n_e820 - 1)];
	uint64_t from, size;

	if (e->base + e->size > IMAGE_LIMIT)
		e = &cfg->e820[1];
	from = bytes_take(in, 3) % e->size, size = 1 + bytes_take(in, 3) % (e->size - from);

	image->start = e->base + from;
	image->end = image->start + size;
	image->initrd_max = (uint32_t)bytes_number(in);
}

static void place_initrd(const struct guest_mem *mem, struct boot_config *cfg, uint64_t size,
			 struct image *image)
{
	cfg->initrd_fd = memfd_create("initrd", MFD_CLOEXEC);
	must(cfg->initrd_fd >= 0);
	if (ftruncate(cfg->initrd_fd, (off_t)(size & INT64_MAX)) == 0 &&
	    initrd_load(mem, cfg, image) == 0) {
		must(image->initrd_size == (size & INT64_MAX));
		must(is_ram(cfg, image->initrd, image->initrd_size));
		must(image->initrd % IMAGE_PAGE_SIZE == 0 && image->initrd >= MIB);
		must(image->initrd + image->initrd_size - 1 <= image->initrd_max);
		must(image->initrd + image->initrd_size <= IMAGE_LIMIT);
		must(image->initrd >= image->end ||
		     image->initrd + image->initrd_size <= image->start);
	}
	close(cfg->initrd_fd);
	cfg->initrd_fd = -1;
}

/* ---- an initrd of several parts ---- */

#define MAX_PARTS 4

static int fill_part(void *arg, void *to, size_t size)
{
	memset(to, 0xa5, size);
	return *(const int *)arg;
}

/* A file of some size or none, or what is no file. */
static int open_part(struct bytes *in)
{
	uint8_t kind = bytes_u8(in);
	int fd = -1;

	if (kind >= 0xfd)
		return kind == 0xfd ? INT32_MAX
				    : open(kind == 0xfe ? "/" : "/dev/null", O_RDONLY | O_CLOEXEC);
	if (kind > 0) {
		fd = memfd_create("initrd", MFD_CLOEXEC);
		must(fd >= 0 && ftruncate(fd, (off_t)kind - 1) == 0);
	}
	return fd;
}

/* The parts are where they belong: each at the next multiple of four, with zeros before it. */
static void check_parts(const struct guest_mem *mem, const struct boot_config *cfg,
			const struct image *image, uint64_t at)
{
	for (unsigned int i = 0; i < cfg->n_initrd_parts; i++) {
		const struct boot_initrd_part *part = &cfg->initrd_parts[i];
		uint8_t first = 0;

		if (part->size == 0)
			continue;
		for (; at % 4 != 0; at++)
			must(guest_mem_read(mem, image->initrd + at, &first, 1) == 0 && first == 0);
		must(guest_mem_read(mem, image->initrd + at, &first, 1) == 0 &&
		     first == (part->data ? 0x5a : 0xa5));
		at += part->size;
	}
	must(at <= image->initrd_size);
}

static void place_parts(struct bytes *in, const struct guest_mem *mem, struct boot_config *cfg,
			struct image *image)
{
	static uint8_t data[256];
	struct boot_initrd_part parts[MAX_PARTS];
	int results[MAX_PARTS], fd, err, measured;
	uint64_t size = 0;

	memset(data, 0x5a, sizeof(data));
	cfg->initrd_fd = fd = open_part(in);
	cfg->initrd_parts = parts;
	cfg->n_initrd_parts = bytes_u8(in) % (MAX_PARTS + 1);
	for (unsigned int i = 0; i < cfg->n_initrd_parts; i++) {
		results[i] = bytes_u8(in) == 1 ? -EIO : 0;
		parts[i] = (struct boot_initrd_part){
			.size = bytes_number(in), .fill = fill_part, .arg = &results[i]};
		if (parts[i].size <= sizeof(data) && results[i] == 0)
			parts[i].data = data;
	}
	measured = initrd_measure(cfg, &size);
	err = initrd_load(mem, cfg, image);
	must(measured == 0 || err == measured);
	if (err == 0) {
		struct stat st = {0};

		must(image->initrd_size == size && (fd < 0 || fstat(fd, &st) == 0));
		must(size == 0 || is_ram(cfg, image->initrd, size));
		check_parts(mem, cfg, image, (uint64_t)st.st_size);
	}
	if (fd >= 0 && fd != INT32_MAX)
		close(fd);
	cfg->initrd_fd = -1;
	cfg->n_initrd_parts = 0;
}

static void place_kernel(struct bytes *in, const struct boot_config *cfg, const struct image *image,
			 uint64_t initrd_size)
{
	uint64_t align = UINT64_C(1) << (21 + bytes_u8(in) % 8);
	gpa_t load = image->start & ~(align - 1), at;
	struct vmlinux_place place = {
		.link = load, .load = load, .size = image->end - image->start, .lowest = load};

	at = kaslr_choose_physical(cfg, &place, align, initrd_size, image->initrd_max + 1,
				   bytes_take(in, 8));
	must(at % align == 0 && at >= place.load);
	must(at == place.load || is_ram(cfg, at, place.size + initrd_size));
	must(at == place.load || at + place.size <= IMAGE_LIMIT);
	must(at == place.load || initrd_size == 0 ||
	     at + place.size + initrd_size <= image->initrd_max + 1);
}

/* A kernel that is nothing but what its relocation table says, which is any words. */
static void relocate(struct bytes *in, const struct guest_mem *mem)
{
	uint32_t table[4] = {0, 0, 0, 0};
	struct vmlinux_place place = {.link = MIB, .load = MIB, .size = MIB};
	struct vmlinux v = {.n_segments = 1,
			    .segments = {{.gpa = MIB, .size = 4096, .room = 4096}},
			    .tail = (uint8_t *)table,
			    .tail_len = 4 * (bytes_u8(in) % 5)};
	struct steps steps;

	for (unsigned int i = 1; i < 4; i++)
		table[i] = (uint32_t)bytes_number(in);
	steps_init(&steps);
	kaslr_relocate(mem, &place, &v, 2 * MIB, bytes_take(in, 4), &steps);
	steps_fini(&steps);
}

static void place_virtually(struct bytes *in)
{
	uint64_t end = bytes_number(in), align = UINT64_C(1) << (21 + bytes_u8(in) % 8);
	uint64_t delta = kaslr_choose_virtual(end, align, bytes_take(in, 8));

	must(delta % align == 0);
	must(delta == 0 || end + delta <= RELOCS_KERNEL_SPAN);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = {data, size};
	struct boot_config cfg = {.kernel_name = "k", .initrd_fd = -1, .initrd_name = "i"};
	struct image image = {.start = 0};
	struct guest_mem mem;
	uint64_t initrd_size;
	char *cmdline;

	keep_quiet();
	cfg.e820 = e820;
	cfg.n_e820 = make_map(&in, &mem);
	take_kernel(&in, &cfg, &image);
	initrd_size = bytes_number(&in);
	place_initrd(&mem, &cfg, initrd_size, &image);
	relocate(&in, &mem);
	place_virtually(&in);
	cmdline = bytes_text(&in);
	cfg.cmdline = cmdline;
	kaslr_is_wanted(cmdline);
	place_kernel(&in, &cfg, &image, initrd_size);
	place_parts(&in, &mem, &cfg, &image);
	guest_mem_fini(&mem);
	free(cmdline);
	return 0;
}
