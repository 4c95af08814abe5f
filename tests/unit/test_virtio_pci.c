/* virtio/virtio_pci: how a driver finds the device, the handshake, features and status. */
#include "tests/unit/vpci_fixture.h"

/* ---- discovery ---- */

START_TEST(test_identity)
{
	ck_assert_uint_eq(fix_config_read(PCI_VENDOR_ID, 2), 0x1af4);
	ck_assert_uint_eq(fix_config_read(PCI_DEVICE_ID, 2), 0x1040 + FAKE_ID);
	ck_assert_uint_ge(fix_config_read(PCI_REVISION_ID, 1), 1); /* 4.1.2.1: not transitional */
	ck_assert_uint_eq(fix_config_read(PCI_CLASS_DEVICE, 2), 0xff00);
	ck_assert_uint_eq(fix_config_read(PCI_INTERRUPT_PIN, 1), 0);
	ck_assert_uint_eq(fix_config_read(PCI_STATUS, 2) & PCI_STATUS_CAP_LIST,
			  PCI_STATUS_CAP_LIST);
	ck_assert_uint_eq(fix.bar, WINDOW);
	fix_config_write(PCI_BASE_ADDRESS_0, 4, UINT32_MAX);
	ck_assert_uint_eq(fix_config_read(PCI_BASE_ADDRESS_0, 4), ~(BAR_SIZE - 1u));
}
END_TEST

static const struct {
	uint16_t id;
	uint32_t class;
} classes[] = {{1, 0x020000}, {2, 0x018000}, {4, 0xff0000}, {19, 0xff0000}};

START_TEST(test_class)
{
	const struct virtio_pci_host host = {.msix = {.route = fix_route, .signal = fix_signal}};
	struct virtio_pci vpci;

	fix.fake.dev.id = classes[_i].id;
	virtio_pci_init(&vpci, &fix.fake.dev, &fix.mem, &host);
	ck_assert_uint_eq(pci_config_get(&vpci.fn, PCI_CLASS_REVISION, 4) >> 8, classes[_i].class);
	ck_assert_uint_eq(pci_config_get(&vpci.fn, PCI_DEVICE_ID, 2), 0x1040u + classes[_i].id);
	virtio_pci_fini(&vpci);
}
END_TEST

/* Every part lies in the BAR, aligned as 4.1.4 demands, and none over another. */
START_TEST(test_capabilities)
{
	static const struct {
		uint32_t length, alignment;
		uint8_t cap_len;
	} want[] = {
		[VIRTIO_PCI_CAP_COMMON_CFG] = {sizeof(struct virtio_pci_common_cfg), 4, 16},
		[VIRTIO_PCI_CAP_NOTIFY_CFG] = {4 * FAKE_QUEUES, 2, 20},
		[VIRTIO_PCI_CAP_ISR_CFG] = {1, 1, 16},
		[VIRTIO_PCI_CAP_DEVICE_CFG] = {FAKE_CONFIG_LEN, 4, 16},
	};

	for (unsigned int i = VIRTIO_PCI_CAP_COMMON_CFG; i <= VIRTIO_PCI_CAP_DEVICE_CFG; i++) {
		unsigned int cap = fix.place[i].cap;

		ck_assert_uint_ge(cap, 0x40);
		ck_assert_uint_eq(fix_config_read(cap + VIRTIO_PCI_CAP_LEN, 1), want[i].cap_len);
		ck_assert_uint_eq(fix_config_read(cap + VIRTIO_PCI_CAP_BAR, 1), 0);
		ck_assert_uint_ge(fix.place[i].length, want[i].length);
		ck_assert_uint_eq(fix.place[i].offset % want[i].alignment, 0);
		ck_assert_uint_le(fix.place[i].offset + fix.place[i].length, BAR_SIZE);
		for (unsigned int k = VIRTIO_PCI_CAP_COMMON_CFG; k < i; k++)
			ck_assert(fix.place[k].offset + fix.place[k].length <=
					  fix.place[i].offset ||
				  fix.place[i].offset + fix.place[i].length <= fix.place[k].offset);
	}
	ck_assert_uint_ge(fix.place[VIRTIO_PCI_CAP_PCI_CFG].cap, 0x40);
	ck_assert_uint_eq(fix_config_read(fix.place[VIRTIO_PCI_CAP_PCI_CFG].cap + 2, 1), 20);
	ck_assert_uint_eq(fix_config_read(fix.msix_cap + PCI_MSIX_FLAGS, 2), N_VECTORS - 1);
	ck_assert_uint_eq(fix_config_read(fix.msix_cap + PCI_MSIX_TABLE, 4) & PCI_MSIX_TABLE_BIR,
			  0);
}
END_TEST

/* A device without configuration has no such capability. */
START_TEST(test_no_device_config)
{
	const struct virtio_pci_host host = {.msix = {.route = fix_route, .signal = fix_signal}};
	struct virtio_pci vpci;
	unsigned int cap;

	fix.fake.dev.config_size = 0;
	virtio_pci_init(&vpci, &fix.fake.dev, &fix.mem, &host);
	for (cap = vpci.fn.config[PCI_CAPABILITY_LIST]; cap; cap = vpci.fn.config[cap + 1])
		ck_assert(vpci.fn.config[cap] != PCI_CAP_ID_VNDR ||
			  vpci.fn.config[cap + 3] != VIRTIO_PCI_CAP_DEVICE_CFG);
	virtio_pci_fini(&vpci);
}
END_TEST

/* ---- the handshake ---- */

/* As Linux does it, each step seen, through the BAR or through the configuration space alone. */
START_TEST(test_handshake)
{
	const uint64_t offered = FAKE_FEATURES | VERSION_1 |
				 UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX |
				 UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC;

	fix.through_window = _i;
	ck_assert_uint_eq(fix_status(), 0);
	fix_reset();
	fix_set_status(S_ACK);
	ck_assert_uint_eq(fix_status(), S_ACK);
	fix_set_status(S_DRIVER);
	ck_assert_uint_eq(fix_status(), S_DRIVER);
	ck_assert_uint_eq(fix_device_features(), offered);
	fix_set_features(VERSION_1 | UINT64_C(1) << 41);
	ck_assert_uint_eq(fix_driver_features(), VERSION_1 | UINT64_C(1) << 41);
	fix_set_status(S_FEATURES_OK);
	ck_assert_uint_eq(fix_status(), S_FEATURES_OK);

	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_NUMQ, 2), FAKE_QUEUES);
	fix_enable_msix();
	fix_set_common(VIRTIO_PCI_COMMON_MSIX, 2, 0);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_MSIX, 2), 0);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		fix_select(i);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_SIZE, 2), FAKE_QUEUE_SIZE);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_NOFF, 2), i);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
		fix_place_queue(i, 64);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_MSIX, 2), i + 1);
	}
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		fix_enable_queue(i);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	}
	ck_assert_uint_eq(fix.fake.starts, 0);
	ck_assert_uint_eq(fix.n_binds, 0);

	fix_set_status(S_DRIVER_OK);
	ck_assert_uint_eq(fix_status(), S_DRIVER_OK);
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(fix.fake.starts, 1);
	ck_assert_uint_eq(fix.fake.negotiated, VERSION_1 | UINT64_C(1) << 41);
	ck_assert_uint_eq(fix.n_binds, FAKE_QUEUES);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		ck_assert_uint_eq(fix.fake.dev.queue[i].size, 64);
		ck_assert_uint_eq(fix.fake.kicks[i], 1);
		fix_check_serves(i);
		fix_check_serves(i);
	}
	ck_assert_uint_eq(fix_status(), S_DRIVER_OK);
	fix_reset();
	ck_assert_uint_eq(fix.fake.stops, 1);
	ck_assert_uint_eq(fix.n_binds, 0);
}
END_TEST

/* ---- features ---- */

static const struct {
	uint64_t features;
	bool ok;
} acceptable[] = {
	{VERSION_1, true},
	{VERSION_1 | FAKE_FEATURES, true},
	{VERSION_1 | UINT64_C(1) << 5, true},
	{VERSION_1 | UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX, true},
	{0, false},				/* a driver of the old kind */
	{FAKE_FEATURES, false},			/* the same */
	{VERSION_1 | 1, false},			/* not offered */
	{VERSION_1 | UINT64_C(1) << 40, false}, /* not offered, in the high half */
	{VERSION_1 | UINT64_C(1) << 63, false},
	{UINT64_MAX, false},
};

START_TEST(test_features)
{
	uint8_t want = acceptable[_i].ok ? S_FEATURES_OK : S_DRIVER;

	fix_negotiate(acceptable[_i].features);
	ck_assert_uint_eq(fix_status(), want);
	/* DRIVER_OK without FEATURES_OK does not start the device, nor do both at once. */
	fix_set_status(S_DRIVER_OK);
	ck_assert_uint_eq(fix_status(), acceptable[_i].ok ? S_DRIVER_OK : S_DRIVER);
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(fix.fake.starts, acceptable[_i].ok);
	if (!acceptable[_i].ok) {
		/* A driver that asks for less is taken. */
		fix_set_features(VERSION_1);
		fix_set_status(S_FEATURES_OK);
		ck_assert_uint_eq(fix_status(), S_FEATURES_OK);
	}
}
END_TEST

START_TEST(test_features_fixed)
{
	fix_negotiate(VERSION_1);
	fix_set_features(VERSION_1 | UINT64_C(1) << 5);
	ck_assert_uint_eq(fix_driver_features(), VERSION_1);
	fix_set_status(S_DRIVER_OK);
	fix_set_features(0);
	ck_assert_uint_eq(fix_driver_features(), VERSION_1);
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(fix.fake.negotiated, VERSION_1);
	fix_reset();
	ck_assert_uint_eq(fix_driver_features(), 0);
}
END_TEST

/* Only 64 bits exist: the rest reads as zero and is written in vain. */
START_TEST(test_feature_select)
{
	static const uint32_t selects[] = {2, 3, 31, 0x80000000, UINT32_MAX};

	fix_negotiate(0);
	fix_set_features(VERSION_1);
	for (size_t i = 0; i < sizeof(selects) / sizeof(selects[0]); i++) {
		fix_set_common(VIRTIO_PCI_COMMON_DFSELECT, 4, selects[i]);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_DFSELECT, 4), selects[i]);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_DF, 4), 0);
		fix_set_common(VIRTIO_PCI_COMMON_GFSELECT, 4, selects[i]);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_GFSELECT, 4), selects[i]);
		fix_set_common(VIRTIO_PCI_COMMON_GF, 4, UINT32_MAX);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_GF, 4), 0);
	}
	ck_assert_uint_eq(fix_driver_features(), VERSION_1);
	/* What the device offers is not the driver's to change. */
	fix_set_common(VIRTIO_PCI_COMMON_DFSELECT, 4, 0);
	fix_set_common(VIRTIO_PCI_COMMON_DF, 4, UINT32_MAX);
	ck_assert_uint_eq(fix_device_features() & 1, 0);
}
END_TEST

/* ---- status ---- */

/* 2.1.1: bits are added, only a reset takes them away. */
START_TEST(test_status_only_grows)
{
	fix_negotiate(VERSION_1);
	fix_set_status(S_ACK);
	ck_assert_uint_eq(fix_status(), S_FEATURES_OK);
	fix_set_status(VIRTIO_CONFIG_S_FAILED);
	ck_assert_uint_eq(fix_status(), S_FEATURES_OK | VIRTIO_CONFIG_S_FAILED);
	fix_reset();
	ck_assert_uint_eq(fix_status(), 0);
}
END_TEST

/* NEEDS_RESET is the device's to say, and what is not defined stays 0. */
START_TEST(test_status_not_settable)
{
	fix_reset();
	fix_set_status(S_NEEDS_RESET);
	ck_assert_uint_eq(fix_status(), 0);
	fix_set_status(0x30);
	ck_assert_uint_eq(fix_status(), 0);
	fix_set_status(0xff);
	ck_assert_uint_eq(fix_status(), S_DRIVER | VIRTIO_CONFIG_S_FAILED);
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(fix.fake.starts, 0);
}
END_TEST

/* DRIVER_OK once more starts nothing once more. */
START_TEST(test_status_driver_ok_again)
{
	fix_go();
	fix_set_status(S_DRIVER_OK);
	fix_set_status(S_DRIVER_OK | VIRTIO_CONFIG_S_FAILED);
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(fix.fake.starts, 1);
	ck_assert_uint_eq(fix.fake.stops, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio/pci");
	TCase *tc = tcase_create("registers");

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, fix_setup, fix_teardown);
	tcase_add_test(tc, test_identity);
	tcase_add_loop_test(tc, test_class, 0, sizeof(classes) / sizeof(classes[0]));
	tcase_add_test(tc, test_capabilities);
	tcase_add_test(tc, test_no_device_config);
	tcase_add_loop_test(tc, test_handshake, 0, 2);
	tcase_add_loop_test(tc, test_features, 0, sizeof(acceptable) / sizeof(acceptable[0]));
	tcase_add_test(tc, test_features_fixed);
	tcase_add_test(tc, test_feature_select);
	tcase_add_test(tc, test_status_only_grows);
	tcase_add_test(tc, test_status_not_settable);
	tcase_add_test(tc, test_status_driver_ok_again);
	suite_add_tcase(s, tc);
	return fix_run(s);
}
