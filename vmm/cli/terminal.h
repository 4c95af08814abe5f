/*
 * The terminal's mode: raw while the machine runs, as found on every way out, crashes of vmm included.
 *
 * The saved mode is the program's one piece of global state besides what the library keeps, because a signal
 * handler has to reach it. One thread.
 */
#pragma once

#include <stdbool.h>

/* Whether fd is a terminal that this process may read: a background job may not. */
bool terminal_is_ours(int fd);

/* Switches fd to raw mode. Returns 0 or negative errno. */
int terminal_make_raw(int fd);

/* Undoes it. Idempotent. */
void terminal_restore(void);
