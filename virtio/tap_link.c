#include "virtio/tap_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

/* Holds any message about one interface; what does not fit is cut and ignored. */
#define TAP_LINK_BUFFER 8192

/* Messages taken in one go; a watcher is called again for the rest. */
#define TAP_LINK_BUDGET 64

void tap_link_init(struct tap_link *link)
{
	*link = (struct tap_link){.fd = -1, .up = true};
}

/* Asks for the interface's state. The kernel queues the answer before send() returns. */
static int tap_link_request(const struct tap_link *link)
{
	struct {
		struct nlmsghdr nlh;
		struct ifinfomsg ifi;
	} request = {
		.nlh = {.nlmsg_len = sizeof(request),
			.nlmsg_type = RTM_GETLINK,
			.nlmsg_flags = NLM_F_REQUEST},
		.ifi = {.ifi_family = AF_UNSPEC, .ifi_index = (int)link->ifindex},
	};

	return send(link->fd, &request, sizeof(request), 0) < 0 ? -errno : 0;
}

/* Where things are in a message that is about one interface. */
#define LINK_TYPE  offsetof(struct nlmsghdr, nlmsg_type)
#define LINK_FLAGS offsetof(struct nlmsghdr, nlmsg_flags)
#define LINK_INDEX (NLMSG_HDRLEN + offsetof(struct ifinfomsg, ifi_index))

/*
 * The socket takes in what is about this interface and nothing else, whatever it is asked: who gets hold of it cannot list the host's
 * interfaces, addresses, routes and neighbours. Lists have a flag. Filters read numbers as the network writes them.
 */
static int tap_link_narrow(const struct tap_link *link)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, LINK_TYPE),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWLINK), 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_DELLINK), 0, 5),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, LINK_FLAGS),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, htons(NLM_F_MULTI), 3, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, LINK_INDEX),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htonl(link->ifindex), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const struct sock_fprog filter = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	return setsockopt(link->fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) < 0
		       ? -errno
		       : 0;
}

int tap_link_open(struct tap_link *link, const char *name)
{
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
	int err;

	tap_link_init(link);
	link->ifindex = if_nametoindex(name);
	if (link->ifindex == 0)
		return -errno;
	link->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (link->fd < 0)
		return -errno;
	err = tap_link_narrow(link);
	if (err == 0 && bind(link->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		err = -errno;
	if (err == 0)
		err = tap_link_request(link);
	if (err < 0)
		tap_link_close(link);
	else
		tap_link_read(link);
	return err;
}

static void tap_link_parse_attrs(struct tap_link *link, struct rtattr *attr, unsigned int len)
{
	for (; RTA_OK(attr, len); attr = RTA_NEXT(attr, len)) {
		const void *data = RTA_DATA(attr);

		if (attr->rta_type == IFLA_MTU && RTA_PAYLOAD(attr) == sizeof(uint32_t))
			memcpy(&link->mtu, data, sizeof(uint32_t));
		else if (attr->rta_type == IFLA_ADDRESS && RTA_PAYLOAD(attr) == ETH_ALEN)
			memcpy(link->mac, data, ETH_ALEN);
	}
}

static void tap_link_parse(struct tap_link *link, struct nlmsghdr *nlh)
{
	struct ifinfomsg *ifi = NLMSG_DATA(nlh);
	const unsigned int both = IFF_UP | IFF_LOWER_UP;

	if (nlh->nlmsg_type != RTM_NEWLINK && nlh->nlmsg_type != RTM_DELLINK)
		return;
	if (nlh->nlmsg_len < NLMSG_LENGTH(sizeof(*ifi)) ||
	    (unsigned int)ifi->ifi_index != link->ifindex)
		return;
	/* A bridge tells of its ports with messages of its own, which are not about the interface. */
	if (ifi->ifi_family != AF_UNSPEC)
		return;
	link->gone = nlh->nlmsg_type == RTM_DELLINK;
	link->up = !link->gone && (ifi->ifi_flags & both) == both;
	tap_link_parse_attrs(link, IFLA_RTA(ifi), IFLA_PAYLOAD(nlh));
}

static void tap_link_parse_all(struct tap_link *link, struct nlmsghdr *nlh, unsigned int len)
{
	for (; NLMSG_OK(nlh, len); nlh = NLMSG_NEXT(nlh, len))
		tap_link_parse(link, nlh);
}

bool tap_link_read(struct tap_link *link)
{
	_Alignas(struct nlmsghdr) char buf[TAP_LINK_BUFFER];
	bool before = link->up;

	for (unsigned int i = 0; i < TAP_LINK_BUDGET; i++) {
		ssize_t n = recv(link->fd, buf, sizeof(buf), 0);

		if (n > 0)
			tap_link_parse_all(link, (void *)buf, (unsigned int)n);
		/* ENOBUFS: messages were lost, so ask for the state as it is now. */
		else if (n == 0 || errno != ENOBUFS || tap_link_request(link) < 0)
			break;
	}
	return link->up != before;
}

void tap_link_close(struct tap_link *link)
{
	if (link->fd >= 0)
		close(link->fd);
	link->fd = -1;
}
