#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"

#define PLACE	"/shared"
#define CHUNK	(1 << 20)
#define SMALL	1024
#define PER_DIR 500

int share_mount(void)
{
	mkdir(PLACE, 0755);
	return mount("bench", PLACE, "virtiofs", 0, NULL) ? load_fail("share", "mount") : 0;
}

/* What was seen before is not known any more. */
static void share_forget(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	sync();
	if (write(fd, "3", 1) != 1)
		load_fail("share", "drop caches");
	close(fd);
}

static int share_read(void *chunk, long megabytes)
{
	int fd = open(PLACE "/large", O_RDONLY | O_CLOEXEC);
	long done = 0;

	if (fd < 0)
		return -1;
	while (done < megabytes && read(fd, chunk, CHUNK) == CHUNK)
		done++;
	close(fd);
	return done == megabytes ? 0 : -1;
}

static int share_write(void *chunk, long megabytes)
{
	int fd = open(PLACE "/large", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	long done = 0;

	if (fd < 0)
		return -1;
	while (done < megabytes && write(fd, chunk, CHUNK) == CHUNK)
		done++;
	if (done < megabytes || fsync(fd))
		return -1;
	return close(fd);
}

static int share_create(void *chunk, long files)
{
	char name[128];

	for (long i = 0; i < files; i++) {
		int fd;

		snprintf(name, sizeof(name), PLACE "/small/%03ld", i / PER_DIR);
		if (i % PER_DIR == 0 && mkdir(name, 0777))
			return -1;
		snprintf(name, sizeof(name), PLACE "/small/%03ld/%ld", i / PER_DIR, i);
		fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (fd < 0 || write(fd, chunk, SMALL) != SMALL || close(fd))
			return -1;
	}
	return 0;
}

static int share_run(const char *const argv[])
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		setenv("HOME", "/", 1);
		execv(argv[0], (char **)(uintptr_t)argv);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0) {
		errno = ENOEXEC;
		return -1;
	}
	return 0;
}

static int share_do(const char *what, long count, void *chunk)
{
	static const char *const status[] = {"/bin/git",    "-c",     "safe.directory=*", "-C",
					     PLACE "/tree", "status", "--short",	  NULL};
	static const char *const unpack[] = {"/bin/busybox", "tar",	   "-xf", PLACE "/tree.tar",
					     "-C",	     PLACE "/out", NULL};

	errno = EIO;
	if (!strcmp(what, "read"))
		return share_read(chunk, count);
	if (!strcmp(what, "write"))
		return share_write(chunk, count);
	if (!strcmp(what, "create"))
		return share_create(chunk, count);
	if (!strcmp(what, "git"))
		return share_run(status);
	if (!strcmp(what, "tar"))
		return share_run(unpack);
	errno = EINVAL;
	return -1;
}

int share_job(char *job)
{
	const char *name = strsep(&job, ":"), *what = strsep(&job, ":");
	long count = job ? strtol(job, NULL, 10) : 0;
	void *chunk = malloc(CHUNK);
	uint64_t began;

	if (!chunk || !what)
		return load_fail(name, "what to do");
	memset(chunk, 'x', CHUNK);
	share_forget();
	began = load_now();
	if (share_do(what, count, chunk))
		return load_fail(name, what);
	printf("bench %s %.4f\n", name, (double)(load_now() - began) / 1e9);
	free(chunk);
	return 0;
}
