/* What contradicts itself, or is more than a machine has, is refused before anything is opened; see vmm/api/config_check.h. */
#include "vmm/machine/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "virtio/blk.h"
#include "virtio/fs.h"

_Static_assert(MACHINE_MAX_DISK_QUEUES == VIRTIO_BLK_MAX_QUEUES, "as many as the device has");

static int check_disk(const struct machine_disk_config *d)
{
	if (d->queues > MACHINE_MAX_DISK_QUEUES) {
		log_error("disk '%s': %u queues: a disk has at most %d", d->path, d->queues,
			  MACHINE_MAX_DISK_QUEUES);
	} else if ((d->iops_burst && !d->iops) || (d->bps_burst && !d->bps)) {
		log_error("disk '%s': a burst goes with the limit that it belongs to", d->path);
	} else if (d->overlay_file && !d->overlay) {
		log_error("disk '%s': a file for an overlay goes with an overlay", d->path);
	} else if (d->serial && strlen(d->serial) > VIRTIO_BLK_ID_BYTES) {
		log_error("disk '%s': serial '%s' is longer than %d characters", d->path, d->serial,
			  VIRTIO_BLK_ID_BYTES);
	} else {
		return machine_check_image(d);
	}
	return -EINVAL;
}

static bool burst_without_limit(const struct net_limit_config *l)
{
	return (l->bps_burst && !l->bps) || (l->pps_burst && !l->pps);
}

bool machine_net_is_limited(const struct machine_net_config *n)
{
	return n->rx_limit.bps || n->rx_limit.pps || n->tx_limit.bps || n->tx_limit.pps;
}

static bool is_bad_mac(const uint8_t *mac)
{
	static const uint8_t zero[ETH_ALEN];

	return mac && ((mac[0] & 1) || memcmp(mac, zero, ETH_ALEN) == 0);
}

/* A port of the host that two forwards begin at, or NULL. */
static const struct passt_forward *forwarded_twice(const struct machine_net_config *n)
{
	for (unsigned int i = 0; i < n->n_forwards; i++) {
		for (unsigned int j = 0; j < i; j++) {
			if (n->forwards[i].host == n->forwards[j].host &&
			    n->forwards[i].udp == n->forwards[j].udp)
				return &n->forwards[i];
		}
	}
	return NULL;
}

static bool is_forward_without_port(const struct machine_net_config *n)
{
	for (unsigned int i = 0; i < n->n_forwards; i++) {
		if (n->forwards[i].host == 0 || n->forwards[i].guest == 0)
			return true;
	}
	return false;
}

/* Why a card cannot be as it was asked for; NULL: it can, as far as can be seen from here. */
static const char *net_contradiction(const struct machine_net_config *n)
{
	if (n->user && n->tap)
		return "it is on a TAP interface or on passt, not both";
	if (n->user && n->vhost == MACHINE_VHOST_ON)
		return "vhost serves TAP interfaces alone: passt is a program of its own";
	if (n->vhost == MACHINE_VHOST_ON && machine_net_is_limited(n))
		return "vhost knows of no limits, so it cannot serve a card that has one";
	if (n->n_forwards > 0 && !n->user)
		return "forwards go with passt alone: a TAP interface has the host's own routing";
	if (n->queues > 1 && !n->tap)
		return "several queues go with a TAP interface by its name alone: the others have "
		       "one";
	if (burst_without_limit(&n->rx_limit) || burst_without_limit(&n->tx_limit))
		return "a burst goes with the limit that it belongs to";
	if (is_bad_mac(n->mac))
		return "its address cannot be zero or a group address (whose first byte is odd)";
	return NULL;
}

static int check_net(const struct machine_net_config *n, unsigned int number)
{
	const unsigned int largest = n->user ? PASST_MTU : NET_MTU_MAX;
	const char *contradiction = net_contradiction(n);
	const struct passt_forward *twice = forwarded_twice(n);

	if (contradiction)
		log_error("network card %u: %s", number, contradiction);
	else if (n->queues > NET_MAX_PAIRS)
		log_error("network card %u: %u queues: a card has at most %u", number, n->queues,
			  NET_MAX_PAIRS);
	else if (n->mtu != 0 && (n->mtu < NET_MTU_MIN || n->mtu > largest))
		log_error("network card %u: an MTU of %u: it must be from %u to %u", number, n->mtu,
			  NET_MTU_MIN, largest);
	else if (is_forward_without_port(n))
		log_error("network card %u: a forward goes from a port to a port, from 1 to 65535",
			  number);
	else if (twice)
		log_error("network card %u: %s port %u of the host is forwarded twice", number,
			  twice->udp ? "UDP" : "TCP", twice->host);
	else
		return 0;
	return -EINVAL;
}

/* The kernel refuses a TAP's name twice, but it cannot know that two cards mean to own one descriptor. */
static bool tap_fd_twice(const struct machine_config *config)
{
	for (unsigned int i = 0; i < config->n_nets; i++) {
		for (unsigned int j = 0; j < i; j++) {
			const struct machine_net_config *a = &config->nets[i],
							*b = &config->nets[j];

			if (!a->user && !b->user && !a->tap && !b->tap && a->tap_fd == b->tap_fd)
				return true;
		}
	}
	return false;
}

/* NULL is none; what is not there is told when it is opened. */
static bool is_one_file(const char *a, const char *b)
{
	struct stat sa, sb;

	return a && b && stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

/* A guest's first write would be its last boot. */
static int check_boot_files(const struct machine_config *config)
{
	for (unsigned int i = 0; i < config->n_disks; i++) {
		const struct machine_disk_config *d = &config->disks[i];
		bool kernel = is_one_file(d->path, config->kernel);

		if (d->readonly || d->overlay || (!kernel && !is_one_file(d->path, config->initrd)))
			continue;
		log_error("disk '%s' is the %s too, and the guest could write to it", d->path,
			  kernel ? "kernel" : "initrd");
		return -EINVAL;
	}
	return 0;
}

static int check_cards(const struct machine_config *config)
{
	int err = 0;

	for (unsigned int i = 0; i < config->n_disks && err == 0; i++)
		err = check_disk(&config->disks[i]);
	for (unsigned int i = 0; i < config->n_nets && err == 0; i++)
		err = check_net(&config->nets[i], i + 1);
	if (err == 0 && tap_fd_twice(config)) {
		log_error("two network cards cannot share a TAP's file descriptor");
		err = -EINVAL;
	}
	return err;
}

static int check_shares(const struct machine_config *config)
{
	for (unsigned int i = 0; i < config->n_shares; i++) {
		const struct machine_share_config *s = &config->shares[i];
		size_t len = s->tag ? strlen(s->tag) : 0;

		if (len == 0 || len > VIRTIO_FS_TAG_MAX) {
			log_error("directory '%s': a tag has 1 to %d bytes", s->path,
				  VIRTIO_FS_TAG_MAX);
			return -EINVAL;
		}
		for (unsigned int j = 0; j < i; j++) {
			if (strcmp(config->shares[j].tag, s->tag) == 0) {
				log_error("two shared directories have the tag '%s'", s->tag);
				return -EINVAL;
			}
		}
	}
	return 0;
}

enum fd_use {
	FD_READ, /* the mode is no matter: nohup(1) gives an input that cannot be read, which is one that has ended */
	FD_WRITE,
	FD_STREAM,
};

static bool is_stream_socket(int fd)
{
	socklen_t len = sizeof(int);
	int type;

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

static bool is_bad_fd(const char *field, int fd, enum fd_use use)
{
	static const char *const uses[] = {"", " for writing", " as a stream socket"};
	bool good;
	int flags;

	if (fd < 0)
		return false;
	flags = fcntl(fd, F_GETFL);
	good = flags >= 0;
	if (use == FD_WRITE)
		good = good && (flags & O_ACCMODE) != O_RDONLY;
	else if (use == FD_STREAM)
		good = is_stream_socket(fd);
	if (!good)
		log_error("%s: file descriptor %d is not open%s", field, fd, uses[use]);
	return !good;
}

static int check_vsock(const struct machine_vsock_config *v)
{
	if (!v->path && v->n_ports == 0) {
		log_error("a socket device has no path");
		return -EINVAL;
	}
	for (unsigned int i = 0; i < v->n_ports; i++) {
		for (unsigned int j = 0; j < i; j++) {
			if (v->ports[j].port == v->ports[i].port) {
				log_error("vsock port %u is there twice", v->ports[i].port);
				return -EINVAL;
			}
		}
		if (is_bad_fd("vsock port", v->ports[i].fd, FD_STREAM))
			return -EBADF;
	}
	return 0;
}

static int check_descriptors(const struct machine_config *config)
{
	if (config->console_socket >= 0 && (config->console_in >= 0 || config->console_out >= 0)) {
		log_error("a console has a socket or descriptors of its own, not both");
		return -EINVAL;
	}
	if (is_bad_fd("console_in", config->console_in, FD_READ) ||
	    is_bad_fd("console_out", config->console_out, FD_WRITE) ||
	    is_bad_fd("console_socket", config->console_socket, FD_STREAM) ||
	    is_bad_fd("dump_fd", config->dump_fd, FD_WRITE))
		return -EBADF;
	return config->vsock ? check_vsock(config->vsock) : 0;
}

int machine_check_config(const struct machine_config *config)
{
	int err;

	if (!config->kernel) {
		log_error("no kernel was given");
		return -EINVAL;
	}
	if (config->cmdline && config->append) {
		log_error("a whole command line and an addition to the built-in one exclude each "
			  "other");
		return -EINVAL;
	}
	if (config->cpus < 1 || config->cpus > MACHINE_MAX_VCPUS) {
		log_error("%u vCPUs: a machine has 1 to %d", config->cpus, MACHINE_MAX_VCPUS);
		return -EINVAL;
	}
	if (config->memory < MACHINE_MIN_MEMORY) {
		log_error("a machine has at least %llu MiB of memory",
			  (unsigned long long)(MACHINE_MIN_MEMORY >> 20));
		return -EINVAL;
	}
	if (config->io_threads > MACHINE_MAX_IO_THREADS) {
		log_error("%u I/O threads: a machine has at most %d", config->io_threads,
			  MACHINE_MAX_IO_THREADS);
		return -EINVAL;
	}
	err = check_descriptors(config);
	if (err == 0)
		err = check_shares(config);
	if (err == 0)
		err = check_boot_files(config);
	return err == 0 ? check_cards(config) : err;
}
