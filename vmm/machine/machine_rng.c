/* The entropy source, on the main loop: it never blocks and is bounded. */
#include "vmm/machine/machine.h"

#include <stdlib.h>

#include "virtio/rng.h"

struct machine_rng {
	struct machine_card card;
	struct virtio_rng rng;
};

static void machine_remove_rng(struct machine_card *card)
{
	struct machine_rng *r = (struct machine_rng *)card;

	virtio_rng_fini(&r->rng);
	free(r);
}

int machine_add_rng(struct machine *machine)
{
	struct machine_rng *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return log_no_memory();
	err = virtio_rng_init(&r->rng, &machine->loop);
	if (err < 0)
		goto fail;
	err = machine_add_card(machine, &r->card, &r->rng.dev, machine_remove_rng);
	if (err < 0)
		goto fail_rng;
	return 0;
fail_rng:
	virtio_rng_fini(&r->rng);
fail:
	free(r);
	return err;
}
