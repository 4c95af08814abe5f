/*
 * A guest against the balloon, and its owner who asks for pages and statistics; see guest.h.
 *
 * Fuzzes: virtio/balloon.c
 */
#include <errno.h>
#include <linux/virtio_balloon.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/guest.h"
#include "virtio/balloon.h"

#define QUEUE_STATS  2
#define QUEUE_REPORT 4

static struct virtio_balloon balloon;
static bool huge;

static struct virtio_device *balloon_open(struct fuzz_input *in)
{
	/* as if it were made of pages that cannot be given back */
	huge = fuzz_u8(in) >= 0xf0;
	guest.mem.options.pages = huge ? GUEST_MEM_2M : GUEST_MEM_THP;
	FUZZ_CHECK(virtio_balloon_init(&balloon, &guest.loop, &guest.mem) == 0);
	return &balloon.dev;
}

static void balloon_close(void)
{
	virtio_balloon_fini(&balloon);
	guest.mem.options.pages = GUEST_MEM_THP;
}

static uint32_t balloon_page(struct fuzz_input *in)
{
	uint8_t code = fuzz_u8(in);

	if (code < 0x40) /* the first piece of memory, and right behind it */
		return code + 4;
	if (code < 0x80)
		return (uint32_t)(GUEST_HIGH >> 12) + code - 0x44;
	return code < 0xf0 ? code - 0x80u : fuzz_u32(in);
}

static struct virtq_piece balloon_pages(struct fuzz_input *in)
{
	uint32_t pages[64], n = 1 + fuzz_u8(in) % 64;

	for (uint32_t i = 0; i < n; i++)
		pages[i] = fuzz_more(in) ? balloon_page(in) : i;
	n *= (uint32_t)sizeof(pages[0]);
	return (struct virtq_piece){guest_put(pages, n), n, false};
}

static struct virtq_piece balloon_stats(struct fuzz_input *in)
{
	struct virtio_balloon_stat stats[48];
	uint32_t n = 1 + fuzz_u8(in) % 48;

	for (uint32_t i = 0; i < n; i++)
		stats[i] = (struct virtio_balloon_stat){fuzz_u8(in) % 16, fuzz_u16(in)};
	n *= (uint32_t)sizeof(stats[0]);
	return (struct virtq_piece){guest_put(stats, n), n, false};
}

/* Free memory, in its upper half alone, so that the rings live. */
static struct virtq_piece balloon_report(struct fuzz_input *in)
{
	uint8_t at = fuzz_u8(in);
	uint32_t len = 4096u * (1 + fuzz_u8(in) % 16);

	if (at & 0x80)
		return (struct virtq_piece){GUEST_HIGH + (at & 7u) * 4096, 4096, true};
	return (struct virtq_piece){GUEST_BUFFERS + (at & 0x1fu) * 4096, len, true};
}

static void balloon_request(struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in), odd = fuzz_u8(in);
	unsigned int queue = what % 5;
	struct virtq_piece pieces[4];
	unsigned int n = 0;

	do {
		if (queue == QUEUE_REPORT)
			pieces[n++] = balloon_report(in);
		else
			pieces[n++] = queue == QUEUE_STATS ? balloon_stats(in) : balloon_pages(in);
	} while (n < 1u + (what >> 6));
	guest_send(queue, pieces, n, odd);
	guest_kick(queue);
}

static void balloon_host(struct fuzz_input *in)
{
	struct virtio_balloon_stats stats;
	uint8_t what = fuzz_u8(in);

	if (what & 0x80)
		virtio_balloon_set(&balloon, what & 1 ? fuzz_u32(in) : what * UINT64_C(2048));
	else if (what & 0x40)
		FUZZ_CHECK(virtio_balloon_actual(&balloon) % 4096 == 0);
	else /* the world's time is long past, so this does not wait */
		virtio_balloon_stats(&balloon, &stats, what);
}

static void balloon_check(void)
{
	const uint32_t page = (uint32_t)(GUEST_HIGH >> 12);
	const struct virtio_balloon_stat stat = {VIRTIO_BALLOON_S_MEMFREE, 7};
	const struct virtq_piece pages = {guest_put(&page, sizeof(page)), sizeof(page), false};
	const struct virtq_piece stats = {guest_put(&stat, sizeof(stat)), sizeof(stat), false};
	const struct virtq_piece report = {GUEST_HIGH + 4096, 4096, true};

	memset(guest_at(GUEST_HIGH, 8192), 1, 8192);
	guest_exchange(0, &pages, 1);
	guest_exchange(1, &pages, 1);
	guest_send(QUEUE_STATS, &stats, 1, 0);
	guest_exchange(QUEUE_STATS, &stats, 1);
	FUZZ_CHECK(*(uint8_t *)guest_at(GUEST_HIGH, 1) == huge);
	if (huge)
		return;
	guest_exchange(QUEUE_REPORT, &report, 1);
	/* a driver that poisons its pages keeps them */
	FUZZ_CHECK(*(uint8_t *)guest_at(GUEST_HIGH + 4096, 1) == balloon.poisoned);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct guest_target target = {.open = balloon_open,
						   .close = balloon_close,
						   .request = balloon_request,
						   .host = balloon_host,
						   .check = balloon_check,
						   .writable = 1 << QUEUE_REPORT};

	return guest_run(&target, data, size);
}
