#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

#define ALIGNMENT  4096
#define MOST_DEPTH 128

struct disk_load {
	int fd;
	bool writes, random;
	size_t size;
	int depth;
	uint64_t blocks, next, seed;
	aio_context_t context;
	char *buffers;
	struct iocb requests[MOST_DEPTH];
	int idle[MOST_DEPTH]; /* requests that are not under way */
	int idle_count;
};

/* xorshift64: the same places in every run */
static uint64_t next_random(struct disk_load *load)
{
	load->seed ^= load->seed << 13;
	load->seed ^= load->seed >> 7;
	load->seed ^= load->seed << 17;
	return load->seed;
}

static struct iocb *next_request(struct disk_load *load)
{
	int number = load->idle[--load->idle_count];
	struct iocb *request = &load->requests[number];
	uint64_t block = load->random ? next_random(load) : load->next++;

	*request = (struct iocb){
		.aio_data = (uint64_t)number,
		.aio_fildes = (uint32_t)load->fd,
		.aio_lio_opcode = load->writes ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
		.aio_buf = (uintptr_t)(load->buffers + (size_t)number * load->size),
		.aio_nbytes = load->size,
		.aio_offset = (int64_t)(block % load->blocks * load->size),
	};
	return request;
}

/* Fills the queue by one call; returns how many requests that were. */
static int submit(struct disk_load *load, int most)
{
	struct iocb *batch[MOST_DEPTH];
	int number = 0;

	while (load->idle_count > 0 && number < most)
		batch[number++] = next_request(load);
	if (number > 0 && syscall(SYS_io_submit, load->context, number, batch) != number)
		return load_fail("disk", "io_submit");
	return number;
}

static int collect(struct disk_load *load)
{
	struct io_event events[MOST_DEPTH];
	long number = syscall(SYS_io_getevents, load->context, 1, load->depth, events, NULL);

	if (number < 0)
		return load_fail("disk", "io_getevents");
	for (long i = 0; i < number; i++) {
		if (events[i].res != (int64_t)load->size) {
			errno = events[i].res < 0 ? (int)-events[i].res : EIO;
			return load_fail("disk", "a request");
		}
		load->idle[load->idle_count++] = (int)events[i].data;
	}
	return (int)number;
}

static int requests(struct disk_load *load, int total)
{
	int sent = 0, done = 0, number;

	while (done < total) {
		number = submit(load, total - sent);
		if (number < 0)
			return -1;
		sent += number;
		number = collect(load);
		if (number < 0)
			return -1;
		done += number;
	}
	return 0;
}

static int prepare(struct disk_load *load)
{
	uint64_t bytes = 0;

	load->fd = open("/dev/vda", (load->writes ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);
	/* Some transports find their devices while the first process runs already. */
	for (int i = 0; load->fd < 0 && errno == ENOENT && i < 100; i++) {
		usleep(10000);
		load->fd = open("/dev/vda",
				(load->writes ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);
	}
	if (load->fd < 0)
		return load_fail("disk", "/dev/vda");
	if (ioctl(load->fd, BLKGETSIZE64, &bytes) || bytes < load->size)
		return load_fail("disk", "its size");
	load->blocks = bytes / load->size;
	load->seed = 88172645463325252u;
	if (syscall(SYS_io_setup, load->depth, &load->context))
		return load_fail("disk", "io_setup");
	load->buffers = aligned_alloc(ALIGNMENT, load->size * (size_t)load->depth);
	if (!load->buffers)
		return load_fail("disk", "memory");
	memset(load->buffers, 1, load->size * (size_t)load->depth);
	for (int i = 0; i < load->depth; i++)
		load->idle[load->idle_count++] = i;
	return 0;
}

int disk_job(char *job)
{
	struct disk_load load = {.fd = -1};
	char name[32], kind;
	int count, result = -1;
	uint64_t start;

	if (sscanf(job, "%31[^:]:%c:%zu:%d:%d", name, &kind, &load.size, &load.depth, &count) !=
		    5 ||
	    count < 1 || load.depth < 1 || load.depth > MOST_DEPTH || load.size % 512 ||
	    !load.size) {
		errno = EINVAL;
		return load_fail(job, "job");
	}
	load.writes = kind == 'w';
	load.random = kind != 'R';
	/* A tenth of it first, so that what is allocated once has been. */
	if (!prepare(&load) && !requests(&load, count / 10 + load.depth)) {
		start = load_now();
		result = requests(&load, count);
		if (!result)
			printf("bench %s %.3f\n", name,
			       (double)(load_now() - start) / 1000 / count);
	}
	if (load.context)
		syscall(SYS_io_destroy, load.context);
	free(load.buffers);
	if (load.fd >= 0)
		close(load.fd);
	return result;
}
