/* How requests of chance are put together, for all devices. */
#pragma once

#include "device.h"

#define MAX_PIECES 12 /* of a chain */

/* Cuts what lies at address into pieces, some of them empty. Returns how many, at most max. */
unsigned int cut(struct piece *pieces, unsigned int max, uint64_t address, uint32_t len,
		 bool write);

/*
 * Offers a chain, sometimes behind an indirect table, broken in one place with a chance of broken in a hundred, and kicks. A queue
 * that is never waited for takes no more than there are descriptors for. Returns whether the device is still clean.
 */
bool offer(struct device *d, unsigned int queue, const struct piece *pieces, unsigned int n,
	   unsigned int broken);
