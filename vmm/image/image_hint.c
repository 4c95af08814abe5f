#include "vmm/image/image_hint.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK	    512	  /* of a tar archive */
#define MAX_MEMBERS 65536 /* that are looked at */

const char *image_hint_packed(int fd)
{
	static const struct {
		const char *magic;
		size_t len;
		const char *how;
	} packers[] = {{"\x1f\x8b", 2, "gzip -d"},
		       {"\x28\xb5\x2f\xfd", 4, "zstd -d"},
		       {"\xfd"
			"7zXZ",
			5, "xz -d"},
		       {"BZh", 3, "bzip2 -d"}};
	char bytes[5] = "";

	if (pread(fd, bytes, sizeof(bytes), 0) < 0)
		return NULL;
	for (size_t i = 0; i < sizeof(packers) / sizeof(packers[0]); i++) {
		if (memcmp(bytes, packers[i].magic, packers[i].len) == 0)
			return packers[i].how;
	}
	return NULL;
}

static bool hint_is_tar(int fd, off_t at, char head[static BLOCK])
{
	return pread(fd, head, BLOCK, at) == BLOCK && memcmp(head + 257, "ustar", 5) == 0;
}

/* The octal number in a head. False: it is larger, and written otherwise. */
static bool hint_size(const char *head, uint64_t *size)
{
	const char *digit = head + 124;

	*size = 0;
	for (int i = 0; i < 11; i++) {
		if (digit[i] < '0' || digit[i] > '7')
			return false;
		*size = 8 * *size + (uint64_t)(digit[i] - '0');
	}
	return true;
}

/* By the members at its top. docker's newer archives are of both kinds. "": it has no image; NULL: that is not to be seen. */
static const char *hint_archive(int fd)
{
	const char *kind = "";
	char head[BLOCK];
	uint64_t size;
	off_t at = 0;

	for (int i = 0; i < MAX_MEMBERS && hint_is_tar(fd, at, head); i++) {
		const char *name = strncmp(head, "./", 2) == 0 ? head + 2 : head;

		if (strncmp(name, "manifest.json", 98) == 0)
			return "docker-archive:";
		if (strncmp(name, "index.json", 98) == 0)
			kind = "oci-archive:";
		/* An extended head may say another size than what follows. */
		if (!hint_size(head, &size) || head[156] == 'x' || head[156] == 'g')
			return *kind ? kind : NULL;
		at += BLOCK * (off_t)(1 + (size + BLOCK - 1) / BLOCK);
	}
	return kind;
}

int image_hint_correct(const char *path, const char *prefix, struct image_why *why)
{
	return image_fail(why, -EINVAL, "'%s' has to be called %s%s", path, prefix, path);
}

static bool hint_on_file(const char *path, int fd, struct image_why *why)
{
	const char *how = image_hint_packed(fd), *kind;
	char head[BLOCK];

	if (how) {
		image_fail(why, 0, "'%s' is packed as a whole; unpack it first: %s", path, how);
		return true;
	}
	if (!hint_is_tar(fd, 0, head))
		return false;
	kind = hint_archive(fd);
	if (!kind)
		return false;
	if (*kind)
		image_hint_correct(path, kind, why);
	else
		image_fail(why, 0, "'%s' is an archive of no image; a root may be a directory",
			   path);
	return true;
}

static bool hint_on_path(const char *path, struct image_why *why)
{
	bool said = false;
	struct stat st;
	int fd;

	/* No device is opened for a guess. */
	if (stat(path, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return false;
	if (S_ISREG(st.st_mode)) {
		said = hint_on_file(path, fd, why);
	} else if (faccessat(fd, "oci-layout", F_OK, 0) == 0) {
		image_hint_correct(path, "oci:", why);
		said = true;
	}
	close(fd);
	return said;
}

/* Of what is not there itself: the path behind a prefix, or what is a registry's or a daemon's. */
bool image_hint(const char *text, struct image_why *why)
{
	size_t len = strcspn(text, ":/");
	const char *rest = text + len;
	char path[PATH_MAX];

	if (access(text, F_OK) == 0)
		return hint_on_path(text, why);
	if (*rest != ':' || len == 0 || image_ref_is(text))
		return false;
	rest += strncmp(rest, "://", 3) == 0 ? 3 : 1;
	snprintf(path, sizeof(path), "%.*s", (int)strcspn(rest, ":"), rest);
	if (hint_on_path(path, why))
		return true;
	image_fail(why, 0,
		   "'%s': no image is fetched: docker save -o FILE NAME (or podman save, skopeo "
		   "copy), then docker-archive:FILE",
		   text);
	return true;
}

int image_hint_fail(const struct image_ref *ref, int err, const char *path, struct image_why *why)
{
	if (err == -ENOTDIR && ref->kind == IMAGE_OCI_DIR && image_hint(ref->path, why))
		return -EINVAL;
	return image_fail(why, err, "cannot open image '%s': %s", path, strerror(-err));
}
