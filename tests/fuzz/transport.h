/*
 * What the targets of the transports share: a device that echoes, and what a transport promises in any case.
 *
 * Everything is static: each target has its own.
 */
#pragma once

#include <linux/virtio_config.h>

#include "tests/fuzz/guest.h"
#include "tests/fuzz/trips.h"
#include "tests/unit/fake_device.h"
#include "virtio/virtio_regs.h"

#define S_ACK	      VIRTIO_CONFIG_S_ACKNOWLEDGE
#define S_DRIVER      (S_ACK | VIRTIO_CONFIG_S_DRIVER)
#define S_FEATURES_OK (S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)
#define S_DRIVER_OK   (S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)

static struct fake_device fake;

/* The queues' registers when the driver went live; they hold still until the reset. */
static struct virtq_config at_start[FAKE_QUEUES];
static unsigned int at_starts; /* how many of them there had been */

static inline void transport_begin(uint8_t how)
{
	guest_make_memory();
	trips_forget();
	world_begin(&guest.loop, NULL);
	FUZZ_CHECK(fake_device_init(&fake, &guest.loop) == 0);
	fake.on_kick = fake_device_echo;
	fake.delegated = how & 1 ? 2 : 0;
	fake.dev.serve_inline[2] = how & 2;
	fake.dev.config_writable = UINT64_C(0xf0f0);
	guest.dev = &fake.dev;
	at_starts = 0;
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		virtq_driver_init(&guest.drv[i], &guest.mem, i * GUEST_RINGS, (i + 1) * GUEST_RINGS,
				  16);
		guest.next_desc[i] = 0;
	}
}

static inline void transport_end(void)
{
	fake_device_fini(&fake);
	world_end();
}

/* After each operation. */
static inline void transport_check(const struct virtio_regs *regs)
{
	const struct virtio_regs_state *s = &regs->state;

	world_settle();
	FUZZ_CHECK(!regs->resetting);
	FUZZ_CHECK(regs->live == fake.dev.started && regs->live == regs->listens);
	FUZZ_CHECK(!(s->status & VIRTIO_CONFIG_S_DRIVER_OK) ||
		   (s->status & VIRTIO_CONFIG_S_FEATURES_OK));
	if (s->status & VIRTIO_CONFIG_S_FEATURES_OK)
		FUZZ_CHECK(!(s->driver_features & ~fake.dev.features));
	for (unsigned int i = 0; i < FAKE_QUEUES && regs->live && at_starts == fake.starts; i++)
		FUZZ_CHECK(memcmp(&s->queue[i], &at_start[i], sizeof(at_start[i])) == 0);
	memcpy(at_start, s->queue, sizeof(at_start));
	at_starts = fake.starts;
}

/* Queues a request of 8 bytes, which is echoed. */
static inline void transport_send(unsigned int queue, uint8_t odd)
{
	const struct virtq_piece pieces[] = {{guest_put("question", 8), 8, false},
					     {guest_alloc(8), 8, true}};

	guest_send(queue, pieces, 2, odd);
}

/* Something happens in the device. */
static inline void transport_host(struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in);

	switch (what % 4) {
	case 0:
		virtio_device_config_set(&fake.dev, what >> 4, &what, 1);
		break;
	case 1:
		if (fake.dev.started && what >= 0xc0)
			virtio_device_broken(&fake.dev, "so it is");
		break;
	case 2:
		if (fake.dev.started)
			fake.dev.transport.interrupt(fake.dev.transport.arg,
						     (what >> 2) % FAKE_QUEUES);
		break;
	default:
		*(uint8_t *)guest_at(fuzz_u16(in) % (GUEST_RINGS * FAKE_QUEUES), 1) = what;
	}
}
