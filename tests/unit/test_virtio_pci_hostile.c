/* virtio/virtio_pci: the device's own configuration, the window of 4.1.4.9, and hostile accesses of every kind. */
#include "tests/unit/vpci_fixture.h"

#include <pthread.h>

/* ---- the BAR moves ---- */

static inline void move_bar(uint64_t to)
{
	fix_config_write(PCI_BASE_ADDRESS_0, 4, (uint32_t)to);
	fix.bar = to;
}

/* ---- interrupts ---- */

static inline uint8_t read_isr(void)
{
	return (uint8_t)fix_read(fix.place[VIRTIO_PCI_CAP_ISR_CFG].offset, 1);
}

/* ---- device configuration ---- */

START_TEST(test_device_config)
{
	static const unsigned int widths[] = {1, 2, 4, 8};
	uint32_t base = fix.place[VIRTIO_PCI_CAP_DEVICE_CFG].offset;
	char text[64] = FAKE_CONFIG;

	for (int w = 0; w < 4; w++) {
		for (uint32_t at = 0; at + widths[w] <= sizeof(text); at++) {
			uint64_t want = 0;

			memcpy(&want, text + at, widths[w]);
			ck_assert_uint_eq(fix_read(base + at, widths[w]), want);
			/* It is not the driver's to write. */
			fix_write(base + at, widths[w], UINT64_MAX);
			ck_assert_uint_eq(fix_read(base + at, widths[w]), want);
		}
		ck_assert_uint_eq(fix_read(base + 0xff8, widths[w]), 0);
	}
	fix.fake.dev.config_writable = 0xc;
	fix_write(base, 4, 0x44434241);
	ck_assert_uint_eq(fix_read(base, 1), (uint8_t)FAKE_CONFIG[0]);
	ck_assert_uint_eq(fix_read(base + 2, 2), 0x4443);
}
END_TEST

START_TEST(test_config_generation)
{
	uint64_t before = fix_common(VIRTIO_PCI_COMMON_CFGGENERATION, 1), after;

	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_CFGGENERATION, 1), before);
	virtio_device_config_set(&fix.fake.dev, 0, "T", 1);
	after = fix_common(VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	ck_assert_uint_ne(after, before);
	fix_set_common(VIRTIO_PCI_COMMON_CFGGENERATION, 1, before);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_CFGGENERATION, 1), after);
	ck_assert_uint_eq(fix_read(fix.place[VIRTIO_PCI_CAP_DEVICE_CFG].offset, 1), 'T');
	/* A reset does not turn it back. */
	fix_reset();
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_CFGGENERATION, 1), after);
}
END_TEST

/* ---- the window of 4.1.4.9 ---- */

START_TEST(test_window)
{
	uint32_t config = fix.place[VIRTIO_PCI_CAP_DEVICE_CFG].offset;

	fix.through_window = true;
	ck_assert_uint_eq(fix_read(config, 4), 'w' << 8 | 't' | 'e' << 16 | 'n' << 24);
	ck_assert_uint_eq(fix_read(config + 2, 2), 'e' | 'n' << 8);
	ck_assert_uint_eq(fix_read(config + 5, 1), 'y');
	/* The capability shows what was written into it. */
	ck_assert_uint_eq(
		fix_config_read(fix.place[VIRTIO_PCI_CAP_PCI_CFG].cap + VIRTIO_PCI_CAP_OFFSET, 4),
		config + 5);
	ck_assert_uint_eq(
		fix_config_read(fix.place[VIRTIO_PCI_CAP_PCI_CFG].cap + VIRTIO_PCI_CAP_LENGTH, 4),
		1);
	/* A read has the effect of a read: the ISR is cleared. */
	fix.through_window = false;
	fix_go();
	virtio_device_config_set(&fix.fake.dev, 0, "T", 1);
	fix.through_window = true;
	ck_assert_uint_eq(read_isr(), VIRTIO_PCI_ISR_CONFIG);
	ck_assert_uint_eq(read_isr(), 0);
	/* And the reverse: reading the capability's other bytes has none. */
	virtio_device_config_set(&fix.fake.dev, 0, "T", 1);
	fix_window(fix.place[VIRTIO_PCI_CAP_ISR_CFG].offset, 1);
	for (unsigned int i = 0; i < sizeof(struct virtio_pci_cap); i++)
		fix_config_read(fix.place[VIRTIO_PCI_CAP_PCI_CFG].cap + i, 1);
	ck_assert_uint_eq(read_isr(), VIRTIO_PCI_ISR_CONFIG);
}
END_TEST

/* A kick through the window. */
START_TEST(test_window_kick)
{
	uint32_t offset;

	fix_go();
	offset = fix_notify_offset(2);
	fix_send(2);
	fix.through_window = true;
	fix_write(offset, 2, 2);
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[2]), 1);
}
END_TEST

/* Set up as it must not be, the window shows and touches nothing. */
static const struct {
	uint8_t bar;
	uint32_t offset, length;
	unsigned int width;
} bad_windows[] = {
	{1, 0x2000, 4, 4},	    /* another BAR */
	{255, 0x2000, 4, 4},	    /* none that exists */
	{0, BAR_SIZE, 4, 4},	    /* behind the BAR */
	{0, 0xfffffffc, 4, 4},	    /* far behind */
	{0, 0x2001, 4, 4},	    /* not aligned */
	{0, 0x2002, 4, 4},	    /* the same */
	{0, 0x2001, 2, 2},	    /* the same */
	{0, 0x2000, 0, 4},	    /* no length */
	{0, 0x2000, 3, 4},	    /* none that is allowed */
	{0, 0x2000, 8, 4},	    /* the same */
	{0, 0x2000, 0x80000004, 4}, /* the same */
	{0, 0x2000, 1, 4},	    /* another length than the access */
	{0, 0x2000, 4, 1},	    /* the same */
};

START_TEST(test_bad_window)
{
	unsigned int cap = fix.place[VIRTIO_PCI_CAP_PCI_CFG].cap;
	unsigned int data = cap + (unsigned int)sizeof(struct virtio_pci_cap);
	uint32_t isr = fix.place[VIRTIO_PCI_CAP_ISR_CFG].offset;

	ck_assert_uint_eq(fix.place[VIRTIO_PCI_CAP_DEVICE_CFG].offset, 0x2000);
	ck_assert_uint_eq(fix_read(isr, 1), 0);
	fix_config_write(cap + VIRTIO_PCI_CAP_BAR, 1, bad_windows[_i].bar);
	fix_config_write(cap + VIRTIO_PCI_CAP_OFFSET, 4, bad_windows[_i].offset);
	fix_config_write(cap + VIRTIO_PCI_CAP_LENGTH, 4, bad_windows[_i].length);
	ck_assert_uint_eq(fix_config_read(data, bad_windows[_i].width), 0);
	fix_config_write(data, bad_windows[_i].width, 0x01010101);
	/* What was written there is there, and no more. */
	ck_assert_uint_eq(fix_config_read(data, bad_windows[_i].width),
			  0x01010101 & bus_ones(bad_windows[_i].width));
	ck_assert_uint_eq(fix_read(fix.place[VIRTIO_PCI_CAP_DEVICE_CFG].offset, 1), 't');
}
END_TEST

/* ---- hostile ---- */

static uint32_t random_state;

static uint32_t random32(void)
{
	random_state = random_state * 1664525 + 1013904223;
	return random_state ^ random_state >> 15;
}

/* After all of it the device can be reset and works. */
static void check_survived(void)
{
	fix.through_window = false;
	move_bar(WINDOW);
	fix_config_write(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	fix_go();
	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		fix_check_serves(i);
}

/* Every offset at every width, read and written with some values, the device idle or live. */
START_TEST(test_sweep)
{
	static const uint64_t values[] = {
		0, 1, 0xff, UINT64_MAX, UINT64_C(0x8000000080000000), UINT64_C(0x0f0f0f0f0f0f0f0f)};
	static const unsigned int widths[] = {1, 2, 4, 8};

	if (_i & 1)
		fix_go();
	for (uint32_t offset = 0; offset < BAR_SIZE; offset++) {
		for (int w = 0; w < 4 && offset + widths[w] <= BAR_SIZE; w++) {
			fix_read(offset, widths[w]);
			/* All values where something is, one elsewhere. */
			if (offset % 0x1000 < 0x80)
				for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++)
					fix_write(offset, widths[w], values[v]);
			else
				fix_write(offset, widths[w], random32());
		}
	}
	check_survived();
}
END_TEST

/* The same for the configuration space, where the window and the BAR are moved about meanwhile. */
START_TEST(test_sweep_config)
{
	static const uint32_t values[] = {0, 1, 0xff, UINT32_MAX, 0xc0008000, 0x7};

	if (_i & 1)
		fix_go();
	for (unsigned int offset = 0; offset < PCI_CONFIG_SIZE; offset++) {
		for (unsigned int width = 1; width <= 4; width *= 2) {
			if (offset % 4 + width > 4)
				continue;
			for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
				fix_config_write(offset, width, values[v]);
				fix_config_read(offset, width);
			}
		}
	}
	check_survived();
	ck_assert_uint_eq(fix_config_read(PCI_VENDOR_ID, 2), 0x1af4);
}
END_TEST

/* One hostile access, mostly to where it matters. */
static void hostile_access(void)
{
	static const unsigned int widths[] = {1, 2, 4, 8};
	uint32_t random = random32(), offset = random32() % BAR_SIZE;
	unsigned int width = widths[random & 3];
	uint64_t value = (uint64_t)random32() << 32 | random32();

	if (random >> 2 & 3)
		offset = random32() % 64; /* the common configuration */
	if (random >> 4 & 1)
		offset &= ~(width - 1);
	if (random >> 5 & 1)
		value &= 0xf;
	if ((random >> 8 & 0xff) == 0) {
		fix_config_write(random32() % PCI_CONFIG_SIZE & ~3u, 4, random32());
		return;
	}
	if (fix.bar + offset + width > WINDOW + WINDOW_SIZE)
		return;
	if (random >> 6 & 1)
		fix_read(offset, width);
	else
		fix_write(offset, width, value);
}

static _Atomic bool attacking;

static void *change_config(void *arg)
{
	(void)arg;
	while (atomic_load(&attacking)) {
		virtio_device_config_set(&fix.fake.dev, 4, "text", 4);
		usleep(100);
	}
	return NULL;
}

/* Anything in any order, started from a device that works, while its backend changes the configuration. */
START_TEST(test_random)
{
	pthread_t thread;

	random_state = (uint32_t)_i;
	atomic_store(&attacking, true);
	ck_assert_int_eq(pthread_create(&thread, NULL, change_config, NULL), 0);
	for (int round = 0; round < 5; round++) {
		fix_go();
		for (int i = 0; i < 3000; i++)
			hostile_access();
		move_bar(WINDOW);
		fix_config_write(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	}
	atomic_store(&attacking, false);
	pthread_join(thread, NULL);
	check_survived();
}
END_TEST

/* Two vCPUs at once: one resets and starts, the other pokes at everything but the status and the queues. */
static void *poke(void *arg)
{
	uint32_t seed = 1;

	(void)arg;
	while (atomic_load(&attacking)) {
		uint32_t offset = (seed = seed * 1664525 + 1013904223) >> 8 & 0x7fff;

		if (offset < 0x1000)
			pci_window_read(&fix.bus, offset, 4);
		else
			pci_window_write(&fix.bus, offset & ~3u, 4, seed);
	}
	return NULL;
}

START_TEST(test_two_vcpus)
{
	pthread_t thread;

	fix_prepare();
	atomic_store(&attacking, true);
	ck_assert_int_eq(pthread_create(&thread, NULL, poke, NULL), 0);
	for (int i = 0; i < 50; i++) {
		fix_reset();
		fix_set_status(S_ACK);
		fix_set_status(S_DRIVER);
		fix_set_features(VERSION_1);
		fix_set_status(S_FEATURES_OK);
		for (unsigned int q = 0; q < FAKE_QUEUES; q++) {
			fix_place_queue(q, 16);
			fix_enable_queue(q);
		}
		fix_set_status(S_DRIVER_OK);
		fix_send(0);
		fix_kick(0);
		ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[0]), 1);
		ck_assert_uint_eq(fix_status(), S_DRIVER_OK);
	}
	atomic_store(&attacking, false);
	pthread_join(thread, NULL);
	check_survived();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio/pci, hostile");
	TCase *tc = tcase_create("work"), *hostile = tcase_create("hostile");

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, fix_setup, fix_teardown);
	tcase_add_test(tc, test_device_config);
	tcase_add_test(tc, test_config_generation);
	tcase_add_test(tc, test_window);
	tcase_add_test(tc, test_window_kick);
	tcase_add_loop_test(tc, test_bad_window, 0, sizeof(bad_windows) / sizeof(bad_windows[0]));
	tcase_set_timeout(hostile, 60);
	tcase_add_checked_fixture(hostile, fix_setup, fix_teardown);
	tcase_add_loop_test(hostile, test_sweep, 0, 2);
	tcase_add_loop_test(hostile, test_sweep_config, 0, 2);
	tcase_add_loop_test(hostile, test_random, 0, 8);
	tcase_add_test(hostile, test_two_vcpus);
	suite_add_tcase(s, tc);
	suite_add_tcase(s, hostile);
	return fix_run(s);
}
