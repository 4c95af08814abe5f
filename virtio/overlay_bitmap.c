#include "virtio/overlay_bitmap.h"

#include <endian.h>
#include <errno.h>
#include <sys/mman.h>

#include "vmm/core/assert.h"

#define WORD_BITS      64u
#define WORDS_PER_PAGE (OVERLAY_BITMAP_PAGE / 8u)

static uint64_t overlay_bitmap_pages(uint64_t disk_size)
{
	uint64_t sectors = disk_size / OVERLAY_SECTOR;

	return sectors / OVERLAY_PAGE_BITS + (sectors % OVERLAY_PAGE_BITS != 0);
}

uint64_t overlay_bitmap_bytes(uint64_t disk_size)
{
	return overlay_bitmap_pages(disk_size) * OVERLAY_BITMAP_PAGE;
}

/* Zeros that take memory only where something is written; also of a disk that is larger than the host's memory. */
static void *overlay_bitmap_map(uint64_t bytes)
{
	void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return map == MAP_FAILED ? NULL : map;
}

static uint64_t overlay_bitmap_dirty_bytes(const struct overlay_bitmap *bitmap)
{
	return (bitmap->n_pages + WORD_BITS - 1) / WORD_BITS * sizeof(*bitmap->dirty);
}

int overlay_bitmap_init(struct overlay_bitmap *bitmap, uint64_t disk_size)
{
	*bitmap = (struct overlay_bitmap){.n_pages = overlay_bitmap_pages(disk_size)};
	bitmap->words = overlay_bitmap_map(bitmap->n_pages * OVERLAY_BITMAP_PAGE);
	if (!bitmap->words)
		return -ENOMEM;
	bitmap->dirty = overlay_bitmap_map(overlay_bitmap_dirty_bytes(bitmap));
	if (!bitmap->dirty) {
		munmap(bitmap->words, bitmap->n_pages * OVERLAY_BITMAP_PAGE);
		bitmap->words = NULL;
		return -ENOMEM;
	}
	for (unsigned int i = 0; i < OVERLAY_LOCKS; i++)
		pthread_mutex_init(&bitmap->locks[i], NULL);
	return 0;
}

bool overlay_bitmap_run(const struct overlay_bitmap *bitmap, uint64_t first, uint64_t n,
			uint64_t *run)
{
	uint64_t at = first, end = first + n, others;
	/* acquire: pairs with the release in overlay_bitmap_set_word() */
	uint64_t word = atomic_load_explicit(&bitmap->words[at / WORD_BITS], memory_order_acquire);
	bool there = word >> at % WORD_BITS & 1;

	for (;;) {
		others = (there ? ~word : word) & UINT64_MAX << at % WORD_BITS;
		at -= at % WORD_BITS;
		if (others) {
			at += (unsigned int)__builtin_ctzll(others);
			break;
		}
		at += WORD_BITS;
		if (at >= end)
			break;
		word = atomic_load_explicit(&bitmap->words[at / WORD_BITS], memory_order_acquire);
	}
	*run = (at < end ? at : end) - first;
	return there;
}

/* The bits of word at / 64 that belong to [at, end). */
static uint64_t overlay_bitmap_mask(uint64_t at, uint64_t end)
{
	uint64_t mask = UINT64_MAX << at % WORD_BITS, word_end = at - at % WORD_BITS + WORD_BITS;

	return end < word_end ? mask & UINT64_MAX >> (word_end - end) : mask;
}

static uint64_t overlay_bitmap_next(uint64_t at, uint64_t end)
{
	uint64_t word_end = at - at % WORD_BITS + WORD_BITS;

	return end < word_end ? end : word_end;
}

static void overlay_bitmap_mark(struct overlay_bitmap *bitmap, uint64_t page)
{
	/* release: pairs with the acquire in overlay_bitmap_take() */
	atomic_fetch_or_explicit(&bitmap->dirty[page / WORD_BITS], 1ull << page % WORD_BITS,
				 memory_order_release);
}

/* The part of a range that lies in one page. */
static void overlay_bitmap_set_in_page(struct overlay_bitmap *bitmap, uint64_t at, uint64_t end)
{
	uint64_t page = at / OVERLAY_PAGE_BITS, run;
	pthread_mutex_t *lock = &bitmap->locks[page % OVERLAY_LOCKS];

	if (overlay_bitmap_run(bitmap, at, end - at, &run) && run == end - at)
		return;
	pthread_mutex_lock(lock);
	for (; at < end; at = overlay_bitmap_next(at, end))
		/* release: pairs with the acquire in overlay_bitmap_run() */
		atomic_fetch_or_explicit(&bitmap->words[at / WORD_BITS],
					 overlay_bitmap_mask(at, end), memory_order_release);
	overlay_bitmap_mark(bitmap, page);
	pthread_mutex_unlock(lock);
}

void overlay_bitmap_set(struct overlay_bitmap *bitmap, uint64_t first, uint64_t n)
{
	uint64_t end = first + n;

	while (first < end) {
		uint64_t page_end = (first / OVERLAY_PAGE_BITS + 1) * OVERLAY_PAGE_BITS;
		uint64_t part_end = end < page_end ? end : page_end;

		overlay_bitmap_set_in_page(bitmap, first, part_end);
		first = part_end;
	}
}

void overlay_bitmap_settle(struct overlay_bitmap *bitmap)
{
	for (unsigned int i = 0; i < OVERLAY_LOCKS; i++) {
		pthread_mutex_lock(&bitmap->locks[i]);
		pthread_mutex_unlock(&bitmap->locks[i]);
	}
}

/* The first marked page from this one on, n_pages when there is none. */
static uint64_t overlay_bitmap_find_marked(const struct overlay_bitmap *bitmap, uint64_t page)
{
	uint64_t marks;

	while (page < bitmap->n_pages) {
		marks = atomic_load_explicit(&bitmap->dirty[page / WORD_BITS],
					     memory_order_relaxed) &
			UINT64_MAX << page % WORD_BITS;
		page -= page % WORD_BITS;
		if (marks)
			return page + (unsigned int)__builtin_ctzll(marks);
		page += WORD_BITS;
	}
	return bitmap->n_pages;
}

bool overlay_bitmap_take(struct overlay_bitmap *bitmap, uint64_t *next, uint64_t *page_copy)
{
	uint64_t page = overlay_bitmap_find_marked(bitmap, *next);
	_Atomic uint64_t *words = bitmap->words + page * WORDS_PER_PAGE;

	*next = page;
	if (page == bitmap->n_pages)
		return false;
	/* acquire: pairs with the release in overlay_bitmap_mark(); the bits come after the mark, so none is missed */
	atomic_fetch_and_explicit(&bitmap->dirty[page / WORD_BITS], ~(1ull << page % WORD_BITS),
				  memory_order_acquire);
	for (unsigned int i = 0; i < WORDS_PER_PAGE; i++)
		page_copy[i] = htole64(atomic_load_explicit(&words[i], memory_order_acquire));
	return true;
}

void overlay_bitmap_put_back(struct overlay_bitmap *bitmap, uint64_t page)
{
	overlay_bitmap_mark(bitmap, page);
}

void overlay_bitmap_load(struct overlay_bitmap *bitmap, uint64_t page, const uint64_t *page_copy)
{
	_Atomic uint64_t *words = bitmap->words + page * WORDS_PER_PAGE;

	assert(page < bitmap->n_pages);
	for (unsigned int i = 0; i < WORDS_PER_PAGE; i++) {
		if (page_copy[i])
			atomic_store_explicit(&words[i], le64toh(page_copy[i]),
					      memory_order_relaxed);
	}
}

void overlay_bitmap_fini(struct overlay_bitmap *bitmap)
{
	if (!bitmap->words)
		return;
	for (unsigned int i = 0; i < OVERLAY_LOCKS; i++)
		pthread_mutex_destroy(&bitmap->locks[i]);
	munmap(bitmap->dirty, overlay_bitmap_dirty_bytes(bitmap));
	munmap(bitmap->words, bitmap->n_pages * OVERLAY_BITMAP_PAGE);
	bitmap->words = NULL;
}
