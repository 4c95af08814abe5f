#include "vmm/image/image_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/image/image_entry.h"
#include "vmm/image/image_make.h"
#include "vmm/image/image_memo.h"

#define HEX_DIGITS 64
#define NEW_SUFFIX ".new"

/* ---- the directory ---- */

/* Returns why the first that is missing cannot be made, as errno has it, or 0. */
static int image_cache_make_dirs(char *path)
{
	int err = 0;

	for (char *at = strchr(path + 1, '/');; at = strchr(at + 1, '/')) {
		if (at)
			*at = '\0';
		if (mkdir(path, 0700) < 0 && errno != EEXIST && err == 0)
			err = errno;
		if (!at)
			return err;
		*at = '/';
	}
}

int image_cache_open(struct image_cache *cache, const char *path, uint64_t bound,
		     struct image_why *why)
{
	struct stat st;
	int err;

	*cache = (struct image_cache){.dir = -1, .bound = bound};
	if ((size_t)snprintf(cache->path, sizeof(cache->path), "%s", path) >= sizeof(cache->path))
		return image_fail(why, -ENAMETOOLONG, "image cache '%.100s...': %s", path,
				  strerror(ENAMETOOLONG));
	err = image_cache_make_dirs(cache->path);
	cache->dir = open(cache->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cache->dir < 0 && err)
		errno = err;
	if (cache->dir < 0 || fstat(cache->dir, &st) < 0)
		return image_fail(why, -errno, "cannot open the image cache '%s': %m", path);
	/* What somebody else puts there would run as if it were the image. */
	if (st.st_uid == geteuid() && !(st.st_mode & (S_IWGRP | S_IWOTH)))
		return 0;
	image_cache_close(cache);
	return image_fail(why, -EPERM,
			  "the image cache '%s' is not yours, or others may write there", path);
}

void image_cache_close(struct image_cache *cache)
{
	if (cache->dir >= 0)
		close(cache->dir);
	cache->dir = -1;
}

/* ---- one of them ---- */

/* Those whose digests begin alike wait for one another, so that locks do not become more and more. */
static int image_cache_lock(const struct image_cache *cache, const char *hex, bool wait,
			    const struct image_progress *progress)
{
	char name[] = "lock-0";
	int fd, err = -EWOULDBLOCK;

	name[5] = hex[0];
	fd = openat(cache->dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	while (err == -EWOULDBLOCK) {
		err = flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
		if (!wait || err != -EWOULDBLOCK)
			break;
		image_progress(progress, "waiting for another vmm to unpack the image", "");
		usleep(50000);
	}
	if (err == 0)
		return fd;
	close(fd);
	return err;
}

static int image_cache_use(const struct image_cache *cache, const char *hex,
			   struct image_entry *entry, struct image_why *why)
{
	int err = image_entry_open(entry, cache, hex, false);

	if (err == 0)
		futimens(entry->fd, NULL); /* it was used now */
	if (err == -EWOULDBLOCK)
		image_fail(why, err, "'%s' is locked by another program", entry->path);
	return err;
}

/* It has to be made; the reason of another error is told. */
static bool image_cache_lacks(int err)
{
	return err < 0 && err != -EWOULDBLOCK;
}

static int image_cache_make(struct image_cache *cache, struct image_make *make, const char *hex,
			    const struct image_progress *progress, struct image_entry *entry,
			    struct image_why *why)
{
	int lock = image_cache_lock(cache, hex, true, progress), err;

	if (lock < 0)
		return image_fail(why, lock, "cannot lock the image cache '%s': %s", cache->path,
				  strerror(-lock));
	err = image_cache_use(cache, hex, entry, why);
	if (image_cache_lacks(err)) {
		char name[96];

		/* Of who was killed; the lock is ours. */
		snprintf(name, sizeof(name), "%s" IMAGE_ENTRY_SUFFIX NEW_SUFFIX, hex);
		unlinkat(cache->dir, name, 0);
		snprintf(name, sizeof(name), "%s" IMAGE_ENTRY_SUFFIX, hex);
		err = image_make_file(make, cache->dir, cache->path, name, true, progress, why);
		if (err == 0) {
			err = image_cache_use(cache, hex, entry, why);
			if (image_cache_lacks(err))
				image_fail(why, err, "cannot open '%s/%s': %s", cache->path, name,
					   strerror(-err));
		}
	}
	close(lock);
	return err;
}

int image_cache_get(struct image_cache *cache, const struct image_ref *ref,
		    const struct image_progress *progress, struct image_entry *entry,
		    struct image_why *why)
{
	char hex[HEX_DIGITS + 1];
	uint64_t size;
	struct image_memo memo;
	struct image_make make;
	int err = image_memo_init(&memo, ref, why);

	if (err < 0)
		return err;
	if (image_memo_read(&memo, cache, hex)) {
		err = image_cache_use(cache, hex, entry, why);
		if (!image_cache_lacks(err))
			return err;
	}
	err = image_make_open(&make, ref, why);
	if (err == 0) {
		snprintf(hex, sizeof(hex), "%s", image_make_digest(&make) + strlen("sha256:"));
		/* The same image may have come from elsewhere. */
		err = image_cache_use(cache, hex, entry, why);
		if (image_cache_lacks(err))
			err = image_cache_make(cache, &make, hex, progress, entry, why);
		if (err == 0) {
			image_memo_write(&memo, cache, hex);
			image_cache_trim(cache, cache->bound, &size, why);
		}
	}
	image_make_close(&make);
	return err;
}

/* ---- all of them ---- */

struct image_list {
	struct image_entry *entries;
	size_t n;
};

static void image_list_free(struct image_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		image_entry_close(&list->entries[i]);
	free(list->entries);
	*list = (struct image_list){0};
}

static bool image_name_ends(const char *name, const char *suffix)
{
	size_t len = strlen(name), n = strlen(suffix);

	return len >= n && strcmp(name + len - n, suffix) == 0;
}

/* Of our making: the directory may hold what is none of ours. */
static bool image_name_is_new(const char *name)
{
	char base[NAME_MAX + 1];
	size_t n = strlen(name) - strlen(NEW_SUFFIX);

	if (!image_name_ends(name, NEW_SUFFIX))
		return false;
	snprintf(base, sizeof(base), "%.*s", (int)n, name);
	return image_memo_is(base) || (strspn(base, "0123456789abcdef") == HEX_DIGITS &&
				       strcmp(base + HEX_DIGITS, IMAGE_ENTRY_SUFFIX) == 0);
}

static int image_list_add(struct image_list *list, const struct image_cache *cache,
			  const char *name)
{
	struct image_entry *entries = realloc(list->entries,
					      (list->n + 1) * sizeof(*list->entries));
	int err;

	if (!entries)
		return -ENOMEM;
	list->entries = entries;
	err = image_entry_open(&entries[list->n], cache, name, true);
	if (err == 0)
		list->n++;
	/* One that cannot be looked at would neither count nor go. */
	return err == -EMFILE || err == -ENFILE || err == -ENOMEM ? err : 0;
}

static int image_list_compare(const void *a, const void *b)
{
	const struct image_entry *x = a, *y = b;

	return x->used < y->used ? 1 : x->used > y->used ? -1 : strcmp(x->digest, y->digest);
}

/* sweep: names that lead nowhere, and remains of who was interrupted. */
static int image_cache_look(struct image_cache *cache, struct image_list *list, bool sweep,
			    struct image_why *why)
{
	int fd = openat(cache->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0, lock;
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *d;

	*list = (struct image_list){0};
	if (!dir)
		return image_fail(why, -errno, "cannot read the image cache '%s': %m", cache->path);
	while (err == 0 && (d = readdir(dir))) {
		const char *name = d->d_name;

		if (image_name_ends(name, IMAGE_ENTRY_SUFFIX) &&
		    strspn(name, "0123456789abcdef") == HEX_DIGITS) {
			err = image_list_add(list, cache, name);
		} else if (sweep && image_memo_is(name)) {
			image_memo_sweep(cache, name);
		} else if (sweep && image_name_is_new(name)) {
			lock = image_cache_lock(cache, name, false, NULL);
			if (lock >= 0) {
				unlinkat(cache->dir, name, 0);
				close(lock);
			}
		}
	}
	closedir(dir);
	if (err < 0) {
		image_list_free(list);
		return image_fail(why, err, "cannot read the image cache '%s': %s", cache->path,
				  strerror(-err));
	}
	if (list->n > 0)
		qsort(list->entries, list->n, sizeof(*list->entries), image_list_compare);
	return 0;
}

static const char *image_entry_file(const struct image_entry *entry)
{
	return strrchr(entry->path, '/') + 1;
}

int image_cache_list(struct image_cache *cache, image_cache_fn *fn, void *arg,
		     struct image_why *why)
{
	struct image_list list;
	int err = image_cache_look(cache, &list, false, why);

	for (size_t i = 0; i < list.n; i++) {
		bool used = !image_entry_take(&list.entries[i], false);

		/* fn may wait for a terminal, and nobody shall wait for it. */
		flock(list.entries[i].fd, LOCK_UN);
		fn(arg, &list.entries[i], used);
	}
	image_list_free(&list);
	return err;
}

const char *image_entry_name(const struct image_entry *entry)
{
	const char *name;

	if (entry->config.size == 0)
		return "(damaged, or of another version of vmm)";
	name = image_config_string(&entry->config, IMAGE_CONFIG_NAME);
	return *name ? name : image_config_string(&entry->config, IMAGE_CONFIG_SOURCE);
}

int image_cache_remove(struct image_cache *cache, const char *name, struct image_why *why)
{
	const char *hex = strncmp(name, "sha256:", 7) == 0 ? name + 7 : name;
	struct image_entry *found = NULL;
	struct image_list list;
	size_t n = 0;
	int err = image_cache_look(cache, &list, false, why);

	if (err < 0)
		return err;
	for (size_t i = 0; i < list.n; i++) {
		struct image_entry *e = &list.entries[i];

		if (strcmp(image_entry_name(e), name) != 0 &&
		    (strlen(hex) < 4 || strncmp(e->digest + 7, hex, strlen(hex)) != 0))
			continue;
		found = e;
		n++;
	}
	if (n != 1)
		err = image_fail(why, n ? -EINVAL : -ENOENT, "%s image '%s' in '%s'",
				 n ? "more than one" : "no", name, cache->path);
	else if (!image_entry_take(found, true))
		err = image_fail(why, -EBUSY, "image '%s' is in use by a machine", name);
	else if (unlinkat(cache->dir, image_entry_file(found), 0) < 0)
		err = image_fail(why, -errno, "cannot remove '%s': %m", found->path);
	image_list_free(&list);
	if (err == 0 && image_cache_look(cache, &list, true, why) == 0)
		image_list_free(&list);
	return err;
}

int image_cache_trim(struct image_cache *cache, uint64_t bound, uint64_t *size,
		     struct image_why *why)
{
	struct image_list list;
	int err = image_cache_look(cache, &list, false, why);

	*size = 0;
	if (err < 0)
		return err;
	for (size_t i = 0; i < list.n; i++)
		*size += list.entries[i].size;
	for (size_t i = list.n; i-- > 0 && *size > bound;) {
		struct image_entry *e = &list.entries[i];

		if (image_entry_take(e, false) && unlinkat(cache->dir, image_entry_file(e), 0) == 0)
			*size -= e->size;
	}
	image_list_free(&list);
	/* Now it is known what leads nowhere. */
	err = image_cache_look(cache, &list, true, why);
	image_list_free(&list);
	return err;
}
