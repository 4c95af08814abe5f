#include "virtio/virtio.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <linux/virtio_config.h>

static void virtio_device_on_kick(void *arg, uint32_t events)
{
	struct virtio_queue_ref *ref = arg;
	uint64_t count;
	ssize_t n = read(ref->dev->kick_fd[ref->queue], &count, sizeof(count));

	(void)n;
	(void)events;
	ref->dev->ops->kick(ref->dev, ref->queue);
}

static void virtio_device_unwatch(struct virtio_device *dev)
{
	for (unsigned int i = 0; i < dev->n_queues; i++)
		evloop_del(dev->loop, &dev->kick[i]);
}

static void virtio_device_on_start(void *arg)
{
	struct virtio_device *dev = arg;

	dev->started = true;
	dev->broken = false;
	dev->ops->start(dev);
	for (unsigned int i = 0; i < dev->n_queues && !dev->broken; i++) {
		if (!dev->enabled[i])
			continue;
		if (evloop_add(dev->loop, &dev->kick[i], EPOLLIN) < 0) {
			virtio_device_broken(dev, "the host has no room to watch its queue");
			return;
		}
		/* The driver may have kicked before anybody listened. */
		virtio_device_rekick(dev, i);
	}
}

static void virtio_device_on_stop(void *arg)
{
	struct virtio_device *dev = arg;

	if (dev->started) {
		virtio_device_unwatch(dev);
		dev->ops->stop(dev);
		dev->started = false;
	}
	dev->transport.stopped(dev->transport.arg);
}

int virtio_device_init(struct virtio_device *dev)
{
	assert(dev->n_queues <= VIRTIO_MAX_QUEUES && dev->config_size <= VIRTIO_MAX_CONFIG);
	dev->features |= UINT64_C(1) << VIRTIO_F_VERSION_1 |
			 UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX |
			 UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC;
	dev->start_task = (struct evloop_task){.fn = virtio_device_on_start, .arg = dev};
	dev->stop_task = (struct evloop_task){.fn = virtio_device_on_stop, .arg = dev};
	pthread_mutex_init(&dev->config_lock, NULL);
	for (unsigned int i = 0; i < dev->n_queues; i++)
		dev->kick_fd[i] = -1;
	for (unsigned int i = 0; i < dev->n_queues; i++) {
		dev->kick_fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (dev->kick_fd[i] < 0) {
			int err = -errno;

			virtio_device_fini(dev);
			return err;
		}
		dev->queue_ref[i] = (struct virtio_queue_ref){.dev = dev, .queue = i};
		dev->kick[i] = (struct evloop_fd){.fd = dev->kick_fd[i],
						  .fn = virtio_device_on_kick,
						  .arg = &dev->queue_ref[i]};
	}
	return 0;
}

void virtio_device_fini(struct virtio_device *dev)
{
	for (unsigned int i = 0; i < dev->n_queues; i++) {
		evloop_del(dev->loop, &dev->kick[i]);
		if (dev->kick_fd[i] >= 0)
			close(dev->kick_fd[i]);
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

void virtio_device_publish(struct virtio_device *dev, unsigned int queue)
{
	if (virtq_publish(&dev->queue[queue]))
		dev->transport.interrupt(dev->transport.arg, queue);
}

void virtio_device_broken(struct virtio_device *dev, const char *why)
{
	if (dev->broken)
		return;
	dev->broken = true;
	log_guest(&dev->log,
		  "%s: the guest's driver broke the protocol (%s); it must reset the device",
		  dev->name, why);
	virtio_device_unwatch(dev);
	dev->transport.needs_reset(dev->transport.arg);
}

void virtio_device_rekick(struct virtio_device *dev, unsigned int queue)
{
	uint64_t one = 1;
	ssize_t n = write(dev->kick_fd[queue], &one, sizeof(one));

	(void)n; /* EAGAIN: a kick is pending anyway */
}

void virtio_device_start(struct virtio_device *dev)
{
	evloop_post(dev->loop, &dev->start_task);
}

void virtio_device_stop(struct virtio_device *dev)
{
	evloop_post(dev->loop, &dev->stop_task);
}
