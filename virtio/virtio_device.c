#include "virtio/virtio.h"
#include "vmm/core/assert.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <linux/virtio_config.h>

void virtio_device_enter(struct virtio_device *dev, unsigned int queue)
{
	if (dev->serve_inline[queue])
		pthread_mutex_lock(&dev->serve_lock[queue]);
}

void virtio_device_leave(struct virtio_device *dev, unsigned int queue)
{
	if (dev->serve_inline[queue])
		pthread_mutex_unlock(&dev->serve_lock[queue]);
}

/* The eventfd's count is never read: watched for its edges, it tells of each kick without that. */
static void virtio_device_on_kick(void *arg, uint32_t events)
{
	struct virtio_queue_ref *ref = arg;

	(void)events;
	virtio_device_enter(ref->dev, ref->queue);
	if (!atomic_load_explicit(&ref->dev->broken, memory_order_relaxed))
		ref->dev->ops->kick(ref->dev, ref->queue);
	virtio_device_leave(ref->dev, ref->queue);
}

/* On a vCPU. Returns false for what the loop shall do, also when it is at the queue now. */
static bool virtio_device_serve_inline(struct virtio_device *dev, unsigned int queue)
{
	bool served = true;

	if (pthread_mutex_trylock(&dev->serve_lock[queue]) != 0)
		return false;
	if (dev->serve_open[queue] && !atomic_load_explicit(&dev->broken, memory_order_relaxed))
		served = dev->ops->kick_inline(dev, queue);
	pthread_mutex_unlock(&dev->serve_lock[queue]);
	return served;
}

/* From when this has let vCPUs in, they see what the start has done; when it has shut them out, none is inside. */
static void virtio_device_let_in(struct virtio_device *dev, unsigned int queue, bool in)
{
	virtio_device_enter(dev, queue);
	dev->serve_open[queue] = in;
	virtio_device_leave(dev, queue);
}

/* On the device's loop: runs a queue's task on that queue's loop, which needs no detour when it is the same. */
static void virtio_device_on_queue_loop(struct virtio_device *dev, unsigned int queue,
					struct evloop_task *task)
{
	if (dev->queue_loop[queue] == dev->loop)
		task->fn(task->arg);
	else
		evloop_post(dev->queue_loop[queue], task);
}

static void virtio_device_watch(void *arg)
{
	struct virtio_queue_ref *ref = arg;
	struct virtio_device *dev = ref->dev;

	if (!(dev->ops->delegate && dev->ops->delegate(dev, ref->queue)) &&
	    evloop_add(dev->queue_loop[ref->queue], &dev->kick[ref->queue], EPOLLIN | EPOLLET) <
		    0) {
		virtio_device_broken(dev, "the host has no room to watch its queue");
		return;
	}
	virtio_device_let_in(dev, ref->queue, true);
	/* The driver may have kicked before anybody listened. */
	virtio_device_rekick(dev, ref->queue);
}

static void virtio_device_unwatch(void *arg)
{
	struct virtio_queue_ref *ref = arg;
	struct virtio_device *dev = ref->dev;

	evloop_del(dev->queue_loop[ref->queue], &dev->kick[ref->queue]);
	virtio_device_let_in(dev, ref->queue, false);
	if (dev->ops->quiesce)
		dev->ops->quiesce(dev, ref->queue);
	else
		virtio_device_quiesced(dev);
}

static void virtio_device_on_start(void *arg)
{
	struct virtio_device *dev = arg;

	dev->started = true;
	atomic_store(&dev->broken, false);
	dev->ops->start(dev);
	for (unsigned int i = 0; i < dev->n_queues; i++) {
		if (dev->enabled[i] && !atomic_load(&dev->broken))
			virtio_device_on_queue_loop(dev, i, &dev->queue_ref[i].watch);
	}
}

static void virtio_device_on_stopped(void *arg)
{
	struct virtio_device *dev = arg;

	dev->ops->stop(dev);
	dev->started = false;
	dev->transport.stopped(dev->transport.arg);
}

/* Counts down what a reset waits for; whoever is last sees what all others did. Returns whether that is the caller. */
static bool virtio_device_last_busy(struct virtio_device *dev)
{
	return atomic_fetch_sub_explicit(&dev->busy, 1, memory_order_acq_rel) == 1;
}

static void virtio_device_on_stop(void *arg)
{
	struct virtio_device *dev = arg;

	if (!dev->started) {
		dev->transport.stopped(dev->transport.arg);
		return;
	}
	/* One more, for this function itself. */
	atomic_store(&dev->busy, 1);
	for (unsigned int i = 0; i < dev->n_queues; i++) {
		if (dev->enabled[i]) {
			atomic_fetch_add(&dev->busy, 1);
			virtio_device_on_queue_loop(dev, i, &dev->queue_ref[i].unwatch);
		}
	}
	if (virtio_device_last_busy(dev))
		virtio_device_on_stopped(dev);
}

void virtio_device_quiesced(struct virtio_device *dev)
{
	if (virtio_device_last_busy(dev))
		evloop_post(dev->loop, &dev->stopped_task);
}

static void virtio_device_init_queue(struct virtio_device *dev, unsigned int i)
{
	struct virtio_queue_ref *ref = &dev->queue_ref[i];

	*ref = (struct virtio_queue_ref){.dev = dev, .queue = i};
	ref->watch = (struct evloop_task){.fn = virtio_device_watch, .arg = ref};
	ref->unwatch = (struct evloop_task){.fn = virtio_device_unwatch, .arg = ref};
	dev->kick[i] =
		(struct evloop_fd){.fd = dev->kick_fd[i], .fn = virtio_device_on_kick, .arg = ref};
	if (!dev->queue_loop[i])
		dev->queue_loop[i] = dev->loop;
}

int virtio_device_init(struct virtio_device *dev)
{
	assert(dev->n_queues <= VIRTIO_MAX_QUEUES && dev->config_size <= VIRTIO_MAX_CONFIG);
	dev->features |= UINT64_C(1) << VIRTIO_F_VERSION_1 | UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX;
	if (!dev->no_indirect)
		dev->features |= UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC;
	dev->start_task = (struct evloop_task){.fn = virtio_device_on_start, .arg = dev};
	dev->stop_task = (struct evloop_task){.fn = virtio_device_on_stop, .arg = dev};
	dev->stopped_task = (struct evloop_task){.fn = virtio_device_on_stopped, .arg = dev};
	pthread_mutex_init(&dev->config_lock, NULL);
	for (unsigned int i = 0; i < dev->n_queues; i++) {
		pthread_mutex_init(&dev->serve_lock[i], NULL);
		dev->kick_fd[i] = -1;
	}
	for (unsigned int i = 0; i < dev->n_queues; i++) {
		dev->kick_fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (dev->kick_fd[i] < 0) {
			int err = -errno;

			virtio_device_fini(dev);
			return err;
		}
		virtio_device_init_queue(dev, i);
	}
	return 0;
}

void virtio_device_fini(struct virtio_device *dev)
{
	for (unsigned int i = 0; i < dev->n_queues; i++) {
		if (dev->queue_loop[i])
			evloop_del(dev->queue_loop[i], &dev->kick[i]);
		if (dev->kick_fd[i] >= 0)
			close(dev->kick_fd[i]);
		pthread_mutex_destroy(&dev->serve_lock[i]);
	}
	pthread_mutex_destroy(&dev->config_lock);
}

void virtio_device_config_set(struct virtio_device *dev, size_t offset, const void *src, size_t len)
{
	assert(offset <= dev->config_size && len <= dev->config_size - offset);
	pthread_mutex_lock(&dev->config_lock);
	memcpy(&dev->config[offset], src, len);
	dev->config_generation++;
	pthread_mutex_unlock(&dev->config_lock);
	if (dev->transport.config_changed)
		dev->transport.config_changed(dev->transport.arg);
}

uint32_t virtio_device_config_get(struct virtio_device *dev, size_t offset, void *dst, size_t len)
{
	uint32_t generation;

	memset(dst, 0, len);
	pthread_mutex_lock(&dev->config_lock);
	generation = dev->config_generation;
	if (offset < dev->config_size) {
		size_t have = dev->config_size - offset;

		memcpy(dst, &dev->config[offset], len < have ? len : have);
	}
	pthread_mutex_unlock(&dev->config_lock);
	return generation;
}

void virtio_device_config_write(struct virtio_device *dev, size_t offset, unsigned int width,
				uint64_t value)
{
	_Static_assert(VIRTIO_MAX_CONFIG <= 64, "config_writable has a bit for each byte");
	pthread_mutex_lock(&dev->config_lock);
	for (; width > 0 && offset < dev->config_size; width--, offset++, value >>= 8) {
		if (dev->config_writable & UINT64_C(1) << offset)
			dev->config[offset] = (uint8_t)value;
	}
	pthread_mutex_unlock(&dev->config_lock);
}

void virtio_device_publish(struct virtio_device *dev, unsigned int queue)
{
	if (virtq_publish(&dev->queue[queue]))
		dev->transport.interrupt(dev->transport.arg, queue);
}

void virtio_device_broken(struct virtio_device *dev, const char *why)
{
	if (atomic_exchange(&dev->broken, true))
		return;
	log_guest(&dev->log,
		  "%s: the guest's driver broke the protocol (%s); it must reset the device",
		  dev->name, why);
	if (dev->ops->broken)
		dev->ops->broken(dev);
	dev->transport.needs_reset(dev->transport.arg);
}

int virtio_device_interrupt_fd(struct virtio_device *dev, unsigned int queue)
{
	const struct virtio_transport *t = &dev->transport;

	return t->interrupt_fd ? t->interrupt_fd(t->arg, queue) : -1;
}

void virtio_device_rekick(struct virtio_device *dev, unsigned int queue)
{
	eventfd_write(dev->kick_fd[queue], 1); /* EAGAIN: a kick is pending anyway */
}

void virtio_device_kick(struct virtio_device *dev, unsigned int queue)
{
	if (!dev->serve_inline[queue] || !virtio_device_serve_inline(dev, queue))
		virtio_device_rekick(dev, queue);
}

void virtio_device_start(struct virtio_device *dev)
{
	evloop_post(dev->loop, &dev->start_task);
}

void virtio_device_stop(struct virtio_device *dev)
{
	evloop_post(dev->loop, &dev->stop_task);
}
