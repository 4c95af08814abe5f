/*
 * What is written of a machine to a file: its device tree (--dump-dtb), or the guest when it has failed (--dump-guest); and which
 * files nothing may be written to, lest what the machine is made of is lost by a slip of the hand.
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

/* Whether lines may be written to fd, of --events; -1: there is none. Returns 0 or -EINVAL. */
int dump_check_events(const struct options *options, int fd);

/* Whether the console may be written to fd, which path names, and locks it if it is not standard output. Returns 0 or negative errno. */
int dump_check_console(const struct options *options, int fd, const char *path);

/* Opens the file for the guest, if one was asked for, as config.dump_fd; its content stays, and one that was made goes again if
 * there is no start (made.h). Returns 0 or negative errno. */
int dump_open_guest(struct options *options);

/* The last words of a guest's kernel, if its memory has them, those around a panic, each after "vmm: kernel: ". */
void dump_kernel_log(struct vmm *vm);
