/*
 * A guest against a disk of a megabyte; see guest.h.
 *
 * The disks are files in memory, which stay from run to run and become empty in between: one served by the loop, one that is
 * read-only, and one whose requests the vCPU does where it can, and threads where they are long.
 *
 * Fuzzes: virtio/blk.c virtio/blk_queue.c virtio/blk_request.c virtio/disk_limit.c
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/guest.h"
#include "virtio/blk.h"

#define DISK_SIZE (UINT32_C(1) << 20)

enum {
	DISK_PLAIN,
	DISK_READONLY,
	DISK_INLINE,
	DISKS,
};

static struct virtio_blk blk;
static struct disk disks[DISKS];
static int files[DISKS];
static unsigned int chosen;

static void make_disks(void)
{
	char path[64];

	for (unsigned int i = 0; i < DISKS; i++) {
		struct disk_config config = {
			.image = {.path = path, .readonly = i == DISK_READONLY},
			.engine = i == DISK_INLINE ? DISK_ENGINE_AUTO : DISK_ENGINE_LOOP};

		files[i] = memfd_create("disk", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", files[i]);
		if (files[i] < 0 || ftruncate(files[i], DISK_SIZE) < 0 ||
		    disk_open(&disks[i], &config) < 0)
			abort();
	}
}

static void empty_disk(void)
{
	if (ftruncate(files[chosen], 0) < 0 || ftruncate(files[chosen], DISK_SIZE) < 0 ||
	    disk_resized(&disks[chosen]) < 0)
		abort();
	disks[chosen].state.lost = false;
}

static struct virtio_device *blk_open(struct fuzz_input *in)
{
	static const struct disk_limit_config limits[] = {{.iops = 1000, .bps = 1 << 20},
							  {.iops = 1, .iops_burst = 3}};
	uint8_t how = fuzz_u8(in);
	struct virtio_blk_options options = {.loop = &guest.loop,
					     .serial = how & 0x10 ? "a serial number" : NULL,
					     .n_queues = how & 0x20 ? 2 : 1,
					     .queue_size = how & 0x40 ? 0 : 16,
					     .limit = how & 0x80 ? &limits[how >> 2 & 1] : NULL,
					     .inline_requests = 2 + (how >> 2 & 3),
					     .inline_bytes = how & 8 ? 1 << 20 : 4096};
	static const char too_long[] = "a serial number that is too long";
	struct evloop *const loops[] = {&guest.loop, &guest.loop};

	chosen = how % DISKS;
	empty_disk();
	options.disk = &disks[chosen];
	disks[chosen].logical_block = how & 0x10 ? 8192 : 512;
	disks[chosen].physical_block = how & 0x20 ? 8192 : disks[chosen].logical_block;
	options.queue_loops = how & 0x40 ? loops : NULL;
	if (how >= 0xf0) {
		options.serial = too_long;
		FUZZ_CHECK(virtio_blk_init(&blk, &options) == -EINVAL);
		options.serial = NULL;
	}
	FUZZ_CHECK(virtio_blk_init(&blk, &options) == 0);
	return &blk.dev;
}

static void blk_close(void)
{
	virtio_blk_fini(&blk);
}

static bool blk_busy(void)
{
	for (unsigned int i = 0; i < blk.dev.n_queues; i++) {
		if (blk.queues[i].io.in_flight > 0)
			return true;
	}
	return false;
}

static uint32_t blk_type(uint8_t code)
{
	static const uint32_t types[] = {VIRTIO_BLK_T_IN,      VIRTIO_BLK_T_OUT,
					 VIRTIO_BLK_T_FLUSH,   VIRTIO_BLK_T_GET_ID,
					 VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES,
					 VIRTIO_BLK_T_IN,      VIRTIO_BLK_T_OUT};

	return code < 0xf0 ? types[code % 8] : code;
}

/* Segments of a request to discard or to write zeros. */
static struct virtq_piece blk_segments(struct fuzz_input *in)
{
	struct virtio_blk_discard_write_zeroes s[18];
	uint8_t how = fuzz_u8(in);
	uint32_t n = 1 + (how & 0xf) + (how >= 0xf0), len = n * (uint32_t)sizeof(s[0]);

	for (unsigned int i = 0; i < n; i++) {
		s[i].sector = how & 0x80 ? fuzz_u64(in) : fuzz_u16(in) % 0x900;
		s[i].num_sectors = how & 0x40 ? fuzz_u32(in) : fuzz_u8(in);
		s[i].flags = how & 0x10 ? fuzz_u8(in) % 4 : 0;
	}
	return (struct virtq_piece){guest_put(s, len), how & 0x20 ? len - 1 : len, false};
}

static struct virtq_piece blk_data(struct fuzz_input *in, uint32_t type)
{
	uint32_t len;

	if (type == VIRTIO_BLK_T_DISCARD || type == VIRTIO_BLK_T_WRITE_ZEROES)
		return blk_segments(in);
	len = guest_len(in);
	if (len < 0x8000)
		len = len > 40 ? len & ~511u : len * 512;
	if (len > 0x20000)
		len = 0x20000;
	return (struct virtq_piece){guest_alloc(len), len, type != VIRTIO_BLK_T_OUT};
}

/* Header, data and status; sometimes without the one or the other, and data twice and more. */
static void blk_request(struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in), how = fuzz_u8(in), odd = fuzz_u8(in);
	struct virtio_blk_outhdr hdr = {.type = blk_type(what)};
	struct virtq_piece pieces[GUEST_MAX_PIECES];
	unsigned int queue = how & 1 ? blk.dev.n_queues - 1 : 0, n = 0;

	hdr.sector = how & 2 ? fuzz_u64(in) : fuzz_u16(in) % 0x880;
	if ((how & 0x1c) != 4)
		pieces[n++] = (struct virtq_piece){guest_put(&hdr, sizeof(hdr)), sizeof(hdr),
						   false};
	if (hdr.type != VIRTIO_BLK_T_FLUSH || (how & 0x20))
		pieces[n++] = blk_data(in, hdr.type);
	for (unsigned int i = 0; n > 0 && i < how >> 6; i++, n++)
		pieces[n] = pieces[n - 1];
	if ((how & 0x1c) != 8)
		pieces[n++] = (struct virtq_piece){guest_alloc(1), 1, true};
	guest_send(queue, pieces, n, odd);
	if ((how & 0x1c) != 12)
		guest_kick(queue);
}

/* The image grows or shrinks, also behind our back. */
static void blk_host(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);

	if (ftruncate(files[chosen], (off_t)(1 + (how & 0x3f)) * (DISK_SIZE / 32)) < 0)
		abort();
	if (how & 0x40)
		virtio_blk_resized(&blk);
}

static void blk_exchange(uint32_t type, uint8_t want)
{
	const struct virtio_blk_outhdr hdr = {.type = type, .sector = 1};
	const struct virtq_piece pieces[] = {{guest_put(&hdr, sizeof(hdr)), sizeof(hdr), false},
					     {guest_alloc(512), 512, type != VIRTIO_BLK_T_OUT},
					     {guest_alloc(1), 1, true}};
	uint32_t used;

	world_sleep(UINT64_C(100000) * WORLD_MS); /* whatever the limit */
	used = guest_exchange(0, pieces, 3);
	FUZZ_CHECK(used == (type == VIRTIO_BLK_T_OUT ? 1 : 513));
	FUZZ_CHECK(*(uint8_t *)guest_at(pieces[2].gpa, 1) == want);
}

static void blk_check(void)
{
	blk_exchange(VIRTIO_BLK_T_OUT,
		     chosen == DISK_READONLY ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
	blk_exchange(VIRTIO_BLK_T_IN, VIRTIO_BLK_S_OK);
	blk_exchange(VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_S_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct guest_target target = {.open = blk_open,
						   .close = blk_close,
						   .request = blk_request,
						   .host = blk_host,
						   .check = blk_check,
						   .busy = blk_busy};

	if (!disks[0].image)
		make_disks();
	return guest_run(&target, data, size);
}
