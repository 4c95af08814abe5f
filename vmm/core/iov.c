#include "vmm/core/iov.h"

#include <stdbool.h>
#include <string.h>

#include "vmm/core/assert.h"

void iov_cursor_init(struct iov_cursor *cur, const struct iovec *iov, unsigned int n)
{
	*cur = (struct iov_cursor){.iov = iov, .n = n};
	for (unsigned int i = 0; i < n; i++) {
		bool overflow = __builtin_add_overflow(cur->left, iov[i].iov_len, &cur->left);

		assert(!overflow);
	}
	iov_cursor_settle(cur);
}

/* The next piece of at most len bytes; moves past it. Only while something is left. */
static struct iovec iov_cursor_piece(struct iov_cursor *cur, size_t len)
{
	size_t room = cur->iov[0].iov_len - cur->off;
	struct iovec piece = {
		.iov_base = (char *)cur->iov[0].iov_base + cur->off,
		.iov_len = len < room ? len : room,
	};

	cur->off += piece.iov_len;
	cur->left -= piece.iov_len;
	iov_cursor_settle(cur);
	return piece;
}

size_t iov_cursor_read_pieces(struct iov_cursor *cur, void *dst, size_t len)
{
	size_t done = 0;

	while (done < len && cur->left > 0) {
		struct iovec piece = iov_cursor_piece(cur, len - done);

		memcpy((char *)dst + done, piece.iov_base, piece.iov_len);
		done += piece.iov_len;
	}
	return done;
}

size_t iov_cursor_write(struct iov_cursor *cur, const void *src, size_t len)
{
	size_t done = 0;

	while (done < len && cur->left > 0) {
		struct iovec piece = iov_cursor_piece(cur, len - done);

		memcpy(piece.iov_base, (const char *)src + done, piece.iov_len);
		done += piece.iov_len;
	}
	return done;
}

size_t iov_cursor_zero(struct iov_cursor *cur, size_t len)
{
	size_t done = 0;

	while (done < len && cur->left > 0) {
		struct iovec piece = iov_cursor_piece(cur, len - done);

		memset(piece.iov_base, 0, piece.iov_len);
		done += piece.iov_len;
	}
	return done;
}

size_t iov_cursor_skip(struct iov_cursor *cur, size_t len)
{
	size_t done = cur->left;

	if (len >= done) {
		*cur = (struct iov_cursor){.iov = cur->iov + cur->n};
		return done;
	}
	done = 0;
	while (done < len && cur->left > 0)
		done += iov_cursor_piece(cur, len - done).iov_len;
	return done;
}

unsigned int iov_cursor_take(struct iov_cursor *cur, struct iovec *out, unsigned int max,
			     size_t len, size_t *taken)
{
	unsigned int n = 0;

	*taken = 0;
	while (*taken < len && cur->left > 0 && n < max) {
		out[n] = iov_cursor_piece(cur, len - *taken);
		*taken += out[n].iov_len;
		n++;
	}
	return n;
}
