#include "vmm/image/image_entry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK 4096 /* bytes: an image is made of whole ones */

/* of a lock that somebody holds */
#define LOCK_PAUSE	   20000 /* us */
#define LOCK_TRIES	   500	 /* 10 s */
#define LOCK_TRIES_TO_TAKE 10	 /* among many */
#define LOCK_TRIES_OF_ONE  50	 /* 1 s, for one that is to be removed */

struct image_seal {
	char magic[8];
	uint64_t at; /* of the strings */
	uint32_t size;
	uint32_t n_entrypoint, n_cmd, n_env;
};

static const char image_magic[8] = "vmmimg1";

static int image_entry_write(int fd, const void *bytes, size_t size, uint64_t at)
{
	ssize_t n = pwrite(fd, bytes, size, (off_t)at);

	return n == (ssize_t)size ? 0 : n < 0 ? -errno : -ENOSPC;
}

int image_entry_seal(int fd, const struct image_config *config)
{
	struct image_seal seal = {.size = config->size,
				  .n_entrypoint = config->n_entrypoint,
				  .n_cmd = config->n_cmd,
				  .n_env = config->n_env};
	struct stat st;
	uint64_t end;
	int err;

	if (fstat(fd, &st) < 0)
		return -errno;
	memcpy(seal.magic, image_magic, sizeof(seal.magic));
	seal.at = ((uint64_t)st.st_size + BLOCK - 1) / BLOCK * BLOCK;
	end = (seal.at + seal.size + sizeof(seal) + BLOCK - 1) / BLOCK * BLOCK;
	err = image_entry_write(fd, config->text, config->size, seal.at);
	return err == 0 ? image_entry_write(fd, &seal, sizeof(seal), end - sizeof(seal)) : err;
}

/* Returns -ENOENT for what is no image of ours: it counts as if it were not there. */
static int image_entry_read(struct image_entry *entry)
{
	struct image_config *config = &entry->config;
	struct image_seal seal;
	uint64_t end = entry->size - sizeof(seal);

	if (entry->size < BLOCK ||
	    pread(entry->fd, &seal, sizeof(seal), (off_t)end) != sizeof(seal) ||
	    memcmp(seal.magic, image_magic, sizeof(seal.magic)) != 0 ||
	    seal.size > IMAGE_MAX_CONFIG || seal.at > end || seal.size > end - seal.at)
		return -ENOENT;
	*config = (struct image_config){.text = malloc(seal.size + 1),
					.size = seal.size,
					.room = seal.size,
					.n_entrypoint = seal.n_entrypoint,
					.n_cmd = seal.n_cmd,
					.n_env = seal.n_env};
	if (!config->text)
		return -ENOMEM;
	if (pread(entry->fd, config->text, seal.size, (off_t)seal.at) != (ssize_t)seal.size ||
	    image_config_check(config) < 0)
		return -ENOENT;
	return 0;
}

/* Who removes it or looks at all holds it for a moment; who else may read it could hold it for ever. */
static int image_entry_lock(int fd, int how, unsigned int tries)
{
	while (flock(fd, how | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK || --tries == 0)
			return -errno;
		usleep(LOCK_PAUSE);
	}
	return 0;
}

int image_entry_open(struct image_entry *entry, const struct image_cache *cache, const char *hex,
		     bool to_take)
{
	struct stat st;
	char name[96];
	int err;

	*entry = (struct image_entry){.fd = -1};
	snprintf(entry->digest, sizeof(entry->digest), "sha256:%.64s", hex);
	snprintf(name, sizeof(name), "%.64s" IMAGE_ENTRY_SUFFIX, hex);
	snprintf(entry->path, sizeof(entry->path), "%s/%s", cache->path, name);
	if (to_take)
		entry->fd = openat(cache->dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (entry->fd < 0)
		entry->fd = openat(cache->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (entry->fd < 0)
		return -errno;
	err = image_entry_lock(entry->fd, LOCK_SH, to_take ? LOCK_TRIES_TO_TAKE : LOCK_TRIES);
	if (err == 0 && fstat(entry->fd, &st) < 0)
		err = -errno;
	/* It was removed. */
	else if (err == 0 && (st.st_nlink == 0 || !S_ISREG(st.st_mode)))
		err = -ENOENT;
	if (err == 0) {
		entry->size = (uint64_t)st.st_size;
		entry->used = st.st_mtime;
		err = image_entry_read(entry);
		/* What another version of vmm has sealed, or was damaged, takes room too. */
		if (err == -ENOENT && to_take) {
			image_config_fini(&entry->config);
			err = 0;
		}
	}
	if (err < 0)
		image_entry_close(entry);
	return err;
}

bool image_entry_take(const struct image_entry *entry, bool patient)
{
	return image_entry_lock(entry->fd, LOCK_EX, patient ? LOCK_TRIES_OF_ONE : 1) == 0;
}

void image_entry_close(struct image_entry *entry)
{
	if (entry->fd >= 0)
		close(entry->fd);
	entry->fd = -1;
	image_config_fini(&entry->config);
}
