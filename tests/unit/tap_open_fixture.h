/*
 * TAPs by name and by descriptor, for tests of the backend alone.
 */
#pragma once

#include "tests/unit/skip.h"
#include "tests/unit/tap_fixture.h"
#include "virtio/tap.h"

#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <linux/capability.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>

#define VNET (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)

static inline int open_name(struct tap *tap, const char *name, unsigned int mtu)
{
	struct tap_config config = {.name = name, .fd = -1, .mtu = mtu};

	return tap_open(tap, &config);
}

static inline int open_fd(struct tap *tap, int fd)
{
	struct tap_config config = {.fd = fd};

	return tap_open(tap, &config);
}
