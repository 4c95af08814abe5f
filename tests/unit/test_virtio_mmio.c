/* virtio/virtio_mmio: the registers of 4.2.2, kicks, the interrupt line, and resets that wait. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#include "tests/unit/evloop_settle.h"
#include "tests/unit/fake_device.h"
#include "tests/unit/virtq_driver.h"
#include "virtio/virtio_mmio.h"

#define RAM_SIZE UINT64_C(0x400000)
#define BASE	 UINT64_C(0xd0003000)

#define VERSION_1 (UINT64_C(1) << VIRTIO_F_VERSION_1)
#define OFFERED                                                                                    \
	(FAKE_FEATURES | VERSION_1 | UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX |                      \
	 UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC)

#define S_ACK	      VIRTIO_CONFIG_S_ACKNOWLEDGE
#define S_DRIVER      (S_ACK | VIRTIO_CONFIG_S_DRIVER)
#define S_FEATURES_OK (S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)
#define S_DRIVER_OK   (S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)

static struct guest_mem mem;
static struct evloop loop;
static struct fake_device fake;
static struct virtio_mmio vmmio;
static struct virtq_driver drv[FAKE_QUEUES];
static int bound[FAKE_QUEUES]; /* eventfds; -1: none */
static int bind_error;
static unsigned int bad_unbinds;
static _Atomic bool line;
static _Atomic unsigned int edges;

/* ---- the host ---- */

static int host_bind(void *arg, uint64_t gpa, unsigned int queue, int fd)
{
	(void)arg;
	ck_assert_uint_eq(gpa, BASE + 0x50);
	ck_assert_uint_lt(queue, FAKE_QUEUES);
	if (bind_error)
		return bind_error;
	ck_assert_int_eq(bound[queue], -1);
	bound[queue] = fd;
	return 0;
}

static void host_unbind(void *arg, uint64_t gpa, unsigned int queue, int fd)
{
	(void)arg;
	if (gpa != BASE + 0x50 || bound[queue] != fd)
		bad_unbinds++;
	bound[queue] = -1;
}

static void host_raise(void *arg)
{
	(void)arg;
	if (!atomic_exchange(&line, true))
		atomic_fetch_add(&edges, 1);
}

static void host_lower(void *arg)
{
	(void)arg;
	atomic_store(&line, false);
}

static unsigned int n_bound(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		n += bound[i] >= 0;
	return n;
}

/* ---- the driver ---- */

static uint32_t get(uint64_t reg)
{
	return (uint32_t)virtio_mmio_read(&vmmio, reg, 4);
}

static void set(uint64_t reg, uint32_t value)
{
	virtio_mmio_write(&vmmio, reg, 4, value);
}

static void set_features(uint64_t features)
{
	for (unsigned int i = 0; i < 2; i++) {
		set(VIRTIO_MMIO_DRIVER_FEATURES_SEL, i);
		set(VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32 * i));
	}
}

static void place_queue(unsigned int queue)
{
	gpa_t base = 0x100000 * (gpa_t)(queue + 1);
	const struct virtq_config *c = &drv[queue].config;

	virtq_driver_init(&drv[queue], &mem, base, base + 0x100000, 16);
	set(VIRTIO_MMIO_QUEUE_SEL, queue);
	set(VIRTIO_MMIO_QUEUE_NUM, 16);
	set(VIRTIO_MMIO_QUEUE_DESC_LOW, (uint32_t)c->desc);
	set(VIRTIO_MMIO_QUEUE_DESC_HIGH, (uint32_t)(c->desc >> 32));
	set(VIRTIO_MMIO_QUEUE_AVAIL_LOW, (uint32_t)c->avail);
	set(VIRTIO_MMIO_QUEUE_AVAIL_HIGH, (uint32_t)(c->avail >> 32));
	set(VIRTIO_MMIO_QUEUE_USED_LOW, (uint32_t)c->used);
	set(VIRTIO_MMIO_QUEUE_USED_HIGH, (uint32_t)(c->used >> 32));
}

/* Everything up to DRIVER_OK, without it. */
static void prepare(void)
{
	set(VIRTIO_MMIO_STATUS, 0);
	set(VIRTIO_MMIO_STATUS, S_ACK);
	set(VIRTIO_MMIO_STATUS, S_DRIVER);
	set_features(VERSION_1);
	set(VIRTIO_MMIO_STATUS, S_FEATURES_OK);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		place_queue(i);
		set(VIRTIO_MMIO_QUEUE_READY, 1);
	}
}

static void go(void)
{
	prepare();
	set(VIRTIO_MMIO_STATUS, S_DRIVER_OK);
	evloop_settle(&loop);
}

static void send_request(unsigned int queue)
{
	struct virtq_driver *d = &drv[queue];
	const struct virtq_piece pieces[] = {{virtq_driver_alloc_copy(d, "question", 8), 8, false},
					     {virtq_driver_alloc(d, 8), 8, true}};

	virtq_driver_send(d, pieces, 2);
}

/* The write, which KVM turns into a signal where an eventfd is bound to its value. */
static void kick(unsigned int queue)
{
	uint64_t one = 1;

	if (bound[queue] < 0)
		set(VIRTIO_MMIO_QUEUE_NOTIFY, queue);
	else
		ck_assert_int_eq(write(bound[queue], &one, sizeof(one)), sizeof(one));
	evloop_settle(&loop);
}

/* ---- registers ---- */

static const struct {
	uint32_t reg, value;
} fresh[] = {
	{0x000, 0x74726976},
	{0x004, 2},
	{0x008, FAKE_ID},
	{0x00c, 0x1af4},
	{0x010, (uint32_t)OFFERED},
	{0x034, FAKE_QUEUE_SIZE},
	{0x044, 0},
	{0x060, 0},
	{0x070, 0},
	{0x0b0, UINT32_MAX}, /* 4.2.2: no such shared memory region */
	{0x0b4, UINT32_MAX},
	{0x0b8, UINT32_MAX},
	{0x0bc, UINT32_MAX},
	{0x0fc, 0},
};

static void check_fresh(void)
{
	for (uint32_t reg = 0; reg < 0x100; reg += 4) {
		uint32_t want = 0; /* write-only, or nothing */

		for (unsigned int i = 0; i < sizeof(fresh) / sizeof(fresh[0]); i++) {
			if (fresh[i].reg == reg)
				want = fresh[i].value;
		}
		ck_assert_msg(get(reg) == want, "register 0x%x is 0x%x", reg, get(reg));
	}
}

START_TEST(test_fresh)
{
	check_fresh();
}
END_TEST

/* 4.2.2.2: 32 bits wide and aligned, nothing else. */
START_TEST(test_widths)
{
	static const unsigned int widths[] = {1, 2, 8};

	for (unsigned int i = 0; i < 3; i++) {
		for (uint64_t reg = 0; reg + widths[i] <= 0x100; reg++) {
			ck_assert_uint_eq(virtio_mmio_read(&vmmio, reg, widths[i]), 0);
			virtio_mmio_write(&vmmio, reg, widths[i], 1);
		}
	}
	for (uint64_t reg = 0; reg < 0xfc; reg++) {
		if (reg % 4 == 0)
			continue;
		ck_assert_uint_eq(virtio_mmio_read(&vmmio, reg, 4), 0);
		virtio_mmio_write(&vmmio, reg, 4, 1);
	}
	evloop_settle(&loop);
	ck_assert_uint_eq(fake_device_all_kicks(&fake), 0);
	check_fresh();
}
END_TEST

START_TEST(test_config_space)
{
	const char *want = FAKE_CONFIG;
	uint64_t wide;

	for (unsigned int i = 0; i < FAKE_CONFIG_LEN; i++)
		ck_assert_uint_eq(virtio_mmio_read(&vmmio, 0x100 + i, 1), (uint8_t)want[i]);
	memcpy(&wide, want + 8, 8);
	ck_assert_uint_eq(virtio_mmio_read(&vmmio, 0x108, 8), wide);
	ck_assert_uint_eq(virtio_mmio_read(&vmmio, 0x100 + FAKE_CONFIG_LEN, 2), 0);
	ck_assert_uint_eq(virtio_mmio_read(&vmmio, 0xffc, 4), 0);
	virtio_mmio_write(&vmmio, 0x100, 1, 'x'); /* not the driver's */
	ck_assert_uint_eq(virtio_mmio_read(&vmmio, 0x100, 1), (uint8_t)want[0]);
	virtio_device_config_set(&fake.dev, 0, "T", 1);
	ck_assert_uint_eq(get(VIRTIO_MMIO_CONFIG_GENERATION), 1);
	ck_assert_uint_eq(atomic_load(&edges), 0); /* nobody listens yet */
}
END_TEST

START_TEST(test_features)
{
	set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	ck_assert_uint_eq(get(VIRTIO_MMIO_DEVICE_FEATURES), (uint32_t)(OFFERED >> 32));
	set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	ck_assert_uint_eq(get(VIRTIO_MMIO_DEVICE_FEATURES), 0);
	set(VIRTIO_MMIO_STATUS, S_DRIVER);
	set_features(VERSION_1 | 1); /* 1 is not offered */
	set(VIRTIO_MMIO_STATUS, S_FEATURES_OK);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_DRIVER);
	set_features(0); /* 6.1: VERSION_1 must be there */
	set(VIRTIO_MMIO_STATUS, S_FEATURES_OK);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_DRIVER);
	set_features(VERSION_1);
	set(VIRTIO_MMIO_STATUS, S_DRIVER_OK & ~VIRTIO_CONFIG_S_FEATURES_OK);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_DRIVER);
	set(VIRTIO_MMIO_STATUS, S_FEATURES_OK);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_FEATURES_OK);
	set_features(VERSION_1 | UINT64_C(1) << 41); /* too late */
	set(VIRTIO_MMIO_STATUS, S_DRIVER_OK);
	evloop_settle(&loop);
	ck_assert_uint_eq(atomic_load(&fake.negotiated), VERSION_1);
}
END_TEST

START_TEST(test_queue_registers)
{
	prepare();
	ck_assert_uint_eq(n_bound(), 0);
	set(VIRTIO_MMIO_QUEUE_SEL, 0);
	set(VIRTIO_MMIO_QUEUE_DESC_LOW, 0x1000); /* it is ready: holds still */
	set(VIRTIO_MMIO_QUEUE_READY, 2);
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 1);
	set(VIRTIO_MMIO_QUEUE_READY, 0); /* Linux takes queues back like this */
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 0);
	set(VIRTIO_MMIO_QUEUE_NUM, FAKE_QUEUE_SIZE + 1); /* refused: 16 stays */
	set(VIRTIO_MMIO_QUEUE_READY, 1);
	set(VIRTIO_MMIO_QUEUE_SEL, FAKE_QUEUES);
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	set(VIRTIO_MMIO_QUEUE_READY, 1);
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 0);
	set(VIRTIO_MMIO_QUEUE_SEL, UINT32_C(0x10000)); /* 32 bits of it count */
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	set(VIRTIO_MMIO_STATUS, S_DRIVER_OK);
	evloop_settle(&loop);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_DRIVER_OK);
	ck_assert_uint_eq(fake.dev.queue[0].size, 16);
	set(VIRTIO_MMIO_QUEUE_SEL, 0);
	set(VIRTIO_MMIO_QUEUE_READY, 0);
	set(VIRTIO_MMIO_QUEUE_NUM, 8);
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 1);
	ck_assert_uint_eq(vmmio.regs.state.queue[0].size, 16);
	ck_assert_uint_eq(vmmio.regs.state.queue[0].desc, drv[0].config.desc);
	send_request(0);
	kick(0);
	ck_assert_uint_eq(virtq_driver_n_used(&drv[0]), 1);
}
END_TEST

static const struct {
	uint32_t reg, value;
} bad_queues[] = {
	{VIRTIO_MMIO_QUEUE_NUM, 15},
	{VIRTIO_MMIO_QUEUE_NUM, 0},
	{VIRTIO_MMIO_QUEUE_DESC_LOW, 8},
	{VIRTIO_MMIO_QUEUE_DESC_HIGH, 1},
	{VIRTIO_MMIO_QUEUE_AVAIL_LOW, 1},
	{VIRTIO_MMIO_QUEUE_AVAIL_HIGH, UINT32_MAX},
	{VIRTIO_MMIO_QUEUE_USED_LOW, 2},
	{VIRTIO_MMIO_QUEUE_USED_HIGH, 1},
	{VIRTIO_MMIO_QUEUE_USED_LOW, 0x3fffc0},
};

/* The device asks for a reset, and works after it. */
START_TEST(test_bad_queue)
{
	prepare();
	set(VIRTIO_MMIO_QUEUE_SEL, 1);
	set(VIRTIO_MMIO_QUEUE_READY, 0);
	set(bad_queues[_i].reg, bad_queues[_i].value);
	set(VIRTIO_MMIO_QUEUE_READY, 1);
	set(VIRTIO_MMIO_STATUS, S_DRIVER_OK);
	evloop_settle(&loop);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET);
	ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	ck_assert(atomic_load(&line));
	ck_assert_uint_eq(atomic_load(&fake.starts), 0);
	ck_assert_uint_eq(n_bound(), 0);
	go();
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_DRIVER_OK);
	ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	ck_assert(!atomic_load(&line));
	ck_assert_uint_eq(atomic_load(&fake.starts), 1);
}
END_TEST

/* ---- kicks and interrupts ---- */

/* With eventfds (0) and, when KVM refuses them, without (1). */
START_TEST(test_serves)
{
	bind_error = _i ? -ENOSPC : 0;
	go();
	ck_assert_uint_eq(n_bound(), _i ? 0 : FAKE_QUEUES);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		send_request(i);
		kick(i);
		ck_assert_uint_eq(virtq_driver_n_used(&drv[i]), 1);
		ck_assert_uint_eq(atomic_load(&edges), i + 1);
		ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
		set(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
		ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
		ck_assert(!atomic_load(&line));
	}
	set(VIRTIO_MMIO_QUEUE_NOTIFY, FAKE_QUEUES);
	set(VIRTIO_MMIO_QUEUE_NOTIFY, UINT32_MAX);
	set(VIRTIO_MMIO_STATUS, 0);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), 0);
	ck_assert_uint_eq(n_bound(), 0);
	ck_assert_uint_eq(atomic_load(&fake.stops), 1);
}
END_TEST

/* A queue that is served inline has no eventfd, and is served when the write returns; after a reset it is left alone. */
START_TEST(test_serves_inline)
{
	fake.dev.serve_inline[1] = true;
	go();
	ck_assert_uint_eq(n_bound(), FAKE_QUEUES - 1);
	ck_assert_int_lt(bound[1], 0);
	for (unsigned int i = 1; i <= 3; i++) {
		send_request(1);
		set(VIRTIO_MMIO_QUEUE_NOTIFY, 1);
		ck_assert_uint_eq(virtq_driver_n_used(&drv[1]), i);
	}
	set(VIRTIO_MMIO_STATUS, 0);
	send_request(1);
	set(VIRTIO_MMIO_QUEUE_NOTIFY, 1);
	ck_assert_uint_eq(virtq_driver_n_used(&drv[1]), 3);
}
END_TEST

/* While the line is up no edge is made; what an acknowledgement leaves makes one. */
START_TEST(test_edges)
{
	go();
	send_request(0);
	kick(0);
	send_request(1);
	kick(1);
	ck_assert_uint_eq(atomic_load(&edges), 1);
	virtio_device_config_set(&fake.dev, 0, "t", 1);
	ck_assert_uint_eq(atomic_load(&edges), 1);
	ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS),
			  VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG);
	set(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	ck_assert(atomic_load(&line));
	ck_assert_uint_eq(atomic_load(&edges), 2);
	set(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING); /* is not set */
	ck_assert_uint_eq(atomic_load(&edges), 2);
	set(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
	ck_assert(!atomic_load(&line));
	ck_assert_uint_eq(atomic_load(&edges), 2);
}
END_TEST

START_TEST(test_broken_ring)
{
	go();
	virtq_driver_put(&drv[0], 999);
	virtq_driver_publish(&drv[0]);
	kick(0);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET);
	ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	go();
	send_request(0);
	kick(0);
	ck_assert_uint_eq(virtq_driver_n_used(&drv[0]), 1);
}
END_TEST

/* ---- reset ---- */

static _Atomic bool reset_done;

static void *reset_thread(void *arg)
{
	(void)arg;
	set(VIRTIO_MMIO_STATUS, 0);
	atomic_store(&reset_done, true);
	return NULL;
}

/* The write returns when the device has let go; other vCPUs may look meanwhile, and their writes count for nothing. */
START_TEST(test_reset_waits)
{
	pthread_t thread;

	go();
	atomic_store(&reset_done, false);
	atomic_store(&fake.hold_stop, true);
	ck_assert_int_eq(pthread_create(&thread, NULL, reset_thread, NULL), 0);
	for (int i = 0; atomic_load(&fake.stops) == 0; i++) {
		ck_assert_int_lt(i, 5000);
		usleep(1000);
	}
	usleep(20000);
	ck_assert(!atomic_load(&reset_done));
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_DRIVER_OK);
	ck_assert_uint_eq(n_bound(), 0);
	set(VIRTIO_MMIO_QUEUE_SEL, 2);
	set(VIRTIO_MMIO_STATUS, S_ACK);
	sem_post(&fake.release);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), 0);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		set(VIRTIO_MMIO_QUEUE_SEL, i);
		ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 0);
	}
	go();
	ck_assert_uint_eq(atomic_load(&fake.starts), 2);
}
END_TEST

/* ---- life ---- */

static void setup(void)
{
	const struct guest_mem_region ram = {.base = 0, .size = RAM_SIZE};
	const struct virtio_mmio_host host = {.base = BASE,
					      .bind_kick = host_bind,
					      .unbind_kick = host_unbind,
					      .irq = {.raise = host_raise, .lower = host_lower}};

	log_set_level(LOG_LEVEL_ERROR);
	bind_error = 0;
	bad_unbinds = 0;
	atomic_store(&line, false);
	atomic_store(&edges, 0);
	memset(bound, -1, sizeof(bound));
	ck_assert_int_eq(guest_mem_init(&mem, &ram, 1), 0);
	ck_assert_int_eq(evloop_init(&loop), 0);
	ck_assert_int_eq(fake_device_init(&fake, &loop), 0);
	fake.on_kick = fake_device_echo;
	virtio_mmio_init(&vmmio, &fake.dev, &mem, &host);
	ck_assert_int_eq(evloop_start(&loop, "test"), 0);
}

static void teardown(void)
{
	evloop_stop(&loop);
	virtio_mmio_fini(&vmmio);
	ck_assert_uint_eq(bad_unbinds, 0);
	fake_device_fini(&fake);
	evloop_fini(&loop);
	guest_mem_fini(&mem);
}

int main(void)
{
	Suite *suite = suite_create("virtio/virtio_mmio");
	TCase *tc = tcase_create("virtio_mmio");
	SRunner *runner;
	int failed;

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_fresh);
	tcase_add_test(tc, test_widths);
	tcase_add_test(tc, test_config_space);
	tcase_add_test(tc, test_features);
	tcase_add_test(tc, test_queue_registers);
	tcase_add_loop_test(tc, test_bad_queue, 0, sizeof(bad_queues) / sizeof(bad_queues[0]));
	tcase_add_loop_test(tc, test_serves, 0, 2);
	tcase_add_test(tc, test_serves_inline);
	tcase_add_test(tc, test_edges);
	tcase_add_test(tc, test_broken_ring);
	tcase_add_test(tc, test_reset_waits);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
