#include "virtio/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/ethtool.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>

#include "virtio/tap_attach.h"
#include "vmm/core/log.h"

#define TAP_TSO (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)
#define TAP_USO (TUN_F_USO4 | TUN_F_USO6)

/* More than any sane transmit queue length of an interface. */
#define TAP_DISCARD_MAX 8192

static struct tap *tap_of(struct net_backend *be)
{
	return (struct tap *)((char *)be - offsetof(struct tap, be));
}

/* ---- operations ---- */

static ssize_t tap_read(struct net_backend *be, unsigned int queue, const struct iovec *iov,
			unsigned int n)
{
	ssize_t len = readv(be->fd[queue], iov, (int)n);

	if (len > 0)
		return len;
	/* EINVAL: the kernel had a packet that the header cannot describe, and has dropped it; others may wait. */
	if (len < 0 && (errno == EAGAIN || errno == EINTR || errno == EINVAL))
		return 0;
	return len < 0 ? -errno : -EPIPE;
}

static int tap_write(struct net_backend *be, unsigned int queue, const struct iovec *iov,
		     unsigned int n, size_t bytes)
{
	(void)bytes;
	return writev(be->fd[queue], iov, (int)n) < 0 ? -errno : 0;
}

static int tap_set_offloads(struct net_backend *be, unsigned int offloads)
{
	return ioctl(be->fd[0], TUNSETOFFLOAD, (unsigned long)offloads) < 0 ? -errno : 0;
}

/* One that is attached already refuses to be attached, and the other way round: neither is worth a word. */
static int tap_set_queues(struct net_backend *be, unsigned int n)
{
	for (unsigned int i = 1; i < be->n_queues; i++) {
		struct ifreq ifr = {.ifr_flags = i < n ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};

		if (ioctl(be->fd[i], TUNSETQUEUE, &ifr) < 0 && errno != EINVAL)
			return -errno;
	}
	return 0;
}

/* No address at all stands for everything. What is no TAP (macvtap) has no filter, and gives more. */
static int tap_set_filter(struct net_backend *be, const struct net_filter *filter)
{
	struct {
		struct tun_filter head;
		uint8_t addr[NET_FILTER_MAX][ETH_ALEN];
	} tun = {.head = {.flags = filter->allmulti ? TUN_FLT_ALLMULTI : 0}};

	tap_of(be)->filters = !filter->all;
	if (!filter->all) {
		tun.head.count = (uint16_t)filter->n;
		memcpy(tun.addr, filter->addr, filter->n * sizeof(filter->addr[0]));
	}
	return ioctl(be->fd[0], TUNSETTXFILTER, &tun) < 0 ? -errno : 0;
}

/*
 * One that went to another namespace still carries frames, and is up as far as can be known, like one that has always been there. Its
 * descriptor tells that from one that was deleted; that of a macvtap does not.
 */
static int __attribute__((cold)) tap_read_link(struct net_backend *be)
{
	struct tap *tap = tap_of(be);
	struct pollfd pfd = {.fd = be->fd[0]};
	bool before = be->link_up;

	tap_link_read(&tap->link);
	if (tap->link.gone && !be->mac) {
		if (poll(&pfd, 1, 0) > 0 && (pfd.revents & POLLERR))
			return -EBADFD;
		tap->link.up = true;
	}
	be->link_up = tap->link.up;
	return be->link_up != before;
}

static void tap_discard(struct net_backend *be)
{
	char frame[128]; /* the kernel drops the rest */

	for (unsigned int i = 0; i < TAP_DISCARD_MAX; i++) {
		if (read(be->fd[0], frame, sizeof(frame)) <= 0)
			return;
	}
}

static const struct net_backend_ops tap_ops = {
	.read = tap_read,
	.write = tap_write,
	.set_offloads = tap_set_offloads,
	.set_queues = tap_set_queues,
	.set_filter = tap_set_filter,
	.read_link = tap_read_link,
	.discard = tap_discard,
};

/* ---- opening ---- */

/*
 * TUNGETIFF, with the truth about IFF_NO_PI: the same bit means IFF_NOFILTER there, "no filter is attached", so a
 * TAP is asked while it has a filter (that passes everything). A macvtap takes none, and always has IFF_NO_PI.
 */
static int tap_get_flags(int fd, struct ifreq *ifr)
{
	struct sock_filter pass = BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
	struct sock_fprog filter = {.len = 1, .filter = &pass};
	int err;

	if (ioctl(fd, TUNGETIFF, ifr) < 0)
		return -errno;
	if (!(ifr->ifr_flags & IFF_NOFILTER) || ioctl(fd, TUNATTACHFILTER, &filter) < 0)
		return 0;
	err = ioctl(fd, TUNGETIFF, ifr) < 0 ? -errno : 0;
	ioctl(fd, TUNDETACHFILTER, &filter);
	return err;
}

/* Only the tun driver makes TUN interfaces, too. */
static bool tap_is_macvtap(int fd)
{
	unsigned int features;

	return ioctl(fd, TUNGETFEATURES, &features) == 0 && !(features & IFF_TUN);
}

/* What a macvtap receives is for its own address; so must the guest's be. */
static int tap_take_address(struct tap *tap)
{
	struct ifreq ifr = {0};

	if (!tap_is_macvtap(tap->be.fd[0]))
		return 0;
	if (ioctl(tap->be.fd[0], SIOCGIFHWADDR, &ifr) < 0)
		return tap_refuse(tap, -errno, NULL);
	memcpy(tap->mac, ifr.ifr_hwaddr.sa_data, ETH_ALEN);
	tap->be.mac = tap->mac;
	return 0;
}

/* An attached descriptor that somebody with the rights for it opened for us. */
static int tap_adopt(struct tap *tap, int fd)
{
	struct ifreq ifr = {0};
	int flags, err;

	snprintf(tap->name, sizeof(tap->name), "fd %d", fd);
	err = tap_get_flags(fd, &ifr);
	if (err == -EBADF)
		return tap_refuse(tap, err, "no such file descriptor is open");
	if (err == -EBADFD)
		return tap_refuse(tap, err, "it is not attached to an interface");
	if (err < 0)
		return tap_refuse(tap, -EINVAL, "it is not a TAP");
	flags = ifr.ifr_flags;
	if (!(flags & IFF_TAP))
		return tap_refuse(tap, -EINVAL, "it is a TUN, which carries no Ethernet frames");
	if (!(flags & IFF_NO_PI))
		return tap_refuse(tap, -EINVAL, "it was not opened with IFF_NO_PI");
	if (!(flags & IFF_VNET_HDR))
		return tap_refuse(tap, -EINVAL, "it was not opened with IFF_VNET_HDR");
	tap->be.fd[0] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (tap->be.fd[0] < 0 || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		return tap_refuse(tap, -errno, NULL);
	memcpy(tap->name, ifr.ifr_name, IFNAMSIZ);
	return tap_take_address(tap);
}

/* The header of virtio 1 (5.1.6), and what the kernel can do with it. The interface may have had another user. */
static int tap_set_header(struct tap *tap)
{
	static const unsigned int tries[] = {TAP_TSO | TUN_F_TSO_ECN | TAP_USO,
					     TAP_TSO | TUN_F_TSO_ECN, TAP_TSO, TUN_F_CSUM};
	struct net_backend *be = &tap->be;
	int size = sizeof(struct virtio_net_hdr_v1);
	int little = 1;

	int err = tap_bound_sends(be->fd[0]);

	if (err < 0)
		return tap_refuse(tap, err, NULL);
	if (ioctl(be->fd[0], TUNSETVNETHDRSZ, &size) < 0 ||
	    ioctl(be->fd[0], TUNSETVNETLE, &little) < 0)
		return tap_refuse(tap, -errno, NULL);
	for (unsigned int i = 0; i < sizeof(tries) / sizeof(tries[0]) && !be->offloads; i++) {
		if (ioctl(be->fd[0], TUNSETOFFLOAD, (unsigned long)tries[i]) == 0)
			be->offloads = tries[i];
	}
	be->offloads_on = be->offloads;
	err = net_backend_set_offloads(be, 0);
	return err < 0 ? tap_refuse(tap, err, NULL) : 0;
}

/*
 * Finds the interface behind the descriptor. One of the same name in another namespace than ours tells of
 * itself by another hardware address; we must not mistake ours for it.
 */
static void tap_open_link(struct tap *tap)
{
	struct ifreq ifr = {0};

	if (tap_link_open(&tap->link, tap->name) < 0)
		return;
	if (ioctl(tap->be.fd[0], SIOCGIFHWADDR, &ifr) == 0 &&
	    memcmp(ifr.ifr_hwaddr.sa_data, tap->link.mac, ETH_ALEN) == 0)
		return;
	tap_link_close(&tap->link);
	tap_link_init(&tap->link);
}

static int tap_set_mtu(struct tap *tap, unsigned int mtu)
{
	unsigned int own = tap->link.mtu;

	if (mtu != 0 && (mtu < NET_MTU_MIN || mtu > NET_MTU_MAX)) {
		log_error("cannot use MTU %u for TAP '%s': it must be from %u to %u", mtu,
			  tap->name, NET_MTU_MIN, NET_MTU_MAX);
		return -EINVAL;
	}
	if (own != 0 && mtu > own)
		log_warn("MTU %u for the guest is more than that of TAP '%s', %u; raise it with: "
			 "ip link set %s mtu %u",
			 mtu, tap->name, own, tap->name, mtu);
	if (mtu == 0 && own >= NET_MTU_MIN && own <= NET_MTU_MAX)
		mtu = own;
	tap->be.mtu = mtu;
	return 0;
}

static int tap_check_queues(const struct tap *tap, unsigned int want)
{
	if (want <= tap->be.n_queues)
		return 0;
	log_error("TAP '%s' has room for %u of %u queues; make it anew with: ip tuntap add dev %s "
		  "mode tap multi_queue",
		  tap->name, tap->be.n_queues, want, tap->name);
	return -EINVAL;
}

static int tap_connect(struct tap *tap, const struct tap_config *config)
{
	unsigned int want = config->queues ? config->queues : config->max_queues;
	int err;

	if (!config->name) {
		err = tap_adopt(tap, config->fd);
	} else {
		err = tap_attach(tap, config->name, want < NET_MAX_PAIRS ? want : NET_MAX_PAIRS);
	}
	if (err == 0)
		err = tap_check_queues(tap, config->queues);
	return err == 0 ? tap_set_header(tap) : err;
}

void tap_init(struct tap *tap)
{
	*tap = (struct tap){.be = {.ops = &tap_ops,
				   .kind = "TAP interface",
				   .n_queues = 1,
				   .sends_offloaded = true,
				   .link_fd = -1,
				   .link_up = true}};
	tap->be.name = tap->name;
	for (unsigned int i = 0; i < NET_MAX_PAIRS; i++)
		tap->be.fd[i] = tap->be.write_fd[i] = -1;
	tap_link_init(&tap->link);
}

int tap_open(struct tap *tap, const struct tap_config *config)
{
	int err;

	tap_init(tap);
	err = tap_connect(tap, config);
	if (err == 0) {
		tap_open_link(tap);
		tap->be.link_fd = tap->link.fd;
		tap->be.link_up = tap->link.up;
		err = tap_set_mtu(tap, config->mtu);
	}
	if (err < 0)
		tap_close(tap);
	return err;
}

/* They are the interface's, and would be there for its next user, who may have another address and know of no checksums. */
static void tap_take_back(struct tap *tap)
{
	static const struct net_filter all = {.all = true};

	if (tap->filters)
		tap_set_filter(&tap->be, &all);
	if (tap->be.offloads_on)
		net_backend_set_offloads(&tap->be, 0);
}

void tap_close(struct tap *tap)
{
	tap_take_back(tap);
	tap_link_close(&tap->link);
	tap->be.link_fd = -1;
	for (unsigned int i = 0; i < NET_MAX_PAIRS; i++) {
		if (tap->be.fd[i] >= 0)
			close(tap->be.fd[i]);
		tap->be.fd[i] = -1;
	}
}
