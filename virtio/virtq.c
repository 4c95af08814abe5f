#include "virtio/virtq.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <linux/virtio_config.h>

/*
 * Ring fields are shared with vCPUs that run at the same time. Indices are loaded with acquire before the entries
 * they cover and stored with release after them (virtio 1.2, 2.7.13.3.1 and 2.7.14); entries are loaded once.
 * The rings are little endian, as is every host that vmm runs on.
 */
static uint16_t virtq_load16(const uint16_t *p, int order)
{
	return __atomic_load_n(p, order);
}

/* The fields behind the rings that exist with VIRTIO_F_EVENT_IDX (2.7.6, 2.7.8). */
static uint16_t *virtq_used_event(const struct virtq *vq)
{
	return &vq->avail->ring[vq->size];
}

static uint16_t *virtq_avail_event(const struct virtq *vq)
{
	return (uint16_t *)(void *)&vq->used->ring[vq->size];
}

int __attribute__((cold)) virtq_init(struct virtq *vq, const struct guest_mem *mem,
				     const struct virtq_config *config, uint64_t features)
{
	uint16_t size = config->size;

	memset(vq, 0, sizeof(*vq));
	if (size == 0 || size > VIRTQ_MAX_SIZE || (size & (size - 1)) != 0)
		return -EINVAL;
	/* 2.7: alignment of the three parts */
	if (config->desc % 16 != 0 || config->avail % 2 != 0 || config->used % 4 != 0)
		return -EINVAL;

	vq->mem = mem;
	vq->size = size;
	vq->event_idx = features & (UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX);
	vq->indirect = features & (UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC);
	vq->desc = guest_mem_ptr(mem, config->desc, sizeof(struct vring_desc) * size);
	/* flags, idx, ring and the event field, which the driver provides in any case (2.7) */
	vq->avail = guest_mem_ptr(mem, config->avail, 6 + 2 * (size_t)size);
	vq->used = guest_mem_ptr(mem, config->used, 6 + 8 * (size_t)size);
	if (!vq->desc || !vq->avail || !vq->used)
		return -EINVAL;
	return 0;
}

/* A walk over one chain; the table is the queue's own or an indirect one. */
struct virtq_walk {
	const struct guest_mem *mem;
	const struct vring_desc *table;
	uint32_t table_size;
	unsigned int left; /* descriptors that the chain may still have */
	bool indirect; /* table is an indirect one; it may well lie where the queue's own does */
	/* what was found: readable buffers, then writable ones */
	struct iovec *iov;
	unsigned int max_iov;
	unsigned int n_iov;
	unsigned int n_readable; /* of n_iov; known when the first writable one was met */
	size_t bytes;
	size_t readable_bytes; /* of bytes, as n_readable */
	bool writable;	       /* met */
};

/* An indirect table may lie at any address. */
struct virtq_desc_at {
	struct vring_desc d;
} __attribute__((packed));

/* Copies descriptor i; the guest may rewrite the original at any time. */
static struct vring_desc virtq_load_desc(const struct vring_desc *table, uint32_t i)
{
	const volatile struct virtq_desc_at *at = (const void *)&table[i];

	return (struct vring_desc){
		.addr = at->d.addr, .len = at->d.len, .flags = at->d.flags, .next = at->d.next};
}

static int virtq_add_buffer(struct virtq_walk *walk, const struct vring_desc *d)
{
	bool writable = d->flags & VRING_DESC_F_WRITE;
	void *ptr;

	/* 2.7.4.2: device-writable descriptors come after all device-readable ones */
	if (!writable && walk->writable)
		return -EPROTO;
	if (d->len == 0)
		return 0;
	if (writable && !walk->writable) {
		walk->writable = true;
		walk->n_readable = walk->n_iov;
		walk->readable_bytes = walk->bytes;
	}
	ptr = guest_mem_ptr(walk->mem, d->addr, d->len);
	/* 2.7.4.3.1: a chain of more than 2^32 bytes is not allowed */
	walk->bytes += d->len;
	if (!ptr || walk->bytes > UINT32_MAX)
		return -EPROTO;
	if (walk->n_iov == walk->max_iov)
		return -ENOBUFS;
	walk->iov[walk->n_iov++] = (struct iovec){.iov_base = ptr, .iov_len = d->len};
	return 0;
}

static int virtq_enter_indirect(const struct virtq *vq, struct virtq_walk *walk,
				const struct vring_desc *d)
{
	uint32_t n = d->len / sizeof(struct vring_desc);

	/* 2.7.5.3.1: negotiated, not nested, alone in its place; the table no longer than the queue */
	if (!vq->indirect || walk->indirect || (d->flags & VRING_DESC_F_NEXT))
		return -EPROTO;
	if (n == 0 || d->len % sizeof(struct vring_desc) != 0 || n > vq->size)
		return -EPROTO;
	walk->table = guest_mem_ptr(walk->mem, d->addr, d->len);
	walk->table_size = n;
	walk->indirect = true;
	walk->left++; /* it stands for the table, and is no element of the chain itself */
	return walk->table ? 0 : -EPROTO;
}

static int virtq_walk_chain(const struct virtq *vq, struct virtq_walk *walk, uint32_t i)
{
	for (;;) {
		struct vring_desc d;
		int err;

		/* 2.7.5.3.1: no chain is longer than the queue; this also ends loops */
		if (i >= walk->table_size || walk->left-- == 0)
			return -EPROTO;
		d = virtq_load_desc(walk->table, i);
		if (d.flags & VRING_DESC_F_INDIRECT) {
			err = virtq_enter_indirect(vq, walk, &d);
			if (err < 0)
				return err;
			i = 0;
			continue;
		}
		err = virtq_add_buffer(walk, &d);
		if (err < 0)
			return err;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 0;
		i = d.next;
	}
}

uint16_t virtq_waiting(const struct virtq *vq)
{
	return virtq_load16(&vq->avail->idx, __ATOMIC_ACQUIRE) - vq->state.next_avail;
}

/* How many chains wait; -EPROTO when the driver claims more than the ring holds. */
static int virtq_available(const struct virtq *vq)
{
	uint16_t n = virtq_waiting(vq);

	return n > vq->size ? -EPROTO : n;
}

int virtq_pop(struct virtq *vq, struct virtq_chain *chain, struct iovec *iov, unsigned int max_iov)
{
	struct virtq_walk walk = {.mem = vq->mem,
				  .table = vq->desc,
				  .table_size = vq->size,
				  .iov = iov,
				  .max_iov = max_iov,
				  .left = vq->size};
	uint16_t head = 0;
	int err;

	if (vq->broken)
		return -EPROTO;
	err = virtq_available(vq);
	if (err == 0)
		return 0;
	if (err > 0) {
		head = virtq_load16(&vq->avail->ring[vq->state.next_avail & (vq->size - 1)],
				    __ATOMIC_RELAXED);
		err = virtq_walk_chain(vq, &walk, head);
	}
	if (err == -EPROTO)
		vq->broken = true;
	if (err < 0)
		return err;
	if (!walk.writable) {
		walk.n_readable = walk.n_iov;
		walk.readable_bytes = walk.bytes;
	}
	*chain = (struct virtq_chain){.head = head,
				      .readable = iov,
				      .n_readable = walk.n_readable,
				      .readable_bytes = walk.readable_bytes,
				      .writable = iov + walk.n_readable,
				      .n_writable = walk.n_iov - walk.n_readable,
				      .writable_bytes = walk.bytes - walk.readable_bytes};
	vq->state.next_avail++;
	return 1;
}

void virtq_resume(struct virtq *vq, uint16_t index)
{
	vq->state =
		(struct virtq_state){.next_avail = index, .next_used = index, .published = index};
}

void virtq_unpop(struct virtq *vq, unsigned int n)
{
	vq->state.next_avail = (uint16_t)(vq->state.next_avail - n);
}

void virtq_push(struct virtq *vq, uint16_t head, uint32_t written)
{
	volatile struct vring_used_elem *elem =
		&vq->used->ring[vq->state.next_used & (vq->size - 1)];

	elem->id = head;
	elem->len = written;
	vq->state.next_used++;
}

bool virtq_publish(struct virtq *vq)
{
	uint16_t now = vq->state.next_used, before = vq->state.published;
	uint16_t event;

	if (now == before)
		return false;
	__atomic_store_n(&vq->used->idx, now, __ATOMIC_RELEASE);
	vq->state.published = now;
	/* The store above before the loads below: the driver does the opposite (2.7.7.2, 2.7.10). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!vq->event_idx)
		return !(virtq_load16(&vq->avail->flags, __ATOMIC_RELAXED) &
			 VRING_AVAIL_F_NO_INTERRUPT);
	event = virtq_load16(virtq_used_event(vq), __ATOMIC_RELAXED);
	return vring_need_event(event, now, before);
}

bool virtq_pending(const struct virtq *vq)
{
	return !vq->broken && virtq_waiting(vq) != 0;
}

void virtq_disable_kick(struct virtq *vq)
{
	/* With event_idx an avail_event that stays behind does the same (2.7.10.1). */
	if (!vq->event_idx)
		__atomic_store_n(&vq->used->flags, VRING_USED_F_NO_NOTIFY, __ATOMIC_RELAXED);
}

bool virtq_enable_kick(struct virtq *vq)
{
	if (vq->event_idx)
		__atomic_store_n(virtq_avail_event(vq), vq->state.next_avail, __ATOMIC_RELAXED);
	else
		__atomic_store_n(&vq->used->flags, 0, __ATOMIC_RELAXED);
	/* The store above before the load below: the driver adds chains, then looks whether to kick (2.7.10). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return virtq_pending(vq);
}
