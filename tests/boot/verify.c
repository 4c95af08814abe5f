/*
 * Writes a disk at random and knows what every sector must read as, as "fio --verify" does: data are made from the sector's
 * number and a generation that counts its writes, so that what is old, misplaced or torn is seen.
 *
 *   verify fill DISK STATE                  generation 1 for the whole disk
 *   verify run DISK STATE SECONDS SEED      half of the time with many requests in flight at once (O_DIRECT), half through the
 *                                           page cache; at the end reads the whole disk
 *   verify check DISK STATE                 reads the whole disk
 *
 * STATE is a file or a disk that holds the generations; run goes on from there and stores them at the end. Several programs
 * may run on disks of their own.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>

#define SECTOR	    512u
#define DEPTH	    16u
#define MOST	    2048u /* sectors at once: 1 MiB */
#define UNKNOWN	    UINT32_MAX
#define STATE_MAGIC UINT64_C(0x656d6d7665726679)

enum kind { READ, WRITE, FLUSH, ZERO, DISCARD };

struct op {
	struct iocb iocb;
	bool busy;
	enum kind kind;
	uint64_t first;
	unsigned int n; /* sectors */
	uint32_t generation;
	unsigned char *buffer; /* MOST sectors and one */
	unsigned char *data;   /* in it, perhaps not at its start */
};

struct state_header {
	uint64_t magic, sectors, newest;
};

static const char *path;
static int fd;
static uint64_t sectors;
static unsigned int block = 1; /* sectors; the least that the disk takes */
static uint32_t *generations;
static uint32_t newest; /* generation */
static struct op ops[DEPTH];
static unsigned int in_flight;
static aio_context_t context;
static uint64_t seed;
static uint64_t n_ops, n_read, n_written; /* the last two: sectors */

static void give_up(const char *what)
{
	fprintf(stderr, "verify: %s: %s: %s\n", path, what, strerror(errno));
	exit(1);
}

static uint64_t draw(uint64_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 33) % below;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- content ---- */

/* Generation 0 are zeros. */
static void make_sector(uint64_t *words, uint64_t sector, uint32_t generation)
{
	uint64_t x = sector * UINT64_C(0x9e3779b97f4a7c15) ^
		     generation * UINT64_C(0xc2b2ae3d27d4eb4f);

	if (generation == 0) {
		memset(words, 0, SECTOR);
		return;
	}
	words[0] = sector;
	words[1] = generation;
	for (unsigned int i = 2; i < SECTOR / 8; i++)
		words[i] = x = x * UINT64_C(6364136223846793005) + i;
}

static void make(unsigned char *data, uint64_t first, unsigned int n, uint32_t generation)
{
	uint64_t words[SECTOR / 8];

	for (unsigned int i = 0; i < n; i++) {
		make_sector(words, first + i, generation);
		memcpy(data + i * SECTOR, words, SECTOR);
	}
}

static void compare(const unsigned char *data, uint64_t first, unsigned int n)
{
	uint64_t words[SECTOR / 8], got[SECTOR / 8];

	for (unsigned int i = 0; i < n; i++) {
		uint32_t generation = generations[first + i];

		if (generation == UNKNOWN)
			continue;
		make_sector(words, first + i, generation);
		memcpy(got, data + i * SECTOR, SECTOR);
		if (memcmp(words, got, SECTOR) == 0)
			continue;
		fprintf(stderr,
			"verify: %s: sector %" PRIu64 " (%u of %u read) is not generation %" PRIu32
			"; it begins with sector %" PRIu64 ", generation %" PRIu64 "\n",
			path, first + i, i, n, generation, got[0], got[1]);
		exit(1);
	}
	n_read += n;
}

static void became(uint64_t first, unsigned int n, uint32_t generation)
{
	for (unsigned int i = 0; i < n; i++)
		generations[first + i] = generation;
}

/* ---- whole disk and state ---- */

static void open_disk(int flags)
{
	struct stat st;
	uint64_t bytes;
	int logical;

	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		give_up("open");
	bytes = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode) &&
	    (ioctl(fd, BLKGETSIZE64, &bytes) < 0 || ioctl(fd, BLKSSZGET, &logical) < 0))
		give_up("size");
	if (S_ISBLK(st.st_mode))
		block = (unsigned int)logical / SECTOR;
	sectors = bytes / SECTOR;
}

static void move_whole(int file, void *data, size_t len, bool write, uint64_t offset)
{
	ssize_t done = write ? pwrite(file, data, len, (off_t)offset)
			     : pread(file, data, len, (off_t)offset);

	if (done < 0 || (size_t)done != len)
		give_up(write ? "write" : "read");
}

static void check_disk(void)
{
	unsigned char *data = ops[0].buffer;

	for (uint64_t at = 0; at < sectors; at += MOST) {
		unsigned int n = (unsigned int)(sectors - at < MOST ? sectors - at : MOST);

		move_whole(fd, data, n * SECTOR, false, at * SECTOR);
		compare(data, at, n);
	}
}

static void fill_disk(void)
{
	unsigned char *data = ops[0].buffer;

	newest = 1;
	for (uint64_t at = 0; at < sectors; at += MOST) {
		unsigned int n = (unsigned int)(sectors - at < MOST ? sectors - at : MOST);

		make(data, at, n, newest);
		move_whole(fd, data, n * SECTOR, true, at * SECTOR);
		became(at, n, newest);
	}
}

static void move_state(const char *name, bool write)
{
	struct state_header header = {STATE_MAGIC, sectors, newest};
	int file = open(name, (write ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC, 0666);

	if (file < 0)
		give_up(name);
	move_whole(file, &header, sizeof(header), write, 0);
	if (header.magic != STATE_MAGIC || header.sectors != sectors) {
		errno = EINVAL;
		give_up(name);
	}
	newest = (uint32_t)header.newest;
	move_whole(file, generations, sectors * sizeof(*generations), write, SECTOR);
	if (write && fsync(file) < 0)
		give_up(name);
	close(file);
}

/* ---- operations ---- */

static bool overlaps(uint64_t first, unsigned int n)
{
	for (unsigned int i = 0; i < DEPTH; i++) {
		const struct op *op = &ops[i];

		if (op->busy && first < op->first + op->n && op->first < first + n)
			return true;
	}
	return false;
}

/* Lengths of every order of magnitude are equally likely. Returns false when others are in the way. */
static bool choose(struct op *op)
{
	unsigned int dice = (unsigned int)draw(100);
	unsigned int most = 1u << draw(12);

	op->kind = dice < 45   ? WRITE
		   : dice < 92 ? READ
		   : dice < 96 ? FLUSH
		   : dice < 98 ? ZERO
			       : DISCARD;
	op->n = (1 + (unsigned int)draw(most) + block - 1) / block * block;
	op->first = draw(sectors - op->n + 1) / block * block;
	op->data = op->buffer + draw(2) * SECTOR;
	return op->kind == FLUSH || !overlaps(op->first, op->n);
}

static void begin_data(struct op *op)
{
	if (op->kind == FLUSH) {
		op->n = 0;
	} else if (op->kind == WRITE) {
		op->generation = ++newest;
		make(op->data, op->first, op->n, op->generation);
		n_written += op->n;
	} else if (op->kind == READ) {
		memset(op->data, 0xee, op->n * SECTOR);
	}
	n_ops++;
}

static void end_data(struct op *op)
{
	if (op->kind == READ)
		compare(op->data, op->first, op->n);
	else if (op->kind != FLUSH)
		became(op->first, op->n,
		       op->kind == WRITE  ? op->generation
		       : op->kind == ZERO ? 0
					  : UNKNOWN);
}

static void do_range(struct op *op)
{
	uint64_t range[2] = {op->first * SECTOR, (uint64_t)op->n * SECTOR};

	if (ioctl(fd, op->kind == ZERO ? BLKZEROOUT : BLKDISCARD, range) < 0)
		give_up(op->kind == ZERO ? "write zeroes" : "discard");
	end_data(op);
}

static void start(struct op *op)
{
	static const uint16_t codes[] = {IOCB_CMD_PREAD, IOCB_CMD_PWRITE, IOCB_CMD_FDSYNC};
	struct iocb *iocb = &op->iocb;

	begin_data(op);
	if (op->kind == ZERO || op->kind == DISCARD) {
		do_range(op);
		return;
	}
	*iocb = (struct iocb){.aio_data = (uint64_t)(op - ops),
			      .aio_lio_opcode = codes[op->kind],
			      .aio_fildes = (uint32_t)fd};
	if (op->kind != FLUSH) {
		iocb->aio_buf = (uint64_t)(uintptr_t)op->data;
		iocb->aio_nbytes = op->n * SECTOR;
		iocb->aio_offset = (int64_t)(op->first * SECTOR);
	}
	if (syscall(SYS_io_submit, context, 1L, &iocb) != 1)
		give_up("io_submit");
	op->busy = true;
	in_flight++;
}

static void reap(void)
{
	struct io_event events[DEPTH];
	long n = syscall(SYS_io_getevents, context, 1L, (long)DEPTH, events, NULL);

	if (n < 0)
		give_up("io_getevents");
	for (long i = 0; i < n; i++) {
		struct op *op = &ops[events[i].data];

		if (events[i].res != (int64_t)op->n * SECTOR) {
			errno = events[i].res < 0 ? (int)-events[i].res : EIO;
			give_up(op->kind == READ ? "read" : op->kind == WRITE ? "write" : "flush");
		}
		op->busy = false;
		in_flight--;
		end_data(op);
	}
}

static void run_direct(double until)
{
	unsigned int depth = DEPTH;

	if (syscall(SYS_io_setup, DEPTH, &context) < 0)
		give_up("io_setup");
	while (now() < until) {
		struct op *op = ops;

		while (op->busy && op < &ops[DEPTH - 1])
			op++;
		if (draw(100) == 0)
			depth = 1 + (unsigned int)draw(DEPTH);
		if (in_flight < depth && !op->busy && choose(op))
			start(op);
		else if (in_flight > 0)
			reap();
	}
	while (in_flight > 0)
		reap();
}

/* What the page cache holds is dropped now and then, for reads would never come to the disk. */
static void run_buffered(double until)
{
	struct op *op = ops;

	while (now() < until) {
		choose(op);
		begin_data(op);
		if (op->kind == ZERO || op->kind == DISCARD) {
			do_range(op);
			continue;
		}
		if (op->kind == FLUSH && fdatasync(fd) < 0)
			give_up("fdatasync");
		if (op->kind == FLUSH && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
			give_up("posix_fadvise");
		if (op->kind != FLUSH)
			move_whole(fd, op->data, op->n * SECTOR, op->kind == WRITE,
				   op->first * SECTOR);
		end_data(op);
	}
	if (fdatasync(fd) < 0)
		give_up("fdatasync");
}

static void run(double seconds)
{
	double begin = now();

	open_disk(O_RDWR | O_DIRECT);
	run_direct(begin + seconds / 2);
	close(fd);
	open_disk(O_RDWR);
	run_buffered(begin + seconds);
	close(fd);
	open_disk(O_RDWR | O_DIRECT);
	check_disk();
}

int main(int argc, char **argv)
{
	bool runs = argc == 6 && strcmp(argv[1], "run") == 0;
	bool fills = argc == 4 && strcmp(argv[1], "fill") == 0;

	if (!runs && !fills && (argc != 4 || strcmp(argv[1], "check") != 0)) {
		fputs("usage: verify fill|check DISK STATE | run DISK STATE SECONDS SEED\n",
		      stderr);
		return 2;
	}
	path = argv[2];
	for (unsigned int i = 0; i < DEPTH; i++) {
		if (posix_memalign((void **)&ops[i].buffer, 4096, (MOST + 8) * SECTOR) != 0)
			give_up("memory");
	}
	open_disk(fills ? O_RDWR : O_RDONLY);
	generations = calloc(sectors, sizeof(*generations));
	if (!generations || sectors < MOST) {
		errno = generations ? ENOSPC : ENOMEM;
		give_up("disk of at least 1 MiB");
	}
	if (fills)
		fill_disk();
	else
		move_state(argv[3], false);
	if (runs) {
		close(fd);
		seed = strtoull(argv[5], NULL, 10);
		run(strtod(argv[4], NULL));
	} else {
		check_disk();
	}
	if (!fills && !runs) {
		printf("%" PRIu64 " sectors are right\n", n_read);
		return 0;
	}
	move_state(argv[3], true);
	printf("%" PRIu64 " operations, %" PRIu64 " MiB written, %" PRIu64 " MiB verified\n", n_ops,
	       n_written / 2048, n_read / 2048);
	return 0;
}
