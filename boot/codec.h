/*
 * Unpacks what scripts/Makefile.lib of Linux packs a kernel with: gzip, and lz4 (legacy frames), zstd, xz and lzma where
 * their libraries were there at build time.
 *
 * Internal to boot/. Any thread. The input is a file's, so any bytes are to be expected; nothing is reported.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A part of a file; the descriptor is borrowed. Whatever is read moves offset on and makes left smaller. */
struct codec_input {
	int fd;
	uint64_t offset;
	uint64_t left;
};

/*
 * Unpacks the payload of a bzImage, which ends with its unpacked size in 32 bits, to [dst, dst + size). dst is also what
 * earlier bytes are copied from, so nobody else may write there.
 *
 * Returns 0; -ENOTSUP for a codec that is unknown, was not built in, or has a library that cannot be loaded; -EBADMSG when the payload is damaged, or gives
 * more or fewer bytes than size; -ECANCELED soon after *stop became true; -ENOMEM, or the errno of pread(). In these cases
 * anything may be in [dst, dst + size).
 */
int codec_unpack(const struct codec_input *payload, uint8_t *dst, size_t size,
		 const atomic_bool *stop);

/*
 * Unpacks a whole file that is packed by one of these, such as a module. Returns 0 with *len bytes in [dst, dst + room), or what
 * codec_unpack() returns; -EBADMSG too for a file that unpacks to more than room.
 */
int codec_unpack_file(int fd, uint64_t file_size, uint8_t *dst, size_t room, size_t *len);

/* The unpacked size that the payload ends with. Returns 0, -EBADMSG, or the errno of pread(). */
int codec_size(const struct codec_input *payload, uint32_t *size);
