/*
 * A qcow2 image of any bytes: it is refused or read, with or without errors, and nothing else happens.
 *
 * The input is the whole file. Reading stops after a while, since a small file can say that it holds a huge disk.
 */
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

static void quiet(void *arg, int level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
}

/* All of a small disk; of a large one places that are far from one another. */
static void read_some(struct image *image)
{
	static char buf[READ_LEN];
	uint64_t step = image->size / READS > READ_LEN ? image->size / READS : READ_LEN;

	for (uint64_t at = 0; at < image->size; at += step) {
		uint64_t len = image->size - at < READ_LEN ? image->size - at : READ_LEN;

		image_pread(image, buf, len, at);
	}
	image_pread(image, buf, 512, image->size - 512);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
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
	config = (struct qcow2_config){.path = path};
	if (qcow2_open(&image, &config) == 0) {
		read_some(image);
		image->ops->close(image);
	}
	close(fd);
	return 0;
}
