/*
 * A hostile guest as a program in bytes, for fuzz targets of virtio devices.
 *
 * The guest has a little memory in two pieces with a hole between them, and a device behind a transport that counts. The
 * input is a list of operations: rings are laid out, chains of descriptors sent, requests of the device's own kind made,
 * bytes of the rings changed, the device kicked, reset and started anew. Most of what is sent is as a good driver would send it,
 * because what is refused at once does not get far.
 *
 * The bytes that a device reads also change under its hands: "trip" operations change a byte of guest memory right before one
 * of the next loads from it. Only programs that clang made notice each load (see trips.h); others run the same inputs without that.
 *
 * After all of it the driver gives up, resets the device, and a good driver begins: the device has to serve it.
 *
 * Each target has a struct guest_target of functions; everything happens on one thread (see world.h).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tests/fuzz/input.h"
#include "tests/fuzz/world.h"
#include "tests/unit/virtq_driver.h"
#include "virtio/virtio.h"

#define GUEST_QUEUES	 5
#define GUEST_RAM	 UINT64_C(0x40000)
#define GUEST_HIGH	 UINT64_C(0x200000) /* the second piece */
#define GUEST_HIGH_SIZE	 UINT64_C(0x8000)
#define GUEST_RINGS	 UINT64_C(0x2000) /* of each queue, from address 0 on */
#define GUEST_BUFFERS	 UINT64_C(0x10000)
#define GUEST_MAX_PIECES 12

#define BIT(n) (UINT64_C(1) << (n))

struct guest {
	struct guest_mem mem;
	struct evloop loop;
	struct virtio_device *dev;
	struct virtq_driver drv[GUEST_QUEUES];
	uint16_t next_desc[GUEST_QUEUES];
	gpa_t heap; /* the next buffer */
	unsigned int interrupts[GUEST_QUEUES];
	unsigned int config_changes, needs_reset, stopped;
};

/* The one that runs. */
extern struct guest guest;

struct guest_target {
	/* Makes the device, as the input's first bytes say. Returns it. */
	struct virtio_device *(*open)(struct fuzz_input *in);
	void (*close)(void);
	/* A request of the device's kind. */
	void (*request)(struct fuzz_input *in);
	/* Something happens on the host's side. NULL: nothing ever does. */
	void (*host)(struct fuzz_input *in);
	/* A good driver has started the device, with all features and queues: has it serve something. */
	void (*check)(void);
	/* The device waits for a thread. NULL: it never does. */
	bool (*busy)(void);
	unsigned int writable; /* bit i: queue i carries buffers for the device to write to */
};

/* Runs an input. Returns 0, for libFuzzer. */
int guest_run(const struct guest_target *target, const uint8_t *data, size_t size);

/* ---- for targets ---- */

/* The memory as at first, all zeros. Before guest_run() only for those that do not use that. */
void guest_make_memory(void);

/* len bytes of memory for a buffer, which comes round again. */
gpa_t guest_alloc(uint32_t len);
/* The same with this content. */
gpa_t guest_put(const void *bytes, uint32_t len);

/* Where a buffer of that length lies: most often where guest_alloc() says, seldom at the border of things, or nowhere. */
gpa_t guest_place(struct fuzz_input *in, uint32_t len);

/* A length as drivers use them, most of them small; 1 byte of input, or 5. */
uint32_t guest_len(struct fuzz_input *in);

/* Sends a chain. odd says how it is cut into descriptors and, seldom, what is wrong with it; 0 for a good one. */
void guest_send(unsigned int queue, const struct virtq_piece *pieces, unsigned int n, uint8_t odd);

/* A byte of the chain that the device takes next, whether it is there already or will be sent: of one of its first descriptors, or of
 * the ring that names it. */
uint8_t *guest_next_byte(unsigned int queue, uint8_t code);

/* As KVM or the transport do, and waits until the device rests. */
void guest_kick(unsigned int queue);

/* Sends a good chain and kicks. Returns the used length; the device must use it at once. */
uint32_t guest_exchange(unsigned int queue, const struct virtq_piece *pieces, unsigned int n);

/* Any copy into or out of guest memory. The range must be there. */
void *guest_at(gpa_t gpa, size_t len);
