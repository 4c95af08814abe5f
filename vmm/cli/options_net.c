/* --net */
#include "vmm/cli/option.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "vmm/cli/report.h"
#include "vmm/cli/value.h"

/* Whether an earlier card has this TAP; the kernel refuses a name twice itself, but not a descriptor. */
static bool options_tap_taken(const struct options *o, const struct vmm_net *net)
{
	for (unsigned int i = 0; i < o->config.n_nets; i++) {
		if (net->tap_fd >= 0 && o->nets[i].tap_fd == net->tap_fd)
			return true;
		if (net->tap && o->nets[i].tap && strcmp(o->nets[i].tap, net->tap) == 0)
			return true;
	}
	return false;
}

static int option_net_tap(struct vmm_net *net, const char *tap, const char *fd)
{
	uint64_t n;

	if (net->tap || net->tap_fd >= 0 || net->user)
		return report_refuse("--net: one tap=, tap-fd= or user for each card");
	if (tap && *tap == '\0')
		return report_refuse("--net tap= needs the name of a TAP interface");
	net->tap = tap;
	if (!fd)
		return 0;
	if (value_number(fd, 3, INT_MAX, &n) < 0)
		return report_refuse(
			"--net tap-fd= takes the number of an open file descriptor above 2, not "
			"'%s'",
			fd);
	net->tap_fd = (int)n;
	return 0;
}

static int option_net_user(struct vmm_net *net)
{
	if (net->tap || net->tap_fd >= 0 || net->user)
		return report_refuse("--net: one tap=, tap-fd= or user for each card");
	net->user = true;
	return 0;
}

/* forward=tcp:HOST:GUEST */
static int option_net_forward(struct options *o, struct vmm_net *net, char *value)
{
	struct vmm_forward *forward = &o->forwards[net - o->nets][net->n_forwards];
	char *protocol = value, *host = strchr(value, ':'),
	     *guest = host ? strchr(host + 1, ':') : NULL;
	uint64_t host_port, guest_port;

	if (net->n_forwards == VMM_MAX_FORWARDS)
		return report_refuse("--net user has room for %d forwards", VMM_MAX_FORWARDS);
	if (guest) {
		*host++ = *guest++ = '\0';
		if ((strcmp(protocol, "tcp") == 0 || strcmp(protocol, "udp") == 0) &&
		    value_number(host, 1, 65535, &host_port) == 0 &&
		    value_number(guest, 1, 65535, &guest_port) == 0) {
			*forward = (struct vmm_forward){.udp = *protocol == 'u',
							.host = (uint16_t)host_port,
							.guest = (uint16_t)guest_port};
			net->forwards = o->forwards[net - o->nets];
			net->n_forwards++;
			return 0;
		}
	}
	return report_refuse(
		"--net forward= takes tcp:HOST:GUEST or udp:HOST:GUEST with two ports, not "
		"'%s%s%s%s%s'",
		protocol, guest ? ":" : "", guest ? host : "", guest ? ":" : "",
		guest ? guest : "");
}

static int option_net_mac(struct vmm_net *net, const char *mac, uint8_t *bytes)
{
	if (net->mac || value_mac(mac, bytes) < 0)
		return report_refuse("--net mac= takes six pairs of hex digits such as "
				     "52:54:00:12:34:56, no group address, once; not '%s'",
				     mac);
	net->mac = bytes;
	return 0;
}

static int option_net_number(const char *name, const char *text, uint64_t min, uint64_t max,
			     uint16_t *out)
{
	uint64_t n;

	if (*out || value_number(text, min, max, &n) < 0)
		return report_refuse("--net %s= takes a number from %u to %u, once; not '%s'", name,
				     (unsigned int)min, (unsigned int)max, text);
	*out = (uint16_t)n;
	return 0;
}

#define NET_LIMITS 8

struct net_limit_name {
	const char *name;
	uint64_t *limit;
};

/* Each limit is followed by its burst. */
static void option_net_limits(struct vmm_net *net, struct net_limit_name names[NET_LIMITS])
{
	const struct net_limit_name all[NET_LIMITS] = {
		{"rx-bps", &net->rx.bps}, {"rx-bps-burst", &net->rx.bps_burst},
		{"rx-pps", &net->rx.pps}, {"rx-pps-burst", &net->rx.pps_burst},
		{"tx-bps", &net->tx.bps}, {"tx-bps-burst", &net->tx.bps_burst},
		{"tx-pps", &net->tx.pps}, {"tx-pps-burst", &net->tx.pps_burst},
	};

	memcpy(names, all, sizeof(all));
}

/* Returns 1 when item was a limit, 0 when not, or -EINVAL. */
static int option_net_limit(struct vmm_net *net, char *item)
{
	struct net_limit_name names[NET_LIMITS];

	option_net_limits(net, names);
	for (unsigned int i = 0; i < NET_LIMITS; i++) {
		char *value = value_of(item, names[i].name);

		if (!value)
			continue;
		if (*names[i].limit ||
		    value_number(value, 1, UINT64_C(1) << 40, names[i].limit) < 0)
			return report_refuse(
				"--net %s= takes a number from 1 to 2^40, once; not '%s'",
				names[i].name, value);
		return 1;
	}
	return 0;
}

static int option_net_check_limits(struct vmm_net *net)
{
	struct net_limit_name names[NET_LIMITS];

	option_net_limits(net, names);
	for (unsigned int i = 0; i < NET_LIMITS; i += 2) {
		if (*names[i + 1].limit && !*names[i].limit)
			return report_refuse("--net %s= goes with %s= alone", names[i + 1].name,
					     names[i].name);
	}
	return 0;
}

static int option_net_vhost(struct vmm_net *net, const char *text)
{
	if (net->vhost == VMM_VHOST_AUTO && strcmp(text, "on") == 0)
		net->vhost = VMM_VHOST_ON;
	else if (net->vhost == VMM_VHOST_AUTO && strcmp(text, "off") == 0)
		net->vhost = VMM_VHOST_OFF;
	else
		return report_refuse("--net vhost= takes on or off, once; not '%s'", text);
	return 0;
}

static int option_net_item(struct options *o, struct vmm_net *net, char *item)
{
	char *tap = value_of(item, "tap"), *fd = value_of(item, "tap-fd");
	char *mac = value_of(item, "mac"), *mtu = value_of(item, "mtu");
	char *queues = value_of(item, "queues"), *forward = value_of(item, "forward");
	char *vhost = value_of(item, "vhost");
	int limit = option_net_limit(net, item);

	if (limit != 0)
		return limit < 0 ? limit : 0;
	if (tap || fd)
		return option_net_tap(net, tap, fd);
	if (mac)
		return option_net_mac(net, mac, o->macs[net - o->nets]);
	if (mtu)
		return option_net_number("mtu", mtu, 68, 65535, &net->mtu);
	if (queues)
		return option_net_number("queues", queues, 1, VMM_MAX_NET_QUEUES, &net->queues);
	if (vhost)
		return option_net_vhost(net, vhost);
	if (forward)
		return option_net_forward(o, net, forward);
	if (strcmp(item, "user") == 0)
		return option_net_user(net);
	return report_refuse(
		"--net has no option '%s'; there are tap=NAME, tap-fd=N, user, mac=M, mtu=N, "
		"queues=N, vhost=on|off, forward=tcp:HOST:GUEST, rx-bps=N, tx-bps=N, rx-pps=N, "
		"tx-pps=N, and a "
		"burst for each of the last four, such as rx-bps-burst=N",
		item);
}

static int option_net_check(const struct options *o, const struct vmm_net *net)
{
	if (!net->tap && net->tap_fd < 0 && !net->user)
		report("--net needs tap=NAME, tap-fd=N or user");
	else if (net->n_forwards > 0 && !net->user)
		report("--net forward= goes with user alone: a TAP has the host's own routing");
	else if (net->queues > 1 && !net->tap)
		report("--net queues= goes with tap=NAME alone: the others have one queue");
	else if (net->vhost != VMM_VHOST_AUTO && net->user)
		report("--net vhost= goes with tap= or tap-fd= alone: passt is a program of its "
		       "own");
	else if (options_tap_taken(o, net))
		report("two network cards cannot share a TAP: each --net needs one of its own");
	else
		return 0;
	return -EINVAL;
}

int option_net(struct options *o, char *value)
{
	struct vmm_net *net = &o->nets[o->config.n_nets];

	if (options_full(o))
		return -EINVAL;
	net->tap_fd = -1;
	while (value) {
		int err = option_net_item(o, net, value_next_item(&value));

		if (err < 0)
			return err;
	}
	if (option_net_check(o, net) < 0 || option_net_check_limits(net) < 0)
		return -EINVAL;
	o->config.n_nets++;
	return 0;
}
