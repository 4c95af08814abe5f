/*
 * A configuration as its owner wrote it: whether it can be read at all, and has a meaning. What it asks for is looked at later
 * (vmm/machine/machine_check.c).
 *
 * Any thread; nothing is kept.
 */
#pragma once

#include "vmm/api/vmm.h"

/* Returns 0, or -EINVAL after a message: a count beyond its bound, an array that is missing, a required pointer, an enum. */
int config_check(const struct vmm_config *config);
