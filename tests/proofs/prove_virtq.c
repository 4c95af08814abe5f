/*
 * virtio/virtq.c but for the walk (prove_virtq_walk.c): rings are read and written within what was accepted, and buffers are added by the rules.
 *
 * In prove_rings() queues have up to MAX_SIZE descriptors, and their rings may overlap.
 *
 * Flags: --pointer-overflow-check
 * Unwind: 5
 * Mutant: prove_rings virtio/virtq.c s/next_used & (vq->size - 1)/next_used/
 * Mutant: prove_rings virtio/virtq.c s/6 + 8 . (size_t)size/4 + 8 * (size_t)size/
 * Mutant: prove_rings virtio/virtq.c s/6 + 2 . (size_t)size/4 + 2 * (size_t)size/
 * Mutant: prove_rings virtio/virtq.c s/vq->state.published = now/vq->state.published = before/
 * Mutant: prove_init virtio/virtq.c s/size > VIRTQ_MAX_SIZE/size > 2 * VIRTQ_MAX_SIZE/
 * Mutant: prove_init virtio/virtq.c s/ || (size & (size - 1)) != 0//
 * Mutant: prove_init virtio/virtq.c s/config->used % 4 != 0/false/
 * Mutant: prove_init virtio/virtq.c s/!vq->desc || //
 * Mutant: prove_loads virtio/virtq.c s/&table\[i\]/\&table[i + 1]/
 * Mutant: prove_buffer virtio/virtq.c s/!writable && walk->writable/false/
 * Mutant: prove_buffer virtio/virtq.c s/walk->bytes > UINT32_MAX/false/
 * Mutant: prove_buffer virtio/virtq.c s/walk->bytes += d->len/walk->bytes += d->len + 1/
 * Mutant: prove_buffer virtio/virtq.c s/if (walk->n_iov == walk->max_iov)/if (false)/
 * Mutant: prove_buffer virtio/virtq.c s/walk->n_readable = walk->n_iov;/walk->n_readable = walk->n_iov + 1;/
 * Mutant: prove_buffer virtio/virtq.c s/writable && !walk->writable/writable/
 * Mutant: prove_buffer virtio/virtq.c s/if (d->len == 0)/if (d->addr == 0)/
 */
#include "tests/proofs/proof.h"

#include <stdlib.h>

#include "virtio/virtq.c"

#define MAX_SIZE 4
#define REGIONS	 2
#define SMALL	 (16 * MAX_SIZE + 8) /* bytes of a region that is looked at */
#define LARGE	 (UINT64_C(1) << 40)

NONDET(struct virtq_config, nondet_config)
NONDET(struct virtq_state, nondet_state)
NONDET(struct vring_desc, nondet_desc)

static struct guest_mem mem;
static struct virtq vq;

/* Regions anywhere, which do not touch; each is an object by itself. */
static void setup_mem(uint64_t size)
{
	uint64_t end = 0;

	mem.n_regions = REGIONS;
	for (unsigned int i = 0; i < REGIONS; i++) {
		struct guest_mem_region *r = &mem.regions[i];

		r->base = nondet_u64();
		r->size = size;
		r->host = malloc(size);
		assume(r->host);
		assume(r->base >= end && r->base <= UINT64_MAX - size);
		end = r->base + size + 1;
	}
}

/* A queue that was accepted, at any moment of its life. */
static bool setup_queue(void)
{
	struct virtq_config config = nondet_config();

	setup_mem(SMALL);
	if (virtq_init(&vq, &mem, &config, nondet_u64()) < 0)
		return false;
	assume(vq.size <= MAX_SIZE);
	vq.state = nondet_state();
	vq.broken = nondet_bool();
	return true;
}

void prove_rings(void)
{
	uint16_t used;

	if (!setup_queue())
		return;
	used = vq.state.next_used;
	virtq_push(&vq, nondet_u16(), nondet_u32());
	prove(vq.state.next_used == (uint16_t)(used + 1));
	virtq_publish(&vq);
	prove(vq.state.published == vq.state.next_used);
	virtq_waiting(&vq);
	virtq_pending(&vq);
	virtq_disable_kick(&vq);
	virtq_enable_kick(&vq);
	virtq_unpop(&vq, nondet_u32());
	virtq_resume(&vq, nondet_u16());
	prove(!virtq_publish(&vq));
}

/* What the walk's proof relies on: they read what they are asked for, at any address, and write nothing. */
void prove_loads(void)
{
	const size_t size = sizeof(struct vring_desc);
	uint32_t i = nondet_u32();
	uint8_t *at;

	assume(i < VIRTQ_MAX_SIZE);
	at = malloc(i * size + size);
	assume(at);
	virtq_load_desc((const void *)at, i);
	virtq_load16((const void *)(at + i * size + size - 2), __ATOMIC_ACQUIRE);
}

/* One descriptor more, of a chain that is as this leaves it. */
void prove_buffer(void)
{
	struct vring_desc d = nondet_desc();
	struct iovec iov[MAX_SIZE];
	struct virtq_walk walk = {.mem = &mem,
				  .iov = iov,
				  .max_iov = nondet_u32(),
				  .n_iov = nondet_u32(),
				  .n_readable = nondet_u32(),
				  .bytes = nondet_size(),
				  .readable_bytes = nondet_size(),
				  .writable = nondet_bool()};
	const struct virtq_walk before = walk;
	unsigned int n = walk.n_iov;
	bool writable = d.flags & VRING_DESC_F_WRITE;

	setup_mem(LARGE);
	assume(walk.max_iov <= MAX_SIZE && n <= walk.max_iov);
	assume(walk.bytes <= UINT32_MAX);
	assume(!walk.writable || (walk.n_readable < n && walk.readable_bytes <= walk.bytes));
	if (virtq_add_buffer(&walk, &d) < 0)
		return;
	prove(walk.n_iov == n + (d.len > 0) && walk.n_iov <= walk.max_iov);
	prove(d.len == 0 || (iov[n].iov_len == d.len && __CPROVER_w_ok(iov[n].iov_base, d.len)));
	prove(walk.bytes == before.bytes + d.len && walk.bytes <= UINT32_MAX);
	prove(!walk.writable == !(before.writable || (d.len > 0 && writable)));
	/* The readable ones come first, and are what there was when the first writable one came. */
	prove(writable || !before.writable);
	prove(!walk.writable || walk.n_readable == (before.writable ? before.n_readable : n));
	prove(!walk.writable ||
	      walk.readable_bytes == (before.writable ? before.readable_bytes : before.bytes));
}

/* What is accepted is what the rest relies on. */
void prove_init(void)
{
	struct virtq_config config = nondet_config();

	setup_mem(LARGE);
	if (virtq_init(&vq, &mem, &config, nondet_u64()) < 0)
		return;
	prove(vq.size > 0 && vq.size <= VIRTQ_MAX_SIZE && (vq.size & (vq.size - 1)) == 0);
	prove(config.desc % 16 == 0 && config.avail % 2 == 0 && config.used % 4 == 0);
	prove(__CPROVER_r_ok(vq.desc, 16 * (size_t)vq.size));
	prove(__CPROVER_r_ok(vq.avail, 6 + 2 * (size_t)vq.size));
	prove(__CPROVER_w_ok(vq.used, 6 + 8 * (size_t)vq.size));
	prove(!vq.broken && vq.state.next_avail == 0 && vq.state.next_used == 0);
}
