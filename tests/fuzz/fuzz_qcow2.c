/*
 * A qcow2 image of any bytes: it is refused or read, with or without errors, and nothing else happens.
 *
 * The input is the whole file. Reading stops after a while, since a small file can say that it holds a huge disk.
 *
 * Fuzzes: virtio/qcow2.c virtio/qcow2_cluster.c virtio/qcow2_header.c virtio/qcow2_map.c
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "virtio/image_io.h"
#include "virtio/qcow2.h"
#include "vmm/core/log.h"

#define MAX_INPUT (4u << 20)
#define READS	  256u
#define READ_LEN  70000u
#define BACKING	  5120u

static void quiet(void *arg, int level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

/* An image of zeros, shorter than most that hold changes to it. */
static int backing_map(struct image *image, uint64_t offset, uint64_t len,
		       struct image_extent *extent)
{
	if (len == 0 || offset >= image->size || len > image->size - offset)
		abort();
	*extent = (struct image_extent){.place = IMAGE_ZERO, .fd = -1, .len = len};
	return 0;
}

static void backing_close(struct image *image)
{
	(void)image;
}

static const struct image_ops backing_ops = {.map_read = backing_map, .close = backing_close};

/* Whether there is one: the last byte says. */
static bool has_backing(const uint8_t *data, size_t size)
{
	return size > 0 && (data[size - 1] & 1);
}

/* All of a small disk; of a large one places that are far from one another. */
static void read_some(struct image *image)
{
	static char buf[READ_LEN];
	uint64_t step = image->size / READS > READ_LEN ? image->size / READS : READ_LEN;

	for (uint64_t at = 0; at < image->size; at += step) {
		uint64_t len = image->size - at < READ_LEN ? image->size - at : READ_LEN;
		struct iovec iov = {buf, len};

		image_pread(image, buf, len, at);
		image->ops->read(image, &iov, 1, at);
	}
	image_pread(image, buf, 512, image->size - 512);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image backing = {
		.ops = &backing_ops, .readonly = true, .changed = {INT32_MAX, 0}, .size = BACKING};
	struct qcow2_config config;
	struct image *image;
	char path[64];
	int fd;

	if (size > MAX_INPUT)
		return 0;
	log_set_sink(quiet, NULL);
	fd = memfd_create("qcow2", MFD_CLOEXEC);
	if (fd < 0 || image_file_pwrite(fd, data, size, 0) < 0)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	config = (struct qcow2_config){.path = path,
				       .backing = has_backing(data, size) ? &backing : NULL};
	if (qcow2_open(&image, &config) == 0) {
		read_some(image);
		image->ops->close(image);
	}
	close(fd);
	return 0;
}
