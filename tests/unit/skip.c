#include "tests/unit/skip.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Shared with the processes of the tests. */
static _Atomic unsigned int *n_notes;

__attribute__((constructor)) static void skip_init(void)
{
	n_notes = mmap(NULL, sizeof(*n_notes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (n_notes == MAP_FAILED)
		abort();
}

void skip_note(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fputs("skipped: ", stdout);
	vprintf(fmt, args);
	putchar('\n');
	fflush(stdout);
	va_end(args);
	atomic_fetch_add(n_notes, 1);
}

int skip_status(int failed)
{
	if (failed)
		return EXIT_FAILURE;
	return atomic_load(n_notes) ? 77 : EXIT_SUCCESS;
}

static bool has_direct(const char *dir)
{
	char name[100]; /* so that tests need not be ready for longer ones */
	int fd;

	if ((size_t)snprintf(name, sizeof(name), "%s/test_direct.XXXXXX", dir) >= sizeof(name))
		return false;
	fd = mkostemp(name, O_DIRECT | O_CLOEXEC);
	/* A file system without it may refuse after it has made the file. */
	unlink(name);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

const char *skip_unless_direct(void)
{
	const char *const dirs[] = {getenv("TMPDIR"), ".", "/var/tmp", "/tmp"};

	for (unsigned int i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
		if (dirs[i] && has_direct(dirs[i]))
			return dirs[i];
	}
	skip_note(
		"direct I/O, which neither TMPDIR nor the working directory, /var/tmp or /tmp has");
	return NULL;
}
