/*
 * A load that is the same each time: COUNT random requests of KIB kibibytes, or else 4, to a disk, DEPTH of them in flight, past the
 * page cache.
 *
 *   load DISK read|write DEPTH COUNT [KIB]
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>

#define PAGE  4096u
#define DEPTH 256

static struct iocb iocbs[DEPTH];
static int fd;
static size_t size = PAGE;
static uint64_t blocks;
static uint64_t seed = 1;

static int give_up(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Any block of the disk will do again. */
static void draw(struct iocb *iocb)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	iocb->aio_offset = (int64_t)((seed >> 33) % blocks * size);
}

static void prepare(int depth, int opcode)
{
	unsigned char *data = aligned_alloc(PAGE, (size_t)depth * size);

	if (!data)
		give_up("memory");
	memset(data, 1, (size_t)depth * size);
	for (int i = 0; i < depth; i++)
		iocbs[i] = (struct iocb){.aio_fildes = (uint32_t)fd,
					 .aio_lio_opcode = (uint16_t)opcode,
					 .aio_data = (uintptr_t)&iocbs[i],
					 .aio_buf = (uintptr_t)data + i * size,
					 .aio_nbytes = size};
}

/* All that have ended begin anew by one system call, until enough have begun. */
static void run(int depth, long count)
{
	struct iocb *list[DEPTH];
	struct io_event events[DEPTH];
	aio_context_t context = 0;
	long begun = 0, ended = 0;
	int n = depth;

	if (syscall(SYS_io_setup, depth, &context) < 0)
		give_up("io_setup");
	for (int i = 0; i < depth; i++)
		list[i] = &iocbs[i];
	while (ended < count) {
		if (n > count - begun)
			n = (int)(count - begun);
		for (int i = 0; i < n; i++)
			draw(list[i]);
		if (n > 0 && syscall(SYS_io_submit, context, n, list) != n)
			give_up("io_submit");
		begun += n;
		n = (int)syscall(SYS_io_getevents, context, 1, depth, events, NULL);
		if (n < 0)
			give_up("io_getevents");
		for (int i = 0; i < n; i++) {
			if (events[i].res != (int64_t)size)
				errno = (int)-events[i].res, give_up("request");
			list[i] = (struct iocb *)(uintptr_t)events[i].data;
		}
		ended += n;
	}
}

int main(int argc, char **argv)
{
	int depth = argc == 5 || argc == 6 ? atoi(argv[3]) : 0, writes;

	if (argc == 6)
		size = strtoul(argv[5], NULL, 10) << 10;
	if (depth < 1 || depth > DEPTH || size == 0) {
		fputs("usage: load DISK read|write DEPTH COUNT [KIB]\n", stderr);
		return 2;
	}
	writes = strcmp(argv[2], "write") == 0;
	fd = open(argv[1], (writes ? O_WRONLY : O_RDONLY) | O_DIRECT);
	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &blocks) < 0)
		give_up(argv[1]);
	blocks /= size;
	prepare(depth, writes ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD);
	run(depth, atol(argv[4]));
	return 0;
}
