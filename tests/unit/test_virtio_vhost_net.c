/* virtio/vhost_net: what the kernel is told, by a kernel that keeps book, and the card that goes on without it. */
#include "tests/unit/net_fixture.h"

#include <pthread.h>
#include <sys/eventfd.h>
#include <linux/vhost.h>

#define CSUM	(UINT64_C(1) << VIRTIO_NET_F_GUEST_CSUM)
#define MQ	(UINT64_C(1) << VIRTIO_NET_F_MQ)
#define CTRL_VQ (UINT64_C(1) << VIRTIO_NET_F_CTRL_VQ)
#define SUITED	(NET_MERGE | NET_TSO)

#define PAIRS 2

/* One ring as the kernel knows it. */
struct fake_ring {
	struct vhost_vring_state num, base;
	struct vhost_vring_addr addr;
	int kick, call, err, backend; /* -1: none */
	struct virtq vq;	      /* while it has a backend */
};

static struct {
	unsigned int n_open;
	_Atomic unsigned int n_requests;
	int fd[PAIRS];
	bool owned[PAIRS];
	uint64_t offered, features[PAIRS];
	struct vhost_memory_region region[PAIRS];
	struct fake_ring ring[2 * PAIRS];
	int open_error;
	unsigned long fails; /* this request */
} kernel;

static const struct guest_mem *kernel_mem; /* what virtq needs beside the addresses */

static int kernel_open(void *arg)
{
	(void)arg;
	if (kernel.open_error)
		return kernel.open_error;
	ck_assert_uint_lt(kernel.n_open, PAIRS);
	kernel.fd[kernel.n_open] = eventfd(0, EFD_CLOEXEC);
	return kernel.fd[kernel.n_open++];
}

static void kernel_set_memory(unsigned int pair, const struct vhost_memory *table)
{
	ck_assert_uint_eq(table->nregions, 1);
	ck_assert_uint_eq(table->padding, 0);
	kernel.region[pair] = table->regions[0];
}

/* The ring must be complete, and no ring changes while it has a backend. */
static int kernel_set_backend(unsigned int pair, struct fake_ring *ring, int fd)
{
	if (fd >= 0) {
		ck_assert(kernel.owned[pair] && kernel.region[pair].memory_size > 0);
		ck_assert_uint_ne(ring->num.num, 0);
		ck_assert(ring->kick >= 0 && ring->call >= 0 && ring->err >= 0);
		ring->vq = (struct virtq){
			.size = (uint16_t)ring->num.num,
			.desc = (const struct vring_desc *)(uintptr_t)ring->addr.desc_user_addr,
			.avail = (struct vring_avail *)(uintptr_t)ring->addr.avail_user_addr,
			.used = (struct vring_used *)(uintptr_t)ring->addr.used_user_addr};
		virtq_resume(&ring->vq, (uint16_t)ring->base.num);
	}
	ring->backend = fd;
	return 0;
}

static int kernel_control_ring(unsigned int pair, unsigned long request, void *data)
{
	const struct vhost_vring_file *file = data; /* all begin with the index */
	struct fake_ring *ring = &kernel.ring[2 * pair + file->index];

	ck_assert_uint_lt(file->index, 2);
	switch (request) {
	case VHOST_SET_VRING_NUM:
		ck_assert_int_lt(ring->backend, 0);
		ring->num = *(struct vhost_vring_state *)data;
		return 0;
	case VHOST_SET_VRING_BASE:
		ck_assert_int_lt(ring->backend, 0);
		ring->base = *(struct vhost_vring_state *)data;
		return 0;
	case VHOST_GET_VRING_BASE:
		((struct vhost_vring_state *)data)->num = ring->vq.state.next_avail;
		return 0;
	case VHOST_SET_VRING_ADDR:
		ring->addr = *(struct vhost_vring_addr *)data;
		return 0;
	case VHOST_SET_VRING_KICK:
		ring->kick = file->fd;
		return 0;
	case VHOST_SET_VRING_CALL:
		ring->call = file->fd;
		return 0;
	case VHOST_SET_VRING_ERR:
		ring->err = file->fd;
		return 0;
	case VHOST_NET_SET_BACKEND:
		return kernel_set_backend(pair, ring, file->fd);
	default:
		ck_abort_msg("no such request: %lx", request);
	}
}

static int kernel_control(void *arg, int fd, unsigned long request, void *data)
{
	unsigned int pair = fd == kernel.fd[0] ? 0 : 1;

	(void)arg;
	ck_assert_int_eq(fd, kernel.fd[pair]);
	kernel.n_requests++;
	if (request == kernel.fails)
		return -ENOMEM;
	switch (request) {
	case VHOST_SET_OWNER:
		ck_assert(!kernel.owned[pair]);
		kernel.owned[pair] = true;
		return 0;
	case VHOST_GET_FEATURES:
		*(uint64_t *)data = kernel.offered;
		return 0;
	case VHOST_SET_FEATURES:
		kernel.features[pair] = *(uint64_t *)data;
		return 0;
	case VHOST_SET_MEM_TABLE:
		kernel_set_memory(pair, data);
		return 0;
	default:
		return kernel_control_ring(pair, request, data);
	}
}

static const struct vhost_net_host host = {.open = kernel_open, .control = kernel_control};

static void setup(void)
{
	memset((void *)&kernel, 0, sizeof(kernel));
	kernel.offered = UINT64_MAX;
	for (unsigned int i = 0; i < 2 * PAIRS; i++)
		kernel.ring[i].kick = kernel.ring[i].call = kernel.ring[i].err =
			kernel.ring[i].backend = -1;
}

static struct net_fixture *open_card(uint64_t features)
{
	struct net_fixture *f = net_open_with(features, &host);

	kernel_mem = &f->mem;
	return f;
}

/* Takes count chains from the ring, as the kernel does, and interrupts. */
static void kernel_serve(struct fake_ring *ring, unsigned int count)
{
	struct iovec iov[VIRTQ_MAX_SIZE];
	struct virtq_chain chain;
	uint64_t one = 1;

	ck_assert_int_ge(ring->backend, 0);
	ring->vq.mem = kernel_mem;
	for (unsigned int i = 0; i < count; i++) {
		ck_assert_int_eq(virtq_pop(&ring->vq, &chain, iov, VIRTQ_MAX_SIZE), 1);
		virtq_push(&ring->vq, chain.head, 0);
	}
	if (virtq_publish(&ring->vq))
		ck_assert_int_eq(write(ring->call, &one, sizeof(one)), sizeof(one));
}

/* What the loop would do for vhost; returns how many callbacks were due. */
static unsigned int pump(struct net_fixture *f)
{
	unsigned int n = net_pump(f);

	n += net_call(&f->vhost.error);
	for (unsigned int i = 0; i < 2 * f->vhost.n_pairs; i++)
		n += net_call(&f->vhost.queue[i].call);
	return n;
}

static void fill(struct net_fixture *f)
{
	while (net_post(f, 1600, 0))
		;
}

/* Frames go both ways without the kernel. */
static void check_served_here(struct net_fixture *f)
{
	uint8_t packet[100], got[200];

	net_fill(packet, sizeof(packet), 3);
	fill(f);
	net_kick(f, 0);
	ck_assert(net_wire_send(f, packet, sizeof(packet)));
	net_pump(f);
	net_expect(f, sizeof(packet), 3);
	virtq_driver_send(
		&f->tx,
		&(struct virtq_piece){virtq_driver_alloc_copy(&f->tx, packet, sizeof(packet)),
				      sizeof(packet), false},
		1);
	net_kick(f, 1);
	ck_assert(virtq_driver_used(&f->tx, NULL, NULL));
	ck_assert_int_eq(recv(f->peer, got, sizeof(got), 0), sizeof(packet));
	ck_assert_mem_eq(got, packet, sizeof(packet));
}

/* ---- opening ---- */

static unsigned int count_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 1000; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

struct bare {
	struct guest_mem mem;
	struct tap tap;
	struct vhost_net vhost;
	unsigned int log_lines;
	int log_level;
	char log_last[512];
};

static void bare_on_log(void *arg, int level, const char *line)
{
	struct bare *b = arg;

	b->log_lines++;
	b->log_level = level;
	snprintf(b->log_last, sizeof(b->log_last), "%s", line);
}

static int bare_open(struct bare *b, unsigned int pairs, bool must)
{
	struct guest_mem_region region = {.base = 0, .size = 4 << 20};
	struct vhost_net_options options = {
		.host = &host, .mem = &b->mem, .backend = &b->tap.be, .must = must};

	memset(b, 0, sizeof(*b));
	ck_assert_int_eq(guest_mem_init(&b->mem, &region, 1), 0);
	tap_init(&b->tap);
	strcpy(b->tap.name, "fake0");
	b->tap.be.n_queues = pairs;
	log_set_level(LOG_LEVEL_INFO);
	log_set_sink(bare_on_log, b);
	return vhost_net_open(&b->vhost, &options);
}

static void bare_close(struct bare *b)
{
	log_set_sink(NULL, NULL);
	guest_mem_fini(&b->mem);
}

START_TEST(test_open)
{
	unsigned int fds = count_fds();
	struct bare b;

	ck_assert_int_eq(bare_open(&b, PAIRS, true), 0);
	ck_assert_uint_eq(kernel.n_open, PAIRS);
	for (unsigned int i = 0; i < PAIRS; i++) {
		ck_assert(kernel.owned[i]);
		ck_assert_uint_eq(kernel.region[i].guest_phys_addr, 0);
		ck_assert_uint_eq(kernel.region[i].memory_size, 4 << 20);
		ck_assert_uint_eq(kernel.region[i].userspace_addr,
				  (uintptr_t)b.mem.regions[0].host);
	}
	ck_assert_uint_eq(b.log_lines, 0);
	vhost_net_close(&b.vhost);
	ck_assert_uint_eq(count_fds(), fds);
	bare_close(&b);
}
END_TEST

static const struct {
	int open_error;
	unsigned long fails;
	uint64_t lacks;
	int err;
	const char *says;
} refusals[] = {
	{-ENOENT, 0, 0, -ENOENT, "modprobe vhost_net"},
	{-EACCES, 0, 0, -EACCES, "usermod -aG kvm"},
	{-EMFILE, 0, 0, -EMFILE, "Too many open files"},
	{0, VHOST_SET_OWNER, 0, -ENOMEM, "Cannot allocate memory"},
	{0, VHOST_GET_FEATURES, 0, -ENOMEM, "Cannot allocate memory"},
	{0, VHOST_SET_MEM_TABLE, 0, -ENOMEM, "memory"},
	{0, 0, NET_V1, -ENOTSUP, "older than virtio 1"},
	{0, 0, NET_MERGE, -ENOTSUP, "older than virtio 1"},
	{0, 0, NET_EVENT, -ENOTSUP, "older than virtio 1"},
	{0, 0, NET_INDIRECT, -ENOTSUP, "older than virtio 1"},
};

#define N_REFUSALS ((int)(sizeof(refusals) / sizeof(refusals[0])))

/* One line, an error only for who insists; nothing is left open. */
START_TEST(test_open_fails)
{
	bool must = _i >= N_REFUSALS;
	unsigned int fds = count_fds();
	struct bare b;

	kernel.open_error = refusals[_i % N_REFUSALS].open_error;
	kernel.fails = refusals[_i % N_REFUSALS].fails;
	kernel.offered = ~refusals[_i % N_REFUSALS].lacks;
	ck_assert_int_eq(bare_open(&b, PAIRS, must), refusals[_i % N_REFUSALS].err);
	ck_assert_uint_eq(b.log_lines, 1);
	ck_assert_int_eq(b.log_level, must ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO);
	ck_assert_ptr_nonnull(strstr(b.log_last, "fake0"));
	ck_assert_ptr_nonnull(strstr(b.log_last, refusals[_i % N_REFUSALS].says));
	ck_assert_uint_eq(count_fds(), fds);
	bare_close(&b);
}
END_TEST

/* ---- a driver starts ---- */

START_TEST(test_start)
{
	struct net_fixture *f = open_card(SUITED | NET_EVENT);
	struct virtio_device *dev = &f->net.dev;
	uint64_t count;

	ck_assert_uint_eq(kernel.features[0], NET_V1 | NET_MERGE | NET_EVENT);
	for (unsigned int i = 0; i < 2; i++) {
		const struct virtq_driver *drv = i == 0 ? &f->rx : &f->tx;
		const struct fake_ring *ring = &kernel.ring[i];

		ck_assert_uint_eq(ring->num.num, 256);
		ck_assert_uint_eq(ring->base.num, 0);
		ck_assert_uint_eq(ring->addr.desc_user_addr, (uintptr_t)drv->desc);
		ck_assert_uint_eq(ring->addr.avail_user_addr, (uintptr_t)drv->avail);
		ck_assert_uint_eq(ring->addr.used_user_addr, (uintptr_t)drv->used);
		ck_assert_uint_eq(ring->addr.flags, 0);
		ck_assert_int_eq(ring->kick, dev->kick_fd[i]);
		ck_assert_int_eq(ring->backend, f->tap.be.fd[0]);
		ck_assert_int_eq(ring->err, f->vhost.error_fd);
		/* The first kick is the kernel's, as all others: nobody here reads them. */
		virtio_device_rekick(dev, i);
		ck_assert_uint_eq(pump(f), 0);
		ck_assert_int_eq(read(dev->kick_fd[i], &count, sizeof(count)), sizeof(count));
		ck_assert_uint_eq(count, 2);
	}
	ck_assert_int_ne(kernel.ring[0].call, kernel.ring[1].call);
	ck_assert_uint_eq(f->log_lines, 0);
	net_close(f);
}
END_TEST

/* What the kernel would not do for these drivers is done here. */
START_TEST(test_unsuited)
{
	static const uint64_t features[] = {0, NET_MERGE, CSUM};
	struct net_fixture *f = open_card(SUITED);

	net_reset(f);
	net_start(f, features[_i], 256);
	ck_assert_int_eq(kernel.ring[0].backend, -1);
	ck_assert_int_eq(kernel.ring[1].backend, -1);
	check_served_here(f);
	net_close(f);
}
END_TEST

static const unsigned long start_requests[] = {
	VHOST_SET_FEATURES,   VHOST_SET_VRING_NUM,  VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR,
	VHOST_SET_VRING_CALL, VHOST_SET_VRING_KICK, VHOST_SET_VRING_ERR,  VHOST_NET_SET_BACKEND,
};

/* The kernel refuses something at the last moment: the card works all the same, and has the kicks. */
START_TEST(test_start_fails)
{
	struct net_fixture *f;

	kernel.fails = start_requests[_i];
	f = open_card(SUITED);
	ck_assert_int_eq(kernel.ring[0].backend, -1);
	ck_assert_int_eq(kernel.ring[0].kick, -1);
	ck_assert_uint_ge(f->log_lines, 1);
	ck_assert_ptr_nonnull(strstr(f->log_last, "without vhost-net"));
	check_served_here(f);
	/* The next driver has it, if the kernel is of another mind then. */
	kernel.fails = 0;
	net_reset(f);
	net_start(f, SUITED, 256);
	ck_assert_int_ge(kernel.ring[0].backend, 0);
	ck_assert_int_ge(kernel.ring[1].backend, 0);
	net_close(f);
}
END_TEST

/* ---- interrupts ---- */

/* Without an eventfd of the transport they take the way through the loop. */
START_TEST(test_call)
{
	struct net_fixture *f = open_card(SUITED);

	fill(f);
	kernel_serve(&kernel.ring[0], 3);
	ck_assert_uint_eq(f->interrupts[0], 0);
	ck_assert_uint_eq(pump(f), 1);
	ck_assert_uint_eq(f->interrupts[0], 1);
	ck_assert_uint_eq(f->interrupts[1], 0);
	ck_assert_uint_eq(virtq_driver_n_used(&f->rx), 3);
	ck_assert_uint_eq(pump(f), 0);
	net_close(f);
}
END_TEST

static _Atomic int transport_fd = -1; /* of queue 0 */

static int on_interrupt_fd(void *arg, unsigned int queue)
{
	(void)arg;
	return queue == 0 ? atomic_load(&transport_fd) : -1;
}

/* With one they go there, and take the way through the loop while it is not to be had. */
START_TEST(test_interrupt_fd)
{
	struct net_fixture *f = open_card(SUITED);
	int direct = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	unsigned int requests;
	uint64_t count;

	net_reset(f);
	f->net.dev.transport.interrupt_fd = on_interrupt_fd;
	transport_fd = direct;
	net_start(f, SUITED, 256);
	fill(f);
	ck_assert_int_eq(kernel.ring[0].call, direct);
	ck_assert_int_eq(kernel.ring[1].call, f->vhost.queue[1].call_fd);
	kernel_serve(&kernel.ring[0], 1);
	ck_assert_uint_eq(pump(f), 0);
	ck_assert_int_eq(read(direct, &count, sizeof(count)), sizeof(count));

	transport_fd = -1;
	f->net.dev.ops->interrupt_moved(&f->net.dev, 0);
	kernel_serve(&kernel.ring[0], 1);
	ck_assert_uint_eq(pump(f), 1);
	ck_assert_uint_eq(f->interrupts[0], 1);
	ck_assert_int_lt(read(direct, &count, sizeof(count)), 0);

	transport_fd = direct;
	f->net.dev.ops->interrupt_moved(&f->net.dev, 0);
	ck_assert_int_eq(kernel.ring[0].call, direct);
	requests = kernel.n_requests;
	f->net.dev.ops->interrupt_moved(&f->net.dev, 0); /* nothing new */
	f->net.dev.ops->interrupt_moved(&f->net.dev, 2); /* the control queue */
	ck_assert_uint_eq(kernel.n_requests, requests);

	/* Without a driver it is nobody's business. */
	net_reset(f);
	requests = kernel.n_requests;
	transport_fd = -1;
	f->net.dev.ops->interrupt_moved(&f->net.dev, 0);
	ck_assert_uint_eq(kernel.n_requests, requests);
	net_close(f);
	close(direct);
}
END_TEST

static _Atomic bool racing;

/* A vCPU that masks and unmasks the vector as fast as it can. */
static void *mask_and_unmask(void *arg)
{
	struct net_fixture *f = arg;

	for (int fd = 1000; atomic_load(&racing); fd = fd == -1 ? 1000 : -1) {
		atomic_store(&transport_fd, fd);
		f->net.dev.ops->interrupt_moved(&f->net.dev, 0);
	}
	return NULL;
}

/* Masked while the driver starts: the kernel signals what the transport says last, never what it said before. */
START_TEST(test_moves_while_starting)
{
	struct net_fixture *f = open_card(SUITED);
	pthread_t thread;

	net_reset(f);
	f->net.dev.transport.interrupt_fd = on_interrupt_fd;
	for (unsigned int i = 0; i < 200; i++) {
		int want;

		atomic_store(&racing, true);
		ck_assert_int_eq(pthread_create(&thread, NULL, mask_and_unmask, f), 0);
		net_start(f, SUITED, 256);
		atomic_store(&racing, false);
		pthread_join(thread, NULL);
		want = atomic_load(&transport_fd);
		ck_assert_int_eq(kernel.ring[0].call, want >= 0 ? want : f->vhost.queue[0].call_fd);
		net_reset(f);
	}
	net_close(f);
}
END_TEST

/* ---- the end ---- */

/* The kernel lets go of everything, and the ring is known as it left it. */
START_TEST(test_reset)
{
	struct net_fixture *f = open_card(SUITED);
	struct virtio_device *dev = &f->net.dev;
	uint64_t one = 1;

	for (unsigned int round = 1; round <= 3; round++) {
		fill(f);
		kernel_serve(&kernel.ring[0], 7);
		net_reset(f);
		ck_assert_uint_eq(f->stopped, round);
		for (unsigned int i = 0; i < 2; i++) {
			ck_assert_int_eq(kernel.ring[i].backend, -1);
			ck_assert_int_eq(kernel.ring[i].kick, -1);
		}
		ck_assert_uint_eq(dev->queue[0].state.next_avail, 7);
		ck_assert_uint_eq(dev->queue[0].state.published, 7);
		ck_assert_uint_eq(dev->queue[1].state.next_avail, 0);
		/* What is signalled late is for nobody. */
		ck_assert_int_eq(write(f->vhost.error_fd, &one, sizeof(one)), sizeof(one));
		ck_assert_uint_eq(pump(f), 0);
		net_start(f, SUITED, 256);
		ck_assert_int_ge(kernel.ring[0].backend, 0);
		ck_assert_uint_eq(pump(f), 0);
	}
	ck_assert_uint_eq(f->interrupts[0] + f->needs_reset, 0);
	net_close(f);
}
END_TEST

/* The machine ends while the driver runs. */
START_TEST(test_fini)
{
	unsigned int fds = count_fds();
	struct net_fixture *f = open_card(SUITED);

	virtio_net_fini(&f->net);
	ck_assert_int_eq(kernel.ring[0].backend, -1);
	ck_assert_int_eq(kernel.ring[1].backend, -1);
	vhost_net_close(&f->vhost);
	tap_close(&f->tap);
	close(f->peer);
	evloop_fini(&f->loop);
	guest_mem_fini(&f->mem);
	log_set_sink(NULL, NULL);
	free(f);
	ck_assert_uint_eq(count_fds(), fds);
}
END_TEST

/* A malformed ring stops all queues of the card, which asks for a reset and is well after it. */
START_TEST(test_malformed)
{
	struct net_fixture *f = open_card(SUITED);
	uint64_t one = 1;

	ck_assert_int_eq(write(kernel.ring[1].err, &one, sizeof(one)), sizeof(one));
	pump(f);
	ck_assert_uint_eq(f->needs_reset, 1);
	ck_assert(f->net.dev.broken);
	ck_assert_int_eq(kernel.ring[0].backend, -1);
	ck_assert_int_eq(kernel.ring[1].backend, -1);
	ck_assert_uint_eq(pump(f), 0);
	net_reset(f);
	net_start(f, SUITED, 256);
	ck_assert(!f->net.dev.broken);
	ck_assert_int_ge(kernel.ring[0].backend, 0);
	ck_assert_uint_eq(f->needs_reset, 1);
	net_close(f);
}
END_TEST

/* ---- more queues ---- */

/* Driver and rings of the queues behind the first pair. */
static void enable(struct net_fixture *f, struct virtq_driver *drv, unsigned int queue)
{
	gpa_t base = (40 + (gpa_t)queue) << 20;

	virtq_driver_init(drv, &f->mem, base, base + (1 << 20), 64);
	ck_assert_int_eq(virtq_init(&f->net.dev.queue[queue], &f->mem, &drv->config, 0), 0);
	f->net.dev.enabled[queue] = true;
}

/* The control queue stays here. When it breaks, the kernel stops too. */
START_TEST(test_control_queue)
{
	struct net_fixture *f = open_card(SUITED);
	struct virtq_driver ctrl;

	net_reset(f);
	enable(f, &ctrl, 2);
	net_start(f, SUITED | CTRL_VQ, 256);
	ck_assert_int_ge(kernel.ring[0].backend, 0);
	ck_assert(net_call(&f->net.dev.kick[2]));
	virtq_driver_set_avail_idx(&ctrl, 1000);
	virtio_device_rekick(&f->net.dev, 2);
	ck_assert(net_call(&f->net.dev.kick[2]));
	ck_assert_uint_eq(f->needs_reset, 1);
	ck_assert_int_eq(kernel.ring[0].backend, -1);
	ck_assert_int_eq(kernel.ring[1].backend, -1);
	net_close(f);
}
END_TEST

/* A descriptor for each pair; without MQ queue 2 is the control queue, and no ring of the second pair. */
START_TEST(test_pairs)
{
	static const uint8_t mac[ETH_ALEN] = {0x52, 0x54, 0, 1, 2, 3};
	struct virtio_net_options options = {.mac = mac};
	struct net_fixture *f = open_card(SUITED);
	struct virtq_driver more[3];
	int second = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct vhost_net_options vhost = {
		.host = &host, .mem = &f->mem, .backend = &f->tap.be, .must = true};
	struct virtio_transport transport = f->net.dev.transport;

	virtio_net_fini(&f->net);
	vhost_net_close(&f->vhost);
	setup();
	f->tap.be.n_queues = PAIRS;
	f->tap.be.fd[1] = second;
	ck_assert_int_eq(vhost_net_open(&f->vhost, &vhost), 0);
	options.loop = &f->loop;
	options.backend = &f->tap.be;
	options.vhost = &f->vhost;
	ck_assert_int_eq(virtio_net_init(&f->net, &options), 0);
	f->net.dev.transport = transport;
	for (unsigned int i = 0; i < 3; i++)
		enable(f, &more[i], 2 + i);

	net_start(f, SUITED | MQ | CTRL_VQ, 256);
	for (unsigned int i = 0; i < 2 * PAIRS; i++)
		ck_assert_int_eq(kernel.ring[i].backend, f->tap.be.fd[i / 2]);
	ck_assert_uint_eq(kernel.ring[2].num.num, 64);
	ck_assert_uint_eq(kernel.ring[3].addr.desc_user_addr, (uintptr_t)more[1].desc);
	ck_assert(net_call(&f->net.dev.kick[4]));
	net_reset(f);
	for (unsigned int i = 0; i < 2 * PAIRS; i++)
		ck_assert_int_eq(kernel.ring[i].backend, -1);

	f->net.dev.enabled[3] = f->net.dev.enabled[4] = false;
	net_start(f, SUITED | CTRL_VQ, 256);
	ck_assert_int_ge(kernel.ring[1].backend, 0);
	ck_assert_int_eq(kernel.ring[2].backend, -1);
	ck_assert(net_call(&f->net.dev.kick[2]));
	net_close(f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_vhost_net");
	TCase *tc = tcase_create("vhost");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_open);
	tcase_add_loop_test(tc, test_open_fails, 0, 2 * N_REFUSALS);
	tcase_add_test(tc, test_start);
	tcase_add_loop_test(tc, test_unsuited, 0, 3);
	tcase_add_loop_test(tc, test_start_fails, 0,
			    (int)(sizeof(start_requests) / sizeof(start_requests[0])));
	tcase_add_test(tc, test_call);
	tcase_add_test(tc, test_interrupt_fd);
	tcase_add_test(tc, test_moves_while_starting);
	tcase_add_test(tc, test_reset);
	tcase_add_test(tc, test_fini);
	tcase_add_test(tc, test_malformed);
	tcase_add_test(tc, test_control_queue);
	tcase_add_test(tc, test_pairs);
	suite_add_tcase(s, tc);
	return net_run(s);
}
