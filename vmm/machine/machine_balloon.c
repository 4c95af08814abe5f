/* The balloon, on the main loop: it never blocks, and discards a bounded amount of memory at a time. */
#include "vmm/machine/machine.h"

#include <errno.h>
#include <stdlib.h>

#include "virtio/balloon.h"

struct machine_balloon {
	struct machine_card card;
	struct virtio_balloon balloon;
};

static void machine_remove_balloon(struct machine_card *card)
{
	struct machine_balloon *b = (struct machine_balloon *)card;

	virtio_balloon_fini(&b->balloon);
	free(b);
}

int machine_add_balloon(struct machine *machine)
{
	struct machine_balloon *b = calloc(1, sizeof(*b));
	int err;

	if (!b)
		return log_no_memory();
	err = virtio_balloon_init(&b->balloon, &machine->loop, &machine->mem);
	if (err < 0)
		goto fail;
	err = machine_add_card(machine, &b->card, &b->balloon.dev, machine_remove_balloon);
	if (err < 0)
		goto fail_balloon;
	machine->balloon = b;
	return 0;
fail_balloon:
	virtio_balloon_fini(&b->balloon);
fail:
	free(b);
	return err;
}

void machine_end_balloon(struct machine *machine)
{
	if (machine->balloon)
		virtio_balloon_end(&machine->balloon->balloon);
}

int machine_balloon_set(struct machine *machine, uint64_t bytes)
{
	struct machine_balloon *b = machine->balloon;
	int err = b ? virtio_balloon_set(&b->balloon, bytes) : -ENODEV;

	if (err == -ENODEV)
		log_error("the machine has no balloon");
	else if (err == -EOPNOTSUPP)
		log_error(
			"the guest cannot give memory back: its huge pages were set aside for it");
	else if (err < 0)
		log_error("a balloon of %llu bytes is more than the machine's memory",
			  (unsigned long long)bytes);
	return err;
}

int machine_balloon_stats(struct machine *machine, struct machine_balloon_stats *stats,
			  unsigned int timeout_ms)
{
	struct machine_balloon *b = machine->balloon;
	struct virtio_balloon_stats said;
	int err;

	if (!b) {
		log_error("the machine has no balloon");
		return -ENODEV;
	}
	/* All there is to fail is that the guest does not answer, yet: who asks often would fill the log. */
	err = virtio_balloon_stats(&b->balloon, &said, timeout_ms);
	if (err < 0)
		return err;
	*stats = (struct machine_balloon_stats){
		.balloon = virtio_balloon_actual(&b->balloon),
		.total = said.value[VIRTIO_BALLOON_S_MEMTOT],
		.free = said.value[VIRTIO_BALLOON_S_MEMFREE],
		.available = said.value[VIRTIO_BALLOON_S_AVAIL],
		.caches = said.value[VIRTIO_BALLOON_S_CACHES],
		.swap_in = said.value[VIRTIO_BALLOON_S_SWAP_IN],
		.swap_out = said.value[VIRTIO_BALLOON_S_SWAP_OUT],
		.major_faults = said.value[VIRTIO_BALLOON_S_MAJFLT],
		.minor_faults = said.value[VIRTIO_BALLOON_S_MINFLT],
	};
	return 0;
}
