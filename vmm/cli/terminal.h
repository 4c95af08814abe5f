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

/* Switches fd to raw mode; in the background it is as if it was left. Returns 0 or negative errno. */
int terminal_make_raw(int fd);

/* Undoes it. Idempotent. */
void terminal_restore(void);

/* Before the program is stopped: undoes it for as long as that takes. */
void terminal_leave(void);
/* After a stop that left no time for it. */
void terminal_was_left(void);
/* Whether it was left and not come back to. */
bool terminal_is_left(void);
/* Raw again, unless others have the terminal now: then it is still left. */
void terminal_return(void);
