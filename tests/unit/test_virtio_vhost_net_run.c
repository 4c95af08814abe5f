/* virtio/vhost_net: interrupts, resets, ends, and cards with more queues. */
#include "tests/unit/vhost_fixture.h"

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
	ck_assert_int_eq(vhost_net_own(&f->vhost), 0);
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
	Suite *s = suite_create("virtio/vhost_net at work");
	TCase *tc = tcase_create("vhost");

	tcase_add_checked_fixture(tc, setup, NULL);
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
