#include "vmm/cli/guest_init.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "guest/protocol.h"
#include "vmm/cli/cpio.h"
#include "vmm/cli/report.h"

/* guest_init_image.S: the program, packed by gzip. */
extern const uint8_t guest_init_image[];
extern const uint32_t guest_init_image_size;

/* gzip's format ends with the size, little-endian. */
static uint32_t guest_init_size(void)
{
	uint32_t size;

	memcpy(&size, guest_init_image + guest_init_image_size - sizeof(size), sizeof(size));
	return size;
}

static int guest_init_unpack(uint8_t *to, uint32_t size)
{
	union {
		const uint8_t *in;
		uint8_t *zlib; /* which does not write there */
	} image = {.in = guest_init_image};
	z_stream z = {.next_in = image.zlib,
		      .avail_in = guest_init_image_size,
		      .next_out = to,
		      .avail_out = size};
	int ret;

	if (inflateInit2(&z, MAX_WBITS + 16) != Z_OK)
		return -ENOMEM;
	ret = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	return ret == Z_STREAM_END ? 0 : -EBADMSG;
}

int guest_init_part(struct vmm_initrd_part *part)
{
	struct cpio_entry dir = {
		.name = &GUEST_DIR[1], .inode = 1, .mode = S_IFDIR | 0755, .links = 2};
	struct cpio_entry init = {.name = &GUEST_INIT[1],
				  .inode = 2,
				  .mode = S_IFREG | 0755,
				  .links = 1,
				  .size = guest_init_size()};
	uint64_t size = cpio_size(dir.name, 0) + cpio_size(init.name, init.size) + cpio_end_size();
	uint8_t *data = malloc(size), *at;
	int err = -ENOMEM;

	if (data) {
		at = cpio_write(data, &dir, NULL);
		err = guest_init_unpack(cpio_header(at, &init), init.size);
		cpio_end(at + cpio_size(init.name, init.size));
	}
	if (err < 0) {
		report("cannot unpack the guest's init: %s", strerror(-err));
		free(data);
		return err;
	}
	*part = (struct vmm_initrd_part){.name = "the guest's init", .size = size, .data = data};
	return 0;
}
