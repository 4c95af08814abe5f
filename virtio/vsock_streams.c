#include "virtio/vsock_streams.h"

#include <errno.h>
#include <unistd.h>

#include "vmm/core/assert.h"
#include "vmm/core/descriptor.h"

/* The credit of one connection, and what it is divided from when there are many. */
#define VSOCK_CREDIT_MAX   (UINT32_C(256) << 10)
#define VSOCK_CREDIT_MIN   (UINT32_C(16) << 10)
#define VSOCK_CREDIT_SHARE (UINT32_C(64) << 20)

#define VSOCK_RETRY	  UINT64_C(5000000) /* ns */
#define VSOCK_RETRY_BATCH 64

/* ---- connections ---- */

static void vsock_streams_stop_waiting(struct virtio_vsock *vs, struct vsock_conn *conn)
{
	if (conn->in_wait)
		TAILQ_REMOVE(&vs->waits, conn, wait);
	conn->in_wait = false;
}

/* All wait equally long, so the list is in order. */
static void vsock_streams_update_wait(struct virtio_vsock *vs, struct vsock_conn *conn)
{
	bool waits = conn->state == VSOCK_CONN_ASKING || conn->state == VSOCK_CONN_CONNECTING ||
		     conn->state == VSOCK_CONN_CLOSING;

	if (waits && conn->in_wait && conn->wait_state == conn->state)
		return;
	vsock_streams_stop_waiting(vs, conn);
	if (!waits)
		return;
	conn->in_wait = true;
	conn->wait_state = conn->state;
	conn->wait_end = evloop_now() + VIRTIO_VSOCK_PATIENCE;
	TAILQ_INSERT_TAIL(&vs->waits, conn, wait);
	if (!vs->wait_timer.armed)
		evloop_timer_set(vs->dev.loop, &vs->wait_timer, VIRTIO_VSOCK_PATIENCE);
}

void vsock_streams_forget(struct virtio_vsock *vs, struct vsock_conn *conn)
{
	if (conn->in_map)
		vsock_map_remove(&vs->map, conn);
	if (conn->in_turn)
		TAILQ_REMOVE(&vs->turns, conn, turn);
	vsock_streams_stop_waiting(vs, conn);
	TAILQ_REMOVE(&vs->all, conn, all);
	evloop_del(vs->dev.loop, &conn->watch);
	vsock_conn_free(conn);
	vs->n_conns--;
}

void vsock_streams_forget_all(struct virtio_vsock *vs)
{
	while (!TAILQ_EMPTY(&vs->all))
		vsock_streams_forget(vs, TAILQ_FIRST(&vs->all));
	evloop_timer_cancel(vs->dev.loop, &vs->wait_timer);
	evloop_timer_cancel(vs->dev.loop, &vs->retry_timer);
	vs->n_resets = 0;
	vs->tx_paused = false;
}

static void vsock_streams_take_turn(struct virtio_vsock *vs, struct vsock_conn *conn)
{
	if (conn->in_turn)
		return;
	conn->in_turn = true;
	TAILQ_INSERT_TAIL(&vs->turns, conn, turn);
}

/* One that queues up already need not be told again that its socket is readable. Most get their turn at once: to queue up
 * costs no system call, to be told a second time does. */
static void vsock_streams_watch(struct virtio_vsock *vs, struct vsock_conn *conn)
{
	uint32_t events = vsock_conn_events(conn);

	if (conn->in_turn && vsock_conn_may_read(conn) > 0)
		events &= ~(uint32_t)EPOLLIN;
	if (evloop_mod(vs->dev.loop, &conn->watch, events) < 0) {
		evloop_del(vs->dev.loop, &conn->watch);
		vsock_conn_reset(conn);
	}
}

/* After anything happened to a connection: everything about it that is ours follows its state. It may be freed. */
void vsock_streams_settle(struct virtio_vsock *vs, struct vsock_conn *conn)
{
	bool unknown;

	vsock_streams_watch(vs, conn);
	unknown = conn->state == VSOCK_CONN_DRAINING || conn->state == VSOCK_CONN_OVER;
	if (unknown && conn->in_map) {
		vsock_map_remove(&vs->map, conn);
		/* The host may be blocked in writing before it reads what is left. */
		if (conn->state == VSOCK_CONN_DRAINING)
			descriptor_deafen(conn->fd);
	}
	if (conn->state == VSOCK_CONN_OVER && !vsock_conn_has_packet(conn)) {
		vsock_streams_forget(vs, conn);
		return;
	}
	if (conn->state == VSOCK_CONN_OVER || conn->state == VSOCK_CONN_CLOSING) {
		evloop_del(vs->dev.loop, &conn->watch);
		vsock_conn_close_fd(conn);
	}
	if (vsock_conn_has_packet(conn) || vsock_conn_may_read(conn) > 0)
		vsock_streams_take_turn(vs, conn);
	vsock_streams_update_wait(vs, conn);
}

static void vsock_streams_on_conn(void *arg, uint32_t events)
{
	struct vsock_conn *conn = arg;
	struct virtio_vsock *vs = conn->owner;

	vsock_conn_host_event(conn, events);
	vsock_streams_settle(vs, conn);
	virtio_vsock_serve(vs);
}

static void vsock_streams_add(struct virtio_vsock *vs, struct vsock_conn *conn)
{
	conn->owner = vs;
	conn->watch = (struct evloop_fd){.fd = conn->fd, .fn = vsock_streams_on_conn, .arg = conn};
	vsock_map_add(&vs->map, conn);
	TAILQ_INSERT_TAIL(&vs->all, conn, all);
	vs->n_conns++;
}

static uint32_t vsock_streams_credit(const struct virtio_vsock *vs)
{
	uint32_t share = VSOCK_CREDIT_SHARE / (vs->n_conns + 1);

	if (share > VSOCK_CREDIT_MAX)
		return VSOCK_CREDIT_MAX;
	return share < VSOCK_CREDIT_MIN ? VSOCK_CREDIT_MIN : share;
}

static void vsock_streams_on_wait(void *arg)
{
	struct virtio_vsock *vs = arg;
	uint64_t now = evloop_now();
	struct vsock_conn *conn;

	while ((conn = TAILQ_FIRST(&vs->waits)) && conn->wait_end <= now) {
		vsock_conn_reset(conn);
		vsock_streams_settle(vs, conn);
	}
	if (conn)
		evloop_timer_set(vs->dev.loop, &vs->wait_timer, conn->wait_end - now);
	virtio_vsock_serve(vs);
}

/* ---- connections that the host begins ---- */

void vsock_streams_ask(void *arg, int fd, uint32_t port)
{
	struct virtio_vsock *vs = arg;
	struct vsock_conn *conn = NULL;

	if (vs->dev.started && !vs->dev.broken && vs->n_conns < vs->max_conns)
		conn = vsock_conn_ask(fd, vsock_map_port(&vs->map, port), port,
				      vsock_streams_credit(vs));
	if (!conn) {
		descriptor_hang_up(fd);
		return;
	}
	vsock_streams_add(vs, conn);
	vsock_streams_settle(vs, conn);
	virtio_vsock_serve(vs);
}

/* ---- connections that the guest begins ---- */

/* There is always room: the transmit queue is not served without. */
void vsock_streams_refuse(struct virtio_vsock *vs, const struct vsock_packet *packet)
{
	if (packet->op == VIRTIO_VSOCK_OP_RST)
		return;
	assert(vs->n_resets < VIRTIO_VSOCK_RESETS);
	vs->resets[vs->n_resets++] = (struct vsock_packet){.host_port = packet->host_port,
							   .guest_port = packet->guest_port,
							   .type = packet->type,
							   .op = VIRTIO_VSOCK_OP_RST};
}

static void vsock_streams_try_connect(struct virtio_vsock *vs, struct vsock_conn *conn)
{
	int err = vsock_host_connect(&vs->host, conn->fd, conn->host_port);

	if (err == 0)
		vsock_conn_connected(conn);
	else if (err != -EAGAIN)
		vsock_conn_reset(conn);
	else if (!vs->retry_timer.armed)
		evloop_timer_set(vs->dev.loop, &vs->retry_timer, VSOCK_RETRY);
}

/* Those that waited longest go first, and the others next time: their listener may be another, and have room. */
static void vsock_streams_on_retry(void *arg)
{
	struct virtio_vsock *vs = arg;
	struct vsock_conn *conn, *next;
	unsigned int seen = 0, tried = 0, failed = 0;

	for (conn = TAILQ_FIRST(&vs->waits); conn && tried < VSOCK_RETRY_BATCH; conn = next) {
		next = TAILQ_NEXT(conn, wait);
		if (conn->state != VSOCK_CONN_CONNECTING || seen++ < vs->retry_skip)
			continue;
		tried++;
		vsock_streams_try_connect(vs, conn);
		failed += conn->state == VSOCK_CONN_CONNECTING;
		vsock_streams_settle(vs, conn);
	}
	vs->retry_skip = conn ? vs->retry_skip + failed : 0;
	if (seen > 0 && !vs->retry_timer.armed)
		evloop_timer_set(vs->dev.loop, &vs->retry_timer, VSOCK_RETRY);
	virtio_vsock_serve(vs);
}

/* The socket that the owner has for this port, which it then has no more. Returns whether the port is the owner's. */
static bool vsock_streams_take_port(struct virtio_vsock *vs, uint32_t port, int *fd)
{
	for (unsigned int i = 0; i < vs->n_ports; i++) {
		if (vs->port[i].port == port) {
			*fd = vs->port[i].fd;
			vs->port[i].fd = -1;
			return true;
		}
	}
	return false;
}

void vsock_streams_request(struct virtio_vsock *vs, const struct vsock_packet *packet)
{
	struct vsock_conn *conn = NULL;
	bool connected = false;
	int fd = -1;

	if (vs->n_conns < vs->max_conns) {
		connected = vsock_streams_take_port(vs, packet->host_port, &fd);
		if (!connected)
			fd = vsock_host_socket(&vs->host);
	}
	if (fd >= 0)
		conn = vsock_conn_accept(fd, packet, vsock_streams_credit(vs));
	if (!conn) {
		if (fd >= 0)
			close(fd);
		vsock_streams_refuse(vs, packet);
		return;
	}
	vsock_streams_add(vs, conn);
	if (connected)
		vsock_conn_connected(conn);
	else
		vsock_streams_try_connect(vs, conn);
	vsock_streams_settle(vs, conn);
}

void vsock_streams_init(struct virtio_vsock *vs)
{
	vsock_map_init(&vs->map);
	TAILQ_INIT(&vs->all);
	TAILQ_INIT(&vs->turns);
	TAILQ_INIT(&vs->waits);
	vs->wait_timer = (struct evloop_timer){.fn = vsock_streams_on_wait, .arg = vs};
	vs->retry_timer = (struct evloop_timer){.fn = vsock_streams_on_retry, .arg = vs};
}
