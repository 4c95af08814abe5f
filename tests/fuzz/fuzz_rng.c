/*
 * A guest against the entropy source; see guest.h.
 *
 * Fuzzes: virtio/rng.c
 */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/guest.h"
#include "virtio/rng.h"

static struct virtio_rng rng;

static struct virtio_device *rng_open(struct fuzz_input *in)
{
	(void)in;
	FUZZ_CHECK(virtio_rng_init(&rng, &guest.loop) == 0);
	return &rng.dev;
}

static void rng_close(void)
{
	virtio_rng_fini(&rng);
}

static void rng_request(struct fuzz_input *in)
{
	uint32_t len = 1 + guest_len(in) % 8192;
	struct virtq_piece piece = {guest_alloc(len), len, true};

	guest_send(0, &piece, 1, fuzz_u8(in));
	guest_kick(0);
}

static void rng_host(struct fuzz_input *in)
{
	world_set_random_fails(fuzz_u8(in) & 1);
}

static void rng_check(void)
{
	const struct virtq_piece piece = {guest_alloc(64), 64, true};

	FUZZ_CHECK(guest_exchange(0, &piece, 1) == 64);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct guest_target target = {.open = rng_open,
						   .close = rng_close,
						   .request = rng_request,
						   .host = rng_host,
						   .check = rng_check,
						   .writable = 1};

	return guest_run(&target, data, size);
}
