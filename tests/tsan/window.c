/*
 * Keeps what ThreadSanitizer reports about a process that has given up all its files and names by then, or that is killed: in a file
 * which is mapped before main(). Linked into programs that are built with ThreadSanitizer.
 *
 * VMM_TSAN_REPORTS names a directory, in which each process makes a file: the text of its reports, behind it zeros, and at the end of
 * all the number of bytes. Without that variable nothing is done. Runs inside the sanitizer, so it calls nothing that is watched.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define UNWATCHED   __attribute__((no_sanitize("thread")))
#define WINDOW_SIZE (256 << 10)
#define TEXT_SIZE   (WINDOW_SIZE - sizeof(uint64_t))

/* The sanitizer's own: it calls this with each piece of a report, one thread at a time. */
void __sanitizer_on_print(const char *text);

static char *window; /* NULL: there is none */
static char program[512];

static UNWATCHED uint64_t *window_used(void)
{
	return (uint64_t *)(void *)(window + TEXT_SIZE);
}

static UNWATCHED void window_add(const char *text)
{
	uint64_t at = *window_used();

	for (; *text && at < TEXT_SIZE; text++)
		window[at++] = *text;
	*window_used() = at;
}

UNWATCHED void __sanitizer_on_print(const char *text)
{
	if (!window)
		return;
	if (*window_used() == 0)
		window_add(program);
	window_add(text);
}

/* Which program it was, by its arguments. */
static UNWATCHED void note_program(int argc, char **argv)
{
	size_t at = 0;

	for (int i = 0; i < argc; i++) {
		for (const char *c = argv[i]; *c && at < sizeof(program) - 3; c++)
			program[at++] = *c;
		program[at++] = i + 1 < argc ? ' ' : '\n';
		if (at >= sizeof(program) - 2)
			break;
	}
}

/* A process without a window would look like one without a report. */
static _Noreturn void give_up(const char *path)
{
	fprintf(stderr, "cannot keep the reports of ThreadSanitizer in '%s'\n", path);
	_exit(66);
}

__attribute__((constructor)) static UNWATCHED void window_open(int argc, char **argv)
{
	const char *dir = getenv("VMM_TSAN_REPORTS");
	struct rlimit limit;
	char path[512];
	void *mapped;
	int fd;

	if (!dir)
		return;
	/* A limit of files' sizes is the subject of some tests: their reports go to stderr alone. */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < WINDOW_SIZE)
		return;
	note_program(argc, argv);
	snprintf(path, sizeof(path), "%s/report.XXXXXX", dir);
	fd = mkstemp(path);
	if (fd < 0)
		give_up(path);
	if (ftruncate(fd, WINDOW_SIZE) < 0)
		give_up(path);
	mapped = mmap(NULL, WINDOW_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED)
		give_up(path);
	close(fd);
	window = mapped;
}
