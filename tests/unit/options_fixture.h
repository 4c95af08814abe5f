/*
 * A command line, parsed or refused with one line on stderr, for tests of vmm/cli.
 */
#pragma once

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/cli/cache_dir.h"
#include "vmm/cli/options.h"
#include "vmm/cli/report.h"
#include "vmm/cli/value.h"

#define MAX_WORDS 256
#define MIB	  UINT64_C(0x100000)
#define GIB	  UINT64_C(0x40000000)

static struct options o;
static char said[16384]; /* on stderr, by the last parse() */

/* Runs fn with fd going into text. */
static inline void capture(int fd, char *text, size_t size, void (*fn)(void *arg), void *arg)
{
	int saved = dup(fd), file = memfd_create("captured", MFD_CLOEXEC);
	ssize_t n;

	ck_assert_int_ge(saved, 0);
	ck_assert_int_ge(file, 0);
	fflush(NULL);
	ck_assert_int_ge(dup2(file, fd), 0);
	fn(arg);
	fflush(NULL);
	ck_assert_int_ge(dup2(saved, fd), 0);
	n = pread(file, text, size - 1, 0);
	ck_assert_int_ge(n, 0);
	text[n] = '\0';
	close(saved);
	close(file);
}

static struct {
	int argc;
	char *argv[MAX_WORDS];
	int result;
} run;

static inline void run_parse(void *arg)
{
	(void)arg;
	run.result = options_parse(&o, run.argc, run.argv);
}

/* The words are copied, as the parser cuts them up. */
static inline int parse_words(const char *const *words)
{
	static char copies[16384];
	size_t used = 0;

	run.argc = 0;
	run.argv[run.argc++] = strcpy(copies, "vmm");
	used = sizeof("vmm");
	for (; *words; words++) {
		size_t len = strlen(*words) + 1;

		ck_assert_int_lt(run.argc, MAX_WORDS - 1);
		ck_assert_uint_le(used + len, sizeof(copies));
		run.argv[run.argc++] = memcpy(copies + used, *words, len);
		used += len;
	}
	run.argv[run.argc] = NULL;
	capture(STDERR_FILENO, said, sizeof(said), run_parse, NULL);
	return run.result;
}

#define PARSE(...) parse_words((const char *const[]){__VA_ARGS__, NULL})

/* Refused with one line that has these words in it. */
static inline void check_refused(const char *const *words, const char *part)
{
	const char *newline;

	ck_assert_int_eq(parse_words(words), -EINVAL);
	ck_assert_msg(strncmp(said, "vmm: ", 5) == 0, "'%s' says: %s", words[0], said);
	newline = strchr(said, '\n');
	ck_assert_msg(newline && newline[1] == '\0', "'%s' says: %s", words[0], said);
	ck_assert_msg(strstr(said, part), "'%s' not in: %s", part, said);
}

#define REFUSED(part, ...) check_refused((const char *const[]){__VA_ARGS__, NULL}, part)

/* ---- disks ---- */

/* Two commas are one in the name. */
static const struct {
	const char *text, *path, *serial;
	bool readonly;
} disks[] = {
	{"disk.img", "disk.img", NULL, false},
	{"disk.img,readonly", "disk.img", NULL, true},
	{"disk.img,format=raw", "disk.img", NULL, false},
	{"disk.img,serial=abc,readonly", "disk.img", "abc", true},
	{"disk.img,serial=12345678901234567890", "disk.img", "12345678901234567890", false},
	{"disk.img,serial=a,,b", "disk.img", "a,b", false},
	{"a,,b.img", "a,b.img", NULL, false},
	{"a,,b.img,readonly", "a,b.img", NULL, true},
	{",,", ",", NULL, false},
	{",,,,", ",,", NULL, false},
	{"a,,,readonly", "a,", NULL, true},
	{"a,,readonly", "a,readonly", NULL, false},
	{"file=x", "file=x", NULL, false},
	{"/dev/disk/by-id/x y", "/dev/disk/by-id/x y", NULL, false},
};

/* ---- lists ---- */

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
