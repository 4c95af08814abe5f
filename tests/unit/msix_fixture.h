/*
 * MSI-X of a function behind a host that keeps book of messages, for tests.
 */
#pragma once

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <linux/pci_regs.h>

#include "vmm/core/bus.h"
#include "vmm/core/evloop.h"
#include "vmm/core/msix.h"

#define N      5 /* vectors */
#define MASKED PCI_MSIX_ENTRY_CTRL_MASKBIT

static struct msix msix;

/* What delivers the messages. */
static struct {
	unsigned int routes[N];
	uint64_t address[N];
	uint32_t data[N];
	int route_error;
	_Atomic unsigned int signals[N];
	_Atomic unsigned int unrouted; /* signals of vectors without a route */
	_Atomic bool routed[N];
} host;

static inline int host_route(void *arg, unsigned int vector, uint64_t address, uint32_t data)
{
	(void)arg;
	host.routes[vector]++;
	if (host.route_error)
		return host.route_error;
	host.address[vector] = address;
	host.data[vector] = data;
	atomic_store(&host.routed[vector], true);
	return 0;
}

static inline void host_signal(void *arg, unsigned int vector)
{
	(void)arg;
	if (!atomic_load(&host.routed[vector]))
		atomic_fetch_add(&host.unrouted, 1);
	atomic_fetch_add(&host.signals[vector], 1);
}

static inline int host_fd(void *arg, unsigned int vector)
{
	(void)arg;
	if (!atomic_load(&host.routed[vector]))
		atomic_fetch_add(&host.unrouted, 1);
	return 100 + (int)vector;
}

static const struct msix_ops ops = {
	.route = host_route, .signal = host_signal, .fd = host_fd, .arg = &host};

static inline void setup(void)
{
	memset((void *)&host, 0, sizeof(host));
	msix_init(&msix, N, &ops);
}

static inline void teardown(void)
{
	ck_assert_uint_eq(atomic_load(&host.unrouted), 0);
	msix_fini(&msix);
}

static inline void entry_write(unsigned int vector, unsigned int word, uint32_t value)
{
	msix_table_write(&msix, vector * PCI_MSIX_ENTRY_SIZE + word, 4, value);
}

/* As Linux does it: the message while masked, then the mask. */
static inline void entry_set(unsigned int vector, uint64_t address, uint32_t data, uint32_t control)
{
	entry_write(vector, PCI_MSIX_ENTRY_LOWER_ADDR, (uint32_t)address);
	entry_write(vector, PCI_MSIX_ENTRY_UPPER_ADDR, (uint32_t)(address >> 32));
	entry_write(vector, PCI_MSIX_ENTRY_DATA, data);
	entry_write(vector, PCI_MSIX_ENTRY_VECTOR_CTRL, control);
}

/* ---- delivery ---- */

/* The three ways in which a vector is deaf, and what ends each. */
enum deafness {
	DEAF_MASKED,
	DEAF_ALL_MASKED,
	DEAF_DISABLED,
	N_DEAFNESSES,
};

static inline void set_deaf(enum deafness how, bool deaf)
{
	switch (how) {
	case DEAF_MASKED:
		entry_write(1, PCI_MSIX_ENTRY_VECTOR_CTRL, deaf ? MASKED : 0);
		break;
	case DEAF_ALL_MASKED:
		msix_set_control(&msix, true, deaf);
		break;
	default:
		msix_set_control(&msix, !deaf, false);
	}
}
