/* vmm/core/iov: every way to cut a small buffer, against the same bytes in one piece. */
#include <check.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/core/iov.h"

#define LEN	   7
#define MAX_PIECES (2 * LEN + 2)

static uint8_t bytes[LEN];
static struct iovec iov[MAX_PIECES];

static void fill(void)
{
	for (unsigned int i = 0; i < LEN; i++)
		bytes[i] = (uint8_t)(0x10 + i);
}

/*
 * Bit i of cuts: cut before byte i + 1. Bit i of empties: an empty element before piece i; the one behind the last
 * piece is bit 31. Returns the number of elements. An empty element points nowhere.
 */
static unsigned int cut(unsigned int cuts, uint32_t empties)
{
	unsigned int n = 0, piece = 0, from = 0;

	for (unsigned int to = 1; to <= LEN; to++) {
		if (to < LEN && !(cuts >> (to - 1) & 1))
			continue;
		if (empties >> piece++ & 1)
			iov[n++] = (struct iovec){.iov_base = NULL, .iov_len = 0};
		iov[n++] = (struct iovec){.iov_base = &bytes[from], .iov_len = to - from};
		from = to;
	}
	if (empties >> 31)
		iov[n++] = (struct iovec){.iov_base = NULL, .iov_len = 0};
	return n;
}

#define N_CUTS (1u << (LEN - 1))
static const uint32_t empties[] = {0, 0x7fffffff, UINT32_MAX, 0x80000000, 1, 2, 0x55, 0x2a};

#define N_EMPTIES ((int)(sizeof(empties) / sizeof(empties[0])))

/* A cursor at the first byte of bytes, cut as i says. Returns the number of elements. */
static unsigned int framing(int i, struct iov_cursor *cur)
{
	unsigned int n = cut((unsigned int)i % N_CUTS, empties[(unsigned int)i / N_CUTS]);

	fill();
	iov_cursor_init(cur, iov, n);
	return n;
}

static size_t at_most(size_t want, size_t at)
{
	return want < LEN - at ? want : LEN - at;
}

/* Millions of checks: Check's own would write each to its pipe. */
#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			ck_abort_msg("framing %d, %zu bytes at %zu: %s", i, len, at, #condition);  \
	} while (0)

/* Reads len bytes at at, then the rest. */
static void check_read(int i, size_t at, size_t len)
{
	size_t want = at_most(len, at);
	struct iov_cursor cur;
	uint8_t got[LEN + 2];

	framing(i, &cur);
	memset(got, 0xee, sizeof(got));
	MUST(iov_cursor_left(&cur) == LEN);
	MUST(iov_cursor_skip(&cur, at) == at);
	MUST(iov_cursor_left(&cur) == LEN - at);
	MUST(iov_cursor_read(&cur, got, len) == want);
	MUST(memcmp(got, bytes + at, want) == 0);
	MUST(got[want] == 0xee);
	MUST(iov_cursor_left(&cur) == LEN - at - want);
	MUST(iov_cursor_read(&cur, got, sizeof(got)) == LEN - at - want);
	MUST(memcmp(got, bytes + at + want, LEN - at - want) == 0);
	MUST(iov_cursor_read(&cur, got, 1) == 0);
	MUST(iov_cursor_skip(&cur, SIZE_MAX) == 0);
}

static void check_write(int i, size_t at, size_t len)
{
	static const uint8_t text[LEN + 2] = "ABCDEFGH";
	size_t n = at_most(len, at);
	struct iov_cursor cur;
	uint8_t want[LEN];

	framing(i, &cur);
	memcpy(want, bytes, LEN);
	memcpy(want + at, text, n);
	MUST(iov_cursor_skip(&cur, at) == at);
	MUST(iov_cursor_write(&cur, text, len) == n);
	MUST(iov_cursor_left(&cur) == LEN - at - n);
	MUST(memcmp(bytes, want, LEN) == 0);
}

/* The pieces taken are the bytes asked for, none empty, none beyond, and the cursor stands behind them. */
static void check_take(int i, size_t at, size_t len, unsigned int max)
{
	size_t taken = 99, sum = 0;
	struct iovec out[MAX_PIECES];
	uint8_t *next = bytes + at, byte;
	struct iov_cursor cur;
	unsigned int n;

	framing(i, &cur);
	iov_cursor_skip(&cur, at);
	n = iov_cursor_take(&cur, out, max, len, &taken);
	MUST(n <= max);
	for (unsigned int k = 0; k < n; k++) {
		MUST(out[k].iov_base == next);
		MUST(out[k].iov_len > 0);
		next += out[k].iov_len;
		sum += out[k].iov_len;
	}
	MUST(taken == sum);
	MUST(n < max ? taken == at_most(len, at) : taken <= at_most(len, at));
	MUST(iov_cursor_left(&cur) == LEN - at - taken);
	if (at + taken < LEN)
		MUST(iov_cursor_read(&cur, &byte, 1) == 1 && byte == bytes[at + taken]);
}

/* From every place, every length, one past the end too. */
START_TEST(test_every_framing)
{
	for (int i = _i * (int)N_CUTS; i < (_i + 1) * (int)N_CUTS; i++) {
		for (size_t at = 0; at <= LEN; at++) {
			for (size_t len = 0; len <= LEN + 1; len++) {
				check_read(i, at, len);
				check_write(i, at, len);
				for (unsigned int max = 0; max <= LEN; max++)
					check_take(i, at, len, max);
			}
		}
	}
}
END_TEST

/* One step of a walk: some operation of at most 3 bytes; want is what bytes must hold. Returns how far it went. */
static size_t walk_step(struct iov_cursor *cur, uint32_t random, uint8_t *want, size_t at)
{
	size_t len = random & 3, done = 0;
	struct iovec out[MAX_PIECES];
	uint8_t got[LEN];

	/* with enough of the walk left to the others */
	if ((random >> 8 & 7) == 0) {
		done = iov_cursor_zero(cur, len);
		memset(want + at, 0, done);
		return done;
	}
	switch (random >> 2 & 3) {
	case 0:
		done = iov_cursor_read(cur, got, len);
		ck_assert_mem_eq(got, want + at, done);
		return done;
	case 1:
		memset(got, (int)(random >> 4 & 0xff), LEN);
		done = iov_cursor_write(cur, got, len);
		memcpy(want + at, got, done);
		return done;
	case 2:
		return iov_cursor_skip(cur, len);
	default:
		iov_cursor_take(cur, out, MAX_PIECES, len, &done);
		return done;
	}
}

/* A walk through the bytes, the operations mixed; the array that was lent is never changed. */
static void check_walk(int i, uint32_t *seed)
{
	struct iovec before[MAX_PIECES];
	struct iov_cursor cur;
	unsigned int n = framing(i, &cur);
	size_t at = 0, len = 0;
	uint8_t want[LEN];

	memcpy(before, iov, sizeof(before));
	memcpy(want, bytes, LEN);
	while (iov_cursor_left(&cur) > 0) {
		*seed = *seed * 1103515245 + 12345;
		len = walk_step(&cur, *seed >> 12, want, at);
		MUST(len == at_most(*seed >> 12 & 3, at));
		at += len;
		MUST(iov_cursor_left(&cur) == LEN - at);
	}
	MUST(at == LEN);
	MUST(memcmp(bytes, want, LEN) == 0);
	MUST(memcmp(before, iov, n * sizeof(iov[0])) == 0);
}

START_TEST(test_mixed)
{
	uint32_t seed = (uint32_t)_i + 1;

	for (int i = _i * (int)N_CUTS; i < (_i + 1) * (int)N_CUTS; i++)
		for (unsigned int round = 0; round < 50; round++)
			check_walk(i, &seed);
}
END_TEST

START_TEST(test_nothing)
{
	struct iovec empty[3] = {{NULL, 0}, {NULL, 0}, {NULL, 0}}, out[1];
	struct iov_cursor cur;
	size_t taken = 99;
	uint8_t byte = 1;

	for (unsigned int n = 0; n <= 3; n++) {
		iov_cursor_init(&cur, n ? empty : NULL, n);
		ck_assert_uint_eq(iov_cursor_left(&cur), 0);
		ck_assert_uint_eq(iov_cursor_read(&cur, &byte, 1), 0);
		ck_assert_uint_eq(iov_cursor_write(&cur, &byte, 1), 0);
		ck_assert_uint_eq(iov_cursor_skip(&cur, 1), 0);
		ck_assert_uint_eq(iov_cursor_take(&cur, out, 1, 1, &taken), 0);
		ck_assert_uint_eq(taken, 0);
	}
	ck_assert_uint_eq(byte, 1);
}
END_TEST

/* Longer than 32 bits count; nothing here is touched. */
START_TEST(test_large)
{
	struct iovec large[2] = {{bytes, (size_t)1 << 62}, {bytes, 5}}, out[2];
	struct iov_cursor cur;
	size_t taken;

	iov_cursor_init(&cur, large, 2);
	ck_assert_uint_eq(iov_cursor_left(&cur), ((size_t)1 << 62) + 5);
	ck_assert_uint_eq(iov_cursor_skip(&cur, ((size_t)1 << 62) - 1), ((size_t)1 << 62) - 1);
	ck_assert_uint_eq(iov_cursor_take(&cur, out, 2, SIZE_MAX, &taken), 2);
	ck_assert_uint_eq(taken, 6);
	ck_assert_uint_eq(out[0].iov_len, 1);
	ck_assert_uint_eq(out[1].iov_len, 5);
}
END_TEST

START_TEST(test_overflow)
{
	struct iovec large[2] = {{NULL, SIZE_MAX}, {NULL, 1}};
	struct iov_cursor cur;

	iov_cursor_init(&cur, large, 2);
}
END_TEST

START_TEST(test_aligned)
{
	struct iovec pieces[] = {{(void *)4096, 512}, {NULL, 0}, {(void *)512, 1024}};

	ck_assert(iov_is_aligned(pieces, 3, 512, 512));
	ck_assert(!iov_is_aligned(pieces, 3, 1024, 512));
	ck_assert(!iov_is_aligned(pieces, 3, 512, 1024));
	ck_assert(iov_is_aligned(pieces, 0, 4096, 4096));
	pieces[2].iov_len = 4;
	ck_assert(!iov_is_aligned(pieces, 3, 4, 512));
	ck_assert(iov_is_aligned(pieces, 3, 512, 4));
	ck_assert(iov_is_aligned(pieces, 2, 512, 512));
	pieces[0].iov_base = (void *)4;
	ck_assert(!iov_is_aligned(pieces, 2, 512, 512));
	ck_assert(iov_is_aligned(pieces, 2, 4, 512));
	pieces[0].iov_base = (void *)1;
	ck_assert(iov_is_aligned(pieces, 3, 1, 1));
	ck_assert(iov_is_aligned(pieces, 3, 0, 0));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("core/iov");
	TCase *tc = tcase_create("iov");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_every_framing, 0, N_EMPTIES);
	tcase_add_loop_test(tc, test_mixed, 0, N_EMPTIES);
	tcase_add_test(tc, test_nothing);
	tcase_add_test(tc, test_large);
	tcase_add_test(tc, test_aligned);
	tcase_add_test_raise_signal(tc, test_overflow, SIGABRT);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
