/*
 * An overlay that is written, zeroed, flushed, closed and opened again, while its file is changed behind its back and the host fails: it
 * is refused, or holds what was written.
 *
 * The input is the disk's size and what is done to it, a byte for each step and then what that needs.
 *
 * Fuzzes: virtio/overlay.c virtio/overlay_bitmap.c virtio/overlay_file.c
 */
#include <endian.h>
#include <stdio.h>
#include <zlib.h>

#include "tests/fuzz/bytes.h"
#include "tests/fuzz/faults.h"
#include "virtio/image_io.h"
#include "virtio/overlay.h"
#include "virtio/overlay_file.h"

#define MAX_SIZE  (UINT64_C(1) << 28)
#define MAX_STEPS 32
#define TMPFS	  "/dev/shm" /* where nothing is waited for */
#define MODEL	  64	     /* sectors, of which is known what they hold */
#define FIELDS	  (sizeof(fields) / sizeof(fields[0]))

#define HEADER_FIELD(name) FIELD(0, struct overlay_header, name)

/* In place of the one of libc: a lock is waited for, and here nobody lets it go. */
int usleep(useconds_t us)
{
	(void)us;
	return 0;
}

static const struct field fields[] = {
	HEADER_FIELD(magic[0]),		HEADER_FIELD(version),
	HEADER_FIELD(data_offset),	HEADER_FIELD(base_size),
	HEADER_FIELD(base_changed_sec), HEADER_FIELD(base_changed_nsec),
	HEADER_FIELD(base_crc),		HEADER_FIELD(crc),
};

static struct fuzz {
	char path[64];
	struct image base; /* zeros */
	struct image *overlay;
	bool kept;
	uint8_t model[MODEL]; /* the byte that a sector is full of */
	bool known;	      /* whether the model still holds */
} fuzz;

/* ---- the base ---- */

static int base_map(struct image *image, uint64_t offset, uint64_t len, struct image_extent *extent)
{
	must(len > 0 && offset < image->size && len <= image->size - offset);
	*extent = (struct image_extent){
		.place = offset % 1024 ? IMAGE_ZERO : IMAGE_SELF, .fd = -1, .len = len};
	return 0;
}

static int base_read(struct image *image, const struct iovec *iov, unsigned int n, uint64_t offset)
{
	(void)image;
	(void)offset;
	for (unsigned int i = 0; i < n; i++)
		memset(iov[i].iov_base, 0, iov[i].iov_len);
	return faults & FAULT_READ ? -EIO : 0;
}

static void base_close(struct image *image)
{
	(void)image;
}

static const struct image_ops base_ops = {
	.map_read = base_map,
	.read = base_read,
	.close = base_close,
};

/* ---- steps ---- */

static void open_overlay(void)
{
	struct overlay_config config = {
		.base = &fuzz.base, .base_name = "base", .path = fuzz.kept ? fuzz.path : NULL};
	int ret = overlay_open(&fuzz.overlay, &config);

	must((ret == 0) == (fuzz.overlay != NULL));
	if (!fuzz.kept) /* begins empty */
		memset(fuzz.model, 0, sizeof(fuzz.model));
}

static void close_overlay(void)
{
	if (fuzz.overlay)
		fuzz.overlay->ops->close(fuzz.overlay);
	fuzz.overlay = NULL;
}

/* A range of whole sectors on the disk. */
static void take_range(struct bytes *in, uint64_t *first, uint64_t *n)
{
	uint64_t sectors = fuzz.base.size / OVERLAY_SECTOR;

	*first = bytes_number(in) % sectors;
	*n = 1 + bytes_u8(in) % 80;
	if (*n > sectors - *first)
		*n = sectors - *first;
}

static void note(uint64_t first, uint64_t n, uint8_t value)
{
	for (uint64_t i = first; i < first + n && i < MODEL; i++)
		fuzz.model[i] = value;
}

static void step_write(struct bytes *in)
{
	static uint8_t data[80 * OVERLAY_SECTOR];
	struct image_extent extent;
	uint64_t first, n;
	uint8_t value;

	take_range(in, &first, &n);
	value = bytes_u8(in);
	memset(data, value, sizeof(data));
	must(fuzz.overlay->ops->map_write(fuzz.overlay, first * OVERLAY_SECTOR, n * OVERLAY_SECTOR,
					  &extent) == 0);
	must(extent.place == IMAGE_FILE && extent.len == n * OVERLAY_SECTOR);
	if (image_file_pwrite(extent.fd, data, extent.len, extent.offset) < 0)
		return;
	fuzz.overlay->ops->wrote(fuzz.overlay, first * OVERLAY_SECTOR, n * OVERLAY_SECTOR);
	note(first, n, value);
}

static void step_zero(struct bytes *in)
{
	uint64_t first, n;

	take_range(in, &first, &n);
	if (fuzz.overlay->ops->zero(fuzz.overlay, first * OVERLAY_SECTOR, n * OVERLAY_SECTOR,
				    bytes_u8(in) & 1) == 0)
		note(first, n, 0);
}

static void step_read(struct bytes *in)
{
	static uint8_t data[80 * OVERLAY_SECTOR];
	uint64_t first, n;

	take_range(in, &first, &n);
	if (image_pread(fuzz.overlay, data, n * OVERLAY_SECTOR, first * OVERLAY_SECTOR) < 0)
		return;
	for (uint64_t i = first; fuzz.known && i < first + n && i < MODEL; i++)
		must(data[(i - first) * OVERLAY_SECTOR] == fuzz.model[i] &&
		     data[(i - first) * OVERLAY_SECTOR + OVERLAY_SECTOR - 1] == fuzz.model[i]);
}

/* What was not flushed need not be there afterwards. */
static void step_reopen(void)
{
	bool lost;

	if (fuzz.overlay && fuzz.overlay->ops->flush(fuzz.overlay, &lost) < 0)
		fuzz.known = false;
	close_overlay();
	open_overlay();
}

/* With a checksum that fits, most often. */
static void step_damage(struct bytes *in)
{
	uint8_t bytes[sizeof(struct overlay_header)], which = bytes_u8(in);
	const struct field *field = &fields[which % FIELDS];
	uint64_t value = bytes_number(in);
	uint32_t crc;
	int fd;

	close_overlay();
	fd = open(fuzz.path, O_RDWR | O_CLOEXEC);
	if (fd >= 0 && image_file_pread(fd, bytes, sizeof(bytes), 0) == 0) {
		memcpy(bytes + field->offset, &value, field->size);
		if (which < 0xc0) {
			memset(bytes + offsetof(struct overlay_header, crc), 0, sizeof(crc));
			crc = htole32((uint32_t)crc32(0, bytes, sizeof(bytes)));
			memcpy(bytes + offsetof(struct overlay_header, crc), &crc, sizeof(crc));
		}
		image_file_pwrite(fd, bytes, sizeof(bytes), 0);
	}
	if (fd >= 0)
		close(fd);
	fuzz.known = false;
	open_overlay();
}

/* Bytes of the bitmap, or the file's size. */
static void step_scribble(struct bytes *in)
{
	bool cut = bytes_u8(in) & 1;
	uint64_t at = bytes_number(in), value = bytes_take(in, 8);
	int fd;

	close_overlay();
	fd = open(fuzz.path, O_RDWR | O_CLOEXEC);
	if (fd >= 0 && cut)
		ftruncate(fd, (off_t)(at & (MAX_SIZE - 1)));
	else if (fd >= 0)
		image_file_pwrite(fd, &value, sizeof(value),
				  OVERLAY_HEADER_SIZE + at % overlay_bitmap_bytes(fuzz.base.size));
	if (fd >= 0)
		close(fd);
	fuzz.known = false;
	open_overlay();
}

/* Something else under its name. */
static void step_replace(struct bytes *in)
{
	uint8_t what = bytes_u8(in) % 4;

	close_overlay();
	unlink(fuzz.path);
	if (what == 0)
		mkdir(fuzz.path, 0700);
	else if (what == 1)
		must(symlink("/nowhere", fuzz.path) == 0);
	else if (what == 2)
		must(mkfifo(fuzz.path, 0600) == 0);
	fuzz.known = false;
	open_overlay();
	close_overlay();
	rmdir(fuzz.path);
	unlink(fuzz.path);
	open_overlay();
}

static void step(struct bytes *in)
{
	bool lost;

	switch (bytes_u8(in) % 9) {
	case 0:
		faults = (unsigned int)bytes_take(in, 2);
		return;
	case 1:
		step_damage(in);
		return;
	case 2:
		step_scribble(in);
		return;
	case 3:
		step_replace(in);
		return;
	case 4:
		step_reopen();
		return;
	case 5:
		if (fuzz.overlay)
			fuzz.overlay->ops->flush(fuzz.overlay, &lost);
		return;
	case 6:
		if (fuzz.overlay)
			step_zero(in);
		return;
	case 7:
		if (fuzz.overlay)
			step_read(in);
		return;
	default:
		if (fuzz.overlay)
			step_write(in);
	}
}

static void setup(struct bytes *in)
{
	uint8_t how = bytes_u8(in);

	keep_quiet();
	faults = 0;
	fuzz = (struct fuzz){.kept = how & 1, .known = true};
	snprintf(fuzz.path, sizeof(fuzz.path), "%s/fuzz_overlay.%d", TMPFS, (int)getpid());
	if (how & 6)
		setenv("TMPDIR", how & 4 ? "/nowhere" : TMPFS, 1);
	else
		unsetenv("TMPDIR");
	fuzz.base = (struct image){.ops = &base_ops,
				   .readonly = true,
				   .logical_block = 512,
				   .physical_block = 512,
				   .changed = {1000, 5},
				   .size = (1 + bytes_number(in) % (MAX_SIZE / 512)) * 512};
	if (how & 8)
		faults = (unsigned int)bytes_take(in, 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = {data, size};

	setup(&in);
	open_overlay();
	for (unsigned int i = 0; i < MAX_STEPS && in.left > 0; i++)
		step(&in);
	close_overlay();
	faults = 0;
	rmdir(fuzz.path);
	unlink(fuzz.path);
	return 0;
}
