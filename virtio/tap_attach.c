#include "virtio/tap_attach.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/ethtool.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>

#include "vmm/core/log.h"

#define TAP_DEVICE "/dev/net/tun"

/* The last of the pauses, each twice as long as the one before, after which an interface that is in use is tried again. */
#define TAP_BUSY_MS 64

int tap_refuse(const struct tap *tap, int err, const char *why)
{
	log_error("cannot attach to TAP '%s': %s", tap->name, why ? why : strerror(-err));
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
		log_failure(err, "cannot open %s", TAP_DEVICE);
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
		return tap_refuse(tap, err, NULL);
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

int tap_bound_sends(int fd)
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
int tap_attach(struct tap *tap, const char *name, unsigned int want)
{
	unsigned int index;
	int fd, err = tap_check_name(name);

	if (err < 0)
		return err;
	memcpy(tap->name, name, strlen(name));
	for (int ms = 1;; ms *= 2) {
		index = if_nametoindex(tap->name);
		if (index == 0)
			return errno == ENODEV ? tap_refuse_missing(tap->name)
					       : tap_refuse(tap, -errno, NULL);
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
