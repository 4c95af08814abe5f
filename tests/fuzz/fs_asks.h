/*
 * What a guest asks of a shared directory in a fuzz target: most often something that it may, of files that it knows and has open.
 *
 * Threads: the target's own.
 */
#pragma once

#include <stdint.h>

#include "tests/fuzz/input.h"
#include "virtio/fs.h"

#define ASK_MOST 2048 /* bytes of a request */

/* A request as the input says. It may need an open file, which there may be none of. Returns its length. */
uint32_t ask_make(const struct virtio_fs *fs, struct fuzz_input *in, uint8_t bytes[ASK_MOST]);

/* A request with this struct and name; NULL: without one. Returns its length. */
uint32_t ask_put(uint8_t bytes[ASK_MOST], uint32_t opcode, uint64_t node, const void *args,
		 size_t args_len, const char *name);

/* A number of a file that the guest knows; type as in st_mode, 0: any. The root's when there is none. */
uint64_t ask_node(const struct virtio_fs *fs, uint8_t code, uint32_t type);
/* One that it has open, or 0. */
uint64_t ask_file(const struct virtio_fs *fs, uint8_t code, bool is_dir);
