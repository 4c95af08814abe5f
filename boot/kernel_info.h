/*
 * What a kernel's file tells of the kernel without starting it: its release, and the configuration that it may hold
 * (CONFIG_IKCONFIG).
 *
 * Any thread. Nothing is reported. The files may hold anything.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What "uname -r" says where that kernel runs: letters, digits and any of "+-._~", of which no dot is the first. Returns 0,
 * -ENODATA when the file does not tell, -ENAMETOOLONG for more than size bytes, or the errno of reading.
 */
int kernel_info_release(int fd, char *release, size_t size);

/*
 * The configuration, as a text that ends with a zero, to be freed by free(). A packed kernel is unpacked for it. Returns 0, -ENODATA when
 * the kernel holds none, -ENOEXEC for what is no x86 kernel, -EFBIG for what would be too large, the errors of codec_unpack(),
 * -ENOMEM, or the errno of reading.
 */
int kernel_info_config(int fd, char **text);

/*
 * The whole file, with a zero behind it, to be freed by free(); unpacked if it is packed by gzip, lz4, zstd or xz. Returns 0,
 * -EFBIG for more than 64 MiB, -ENOTSUP and others as codec_unpack(), or the errno of reading.
 */
int kernel_info_unpack(int fd, void **bytes, size_t *len);

/* Of a kernel that is unpacked. Where the configuration is packed in it; false: it holds none. */
bool kernel_info_find_config(const uint8_t *kernel, size_t size, size_t *at, size_t *len);

/* Unpacks what was found there, as kernel_info_config() does. */
int kernel_info_unpack_config(const uint8_t *packed, size_t len, char **text);
