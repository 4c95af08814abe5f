/*
 * A cache of unpacked kernels whose files and directory are changed, and a host that fails: what comes out of it is a kernel within its
 * place, or guest memory is as it was.
 *
 * The input is what is done before the kernel is stored, then changes of the file that it is in (bytes_patch()).
 *
 * Fuzzes: boot/kernel_cache.c boot/kernel_cache_file.c
 */
#include <stdio.h>
#include <sys/file.h>

#include "boot/kaslr.h"
#include "boot/kernel_cache.h"
#include "boot/kernel_cache_file.h"
#include "boot/scratch.h"
#include "tests/fuzz/bytes.h"
#include "tests/fuzz/faults.h"

#define MIB	(UINT64_C(1) << 20)
#define RAM	(8 * MIB)
#define LOAD	(2 * MIB)
#define ROOM	(2 * MIB)
#define TAIL	12
#define KERNEL	16384 /* bytes of the file */
#define HEAD	offsetof(struct kernel_cache_head, segments)
#define SEGMENT sizeof(struct vmlinux_segment)
#define RUNS	offsetof(struct kernel_cache_head, runs)
#define RUN	sizeof(struct kernel_cache_run)

enum {
	CACHE_NO_DIR = 1,
	CACHE_NO_PARENT = 2,
	CACHE_OPEN_TO_ALL = 4,	/* others may write in the directory */
	CACHE_LOCKED = 8,	/* somebody writes the file */
	CACHE_LEFT_BEHIND = 16, /* and somebody died while he did */
	CACHE_OTHERS = 32,	/* there are more files in it */
	CACHE_FILE_OPEN = 64,	/* others may write to the file */
	CACHE_CHANGED = 128,	/* the kernel's file, meanwhile */
};

#define HEAD_FIELD(name)       FIELD(0, struct kernel_cache_head, name)
#define SEGMENT_FIELD(i, name) FIELD(HEAD + (i)*SEGMENT, struct vmlinux_segment, name)
#define RUN_FIELD(i, name)     FIELD(RUNS + (i)*RUN, struct kernel_cache_run, name)

static const struct field fields[] = {
	HEAD_FIELD(magic[0]),	 HEAD_FIELD(id.ino),	 HEAD_FIELD(entry),
	HEAD_FIELD(tail_len),	 HEAD_FIELD(n_segments), HEAD_FIELD(n_runs),
	SEGMENT_FIELD(0, vaddr), SEGMENT_FIELD(0, gpa),	 SEGMENT_FIELD(0, size),
	SEGMENT_FIELD(0, room),	 SEGMENT_FIELD(1, gpa),	 SEGMENT_FIELD(1, size),
	SEGMENT_FIELD(1, room),	 RUN_FIELD(0, at),	 RUN_FIELD(0, len),
	RUN_FIELD(1, at),	 RUN_FIELD(1, len),	 RUN_FIELD(2, at),
	RUN_FIELD(2, len),	 HEAD_FIELD(config_at),	 HEAD_FIELD(config_len),
};

static char parent[64], dir[96], others[160];
static struct guest_mem mem;
static struct codec_input payload;
static const struct vmlinux_place place = {.link = LOAD, .load = LOAD, .size = ROOM, .lowest = MIB};

/* What does not change from one input to the next. A file younger than this is not kept. */
static void begin(void)
{
	static uint8_t kernel[KERNEL];
	struct guest_mem_region region = {.base = 0, .size = RAM};

	if (payload.fd > 0)
		return;
	keep_quiet();
	snprintf(parent, sizeof(parent), "/dev/shm/fuzz_cache.%d", (int)getpid());
	snprintf(dir, sizeof(dir), "%s/cache", parent);
	memset(kernel, 0x5a, sizeof(kernel));
	payload = (struct codec_input){bytes_file(kernel, sizeof(kernel)), 8192, 8192};
	must(guest_mem_init(&mem, &region, 1) == 0);
	usleep(150000);
}

static void clear_ram(void)
{
	must(guest_mem_discard(&mem, guest_mem_ptr(&mem, 0, RAM), RAM) == 0);
}

/* A kernel of two segments with a gap, as if it had been unpacked there. */
static struct vmlinux make_kernel(uint8_t pages)
{
	struct vmlinux v = {
		.n_segments = 2,
		.segments = {{.vaddr = LOAD, .gpa = LOAD, .size = 0x3000, .room = 0x4000},
			     {.gpa = LOAD + 0x100000, .room = (1 + pages) * UINT64_C(0x1000)}},
		.entry = LOAD + 0x40,
		.tail = scratch_get(TAIL),
		.tail_len = TAIL,
	};

	must(v.tail);
	memset(v.tail, 0, TAIL);
	v.segments[1].size = v.segments[1].room - 100;
	for (unsigned int i = 0; i < 2; i++)
		memset(guest_mem_ptr(&mem, v.segments[i].gpa, v.segments[i].size), 0xcc,
		       v.segments[i].size);
	return v;
}

/* Every other page, until there are as many runs as a file has; the rest becomes a part of the last one. */
static void make_sparse(void)
{
	for (gpa_t at = LOAD; at < LOAD + ROOM; at += 0x1000)
		*(uint8_t *)guest_mem_ptr(&mem, at, 1) = at & 0x10000 ? 1 : 0;
}

static void make_file(const char *name, mode_t mode)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	must(fd >= 0 && write(fd, path, 100) == 100 && fchmod(fd, mode) == 0);
	close(fd);
}

static void path_of(const struct kernel_cache_id *id, const char *suffix, char *path, size_t size)
{
	snprintf(path, size, "%s/%lx-%lx.vmmkernel%s", dir, id->dev, id->ino, suffix);
}

static void make_directory(uint8_t how)
{
	if (!(how & CACHE_NO_PARENT))
		must(mkdir(parent, 0700) == 0);
	if (how & (CACHE_NO_PARENT | CACHE_NO_DIR))
		return;
	must(mkdir(dir, 0700) == 0 && chmod(dir, how & CACHE_OPEN_TO_ALL ? 0777 : 0700) == 0);
	if (!(how & CACHE_OTHERS))
		return;
	make_file("1-2.vmmkernel", 0600);
	make_file("1-3.vmmkernel.new", 0600);
	make_file("readme", 0600);
	make_file("1-x.vmmkernel", 0600);
}

static void remove_directory(const struct kernel_cache_id *id)
{
	static const char *const names[] = {"1-2.vmmkernel", "1-3.vmmkernel.new", "readme",
					    "1-x.vmmkernel"};

	path_of(id, "", others, sizeof(others));
	unlink(others);
	path_of(id, ".new", others, sizeof(others));
	unlink(others);
	for (unsigned int i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(others, sizeof(others), "%s/%s", dir, names[i]);
		unlink(others);
	}
	rmdir(dir);
	rmdir(parent);
}

/* Stores a kernel; returns what kernel_cache_store() did. */
static int store(const struct kernel_cache_id *id, uint8_t how, uint8_t pages)
{
	struct kernel_cache_id then = *id;
	struct vmlinux v = make_kernel(pages);
	int fd = -1, ret;

	if (pages & 1)
		make_sparse();
	path_of(id, ".new", others, sizeof(others));
	if (how & (CACHE_LOCKED | CACHE_LEFT_BEHIND))
		fd = open(others, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0 && (how & CACHE_LOCKED))
		flock(fd, LOCK_EX);
	if (fd >= 0 && (how & CACHE_FILE_OPEN))
		fchmod(fd, 0666);
	then.mtime_ns ^= how & CACHE_CHANGED;
	ret = kernel_cache_store(dir, &then, &payload, &mem, &place, &v);
	must(ret != 0 || !(how & CACHE_CHANGED));
	must(ret != 0 || !(how & CACHE_OPEN_TO_ALL) || (how & (CACHE_NO_DIR | CACHE_NO_PARENT)));
	if (fd >= 0)
		close(fd);
	vmlinux_fini(&v);
	clear_ram();
	return ret;
}

static void change_file(struct bytes *in, const struct kernel_cache_id *id, uint8_t how)
{
	static uint8_t file[sizeof(struct kernel_cache_head)];
	size_t size;
	int fd;

	path_of(id, "", others, sizeof(others));
	fd = open(others, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	if (read(fd, file, sizeof(file)) == (ssize_t)sizeof(file)) {
		size = bytes_patch(in, file, sizeof(file), fields,
				   sizeof(fields) / sizeof(fields[0]));
		must(syscall(SYS_pwrite64, fd, file, size, 0) == (ssize_t)size);
		if (size < sizeof(file))
			must(syscall(SYS_ftruncate, fd, size + (how & 1) * 20000) == 0);
	}
	if (how & CACHE_FILE_OPEN)
		fchmod(fd, 0666);
	close(fd);
}

static bool is_zero(gpa_t start, uint64_t len)
{
	const uint8_t *bytes = guest_mem_ptr(&mem, start, len);

	return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

static void ask(void)
{
	char *text;

	if (kernel_cache_config(dir, payload.fd, &text) == 0)
		free(text);
}

static void load(const struct kernel_cache_id *id)
{
	struct vmlinux v;
	struct steps steps;
	int ret;

	steps_init(&steps);
	ret = kernel_cache_load(dir, id, &mem, &place, &steps, &v);
	must(is_zero(MIB, LOAD - MIB) && is_zero(LOAD + ROOM, RAM - LOAD - ROOM));
	if (ret < 0) {
		steps_fini(&steps);
		must(is_zero(LOAD, ROOM));
		return;
	}
	must(v.n_segments > 0 && v.n_segments <= VMLINUX_MAX_SEGMENTS);
	must(v.entry >= LOAD && v.entry < LOAD + ROOM);
	for (unsigned int i = 0; i < v.n_segments; i++)
		must(v.segments[i].gpa >= LOAD && v.segments[i].size <= v.segments[i].room &&
		     v.segments[i].room <= LOAD + ROOM - v.segments[i].gpa);
	kaslr_relocate(&mem, &place, &v, 2 * MIB, 1, &steps);
	steps_fini(&steps);
	vmlinux_fini(&v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = {data, size};
	uint8_t how, pages;
	struct kernel_cache_id id;

	faults = 0;
	begin();
	how = bytes_u8(&in);
	pages = bytes_u8(&in);
	must(kernel_cache_identify(&payload, &place, &id) == 0);
	make_directory(how);
	faults = (unsigned int)bytes_take(&in, 2);
	store(&id, how, pages);
	faults = 0;
	change_file(&in, &id, how);
	ask();
	load(&id);
	clear_ram();
	remove_directory(&id);
	return 0;
}
