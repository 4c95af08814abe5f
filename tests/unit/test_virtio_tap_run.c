/* The TAP backend at work: MTU, offloads, queues, filters, the link. */
#include "tests/unit/tap_open_fixture.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>

START_TEST(test_mtu)
{
	struct tap tap;

	tap_make("tm", VNET);
	ck_assert_int_eq(open_name(&tap, "tm", 1400), 0);
	ck_assert_uint_eq(tap.be.mtu, 1400);
	ck_assert_uint_eq(tap_log_lines, 0);
	tap_close(&tap);

	ck_assert_int_eq(open_name(&tap, "tm", 9000), 0);
	ck_assert_uint_eq(tap.be.mtu, 9000);
	ck_assert_str_eq(tap_log, "MTU 9000 for the guest is more than that of TAP 'tm', 1500; "
				  "raise it with: ip link set tm mtu 9000");
	tap_close(&tap);

	ck_assert_int_eq(open_name(&tap, "tm", 67), -EINVAL);
	ck_assert_str_eq(tap_log, "cannot use MTU 67 for TAP 'tm': it must be from 68 to 65535");
	ck_assert_int_eq(open_name(&tap, "tm", 65536), -EINVAL);
	ck_assert_int_eq(tap.be.fd[0], -1);
	ck_assert_int_eq(tap.link.fd, -1);
	tap_set_interface_mtu("tm", 65521);
	ck_assert_int_eq(open_name(&tap, "tm", 0), 0);
	ck_assert_uint_eq(tap.be.mtu, 65521);
	tap_close(&tap);
}
END_TEST

START_TEST(test_offloads)
{
	struct tap tap;

	tap_make("tx", VNET);
	ck_assert_int_eq(open_name(&tap, "tx", 0), 0);
	ck_assert_int_eq(net_backend_set_offloads(&tap.be, TUN_F_CSUM | TUN_F_TSO4), 0);
	ck_assert_uint_eq(tap.be.offloads_on, TUN_F_CSUM | TUN_F_TSO4);
	ck_assert_int_eq(net_backend_set_offloads(&tap.be, TUN_F_CSUM | TUN_F_TSO_ECN), 0);
	ck_assert_uint_eq(tap.be.offloads_on, TUN_F_CSUM);
	ck_assert_int_eq(net_backend_set_offloads(&tap.be, TUN_F_TSO4 | TUN_F_TSO6), 0);
	ck_assert_uint_eq(tap.be.offloads_on, 0);
	ck_assert_int_eq(net_backend_set_offloads(&tap.be, ~0u), 0);
	ck_assert_uint_eq(tap.be.offloads_on, tap.be.offloads);
	tap_close(&tap);
	ck_assert_uint_eq(tap.be.offloads_on, 0);
	ck_assert_int_eq(net_backend_set_offloads(&tap.be, TUN_F_CSUM), -EBADF);
	ck_assert_uint_eq(tap.be.offloads_on, 0);
}
END_TEST

/* As many queues as asked for, all but the first detached; one that has a single queue gives one. */
START_TEST(test_queues)
{
	struct tap_config config = {.name = "mq0", .queues = 3};
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
	struct ifreq ifr = {.ifr_data = (void *)&channels};
	struct tap tap;

	tap_make("mq0", VNET | IFF_MULTI_QUEUE);
	ck_assert_int_eq(tap_open(&tap, &config), 0);
	ck_assert_uint_eq(tap.be.n_queues, 3);
	tap_ifreq(SIOCETHTOOL, &ifr, "mq0");
	ck_assert_uint_eq(channels.combined_count, 1);
	ck_assert_int_eq(tap.be.ops->set_queues(&tap.be, 3), 0);
	channels.cmd = ETHTOOL_GCHANNELS;
	tap_ifreq(SIOCETHTOOL, &ifr, "mq0");
	ck_assert_uint_eq(channels.combined_count, 3);
	ck_assert_int_eq(tap.be.ops->set_queues(&tap.be, 3), 0);
	ck_assert_int_eq(tap.be.ops->set_queues(&tap.be, 2), 0);
	channels.cmd = ETHTOOL_GCHANNELS;
	tap_ifreq(SIOCETHTOOL, &ifr, "mq0");
	ck_assert_uint_eq(channels.combined_count, 2);
	tap_close(&tap);
	for (unsigned int i = 0; i < NET_MAX_PAIRS; i++)
		ck_assert_int_eq(tap.be.fd[i], -1);

	config = (struct tap_config){.name = "mq0", .max_queues = 40};
	ck_assert_int_eq(tap_open(&tap, &config), 0);
	ck_assert_uint_eq(tap.be.n_queues, NET_MAX_PAIRS);
	tap_close(&tap);

	tap_make("sq0", VNET);
	config = (struct tap_config){.name = "sq0", .max_queues = 4};
	ck_assert_int_eq(tap_open(&tap, &config), 0);
	ck_assert_uint_eq(tap.be.n_queues, 1);
	tap_close(&tap);
	config.queues = 2;
	ck_assert_int_eq(tap_open(&tap, &config), -EINVAL);
	ck_assert_str_eq(
		tap_log,
		"TAP 'sq0' has room for 1 of 2 queues; make it anew with: ip tuntap add dev sq0 "
		"mode tap multi_queue");
}
END_TEST

/* The kernel sorts out what the guest does not want. */
START_TEST(test_filter)
{
	static const uint8_t addr[3][ETH_ALEN] = {
		{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}, {1, 0, 0x5e, 0, 0, 9}};
	struct net_filter filter = {.n = 1, .addr = {{2, 0, 0, 0, 0, 1}}};
	uint8_t frame[60] = {0}, got[128];
	struct iovec iov = {got, sizeof(got)};
	struct tap tap;
	int wire;

	tap_make("flt0", VNET);
	ck_assert_int_eq(open_name(&tap, "flt0", 0), 0);
	tap_set_up("flt0", true);
	wire = tap_wire_open("flt0");
	for (unsigned int round = 0; round < 3; round++) {
		filter.allmulti = round == 1;
		filter.all = round == 2;
		ck_assert_int_eq(tap.be.ops->set_filter(&tap.be, &filter), 0);
		for (unsigned int i = 0; i < 3; i++) {
			memcpy(frame, addr[i], ETH_ALEN);
			ck_assert_int_eq(send(wire, frame, sizeof(frame), 0), sizeof(frame));
		}
		for (unsigned int i = 0; i < 3; i++) {
			if ((i == 1 && round < 2) || (i == 2 && round < 1))
				continue;
			ck_assert_int_eq(tap.be.ops->read(&tap.be, 0, &iov, 1), 72);
			ck_assert_mem_eq(got + 12, addr[i], ETH_ALEN);
		}
		ck_assert_int_eq(tap.be.ops->read(&tap.be, 0, &iov, 1), 0);
	}
	/* The next user of the interface finds none. */
	filter.all = filter.allmulti = false;
	ck_assert_int_eq(tap.be.ops->set_filter(&tap.be, &filter), 0);
	tap_close(&tap);
	ck_assert_int_eq(open_name(&tap, "flt0", 0), 0);
	memcpy(frame, addr[1], ETH_ALEN);
	ck_assert_int_eq(send(wire, frame, sizeof(frame), 0), sizeof(frame));
	ck_assert_int_eq(tap.be.ops->read(&tap.be, 0, &iov, 1), 72);
	close(wire);
	tap_close(&tap);
}
END_TEST

START_TEST(test_link)
{
	struct tap tap;

	tap_make("tl", VNET);
	tap_make("tl2", VNET);
	ck_assert_int_eq(open_name(&tap, "tl", 0), 0);
	ck_assert(!tap.link.up);
	ck_assert(!tap_link_read(&tap.link));
	tap_set_up("tl", true);
	ck_assert(tap_link_read(&tap.link));
	ck_assert(tap.link.up);
	ck_assert(!tap_link_read(&tap.link));

	/* others are none of our business */
	tap_set_up("tl2", true);
	tap_set_up("lo", true);
	ck_assert(!tap_link_read(&tap.link));

	tap_set_up("tl", false);
	ck_assert(tap_link_read(&tap.link));
	ck_assert(!tap.link.up);
	tap_set_up("tl", true);
	tap_set_up("tl", false);
	ck_assert(!tap_link_read(&tap.link));
	tap_close(&tap);
}
END_TEST

/* Whoever has got the socket learns of this interface, and nothing else of the host's network. */
START_TEST(test_link_narrow)
{
	static const uint16_t asked[] = {RTM_GETLINK, RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE,
					 RTM_GETNEIGH};
	struct {
		struct nlmsghdr nlh;
		struct ifinfomsg ifi;
	} request = {.nlh = {.nlmsg_len = sizeof(request), .nlmsg_type = asked[_i]}};
	struct tap tap;
	char buf[8192];

	tap_make("tl", VNET);
	ck_assert_int_eq(open_name(&tap, "tl", 0), 0);
	tap_link_read(&tap.link);
	request.nlh.nlmsg_flags = NLM_F_REQUEST | (_i > 0 ? NLM_F_DUMP : 0);
	request.ifi.ifi_index = _i == 0 ? (int)if_nametoindex("lo") : 0;
	ck_assert_int_eq(send(tap.link.fd, &request, sizeof(request), 0), sizeof(request));
	ck_assert_int_eq(recv(tap.link.fd, buf, sizeof(buf), MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, EAGAIN);
	tap_close(&tap);
}
END_TEST

/* More messages than the socket holds: the state is right nevertheless. */

START_TEST(test_link_flood)
{
	struct tap tap;
	int small = 1;

	tap_make("tq", VNET);
	ck_assert_int_eq(open_name(&tap, "tq", 0), 0);
	setsockopt(tap.link.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	for (int i = 0; i < 50; i++)
		tap_set_up("tq", i % 2 == 0);
	tap_set_up("tq", true);
	while (tap_link_read(&tap.link))
		;
	ck_assert(tap.link.up);
	tap_close(&tap);
}
END_TEST

START_TEST(test_link_removed)
{
	int fd = tap_attach_raw("tr", VNET), mine = dup(fd);
	struct tap tap;
	char byte;

	tap_set_up("tr", true);
	ck_assert_int_eq(open_fd(&tap, mine), 0);
	ck_assert(tap.link.up);
	close(fd);
	tap_delete("tr");
	ck_assert(tap_link_read(&tap.link));
	ck_assert(!tap.link.up);
	ck_assert_int_eq(read(tap.be.fd[0], &byte, 1), -1);
	ck_assert_int_eq(errno, EBADFD);
	tap_close(&tap);
}
END_TEST

/* The card learns that its interface was deleted also where others than it read the frames. */
START_TEST(test_deleted)
{
	struct tap tap;

	tap_make("te", VNET);
	tap_set_up("te", true);
	ck_assert_int_eq(open_name(&tap, "te", 0), 0);
	ck_assert_int_eq(tap.be.ops->read_link(&tap.be), 0);
	tap_delete("te");
	ck_assert_int_eq(tap.be.ops->read_link(&tap.be), -EBADFD);
	tap_close(&tap);
}
END_TEST

static void tap_move(const char *name, int namespace)
{
	struct {
		struct nlmsghdr nlh;
		struct ifinfomsg ifi;
		struct rtattr attr;
		int fd;
	} request = {
		.nlh = {.nlmsg_len = sizeof(request),
			.nlmsg_type = RTM_NEWLINK,
			.nlmsg_flags = NLM_F_REQUEST},
		.ifi = {.ifi_index = (int)if_nametoindex(name)},
		.attr = {.rta_len = RTA_LENGTH(sizeof(int)), .rta_type = IFLA_NET_NS_FD},
		.fd = namespace,
	};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	ck_assert_int_eq(send(fd, &request, sizeof(request), 0), sizeof(request));
	close(fd);
	ck_assert_uint_eq(if_nametoindex(name), 0);
}

/* As those do who set an interface up in one namespace for another: frames pass there, and no news of it come here. */
START_TEST(test_moved)
{
	int here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), there;
	struct tap tap;

	tap_make("tv", VNET);
	tap_set_up("tv", true);
	ck_assert_int_eq(open_name(&tap, "tv", 0), 0);
	ck_assert_int_eq(unshare(CLONE_NEWNET), 0);
	there = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(setns(here, CLONE_NEWNET), 0);
	tap_move("tv", there);
	ck_assert_int_eq(tap.be.ops->read_link(&tap.be), 0);
	ck_assert(tap.be.link_up);
	tap_close(&tap);
	close(here);
	close(there);
}
END_TEST

START_TEST(test_discard)
{
	static const uint8_t frame[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, [12] = 0x88, 0xb5};
	struct tap tap;
	char byte[64];
	int wire;

	tap_make("td", VNET);
	ck_assert_int_eq(open_name(&tap, "td", 0), 0);
	tap_set_up("td", true);
	wire = tap_wire_open("td");
	for (int i = 0; i < 300; i++)
		ck_assert_int_eq(send(wire, frame, sizeof(frame), 0), sizeof(frame));
	close(wire);
	ck_assert_int_gt(read(tap.be.fd[0], byte, sizeof(byte)), 0);
	tap.be.ops->discard(&tap.be);
	ck_assert_int_eq(read(tap.be.fd[0], byte, sizeof(byte)), -1);
	ck_assert_int_eq(errno, EAGAIN);
	tap_close(&tap);
}
END_TEST

int main(void)
{
	SRunner *runner;
	Suite *suite;
	TCase *tc;
	int failed = tap_enter();

	if (failed)
		return failed;
	suite = suite_create("virtio_tap at work");
	tc = tcase_create("tap");
	runner = srunner_create(suite);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_mtu);
	tcase_add_test(tc, test_offloads);
	tcase_add_test(tc, test_queues);
	tcase_add_test(tc, test_filter);
	tcase_add_test(tc, test_link);
	tcase_add_test(tc, test_link_flood);
	tcase_add_loop_test(tc, test_link_narrow, 0, 5);
	tcase_add_test(tc, test_link_removed);
	tcase_add_test(tc, test_deleted);
	tcase_add_test(tc, test_moved);
	tcase_add_test(tc, test_discard);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return skip_status(failed);
}
