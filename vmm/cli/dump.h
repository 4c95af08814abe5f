/*
 * --dump-dtb: the machine's device tree, written to a file.
 *
 * One thread. What cannot be done is one line on stderr.
 */
#pragma once

#include "vmm/cli/options.h"

/*
 * A regular file is replaced as a whole, which keeps its mode, or stays as it is; a pipe or a device is written to.
 * Returns 0 or negative errno.
 */
int dump_device_tree(const struct options *options, const struct vmm *vm);
