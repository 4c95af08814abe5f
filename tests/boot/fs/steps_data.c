/* Steps on a file's data that are neither read nor write: sizes, holes, copies, maps. */
#define _GNU_SOURCE
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <linux/falloc.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* trunc PATH LENGTH */
static int step_trunc(const struct step *step)
{
	int dir;

	return result(truncate(path_of(step->word[1], &dir), number(step->word[2])));
}

/* ftrunc SLOT LENGTH */
static int step_ftrunc(const struct step *step)
{
	return result(ftruncate(*slot(step->word[1]), number(step->word[2])));
}

static const struct named fallocate_modes[] = {
	{"plain", 0},
	{"keep", FALLOC_FL_KEEP_SIZE},
	{"punch", FALLOC_FL_PUNCH_HOLE},
	{"zero", FALLOC_FL_ZERO_RANGE},
	{"collapse", FALLOC_FL_COLLAPSE_RANGE},
	{"insert", FALLOC_FL_INSERT_RANGE},
	{"unshare", FALLOC_FL_UNSHARE_RANGE},
	{NULL, 0},
};

/* falloc SLOT MODE OFFSET LENGTH */
static int step_falloc(const struct step *step)
{
	return result(fallocate(*slot(step->word[1]),
				(int)named_sum(fallocate_modes, step->word[2]),
				number(step->word[3]), number(step->word[4])));
}

/* copy TO FROM LENGTH [OFFSET-THERE OFFSET-HERE]: copy_file_range(), again and again as programs call it */
static int step_copy(const struct step *step)
{
	off_t in = number(word_or(step, 5, "0")), out = number(word_or(step, 4, "0"));
	size_t left = (size_t)number(step->word[3]), done = 0;
	ssize_t n;

	while (left > 0) {
		n = copy_file_range(*slot(step->word[2]), step->n > 5 ? &in : NULL,
				    *slot(step->word[1]), step->n > 4 ? &out : NULL, left, 0);
		if (n < 0 && done == 0)
			return -errno;
		if (n <= 0)
			break;
		left -= (size_t)n;
		done += (size_t)n;
	}
	say("%zu", done);
	return 0;
}

/* sendfile TO FROM LENGTH */
static int step_sendfile(const struct step *step)
{
	ssize_t n = sendfile(*slot(step->word[1]), *slot(step->word[2]), NULL,
			     (size_t)number(step->word[3]));

	if (n >= 0)
		say("%zd", n);
	return result(n);
}

/* splice TO FROM: by way of a pipe */
static int step_splice(const struct step *step)
{
	int ends[2];
	ssize_t n;

	if (pipe(ends) < 0)
		return -errno;
	n = splice(*slot(step->word[2]), NULL, ends[1], NULL, 4096, 0);
	if (n > 0)
		n = splice(ends[0], NULL, *slot(step->word[1]), NULL, (size_t)n, 0);
	if (n >= 0)
		say("%zd", n);
	return result(n);
}

/* sync SLOT HOW */
static int step_sync(const struct step *step)
{
	int fd = *slot(step->word[1]);

	if (has_word(step, 2, "data"))
		return result(fdatasync(fd));
	if (has_word(step, 2, "range"))
		return result(sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE));
	if (has_word(step, 2, "fs"))
		return result(syncfs(fd));
	return result(fsync(fd));
}

/* sparse SLOT: whether it takes less than its size, and that as a file of that size may */
static int step_sparse(const struct step *step)
{
	struct stat st;
	int err = result(fstat(*slot(step->word[1]), &st));

	if (err == 0)
		say("%s", (off_t)st.st_blocks * 512 < st.st_size ? "sparse" : "whole");
	return err;
}

/* ---- maps ---- */

static struct {
	char *bytes;
	size_t len;
} maps[SLOTS];

/* map SLOT LENGTH shared|private [ro] */
static int step_map(const struct step *step)
{
	size_t len = (size_t)number(step->word[2]);
	bool shared = has_word(step, 3, "shared");
	void *bytes = mmap(NULL, len, PROT_READ | (has_word(step, 3, "ro") ? 0 : PROT_WRITE),
			   shared ? MAP_SHARED : MAP_PRIVATE, *slot(step->word[1]), 0);

	if (bytes == MAP_FAILED)
		return -errno;
	maps[step->word[1][0] - 'a'].bytes = bytes;
	maps[step->word[1][0] - 'a'].len = len;
	return 0;
}

static char *mapped(const struct step *step, long long offset)
{
	return maps[step->word[1][0] - 'a'].bytes + offset;
}

/* poke SLOT OFFSET TEXT */
static int step_poke(const struct step *step)
{
	memcpy(mapped(step, number(step->word[2])), step->word[3], strlen(step->word[3]));
	return 0;
}

/* peek SLOT OFFSET N */
static int step_peek(const struct step *step)
{
	say_bytes(mapped(step, number(step->word[2])), (size_t)number(step->word[3]));
	return 0;
}

/* beyond SLOT OFFSET: a look at what the file does not have, in a process that may die of it */
static int step_beyond(const struct step *step)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(*(volatile char *)mapped(step, number(step->word[2])) == 0 ? 0 : 1);
	waitpid(pid, &status, 0);
	say("%s%d", WIFSIGNALED(status) ? "signal" : "status",
	    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return 0;
}

/* msync SLOT */
static int step_msync(const struct step *step)
{
	return result(msync(mapped(step, 0), maps[step->word[1][0] - 'a'].len, MS_SYNC));
}

/* unmap SLOT */
static int step_unmap(const struct step *step)
{
	return result(munmap(mapped(step, 0), maps[step->word[1][0] - 'a'].len));
}

/* unread SLOT: FIONREAD */
static int step_unread(const struct step *step)
{
	int n, err = result(ioctl(*slot(step->word[1]), FIONREAD, &n));

	if (err == 0)
		say("%d", n);
	return err;
}

const struct operation operations_data[] = {
	{"trunc", 3, step_trunc}, {"ftrunc", 3, step_ftrunc},	  {"falloc", 5, step_falloc},
	{"copy", 4, step_copy},	  {"sendfile", 4, step_sendfile}, {"splice", 3, step_splice},
	{"sync", 3, step_sync},	  {"sparse", 2, step_sparse},	  {"map", 4, step_map},
	{"poke", 4, step_poke},	  {"peek", 4, step_peek},	  {"msync", 2, step_msync},
	{"unmap", 2, step_unmap}, {"beyond", 3, step_beyond},	  {"unread", 2, step_unread},
	{NULL, 0, NULL},
};
