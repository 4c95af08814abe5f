/*
 * Writes archives of the kind that Linux unpacks as its first file system (cpio "newc", Documentation/driver-api/early-userspace/
 * buffer-format.rst): to memory whose size was counted before. Pure functions.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct cpio_entry {
	const char *name; /* relative, without "./" */
	uint32_t inode;	  /* names of one file have the same, and the first of them its body */
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint32_t links;
	uint32_t mtime;
	uint32_t size;	/* of the body; of a symlink the body is the target */
	uint32_t major; /* of a device node */
	uint32_t minor;
};

/* Bytes of an entry, body included, or of the end of an archive. */
uint64_t cpio_size(const char *name, uint64_t body);
uint64_t cpio_end_size(void);

/* Writes header and name at to. Returns where the body goes; what follows it is zero up to cpio_size(). */
uint8_t *cpio_header(uint8_t *to, const struct cpio_entry *entry);
/* The whole entry. Returns where the next goes. */
uint8_t *cpio_write(uint8_t *to, const struct cpio_entry *entry, const void *body);
uint8_t *cpio_end(uint8_t *to);
