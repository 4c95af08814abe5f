/* A disk: an image of the host, and the virtio device in front of it. */
#include "vmm/machine/machine.h"

#include <sched.h>
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

static void machine_resize_disk(struct machine_card *card)
{
	struct machine_disk *d = (struct machine_disk *)card;

	virtio_blk_resized(&d->blk);
}

static struct image_config machine_image(const struct machine_disk_config *config)
{
	return (struct image_config){.path = config->path,
				     .format = config->qcow2 ? IMAGE_QCOW2 : IMAGE_RAW,
				     .readonly = config->readonly,
				     .direct = config->direct,
				     .backing = config->backing,
				     .backing_format = config->backing_qcow2 ? IMAGE_QCOW2
									     : IMAGE_RAW,
				     .overlay = config->overlay,
				     .overlay_path = config->overlay_file};
}

int machine_check_image(const struct machine_disk_config *config)
{
	struct image_config image = machine_image(config);

	return image_check(&image);
}

static int machine_open_disk(struct machine_disk *d, const struct machine_disk_config *config)
{
	struct disk_config disk = {.image = machine_image(config)};

	return disk_open(&d->disk, &disk);
}

/* Queues beyond the vCPUs or the I/O threads would be served one after the other anyway. */
static unsigned int machine_disk_queues(const struct machine *machine, unsigned int wanted,
					unsigned int cpus)
{
	unsigned int n = cpus < machine->n_io_loops ? cpus : machine->n_io_loops;

	_Static_assert(MACHINE_MAX_IO_THREADS <= MACHINE_MAX_DISK_QUEUES,
		       "a queue for each thread");
	return wanted ? wanted : n;
}

/*
 * How much of a disk's work a vCPU does itself. A single request is sooner done than handed over; of more, the I/O thread does one
 * while the vCPU readies the next, unless there is one host CPU for both, to which a change of threads is a loss.
 */
static void machine_choose_inline(struct virtio_blk_options *options)
{
	cpu_set_t cpus;
	bool alone = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 && CPU_COUNT(&cpus) == 1;

	options->inline_requests = alone ? 64 : 1;
	options->inline_bytes = alone ? 1 << 20 : 64 << 10;
}

static int machine_init_blk(struct machine_disk *d, struct machine *machine,
			    const struct machine_disk_config *config, unsigned int cpus)
{
	struct disk_limit_config limit = {.iops = config->iops,
					  .iops_burst = config->iops_burst,
					  .bps = config->bps,
					  .bps_burst = config->bps_burst};
	struct evloop *loops[VIRTIO_BLK_MAX_QUEUES];
	struct virtio_blk_options options = {
		.disk = &d->disk,
		.serial = config->serial,
		.n_queues = machine_disk_queues(machine, config->queues, cpus),
		.queue_loops = loops,
		.limit = &limit};

	for (unsigned int i = 0; i < options.n_queues; i++)
		loops[i] = machine_next_io_loop(machine);
	options.loop = loops[0];
	machine_choose_inline(&options);
	return virtio_blk_init(&d->blk, &options);
}

int machine_add_disk(struct machine *machine, const struct machine_disk_config *config,
		     unsigned int cpus)
{
	struct machine_disk *d = calloc(1, sizeof(*d));
	int err;

	if (!d)
		return log_no_memory();
	err = machine_open_disk(d, config);
	if (err < 0)
		goto fail;
	err = machine_init_blk(d, machine, config, cpus);
	if (err < 0)
		goto fail_disk;
	d->card.resized = machine_resize_disk;
	d->card.made = d->disk.image->made;
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

/* On the main loop. */
void machine_on_disks_resized(void *arg)
{
	struct machine *machine = arg;

	for (unsigned int i = 0; i < machine->n_cards; i++) {
		if (machine->cards[i]->resized)
			machine->cards[i]->resized(machine->cards[i]);
	}
}
