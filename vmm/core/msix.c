#include "vmm/core/msix.h"

#include <string.h>

#include "vmm/core/assert.h"
#include "vmm/core/bus.h"

#define MSIX_CONTROL_MASKED 1u

/* DEAF: the vector is masked, or the whole function is, or the route could not be made. */
#define MSIX_STATE_DEAF	   1u
#define MSIX_STATE_PENDING 2u

void msix_init(struct msix *msix, unsigned int n_vectors, const struct msix_ops *ops)
{
	assert(n_vectors > 0 && n_vectors <= MSIX_MAX_VECTORS);
	memset(msix, 0, sizeof(*msix));
	msix->n_vectors = n_vectors;
	msix->ops = *ops;
	pthread_mutex_init(&msix->lock, NULL);
	for (unsigned int i = 0; i < n_vectors; i++) {
		msix->table[i].control = MSIX_CONTROL_MASKED; /* 6.8.2.9: state after reset */
		atomic_init(&msix->state[i], MSIX_STATE_DEAF);
	}
}

void msix_set_watch(struct msix *msix, const struct msix_watch *watch)
{
	msix->watch = *watch;
}

/* Brings state[vector] in line with the registers. Called under the lock. */
static void msix_update_state(struct msix *msix, unsigned int vector)
{
	struct msix_entry *e = &msix->table[vector];
	bool deaf = !msix->enabled || msix->all_masked || (e->control & MSIX_CONTROL_MASKED);
	uint32_t old;

	if (deaf || msix->ops.route(msix->ops.arg, vector, e->address, e->data) < 0) {
		atomic_fetch_or(&msix->state[vector], MSIX_STATE_DEAF);
		return;
	}
	/* release: the route is there before a thread in msix_raise() sees the vector awake (acquire) */
	old = atomic_exchange(&msix->state[vector], 0);
	if (old & MSIX_STATE_PENDING)
		msix->ops.signal(msix->ops.arg, vector);
}

static void msix_update(struct msix *msix, unsigned int vector)
{
	msix_update_state(msix, vector);
	if (msix->watch.moved)
		msix->watch.moved(msix->watch.arg, vector);
}

int msix_fd(struct msix *msix, unsigned int vector)
{
	if (vector >= msix->n_vectors || !msix->ops.fd)
		return -1;
	/*
	 * As in msix_raise(). And who changes a queue's vector stores that and then loads this, while msix_update_state() stores this
	 * and who watches then loads the vector: one of both sees what the other did.
	 */
	if (atomic_load(&msix->state[vector]) & MSIX_STATE_DEAF)
		return -1;
	return msix->ops.fd(msix->ops.arg, vector);
}

void msix_raise(struct msix *msix, unsigned int vector)
{
	uint32_t old;

	if (vector >= msix->n_vectors)
		return;
	/* acquire: pairs with the release in msix_update_state() */
	old = atomic_load_explicit(&msix->state[vector], memory_order_acquire);
	while (old & MSIX_STATE_DEAF) {
		if (atomic_compare_exchange_weak_explicit(
			    &msix->state[vector], &old, old | MSIX_STATE_PENDING,
			    memory_order_acq_rel, memory_order_acquire))
			return;
	}
	msix->ops.signal(msix->ops.arg, vector);
}

/* The aligned 32-bit words of an entry (6.8.2.6 to 6.8.2.9). */
static uint32_t msix_load_word(const struct msix_entry *e, unsigned int word)
{
	switch (word) {
	case 0:
		return (uint32_t)e->address;
	case 1:
		return (uint32_t)(e->address >> 32);
	case 2:
		return e->data;
	default:
		return e->control;
	}
}

static void msix_store_word(struct msix_entry *e, unsigned int word, uint32_t value)
{
	switch (word) {
	case 0:
		e->address = (e->address & ~UINT64_C(0xffffffff)) | (value & ~3u);
		break;
	case 1:
		e->address = (e->address & 0xffffffff) | (uint64_t)value << 32;
		break;
	case 2:
		e->data = value;
		break;
	default:
		e->control = value & MSIX_CONTROL_MASKED;
	}
}

/* 6.8.2: software uses aligned accesses of 4 or 8 bytes; nothing else is defined. */
static bool msix_access_valid(const struct msix *msix, uint64_t offset, unsigned int width)
{
	return (width == 4 || width == 8) && offset % width == 0 &&
	       offset / MSIX_ENTRY_SIZE < msix->n_vectors;
}

uint64_t msix_table_read(struct msix *msix, uint64_t offset, unsigned int width)
{
	unsigned int word = (offset % MSIX_ENTRY_SIZE) / 4;
	const struct msix_entry *e;
	uint64_t value;

	if (!msix_access_valid(msix, offset, width))
		return bus_ones(width);
	e = &msix->table[offset / MSIX_ENTRY_SIZE];
	pthread_mutex_lock(&msix->lock);
	value = msix_load_word(e, word);
	if (width == 8)
		value |= (uint64_t)msix_load_word(e, word + 1) << 32;
	pthread_mutex_unlock(&msix->lock);
	return value;
}

void msix_table_write(struct msix *msix, uint64_t offset, unsigned int width, uint64_t value)
{
	unsigned int vector = (unsigned int)(offset / MSIX_ENTRY_SIZE);
	unsigned int word = (offset % MSIX_ENTRY_SIZE) / 4;
	struct msix_entry before;

	if (!msix_access_valid(msix, offset, width))
		return;
	pthread_mutex_lock(&msix->lock);
	before = msix->table[vector];
	msix_store_word(&msix->table[vector], word, (uint32_t)value);
	if (width == 8)
		msix_store_word(&msix->table[vector], word + 1, (uint32_t)(value >> 32));
	if (memcmp(&before, &msix->table[vector], sizeof(before)) != 0)
		msix_update(msix, vector);
	pthread_mutex_unlock(&msix->lock);
}

uint64_t msix_pba_read(struct msix *msix, uint64_t offset, unsigned int width)
{
	uint64_t bits = 0;

	for (unsigned int i = 0; i < msix->n_vectors; i++) {
		uint32_t state = atomic_load_explicit(&msix->state[i], memory_order_relaxed);

		if (state & MSIX_STATE_PENDING)
			bits |= UINT64_C(1) << i;
	}
	return offset < 8 ? (bits >> (8 * offset)) & bus_ones(width) : 0;
}

void msix_set_control(struct msix *msix, bool enabled, bool all_masked)
{
	pthread_mutex_lock(&msix->lock);
	if (msix->enabled != enabled || msix->all_masked != all_masked) {
		msix->enabled = enabled;
		msix->all_masked = all_masked;
		for (unsigned int i = 0; i < msix->n_vectors; i++)
			msix_update(msix, i);
	}
	pthread_mutex_unlock(&msix->lock);
}

void msix_fini(struct msix *msix)
{
	pthread_mutex_destroy(&msix->lock);
}
