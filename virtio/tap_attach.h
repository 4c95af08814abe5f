/*
 * How a TAP interface of the host is attached to by its name, and what is said when that fails (Linux,
 * Documentation/networking/tuntap.rst). What is done with it, and descriptors from elsewhere, are tap.c's.
 *
 * Threads: the owner of the struct tap alone.
 */
#pragma once

#include "virtio/tap.h"

/*
 * Attaches tap, which is attached to nothing, to the interface of that name, by as many queues as it gives, of want at most;
 * all but the first are detached until the guest asks for them. Returns 0; or a negative errno, with one line reported by
 * log_error() and nothing left open.
 */
int tap_attach(struct tap *tap, const char *name, unsigned int want);

/* Reports why tap cannot be attached to; NULL: what err says. Returns err. */
int tap_refuse(const struct tap *tap, int err, const char *why);

/*
 * Bounds what one sender may have on its way. While that has no limit at all, vhost hands frames over in another way, in which
 * one that the guest has made wrong (shorter than its header, or with a checksum behind its end) stays in the ring and is tried
 * again for ever by a thread that never sleeps (seen with 6.1 and 6.12). With one it is dropped. Returns 0 or negative errno.
 */
int tap_bound_sends(int fd);
