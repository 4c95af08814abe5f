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

	if (net->tap || net->tap_fd >= 0) {
		report("--net: one tap= or tap-fd= for each card");
		return -EINVAL;
	}
	if (tap && *tap == '\0') {
		report("--net tap= needs the name of a TAP interface");
		return -EINVAL;
	}
	net->tap = tap;
	if (!fd)
		return 0;
	if (value_number(fd, 3, INT_MAX, &n) < 0) {
		report("--net tap-fd= takes the number of an open file descriptor above 2, not "
		       "'%s'",
		       fd);
		return -EINVAL;
	}
	net->tap_fd = (int)n;
	return 0;
}

static int option_net_item(struct options *o, struct vmm_net *net, char *item)
{
	char *tap = value_of(item, "tap"), *fd = value_of(item, "tap-fd");
	char *mac = value_of(item, "mac"), *mtu = value_of(item, "mtu");
	uint8_t *bytes = o->macs[net - o->nets];
	uint64_t n;

	if (tap || fd)
		return option_net_tap(net, tap, fd);
	if (mac) {
		if (net->mac || value_mac(mac, bytes) < 0) {
			report("--net mac= takes six pairs of hex digits such as "
			       "52:54:00:12:34:56, no group address, once; not '%s'",
			       mac);
			return -EINVAL;
		}
		net->mac = bytes;
		return 0;
	}
	if (mtu) {
		if (net->mtu || value_number(mtu, 68, 65535, &n) < 0) {
			report("--net mtu= takes a number from 68 to 65535, once; not '%s'", mtu);
			return -EINVAL;
		}
		net->mtu = (uint16_t)n;
		return 0;
	}
	if (strcmp(item, "user") == 0)
		return option_unsupported("--net", item);
	report("--net has no option '%s'; there are tap=NAME, tap-fd=N, mac=M and mtu=N", item);
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
	if (!net->tap && net->tap_fd < 0) {
		report("--net needs tap=NAME or tap-fd=N");
		return -EINVAL;
	}
	if (options_tap_taken(o, net)) {
		report("two network cards cannot share a TAP: each --net needs one of its own");
		return -EINVAL;
	}
	o->config.n_nets++;
	return 0;
}
