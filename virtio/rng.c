#include "virtio/rng.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>
#include <linux/virtio_ids.h>

#define RNG_QUEUE 0

static struct virtio_rng *virtio_rng_of(struct virtio_device *dev)
{
	return (struct virtio_rng *)(void *)((char *)dev - offsetof(struct virtio_rng, dev));
}

/* Draws as many bytes as it gets at once: none before the host's kernel is seeded, or where a sandbox forbids the call. */
static size_t virtio_rng_draw(void *dst, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = getrandom((uint8_t *)dst + done, len - done, GRND_NONBLOCK);

		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EINTR)
			break;
	}
	return done;
}

/* Returns the bytes that were drawn into the chain, in one piece from its beginning on. */
static uint32_t virtio_rng_fill(const struct virtq_chain *chain)
{
	uint32_t left = VIRTIO_RNG_REQUEST_BYTES;
	size_t len, drawn;

	for (unsigned int i = 0; i < chain->n_writable && left > 0; i++) {
		len = chain->writable[i].iov_len < left ? chain->writable[i].iov_len : left;
		drawn = virtio_rng_draw(chain->writable[i].iov_base, len);
		left -= (uint32_t)drawn;
		if (drawn < len)
			break;
	}
	return VIRTIO_RNG_REQUEST_BYTES - left;
}

/* One buffer. Returns the bytes it got, 0 when none waits, -EAGAIN when it must wait itself, or -EPROTO. */
static int virtio_rng_serve(struct virtio_rng *rng)
{
	struct virtq *vq = &rng->dev.queue[RNG_QUEUE];
	struct virtq_chain chain;
	int ret = virtq_pop(vq, &chain, rng->iov, VIRTIO_RNG_QUEUE_SIZE);
	uint32_t n;

	if (ret <= 0)
		return ret;
	/* 5.4.6.1: no readable buffers; and what has no room cannot be given its byte (5.4.6.2) */
	if (chain.n_readable > 0 || chain.n_writable == 0)
		return -EPROTO;
	n = virtio_rng_fill(&chain);
	if (n == 0) {
		log_guest(&rng->dev.log, "%s: the host gives no random bytes: %s; the guest waits",
			  rng->dev.name, strerror(errno));
		virtq_unpop(vq, 1);
		return -EAGAIN;
	}
	virtq_push(vq, chain.head, n);
	return (int)n;
}

/* Serves until the queue is empty (0), the kick has done enough (1), or as virtio_rng_serve() says. */
static int virtio_rng_drain(struct virtio_rng *rng, size_t *bytes)
{
	int ret = 1;

	while (ret > 0 && *bytes < VIRTIO_RNG_KICK_BYTES) {
		ret = virtio_rng_serve(rng);
		*bytes += ret > 0 ? (size_t)ret : 0;
	}
	return ret;
}

static void virtio_rng_kick(struct virtio_device *dev, unsigned int queue)
{
	struct virtio_rng *rng = virtio_rng_of(dev);
	struct virtq *vq = &dev->queue[queue];
	size_t bytes = 0;
	int ret;

	if (rng->timer.armed)
		return;
	do {
		virtq_disable_kick(vq);
		ret = virtio_rng_drain(rng, &bytes);
		virtio_device_publish(dev, queue);
	} while (ret == 0 && virtq_enable_kick(vq));
	if (ret == -EAGAIN)
		evloop_timer_set(dev->loop, &rng->timer, VIRTIO_RNG_RETRY);
	else if (ret > 0)
		evloop_timer_set(dev->loop, &rng->timer, VIRTIO_RNG_PAUSE);
	else if (ret < 0)
		virtio_device_broken(dev, "malformed ring or buffer");
}

static void virtio_rng_on_timer(void *arg)
{
	struct virtio_rng *rng = arg;

	virtio_device_rekick(&rng->dev, RNG_QUEUE);
}

static void virtio_rng_start(struct virtio_device *dev)
{
	(void)dev;
}

static void virtio_rng_stop(struct virtio_device *dev)
{
	evloop_timer_cancel(dev->loop, &virtio_rng_of(dev)->timer);
}

static const struct virtio_device_ops virtio_rng_ops = {
	.start = virtio_rng_start,
	.kick = virtio_rng_kick,
	.stop = virtio_rng_stop,
};

int virtio_rng_init(struct virtio_rng *rng, struct evloop *loop)
{
	int err;

	memset(rng, 0, sizeof(*rng));
	rng->timer = (struct evloop_timer){.fn = virtio_rng_on_timer, .arg = rng};
	rng->dev = (struct virtio_device){
		.ops = &virtio_rng_ops,
		.name = "the entropy source",
		.loop = loop,
		.id = VIRTIO_ID_RNG,
		.queue_size = VIRTIO_RNG_QUEUE_SIZE,
		.n_queues = 1,
	};
	err = virtio_device_init(&rng->dev);
	if (err < 0)
		log_failure(err, "cannot set up %s", rng->dev.name);
	return err;
}

void virtio_rng_fini(struct virtio_rng *rng)
{
	evloop_timer_cancel(rng->dev.loop, &rng->timer);
	virtio_device_fini(&rng->dev);
}
