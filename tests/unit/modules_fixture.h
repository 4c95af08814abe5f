/*
 * A kernel's modules as depmod lists them, in a directory of its own, and the archive that they are packed into. Check runs each test in a
 * process of its own.
 */
#pragma once

#include "tests/unit/options_fixture.h"

#include <stdarg.h>
#include <sys/stat.h>

static char dir[64];

__attribute__((format(printf, 2, 3))) static inline void put(const char *name, const char *fmt, ...)
{
	char path[256], *slash;
	va_list ap;
	FILE *out;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	for (slash = strchr(path + strlen(dir) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	out = fopen(path, "w");
	ck_assert_ptr_nonnull(out);
	va_start(ap, fmt);
	vfprintf(out, fmt, ap);
	va_end(ap);
	fclose(out);
}

static inline const char *at(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static inline void setup(void)
{
	strcpy(dir, "/tmp/test-modules-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	put("modules.dep",
	    "kernel/virtio/virtio.ko:\n"
	    "kernel/virtio/virtio_ring.ko: kernel/virtio/virtio.ko\n"
	    "kernel/virtio/virtio-pci.ko: kernel/virtio/virtio_ring.ko kernel/virtio/virtio.ko\n"
	    "kernel/block/virtio_blk.ko: kernel/virtio/virtio_ring.ko kernel/virtio/virtio.ko\n"
	    "kernel/fs/ext4.ko: kernel/lib/crc16.ko\n"
	    "kernel/lib/crc16.ko:\n"
	    "kernel/crypto/crc32c_generic.ko:\n"
	    "kernel/crypto/crc32c-intel.ko:\n"
	    "kernel/net/not_virtio_net.ko:\n"
	    "a line that is none\n");
	put("modules.builtin",
	    "kernel/drivers/char/virtio_console.ko\nkernel/net/virtio_network.ko\n");
	put("modules.softdep", "# Soft dependencies\nsoftdep ext4 pre: crc32c post: other\n"
			       "softdep nfs pre: nothing\nsoftdep\nsoftdep ext4\n");
	put("modules.alias",
	    "alias crc32c crc32c_intel\nalias crc32c crc32c_generic\nalias\nalias x\n"
	    "alias fs-ext4 ext4\n");
	for (const char *const *name =
		     (const char *const[]){"kernel/virtio/virtio.ko",
					   "kernel/virtio/virtio_ring.ko",
					   "kernel/virtio/virtio-pci.ko",
					   "kernel/block/virtio_blk.ko", "kernel/fs/ext4.ko",
					   "kernel/lib/crc16.ko", "kernel/crypto/crc32c_generic.ko",
					   "kernel/crypto/crc32c-intel.ko", NULL};
	     *name; name++)
		put(*name, "I am %s", *name);
}

static inline void teardown(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(command), 0);
}

static char *archive;
static size_t archive_size;

/* The hex digits at a place of a member's header. */
static inline size_t field(const char *member, size_t at)
{
	char digits[9] = "";

	memcpy(digits, member + at, 8);
	return strtoul(digits, NULL, 16);
}

/* Goes through the archive: "name=data" for each file, with spaces between, and checks the form of each member. */
static inline const char *list_archive(void)
{
	static char list[4096];
	size_t at = 0;

	list[0] = '\0';
	ck_assert_uint_gt(archive_size, 0);
	for (;;) {
		const char *member = archive + at, *name = member + 110;
		size_t size = field(member, 54), len = field(member, 94), mode = field(member, 14);

		ck_assert_uint_eq(at % 4, 0);
		ck_assert_int_eq(memcmp(member, "070701", 6), 0);
		ck_assert_uint_eq(strlen(name) + 1, len);
		at += (110 + len + 3) / 4 * 4;
		ck_assert_uint_le(at + size, archive_size);
		if (strcmp(name, "TRAILER!!!") == 0)
			break;
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s%s%.*s",
			 *list ? " " : "", name, S_ISDIR(mode) ? "/" : "=", (int)size,
			 archive + at);
		at += (size + 3) / 4 * 4;
	}
	ck_assert_uint_eq(at, archive_size);
	return list;
}
