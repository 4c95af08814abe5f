#include "virtio/virtio_regs.h"

#include <string.h>
#include <linux/virtio_config.h>

#define REGS_SETTABLE                                                                              \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |      \
	 VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FAILED)

/* ---- features ---- */

uint32_t virtio_regs_device_features(const struct virtio_regs *regs)
{
	uint32_t select = regs->state.device_feature_select;

	return select < 2 ? virtio_regs_half(regs->dev->features, 4 * select) : 0;
}

uint32_t virtio_regs_driver_features(const struct virtio_regs *regs)
{
	uint32_t select = regs->state.driver_feature_select;

	return select < 2 ? virtio_regs_half(regs->state.driver_features, 4 * select) : 0;
}

void virtio_regs_write_features(struct virtio_regs *regs, uint32_t value)
{
	struct virtio_regs_state *s = &regs->state;

	/* 3.1.1: the set is fixed once the device has accepted it */
	if (s->driver_feature_select < 2 && !(s->status & VIRTIO_CONFIG_S_FEATURES_OK))
		virtio_regs_set_half(&s->driver_features, 4 * s->driver_feature_select, value);
}

static bool regs_features_acceptable(const struct virtio_regs *regs)
{
	uint64_t driver = regs->state.driver_features;

	return !(driver & ~regs->dev->features) && (driver & (UINT64_C(1) << VIRTIO_F_VERSION_1));
}

/* ---- status ---- */

/* 2.4: state after reset. */
static void regs_clear(struct virtio_regs *regs)
{
	memset(&regs->state, 0, sizeof(regs->state));
	for (unsigned int i = 0; i < VIRTIO_MAX_QUEUES; i++)
		regs->state.queue[i].size = regs->dev->queue_size;
	regs->ops->cleared(regs->arg);
}

/* The device has no queue any more. */
static void regs_stopped(struct virtio_regs *regs)
{
	if (!regs->taking) {
		regs_clear(regs);
		return;
	}
	regs->taking = false;
	for (unsigned int i = 0; i < regs->dev->n_queues; i++)
		regs->state.queue[i].enabled = false;
}

static void regs_set_live(struct virtio_regs *regs, bool live)
{
	regs->live = live;
	atomic_store_explicit(&regs->listens, live, memory_order_relaxed);
	regs->ops->live_changed(regs->arg);
}

/* What the device has to do for it ends in virtio_regs_on_stopped(). */
static void regs_stop(struct virtio_regs *regs, bool taking)
{
	regs->taking = taking;
	if (!regs->live) {
		regs_stopped(regs);
		return;
	}
	regs->resetting = true;
	regs_set_live(regs, false);
	virtio_device_stop(regs->dev);
}

void virtio_regs_reset(struct virtio_regs *regs)
{
	regs_stop(regs, false);
}

void virtio_regs_take_queue(struct virtio_regs *regs, struct virtq_config *queue)
{
	if (!regs->live)
		queue->enabled = false;
	else if (queue->enabled)
		regs_stop(regs, true);
}

void virtio_regs_await_reset(struct virtio_regs *regs)
{
	while (regs->resetting)
		pthread_cond_wait(&regs->reset_done, &regs->lock);
}

static void regs_needs_reset(struct virtio_regs *regs)
{
	regs->state.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	/* 2.1.2: tell the driver, when it has got as far as listening */
	if (regs->state.status & VIRTIO_CONFIG_S_DRIVER_OK)
		regs->ops->notify_config(regs->arg);
}

/* Whether a driver has yet to be told of the configuration as it is now, which it is then. */
static bool regs_note_config(struct virtio_regs *regs)
{
	uint8_t byte;
	uint32_t now = virtio_device_config_get(regs->dev, 0, &byte, 1);

	return atomic_exchange_explicit(&regs->told, now, memory_order_relaxed) != now;
}

/* DRIVER_OK: from here on the queues belong to the device. */
static void regs_go_live(struct virtio_regs *regs)
{
	struct virtio_device *dev = regs->dev;

	dev->negotiated = regs->state.driver_features;
	for (unsigned int i = 0; i < dev->n_queues; i++) {
		const struct virtq_config *config = &regs->state.queue[i];

		dev->enabled[i] = config->enabled;
		if (!config->enabled)
			continue;
		if (virtq_init(&dev->queue[i], regs->mem, config, dev->negotiated) < 0) {
			log_guest(&dev->log,
				  "%s: the guest's driver gave a bad address or size for queue %u",
				  dev->name, i);
			regs_needs_reset(regs);
			return;
		}
	}
	regs_set_live(regs, true);
	virtio_device_start(dev);
	if (regs_note_config(regs))
		regs->ops->notify_config(regs->arg);
}

void virtio_regs_write_status(struct virtio_regs *regs, uint8_t value)
{
	uint8_t old = regs->state.status;
	uint8_t added;

	if (value == 0) {
		virtio_regs_reset(regs);
		return;
	}
	/* 2.1.1: the driver only adds bits */
	added = value & REGS_SETTABLE & ~old;
	if ((added & VIRTIO_CONFIG_S_FEATURES_OK) && !regs_features_acceptable(regs))
		added &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
	if (!((old | added) & VIRTIO_CONFIG_S_FEATURES_OK))
		added &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
	regs->state.status = old | added;
	if (added & VIRTIO_CONFIG_S_DRIVER_OK)
		regs_go_live(regs);
}

/* ---- queues ---- */

struct virtq_config *virtio_regs_queue(struct virtio_regs *regs)
{
	uint32_t queue = regs->state.queue_select;

	return queue < regs->dev->n_queues ? &regs->state.queue[queue] : NULL;
}

struct virtq_config *virtio_regs_queue_writable(struct virtio_regs *regs)
{
	struct virtq_config *queue = virtio_regs_queue(regs);

	if (!queue || queue->enabled || (regs->state.status & VIRTIO_CONFIG_S_DRIVER_OK))
		return NULL;
	return queue;
}

void virtio_regs_set_queue_size(struct virtio_regs *regs, struct virtq_config *queue, uint32_t size)
{
	if (size <= regs->dev->queue_size)
		queue->size = (uint16_t)size;
}

/* ---- the device's way back ---- */

bool virtio_regs_on_config_changed(struct virtio_regs *regs)
{
	/* The change was made under config_lock, which who goes live takes after this was set: one of both sees the other. */
	if (!atomic_load_explicit(&regs->listens, memory_order_relaxed))
		return false;
	regs_note_config(regs);
	return true;
}

void virtio_regs_on_needs_reset(struct virtio_regs *regs)
{
	pthread_mutex_lock(&regs->lock);
	if (regs->live)
		regs_needs_reset(regs);
	pthread_mutex_unlock(&regs->lock);
}

void virtio_regs_on_stopped(struct virtio_regs *regs)
{
	pthread_mutex_lock(&regs->lock);
	regs->resetting = false;
	regs_stopped(regs);
	pthread_cond_broadcast(&regs->reset_done);
	pthread_mutex_unlock(&regs->lock);
}

/* ---- life ---- */

void virtio_regs_init(struct virtio_regs *regs, struct virtio_device *dev,
		      const struct guest_mem *mem, const struct virtio_regs_ops *ops, void *arg)
{
	memset(regs, 0, sizeof(*regs));
	regs->dev = dev;
	regs->mem = mem;
	regs->ops = ops;
	regs->arg = arg;
	pthread_mutex_init(&regs->lock, NULL);
	pthread_cond_init(&regs->reset_done, NULL);
	regs_note_config(regs);
	regs_clear(regs);
}

void virtio_regs_fini(struct virtio_regs *regs)
{
	pthread_cond_destroy(&regs->reset_done);
	pthread_mutex_destroy(&regs->lock);
}
