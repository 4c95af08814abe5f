/*
 * TAP interfaces for tests, in a network namespace of the test's own, which ends with it.
 *
 * tap_enter() goes first in main(); it says why when this host has no such thing for us, and the test is then
 * skipped (exit status 77).
 */
#pragma once

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "vmm/core/log.h"

#define TAP_SKIPPED 77

static char tap_log[1024]; /* the last line that was logged */
static unsigned int tap_log_lines;

static inline void tap_on_log(void *arg, int level, const char *line)
{
	(void)arg;
	(void)level;
	snprintf(tap_log, sizeof(tap_log), "%s", line);
	tap_log_lines++;
}

/* No IPv6 on new interfaces, so that no frames cross them but the tests'. */
static inline void tap_be_quiet(void)
{
	int fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return; /* a host without IPv6, or without /proc */
	if (write(fd, "1", 1) != 1)
		printf("cannot turn IPv6 off: %s\n", strerror(errno));
	close(fd);
}

/* 0, or TAP_SKIPPED. */
static inline int tap_enter(void)
{
	int fd;

	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
		printf("skipped: cannot make a network namespace: %s\n", strerror(errno));
		return TAP_SKIPPED;
	}
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		printf("skipped: cannot open /dev/net/tun: %s\n", strerror(errno));
		return TAP_SKIPPED;
	}
	close(fd);
	tap_be_quiet();
	log_set_sink(tap_on_log, NULL);
	return 0;
}

/* A descriptor attached to an interface, which is made if need be. */
static inline int tap_attach_raw(const char *name, int flags)
{
	struct ifreq ifr = {.ifr_flags = (short)flags};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	ck_assert_msg(ioctl(fd, TUNSETIFF, &ifr) == 0, "TUNSETIFF %s: %s", name, strerror(errno));
	return fd;
}

/* An interface that stays, as `ip tuntap add` makes it. */
static inline void tap_make(const char *name, int flags)
{
	int fd = tap_attach_raw(name, flags);

	ck_assert_int_eq(ioctl(fd, TUNSETPERSIST, 1), 0);
	close(fd);
}

static inline void tap_remove(const char *name, int flags)
{
	int fd = tap_attach_raw(name, flags);

	ck_assert_int_eq(ioctl(fd, TUNSETPERSIST, 0), 0);
	close(fd);
}

static inline void tap_ifreq(unsigned long request, struct ifreq *ifr, const char *name)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", name);
	ck_assert_msg(ioctl(fd, request, ifr) == 0, "%s: %s", name, strerror(errno));
	close(fd);
}

static inline void tap_set_up(const char *name, bool up)
{
	struct ifreq ifr = {.ifr_flags = up ? IFF_UP : 0};

	tap_ifreq(SIOCSIFFLAGS, &ifr, name);
}

static inline void tap_set_interface_mtu(const char *name, int mtu)
{
	struct ifreq ifr = {.ifr_mtu = mtu};

	tap_ifreq(SIOCSIFMTU, &ifr, name);
}

/* `ip link del`: takes the interface from under those who are attached to it. */
static inline void tap_delete(const char *name)
{
	struct {
		struct nlmsghdr nlh;
		struct ifinfomsg ifi;
	} request = {
		.nlh = {.nlmsg_len = sizeof(request),
			.nlmsg_type = RTM_DELLINK,
			.nlmsg_flags = NLM_F_REQUEST},
		.ifi = {.ifi_index = (int)if_nametoindex(name)},
	};
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	ck_assert_int_eq(send(fd, &request, sizeof(request), 0), sizeof(request));
	close(fd);
	ck_assert_uint_eq(if_nametoindex(name), 0);
}

/*
 * A socket that sees the frames of others on an interface; those that it sends go out through it. Closing one takes
 * the kernel long.
 */
static inline int tap_wire_open(const char *name)
{
	struct sockaddr_ll addr = {.sll_family = AF_PACKET,
				   .sll_protocol = htons(ETH_P_ALL),
				   .sll_ifindex = (int)if_nametoindex(name)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	return fd;
}
