#include "vmm/cli/cpio.h"

#include <stdio.h>
#include <string.h>

#define CPIO_HEADER  110
#define CPIO_TRAILER "TRAILER!!!"

static uint64_t cpio_align(uint64_t n)
{
	return (n + 3) & ~UINT64_C(3);
}

uint64_t cpio_size(const char *name, uint64_t body)
{
	return cpio_align(CPIO_HEADER + strlen(name) + 1) + cpio_align(body);
}

uint64_t cpio_end_size(void)
{
	return cpio_size(CPIO_TRAILER, 0);
}

uint8_t *cpio_header(uint8_t *to, const struct cpio_entry *e)
{
	size_t name = strlen(e->name) + 1;
	uint64_t whole = cpio_size(e->name, e->size), head = cpio_size(e->name, 0);
	char text[CPIO_HEADER + 1];

	snprintf(text, sizeof(text), "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		 e->inode, e->mode, e->uid, e->gid, e->links, e->mtime, e->size, 0U, 0U, e->major,
		 e->minor, (unsigned int)name, 0U);
	memcpy(to, text, CPIO_HEADER);
	memcpy(to + CPIO_HEADER, e->name, name);
	memset(to + CPIO_HEADER + name, 0, head - CPIO_HEADER - name);
	memset(to + head + e->size, 0, whole - head - e->size);
	return to + head;
}

uint8_t *cpio_write(uint8_t *to, const struct cpio_entry *e, const void *body)
{
	uint8_t *at = cpio_header(to, e);

	if (e->size > 0)
		memcpy(at, body, e->size);
	return to + cpio_size(e->name, e->size);
}

uint8_t *cpio_end(uint8_t *to)
{
	struct cpio_entry trailer = {.name = CPIO_TRAILER, .links = 1};

	return cpio_write(to, &trailer, NULL);
}
