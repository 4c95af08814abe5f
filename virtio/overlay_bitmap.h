/*
 * Which sectors of a disk an overlay holds: one bit for each, and what of them is not on storage yet.
 *
 * In memory alone; pages that no bit was set in cost nothing. Bits are set and never cleared.
 *
 * Owner: the overlay. Threads: setting and asking by any threads at once; taking by one at a time.
 *
 * Two threads may write the same new sectors at once. The one that comes second finds the bits set and is done; a flush that follows it
 * must find the page marked as changed, although the first one may not have come to that yet. So setting new bits and marking their
 * page is one step under a lock, which is one of several by page, taken for sectors that are new alone and never during I/O;
 * overlay_bitmap_settle() waits for those who hold one.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OVERLAY_SECTOR	    512u
#define OVERLAY_BITMAP_PAGE 4096u /* bytes: the unit in which the bitmap is stored */
#define OVERLAY_PAGE_BITS   (OVERLAY_BITMAP_PAGE * 8u)
#define OVERLAY_LOCKS	    16u

struct overlay_bitmap {
	/* immutable after init */
	_Atomic uint64_t *words; /* bit n of word i: sector 64 i + n */
	_Atomic uint64_t
		*dirty; /* the same for pages of the bitmap: changed since they were taken */
	uint64_t n_pages;
	/* lock i: new bits in pages whose number modulo OVERLAY_LOCKS is i */
	pthread_mutex_t locks[OVERLAY_LOCKS];
};

/* What the bitmap of a disk of so many bytes takes in a file. */
uint64_t overlay_bitmap_bytes(uint64_t disk_size);

int overlay_bitmap_init(struct overlay_bitmap *bitmap, uint64_t disk_size);

/* Whether sector first is there, and how many from it on, n at most, are alike. n is not 0. */
bool overlay_bitmap_run(const struct overlay_bitmap *bitmap, uint64_t first, uint64_t n,
			uint64_t *run);

/* A reader that sees a bit finds the data that was written before it was set. */
void overlay_bitmap_set(struct overlay_bitmap *bitmap, uint64_t first, uint64_t n);

/* Marks of all bits that any thread has seen or set before this call are in place when it returns. */
void overlay_bitmap_settle(struct overlay_bitmap *bitmap);

/*
 * Copies one changed page, from page *next on, and takes its mark. Sets *next to the page's number; returns false when there is none.
 */
bool overlay_bitmap_take(struct overlay_bitmap *bitmap, uint64_t *next, uint64_t *page_copy);
/* Puts the mark of a page back, that could not be stored. */
void overlay_bitmap_put_back(struct overlay_bitmap *bitmap, uint64_t page);

/* A page as it was stored; before any other thread uses the bitmap. */
void overlay_bitmap_load(struct overlay_bitmap *bitmap, uint64_t page, const uint64_t *page_copy);

void overlay_bitmap_fini(struct overlay_bitmap *bitmap);
