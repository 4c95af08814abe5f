/*
 * A network card on a kernel that keeps book of what it is told by vhost, for tests.
 */
#pragma once

#include "tests/unit/count_fds.h"
#include "tests/unit/net_fixture.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <linux/vhost.h>

#define CSUM	(UINT64_C(1) << VIRTIO_NET_F_GUEST_CSUM)
#define MQ	(UINT64_C(1) << VIRTIO_NET_F_MQ)
#define CTRL_VQ (UINT64_C(1) << VIRTIO_NET_F_CTRL_VQ)
#define SUITED	(NET_MERGE | NET_TSO)

#define PAIRS 2

/* One ring as the kernel knows it. */
struct fake_ring {
	struct vhost_vring_state num, base;
	struct vhost_vring_addr addr;
	int kick, call, err, backend; /* -1: none */
	struct virtq vq;	      /* while it has a backend */
};

static struct {
	unsigned int n_open;
	_Atomic unsigned int n_requests;
	int fd[PAIRS];
	bool owned[PAIRS];
	uint64_t offered, features[PAIRS];
	struct vhost_memory_region region[PAIRS];
	struct fake_ring ring[2 * PAIRS];
	int open_error;
	unsigned long fails; /* this request */
} kernel;

static const struct guest_mem *kernel_mem; /* what virtq needs beside the addresses */

static inline int kernel_open(void *arg)
{
	(void)arg;
	if (kernel.open_error)
		return kernel.open_error;
	ck_assert_uint_lt(kernel.n_open, PAIRS);
	kernel.fd[kernel.n_open] = eventfd(0, EFD_CLOEXEC);
	return kernel.fd[kernel.n_open++];
}

static inline void kernel_set_memory(unsigned int pair, const struct vhost_memory *table)
{
	ck_assert_uint_eq(table->nregions, 1);
	ck_assert_uint_eq(table->padding, 0);
	kernel.region[pair] = table->regions[0];
}

/* The ring must be complete, and no ring changes while it has a backend. */
static inline int kernel_set_backend(unsigned int pair, struct fake_ring *ring, int fd)
{
	if (fd >= 0) {
		ck_assert(kernel.owned[pair] && kernel.region[pair].memory_size > 0);
		ck_assert_uint_ne(ring->num.num, 0);
		ck_assert(ring->kick >= 0 && ring->call >= 0 && ring->err >= 0);
		ring->vq = (struct virtq){
			.size = (uint16_t)ring->num.num,
			.desc = (const struct vring_desc *)(uintptr_t)ring->addr.desc_user_addr,
			.avail = (struct vring_avail *)(uintptr_t)ring->addr.avail_user_addr,
			.used = (struct vring_used *)(uintptr_t)ring->addr.used_user_addr};
		virtq_resume(&ring->vq, (uint16_t)ring->base.num);
	}
	ring->backend = fd;
	return 0;
}

static inline int kernel_control_ring(unsigned int pair, unsigned long request, void *data)
{
	const struct vhost_vring_file *file = data; /* all begin with the index */
	struct fake_ring *ring = &kernel.ring[2 * pair + file->index];

	ck_assert_uint_lt(file->index, 2);
	switch (request) {
	case VHOST_SET_VRING_NUM:
		ck_assert_int_lt(ring->backend, 0);
		ring->num = *(struct vhost_vring_state *)data;
		return 0;
	case VHOST_SET_VRING_BASE:
		ck_assert_int_lt(ring->backend, 0);
		ring->base = *(struct vhost_vring_state *)data;
		return 0;
	case VHOST_GET_VRING_BASE:
		((struct vhost_vring_state *)data)->num = ring->vq.state.next_avail;
		return 0;
	case VHOST_SET_VRING_ADDR:
		ring->addr = *(struct vhost_vring_addr *)data;
		return 0;
	case VHOST_SET_VRING_KICK:
		ring->kick = file->fd;
		return 0;
	case VHOST_SET_VRING_CALL:
		ring->call = file->fd;
		return 0;
	case VHOST_SET_VRING_ERR:
		ring->err = file->fd;
		return 0;
	case VHOST_NET_SET_BACKEND:
		return kernel_set_backend(pair, ring, file->fd);
	default:
		ck_abort_msg("no such request: %lx", request);
	}
}

static inline int kernel_control(void *arg, int fd, unsigned long request, void *data)
{
	unsigned int pair = fd == kernel.fd[0] ? 0 : 1;

	(void)arg;
	ck_assert_int_eq(fd, kernel.fd[pair]);
	kernel.n_requests++;
	if (request == kernel.fails)
		return -ENOMEM;
	switch (request) {
	case VHOST_SET_OWNER:
		ck_assert(!kernel.owned[pair]);
		kernel.owned[pair] = true;
		return 0;
	case VHOST_GET_FEATURES:
		*(uint64_t *)data = kernel.offered;
		return 0;
	case VHOST_SET_FEATURES:
		kernel.features[pair] = *(uint64_t *)data;
		return 0;
	case VHOST_SET_MEM_TABLE:
		kernel_set_memory(pair, data);
		return 0;
	default:
		return kernel_control_ring(pair, request, data);
	}
}

static const struct vhost_net_host host = {.open = kernel_open, .control = kernel_control};

static inline void setup(void)
{
	memset((void *)&kernel, 0, sizeof(kernel));
	kernel.offered = UINT64_MAX;
	for (unsigned int i = 0; i < 2 * PAIRS; i++)
		kernel.ring[i].kick = kernel.ring[i].call = kernel.ring[i].err =
			kernel.ring[i].backend = -1;
}

static inline struct net_fixture *open_card(uint64_t features)
{
	struct net_fixture *f = net_open_with(features, &host);

	kernel_mem = &f->mem;
	return f;
}

/* What the loop would do for vhost; returns how many callbacks were due. */
static inline unsigned int pump(struct net_fixture *f)
{
	unsigned int n = net_pump(f);

	n += net_call(&f->vhost.error);
	for (unsigned int i = 0; i < 2 * f->vhost.n_pairs; i++)
		n += net_call(&f->vhost.queue[i].call);
	return n;
}

static inline void fill(struct net_fixture *f)
{
	while (net_post(f, 1600, 0))
		;
}
