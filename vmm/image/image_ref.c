#include "vmm/image/image_ref.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define HEX_DIGITS 64

static const struct {
	const char *prefix;
	enum image_kind kind;
} image_kinds[] = {
	{"docker-archive:", IMAGE_DOCKER_ARCHIVE},
	{"oci-archive:", IMAGE_OCI_ARCHIVE},
	{"oci:", IMAGE_OCI_DIR},
};

#define N_KINDS (sizeof(image_kinds) / sizeof(image_kinds[0]))

static size_t image_ref_kind(const char *text)
{
	size_t i = 0;

	while (i < N_KINDS &&
	       strncmp(text, image_kinds[i].prefix, strlen(image_kinds[i].prefix)) != 0)
		i++;
	return i;
}

bool image_ref_is(const char *text)
{
	return image_ref_kind(text) < N_KINDS;
}

bool image_digest_is_good(const char *digest)
{
	return strncmp(digest, "sha256:", 7) == 0 && strlen(digest + 7) == HEX_DIGITS &&
	       strspn(digest + 7, "0123456789abcdef") == HEX_DIGITS;
}

int image_ref_parse(struct image_ref *ref, const char *text, struct image_why *why)
{
	size_t kind = image_ref_kind(text), len;
	const char *path, *at, *colon;

	*ref = (struct image_ref){0};
	if (kind == N_KINDS)
		return image_fail(why, -EINVAL,
				  "'%s' is no docker-archive:, oci-archive: or oci:", text);
	ref->kind = image_kinds[kind].kind;
	path = text + strlen(image_kinds[kind].prefix);
	at = strstr(path, "@sha256:");
	if (at && !image_digest_is_good(at + 1))
		return image_fail(why, -EINVAL, "'%s': a digest is sha256: and %d hex digits", text,
				  HEX_DIGITS);
	len = at ? (size_t)(at - path) : strlen(path);
	colon = memchr(path, ':', len);
	if (at)
		snprintf(ref->digest, sizeof(ref->digest), "%s", at + 1);
	if (colon) {
		size_t n = len - (size_t)(colon + 1 - path);

		if (n >= sizeof(ref->name))
			return image_fail(why, -EINVAL, "'%s': the image's name is too long", text);
		memcpy(ref->name, colon + 1, n);
		len = (size_t)(colon - path);
	}
	if (len == 0)
		return image_fail(why, -EINVAL, "'%s' names no %s", text,
				  ref->kind == IMAGE_OCI_DIR ? "directory" : "file");
	if (len >= sizeof(ref->path))
		return image_fail(why, -ENAMETOOLONG, "'%s': the path is too long", text);
	memcpy(ref->path, path, len);
	return 0;
}
