/* virtio/virtio_pci: kicks by ports. */
#include "tests/unit/vpci_fixture.h"

#define STEP	   4
#define FIRST_PORT (PORTS + 0x100) /* where the tests move the ports to */

static void switch_on(uint32_t spaces)
{
	fix_config_write(PCI_COMMAND, 2, spaces | PCI_COMMAND_MASTER);
}

static void check_bound_by_ports(uint64_t first)
{
	ck_assert_uint_eq(fix.n_binds, FAKE_QUEUES);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		ck_assert_int_eq(fix_bound_at(true, first + STEP * i), fix.fake.dev.kick_fd[i]);
}

static void check_bound_by_memory(void)
{
	ck_assert_uint_eq(fix.n_binds, FAKE_QUEUES);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		ck_assert_int_eq(fix_bound(fix.bar + fix_notify_offset(i)),
				 fix.fake.dev.kick_fd[i]);
}

/* A driver takes the first notification capability that it can use (4.1.4.1): that of ports. */
START_TEST(test_capability)
{
	unsigned int memory = fix.place[VIRTIO_PCI_CAP_NOTIFY_CFG].cap, cap = fix.port_cap;
	unsigned int n = 0;

	ck_assert_uint_ne(cap, 0);
	while (cap != 0 && cap != memory && n++ < 48)
		cap = fix_config_read(cap + PCI_CAP_LIST_NEXT, 1);
	ck_assert_uint_eq(cap, memory);
	ck_assert_uint_eq(fix_config_read(fix.port_cap + VIRTIO_PCI_CAP_BAR, 1), 1);
	ck_assert_uint_eq(fix_config_read(fix.port_cap + VIRTIO_PCI_CAP_OFFSET, 4), 0);
	ck_assert_uint_eq(fix_config_read(fix.port_cap + VIRTIO_PCI_CAP_LENGTH, 4),
			  STEP * FAKE_QUEUES);
	ck_assert_uint_eq(fix_config_read(fix.port_cap + VIRTIO_PCI_NOTIFY_CAP_MULT, 4), STEP);
	ck_assert_uint_eq(fix_config_read(PCI_BASE_ADDRESS_1, 4), PORTS | 1);
}
END_TEST

/* With ports on kicks are bound there; without, in memory; without either, nowhere. Whenever it changes. */
START_TEST(test_follows_command)
{
	switch_on(PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
	ck_assert_uint_eq(fix.n_binds, 0);
	fix_go();
	check_bound_by_ports(PORTS);
	switch_on(PCI_COMMAND_MEMORY);
	check_bound_by_memory();
	switch_on(PCI_COMMAND_IO);
	check_bound_by_ports(PORTS);
	switch_on(0);
	ck_assert_uint_eq(fix.n_binds, 0);
	switch_on(PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
	check_bound_by_ports(PORTS);
	fix_reset();
	ck_assert_uint_eq(fix.n_binds, 0);
}
END_TEST

START_TEST(test_follows_bar)
{
	switch_on(PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
	fix_go();
	fix_config_write(PCI_BASE_ADDRESS_1, 4, FIRST_PORT);
	check_bound_by_ports(FIRST_PORT);
	/* Outside of the bus's ports it is nowhere, and memory takes over. */
	fix_config_write(PCI_BASE_ADDRESS_1, 4, PORTS + PORTS_SIZE);
	check_bound_by_memory();
	fix_config_write(PCI_BASE_ADDRESS_1, 4, PORTS);
	check_bound_by_ports(PORTS);
	fix_reset();
}
END_TEST

/* Where no eventfd could be bound, any write kicks, by the ports as by memory; behind the last queue nobody is. */
START_TEST(test_unbound)
{
	static const unsigned int widths[] = {1, 2, 4};

	fix.bind_error = -ENOSPC;
	switch_on(PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
	fix_go();
	for (int w = 0; w < 3; w++) {
		unsigned int kicks = fix.fake.kicks[1], all = fake_device_all_kicks(&fix.fake);

		pci_ports_write(&fix.bus, STEP, widths[w], UINT32_MAX);
		evloop_settle(&fix.loop);
		ck_assert_uint_eq(fix.fake.kicks[1], kicks + 1);
		pci_ports_write(&fix.bus, STEP * FAKE_QUEUES, widths[w], 0);
		pci_ports_write(&fix.bus, 0xfc, widths[w], 0);
		evloop_settle(&fix.loop);
		ck_assert_uint_eq(fake_device_all_kicks(&fix.fake), all + 1);
		fix_write(fix_notify_offset(1), 2, 1);
		evloop_settle(&fix.loop);
		ck_assert_uint_eq(fix.fake.kicks[1], kicks + 2);
		ck_assert_uint_eq(pci_ports_read(&fix.bus, STEP, widths[w]), 0);
	}
	fix_reset();
	fix_expect_bad_unbinds(FAKE_QUEUES);
}
END_TEST

/* pci_cfg_data leads to the BAR of memory alone, whatever the guest names there. */
START_TEST(test_window_names_ports)
{
	unsigned int cap = fix.place[VIRTIO_PCI_CAP_PCI_CFG].cap, all;

	switch_on(PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
	fix_go();
	all = fake_device_all_kicks(&fix.fake);
	fix_config_write(cap + VIRTIO_PCI_CAP_BAR, 1, 1);
	fix_config_write(cap + VIRTIO_PCI_CAP_OFFSET, 4, 0);
	fix_config_write(cap + VIRTIO_PCI_CAP_LENGTH, 4, 4);
	fix_config_write(cap + (unsigned int)sizeof(struct virtio_pci_cap), 4, 0);
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(fake_device_all_kicks(&fix.fake), all);
	fix_check_serves(0);
	fix_reset();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio/virtio_pci: ports");
	TCase *tc = tcase_create("kicks");

	tcase_add_checked_fixture(tc, fix_setup, fix_teardown);
	tcase_add_test(tc, test_capability);
	tcase_add_test(tc, test_follows_command);
	tcase_add_test(tc, test_follows_bar);
	tcase_add_test(tc, test_unbound);
	tcase_add_test(tc, test_window_names_ports);
	suite_add_tcase(s, tc);
	return fix_run(s);
}
