#include "virtio/console.h"

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>

#include "vmm/core/assert.h"

/* 5.3.2: the queues of port 0 */
enum {
	CONSOLE_RX,
	CONSOLE_TX,
	CONSOLE_QUEUES,
};

/* The fields of VIRTIO_CONSOLE_F_SIZE. */
#define CONSOLE_CONFIG_SIZE offsetof(struct virtio_console_config, max_nr_ports)

static struct virtio_console *virtio_console_of(struct virtio_device *dev)
{
	return (struct virtio_console *)(void *)((char *)dev -
						 offsetof(struct virtio_console, dev));
}

/* ---- output ---- */

/* Takes the next buffer. Returns 1, 0 when none waits, or -EPROTO. */
static int virtio_console_tx_pop(struct virtio_console *console)
{
	struct virtq_chain chain;
	int ret = virtq_pop(&console->dev.queue[CONSOLE_TX], &chain, console->tx_iov,
			    VIRTIO_CONSOLE_QUEUE_SIZE);

	if (ret <= 0)
		return ret;
	if (chain.n_writable > 0 || chain.n_readable == 0)
		return -EPROTO;
	console->state.tx_held = true;
	console->state.tx_head = chain.head;
	console->state.tx_done = 0;
	iov_cursor_init(&console->tx, chain.readable, chain.n_readable);
	return 1;
}

/* Writes of the held buffer what the kick may still do. Returns whether the host took all that it was given. */
static bool virtio_console_tx_write(struct virtio_console *console, uint64_t *left)
{
	while (*left > 0 && iov_cursor_left(&console->tx) > 0) {
		struct iov_cursor peek = console->tx;
		struct iovec piece;
		size_t n;

		iov_cursor_take(&peek, &piece, 1, *left, &n);
		n = console->host.write(console->host.arg, piece.iov_base, piece.iov_len);
		iov_cursor_skip(&console->tx, n);
		console->state.tx_done += n;
		*left -= n;
		if (n < piece.iov_len)
			return false;
	}
	return true;
}

/* One buffer. Returns 1, 0 when none waits, -EAGAIN when the host takes no more, or -EPROTO. */
static int virtio_console_tx_serve(struct virtio_console *console, uint64_t *left)
{
	int ret = console->state.tx_held ? 1 : virtio_console_tx_pop(console);

	if (ret <= 0)
		return ret;
	if (!virtio_console_tx_write(console, left))
		return -EAGAIN;
	if (iov_cursor_left(&console->tx) == 0) {
		console->state.tx_held = false;
		virtq_push(&console->dev.queue[CONSOLE_TX], console->state.tx_head, 0);
	}
	return 1;
}

static void virtio_console_tx_kick(struct virtio_console *console)
{
	struct virtq *vq = &console->dev.queue[CONSOLE_TX];
	unsigned int chains = VIRTIO_CONSOLE_KICK_CHAINS;
	uint64_t left = VIRTIO_CONSOLE_KICK_BYTES;
	int ret;

	do {
		virtq_disable_kick(vq);
		do
			ret = virtio_console_tx_serve(console, &left);
		while (ret > 0 && left > 0 && --chains > 0);
		virtio_device_publish(&console->dev, CONSOLE_TX);
	} while (ret == 0 && virtq_enable_kick(vq));
	if (ret > 0)
		virtio_device_rekick(&console->dev, CONSOLE_TX);
	else if (ret == -EPROTO)
		virtio_device_broken(&console->dev, "malformed ring or output buffer");
}

void virtio_console_tx_ready(struct virtio_console *console)
{
	bool held;

	virtio_device_enter(&console->dev, CONSOLE_TX);
	held = console->state.tx_held;
	virtio_device_leave(&console->dev, CONSOLE_TX);
	if (held)
		virtio_device_rekick(&console->dev, CONSOLE_TX);
}

/* ---- input ---- */

/* Fills one buffer. Returns how many bytes it took, 0 when there is no buffer, or -EPROTO. */
static ssize_t virtio_console_rx_fill(struct virtio_console *console, const void *buf, size_t n)
{
	struct virtq *vq = &console->dev.queue[CONSOLE_RX];
	struct virtq_chain chain;
	struct iov_cursor cursor;
	int ret = virtq_pop(vq, &chain, console->rx_iov, VIRTIO_CONSOLE_QUEUE_SIZE);

	if (ret <= 0)
		return ret;
	if (chain.n_readable > 0 || chain.n_writable == 0)
		return -EPROTO;
	iov_cursor_init(&cursor, chain.writable, chain.n_writable);
	n = iov_cursor_write(&cursor, buf, n);
	virtq_push(vq, chain.head, (uint32_t)n);
	return (ssize_t)n;
}

size_t virtio_console_receive(struct virtio_console *console, const void *buf, size_t n)
{
	struct virtio_device *dev = &console->dev;
	size_t done = 0;
	ssize_t ret = 1;

	if (!dev->started || dev->broken || !dev->enabled[CONSOLE_RX]) {
		console->state.rx_hungry = true;
		return 0;
	}
	virtq_disable_kick(&dev->queue[CONSOLE_RX]);
	while (done < n && ret >= 0) {
		ret = virtio_console_rx_fill(console, (const uint8_t *)buf + done, n - done);
		done += ret > 0 ? (size_t)ret : 0;
		if (ret == 0 && !virtq_enable_kick(&dev->queue[CONSOLE_RX]))
			break;
	}
	virtio_device_publish(dev, CONSOLE_RX);
	console->state.rx_hungry = done < n;
	if (ret < 0)
		virtio_device_broken(dev, "malformed ring or input buffer");
	return done;
}

static void virtio_console_kick(struct virtio_device *dev, unsigned int queue)
{
	struct virtio_console *console = virtio_console_of(dev);

	if (queue == CONSOLE_TX)
		virtio_console_tx_kick(console);
	else if (console->state.rx_hungry)
		console->host.rx_room(console->host.arg);
}

static bool virtio_console_kick_inline(struct virtio_device *dev, unsigned int queue)
{
	assert(queue == CONSOLE_TX);
	virtio_console_tx_kick(virtio_console_of(dev));
	return true;
}

/* ---- the device ---- */

static void virtio_console_start(struct virtio_device *dev)
{
	uint8_t size[CONSOLE_CONFIG_SIZE], none[CONSOLE_CONFIG_SIZE] = {0};

	/* Linux reads the size only when it is told of a change. */
	virtio_device_config_get(dev, 0, size, sizeof(size));
	if ((dev->negotiated & UINT64_C(1) << VIRTIO_CONSOLE_F_SIZE) &&
	    memcmp(size, none, sizeof(size)) != 0)
		dev->transport.config_changed(dev->transport.arg);
}

static void virtio_console_stop(struct virtio_device *dev)
{
	virtio_console_of(dev)->state.tx_held = false;
}

static const struct virtio_device_ops virtio_console_ops = {
	.start = virtio_console_start,
	.kick = virtio_console_kick,
	.kick_inline = virtio_console_kick_inline,
	.stop = virtio_console_stop,
};

int virtio_console_init(struct virtio_console *console, struct evloop *loop,
			const struct virtio_console_host *host)
{
	int err;

	memset(console, 0, sizeof(*console));
	console->host = *host;
	console->dev = (struct virtio_device){
		.ops = &virtio_console_ops,
		.name = "the console",
		.loop = loop,
		.id = VIRTIO_ID_CONSOLE,
		.queue_size = VIRTIO_CONSOLE_QUEUE_SIZE,
		.n_queues = CONSOLE_QUEUES,
		.config_size = CONSOLE_CONFIG_SIZE,
		.features = UINT64_C(1) << VIRTIO_CONSOLE_F_SIZE,
		.serve_inline = {[CONSOLE_TX] = true},
	};
	err = virtio_device_init(&console->dev);
	if (err < 0)
		log_failure(err, "cannot set up %s", console->dev.name);
	return err;
}

void virtio_console_resize(struct virtio_console *console, unsigned int rows, unsigned int columns)
{
	struct virtio_console_config config = {
		.cols = htole16((uint16_t)(columns < UINT16_MAX ? columns : UINT16_MAX)),
		.rows = htole16((uint16_t)(rows < UINT16_MAX ? rows : UINT16_MAX))};

	virtio_device_config_set(&console->dev, 0, &config, CONSOLE_CONFIG_SIZE);
}

void virtio_console_fini(struct virtio_console *console)
{
	virtio_device_fini(&console->dev);
}
