/*
 * One virtio device of any kind behind a fake transport, with a hand-driven ring for each queue, for tests.
 *
 * A test calls the device's operations itself (its loop does not run), or runs the loop and talks to the device from
 * outside. The device is made and finished by the test.
 */
#pragma once

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/virtio_config.h>

#include "tests/unit/evloop_settle.h"
#include "tests/unit/virtq_driver.h"
#include "virtio/virtio.h"

#define DEV_QUEUES   5
#define DEV_RAM_SIZE UINT64_C(0x4000000)
#define DEV_RINGS    UINT64_C(0x100000)	 /* of each queue and its heap, from address 0 on */
#define DEV_BUFFERS  UINT64_C(0x1000000) /* from here on the test places what it likes */

#define BIT(n) (UINT64_C(1) << (n))

struct device_fixture {
	struct guest_mem mem;
	struct evloop loop;
	struct virtio_device *dev;
	struct virtq_driver drv[DEV_QUEUES];
	_Atomic unsigned int interrupts[DEV_QUEUES];
	_Atomic unsigned int config_changes, needs_reset, stopped;
	bool runs;
};

static struct device_fixture fix;
static _Atomic unsigned int n_lines;

static inline void device_sink(void *arg, int level, const char *text)
{
	(void)arg;
	(void)level;
	(void)text;
	n_lines++;
}

static inline void device_on_interrupt(void *arg, unsigned int queue)
{
	(void)arg;
	fix.interrupts[queue]++;
}

static inline void device_on_config_changed(void *arg)
{
	(void)arg;
	fix.config_changes++;
}

static inline void device_on_needs_reset(void *arg)
{
	(void)arg;
	fix.needs_reset++;
}

static inline void device_on_stopped(void *arg)
{
	(void)arg;
	fix.stopped++;
}

/* Before the device is made. */
static inline void device_prepare(void)
{
	const struct guest_mem_region region = {.base = 0, .size = DEV_RAM_SIZE};

	memset((void *)&fix, 0, sizeof(fix));
	ck_assert_int_eq(guest_mem_init(&fix.mem, &region, 1), 0);
	ck_assert_int_eq(evloop_init(&fix.loop), 0);
	log_set_sink(device_sink, NULL);
	n_lines = 0;
}

/* After it is made. */
static inline void device_attach(struct virtio_device *dev)
{
	fix.dev = dev;
	dev->transport = (struct virtio_transport){.interrupt = device_on_interrupt,
						   .config_changed = device_on_config_changed,
						   .needs_reset = device_on_needs_reset,
						   .stopped = device_on_stopped};
}

static inline void device_run_loop(void)
{
	ck_assert_int_eq(evloop_start(&fix.loop, "test"), 0);
	fix.runs = true;
}

/* What a driver and its transport do up to DRIVER_OK; queues is a set of bits. */
static inline void device_begin(uint64_t features, unsigned int queues)
{
	ck_assert_uint_eq(features & ~fix.dev->features, 0);
	fix.dev->negotiated = features | BIT(VIRTIO_F_VERSION_1);
	for (unsigned int i = 0; i < fix.dev->n_queues; i++) {
		fix.dev->enabled[i] = queues & 1u << i;
		virtq_driver_init(&fix.drv[i], &fix.mem, i * DEV_RINGS, (i + 1) * DEV_RINGS,
				  fix.dev->queue_size);
		ck_assert_int_eq(virtq_init(&fix.dev->queue[i], &fix.mem, &fix.drv[i].config,
					    fix.dev->negotiated),
				 0);
	}
	virtio_device_start(fix.dev);
	if (fix.runs) {
		evloop_settle(&fix.loop);
	} else { /* nobody runs the posted task */
		fix.loop.tasks_head = fix.loop.tasks_tail = NULL;
		fix.dev->start_task.queued = false;
		fix.dev->started = true;
		fix.dev->broken = false;
		fix.dev->ops->start(fix.dev);
	}
}

static inline void device_kick(unsigned int queue)
{
	if (fix.runs) {
		virtio_device_rekick(fix.dev, queue);
		evloop_settle(&fix.loop);
	} else if (!fix.dev->broken) {
		fix.dev->ops->kick(fix.dev, queue);
	}
}

/* For loops that do not run: takes the kick that the device gave itself. */
static inline bool device_rekicked(unsigned int queue)
{
	struct pollfd p = {.fd = fix.dev->kick_fd[queue], .events = POLLIN};
	uint64_t count;

	return poll(&p, 1, 0) == 1 && read(p.fd, &count, sizeof(count)) == sizeof(count);
}

static inline void device_reset(void)
{
	if (fix.runs) {
		unsigned int before = fix.stopped;

		virtio_device_stop(fix.dev);
		while (fix.stopped == before)
			usleep(50);
	} else {
		fix.dev->ops->stop(fix.dev);
		fix.dev->started = false;
	}
}

/* Before the device is finished. */
static inline void device_detach(void)
{
	evloop_stop(&fix.loop);
}

static inline void device_finish(void)
{
	evloop_fini(&fix.loop);
	guest_mem_fini(&fix.mem);
	log_set_sink(NULL, NULL);
}

/* The next used entry of a queue, which must be there. Returns its length. */
static inline uint32_t device_reap(unsigned int queue)
{
	uint32_t len;

	ck_assert(virtq_driver_used(&fix.drv[queue], NULL, &len));
	return len;
}

static inline uint8_t *device_at(gpa_t gpa, size_t len)
{
	uint8_t *p = guest_mem_ptr(&fix.mem, gpa, len);

	ck_assert_ptr_nonnull(p);
	return p;
}

/* The ways to break a ring that every device must survive. */
enum device_fault {
	FAULT_OUTSIDE,	  /* a buffer outside of memory */
	FAULT_WRAPS,	  /* one that wraps around */
	FAULT_LOOP,	  /* a chain without end */
	FAULT_BAD_HEAD,	  /* a head that is no descriptor */
	FAULT_BAD_NEXT,	  /* a link to none */
	FAULT_BAD_INDEX,  /* more chains than the ring holds */
	FAULT_INDIRECT,	  /* a table that was not negotiated */
	FAULT_MISORDERED, /* readable behind writable */
	FAULT_EMPTY,	  /* a buffer of no bytes */
	DEVICE_FAULTS,
};

static inline void device_put_fault(unsigned int queue, enum device_fault fault, bool writable)
{
	struct virtq_driver *drv = &fix.drv[queue];
	uint16_t flags = writable ? VRING_DESC_F_WRITE : 0;

	switch (fault) {
	case FAULT_OUTSIDE:
		virtq_driver_set_desc(drv, 0, DEV_RAM_SIZE - 8, 16, flags, 0);
		break;
	case FAULT_WRAPS:
		virtq_driver_set_desc(drv, 0, UINT64_MAX - 10, 64, flags, 0);
		break;
	case FAULT_LOOP:
		virtq_driver_set_desc(drv, 0, DEV_BUFFERS, 16, flags | VRING_DESC_F_NEXT, 0);
		break;
	case FAULT_BAD_NEXT:
		virtq_driver_set_desc(drv, 0, DEV_BUFFERS, 16, flags | VRING_DESC_F_NEXT,
				      drv->config.size);
		break;
	case FAULT_INDIRECT:
		virtq_driver_set_desc(drv, 0, DEV_BUFFERS, 16, VRING_DESC_F_INDIRECT, 0);
		break;
	case FAULT_MISORDERED:
		virtq_driver_set_desc(drv, 0, DEV_BUFFERS, 16,
				      VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
		virtq_driver_set_desc(drv, 1, DEV_BUFFERS, 16, 0, 0);
		break;
	case FAULT_EMPTY:
		virtq_driver_set_desc(drv, 0, DEV_BUFFERS, 0, flags, 0);
		break;
	default:
		break;
	}
	virtq_driver_put(drv, fault == FAULT_BAD_HEAD ? drv->config.size : 0);
	virtq_driver_publish(drv);
	if (fault == FAULT_BAD_INDEX)
		virtq_driver_set_avail_idx(drv, (uint16_t)(drv->config.size + 5));
}

/* The device has broken with the last kick, rests, and lets itself be reset; the caller begins anew. */
static inline void device_expect_broken(unsigned int queue)
{
	ck_assert_uint_eq(fix.needs_reset, 1);
	ck_assert(fix.dev->broken);
	ck_assert_uint_eq(n_lines, 1);
	device_kick(queue);
	ck_assert_uint_eq(fix.needs_reset, 1);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[queue]), 0);
	device_reset();
}

static inline int device_run(Suite *s)
{
	SRunner *runner = srunner_create(s);
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
