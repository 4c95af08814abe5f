/*
 * What the files of the command line share: each option has a function that takes its value.
 *
 * Functions return 0, or -EINVAL after one line on stderr. value points into argv, may be cut into pieces, and is NULL for
 * an option without one. One thread.
 */
#pragma once

#include <stdbool.h>

#include "vmm/cli/options.h"

typedef int option_fn(struct options *o, char *value);

/* options_command.c */
int option_root(struct options *o, char *value);
int option_env(struct options *o, char *value);
int option_boot_timeout(struct options *o, char *value);
int option_events(struct options *o, char *value);
/* After the options, for a command. */
int options_begin_env(struct options *o);
/* After them. */
int options_check_command(const struct options *o);
/* options_console.c */
int option_console(struct options *o, char *value);
/* options_container.c */
int option_image_cache(struct options *o, char *value);
/* Before the checks: a container image has a command. */
void options_choose_command(struct options *o);
/* options_disk.c */
int option_disk(struct options *o, char *value);
/* options_gdb.c */
int option_gdb(struct options *o, char *value);
/* options_image.c; returns 1 when item was one of its own, 0 when not, or -EINVAL */
int option_disk_image(struct vmm_disk *disk, char *item);
/* options_memory.c */
int option_memory(struct options *o, char *value);
/* options_net.c */
int option_net(struct options *o, char *value);
/* options_sandbox.c */
int option_sandbox(struct options *o, char *value);
int option_user(struct options *o, char *value);
/* options_share.c */
int option_share(struct options *o, char *value);
/* After the options. */
int options_check_shares(struct options *o);
/* options_vsock.c */
int option_vsock(struct options *o, char *value);

/* Whether there is no room for one more disk or network card; then it was said. */
bool options_full(const struct options *o);

/* Which of n words value is, or -EINVAL after a line that lists them. name: of the option, without the dashes. */
int option_choose(const char *name, const char *value, const char *const names[], int n);
