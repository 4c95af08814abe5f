#include "tests/unit/virtq_driver.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

static uint16_t load16(const uint16_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void store16(uint16_t *p, uint16_t value)
{
	__atomic_store_n(p, value, __ATOMIC_RELEASE);
}

static gpa_t align_up(gpa_t gpa, gpa_t to)
{
	return (gpa + to - 1) / to * to;
}

static void *ring_ptr(struct virtq_driver *drv, gpa_t gpa, size_t len)
{
	void *p = guest_mem_ptr(drv->mem, gpa, len);

	assert(p);
	memset(p, 0, len);
	return p;
}

void virtq_driver_init(struct virtq_driver *drv, const struct guest_mem *mem, gpa_t base, gpa_t end,
		       uint16_t size)
{
	size_t desc_len = size * sizeof(struct vring_desc);
	size_t avail_len = sizeof(struct vring_avail) + (size + 1u) * sizeof(uint16_t);
	size_t used_len = sizeof(struct vring_used) + size * sizeof(struct vring_used_elem) +
			  sizeof(uint16_t);
	gpa_t avail;
	gpa_t used;

	assert(size > 0 && size <= VIRTQ_MAX_SIZE);
	base = align_up(base, 16);
	avail = base + desc_len;
	used = align_up(avail + avail_len, 4);
	memset(drv, 0, sizeof(*drv));
	drv->mem = mem;
	drv->config = (struct virtq_config){size, true, base, avail, used};
	drv->desc = ring_ptr(drv, base, desc_len);
	drv->avail = ring_ptr(drv, avail, avail_len);
	drv->used = ring_ptr(drv, used, used_len);
	drv->heap = align_up(used + used_len, 16);
	drv->end = end;
	assert(drv->heap <= end);
	for (uint16_t i = 0; i < size; i++)
		drv->free[drv->n_free++] = size - 1 - i;
}

gpa_t virtq_driver_alloc(struct virtq_driver *drv, uint32_t len)
{
	gpa_t gpa = drv->heap;

	drv->heap = align_up(gpa + len, 16);
	assert(drv->heap <= drv->end);
	return gpa;
}

gpa_t virtq_driver_alloc_copy(struct virtq_driver *drv, const void *src, uint32_t len)
{
	gpa_t gpa = virtq_driver_alloc(drv, len);
	int ret = guest_mem_write(drv->mem, gpa, src, len);

	assert(ret == 0);
	(void)ret;
	return gpa;
}

unsigned int virtq_driver_cut(struct virtq_piece *pieces, unsigned int max, gpa_t gpa, uint32_t len,
			      bool writable, uint32_t cut)
{
	unsigned int n = 0;

	do {
		uint32_t take = cut && cut < len ? cut : len;

		assert(n < max);
		pieces[n++] = (struct virtq_piece){gpa, take, writable};
		gpa += take;
		len -= take;
	} while (len > 0);
	return n;
}

static struct vring_desc make_desc(const struct virtq_piece *piece, bool last, uint16_t next)
{
	uint16_t flags = (piece->writable ? VRING_DESC_F_WRITE : 0) |
			 (last ? 0 : VRING_DESC_F_NEXT);

	return (struct vring_desc){piece->gpa, piece->len, flags, last ? 0 : next};
}

uint16_t virtq_driver_chain(struct virtq_driver *drv, const struct virtq_piece *pieces,
			    unsigned int n)
{
	uint16_t head;

	assert(n > 0 && n <= drv->n_free);
	head = drv->free[drv->n_free - 1];
	for (unsigned int i = 0; i < n; i++) {
		uint16_t index = drv->free[--drv->n_free];
		bool last = i == n - 1;

		drv->chain[index] = last ? 0 : drv->free[drv->n_free - 1];
		drv->desc[index] = make_desc(&pieces[i], last, drv->chain[index]);
	}
	drv->chain_len[head] = (uint16_t)n;
	return head;
}

uint16_t virtq_driver_chain_indirect(struct virtq_driver *drv, const struct virtq_piece *pieces,
				     unsigned int n)
{
	uint32_t table_len = n * (uint32_t)sizeof(struct vring_desc);
	gpa_t table = virtq_driver_alloc(drv, table_len);
	struct virtq_piece piece = {table, table_len, false};
	uint16_t head;

	for (unsigned int i = 0; i < n; i++) {
		struct vring_desc desc = make_desc(&pieces[i], i == n - 1, (uint16_t)(i + 1));
		int ret = guest_mem_write(drv->mem, table + i * sizeof(desc), &desc, sizeof(desc));

		assert(ret == 0);
		(void)ret;
	}
	head = virtq_driver_chain(drv, &piece, 1);
	drv->desc[head].flags = VRING_DESC_F_INDIRECT;
	return head;
}

void virtq_driver_set_desc(struct virtq_driver *drv, uint16_t i, gpa_t gpa, uint32_t len,
			   uint16_t flags, uint16_t next)
{
	assert(i < drv->config.size);
	drv->desc[i] = (struct vring_desc){gpa, len, flags, next};
}

void virtq_driver_put(struct virtq_driver *drv, uint16_t head)
{
	drv->avail->ring[drv->next_avail++ % drv->config.size] = head;
}

void virtq_driver_publish(struct virtq_driver *drv)
{
	store16(&drv->avail->idx, drv->next_avail);
}

uint16_t virtq_driver_send(struct virtq_driver *drv, const struct virtq_piece *pieces,
			   unsigned int n)
{
	uint16_t head = virtq_driver_chain(drv, pieces, n);

	virtq_driver_put(drv, head);
	virtq_driver_publish(drv);
	return head;
}

void virtq_driver_set_avail_idx(struct virtq_driver *drv, uint16_t idx)
{
	drv->next_avail = idx;
	virtq_driver_publish(drv);
}

static void free_chain(struct virtq_driver *drv, uint16_t head)
{
	uint16_t n = drv->chain_len[head];
	uint16_t chain[VIRTQ_MAX_SIZE];
	uint16_t index = head;

	drv->chain_len[head] = 0;
	for (uint16_t i = 0; i < n; i++) {
		chain[i] = index;
		index = drv->chain[index];
	}
	while (n > 0) /* the head ends on top, so that the chain is cut the same way again */
		drv->free[drv->n_free++] = chain[--n];
}

bool virtq_driver_used(struct virtq_driver *drv, uint32_t *head, uint32_t *len)
{
	struct vring_used_elem elem;

	if (virtq_driver_n_used(drv) == 0)
		return false;
	elem = drv->used->ring[drv->next_used++ % drv->config.size];
	assert(elem.id < drv->config.size);
	free_chain(drv, (uint16_t)elem.id);
	if (head)
		*head = elem.id;
	if (len)
		*len = elem.len;
	return true;
}

uint16_t virtq_driver_n_used(const struct virtq_driver *drv)
{
	return (uint16_t)(load16(&drv->used->idx) - drv->next_used);
}

void virtq_driver_set_avail_flags(struct virtq_driver *drv, uint16_t flags)
{
	store16(&drv->avail->flags, flags);
	/* What comes after is a look at the used ring; pairs with the fence in virtq_publish() */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void virtq_driver_set_used_event(struct virtq_driver *drv, uint16_t idx)
{
	store16(&drv->avail->ring[drv->config.size], idx);
	/* As above. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

uint16_t virtq_driver_used_flags(const struct virtq_driver *drv)
{
	return load16(&drv->used->flags);
}

uint16_t virtq_driver_avail_event(const struct virtq_driver *drv)
{
	const struct vring_used_elem *end = &drv->used->ring[drv->config.size];

	return load16((const uint16_t *)(const void *)end);
}

bool virtq_driver_needs_kick(struct virtq_driver *drv, bool event_idx)
{
	uint16_t before = drv->kicked;

	drv->kicked = drv->next_avail;
	/* avail->idx was stored above; pairs with the fence in virtq_enable_kick() */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (event_idx)
		return vring_need_event(virtq_driver_avail_event(drv), drv->next_avail, before);
	return !(virtq_driver_used_flags(drv) & VRING_USED_F_NO_NOTIFY);
}
