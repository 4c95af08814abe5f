#include "vmm/image/image_find.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAX_INDEXES 4 /* one leading to another */

/* Lists what there is, for a user who has to choose. */
static void image_find_list(char *list, size_t size, const char *name)
{
	size_t len = strlen(list);

	if (*name && len + 8 < size)
		snprintf(list + len, size - len, "%s%.60s", len ? ", " : "", name);
}

static int image_find_none(const struct image_source *source, const char *list,
			   struct image_why *why)
{
	const struct image_ref *ref = source->ref;

	if (ref->name[0] || ref->digest[0])
		return image_fail(why, -ENOENT, "'%s' has no image '%s'; it has: %s", ref->path,
				  ref->digest[0] ? ref->digest : ref->name,
				  *list ? list : "none with a name");
	if (*list)
		return image_fail(why, -EINVAL,
				  "'%s' has several images; say which: %s:NAME, of %s", ref->path,
				  ref->path, list);
	return image_fail(why, -EINVAL, "'%s' has no image, or several without a name", ref->path);
}

/* ---- docker ---- */

/* "busybox" is "busybox:latest". */
static bool image_find_is_tag(const char *tag, const char *name)
{
	size_t len = strlen(name);

	return strcmp(tag, name) == 0 ||
	       (strncmp(tag, name, len) == 0 && strcmp(tag + len, ":latest") == 0);
}

/* Returns whether a tag of the image is the name. */
static bool image_find_tag(const struct image_json *json, const json_t *image, const char *name,
			   char *list, size_t size)
{
	const json_t *tags = image_json_array(json, image, "RepoTags");
	size_t n = tags ? json->libs->json_array_size(tags) : 0;
	bool found = false;

	for (size_t i = 0; i < n; i++) {
		const char *tag =
			json->libs->json_string_value(json->libs->json_array_get(tags, i));

		if (!tag)
			continue;
		found |= image_find_is_tag(tag, name);
		image_find_list(list, size, tag);
	}
	return found;
}

int image_find_docker(const struct image_source *source, const struct image_json *manifests,
		      const json_t **image, char *name, size_t size, struct image_why *why)
{
	const struct image_libs *libs = manifests->libs;
	const struct image_ref *ref = source->ref;
	size_t n = json_is_array(manifests->root) ? libs->json_array_size(manifests->root) : 0;
	char list[512] = "";

	*image = NULL;
	for (size_t i = 0; i < n; i++) {
		const json_t *one = libs->json_array_get(manifests->root, i);
		const char *config = image_json_string(manifests, one, "Config");
		bool is = image_find_tag(manifests, one, ref->name, list, sizeof(list));

		if (ref->digest[0])
			is = strstr(config, ref->digest + 7) != NULL;
		else if (!ref->name[0])
			is = n == 1;
		if (is && !*image)
			*image = one;
	}
	if (!*image)
		return image_find_none(source, list, why);
	if (ref->name[0]) {
		snprintf(name, size, "%s", ref->name);
	} else {
		const json_t *tags = image_json_array(manifests, *image, "RepoTags");
		const char *tag = libs->json_string_value(libs->json_array_get(tags, 0));

		snprintf(name, size, "%s", tag ? tag : "");
	}
	return 0;
}

/* ---- OCI ---- */

int image_find_digest(const struct image_source *source, const struct image_json *json,
		      const json_t *descriptor, char digest[72], struct image_why *why)
{
	const char *text = image_json_string(json, descriptor, "digest");
	const json_t *size = json->libs->json_object_get(descriptor, "size");
	struct image_blob blob;
	int err;

	if (!image_digest_is_good(text))
		return image_fail(why, -ENOTSUP,
				  "'%s': vmm knows digests of sha256 alone, not '%.100s'",
				  source->ref->path, text);
	snprintf(digest, 72, "%s", text);
	err = image_source_find_digest(source, digest, &blob, why);
	if (err < 0)
		return err;
	if (!size || !json_is_integer(size) ||
	    (uint64_t)json->libs->json_integer_value(size) != blob.size)
		err = image_fail(why, -EBADMSG,
				 "'%s': blob %s has not the size that it should have",
				 source->ref->path, digest);
	image_source_release(source, &blob);
	return err;
}

static bool image_find_is_index(const char *type)
{
	return strcmp(type, "application/vnd.oci.image.index.v1+json") == 0 ||
	       strcmp(type, "application/vnd.docker.distribution.manifest.list.v2+json") == 0;
}

/* What the image is called, by whoever wrote the index. */
static const char *image_find_name(const struct image_json *json, const json_t *descriptor)
{
	const json_t *notes = json->libs->json_object_get(descriptor, "annotations");
	const char *name = image_json_string(json, notes, "io.containerd.image.name");

	return *name ? name : image_json_string(json, notes, "org.opencontainers.image.ref.name");
}

static bool image_find_is_named(const struct image_source *source, const struct image_json *json,
				const json_t *descriptor)
{
	const struct image_ref *ref = source->ref;
	const json_t *notes = json->libs->json_object_get(descriptor, "annotations");

	if (ref->digest[0])
		return strcmp(image_json_string(json, descriptor, "digest"), ref->digest) == 0;
	return strcmp(image_json_string(json, notes, "org.opencontainers.image.ref.name"),
		      ref->name) == 0 ||
	       image_find_is_tag(image_json_string(json, notes, "io.containerd.image.name"),
				 ref->name);
}

/* 0: another platform's; 1: it does not say; 2: ours, of a newer CPU; 3: ours, of any. */
static unsigned int image_find_platform(const struct image_json *json, const json_t *descriptor)
{
	const json_t *platform = json->libs->json_object_get(descriptor, "platform");
	const char *os = image_json_string(json, platform, "os");
	const char *arch = image_json_string(json, platform, "architecture");
	const char *variant = image_json_string(json, platform, "variant");

	if (!*os && !*arch)
		return 1;
	if (strcmp(os, "linux") != 0 || strcmp(arch, "amd64") != 0)
		return 0;
	return !*variant || strcmp(variant, "v1") == 0 ? 3 : 2;
}

static void image_find_list_platform(const struct image_json *json, const json_t *descriptor,
				     char *list, size_t size)
{
	const json_t *platform = json->libs->json_object_get(descriptor, "platform");
	char text[64];

	snprintf(text, sizeof(text), "%.25s/%.25s", image_json_string(json, platform, "os"),
		 image_json_string(json, platform, "architecture"));
	if (strcmp(text, "/") != 0)
		image_find_list(list, size, text);
}

/*
 * The one that is meant: of the name, if one is given, in the first index; for this platform. Several that are not the same leave it
 * open.
 */
static int image_find_one(const struct image_source *source, const struct image_json *json,
			  bool first, const json_t **found, struct image_why *why)
{
	const struct image_libs *libs = json->libs;
	const json_t *list = image_json_array(json, json->root, "manifests");
	bool named = first && (source->ref->name[0] || source->ref->digest[0]);
	unsigned int best = 0, n_best = 0;
	char names[512] = "", platforms[512] = "";
	size_t n = list ? libs->json_array_size(list) : 0;

	*found = NULL;
	for (size_t i = 0; i < n; i++) {
		const json_t *one = libs->json_array_get(list, i);
		unsigned int fit = image_find_platform(json, one);

		image_find_list(names, sizeof(names), image_find_name(json, one));
		if (named && !image_find_is_named(source, json, one))
			continue;
		image_find_list_platform(json, one, platforms, sizeof(platforms));
		if (fit == 0 || fit < best)
			continue;
		/* Several tags of the same. */
		if (fit == best && strcmp(image_json_string(json, one, "digest"),
					  image_json_string(json, *found, "digest")) == 0)
			continue;
		n_best = fit > best ? 1 : n_best + 1;
		if (fit > best)
			*found = one;
		best = fit;
	}
	if (best == 0 && *platforms)
		return image_fail(why, -ENOTSUP, "'%s' has no image for linux/amd64; it has: %s",
				  source->ref->path, platforms);
	/* Of several variants for newer CPUs alone the first is as good as any. */
	if (n_best == 0 || (n_best > 1 && (first || best < 2)))
		return image_find_none(source, names, why);
	return 0;
}

int image_find_oci(const struct image_source *source, struct image_json *manifest, char *name,
		   size_t size, struct image_why *why)
{
	int err = image_json_read(manifest, source, "index.json", NULL, why);

	for (unsigned int depth = 0; err == 0; depth++) {
		const json_t *one = NULL;
		char digest[72], path[96];
		bool is_index;

		if (depth == MAX_INDEXES)
			err = image_fail(why, -ELOOP, "'%s': too many indexes lead to one another",
					 source->ref->path);
		if (err == 0)
			err = image_find_one(source, manifest, depth == 0, &one, why);
		if (err == 0)
			err = image_find_digest(source, manifest, one, digest, why);
		if (err < 0)
			break;
		if (depth == 0)
			snprintf(name, size, "%s",
				 source->ref->name[0] ? source->ref->name
						      : image_find_name(manifest, one));
		is_index = image_find_is_index(image_json_string(manifest, one, "mediaType"));
		image_json_close(manifest);
		snprintf(path, sizeof(path), "blobs/sha256/%s", digest + 7);
		err = image_json_read(manifest, source, path, digest, why);
		if (err == 0 && !is_index)
			return 0;
	}
	image_json_close(manifest);
	return err;
}
