/*
 * A bzImage of any bytes, as the file of a kernel: it is unpacked, or loaded as it is, or refused, and nothing else happens.
 *
 * The input is the payload of an otherwise good bzImage, behind one byte that says what else is odd; so that most inputs
 * reach the codecs, and those that get through them the ELF file.
 *
 * Fuzzes: boot/codec.c boot/vmlinux.c boot/job.c
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <asm/bootparam.h>

#include "boot/codec.h"
#include "boot/kernel.h"
#include "tests/fuzz/fuzz.h"
#include "vmm/core/log.h"

#define MAX_INPUT (1u << 20)
#define RAM	  (UINT64_C(64) << 20)
#define MIB	  (UINT64_C(1) << 20)
#define SETUP	  1024
#define AHEAD	  0x2c4
#define ROOM	  65536 /* for what is no kernel */

/* What the first byte says besides what is odd in the header. */
#define WITH_KASLR 32
#define WITH_CACHE 64
#define ABANDONED  128

static void quiet(void *arg, int level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

static const struct boot_layout layout = {
	.zero_page = 0x7000,
	.cmdline = 0x20000,
	.cmdline_max = 4096,
	.gdt = 0x500,
	.page_tables = 0x9000,
	.pvh_info = 0x6000,
};

static int make_file(const uint8_t *payload, size_t len, uint8_t odd)
{
	size_t size = (AHEAD + len + 15) / 16 * 16;
	uint8_t *file = calloc(1, SETUP + size);
	int fd = memfd_create("bzImage", MFD_CLOEXEC);
	struct setup_header hdr = {
		.setup_sects = 1,
		.syssize = (uint32_t)(size / 16),
		.boot_flag = 0xaa55,
		.jump = 0x6aeb,
		.header = 0x53726448,
		.version = 0x20f,
		.loadflags = LOADED_HIGH,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = odd & 1 ? 0x2000000 : 0x200000,
		.relocatable_kernel = !(odd & 2),
		.code32_start = 0x100000,
		.xloadflags = odd & 4 ? 0 : XLF_KERNEL_64,
		.cmdline_size = 2047,
		.payload_offset = AHEAD,
		.payload_length = (uint32_t)len,
		.pref_address = odd & 8 ? 0x200000 : 0x1000000,
		.init_size = odd & 16 ? 0x200000 : 0x800000,
	};

	if (!file || fd < 0)
		abort();
	memcpy(file + 0x1f1, &hdr, sizeof(hdr));
	memcpy(file + SETUP + AHEAD, payload, len);
	if (write(fd, file, SETUP + size) != (ssize_t)(SETUP + size))
		abort();
	free(file);
	return fd;
}

/* With the file that is kept of the kernel where unpacking it took long enough. */
static void remove_cache(const char *dir, int kernel_fd)
{
	char path[160];
	struct stat st;

	if (fstat(kernel_fd, &st) < 0)
		abort();
	snprintf(path, sizeof(path), "%s/%lx-%lx.vmmkernel", dir, st.st_dev, st.st_ino);
	unlink(path);
	rmdir(dir);
}

/* The same bytes as a packed file, such as a module. */
static void unpack_file(const uint8_t *data, size_t size)
{
	int fd = memfd_create("module", MFD_CLOEXEC);
	uint8_t *room = malloc(ROOM);
	size_t len = 0;

	if (!room || fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	if (codec_unpack_file(fd, size, room, ROOM, &len) == 0 && len > ROOM)
		abort();
	free(room);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct guest_mem_region region = {.base = 0, .size = RAM};
	struct boot_e820 e820[] = {{0, 0x9fc00, BOOT_E820_RAM}, {MIB, RAM - MIB, BOOT_E820_RAM}};
	struct boot_config cfg = {.kernel_name = "k",
				  .initrd_fd = -1,
				  .cmdline = "",
				  .layout = &layout,
				  .e820 = e820,
				  .n_e820 = 2,
				  .kaslr = size > 0 && (data[0] & WITH_KASLR)};
	struct boot_entry entry;
	struct boot_job *job;
	struct guest_mem mem;
	char cache[64];

	if (size < 1 || size > MAX_INPUT)
		return 0;
	log_set_sink(quiet, NULL);
	unpack_file(data + 1, size - 1);
	cfg.kernel_fd = make_file(data + 1, size - 1, data[0]);
	if (guest_mem_init(&mem, &region, 1) < 0)
		abort();
	snprintf(cache, sizeof(cache), "/tmp/fuzz_payload.%d", (int)getpid());
	job = boot_begin(&mem, &cfg, data[0] & WITH_CACHE ? cache : NULL);
	if (data[0] & ABANDONED)
		boot_abandon(job);
	else
		boot_finish(job, &mem, &cfg, &entry);
	guest_mem_fini(&mem);
	remove_cache(cache, cfg.kernel_fd);
	close(cfg.kernel_fd);
	return 0;
}
