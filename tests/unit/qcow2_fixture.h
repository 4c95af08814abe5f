/*
 * qcow2 images made by qemu-img, and what they are to read as.
 */
#pragma once

#include <spawn.h>
#include <stdarg.h>
#include <sys/wait.h>

#include "tests/unit/image_fixture.h"
#include "virtio/qcow2.h"

#define SIZE ((3u << 20) + 512u * 7u)

extern char **environ;

static unsigned char content[SIZE], got[SIZE];
static char raw_path[128], backing_path[128];

static inline bool command(const char *const *argv)
{
	posix_spawn_file_actions_t quiet;
	int status = -1;
	pid_t pid;

	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0);
	if (posix_spawnp(&pid, argv[0], &quiet, NULL, (char *const *)(uintptr_t)argv, environ) == 0)
		waitpid(pid, &status, 0);
	posix_spawn_file_actions_destroy(&quiet);
	return status == 0;
}

#define QEMU_IMG(...) ck_assert(command((const char *const[]){"qemu-img", __VA_ARGS__, NULL}))
#define QEMU_IO(file, ...)                                                                         \
	ck_assert(command((const char *const[]){"qemu-io", "-t", "unsafe", "-f", "qcow2",          \
						__VA_ARGS__, file, NULL}))

/* Data that can be packed and data that cannot, zeros of all lengths, and an end in the middle of a cluster. */
static inline void make_content(void)
{
	setup();
	snprintf(raw_path, sizeof(raw_path), "%s/raw", dir);
	snprintf(backing_path, sizeof(backing_path), "%s/backing", dir);
	srandom(1);
	for (size_t at = 0; at < SIZE;) {
		size_t len = (size_t)1 << (random() % 9 + 10);
		unsigned int what = (unsigned int)random() % 4;

		if (len > SIZE - at)
			len = SIZE - at;
		if (what == 0)
			fill_pattern(content + at, len, (uint32_t)random());
		else if (what == 1)
			for (size_t i = 0; i < len; i++)
				content[at + i] = (unsigned char)(i / 64 + at);
		else
			memset(content + at, 0, len);
		at += len;
	}
	make_file(raw_path, content, SIZE);
}

static inline void remove_content(void)
{
	unlink(raw_path);
	unlink(backing_path);
	teardown();
}

static inline void convert(const char *const *options)
{
	const char *argv[24] = {"qemu-img", "convert", "-f", "raw", "-O", "qcow2"};
	unsigned int n = 6;

	while (*options)
		argv[n++] = *options++;
	argv[n++] = raw_path;
	argv[n++] = top_path;
	ck_assert(command(argv));
}

/* Runs the suite, or says what is missing and returns the status of a skipped test. */
static inline int run_with_qemu_img(Suite *s)
{
	if (command((const char *const[]){"qemu-img", "--version", NULL}) &&
	    command((const char *const[]){"qemu-io", "--version", NULL}))
		return run(s);
	puts("skipped: qemu-img and qemu-io are missing (Debian: qemu-utils)");
	return 77;
}
