/*
 * Rings of any content against the walk of a virtqueue, which is compared with one that is written as the specification has
 * it (virtio 1.2, 2.7) and takes no care; but not while memory changes under its hands.
 *
 * Fuzzes: virtio/virtq.c
 */
#include <errno.h>
#include <linux/virtio_config.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/guest.h"
#include "tests/fuzz/trips.h"

static struct virtio_device dev; /* for its features and queue */
static struct virtq *const vq = &dev.queue[0];
static struct virtq_driver *const drv = &guest.drv[0];
static uint16_t taken[VIRTQ_MAX_SIZE]; /* heads that were popped and not pushed */
static unsigned int n_taken;

/* ---- as it should be ---- */

struct model {
	struct vring_desc d[2 * VIRTQ_MAX_SIZE];
	unsigned int n;
	bool ends; /* well */
};

static struct vring_desc model_load(gpa_t table, uint32_t i)
{
	struct vring_desc d;

	memcpy(&d, guest_at(table + i * sizeof(d), sizeof(d)), sizeof(d));
	return d;
}

/* All descriptors of a chain, one behind the other, up to the first that breaks the rules of chains. */
static void model_flatten(struct model *m, uint32_t i)
{
	uint32_t size = drv->config.size, table_size = size;
	gpa_t table = drv->config.desc;
	bool inside = false;

	m->n = 0;
	m->ends = false;
	while (i < table_size && m->n < size) {
		struct vring_desc d = model_load(table, i);

		if (d.flags & VRING_DESC_F_INDIRECT) {
			if (!vq->indirect || inside || (d.flags & VRING_DESC_F_NEXT) ||
			    d.len == 0 || d.len % 16 != 0 || d.len / 16 > size ||
			    !guest_mem_ptr(&guest.mem, d.addr, d.len))
				return;
			table = d.addr;
			table_size = d.len / 16;
			inside = true;
			i = 0;
			continue;
		}
		m->d[m->n++] = d;
		if (!(d.flags & VRING_DESC_F_NEXT)) {
			m->ends = true;
			return;
		}
		i = d.next;
	}
}

/* What virtq_pop() is to say of a chain, with the numbers of *chain. */
static int model_judge(const struct model *m, struct virtq_chain *chain, unsigned int max)
{
	for (unsigned int i = 0; i < m->n; i++) {
		const struct vring_desc *d = &m->d[i];
		bool writable = d->flags & VRING_DESC_F_WRITE;

		if (!writable && chain->n_writable > 0)
			return -EPROTO;
		if (d->len == 0)
			continue;
		if (!guest_mem_ptr(&guest.mem, d->addr, d->len))
			return -EPROTO;
		if (chain->n_readable + chain->n_writable == max)
			return -ENOBUFS;
		*(writable ? &chain->n_writable : &chain->n_readable) += 1;
		*(writable ? &chain->writable_bytes : &chain->readable_bytes) += d->len;
	}
	return m->ends ? 1 : -EPROTO;
}

static int model_pop(struct virtq_chain *chain, unsigned int max)
{
	static struct model model;
	uint16_t waiting = (uint16_t)(drv->avail->idx - vq->state.next_avail);

	*chain = (struct virtq_chain){0};
	if (vq->broken || waiting > drv->config.size)
		return -EPROTO;
	if (waiting == 0)
		return 0;
	chain->head = drv->avail->ring[vq->state.next_avail % drv->config.size];
	model_flatten(&model, chain->head);
	return model_judge(&model, chain, max);
}

/* ---- what must be so in any case ---- */

static size_t check_iov(const struct iovec *iov, unsigned int n)
{
	size_t bytes = 0;

	for (unsigned int i = 0; i < n; i++) {
		const uint8_t *at = iov[i].iov_base;
		bool inside = false;

		for (unsigned int j = 0; j < guest.mem.n_regions; j++) {
			const struct guest_mem_region *r = &guest.mem.regions[j];

			inside |= at >= r->host && iov[i].iov_len <= r->size &&
				  at <= r->host + (r->size - iov[i].iov_len);
		}
		FUZZ_CHECK(inside && iov[i].iov_len > 0);
		bytes += iov[i].iov_len;
	}
	return bytes;
}

static void check_chain(const struct virtq_chain *chain, const struct iovec *iov, unsigned int max)
{
	FUZZ_CHECK(chain->head < vq->size);
	FUZZ_CHECK(chain->n_readable + chain->n_writable <= (max < vq->size ? max : vq->size));
	FUZZ_CHECK(chain->readable == iov && chain->writable == iov + chain->n_readable);
	FUZZ_CHECK(check_iov(chain->readable, chain->n_readable) == chain->readable_bytes);
	FUZZ_CHECK(check_iov(chain->writable, chain->n_writable) == chain->writable_bytes);
}

static void pop(unsigned int max)
{
	struct iovec *iov = malloc((max ? max : 1) * sizeof(*iov)); /* no more than was said */
	struct virtq_chain chain, model;
	bool quiet = !trips_pending();
	int want = model_pop(&model, max), got;

	if (!iov)
		abort();
	got = virtq_pop(vq, &chain, iov, max);
	FUZZ_CHECK(got == 1 || got == 0 || got == -ENOBUFS || got == -EPROTO);
	FUZZ_CHECK(vq->broken == (got == -EPROTO));
	if (got == 1)
		check_chain(&chain, iov, max);
	if (quiet)
		FUZZ_CHECK(got == want);
	if (quiet && got == 1)
		FUZZ_CHECK(chain.head == model.head && chain.n_readable == model.n_readable &&
			   chain.n_writable == model.n_writable &&
			   chain.readable_bytes == model.readable_bytes &&
			   chain.writable_bytes == model.writable_bytes);
	if (got == 1 && n_taken < VIRTQ_MAX_SIZE)
		taken[n_taken++] = chain.head;
	free(iov);
}

/* ---- operations ---- */

/* Any configuration; most often a good one of any size. */
static void make_queue(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	struct virtq_config config;

	guest_make_memory();
	trips_forget();
	dev.negotiated = how & 8 ? BIT(VIRTIO_RING_F_EVENT_IDX) : 0;
	if (!(how & 0x10))
		dev.negotiated |= BIT(VIRTIO_RING_F_INDIRECT_DESC);
	virtq_driver_init(drv, &guest.mem, 0, GUEST_BUFFERS, (uint16_t)(4u << how % 8));
	guest.next_desc[0] = 0;
	n_taken = 0;
	config = drv->config;
	if (how >= 0xe0) {
		config.size = fuzz_u16(in);
		config.desc += fuzz_u8(in) & 0x8f;
		config.avail ^= fuzz_u32(in);
		config.used ^= fuzz_u8(in);
	}
	if (virtq_init(vq, &guest.mem, &config, dev.negotiated) == 0 && how < 0xe0)
		return;
	FUZZ_CHECK(how >= 0xe0);
	FUZZ_CHECK(virtq_init(vq, &guest.mem, &drv->config, dev.negotiated) == 0);
}

static void send(struct fuzz_input *in)
{
	struct virtq_piece pieces[GUEST_MAX_PIECES];
	uint8_t what = fuzz_u8(in), odd = fuzz_u8(in);
	unsigned int n = 1 + what % GUEST_MAX_PIECES, first_writable = what >> 4;

	for (unsigned int i = 0; i < n; i++) {
		uint32_t len = guest_len(in);

		pieces[i] = (struct virtq_piece){guest_place(in, len), len, i >= first_writable};
	}
	guest_send(0, pieces, n, odd);
}

static void give_back(uint8_t how)
{
	if (n_taken > 0 && (how & 1)) {
		virtq_push(vq, taken[--n_taken], how);
	} else if (n_taken > 0) {
		virtq_unpop(vq, 1);
		n_taken--;
	}
	if (how & 2)
		virtq_publish(vq);
}

static void enable_kick(void)
{
	bool quiet = !trips_pending(), more = virtq_enable_kick(vq);

	if (quiet)
		FUZZ_CHECK(more == virtq_pending(vq));
}

static uint8_t *ring_byte(struct fuzz_input *in)
{
	uint16_t at = fuzz_u16(in);

	if (at & 0x8000)
		return guest_at(drv->config.avail + at % 0x40, 1);
	return guest_at(at & 0x4000 ? GUEST_BUFFERS + at % 0x1000 : at % 0x400, 1);
}

static void op(struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in), left;

	switch (what % 8) {
	case 0:
	case 1:
		send(in);
		break;
	case 2:
	case 3:
		pop(what & 0x80 ? (what >> 3 & 0xf) : VIRTQ_MAX_SIZE);
		break;
	case 4:
		give_back(what >> 3);
		break;
	case 5:
		*ring_byte(in) = fuzz_u8(in);
		break;
	case 6:
		left = fuzz_u8(in);
		trips_plan(guest_next_byte(0, fuzz_u8(in) % 0x50), fuzz_u8(in), left & 0x1f);
		break;
	default:
		if (what & 0x80)
			virtq_resume(vq, drv->avail->idx);
		else if (what & 0x40)
			virtq_disable_kick(vq);
		else if (what & 0x20)
			enable_kick();
		else
			virtq_driver_set_avail_idx(
				drv, (uint16_t)(drv->next_avail + (int8_t)fuzz_u8(in)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {.at = data, .left = size};

	guest.dev = &dev;
	dev.n_queues = 1;
	make_queue(&in);
	while (fuzz_more(&in))
		op(&in);
	return 0;
}
