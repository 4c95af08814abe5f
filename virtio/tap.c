#include "virtio/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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

#include "vmm/core/log.h"

#define TAP_DEVICE "/dev/net/tun"

#define TAP_TSO (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)
#define TAP_USO (TUN_F_USO4 | TUN_F_USO6)

/* More than any sane transmit queue length of an interface. */
#define TAP_DISCARD_MAX 8192

/* The last of the pauses, each twice as long as the one before, after which an interface that is in use is tried again. */
#define TAP_BUSY_MS 64

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

static int tap_read_link(struct net_backend *be)
{
	struct tap *tap = tap_of(be);
	bool changed = tap_link_read(&tap->link);

	be->link_up = tap->link.up;
	return changed;
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

static int tap_refuse(const struct tap *tap, int err, const char *why)
{
	log_error("cannot attach to TAP '%s': %s", tap->name, why);
	return err;
}

static int tap_refuse_missing(const char *name)
{
	log_error(
		"cannot attach to TAP '%s': no such interface; make one with: ip tuntap add dev %s "
		"mode tap user $USER && ip link set %s up",
		name, name, name);
	return -ENODEV;
}

static int tap_check_name(const char *name)
{
	size_t len = strlen(name);

	if (len > 0 && len < IFNAMSIZ)
		return 0;
	log_error("cannot attach to TAP '%s': an interface name has 1 to %d characters", name,
		  IFNAMSIZ - 1);
	return -EINVAL;
}

static int tap_open_device(void)
{
	int fd = open(TAP_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	int err = -errno;

	if (fd >= 0)
		return fd;
	if (err == -ENOENT || err == -ENODEV || err == -ENXIO)
		log_error("cannot open %s: %s; load the driver with: modprobe tun", TAP_DEVICE,
			  strerror(-err));
	else if (err == -EACCES || err == -EPERM)
		log_error("cannot open %s: %s; allow it with: chmod 0666 %s", TAP_DEVICE,
			  strerror(-err), TAP_DEVICE);
	else
		log_error("cannot open %s: %s", TAP_DEVICE, strerror(-err));
	return err;
}

/* The kernel tells both alike: no TAP of the tun driver has that name. */
static int tap_refuse_foreign(const struct tap *tap)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/class/net/%s/macvtap", tap->name);
	if (access(path, F_OK) < 0)
		return tap_refuse(tap, -EINVAL, "it is not a TAP interface");
	log_error("cannot attach to TAP '%s': it is a macvtap; give its own device with: --net "
		  "tap-fd=9 9<>/dev/tap%u",
		  tap->name, if_nametoindex(tap->name));
	return -EINVAL;
}

static int tap_refuse_attach(const struct tap *tap, int err)
{
	switch (err) {
	case -EBUSY:
		return tap_refuse(tap, err, "it is in use, by another process or given twice");
	case -EINVAL:
		return tap_refuse_foreign(tap);
	case -EPERM:
	case -EACCES:
		log_error("cannot attach to TAP '%s': it belongs to another user; make it yours "
			  "with: ip tuntap del dev %s mode tap && ip tuntap add dev %s mode tap "
			  "user $USER",
			  tap->name, tap->name, tap->name);
		return err;
	default:
		return tap_refuse(tap, err, strerror(-err));
	}
}

/*
 * The kernel lets several attach to an interface made with multi_queue and deals the frames out among them:
 * not what anybody means by giving it to two cards. Where the kernel cannot count them we let it be.
 */
static bool tap_is_shared(const struct tap *tap)
{
	struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
	struct ifreq ifr = {.ifr_data = (void *)&channels};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool shared;

	if (fd < 0)
		return false;
	memcpy(ifr.ifr_name, tap->name, IFNAMSIZ);
	shared = ioctl(fd, SIOCETHTOOL, &ifr) == 0 && channels.combined_count > 1;
	close(fd);
	return shared;
}

/* Returns 0, 1 for an interface made with multi_queue, or a negative errno. */
static int tap_attach_queue(const struct tap *tap, int fd)
{
	struct ifreq ifr = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)};

	memcpy(ifr.ifr_name, tap->name, IFNAMSIZ);
	if (ioctl(fd, TUNSETIFF, &ifr) == 0)
		return 0;
	if (errno != EINVAL)
		return -errno;
	/* Also refused for an interface made with multi_queue. */
	ifr.ifr_flags |= IFF_MULTI_QUEUE;
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return -errno;
	return tap_is_shared(tap) ? -EBUSY : 1;
}

/*
 * While this has no limit at all, vhost hands frames over in another way, in which one that the guest has made wrong (shorter than its
 * header, or with a checksum behind its end) stays in the ring and is tried again for ever by a thread that never sleeps (seen
 * with 6.1 and 6.12). With one it is dropped.
 */
static int tap_bound_sends(int fd)
{
	int bytes = INT_MAX - 1;

	return ioctl(fd, TUNSETSNDBUF, &bytes) < 0 ? -errno : 0;
}

/* The others of an interface made with multi_queue, as many as it gives. Detached until the guest asks for them. */
static void tap_attach_more(struct tap *tap, unsigned int want)
{
	struct ifreq detach = {.ifr_flags = IFF_DETACH_QUEUE};
	struct ifreq ifr = {
		.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE)};

	memcpy(ifr.ifr_name, tap->name, IFNAMSIZ);
	while (tap->be.n_queues < want) {
		int fd = open(TAP_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);

		if (fd < 0)
			return;
		if (ioctl(fd, TUNSETIFF, &ifr) < 0 || tap_bound_sends(fd) < 0 ||
		    ioctl(fd, TUNSETQUEUE, &detach) < 0) {
			close(fd);
			return;
		}
		tap->be.fd[tap->be.n_queues++] = fd;
	}
}

/*
 * TUNSETIFF would make a new interface when there is none, hence the look before; and after, for one whose holder has gone meanwhile. One
 * that was let go may be held a moment longer, by a child of the process that has not executed its program yet.
 */
static int tap_attach(struct tap *tap, unsigned int want)
{
	unsigned int index;
	int fd, err;

	for (int ms = 1;; ms *= 2) {
		index = if_nametoindex(tap->name);
		if (index == 0)
			return errno == ENODEV ? tap_refuse_missing(tap->name)
					       : tap_refuse(tap, -errno, strerror(errno));
		fd = tap_open_device();
		if (fd < 0)
			return fd;
		err = tap_attach_queue(tap, fd);
		if (err >= 0)
			break;
		close(fd);
		if (err != -EBUSY || ms > TAP_BUSY_MS)
			return tap_refuse_attach(tap, err);
		poll(NULL, 0, ms);
	}
	if (if_nametoindex(tap->name) != index) {
		close(fd); /* ours, which goes with it */
		return tap_refuse_missing(tap->name);
	}
	tap->be.fd[0] = fd;
	if (err > 0)
		tap_attach_more(tap, want);
	return 0;
}

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
		return tap_refuse(tap, -errno, strerror(errno));
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
		return tap_refuse(tap, -errno, strerror(errno));
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
		return tap_refuse(tap, err, strerror(-err));
	if (ioctl(be->fd[0], TUNSETVNETHDRSZ, &size) < 0 ||
	    ioctl(be->fd[0], TUNSETVNETLE, &little) < 0)
		return tap_refuse(tap, -errno, strerror(errno));
	for (unsigned int i = 0; i < sizeof(tries) / sizeof(tries[0]) && !be->offloads; i++) {
		if (ioctl(be->fd[0], TUNSETOFFLOAD, (unsigned long)tries[i]) == 0)
			be->offloads = tries[i];
	}
	be->offloads_on = be->offloads;
	return net_backend_set_offloads(be, 0);
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
		err = tap_check_name(config->name);
		if (err < 0)
			return err;
		memcpy(tap->name, config->name, strlen(config->name));
		err = tap_attach(tap, want < NET_MAX_PAIRS ? want : NET_MAX_PAIRS);
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
