/* --share, and what goes with it */
#include "vmm/cli/option.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "vmm/cli/report.h"
#include "vmm/cli/value.h"

#define SHARE_TAG_MAX 36

static int option_share_refuse(const char *value, const char *why)
{
	return report_refuse("--share takes DIRECTORY:PATH[:ro|:rw]: '%s' %s", value, why);
}

/* What is mounted there shall be there, and not elsewhere. */
static bool option_share_is_plain(const char *path)
{
	while (*path) {
		size_t len = strcspn(++path, "/");

		if (len <= 2 && strncmp(path, "..", len) == 0 && (len > 0 || *path))
			return false;
		path += len;
	}
	return true;
}

/* Cuts value after the directory, and behind the path. */
static int option_share_place(struct vmm_share *share, char *value, const char **place)
{
	char *path = strstr(value, ":/"), *end;
	size_t len;

	if (!path || path == value)
		return option_share_refuse(value,
					   "has no directory, or no absolute path in the guest");
	*path++ = '\0';
	len = strlen(path);
	end = len > 3 ? path + len - 3 : path;
	share->writable = strcmp(end, ":ro") != 0;
	if (!share->writable || strcmp(end, ":rw") == 0)
		*end = '\0';
	for (len = strlen(path); len > 1 && path[len - 1] == '/'; len--)
		path[len - 1] = '\0';
	if (len == 1 || len >= PATH_MAX)
		return option_share_refuse(path, len == 1 ? "is the root, for which there is --root"
							  : "is too long");
	if (strchr(path, ':'))
		return option_share_refuse(path,
					   "has a colon: behind the place is :ro, :rw or nothing");
	if (!option_share_is_plain(path))
		return option_share_refuse(path, "has a part that is empty, '.' or '..'");
	share->path = value;
	*place = path;
	return 0;
}

static int option_share_cache(struct vmm_share *share, const char *cache)
{
	static const char *const names[] = {[VMM_SHARE_CACHE_AUTO] = "auto",
					    [VMM_SHARE_CACHE_ALWAYS] = "always",
					    [VMM_SHARE_CACHE_NEVER] = "never"};
	int i = option_choose("share cache=", cache, names, 3);

	share->cache = (enum vmm_share_cache)i;
	return i < 0 ? i : 0;
}

int option_share(struct options *o, char *value)
{
	unsigned int n = o->config.n_shares;
	struct vmm_share *share = &o->shares[n];
	int err;

	if (n == VMM_MAX_SHARES)
		return report_refuse("a machine has at most %d shared directories", VMM_MAX_SHARES);
	*share = (struct vmm_share){.path = NULL};
	err = option_share_place(share, value_next_item(&value), &o->share_places[n]);
	while (value && err == 0) {
		char *item = value_next_item(&value), *cache = value_of(item, "cache");

		if (cache) {
			err = option_share_cache(share, cache);
		} else {
			report("--share has no option '%s'; there is cache=auto, always or never",
			       item);
			err = -EINVAL;
		}
	}
	for (unsigned int i = 0; i < n && err == 0; i++) {
		if (strcmp(o->share_places[i], o->share_places[n]) == 0)
			err = option_share_refuse(o->share_places[n], "has a directory already");
	}
	o->config.n_shares += err == 0;
	return err;
}

/* What is mounted later hides what was mounted below it: the upper one comes first. */
static void option_share_sort(struct options *o)
{
	for (unsigned int i = 0; i + 1 < o->config.n_shares; i++) {
		const char **place = &o->share_places[i], *lower = place[0];
		struct vmm_share *share = &o->shares[i], held = *share;

		if (strcmp(lower, place[1]) < 0)
			continue;
		place[0] = place[1];
		place[1] = lower;
		share[0] = share[1];
		share[1] = held;
		i = UINT_MAX; /* from the first one again: there are few */
	}
}

/* Programs need what is there in the guest, and this would hide it. */
static bool option_share_is_needed(const char *place)
{
	static const char *const needed[] = {"/dev", "/proc", "/sys"};

	return value_choice(place, needed, 3) >= 0;
}

/* A command's are mounted for it; by others each is found by its place. */
int options_check_shares(struct options *o)
{
	o->config.shares = o->shares;
	if (o->command)
		option_share_sort(o);
	for (unsigned int i = 0; i < o->config.n_shares; i++) {
		if (o->command && option_share_is_needed(o->share_places[i]))
			return option_share_refuse(o->share_places[i],
						   "is the guest's own; choose another place");
		if (o->command)
			snprintf(o->share_tags[i], sizeof(o->share_tags[i]), "share%u", i);
		else if (strlen(o->share_places[i] + 1) > SHARE_TAG_MAX)
			return option_share_refuse(o->share_places[i],
						   "is no tag: without a command it has at most 36 "
						   "bytes behind the slash");
		else
			strcpy(o->share_tags[i], o->share_places[i] + 1);
		o->shares[i].tag = o->share_tags[i];
	}
	return 0;
}
