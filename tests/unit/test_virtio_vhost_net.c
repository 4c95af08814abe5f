/* virtio/vhost_net: what the kernel is told at the start, and the card that goes on without it. */
#include "tests/unit/vhost_fixture.h"

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
	/* Nothing is the process's before it says so: then there may be threads. */
	ck_assert(!kernel.owned[0] && !kernel.owned[1]);
	ck_assert_int_eq(vhost_net_own(&b.vhost), 0);
	for (unsigned int i = 0; i < PAIRS; i++) {
		ck_assert(kernel.owned[i]);
		ck_assert_uint_eq(kernel.region[i].guest_phys_addr, 0);
		ck_assert_uint_eq(kernel.region[i].memory_size, 4 << 20);
		ck_assert_uint_eq(kernel.region[i].userspace_addr,
				  (uintptr_t)b.mem.regions[0].host);
	}
	ck_assert_uint_eq(b.log_lines, 0);
	vhost_net_close(&b.vhost);
	bare_close(&b);
	ck_assert_uint_eq(count_fds(), fds);
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
	{-EACCES, 0, 0, -EACCES, "ls -l /dev/vhost-net"},
	{-EMFILE, 0, 0, -EMFILE, "Too many open files"},
	{0, VHOST_GET_FEATURES, 0, -ENOMEM, "Cannot allocate memory"},
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
	bare_close(&b);
	ck_assert_uint_eq(count_fds(), fds);
}
END_TEST

static const struct {
	unsigned long fails;
	const char *says;
} losses[] = {{VHOST_SET_OWNER, "/dev/vhost-net: Cannot allocate memory"},
	      {VHOST_SET_MEM_TABLE, "the guest's memory: Cannot allocate memory"}};

#define N_LOSSES ((int)(sizeof(losses) / sizeof(losses[0])))

/* An error for who insists; else a remark, and a card that goes on without. */
START_TEST(test_own_fails)
{
	bool must = _i >= N_LOSSES;
	struct bare b;

	ck_assert_int_eq(bare_open(&b, PAIRS, must), 0);
	kernel.fails = losses[_i % N_LOSSES].fails;
	ck_assert_int_eq(vhost_net_own(&b.vhost), must ? -ENOMEM : 0);
	ck_assert_uint_eq(b.log_lines, 1);
	ck_assert_int_eq(b.log_level, must ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO);
	ck_assert_ptr_nonnull(strstr(b.log_last, "fake0"));
	ck_assert_ptr_nonnull(strstr(b.log_last, losses[_i % N_LOSSES].says));
	vhost_net_close(&b.vhost);
	bare_close(&b);
}
END_TEST

START_TEST(test_goes_on_unowned)
{
	struct net_fixture *f = open_card(SUITED);

	net_reset(f);
	kernel.fails = VHOST_SET_OWNER;
	f->vhost.must = false;
	ck_assert_int_eq(vhost_net_own(&f->vhost), 0);
	kernel.fails = 0;
	net_start(f, SUITED, 256);
	ck_assert_int_eq(kernel.ring[0].backend, -1);
	check_served_here(f);
	net_close(f);
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

int main(void)
{
	Suite *s = suite_create("virtio_vhost_net");
	TCase *tc = tcase_create("vhost");

	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, test_open);
	tcase_add_loop_test(tc, test_open_fails, 0, 2 * N_REFUSALS);
	tcase_add_loop_test(tc, test_own_fails, 0, 2 * N_LOSSES);
	tcase_add_test(tc, test_goes_on_unowned);
	tcase_add_test(tc, test_start);
	tcase_add_loop_test(tc, test_unsuited, 0, 3);
	tcase_add_loop_test(tc, test_start_fails, 0,
			    (int)(sizeof(start_requests) / sizeof(start_requests[0])));
	suite_add_tcase(s, tc);
	return net_run(s);
}
