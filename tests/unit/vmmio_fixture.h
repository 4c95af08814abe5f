/*
 * A virtio-mmio device behind a fake host, with a driver that talks to its registers, for tests.
 */
#pragma once

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include "tests/unit/evloop_settle.h"
#include "tests/unit/fake_device.h"
#include "tests/unit/virtq_driver.h"
#include "virtio/virtio_mmio.h"

#define RAM_SIZE UINT64_C(0x400000)
#define BASE	 UINT64_C(0xd0003000)

#define VERSION_1 (UINT64_C(1) << VIRTIO_F_VERSION_1)
#define OFFERED                                                                                    \
	(FAKE_FEATURES | VERSION_1 | UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX |                      \
	 UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC)

#define S_ACK	      VIRTIO_CONFIG_S_ACKNOWLEDGE
#define S_DRIVER      (S_ACK | VIRTIO_CONFIG_S_DRIVER)
#define S_FEATURES_OK (S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)
#define S_DRIVER_OK   (S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)

static struct guest_mem mem;
static struct evloop loop;
static struct fake_device fake;
static struct virtio_mmio vmmio;
static struct virtq_driver drv[FAKE_QUEUES];
static int bound[FAKE_QUEUES]; /* eventfds; -1: none */
static int bind_error;
static unsigned int bad_unbinds;
static _Atomic bool line;
static _Atomic unsigned int edges;

/* ---- the host ---- */

static inline int host_bind(void *arg, uint64_t gpa, unsigned int queue, int fd)
{
	(void)arg;
	ck_assert_uint_eq(gpa, BASE + 0x50);
	ck_assert_uint_lt(queue, FAKE_QUEUES);
	if (bind_error)
		return bind_error;
	ck_assert_int_eq(bound[queue], -1);
	bound[queue] = fd;
	return 0;
}

static inline void host_unbind(void *arg, uint64_t gpa, unsigned int queue, int fd)
{
	(void)arg;
	if (gpa != BASE + 0x50 || bound[queue] != fd)
		bad_unbinds++;
	bound[queue] = -1;
}

static inline void host_raise(void *arg)
{
	(void)arg;
	if (!atomic_exchange(&line, true))
		atomic_fetch_add(&edges, 1);
}

static inline void host_lower(void *arg)
{
	(void)arg;
	atomic_store(&line, false);
}

static inline unsigned int n_bound(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		n += bound[i] >= 0;
	return n;
}

/* ---- the driver ---- */

static inline uint32_t get(uint64_t reg)
{
	return (uint32_t)virtio_mmio_read(&vmmio, reg, 4);
}

static inline void set(uint64_t reg, uint32_t value)
{
	virtio_mmio_write(&vmmio, reg, 4, value);
}

static inline void set_features(uint64_t features)
{
	for (unsigned int i = 0; i < 2; i++) {
		set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		set(VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32 * i));
	}
}

static inline void place_queue(unsigned int queue)
{
	gpa_t base = 0x100000 * (gpa_t)(queue + 1);
	const struct virtq_config *c = &drv[queue].config;

	virtq_driver_init(&drv[queue], &mem, base, base + 0x100000, 16);
	set(VIRTIO_MMIO_QUEUE_SEL, queue);
	set(VIRTIO_MMIO_QUEUE_NUM, 16);
	set(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)c->desc);
	set(VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(c->desc >> 32));
	set(VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)c->avail);
	set(VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(c->avail >> 32));
	set(VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)c->used);
	set(VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(c->used >> 32));
}

/* Everything up to DRIVER_OK, without it. */
static inline void prepare(void)
{
	set(VIRTIO_MMIO_STATUS, 0);
	set(VIRTIO_MMIO_STATUS, S_ACK);
	set(VIRTIO_MMIO_STATUS, S_DRIVER);
	set_features(VERSION_1);
	set(VIRTIO_MMIO_STATUS, S_FEATURES_OK);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		place_queue(i);
		set(VIRTIO_MMIO_QUEUE_READY, 1);
	}
}

static inline void go(void)
{
	prepare();
	set(VIRTIO_MMIO_STATUS, S_DRIVER_OK);
	evloop_settle(&loop);
}

static inline void send_request(unsigned int queue)
{
	struct virtq_driver *d = &drv[queue];
	const struct virtq_piece pieces[] = {{virtq_driver_alloc_copy(d, "question", 8), 8, false},
					     {virtq_driver_alloc(d, 8), 8, true}};

	virtq_driver_send(d, pieces, 2);
}

/* The write, which KVM turns into a signal where an eventfd is bound to its value. */
static inline void kick(unsigned int queue)
{
	uint64_t one = 1;

	if (bound[queue] < 0)
		set(VIRTIO_MMIO_QUEUE_NOTIFY, queue);
	else
		ck_assert_int_eq(write(bound[queue], &one, sizeof(one)), sizeof(one));
	evloop_settle(&loop);
}

/* ---- life ---- */

static inline void setup(void)
{
	const struct guest_mem_region ram = {.base = 0, .size = RAM_SIZE};
	const struct virtio_mmio_host host = {.base = BASE,
					      .bind_kick = host_bind,
					      .unbind_kick = host_unbind,
					      .irq = {.raise = host_raise, .lower = host_lower}};

	log_set_level(LOG_LEVEL_ERROR);
	bind_error = 0;
	bad_unbinds = 0;
	atomic_store(&line, false);
	atomic_store(&edges, 0);
	memset(bound, -1, sizeof(bound));
	ck_assert_int_eq(guest_mem_init(&mem, &ram, 1), 0);
	ck_assert_int_eq(evloop_init(&loop), 0);
	ck_assert_int_eq(fake_device_init(&fake, &loop), 0);
	fake.on_kick = fake_device_echo;
	virtio_mmio_init(&vmmio, &fake.dev, &mem, &host);
	ck_assert_int_eq(evloop_start(&loop, "test"), 0);
}

static inline void teardown(void)
{
	evloop_stop(&loop);
	virtio_mmio_fini(&vmmio);
	ck_assert_uint_eq(bad_unbinds, 0);
	fake_device_fini(&fake);
	evloop_fini(&loop);
	guest_mem_fini(&mem);
}
