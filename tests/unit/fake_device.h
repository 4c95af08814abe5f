/*
 * A virtio device for tests of transports: it counts what it is asked to do, and answers every request with the bytes
 * that the request carried.
 *
 * Owner: the test. The counters may be read by any thread; the hooks are set before the device starts and are called
 * on its loop's thread.
 */
#pragma once

#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>

#include "virtio/virtio.h"
#include "vmm/core/iov.h"

#define FAKE_QUEUES	3
#define FAKE_QUEUE_SIZE 256
#define FAKE_ID		33 /* none of Linux's */
#define FAKE_CONFIG	"twenty-one bytes long"
#define FAKE_CONFIG_LEN 21
#define FAKE_FEATURES	(UINT64_C(1) << 5 | UINT64_C(1) << 41)

struct fake_device {
	struct virtio_device dev;
	/* any thread */
	_Atomic unsigned int starts, stops;
	_Atomic unsigned int kicks[FAKE_QUEUES];
	_Atomic uint64_t negotiated; /* as of the last start */
	_Atomic unsigned int moves[FAKE_QUEUES], quiesces[FAKE_QUEUES];
	/* set by the test */
	void (*on_start)(struct fake_device *fake);
	void (*on_kick)(struct fake_device *fake, unsigned int queue);
	unsigned int delegated;		    /* bit i: queue i is given away */
	_Atomic bool hold_start, hold_stop; /* the next one waits for release */
	sem_t release;
};

static inline struct fake_device *fake_device_of(struct virtio_device *dev)
{
	return (struct fake_device *)((char *)dev - offsetof(struct fake_device, dev));
}

static inline void fake_device_start(struct virtio_device *dev)
{
	struct fake_device *fake = fake_device_of(dev);

	atomic_store(&fake->negotiated, dev->negotiated);
	atomic_fetch_add(&fake->starts, 1);
	if (atomic_exchange(&fake->hold_start, false))
		sem_wait(&fake->release);
	if (fake->on_start)
		fake->on_start(fake);
}

static inline void fake_device_kick(struct virtio_device *dev, unsigned int queue)
{
	struct fake_device *fake = fake_device_of(dev);

	atomic_fetch_add(&fake->kicks[queue], 1);
	if (fake->on_kick)
		fake->on_kick(fake, queue);
}

static inline bool fake_device_kick_inline(struct virtio_device *dev, unsigned int queue)
{
	fake_device_kick(dev, queue);
	return true;
}

static inline bool fake_device_delegate(struct virtio_device *dev, unsigned int queue)
{
	return fake_device_of(dev)->delegated >> queue & 1;
}

static inline void fake_device_interrupt_moved(struct virtio_device *dev, unsigned int queue)
{
	atomic_fetch_add(&fake_device_of(dev)->moves[queue], 1);
}

static inline void fake_device_quiesce(struct virtio_device *dev, unsigned int queue)
{
	atomic_fetch_add(&fake_device_of(dev)->quiesces[queue], 1);
	virtio_device_quiesced(dev);
}

static inline void fake_device_stop(struct virtio_device *dev)
{
	struct fake_device *fake = fake_device_of(dev);

	atomic_fetch_add(&fake->stops, 1);
	if (atomic_exchange(&fake->hold_stop, false))
		sem_wait(&fake->release);
}

/* For on_kick: serves the queue until it is empty, or breaks the device when the ring is. */
static inline void fake_device_echo(struct fake_device *fake, unsigned int queue)
{
	struct virtq *vq = &fake->dev.queue[queue];
	struct iovec iov[FAKE_QUEUE_SIZE];
	struct iov_cursor to;
	struct virtq_chain chain;
	int n;

	while ((n = virtq_pop(vq, &chain, iov, FAKE_QUEUE_SIZE)) > 0) {
		size_t done = 0;

		iov_cursor_init(&to, chain.writable, chain.n_writable);
		for (unsigned int i = 0; i < chain.n_readable; i++)
			done += iov_cursor_write(&to, chain.readable[i].iov_base,
						 chain.readable[i].iov_len);
		virtq_push(vq, chain.head, (uint32_t)done);
	}
	if (n < 0)
		virtio_device_broken(&fake->dev, "test");
	else
		virtio_device_publish(&fake->dev, queue);
}

/* Returns what virtio_device_init() does. */
static inline int fake_device_init(struct fake_device *fake, struct evloop *loop)
{
	static const struct virtio_device_ops ops = {.start = fake_device_start,
						     .delegate = fake_device_delegate,
						     .interrupt_moved = fake_device_interrupt_moved,
						     .kick = fake_device_kick,
						     .kick_inline = fake_device_kick_inline,
						     .quiesce = fake_device_quiesce,
						     .stop = fake_device_stop};

	memset((void *)fake, 0, sizeof(*fake));
	sem_init(&fake->release, 0, 0);
	fake->dev.ops = &ops;
	fake->dev.name = "fake device";
	fake->dev.loop = loop;
	fake->dev.id = FAKE_ID;
	fake->dev.queue_size = FAKE_QUEUE_SIZE;
	fake->dev.n_queues = FAKE_QUEUES;
	fake->dev.config_size = FAKE_CONFIG_LEN;
	fake->dev.features = FAKE_FEATURES;
	memcpy(fake->dev.config, FAKE_CONFIG, FAKE_CONFIG_LEN);
	return virtio_device_init(&fake->dev);
}

static inline void fake_device_fini(struct fake_device *fake)
{
	virtio_device_fini(&fake->dev);
	sem_destroy(&fake->release);
}

static inline unsigned int fake_device_all_kicks(struct fake_device *fake)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		n += atomic_load(&fake->kicks[i]);
	return n;
}
