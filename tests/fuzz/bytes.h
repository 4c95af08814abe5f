/*
 * What targets for parsers share: taking a structured input out of bytes, changing a few fields of a valid file, and keeping quiet.
 *
 * What is taken behind the end is 0, so that every input stands for something.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "vmm/core/log.h"

struct bytes {
	const uint8_t *at;
	size_t left;
};

/* What must not be is a finding. */
static inline void must(bool what)
{
	if (!what)
		abort();
}

/* The next n bytes as a little-endian number; n at most 8. */
static inline uint64_t bytes_take(struct bytes *in, size_t n)
{
	uint64_t value = 0;
	size_t there = n < in->left ? n : in->left;

	memcpy(&value, in->at, there);
	in->at += there;
	in->left -= there;
	return value;
}

static inline uint8_t bytes_u8(struct bytes *in)
{
	return (uint8_t)bytes_take(in, 1);
}

/*
 * A number as parsers trip over them: a byte says of which kind it is. Small ones, powers of two and their neighbours,
 * those near the ends of what is kept in 16, 32 and 64 bits, or any.
 */
static inline uint64_t bytes_number(struct bytes *in)
{
	static const uint8_t ends[] = {16, 31, 32, 63};
	uint8_t kind = bytes_u8(in);

	if (kind < 0x40)
		return kind;
	if (kind < 0x80)
		return UINT64_C(1) << (kind & 63);
	if (kind < 0xc0)
		return (UINT64_C(1) << (kind & 63)) - 1;
	if (kind < 0xd0)
		return (UINT64_C(1) << ends[kind & 3]) - 1 - ((kind >> 2) & 3);
	if (kind < 0xe0)
		return UINT64_MAX - (kind & 15);
	if (kind < 0xe8)
		return bytes_take(in, 2) << 12;
	return bytes_take(in, 1 + (kind & 7));
}

/* The text up to a 0 or the input's end, which belongs to the caller, to be freed. */
static inline char *bytes_text(struct bytes *in)
{
	size_t len = strnlen((const char *)in->at, in->left);
	char *text = strndup((const char *)in->at, len);

	must(text);
	in->at += len < in->left ? len + 1 : len;
	in->left -= len < in->left ? len + 1 : len;
	return text;
}

/* A field of a file. */
struct field {
	uint32_t offset;
	uint32_t size; /* bytes, at most 8 */
};

#define FIELD(base, type, name)                                                                    \
	{                                                                                          \
		(base) + offsetof(type, name), sizeof(((type *)0)->name)                           \
	}

/*
 * Changes fields for as long as there is input: a byte says which, 255 any place, then comes a number. Returns the file's new size: 254 cuts
 * it off.
 */
static inline size_t bytes_patch(struct bytes *in, uint8_t *file, size_t size,
				 const struct field *fields, size_t n_fields)
{
	while (in->left > 0) {
		uint8_t which = bytes_u8(in);
		struct field field = {0, 1};
		uint64_t value;

		if (which == 255)
			field.offset = (uint32_t)bytes_take(in, 2);
		else if (which != 254)
			field = fields[which % n_fields];
		value = bytes_number(in);
		if (which == 254)
			size = value < size ? value : size;
		else if (field.offset + field.size <= size)
			memcpy(file + field.offset, &value, field.size);
	}
	return size;
}

/* A file without a name that holds these bytes. */
static inline int bytes_file(const void *bytes, size_t len)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	must(fd >= 0 && write(fd, bytes, len) == (ssize_t)len && lseek(fd, 0, SEEK_SET) == 0);
	return fd;
}

static inline void quiet(void *arg, int level, const char *line)
{
	(void)arg;
	(void)level;
	must(!strchr(line, '\n'));
}

static inline void keep_quiet(void)
{
	log_set_level(LOG_LEVEL_DEBUG);
	log_set_sink(quiet, NULL);
}
