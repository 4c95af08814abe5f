/*
 * vmm/core/iov.c: a cursor never leaves its elements, hands out each byte once and in order, and ends where they end.
 *
 * Each call begins with a cursor that stands anywhere over up to ELEMENTS elements, of up to 15 bytes; where bytes are copied, of up
 * to MAX_LEN.
 *
 * Flags: --unsigned-overflow-check
 * Unwind: 4
 * Mutant: prove_read vmm/core/iov.h s/while (cur->n > 0 && /while (/
 * Mutant: prove_read vmm/core/iov.c s/len < room ? len : room/room/
 * Mutant: prove_read vmm/core/iov.c s/cur->left -= piece.iov_len/cur->left -= len/
 * Mutant: prove_take vmm/core/iov.c s/ && n < max)/)/
 * Mutant: prove_read vmm/core/iov.c s/done < len && cur->left > 0/done < len/
 * Mutant: prove_skip vmm/core/iov.c s/.iov = cur->iov + cur->n/.iov = cur->iov, .left = 1/
 * Mutant: prove_take vmm/core/iov.c s/out\[n\] = iov_cursor_piece(cur, len - .taken)/out[n] = iov_cursor_piece(cur, len)/
 * Mutant: prove_read vmm/core/iov.c s/(char .)dst + done/(char *)dst/
 * Mutant: prove_write vmm/core/iov.c s/memcpy(piece.iov_base, (const char .)src + done/memcpy(piece.iov_base, (const char *)src/
 * Mutant: prove_zero vmm/core/iov.c s/memset(piece.iov_base, 0/memset(piece.iov_base, 1/
 * Mutant: prove_read vmm/core/iov.h s/cur->off = 0;/;/
 * Mutant: prove_init vmm/core/iov.c s/&cur->left);/\&(size_t){0});/
 */
#include "tests/proofs/proof.h"

#include "vmm/core/iov.c"

#define ELEMENTS 2
#define MAX_LEN	 2

static struct iovec iov[ELEMENTS];
static struct iov_cursor cur;
static char memory[ELEMENTS][MAX_LEN];
static size_t total;

/* As the C library does it; CBMC does not know what is in memory after its own. */
void *memcpy(void *dst, const void *src, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((char *)dst)[i] = ((const char *)src)[i];
	return dst;
}

void *memset(void *dst, int byte, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((char *)dst)[i] = (char)byte;
	return dst;
}

/* Where byte number at of all that the elements hold is. */
static char *byte_at(size_t at)
{
	for (unsigned int i = 0; i < ELEMENTS; i++) {
		if (at < iov[i].iov_len)
			return (char *)iov[i].iov_base + at;
		at -= iov[i].iov_len;
	}
	return NULL;
}

/* Those that are there no more have no bytes. */
static unsigned int setup_elements(bool copied)
{
	unsigned int n = nondet_u32();

	assume(n <= ELEMENTS);
	for (unsigned int i = 0; i < ELEMENTS; i++) {
		iov[i].iov_base = copied ? memory[i] : (void *)((i + UINT64_C(1)) << 32);
		iov[i].iov_len = i < n ? nondet_u8() >> 4 : 0;
		assume(!copied || iov[i].iov_len <= MAX_LEN);
		total += iov[i].iov_len;
	}
	return n;
}

/* How many bytes lie before the cursor; proves what the header says of it. */
static size_t position(void)
{
	size_t at = 0;

	prove(cur.left == 0 || (cur.n > 0 && cur.off < cur.iov->iov_len));
	for (unsigned int i = 0; i < ELEMENTS && &iov[i] != cur.iov; i++)
		at += iov[i].iov_len;
	prove(cur.left <= total);
	prove(at + cur.off == total - cur.left);
	return total - cur.left;
}

/* A cursor as the others leave it. Returns how many bytes lie before it. */
static size_t setup_cursor(bool copied)
{
	unsigned int n = setup_elements(copied), i = nondet_u32();
	size_t before = 0;

	assume(i <= n);
	for (unsigned int j = 0; j < i; j++)
		before += iov[j].iov_len;
	cur = (struct iov_cursor){.iov = &iov[i], .n = n - i, .off = nondet_u8() >> 4};
	assume(i < n ? cur.off < iov[i].iov_len : cur.off == 0);
	cur.left = total - before - cur.off;
	return before + cur.off;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

void prove_init(void)
{
	unsigned int n = setup_elements(false);

	iov_cursor_init(&cur, iov, n);
	prove(cur.left == total && position() == 0);
}

void prove_skip(void)
{
	size_t before = setup_cursor(false), len = nondet_size(), done = least(len, cur.left);

	prove(iov_cursor_skip(&cur, len) == done);
	prove(cur.left == total - before - done);
	if (cur.left > 0)
		prove(position() == before + done);
}

void prove_zero(void)
{
	size_t before = setup_cursor(true), len = nondet_size(), done = least(len, cur.left);
	size_t any = nondet_size();

	memory[0][0] = memory[0][1] = memory[1][0] = memory[1][1] = 2;
	prove(iov_cursor_zero(&cur, len) == done);
	prove(position() == before + done);
	if (any < done)
		prove(*byte_at(before + any) == 0);
}

/* The pieces are the next bytes and no others. */
void prove_take(void)
{
	size_t before = setup_cursor(false), len = nondet_size(), there = least(len, cur.left);
	unsigned int max = nondet_u32(), n;
	struct iovec out[ELEMENTS];
	size_t taken, sum = 0, any = nondet_u8() >> 2;

	assume(max <= ELEMENTS);
	n = iov_cursor_take(&cur, out, max, len, &taken);
	prove(n <= max && taken <= there && (n == max || taken == there));
	prove(position() == before + taken);
	for (unsigned int i = 0; i < n; i++) {
		prove(out[i].iov_len > 0);
		if (any >= sum && any - sum < out[i].iov_len)
			prove((char *)out[i].iov_base + (any - sum) == byte_at(before + any));
		sum += out[i].iov_len;
	}
	prove(sum == taken);
}

void prove_rest(void)
{
	const struct iovec *rest;
	unsigned int n;
	size_t left = 0;

	setup_cursor(false);
	rest = iov_cursor_rest(&cur, &n);
	for (unsigned int i = 0; rest && i < n; i++)
		left += rest[i].iov_len;
	prove(rest ? left == cur.left : cur.off > 0);
}

void prove_read(void)
{
	size_t before = setup_cursor(true), len = nondet_size(), done = least(len, cur.left);
	size_t any = nondet_size();
	char buf[ELEMENTS * MAX_LEN];

	assume(len <= sizeof(buf));
	prove(iov_cursor_read(&cur, buf, len) == done);
	prove(position() == before + done);
	if (any < done)
		prove(buf[any] == *byte_at(before + any));
}

/* Bytes that are not written stay as they are. */
void prove_write(void)
{
	size_t before = setup_cursor(true), len = nondet_size(), done = least(len, cur.left);
	size_t any = nondet_size();
	char buf[ELEMENTS * MAX_LEN], old;

	assume(len <= sizeof(buf) && any < total);
	old = *byte_at(any);
	prove(iov_cursor_write(&cur, buf, len) == done);
	prove(position() == before + done);
	prove(*byte_at(any) == (any < before || any - before >= done ? old : buf[any - before]));
}
