/*
 * A virtio device without a transport's registers: a transport that counts, a loop and rings, for tests.
 */
#pragma once

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <linux/virtio_config.h>

#include "tests/unit/evloop_settle.h"
#include "tests/unit/fake_device.h"
#include "tests/unit/virtq_driver.h"

#define RAM_SIZE UINT64_C(0x400000)

static struct guest_mem mem;
static struct evloop loop;
static struct fake_device fake;
static struct virtq_driver drv[FAKE_QUEUES];

/* A transport that counts. */
static struct {
	_Atomic unsigned int interrupts[FAKE_QUEUES], config_changes, needs_resets, stops;
	_Atomic unsigned int stops_of_device; /* when stopped() was called */
} transport;

static inline void transport_interrupt(void *arg, unsigned int queue)
{
	(void)arg;
	atomic_fetch_add(&transport.interrupts[queue], 1);
}

static inline void transport_config_changed(void *arg)
{
	(void)arg;
	atomic_fetch_add(&transport.config_changes, 1);
}

static inline void transport_needs_reset(void *arg)
{
	(void)arg;
	atomic_fetch_add(&transport.needs_resets, 1);
}

static inline void transport_stopped(void *arg)
{
	(void)arg;
	atomic_store(&transport.stops_of_device, atomic_load(&fake.stops));
	atomic_fetch_add(&transport.stops, 1);
}

static inline void setup(void)
{
	const struct guest_mem_region ram = {.base = 0, .size = RAM_SIZE};

	memset((void *)&transport, 0, sizeof(transport));
	log_set_level(LOG_LEVEL_ERROR);
	ck_assert_int_eq(guest_mem_init(&mem, &ram, 1), 0);
	ck_assert_int_eq(evloop_init(&loop), 0);
	ck_assert_int_eq(fake_device_init(&fake, &loop), 0);
	fake.on_kick = fake_device_echo;
	fake.dev.transport = (struct virtio_transport){.interrupt = transport_interrupt,
						       .config_changed = transport_config_changed,
						       .needs_reset = transport_needs_reset,
						       .stopped = transport_stopped};
	ck_assert_int_eq(evloop_start(&loop, "test"), 0);
}

static inline void teardown(void)
{
	evloop_stop(&loop);
	fake_device_fini(&fake);
	evloop_fini(&loop);
	guest_mem_fini(&mem);
}

static inline void make_queues(unsigned int enabled)
{
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		gpa_t base = 0x100000 * (i + 1);

		virtq_driver_init(&drv[i], &mem, base, base + 0x100000, 16);
		fake.dev.enabled[i] = enabled >> i & 1;
		ck_assert_int_eq(virtq_init(&fake.dev.queue[i], &mem, &drv[i].config, 0), 0);
	}
}

static inline void start(unsigned int enabled)
{
	make_queues(enabled);
	virtio_device_start(&fake.dev);
	evloop_settle(&loop);
}

static inline void stop(void)
{
	virtio_device_stop(&fake.dev);
	evloop_settle(&loop);
}

/* Queues a request of 8 bytes, without a kick. */
static inline void send(unsigned int queue)
{
	const struct virtq_piece pieces[] = {
		{virtq_driver_alloc_copy(&drv[queue], "question", 8), 8, false},
		{virtq_driver_alloc(&drv[queue], 8), 8, true}};

	virtq_driver_send(&drv[queue], pieces, 2);
}
