/*
 * The libraries that container images take: libarchive (tar, gzip, zstd), jansson (JSON), nettle (SHA-256; libarchive needs it
 * too). A start without such an image must not pay for them, so they are loaded when one is unpacked (as vmm/core/late_library.h does).
 *
 * Members are called as the functions are, so that their manuals hold. Owner: whoever calls image_libs_open(). Threads: immutable
 * after that.
 */
#pragma once

#include "vmm/image/image_why.h"

#ifdef VMM_HAVE_IMAGES
#include <archive.h>
#include <archive_entry.h>
#include <jansson.h>
#include <nettle/sha2.h>
#include <nettle/version.h>

#define IMAGE_LIB_FUNCTIONS(F)                                                                     \
	F(0, archive_read_new)                                                                     \
	F(0, archive_read_free)                                                                    \
	F(0, archive_read_support_filter_gzip)                                                     \
	F(0, archive_read_support_filter_zstd)                                                     \
	F(0, archive_read_support_format_raw)                                                      \
	F(0, archive_read_support_format_empty)                                                    \
	F(0, archive_read_support_format_tar)                                                      \
	F(0, archive_read_set_callback_data)                                                       \
	F(0, archive_read_set_read_callback)                                                       \
	F(0, archive_read_set_skip_callback)                                                       \
	F(0, archive_read_open1)                                                                   \
	F(0, archive_read_next_header)                                                             \
	F(0, archive_read_data)                                                                    \
	F(0, archive_filter_bytes)                                                                 \
	F(0, archive_error_string)                                                                 \
	F(0, archive_set_error)                                                                    \
	F(0, archive_write_new)                                                                    \
	F(0, archive_write_free)                                                                   \
	F(0, archive_write_close)                                                                  \
	F(0, archive_write_set_format_pax_restricted)                                              \
	F(0, archive_write_set_options)                                                            \
	F(0, archive_write_open)                                                                   \
	F(0, archive_write_header)                                                                 \
	F(0, archive_write_data)                                                                   \
	F(0, archive_entry_new)                                                                    \
	F(0, archive_entry_free)                                                                   \
	F(0, archive_entry_pathname)                                                               \
	F(0, archive_entry_hardlink)                                                               \
	F(0, archive_entry_symlink)                                                                \
	F(0, archive_entry_filetype)                                                               \
	F(0, archive_entry_size)                                                                   \
	F(0, archive_entry_mtime)                                                                  \
	F(0, archive_entry_set_mtime)                                                              \
	F(0, archive_entry_set_pathname)                                                           \
	F(0, archive_entry_set_hardlink)                                                           \
	F(0, archive_entry_set_filetype)                                                           \
	F(0, archive_entry_set_perm)                                                               \
	F(0, archive_entry_set_size)                                                               \
	F(0, archive_entry_set_uname)                                                              \
	F(0, archive_entry_set_gname)                                                              \
	F(0, archive_entry_sparse_clear)                                                           \
	F(1, json_loadb)                                                                           \
	F(1, json_delete)                                                                          \
	F(1, json_object_get)                                                                      \
	F(1, json_array_get)                                                                       \
	F(1, json_array_size)                                                                      \
	F(1, json_string_value)                                                                    \
	F(1, json_integer_value)                                                                   \
	F(2, nettle_sha256_init)                                                                   \
	F(2, nettle_sha256_update)                                                                 \
	F(2, nettle_sha256_digest)

struct image_libs {
	void *handles[3];
#define IMAGE_LIB_MEMBER(library, name) __typeof__(name) *name;
	IMAGE_LIB_FUNCTIONS(IMAGE_LIB_MEMBER)
#undef IMAGE_LIB_MEMBER
};
#else
struct image_libs {
	char none;
};
#endif

/* Returns 0, or -ELIBACC when one of them is not there. */
int image_libs_open(struct image_libs *libs, struct image_why *why);
/* Also of zeros, or after image_libs_open() failed. */
void image_libs_close(struct image_libs *libs);
/* Whether they can be opened, for who has no use for them; as image_libs_open(). */
int image_libs_check(struct image_why *why);
