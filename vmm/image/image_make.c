#include "vmm/image/image_make.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/image/image_cache.h"
#include "vmm/image/image_entry.h"
#include "vmm/image/image_file.h"

#ifdef VMM_HAVE_IMAGES
#include "vmm/image/image_unpack.h"

int image_make_open(struct image_make *make, const struct image_ref *ref, struct image_why *why)
{
	int err;

	*make = (struct image_make){.source = {.fd = -1}};
	err = image_libs_open(&make->libs, why);
	if (err == 0)
		err = image_source_open(&make->source, &make->libs, ref, why);
	if (err == 0)
		err = image_manifest_read(&make->manifest, &make->source, why);
	return err;
}

const char *image_make_digest(const struct image_make *make)
{
	return make->manifest.digest;
}

int image_make_file(struct image_make *make, int dir, const char *dir_path, const char *name,
		    bool sealed, const struct image_progress *progress, struct image_why *why)
{
	struct image_file file;
	int err = image_file_begin(&file, dir, dir_path, name, sealed);

	if (err == 0) {
		err = image_unpack(&make->source, &make->manifest, file.fd,
				   file.named ? file.path : NULL, progress, why);
		if (err < 0) {
			image_file_abandon(&file);
			return err;
		}
		if (sealed)
			err = image_entry_seal(file.fd, &make->manifest.config);
		if (err == 0)
			err = image_file_finish(&file);
		else
			image_file_abandon(&file);
	}
	return err == 0 ? 0
			: image_fail(why, err, "cannot write '%s/%s': %s", dir_path, name,
				     strerror(-err));
}

void image_make_close(struct image_make *make)
{
	image_manifest_fini(&make->manifest);
	image_source_close(&make->source);
	image_libs_close(&make->libs);
}

#else

int image_make_open(struct image_make *make, const struct image_ref *ref, struct image_why *why)
{
	(void)ref;
	return image_libs_open(&make->libs, why);
}

const char *image_make_digest(const struct image_make *make)
{
	(void)make;
	return "sha256:";
}

int image_make_file(struct image_make *make, int dir, const char *dir_path, const char *name,
		    bool sealed, const struct image_progress *progress, struct image_why *why)
{
	(void)dir, (void)dir_path, (void)name, (void)sealed, (void)progress;
	return image_libs_open(&make->libs, why);
}

void image_make_close(struct image_make *make)
{
	image_libs_close(&make->libs);
}
#endif

/* ---- to a file of the user's ---- */

int image_make_dir(const char *path, char dir_path[static PATH_MAX], const char **name,
		   struct image_why *why)
{
	const char *slash = strrchr(path, '/');
	int dir;

	*name = slash ? slash + 1 : path;
	if (snprintf(dir_path, PATH_MAX, "%.*s", slash ? (int)(slash - path) + 1 : 1,
		     slash ? path : ".") >= PATH_MAX)
		return image_fail(why, -ENAMETOOLONG, "'%.100s...': the path is too long", path);
	dir = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? image_fail(why, -errno, "cannot open '%s': %m", dir_path) : dir;
}

int image_build(const struct image_ref *ref, const char *path,
		const struct image_progress *progress, struct image_why *why)
{
	char dir_path[PATH_MAX];
	struct image_make make;
	const char *name;
	int dir = image_make_dir(path, dir_path, &name, why), err;

	if (dir < 0)
		return dir;
	err = image_make_open(&make, ref, why);
	if (err == 0)
		err = image_make_file(&make, dir, dir_path, name, false, progress, why);
	image_make_close(&make);
	close(dir);
	return err;
}
