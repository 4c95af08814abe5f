/*
 * virtio/virtq.c: a walk over a chain ends, and what it hands out lies in guest memory, whatever the guest writes there and whenever.
 *
 * Guest memory is nothing that could be read here: its addresses are no objects. Whoever loads from it other than by the two
 * functions below fails, and each call of these gives another value; so nothing is loaded twice and believed to be the same.
 * prove_virtq.c has the proof that they read what they are asked for and no more.
 *
 * Queues have up to MAX_SIZE descriptors; their rings, tables and buffers may overlap.
 *
 * Contract: virtq_load_desc
 * Contract: virtq_load16
 * Unwind: 6
 * Mutant: prove_pop virtio/virtq.c s/i >= walk->table_size || //
 * Mutant: prove_pop virtio/virtq.c s/ || walk->left-- == 0//
 * Mutant: prove_pop virtio/virtq.c s/ || walk->indirect//
 * Mutant: prove_pop virtio/virtq.c s/if (walk->n_iov == walk->max_iov)/if (false)/
 * Mutant: prove_pop virtio/virtq.c s/virtq_add_buffer(walk, &d)/virtq_add_buffer(walk, \&walk->table[i])/
 * Mutant: prove_pop virtio/virtq.c s/next_avail & (vq->size - 1)/next_avail/
 * Mutant: prove_pop virtio/virtq.c s/return walk->table ? 0 : -EPROTO/return 0/
 * Mutant: prove_pop virtio/virtq.c s/vq->broken = true/vq->broken = false/
 * Mutant: prove_pop virtio/virtq.c s/.readable = iov,/.readable = iov + 1,/
 * Mutant: prove_pop virtio/virtq.c s/walk->table_size = n;/walk->table_size = n + 1;/
 * Mutant: prove_pop vmm/core/guest_mem.h s/len > r->size - offset/gpa + len > r->base + r->size/
 * Mutant: prove_pop vmm/core/guest_mem.h s/if (offset >= r->size)/if (false)/
 */
#include "tests/proofs/proof.h"

#include <linux/virtio_ring.h>

#include "vmm/core/guest_mem.h"

#define MAX_SIZE 4
#define REGIONS	 2

static struct guest_mem mem;

/* Whether a region holds all of [at, at + len). */
static bool is_ram(const void *at, size_t len)
{
	for (unsigned int i = 0; i < REGIONS; i++) {
		const struct guest_mem_region *r = &mem.regions[i];
		uint64_t offset = (uintptr_t)at - (uintptr_t)r->host;

		if ((uintptr_t)at >= (uintptr_t)r->host && offset < r->size &&
		    len <= r->size - offset)
			return true;
	}
	return false;
}

/* clang-format off */
static struct vring_desc virtq_load_desc(const struct vring_desc *table, uint32_t i)
	__CPROVER_requires(is_ram(&table[i], sizeof(*table)))
	__CPROVER_assigns();
static uint16_t virtq_load16(const uint16_t *p, int order)
	__CPROVER_requires(is_ram(p, sizeof(*p)))
	__CPROVER_assigns();
/* clang-format on */

#include "virtio/virtq.c"

NONDET(struct virtq_config, nondet_config)
NONDET(struct virtq_state, nondet_state)

/* Regions anywhere, which do not touch one another, in the guest's addresses or in ours. */
static void setup_mem(void)
{
	uint64_t end = 0;

	mem.n_regions = REGIONS;
	for (unsigned int i = 0; i < REGIONS; i++) {
		struct guest_mem_region *r = &mem.regions[i];
		uint64_t host = (i + UINT64_C(1)) << 44;

		r->base = nondet_u64();
		r->size = nondet_u64();
		r->host = (void *)host;
		assume(r->size > 0 && r->size < UINT64_C(1) << 44);
		assume(r->base >= end && r->base < UINT64_MAX - r->size);
		end = r->base + r->size + 1;
	}
}

static void check_chain(const struct virtq *vq, const struct virtq_chain *chain,
			const struct iovec *iov, unsigned int max_iov)
{
	unsigned int n = chain->n_readable + chain->n_writable, any = nondet_u32();

	prove(chain->head < vq->size);
	prove(chain->n_readable <= n && n <= vq->size && n <= max_iov);
	prove(chain->readable == iov && chain->writable == iov + chain->n_readable);
	prove(chain->readable_bytes <= UINT32_MAX);
	prove(chain->writable_bytes <= UINT32_MAX - chain->readable_bytes);
	if (any < n)
		prove(iov[any].iov_len > 0 && is_ram(iov[any].iov_base, iov[any].iov_len));
}

void prove_pop(void)
{
	struct virtq_config config = nondet_config();
	unsigned int max_iov = nondet_u32();
	struct virtq_chain chain;
	struct iovec iov[MAX_SIZE + 1];
	struct virtq vq;
	uint16_t before;
	int ret;

	setup_mem();
	if (virtq_init(&vq, &mem, &config, nondet_u64()) < 0)
		return;
	assume(vq.size <= MAX_SIZE && max_iov <= MAX_SIZE);
	vq.state = nondet_state();
	vq.broken = nondet_bool();
	before = vq.state.next_avail;
	ret = virtq_pop(&vq, &chain, iov, max_iov);
	prove(ret == 1 || ret == 0 || ret == -ENOBUFS || ret == -EPROTO);
	prove(vq.state.next_avail == (uint16_t)(before + (ret == 1)));
	prove(ret != -EPROTO || vq.broken);
	if (ret == 1)
		check_chain(&vq, &chain, iov, max_iov);
}
