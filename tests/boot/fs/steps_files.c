/* Steps on open files: opening, reading, writing, places in them. */
#define _GNU_SOURCE
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define CHUNK 65536

static const struct named open_flags[] = {
	{"r", O_RDONLY},	  {"w", O_WRONLY},
	{"rw", O_RDWR},		  {"creat", O_CREAT},
	{"excl", O_EXCL},	  {"trunc", O_TRUNC},
	{"append", O_APPEND},	  {"dir", O_DIRECTORY},
	{"nofollow", O_NOFOLLOW}, {"tmpfile", O_TMPFILE},
	{"path", O_PATH},	  {"sync", O_SYNC},
	{"direct", O_DIRECT},	  {"noatime", O_NOATIME},
	{"nonblock", O_NONBLOCK}, {NULL, 0},
};

/* open SLOT PATH FLAGS [MODE] */
static int step_open(const struct step *step)
{
	int dir;
	const char *path = path_of(step->word[2], &dir);
	int fd = openat(dir, path, (int)named_sum(open_flags, step->word[3]) | O_CLOEXEC,
			(mode_t)number(word_or(step, 4, "0666")));

	*slot(step->word[1]) = fd;
	return result(fd);
}

/* close SLOT */
static int step_close(const struct step *step)
{
	int fd = *slot(step->word[1]);

	*slot(step->word[1]) = -1;
	return result(close(fd));
}

/* dup SLOT FROM */
static int step_dup(const struct step *step)
{
	*slot(step->word[1]) = dup(*slot(step->word[2]));
	return result(*slot(step->word[1]));
}

/* get SLOT N [OFFSET] */
static int step_get(const struct step *step)
{
	size_t n = (size_t)number(step->word[2]);
	char *bytes = malloc(n + 1);
	int fd = *slot(step->word[1]);
	ssize_t got = step->n > 3 ? pread(fd, bytes, n, number(step->word[3])) : read(fd, bytes, n);

	if (got >= 0)
		say_bytes(bytes, (size_t)got);
	return result(got);
}

/* put SLOT TEXT [OFFSET] */
static int step_put(const struct step *step)
{
	int dir, fd = *slot(step->word[1]);
	const char *text = path_of(step->word[2], &dir);
	size_t n = strlen(text);
	ssize_t done = step->n > 3 ? pwrite(fd, text, n, number(step->word[3]))
				   : write(fd, text, n);

	if (done >= 0 && (size_t)done != n)
		say("%zd", done);
	return result(done);
}

/* fill SLOT OFFSET LENGTH: with the pattern */
static int step_fill(const struct step *step)
{
	uint64_t offset = (uint64_t)number(step->word[2]);
	uint64_t end = offset + (uint64_t)number(step->word[3]);
	char bytes[CHUNK];

	while (offset < end) {
		size_t n = end - offset < CHUNK ? (size_t)(end - offset) : CHUNK;
		ssize_t done;

		pattern(bytes, n, offset);
		done = pwrite(*slot(step->word[1]), bytes, n, (off_t)offset);
		if (done <= 0)
			return result(done);
		offset += (uint64_t)done;
	}
	return 0;
}

static int say_sum(int fd)
{
	uint32_t hash = HASH_FIRST;
	off_t offset = 0;
	char bytes[CHUNK];
	ssize_t n;

	while ((n = pread(fd, bytes, sizeof(bytes), offset)) > 0) {
		hash = hash_of(bytes, (size_t)n, hash);
		offset += n;
	}
	if (n < 0)
		return -errno;
	if (offset <= (off_t)sizeof(bytes) && offset > 0)
		say_bytes(bytes, (size_t)pread(fd, bytes, sizeof(bytes), 0));
	else
		say("%lld:%08x", (long long)offset, hash);
	return 0;
}

/* sum SLOT: all of it */
static int step_sum(const struct step *step)
{
	return say_sum(*slot(step->word[1]));
}

/* cat PATH */
static int step_cat(const struct step *step)
{
	int dir;
	const char *path = path_of(step->word[1], &dir);
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	int err = fd < 0 ? -errno : say_sum(fd);

	if (fd >= 0)
		close(fd);
	return err;
}

/* iov SLOT OFFSET: three buffers at once, there and back */
static int step_iov(const struct step *step)
{
	char first[3] = "abc", second[1], third[4000];
	struct iovec iov[] = {{first, sizeof(first)}, {second, 0}, {third, sizeof(third)}};
	off_t offset = number(step->word[2]);
	ssize_t n;

	pattern(third, sizeof(third), 0);
	n = pwritev(*slot(step->word[1]), iov, 3, offset);
	say("%zd,", n);
	memset(third, 0, sizeof(third));
	n = preadv(*slot(step->word[1]), iov, 3, offset);
	if (n >= 0)
		say_bytes(third, sizeof(third));
	return result(n);
}

static const struct named whences[] = {
	{"set", SEEK_SET},   {"cur", SEEK_CUR},	  {"end", SEEK_END},
	{"data", SEEK_DATA}, {"hole", SEEK_HOLE}, {NULL, 0},
};

/* seek SLOT WHENCE OFFSET */
static int step_seek(const struct step *step)
{
	off_t place = lseek(*slot(step->word[1]), number(step->word[3]),
			    (int)named_sum(whences, step->word[2]));

	if (place >= 0)
		say("%lld", (long long)place);
	return result(place);
}

/* holes SLOT: where data are */
static int step_holes(const struct step *step)
{
	int fd = *slot(step->word[1]);
	off_t data, end = 0;

	while ((data = lseek(fd, end, SEEK_DATA)) >= 0) {
		end = lseek(fd, data, SEEK_HOLE);
		say("%lld-%lld,", (long long)data, (long long)end);
	}
	return errno == ENXIO ? (say("end"), 0) : -errno;
}

/* mk PATH [TEXT] */
static int step_mk(const struct step *step)
{
	int dir;
	const char *path = path_of(step->word[1], &dir), *text = word_or(step, 2, "");
	int fd = openat(dir, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	int err;

	if (fd < 0)
		return -errno;
	err = result(write(fd, text, strlen(text)));
	close(fd);
	return err;
}

/* flags SLOT: what fcntl tells of it */
static int step_flags(const struct step *step)
{
	int flags = fcntl(*slot(step->word[1]), F_GETFL);

	if (flags >= 0)
		say("%o%s%s", flags & O_ACCMODE, flags & O_APPEND ? "+append" : "",
		    flags & O_PATH ? "+path" : "");
	return result(flags);
}

/* setfl SLOT FLAGS */
static int step_setfl(const struct step *step)
{
	return result(
		fcntl(*slot(step->word[1]), F_SETFL, (int)named_sum(open_flags, step->word[2])));
}

const struct operation operations_files[] = {
	{"open", 4, step_open},	  {"close", 2, step_close}, {"dup", 3, step_dup},
	{"get", 3, step_get},	  {"put", 3, step_put},	    {"fill", 4, step_fill},
	{"sum", 2, step_sum},	  {"cat", 2, step_cat},	    {"iov", 3, step_iov},
	{"seek", 4, step_seek},	  {"holes", 2, step_holes}, {"mk", 2, step_mk},
	{"flags", 2, step_flags}, {"setfl", 3, step_setfl}, {NULL, 0, NULL},
};
