#include "boot/kernel_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "boot/image.h"
#include "boot/kernel_cache_file.h"

#define SAMPLE	  4096
#define NAME_SIZE 64
#define SUFFIX	  ".vmmkernel"
#define NEW	  SUFFIX ".new"
#define NS	  1000000000

/* ---- whose it is ---- */

static void cache_digest(const uint64_t *words, size_t n, uint64_t *digest)
{
	for (size_t i = 0; i < n; i++)
		*digest = (*digest ^ words[i]) * UINT64_C(0x100000001b3) ^ (*digest >> 29);
}

static int cache_read_boot_id(char *id, size_t len)
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, id, len);
	close(fd);
	return n >= 36 ? 0 : -EIO;
}

static int cache_sample(const struct codec_input *payload, uint64_t *digest)
{
	uint64_t words[SAMPLE / sizeof(uint64_t)];
	uint64_t end = payload->offset + payload->left;
	int err;

	if (end < SAMPLE)
		return -EINVAL;
	*digest = UINT64_C(0xcbf29ce484222325);
	err = image_read(payload->fd, 0, words, SAMPLE);
	if (err == 0)
		cache_digest(words, SAMPLE / sizeof(uint64_t), digest);
	if (err == 0)
		err = image_read(payload->fd, end - SAMPLE, words, SAMPLE);
	if (err == 0)
		cache_digest(words, SAMPLE / sizeof(uint64_t), digest);
	return err;
}

int kernel_cache_identify(const struct codec_input *payload, const struct vmlinux_place *place,
			  struct kernel_cache_id *id)
{
	struct stat st;
	int err;

	memset(id, 0, sizeof(*id));
	if (fstat(payload->fd, &st) < 0)
		return -errno;
	id->dev = st.st_dev;
	id->ino = st.st_ino;
	id->size = (uint64_t)st.st_size;
	id->mtime = st.st_mtim.tv_sec;
	id->mtime_ns = st.st_mtim.tv_nsec;
	id->ctime = st.st_ctim.tv_sec;
	id->ctime_ns = st.st_ctim.tv_nsec;
	id->payload_offset = payload->offset;
	id->payload_len = payload->left;
	id->link = place->link;
	id->room = place->size;
	err = cache_sample(payload, &id->digest);
	return err < 0 ? err : cache_read_boot_id(id->host_boot, sizeof(id->host_boot) - 1);
}

/*
 * Whether a later change would show in the file's times. They advance with the timer's ticks, every 10 ms at most; where
 * they have no fraction, as on some file systems, every two seconds.
 */
static bool cache_times_tell(const struct kernel_cache_id *id)
{
	int64_t tick = id->ctime_ns == 0 ? INT64_C(2) * NS : NS / 10;
	struct timespec now;

	if (clock_gettime(CLOCK_REALTIME, &now) < 0)
		return false;
	return (now.tv_sec - id->ctime) * NS + now.tv_nsec - id->ctime_ns > tick;
}

static void cache_name(const struct kernel_cache_id *id, const char *suffix, char *name)
{
	snprintf(name, NAME_SIZE, "%" PRIx64 "-%" PRIx64 "%s", id->dev, id->ino, suffix);
}

/* Whether a file is one of these: the directory may hold what is of no concern to us. */
static bool cache_is_name(const char *name)
{
	size_t dev = strspn(name, "0123456789abcdef");
	size_t ino = name[dev] == '-' ? strspn(name + dev + 1, "0123456789abcdef") : 0;
	const char *suffix = name + dev + 1 + ino;

	return dev > 0 && ino > 0 && strlen(name) < NAME_SIZE &&
	       (strcmp(suffix, SUFFIX) == 0 || strcmp(suffix, NEW) == 0);
}

/* ---- the directory ---- */

static bool cache_is_ours(const struct stat *st)
{
	return st->st_uid == geteuid() && (st->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

static int cache_open_dir(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && cache_is_ours(&st))
		return fd;
	close(fd);
	return -EPERM;
}

/* Makes the directory and, as a new user may have no ~/.cache yet, its parent; only in what belongs to the user. */
static int cache_make_dir(const char *dir, bool parent_too)
{
	const char *slash = strrchr(dir, '/');
	char parent[PATH_MAX];
	struct stat st;

	if (!slash || slash == dir || (size_t)(slash - dir) >= sizeof(parent))
		return -EINVAL;
	memcpy(parent, dir, (size_t)(slash - dir));
	parent[slash - dir] = '\0';
	if (stat(parent, &st) < 0) {
		if (errno != ENOENT || !parent_too || cache_make_dir(parent, false) < 0 ||
		    stat(parent, &st) < 0)
			return -ENOENT;
	}
	if (st.st_uid != geteuid())
		return -EPERM;
	return mkdir(dir, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* ---- keeping it small ---- */

struct cache_survey {
	uint64_t total; /* bytes on disk */
	time_t oldest;
	char oldest_name[NAME_SIZE];
};

static void cache_survey_file(int dir, const char *name, struct cache_survey *survey)
{
	struct stat st;

	if (!cache_is_name(name) || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISREG(st.st_mode))
		return;
	survey->total += (uint64_t)st.st_blocks * 512;
	if (survey->oldest_name[0] == '\0' || st.st_mtime < survey->oldest) {
		survey->oldest = st.st_mtime;
		strcpy(survey->oldest_name, name);
	}
}

static void cache_survey(int dir, struct cache_survey *survey)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	*survey = (struct cache_survey){.total = 0};
	if (!list) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(list)))
		cache_survey_file(dir, entry->d_name, survey);
	closedir(list);
}

static void cache_shrink(int dir)
{
	struct cache_survey survey;

	for (cache_survey(dir, &survey); survey.total > KERNEL_CACHE_MAX;
	     cache_survey(dir, &survey)) {
		if (unlinkat(dir, survey.oldest_name, 0) < 0 && errno != ENOENT)
			return;
	}
}

/* ---- loading and storing ---- */

/* The file of that kernel, if it is the user's own. Returns a descriptor or negative errno. */
static int cache_open_file(const char *dir, const struct kernel_cache_id *id)
{
	int dir_fd = cache_open_dir(dir), fd, err;
	char name[NAME_SIZE];
	struct stat st;

	if (dir_fd < 0)
		return dir_fd;
	cache_name(id, SUFFIX, name);
	fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	err = fd < 0 ? -errno : 0;
	close(dir_fd);
	if (err < 0)
		return err;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && cache_is_ours(&st))
		return fd;
	close(fd);
	return -EPERM;
}

int kernel_cache_config(const char *dir, int kernel_fd, char **text)
{
	struct kernel_cache_id id = {.dev = 0};
	struct stat st;
	int fd, err;

	if (fstat(kernel_fd, &st) < 0)
		return -errno;
	id.dev = st.st_dev;
	id.ino = st.st_ino;
	fd = cache_open_file(dir, &id);
	if (fd < 0)
		return fd;
	err = kernel_cache_read_config(fd, kernel_fd, text);
	close(fd);
	return err;
}

int kernel_cache_load(const char *dir, const struct kernel_cache_id *id,
		      const struct guest_mem *mem, const struct vmlinux_place *place,
		      struct steps *steps, struct vmlinux *vmlinux)
{
	int fd = cache_open_file(dir, id), err;

	if (fd < 0)
		return fd;
	err = kernel_cache_read(fd, id, mem, place, steps, vmlinux);
	close(fd);
	return err;
}

/* Ours, locked, empty, and still under this name: a writer who was before us may have renamed it. */
static int cache_take_over(int dir, const char *name, int fd)
{
	struct stat st, named;

	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !cache_is_ours(&st))
		return -EPERM;
	if (fstatat(dir, name, &named, AT_SYMLINK_NOFOLLOW) < 0 || named.st_ino != st.st_ino ||
	    named.st_dev != st.st_dev)
		return -EBUSY;
	return ftruncate(fd, 0) < 0 ? -errno : 0;
}

/* The file under its other name, which who writes it holds locked; one that was left behind is written anew. */
static int cache_create(int dir, const char *name)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	int err;

	if (fd < 0)
		return -errno;
	err = cache_take_over(dir, name, fd);
	if (err < 0) {
		close(fd);
		return err;
	}
	return fd;
}

static int cache_store_in(int dir, const struct kernel_cache_id *id, const struct guest_mem *mem,
			  const struct vmlinux_place *place, const struct vmlinux *vmlinux)
{
	char name[NAME_SIZE], new_name[NAME_SIZE];
	int fd, err;

	cache_name(id, SUFFIX, name);
	cache_name(id, NEW, new_name);
	fd = cache_create(dir, new_name);
	if (fd < 0)
		return fd;
	err = kernel_cache_write(fd, id, mem, place, vmlinux);
	if (err == 0 && renameat(dir, new_name, dir, name) < 0)
		err = -errno;
	if (err < 0)
		unlinkat(dir, new_name, 0);
	/* not before: the lock goes with it */
	close(fd);
	if (err == 0)
		cache_shrink(dir);
	return err;
}

int kernel_cache_store(const char *dir, const struct kernel_cache_id *id,
		       const struct codec_input *payload, const struct guest_mem *mem,
		       const struct vmlinux_place *place, const struct vmlinux *vmlinux)
{
	struct kernel_cache_id now;
	int err = kernel_cache_identify(payload, place, &now);
	int fd;

	if (err == 0 && (memcmp(&now, id, sizeof(now)) != 0 || !cache_times_tell(id)))
		err = -ESTALE;
	if (err < 0)
		return err;
	fd = cache_open_dir(dir);
	if (fd == -ENOENT && cache_make_dir(dir, true) == 0)
		fd = cache_open_dir(dir);
	if (fd < 0)
		return fd;
	err = cache_store_in(fd, id, mem, place, vmlinux);
	close(fd);
	return err;
}
