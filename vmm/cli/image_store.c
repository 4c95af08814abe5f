#include "vmm/cli/image_store.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/cli/cache_dir.h"
#include "vmm/cli/options.h"
#include "vmm/cli/progress.h"
#include "vmm/cli/report.h"

#define VARIABLE "VMM_IMAGE_CACHE"

static void image_store_step(void *arg, const char *what, const char *of)
{
	(void)arg;
	progress_step(what, of);
}

const struct image_progress image_store_progress = {.fn = image_store_step};

int image_store_open(struct image_cache *cache, const char *dir, uint64_t size)
{
	const char *variable = getenv(VARIABLE);
	char text[PATH_MAX + 64] = "", path[PATH_MAX];
	struct image_why why;
	int err;

	if (!dir && variable) {
		snprintf(text, sizeof(text), "%s", variable);
		err = options_image_cache(VARIABLE, text, &dir, &size);
		if (err < 0)
			return err;
	}
	if (!dir) {
		char home[PATH_MAX - 8];

		if (!cache_dir_find(getenv("XDG_CACHE_HOME"), getenv("HOME"), home, sizeof(home))) {
			report("there is no directory for container images: neither HOME nor "
			       "XDG_CACHE_HOME is an absolute path; name one by --image-cache");
			return -ENOENT;
		}
		snprintf(path, sizeof(path), "%s/images", home);
		dir = path;
	}
	err = image_cache_open(cache, dir, size, &why);
	if (err < 0)
		report("%s", why.text);
	return err;
}
