#include "virtio/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
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

#define TAP_OFFLOADS (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)

/* More than any sane transmit queue length of an interface. */
#define TAP_DISCARD_MAX 8192

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

static int tap_refuse_attach(const struct tap *tap, int err)
{
	switch (err) {
	case -EBUSY:
		return tap_refuse(tap, err, "it is in use, by another process or given twice");
	case -EINVAL:
		return tap_refuse(tap, err, "it is not a TAP interface");
	case -EPERM:
	case -EACCES:
		log_error("cannot attach to TAP '%s': it belongs to another user; make it yours "
			  "with: ip "
			  "tuntap del dev %s mode tap && ip tuntap add dev %s mode tap user $USER",
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

/* TUNSETIFF would make a new interface when there is none, hence the look before. */
static int tap_attach(struct tap *tap)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};

	if (if_nametoindex(tap->name) == 0)
		return errno == ENODEV ? tap_refuse_missing(tap->name)
				       : tap_refuse(tap, -errno, strerror(errno));
	tap->fd = tap_open_device();
	if (tap->fd < 0)
		return tap->fd;
	memcpy(ifr.ifr_name, tap->name, IFNAMSIZ);
	if (ioctl(tap->fd, TUNSETIFF, &ifr) == 0)
		return 0;
	if (errno != EINVAL)
		return tap_refuse_attach(tap, -errno);
	/* Also refused for an interface made with multi_queue, of which we use one queue. */
	ifr.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE);
	if (ioctl(tap->fd, TUNSETIFF, &ifr) < 0)
		return tap_refuse_attach(tap, -errno);
	return tap_is_shared(tap) ? tap_refuse_attach(tap, -EBUSY) : 0;
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
	tap->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (tap->fd < 0 || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		return tap_refuse(tap, -errno, strerror(errno));
	memcpy(tap->name, ifr.ifr_name, IFNAMSIZ);
	return 0;
}

/* The header of virtio 1 (5.1.6), and what the kernel can do with it. The interface may have had another user. */
static int tap_set_header(struct tap *tap)
{
	static const unsigned int tries[] = {TAP_OFFLOADS, TAP_OFFLOADS & ~TUN_F_TSO_ECN,
					     TUN_F_CSUM};
	int size = sizeof(struct virtio_net_hdr_v1);
	int little = 1;

	if (ioctl(tap->fd, TUNSETVNETHDRSZ, &size) < 0 || ioctl(tap->fd, TUNSETVNETLE, &little) < 0)
		return tap_refuse(tap, -errno, strerror(errno));
	for (unsigned int i = 0; i < sizeof(tries) / sizeof(tries[0]) && !tap->offloads; i++) {
		if (ioctl(tap->fd, TUNSETOFFLOAD, (unsigned long)tries[i]) == 0)
			tap->offloads = tries[i];
	}
	tap->offloads_on = tap->offloads;
	return tap_set_offloads(tap, 0);
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
	if (ioctl(tap->fd, SIOCGIFHWADDR, &ifr) == 0 &&
	    memcmp(ifr.ifr_hwaddr.sa_data, tap->link.mac, ETH_ALEN) == 0)
		return;
	tap_link_close(&tap->link);
	tap_link_init(&tap->link);
}

static int tap_set_mtu(struct tap *tap, unsigned int mtu)
{
	unsigned int own = tap->link.mtu;

	if (mtu != 0 && (mtu < TAP_MTU_MIN || mtu > TAP_MTU_MAX)) {
		log_error("cannot use MTU %u for TAP '%s': it must be from %u to %u", mtu,
			  tap->name, TAP_MTU_MIN, TAP_MTU_MAX);
		return -EINVAL;
	}
	if (own != 0 && mtu > own)
		log_warn("MTU %u for the guest is more than that of TAP '%s', %u; raise it with: "
			 "ip link "
			 "set %s mtu %u",
			 mtu, tap->name, own, tap->name, mtu);
	if (mtu == 0 && own >= TAP_MTU_MIN && own <= TAP_MTU_MAX)
		mtu = own;
	tap->mtu = mtu;
	return 0;
}

int tap_open(struct tap *tap, const struct tap_config *config)
{
	int err;

	*tap = (struct tap){.fd = -1};
	tap_link_init(&tap->link);
	if (config->name) {
		err = tap_check_name(config->name);
		if (err < 0)
			return err;
		memcpy(tap->name, config->name, strlen(config->name));
		err = tap_attach(tap);
	} else {
		err = tap_adopt(tap, config->fd);
	}
	if (err == 0)
		err = tap_set_header(tap);
	if (err == 0) {
		tap_open_link(tap);
		err = tap_set_mtu(tap, config->mtu);
	}
	if (err < 0)
		tap_close(tap);
	return err;
}

int tap_set_offloads(struct tap *tap, unsigned int offloads)
{
	offloads &= tap->offloads;
	if (!(offloads & TUN_F_CSUM))
		offloads = 0;
	if (!(offloads & (TUN_F_TSO4 | TUN_F_TSO6)))
		offloads &= ~(unsigned int)TUN_F_TSO_ECN;
	if (offloads == tap->offloads_on)
		return 0;
	if (ioctl(tap->fd, TUNSETOFFLOAD, (unsigned long)offloads) < 0)
		return -errno;
	tap->offloads_on = offloads;
	return 0;
}

void tap_discard(struct tap *tap)
{
	char frame[128]; /* the kernel drops the rest */

	for (unsigned int i = 0; i < TAP_DISCARD_MAX; i++) {
		if (read(tap->fd, frame, sizeof(frame)) <= 0)
			return;
	}
}

void tap_close(struct tap *tap)
{
	tap_link_close(&tap->link);
	if (tap->fd >= 0)
		close(tap->fd);
	tap->fd = -1;
}
