#include "vmm/cli/guest_init.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guest/protocol.h"
#include "vmm/cli/cpio.h"
#include "vmm/cli/report.h"

/* guest_init_image.S */
extern const uint8_t guest_init_image[];
extern const uint32_t guest_init_image_size;

int guest_init_part(struct vmm_initrd_part *part)
{
	struct cpio_entry dir = {
		.name = &GUEST_DIR[1], .inode = 1, .mode = S_IFDIR | 0755, .links = 2};
	struct cpio_entry init = {.name = &GUEST_INIT[1],
				  .inode = 2,
				  .mode = S_IFREG | 0755,
				  .links = 1,
				  .size = guest_init_image_size};
	uint64_t size = cpio_size(dir.name, 0) + cpio_size(init.name, init.size) + cpio_end_size();
	uint8_t *data = malloc(size), *at;

	if (!data) {
		report("no memory for the guest's init");
		return -ENOMEM;
	}
	at = cpio_write(data, &dir, NULL);
	at = cpio_write(at, &init, guest_init_image);
	cpio_end(at);
	*part = (struct vmm_initrd_part){.name = "the guest's init", .size = size, .data = data};
	return 0;
}
