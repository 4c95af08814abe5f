/* A disk: an image of the host, and the virtio device in front of it. */
#include "vmm/machine/machine.h"

#include <errno.h>
#include <stdlib.h>

#include "virtio/blk.h"
#include "virtio/disk.h"

struct machine_disk {
	struct machine_card card;
	struct disk disk;
	struct virtio_blk blk;
};

static void machine_remove_disk(struct machine_card *card)
{
	struct machine_disk *d = (struct machine_disk *)card;

	virtio_blk_fini(&d->blk);
	disk_close(&d->disk);
	free(d);
}

int machine_add_disk(struct machine *machine, const struct machine_disk_config *config)
{
	struct disk_config disk = {.path = config->path, .readonly = config->readonly};
	struct virtio_blk_options options = {.serial = config->serial};
	struct machine_disk *d = calloc(1, sizeof(*d));
	int err;

	if (!d) {
		log_error("out of memory");
		return -ENOMEM;
	}
	err = disk_open(&d->disk, &disk);
	if (err < 0)
		goto fail;
	options.disk = &d->disk;
	options.loop = machine_next_io_loop(machine);
	err = virtio_blk_init(&d->blk, &options);
	if (err < 0)
		goto fail_disk;
	err = machine_add_card(machine, &d->card, &d->blk.dev, machine_remove_disk);
	if (err < 0)
		goto fail_blk;
	return 0;
fail_blk:
	virtio_blk_fini(&d->blk);
fail_disk:
	disk_close(&d->disk);
fail:
	free(d);
	return err;
}
