/*
 * The directory that a fuzz target shares. It has files of each kind, and is changed by the host meanwhile, and by the guest when it may
 * write there. Beside it is a file that must stay as it is, and that nobody may read.
 *
 * Threads: the target's own.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/fuzz/input.h"

#define TREE_BIG 100000 /* bytes of the file "big" */

/* Its path, which is made with the first call and removed when the program ends. */
const char *tree_path(void);

/* As at first. */
void tree_renew(void);

/* Whether it has a directory "many" of more files than there is room for in small tables. Nobody may change that. */
void tree_show_many(bool shown);

/* A guest may have changed it. */
void tree_touch(void);

/* The host moves or removes something. */
void tree_change(struct fuzz_input *in);

/* Fails the run when the file beside the directory is not as it was. */
void tree_check(void);

/* Fails the run when these bytes are of that file. */
void tree_check_bytes(const void *bytes, size_t len);
/* Fails the run when the file of this number is that file, or the directory around. */
void tree_check_inside(uint64_t ino);
