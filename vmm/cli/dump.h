/*
 * What is written of a machine to a file: its device tree (--dump-dtb), or the guest when it has failed (--dump-guest); and which
 * files nothing may be written to.
 *
 * One thread. What cannot be done is one line on stderr.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "vmm/cli/options.h"

/*
 * A regular file is replaced as a whole, which keeps its mode, or stays as it is; a pipe or a device is written to.
 * Returns 0 or negative errno.
 */
int dump_device_tree(const struct options *options, const struct vmm *vm);

/* Whether st is that of a file that the machine is made of, which must not be lost by a slip of the hand. */
bool dump_is_part(const struct stat *st, const struct options *options);

/* Whether lines may be written to fd, of --events; -1: there is none. Returns 0 or -EINVAL. */
int dump_check_events(const struct options *options, int fd);

/* Opens the file for the guest, if one was asked for, as config.dump_fd; its content stays, and one that was made goes again if
 * there is no start (made.h). Returns 0 or negative errno. */
int dump_open_guest(struct options *options);

/* The last words of a guest's kernel, if its memory has them, those around a panic, each after "vmm: kernel: ". */
void dump_kernel_log(struct vmm *vm);
