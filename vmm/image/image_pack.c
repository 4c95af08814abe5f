#include "vmm/image/image_pack.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/image/image_file.h"
#include "vmm/image/image_hint.h"
#include "vmm/image/image_make.h"
#include "vmm/image/image_ref.h"

#define OUTPUT "/proc/self/fd/3"
#define MIB    (UINT64_C(1) << 20)

/* How to make one of a directory; "@" stands for that, "%" for the files and "#" for a size that suffice. */
static const struct image_packer {
	const char *suffix;
	const char *package;
	const char *argv[16];
} image_packers[] = {
	{".squashfs",
	 "squashfs-tools",
	 {"mksquashfs", "@", OUTPUT, "-comp", "lz4", "-noappend", "-quiet", "-no-progress",
	  "-exit-on-error" /* a file that cannot be read */}},
	{".erofs", "erofs-utils", {"mkfs.erofs", "--quiet", OUTPUT, "@"}},
	{".ext4",
	 "e2fsprogs",
	 {"mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-N", "%", "-d", "@", OUTPUT, "#"}},
};

#define N_PACKERS (sizeof(image_packers) / sizeof(image_packers[0]))

static const struct image_packer *image_pack_find(const char *path)
{
	size_t len = strlen(path);

	for (size_t i = 0; i < N_PACKERS; i++) {
		size_t n = strlen(image_packers[i].suffix);

		if (len > n && strcmp(path + len - n, image_packers[i].suffix) == 0)
			return &image_packers[i];
	}
	return NULL;
}

/* nftw() has no argument for us; one thread. */
static uint64_t image_pack_bytes, image_pack_files;

static int image_pack_count(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)path, (void)type, (void)ftw;
	/* A file has an inode, and whole blocks. */
	image_pack_files++;
	image_pack_bytes += 1024 + ((uint64_t)st->st_size + 4095) / 4096 * 4096;
	return 0;
}

/* A quarter more, and 64 MiB to begin with. */
static void image_pack_size(char text[32])
{
	snprintf(text, 32, "%lluM", (unsigned long long)(image_pack_bytes / 4 * 5 / MIB + 64));
}

/* The same, but not fewer than mke2fs would have. */
static void image_pack_inodes(const char *dir, char text[32])
{
	uint64_t n;

	image_pack_bytes = image_pack_files = 0;
	nftw(dir, image_pack_count, 64, FTW_PHYS);
	n = image_pack_files / 4 * 5 + 1024;
	if (n < image_pack_bytes / 16384)
		n = image_pack_bytes / 16384;
	snprintf(text, 32, "%llu", (unsigned long long)n);
}

static int image_pack_run(const struct image_packer *packer, const char *from,
			  struct image_file *file, const struct image_progress *progress,
			  struct image_why *why)
{
	struct image_tool tool = {.name = packer->argv[0],
				  .package = packer->package,
				  .remove = file->named ? file->path : NULL};
	char words[16][PATH_MAX], *argv[17] = {NULL};
	int err = image_tool_check(&tool, why);

	if (err < 0)
		return err;
	for (size_t i = 0; i < 16 && packer->argv[i]; i++) {
		snprintf(words[i], sizeof(words[i]), "%s",
			 strcmp(packer->argv[i], "@") == 0 ? from : packer->argv[i]);
		if (strcmp(packer->argv[i], "#") == 0)
			image_pack_size(words[i]);
		if (strcmp(packer->argv[i], "%") == 0)
			image_pack_inodes(from, words[i]);
		argv[i] = words[i];
	}
	err = image_tool_start(&tool, argv, file->fd, false, why);
	return err == 0 ? image_tool_finish(&tool, progress, why) : err;
}

static int image_pack_dir(const struct image_packer *packer, const char *from, const char *path,
			  const struct image_progress *progress, struct image_why *why)
{
	char dir_path[PATH_MAX], full[PATH_MAX];
	struct image_file file;
	const char *name;
	int dir, err;

	/* As no option of a program looks. */
	if ((size_t)snprintf(full, sizeof(full), "%s%s", from[0] == '-' ? "./" : "", from) >=
	    sizeof(full))
		return image_fail(why, -ENAMETOOLONG, "'%.100s...': the path is too long", from);
	dir = image_make_dir(path, dir_path, &name, why);
	if (dir < 0)
		return dir;
	err = image_file_begin(&file, dir, dir_path, name, false);
	if (err < 0) {
		image_fail(why, err, "cannot write '%s': %s", path, strerror(-err));
	} else {
		err = image_pack_run(packer, full, &file, progress, why);
		if (err < 0)
			image_file_abandon(&file);
		else if ((err = image_file_finish(&file)) < 0)
			image_fail(why, err, "cannot write '%s': %s", path, strerror(-err));
	}
	close(dir);
	return err;
}

int image_pack(const char *from, const char *path, const struct image_progress *progress,
	       struct image_why *why)
{
	const struct image_packer *packer = image_pack_find(path);
	struct image_ref ref;
	struct stat st;
	int err;

	if (!packer)
		return image_fail(why, -EINVAL,
				  "'%s': which file system? A name ends with .squashfs, .erofs or "
				  ".ext4",
				  path);
	if (lstat(path, &st) == 0)
		return image_fail(why, -EEXIST, "'%s' is there already", path);
	if (image_ref_is(from)) {
		if (packer != image_packers)
			return image_fail(why, -EINVAL,
					  "'%s': of a container image vmm makes a squashfs alone; "
					  "the name ends with .squashfs",
					  path);
		err = image_ref_parse(&ref, from, why);
		return err == 0 ? image_build(&ref, path, progress, why) : err;
	}
	err = stat(from, &st) < 0 ? -errno : S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
	if (err < 0 && image_hint(from, why))
		return err;
	if (err < 0 && err != -ENOTDIR)
		return image_fail(why, err, "cannot open '%s': %s", from, strerror(-err));
	if (err < 0)
		return image_fail(why, -ENOTDIR,
				  "'%s' is no directory, and no docker-archive:, oci-archive: or "
				  "oci:",
				  from);
	return image_pack_dir(packer, from, path, progress, why);
}
