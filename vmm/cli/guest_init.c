#include "vmm/cli/guest_init.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guest/protocol.h"
#include "vmm/cli/cpio.h"
#include "vmm/cli/packed.h"
#include "vmm/cli/report.h"

/* The first program of the guest (guest/). */
extern const struct packed guest_init_packed;

int guest_init_part(struct vmm_initrd_part *part)
{
	struct cpio_entry dir = {
		.name = &GUEST_DIR[1], .inode = 1, .mode = S_IFDIR | 0755, .links = 2};
	struct cpio_entry init = {.name = &GUEST_INIT[1],
				  .inode = 2,
				  .mode = S_IFREG | 0755,
				  .links = 1,
				  .size = guest_init_packed.size};
	uint64_t size = cpio_size(dir.name, 0) + cpio_size(init.name, init.size) + cpio_end_size();
	uint8_t *data = malloc(
		size + init.size); /* the program, and then it once more, as it is unpacked */
	uint8_t *at;

	if (!data) {
		report("no memory for the guest's init");
		return -ENOMEM;
	}
	packed_unpack(&guest_init_packed, data + size);
	at = cpio_write(data, &dir, NULL);
	at = cpio_write(at, &init, data + size);
	cpio_end(at);
	*part = (struct vmm_initrd_part){.name = "the guest's init", .size = size, .data = data};
	return 0;
}
