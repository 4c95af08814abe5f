/*
 * A kernel that is booted by way of a cache, of which what is in it can be looked at and changed. Everything is static, as in boot_fixture.h.
 */
#pragma once

#include <dirent.h>

#include "unpack_fixture.h"

#include "boot/kernel_cache_file.h"

static char place[] = "/tmp/vmm-cache-XXXXXX";
static char parent[64];
static char dir[80];

static inline void setup(void)
{
	fixture_setup();
	fixture_make_vmlinux();
	fixture_pack(&packers[0]);
	fixture_open_bzimage();
	strcpy(place + sizeof(place) - 7, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(place));
	snprintf(parent, sizeof(parent), "%s/cache", place);
	snprintf(dir, sizeof(dir), "%s/vmm", parent);
	/* younger files than this are not kept */
	usleep(150000);
}

static inline void teardown(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", place);
	ck_assert_int_eq(system(command), 0);
	free(bzi);
	bzi = NULL;
	fixture_teardown();
}

/* How many files there are; the last one's path goes to path. */
static inline int files(char *path, size_t size)
{
	DIR *list = opendir(dir);
	struct dirent *e;
	int n = 0;

	while (list && (e = readdir(list))) {
		if (e->d_name[0] == '.')
			continue;
		if (path)
			snprintf(path, size, "%s/%s", dir, e->d_name);
		n++;
	}
	if (list)
		closedir(list);
	return n;
}

static inline char *only_file(void)
{
	static char path[512];

	ck_assert_int_eq(files(path, sizeof(path)), 1);
	return path;
}

static inline void boot_well(void)
{
	fixture_expect_unpacked(fixture_boot_opened(dir));
}

static inline void patch(const char *path, off_t at, const void *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(pwrite(fd, bytes, len, at), (ssize_t)len);
	close(fd);
}

/* The cache's file is the user's own and believed: a byte of it that was changed shows whether it was read. */
static inline void mark(void)
{
	patch(only_file(), 16384, "\xee", 1);
}

/* The kernel's first byte tells where it is from. */
static inline bool boot_hits(void)
{
	uint8_t first;

	fixture_expect_booted(fixture_boot_opened(dir));
	ck_assert_uint_eq(entry.entry, VM_ENTRY);
	first = *guest_bytes(segs[0].paddr, 1);
	if (first == 0xee)
		return true;
	fixture_expect_segments(0);
	return false;
}
