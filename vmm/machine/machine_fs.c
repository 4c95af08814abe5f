/* A shared directory, on a loop of its own, whose thread may open files. */
#include "vmm/machine/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/fs.h"

struct machine_fs {
	struct machine_card card;
	struct evloop loop;
	unsigned int number;
	struct confine_tree trees[2];
	struct virtio_fs fs;
};

static int machine_run_fs(struct machine_card *card, struct machine *machine)
{
	struct machine_fs *f = (struct machine_fs *)card;
	char name[16];
	int err;

	f->loop.rights = machine_rights(machine, f->fs.writable ? FILTER_FS_WRITE : FILTER_FS);
	f->loop.starter = &machine->starter;
	f->loop.started = machine_rights(machine, FILTER_FS_IO);
	snprintf(name, sizeof(name), "vmm-fs%u", f->number);
	err = evloop_start(&f->loop, name);
	if (err < 0)
		log_failure(err, "cannot start the thread of %s", f->fs.name);
	return err;
}

static void machine_halt_fs(struct machine_card *card)
{
	evloop_stop(&((struct machine_fs *)card)->loop);
}

static void machine_fs_confined(struct machine_card *card, bool alone)
{
	virtio_fs_confined(&((struct machine_fs *)card)->fs, alone);
}

static void machine_remove_fs(struct machine_card *card)
{
	struct machine_fs *f = (struct machine_fs *)card;

	virtio_fs_fini(&f->fs);
	evloop_fini(&f->loop);
	free(f);
}

/* What it opens must stay within reach, and nothing else. */
static void machine_fs_list_trees(struct machine_fs *f)
{
	f->trees[0] =
		(struct confine_tree){.fd = f->fs.root, .read = true, .write = f->fs.writable};
	f->trees[1] = (struct confine_tree){.fd = f->fs.proc};
	f->card.trees = f->trees;
	f->card.n_trees = 2;
}

int machine_add_share(struct machine *machine, const struct machine_share_config *config,
		      unsigned int number, unsigned int cpus)
{
	struct virtio_fs_options options = {
		.path = config->path,
		.tag = config->tag,
		.n_queues = cpus < VIRTIO_FS_MAX_QUEUES ? cpus : VIRTIO_FS_MAX_QUEUES,
		.writable = config->writable,
		.cache = (enum virtio_fs_cache)config->cache};
	struct machine_fs *f = calloc(1, sizeof(*f));
	int err;

	if (!f)
		return log_no_memory();
	f->number = number;
	err = evloop_init(&f->loop);
	if (err < 0) {
		log_failure(err, "cannot make a loop for directory '%s'", config->path);
		goto fail;
	}
	options.loop = &f->loop;
	err = virtio_fs_init(&f->fs, &options);
	if (err < 0)
		goto fail_loop;
	log_info("%s: mount -t virtiofs %s DIRECTORY", f->fs.name, config->tag);
	machine_fs_list_trees(f);
	f->card.run = machine_run_fs;
	f->card.halt = machine_halt_fs;
	f->card.confined = machine_fs_confined;
	err = machine_add_card(machine, &f->card, &f->fs.dev, machine_remove_fs);
	if (err < 0)
		goto fail_fs;
	return 0;
fail_fs:
	virtio_fs_fini(&f->fs);
fail_loop:
	evloop_fini(&f->loop);
fail:
	free(f);
	return err;
}
