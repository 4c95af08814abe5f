#include "virtio/vsock.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <linux/virtio_ids.h>

#include "virtio/vsock_streams.h"
#include "vmm/core/assert.h"

/* What one callback may do before the loop gets its turn, and after how much the driver learns of it. */
#define VSOCK_KICK_PACKETS 256
#define VSOCK_KICK_BYTES   (UINT64_C(4) << 20)
#define VSOCK_TURNS	   128
#define VSOCK_PUBLISH	   16

/* 5.10.2 */
enum {
	VSOCK_QUEUE_RX,
	VSOCK_QUEUE_TX,
	VSOCK_QUEUE_EVENT,
	VSOCK_QUEUES,
};

static struct virtio_vsock *virtio_vsock_of(struct virtio_device *dev)
{
	return (struct virtio_vsock *)(void *)((char *)dev - offsetof(struct virtio_vsock, dev));
}

/* ---- the transmit queue ---- */

static void virtio_vsock_dispatch(struct virtio_vsock *vs, const struct vsock_packet *packet,
				  struct iov_cursor *payload)
{
	struct vsock_conn *conn = vsock_map_find(&vs->map, packet->host_port, packet->guest_port);

	if (conn && conn->state == VSOCK_CONN_CLOSING && packet->op == VIRTIO_VSOCK_OP_REQUEST) {
		/* The guest has forgotten the old stream already, and uses its port again. */
		vsock_streams_forget(vs, conn);
		conn = NULL;
	}
	if (conn) {
		vsock_conn_receive(conn, packet, payload);
		vsock_streams_settle(vs, conn);
	} else if (packet->op == VIRTIO_VSOCK_OP_REQUEST) {
		vsock_streams_request(vs, packet);
	} else {
		vsock_streams_refuse(vs, packet);
	}
}

static void virtio_vsock_malformed(struct virtio_vsock *vs, const struct vsock_packet *packet)
{
	struct vsock_conn *conn = vsock_map_find(&vs->map, packet->host_port, packet->guest_port);

	log_guest(&vs->dev.log,
		  "%s: reset a stream for a malformed packet (type %u, op %u, %u bytes)",
		  vs->dev.name, packet->type, packet->op, packet->len);
	if (conn) {
		vsock_conn_reset(conn);
		vsock_streams_settle(vs, conn);
	} else {
		vsock_streams_refuse(vs, packet);
	}
}

/* One packet. Returns 1, 0 when there is none, or a negative errno when the driver is at fault. */
static int virtio_vsock_transmit(struct virtio_vsock *vs, uint64_t *bytes)
{
	struct virtq *vq = &vs->dev.queue[VSOCK_QUEUE_TX];
	struct vsock_packet packet;
	struct virtq_chain chain;
	struct iov_cursor cur;
	int r = virtq_pop(vq, &chain, vs->tx_iov, VIRTIO_VSOCK_QUEUE_SIZE);

	if (r <= 0)
		return r;
	iov_cursor_init(&cur, chain.readable, chain.n_readable);
	if (chain.n_writable > 0)
		return -EBADMSG;
	switch (vsock_packet_parse(&packet, &cur, vs->cid)) {
	case VSOCK_PACKET_UNREADABLE:
		return -EBADMSG;
	case VSOCK_PACKET_RESET:
		virtio_vsock_malformed(vs, &packet);
		break;
	case VSOCK_PACKET_IGNORED:
		log_guest(&vs->dev.log, "%s: ignored a packet that is not for the host",
			  vs->dev.name);
		break;
	case VSOCK_PACKET_GOOD:
		virtio_vsock_dispatch(vs, &packet, &cur);
		*bytes += packet.len;
		break;
	}
	virtq_push(vq, chain.head, 0);
	return 1;
}

static void virtio_vsock_fail(struct virtio_vsock *vs, const char *why)
{
	virtio_device_broken(&vs->dev, why);
	vsock_streams_forget_all(vs);
}

static void virtio_vsock_kick_tx(struct virtio_vsock *vs)
{
	struct virtq *vq = &vs->dev.queue[VSOCK_QUEUE_TX];
	unsigned int n = 0;
	uint64_t bytes = 0;
	int r = 1;

	virtq_disable_kick(vq);
	while (r > 0 && n < VSOCK_KICK_PACKETS && bytes < VSOCK_KICK_BYTES) {
		vs->tx_paused = vs->n_resets == VIRTIO_VSOCK_RESETS;
		if (vs->tx_paused)
			break;
		r = virtio_vsock_transmit(vs, &bytes);
		if (r == 0 || ++n % VSOCK_PUBLISH == 0)
			virtio_device_publish(&vs->dev, VSOCK_QUEUE_TX);
		if (r == 0 && virtq_enable_kick(vq)) {
			virtq_disable_kick(vq);
			r = 1;
		}
	}
	if (r < 0) {
		virtio_vsock_fail(vs, r == -EBADMSG
					      ? "a transmit buffer is writable or has no header"
					      : "the transmit ring is malformed");
		return;
	}
	virtio_device_publish(&vs->dev, VSOCK_QUEUE_TX);
	virtio_vsock_serve(vs);
	/* Paused or not by now, serving may have woken the queue already. */
	if (r > 0 && !vs->tx_paused)
		virtio_device_rekick(&vs->dev, VSOCK_QUEUE_TX);
}

/* ---- the receive queue ---- */

/* One packet without payload. Returns 1, 0 when there is no buffer, or a negative errno. */
static int virtio_vsock_send(struct virtio_vsock *vs, struct vsock_conn *conn)
{
	struct vsock_packet packet;
	int r = vsock_rx_take(&vs->rx, 1);

	if (r <= 0)
		return r;
	if (conn)
		vsock_conn_take_packet(conn, &packet);
	else
		packet = vs->resets[--vs->n_resets];
	vsock_rx_push(&vs->rx, 0, &packet);
	vsock_rx_release(&vs->rx, 1);
	return 1;
}

/* Cuts what was read into packets. Returns how many buffers they take. */
static unsigned int virtio_vsock_push_data(struct virtio_vsock *vs, struct vsock_conn *conn,
					   size_t len)
{
	unsigned int n = 0;

	while (len > 0) {
		size_t room = vs->rx.buffer[n].room;
		uint32_t part = (uint32_t)(len < room ? len : room);
		struct vsock_packet packet;

		vsock_conn_data_packet(conn, &packet, part);
		vsock_rx_push(&vs->rx, n, &packet);
		len -= part;
		n++;
	}
	return n;
}

/* Bytes of one connection: few buffers at first, and more when it fills them. Returns as virtio_vsock_send(). */
static int virtio_vsock_send_data(struct virtio_vsock *vs, struct vsock_conn *conn)
{
	size_t len = vsock_conn_may_read(conn), done;
	int r = vsock_rx_take(&vs->rx, conn->reach);
	unsigned int n, used;

	if (r <= 0)
		return r;
	n = vsock_rx_payload(&vs->rx, &len);
	done = vsock_conn_read(conn, vs->rx.payload, n, len);
	used = virtio_vsock_push_data(vs, conn, done);
	if (done < len)
		conn->reach = used > 0 ? used : 1;
	else if (conn->reach < VSOCK_RX_BUFFERS)
		conn->reach *= 2;
	if (conn->reach > VSOCK_RX_BUFFERS)
		conn->reach = VSOCK_RX_BUFFERS;
	vsock_rx_release(&vs->rx, used);
	return 1;
}

static int virtio_vsock_turn(struct virtio_vsock *vs)
{
	struct vsock_conn *conn = TAILQ_FIRST(&vs->turns);
	int r = 1;

	while (r > 0 && vsock_conn_has_packet(conn))
		r = virtio_vsock_send(vs, conn);
	if (r > 0 && vsock_conn_may_read(conn) > 0)
		r = virtio_vsock_send_data(vs, conn);
	if (r <= 0)
		return r;
	TAILQ_REMOVE(&vs->turns, conn, turn);
	conn->in_turn = false;
	vsock_streams_settle(vs, conn);
	return 1;
}

static bool virtio_vsock_has_work(const struct virtio_vsock *vs)
{
	return vs->n_resets > 0 || !TAILQ_EMPTY(&vs->turns);
}

/* While there is nothing due, the guest need not tell of new buffers. */
void virtio_vsock_serve(struct virtio_vsock *vs)
{
	struct virtq *vq = &vs->dev.queue[VSOCK_QUEUE_RX];
	unsigned int n = 0;
	int r = 1;

	if (!vs->dev.started || vs->dev.broken || !vs->dev.enabled[VSOCK_QUEUE_RX])
		return;
	virtq_disable_kick(vq);
	while (r > 0 && n < VSOCK_TURNS && virtio_vsock_has_work(vs)) {
		r = vs->n_resets > 0 ? virtio_vsock_send(vs, NULL) : virtio_vsock_turn(vs);
		if (++n % VSOCK_PUBLISH == 0)
			virtio_device_publish(&vs->dev, VSOCK_QUEUE_RX);
		if (r == 0 && virtq_enable_kick(vq)) {
			virtq_disable_kick(vq);
			r = 1;
		}
	}
	if (r < 0) {
		virtio_vsock_fail(vs, r == -EBADMSG ? "a receive buffer is readable or too small"
						    : "the receive ring is malformed");
		return;
	}
	virtio_device_publish(&vs->dev, VSOCK_QUEUE_RX);
	if (r > 0 && virtio_vsock_has_work(vs))
		virtio_device_rekick(&vs->dev, VSOCK_QUEUE_RX);
	if (vs->tx_paused && vs->n_resets < VIRTIO_VSOCK_RESETS) {
		vs->tx_paused = false;
		virtio_device_rekick(&vs->dev, VSOCK_QUEUE_TX);
	}
}

/* ---- the device ---- */

static void virtio_vsock_start(struct virtio_device *dev)
{
	struct virtio_vsock *vs = virtio_vsock_of(dev);

	vsock_rx_init(&vs->rx, &dev->queue[VSOCK_QUEUE_RX], vs->cid);
}

static void virtio_vsock_kick(struct virtio_device *dev, unsigned int queue)
{
	struct virtio_vsock *vs = virtio_vsock_of(dev);

	if (queue == VSOCK_QUEUE_TX)
		virtio_vsock_kick_tx(vs);
	else if (queue == VSOCK_QUEUE_RX)
		virtio_vsock_serve(vs);
	/* The one event there is tells of a move to another host, which we never make: its buffers stay in the ring. */
}

static void virtio_vsock_stop(struct virtio_device *dev)
{
	vsock_streams_forget_all(virtio_vsock_of(dev));
}

static const struct virtio_device_ops virtio_vsock_ops = {
	.start = virtio_vsock_start,
	.kick = virtio_vsock_kick,
	.stop = virtio_vsock_stop,
};

static void virtio_vsock_close_ports(struct virtio_vsock *vs)
{
	for (unsigned int i = 0; i < vs->n_ports; i++) {
		if (vs->port[i].fd >= 0)
			close(vs->port[i].fd);
	}
	vs->n_ports = 0;
}

/* The other end's flags are its own. */
static int virtio_vsock_open_ports(struct virtio_vsock *vs,
				   const struct virtio_vsock_options *options)
{
	assert(options->n_ports <= VIRTIO_VSOCK_PORTS);
	for (unsigned int i = 0; i < options->n_ports; i++) {
		int fd = fcntl(options->ports[i].fd, F_DUPFD_CLOEXEC, 0), err;

		if (fd >= 0) {
			vs->port[i] = (struct virtio_vsock_port){options->ports[i].port, fd};
			vs->n_ports++;
		}
		if (fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
			err = -errno;
			log_failure(err, "%s: cannot use the socket of port %u", vs->name,
				    options->ports[i].port);
			return err;
		}
	}
	return 0;
}

int virtio_vsock_init(struct virtio_vsock *vs, const struct virtio_vsock_options *options)
{
	struct virtio_vsock_config config = {.guest_cid = htole64(options->cid)};
	struct vsock_host_options host = {.loop = options->loop,
					  .name = vs->name,
					  .path = options->path,
					  .connect = vsock_streams_ask,
					  .arg = vs};
	int err;

	memset(vs, 0, sizeof(*vs));
	vs->cid = options->cid;
	vs->max_conns = options->max_connections ? options->max_connections
						 : VIRTIO_VSOCK_MAX_CONNECTIONS;
	snprintf(vs->name, sizeof(vs->name), "vsock %u", options->cid);
	if (options->cid < VIRTIO_VSOCK_CID_MIN || options->cid > VIRTIO_VSOCK_CID_MAX) {
		log_error("%s: a guest's CID is a number from %u to %u", vs->name,
			  VIRTIO_VSOCK_CID_MIN, VIRTIO_VSOCK_CID_MAX);
		return -EINVAL;
	}
	vsock_streams_init(vs);
	vs->dev = (struct virtio_device){
		.ops = &virtio_vsock_ops,
		.name = vs->name,
		.loop = options->loop,
		.id = VIRTIO_ID_VSOCK,
		.queue_size = VIRTIO_VSOCK_QUEUE_SIZE,
		.n_queues = VSOCK_QUEUES,
		.config_size = sizeof(config),
	};
	err = virtio_device_init(&vs->dev);
	if (err < 0) {
		log_failure(err, "cannot set up %s", vs->name);
		return err;
	}
	virtio_device_config_set(&vs->dev, 0, &config, sizeof(config));
	err = virtio_vsock_open_ports(vs, options);
	if (err == 0)
		err = vsock_host_init(&vs->host, &host);
	if (err < 0) {
		virtio_vsock_close_ports(vs);
		virtio_device_fini(&vs->dev);
	}
	return err;
}

int virtio_vsock_listen(struct virtio_vsock *vs)
{
	return vsock_host_listen(&vs->host);
}

void virtio_vsock_moved(struct virtio_vsock *vs)
{
	vsock_host_moved(&vs->host);
}

void virtio_vsock_fini(struct virtio_vsock *vs)
{
	vsock_streams_forget_all(vs);
	virtio_vsock_close_ports(vs);
	vsock_host_fini(&vs->host);
	virtio_device_fini(&vs->dev);
}
