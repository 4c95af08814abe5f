#include "tests/fuzz/guest.h"

#include <linux/virtio_config.h>

#include "tests/fuzz/trips.h"

struct guest guest;

static const struct guest_target *target;
static bool in_a_hurry; /* does not wait for the device */

/* ---- the transport ---- */

static void guest_on_interrupt(void *arg, unsigned int queue)
{
	(void)arg;
	guest.interrupts[queue]++;
}

static void guest_on_config_changed(void *arg)
{
	(void)arg;
	guest.config_changes++;
}

static void guest_on_needs_reset(void *arg)
{
	(void)arg;
	FUZZ_CHECK(guest.dev->broken);
	guest.needs_reset++;
}

static void guest_on_stopped(void *arg)
{
	(void)arg;
	guest.stopped++;
}

/* ---- memory ---- */

void *guest_at(gpa_t gpa, size_t len)
{
	void *p = guest_mem_ptr(&guest.mem, gpa, len);

	FUZZ_CHECK(p);
	return p;
}

gpa_t guest_alloc(uint32_t len)
{
	gpa_t gpa = guest.heap;

	FUZZ_CHECK(len <= GUEST_RAM - GUEST_BUFFERS);
	if (gpa + len > GUEST_RAM)
		gpa = GUEST_BUFFERS;
	guest.heap = (gpa + len + 15) & ~UINT64_C(15);
	return gpa;
}

gpa_t guest_put(const void *bytes, uint32_t len)
{
	gpa_t gpa = guest_alloc(len ? len : 1);

	memcpy(guest_at(gpa, len ? len : 1), bytes, len);
	return gpa;
}

/* The memory stays from run to run; what was in it does not. */
void guest_make_memory(void)
{
	const struct guest_mem_region regions[] = {{.base = 0, .size = GUEST_RAM},
						   {.base = GUEST_HIGH, .size = GUEST_HIGH_SIZE}};

	if (guest.mem.n_regions == 0 && guest_mem_init(&guest.mem, regions, 2) < 0)
		abort();
	memset(guest.mem.regions[0].host, 0, GUEST_RAM);
	memset(guest.mem.regions[1].host, 0, GUEST_HIGH_SIZE);
	guest.heap = GUEST_BUFFERS;
}

/* ---- the driver's life ---- */

/* No chain is used that was not taken. Runs are too short for these to come round. */
static void guest_check_queues(void)
{
	for (unsigned int i = 0; i < guest.dev->n_queues; i++) {
		const struct virtq_state *s = &guest.dev->queue[i].state;

		if (guest.dev->started && guest.dev->enabled[i])
			FUZZ_CHECK((int16_t)(s->next_avail - s->next_used) >= 0);
	}
}

static void guest_settle(void)
{
	if (in_a_hurry)
		world_step();
	else
		world_settle();
	guest_check_queues();
}

/* From the beginning up to DRIVER_OK. sizes: which powers of two the queues have. */
static void guest_start(uint64_t features, unsigned int queues, uint8_t sizes)
{
	struct virtio_device *dev = guest.dev;

	dev->negotiated = (features & dev->features) | BIT(VIRTIO_F_VERSION_1);
	for (unsigned int i = 0; i < dev->n_queues; i++) {
		uint16_t size = (uint16_t)(8u << (sizes + i) % 6);

		size = size < dev->queue_size ? size : dev->queue_size;
		virtq_driver_init(&guest.drv[i], &guest.mem, i * GUEST_RINGS, (i + 1) * GUEST_RINGS,
				  size);
		guest.next_desc[i] = 0;
		dev->enabled[i] = queues >> i & 1;
		FUZZ_CHECK(virtq_init(&dev->queue[i], &guest.mem, &guest.drv[i].config,
				      dev->negotiated) == 0);
	}
	virtio_device_start(dev);
	guest_settle();
}

static void guest_reset(void)
{
	unsigned int before = guest.stopped;

	virtio_device_stop(guest.dev);
	world_settle();
	FUZZ_CHECK(guest.stopped == before + 1);
	FUZZ_CHECK(!guest.dev->started);
}

void guest_kick(unsigned int queue)
{
	if (guest.dev->started && guest.dev->enabled[queue])
		virtio_device_kick(guest.dev, queue);
	guest_settle();
}

uint32_t guest_exchange(unsigned int queue, const struct virtq_piece *pieces, unsigned int n)
{
	struct virtq_driver *drv = &guest.drv[queue];
	uint16_t before = drv->used->idx;

	guest_send(queue, pieces, n, 0);
	guest_kick(queue);
	FUZZ_CHECK(drv->used->idx == (uint16_t)(before + 1));
	return drv->used->ring[before % drv->config.size].len;
}

/* ---- operations ---- */

static void guest_op_send(struct fuzz_input *in)
{
	struct virtq_piece pieces[GUEST_MAX_PIECES];
	uint8_t what = fuzz_u8(in);
	unsigned int queue = what % guest.dev->n_queues, n = 1 + (what >> 3) % GUEST_MAX_PIECES;
	uint8_t odd = fuzz_u8(in), turned = fuzz_u8(in);

	for (unsigned int i = 0; i < n; i++) {
		uint32_t len = guest_len(in);

		pieces[i] = (struct virtq_piece){.gpa = guest_place(in, len), .len = len};
		/* those that are turned round come last, as they do where both kinds are right */
		pieces[i].writable = (target->writable >> queue & 1) ^ (turned > 0xc0 + i);
	}
	guest_send(queue, pieces, n, odd);
}

static void guest_op_restart(struct fuzz_input *in)
{
	uint8_t which = fuzz_u8(in);
	uint64_t features = which & 1 ? fuzz_u64(in) : UINT64_MAX;
	unsigned int queues = which & 2 ? fuzz_u8(in) : UINT32_MAX;

	guest_reset();
	trips_forget();
	guest_start(features, queues, which >> 2);
}

/* Any byte of the rings: where most of what devices believe is. */
static uint8_t *guest_ring_byte(struct fuzz_input *in)
{
	uint16_t at = fuzz_u16(in);
	gpa_t gpa = at % (GUEST_RINGS * guest.dev->n_queues);

	/* the first entries are those that are looked at */
	if (at >> 13 < guest.dev->n_queues) {
		const struct virtq_config *config = &guest.drv[at >> 13].config;

		gpa = (at & 0x1000 ? config->avail : config->desc) + (at & 0x7f);
	}
	return guest_at(gpa, 1);
}

static void guest_op_trip(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in), left = fuzz_u8(in) & 0x1f, *at;

	if (how >= 0xc0) /* of what was put into memory before */
		at = guest_at(GUEST_BUFFERS + fuzz_u16(in) % 0x4000, 1);
	else
		at = guest_next_byte(how % guest.dev->n_queues, fuzz_u8(in) % 0x50);
	trips_plan(at, fuzz_u8(in), left);
}

static void guest_op_config(struct fuzz_input *in)
{
	uint8_t at = fuzz_u8(in), width = (uint8_t)(1u << (at >> 6));
	uint64_t value;

	virtio_device_config_get(guest.dev, at & 0x3f, &value, sizeof(value));
	virtio_device_config_write(guest.dev, at & 0x3f, width, width > 2 ? fuzz_u64(in) : at);
}

static void guest_op_index(struct fuzz_input *in)
{
	unsigned int queue = fuzz_u8(in) % guest.dev->n_queues;
	struct virtq_driver *drv = &guest.drv[queue];
	uint8_t what = fuzz_u8(in);

	if (what < 0x40)
		virtq_driver_set_used_event(drv, (uint16_t)(drv->used->idx + what % 8));
	else if (what < 0x80)
		virtq_driver_set_avail_flags(drv, what & 1);
	else
		virtq_driver_set_avail_idx(drv, (uint16_t)(drv->next_avail + (int8_t)fuzz_u8(in)));
}

static void guest_op(struct fuzz_input *in)
{
	uint8_t op = fuzz_u8(in), arg;

	in_a_hurry = op & 0x80;
	switch (op % 16) {
	case 0:
	case 1:
		guest_op_send(in);
		break;
	case 2:
		guest_op_send(in);
		guest_kick(guest.drv[0].next_avail % guest.dev->n_queues);
		break;
	case 3:
		arg = fuzz_u8(in);
		guest_kick(arg % guest.dev->n_queues);
		break;
	case 4:
		*guest_ring_byte(in) = fuzz_u8(in);
		break;
	case 5:
		guest_op_index(in);
		break;
	case 6:
		guest_op_restart(in);
		break;
	case 7:
		world_sleep(BIT(fuzz_u8(in) % 36));
		break;
	case 8:
		guest_op_config(in);
		break;
	case 9:
		guest_op_trip(in);
		break;
	case 10:
	case 11:
		if (target->host)
			target->host(in);
		break;
	default:
		target->request(in);
	}
	guest_settle();
}

static void guest_attach(struct virtio_device *dev)
{
	guest.dev = dev;
	FUZZ_CHECK(dev->n_queues <= GUEST_QUEUES);
	memset(guest.interrupts, 0, sizeof(guest.interrupts));
	guest.config_changes = guest.needs_reset = guest.stopped = 0;
	dev->transport = (struct virtio_transport){.interrupt = guest_on_interrupt,
						   .config_changed = guest_on_config_changed,
						   .needs_reset = guest_on_needs_reset,
						   .stopped = guest_on_stopped};
}

int guest_run(const struct guest_target *t, const uint8_t *data, size_t size)
{
	struct fuzz_input in = {.at = data, .left = size};

	target = t;
	in_a_hurry = false;
	trips_forget();
	guest_make_memory();
	world_begin(&guest.loop, t->busy);
	guest_attach(t->open(&in));
	guest_start(UINT64_MAX, UINT32_MAX, fuzz_u8(&in));
	while (fuzz_more(&in))
		guest_op(&in);
	/* The guest is over; the next one behaves. */
	in_a_hurry = false;
	trips_forget();
	guest_reset();
	world_set_random_fails(false);
	guest_make_memory();
	guest_start(UINT64_MAX, UINT32_MAX, 3);
	FUZZ_CHECK(!guest.dev->broken);
	t->check();
	FUZZ_CHECK(!guest.dev->broken);
	t->close();
	world_end();
	return 0;
}
