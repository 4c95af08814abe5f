/*
 * A cursor over an iovec array: read, write and skip bytes without caring how they are cut into pieces.
 *
 * The cursor borrows the array and never changes it. Owned by one thread. Invariants: left is the number of
 * bytes from the cursor to the end; off is below the length of iov[0] unless left is 0.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

struct iov_cursor {
	const struct iovec *iov;
	unsigned int n;
	size_t off;
	size_t left;
};

/* Elements of length 0 are fine. The sum of the lengths must not exceed SIZE_MAX (checked by assert). */
void iov_cursor_init(struct iov_cursor *cur, const struct iovec *iov, unsigned int n);

static inline size_t iov_cursor_left(const struct iov_cursor *cur)
{
	return cur->left;
}

/* What is left, as elements of the array itself; *n is their number. NULL when the cursor stands inside of one. */
static inline const struct iovec *iov_cursor_rest(const struct iov_cursor *cur, unsigned int *n)
{
	*n = cur->n;
	return cur->off == 0 ? cur->iov : NULL;
}

/* Whether each piece begins at a multiple of align and is a multiple of unit long, powers of two; align 0: all do. */
static inline bool iov_is_aligned(const struct iovec *iov, unsigned int n, uint32_t align,
				  uint32_t unit)
{
	uintptr_t base = 0, len = 0;

	if (align == 0)
		return true;
	for (unsigned int i = 0; i < n; i++) {
		base |= (uintptr_t)iov[i].iov_base;
		len |= iov[i].iov_len;
	}
	return ((base & (align - 1)) | (len & (unit - 1))) == 0;
}

/* The module's own: restores the invariant that off is inside iov[0], or nothing is left. */
static inline void iov_cursor_settle(struct iov_cursor *cur)
{
	while (cur->n > 0 && cur->off == cur->iov[0].iov_len) {
		cur->iov++;
		cur->n--;
		cur->off = 0;
	}
}

/* The module's own: iov_cursor_read() of what may lie in several pieces. */
size_t iov_cursor_read_pieces(struct iov_cursor *cur, void *dst, size_t len);

/* Each moves the cursor by at most len bytes and returns how many it was. Inline, for every request's header is read so. */
static inline size_t iov_cursor_read(struct iov_cursor *cur, void *dst, size_t len)
{
	if (len == 0 || len > cur->left || len > cur->iov[0].iov_len - cur->off)
		return iov_cursor_read_pieces(cur, dst, len);
	memcpy(dst, (const char *)cur->iov[0].iov_base + cur->off, len);
	cur->off += len;
	cur->left -= len;
	iov_cursor_settle(cur);
	return len;
}

size_t iov_cursor_write(struct iov_cursor *cur, const void *src, size_t len);
size_t iov_cursor_zero(struct iov_cursor *cur, size_t len);
size_t iov_cursor_skip(struct iov_cursor *cur, size_t len);

/*
 * Fills out with the pieces of the next len bytes and moves past them. Stops early when max pieces are
 * used or the cursor ends; *taken is the number of bytes covered. Returns the number of pieces.
 */
unsigned int iov_cursor_take(struct iov_cursor *cur, struct iovec *out, unsigned int max,
			     size_t len, size_t *taken);
