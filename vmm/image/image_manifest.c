#include "vmm/image/image_manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/image/image_find.h"
#include "vmm/image/image_json.h"

static int image_manifest_refuse(const struct image_source *source, const char *what,
				 struct image_why *why)
{
	return image_fail(why, -EINVAL, "'%s': %s", source->ref->path, what);
}

/* ---- the configuration ---- */

static int image_manifest_keep(struct image_manifest *m, const struct image_source *source,
			       const char *string, struct image_why *why)
{
	int err = image_config_add(&m->config, string);

	return err == 0 ? 0
			: image_fail(why, err, "'%s': its configuration is too large",
				     source->ref->path);
}

static int image_manifest_keep_list(struct image_manifest *m, const struct image_source *source,
				    const struct image_json *json, const json_t *of,
				    const char *key, uint32_t *n, struct image_why *why)
{
	const json_t *list = image_json_array(json, of, key);
	size_t size = list ? json->libs->json_array_size(list) : 0;
	int err = 0;

	for (size_t i = 0; i < size && err == 0; i++) {
		const char *text =
			json->libs->json_string_value(json->libs->json_array_get(list, i));

		if (!text)
			return image_manifest_refuse(source, "its configuration is damaged", why);
		err = image_manifest_keep(m, source, text, why);
		(*n)++;
	}
	return err;
}

static int image_manifest_keep_all(struct image_manifest *m, const struct image_source *source,
				   const struct image_json *json, struct image_why *why)
{
	const json_t *config = json->libs->json_object_get(json->root, "config");
	int err = image_manifest_keep(m, source, m->name, why);

	if (err == 0)
		err = image_manifest_keep(m, source, source->ref->path, why);
	if (err == 0)
		err = image_manifest_keep(m, source, image_json_string(json, config, "User"), why);
	if (err == 0)
		err = image_manifest_keep(m, source, image_json_string(json, config, "WorkingDir"),
					  why);
	if (err == 0)
		err = image_manifest_keep_list(m, source, json, config, "Entrypoint",
					       &m->config.n_entrypoint, why);
	if (err == 0)
		err = image_manifest_keep_list(m, source, json, config, "Cmd", &m->config.n_cmd,
					       why);
	if (err == 0)
		err = image_manifest_keep_list(m, source, json, config, "Env", &m->config.n_env,
					       why);
	return err;
}

static int image_manifest_check_platform(const struct image_source *source,
					 const struct image_json *json, struct image_why *why)
{
	const char *os = image_json_string(json, json->root, "os");
	const char *arch = image_json_string(json, json->root, "architecture");

	if ((!*os || strcmp(os, "linux") == 0) && (!*arch || strcmp(arch, "amd64") == 0))
		return 0;
	return image_fail(why, -ENOTSUP, "'%s' is an image for %.40s/%.40s, not linux/amd64",
			  source->ref->path, os, arch);
}

static int image_manifest_take_diff_ids(struct image_manifest *m, const struct image_source *source,
					const struct image_json *json, struct image_why *why)
{
	const struct image_libs *libs = json->libs;
	const json_t *ids = image_json_array(json, libs->json_object_get(json->root, "rootfs"),
					     "diff_ids");
	size_t n = ids ? libs->json_array_size(ids) : 0;

	if (n != m->n_layers)
		return image_fail(why, -EINVAL,
				  "'%s': the configuration has %zu layers, the manifest %u",
				  source->ref->path, n, m->n_layers);
	for (size_t i = 0; i < n; i++) {
		const char *id = libs->json_string_value(libs->json_array_get(ids, i));

		if (!id || !image_digest_is_good(id))
			return image_manifest_refuse(
				source, "a layer's digest is not sha256: and 64 hex digits", why);
		snprintf(m->layers[i].diff_id, sizeof(m->layers[i].diff_id), "%s", id);
	}
	return 0;
}

/* digest: NULL when only its own name tells it. */
static int image_manifest_take_config(struct image_manifest *m, const struct image_source *source,
				      const char *name, const char *digest, struct image_why *why)
{
	struct image_json json;
	int err = image_json_read(&json, source, name, digest, why);

	if (err < 0)
		return err;
	snprintf(m->digest, sizeof(m->digest), "%s", json.digest);
	err = image_manifest_check_platform(source, &json, why);
	if (err == 0)
		err = image_manifest_take_diff_ids(m, source, &json, why);
	if (err == 0)
		err = image_manifest_keep_all(m, source, &json, why);
	image_json_close(&json);
	return err;
}

static int image_manifest_make_layers(struct image_manifest *m, const struct image_source *source,
				      size_t n, struct image_why *why)
{
	if (n == 0 || n > IMAGE_MAX_LAYERS)
		return image_fail(why, -EINVAL, "'%s': an image has 1 to %d layers, not %zu",
				  source->ref->path, IMAGE_MAX_LAYERS, n);
	m->layers = calloc(n, sizeof(*m->layers));
	m->n_layers = m->layers ? (uint32_t)n : 0;
	return m->layers ? 0 : image_fail(why, -ENOMEM, "out of memory");
}

/* ---- docker ---- */

/* What is named by a digest has it. */
static const char *image_manifest_named_digest(const char *name, char digest[72])
{
	const char *base = strrchr(name, '/');
	int n;

	base = base ? base + 1 : name;
	n = (int)strspn(base, "0123456789abcdef");
	if (n != 64 || (base[n] && strcmp(base + n, ".json") != 0))
		return NULL;
	snprintf(digest, 72, "sha256:%.64s", base);
	return digest;
}

static int image_manifest_read_docker(struct image_manifest *m, const struct image_source *source,
				      struct image_why *why)
{
	struct image_json json;
	const json_t *image, *layers;
	const char *config;
	char digest[72];
	int err = image_json_read(&json, source, "manifest.json", NULL, why);

	if (err < 0)
		return err;
	err = image_find_docker(source, &json, &image, m->name, sizeof(m->name), why);
	layers = err == 0 ? image_json_array(&json, image, "Layers") : NULL;
	if (err == 0)
		err = image_manifest_make_layers(
			m, source, layers ? json.libs->json_array_size(layers) : 0, why);
	for (uint32_t i = 0; i < m->n_layers && err == 0; i++) {
		const char *name =
			json.libs->json_string_value(json.libs->json_array_get(layers, i));

		m->layers[i].name = name ? strdup(name) : NULL;
		if (!m->layers[i].name)
			err = image_manifest_refuse(source, "a layer has no name", why);
	}
	if (err == 0) {
		config = image_json_string(&json, image, "Config");
		err = image_manifest_take_config(m, source, config,
						 image_manifest_named_digest(config, digest), why);
	}
	image_json_close(&json);
	return err;
}

/* ---- OCI ---- */

static bool image_manifest_is_layer(const char *type)
{
	static const char *const types[] = {
		"application/vnd.oci.image.layer.v1.tar",
		"application/vnd.oci.image.layer.v1.tar+gzip",
		"application/vnd.oci.image.layer.v1.tar+zstd",
		"application/vnd.oci.image.layer.nondistributable.v1.tar",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
		"application/vnd.docker.image.rootfs.diff.tar",
		"application/vnd.docker.image.rootfs.diff.tar.gzip",
		"application/vnd.docker.image.rootfs.diff.tar.zstd",
		"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strcmp(type, types[i]) == 0)
			return true;
	}
	return false;
}

static int image_manifest_take_layer(struct image_layer *layer, const struct image_source *source,
				     const struct image_json *json, const json_t *descriptor,
				     struct image_why *why)
{
	const char *type = image_json_string(json, descriptor, "mediaType");

	if (!image_manifest_is_layer(type))
		return image_fail(why, -ENOTSUP,
				  "'%s': vmm does not know layers of the type '%.100s'",
				  source->ref->path, type);
	return image_find_digest(source, json, descriptor, layer->digest, why);
}

static int image_manifest_read_oci(struct image_manifest *m, const struct image_source *source,
				   struct image_why *why)
{
	struct image_json json;
	const json_t *layers;
	char digest[72], name[96];
	int err = image_find_oci(source, &json, m->name, sizeof(m->name), why);

	if (err < 0)
		return err;
	layers = image_json_array(&json, json.root, "layers");
	err = image_manifest_make_layers(m, source, layers ? json.libs->json_array_size(layers) : 0,
					 why);
	for (uint32_t i = 0; i < m->n_layers && err == 0; i++)
		err = image_manifest_take_layer(&m->layers[i], source, &json,
						json.libs->json_array_get(layers, i), why);
	if (err == 0)
		err = image_find_digest(source, &json,
					json.libs->json_object_get(json.root, "config"), digest,
					why);
	if (err == 0) {
		snprintf(name, sizeof(name), "blobs/sha256/%s", digest + 7);
		err = image_manifest_take_config(m, source, name, digest, why);
	}
	image_json_close(&json);
	return err;
}

int image_manifest_read(struct image_manifest *m, const struct image_source *source,
			struct image_why *why)
{
	*m = (struct image_manifest){0};
	return source->ref->kind == IMAGE_DOCKER_ARCHIVE
		       ? image_manifest_read_docker(m, source, why)
		       : image_manifest_read_oci(m, source, why);
}

void image_manifest_fini(struct image_manifest *m)
{
	for (uint32_t i = 0; i < m->n_layers; i++)
		free(m->layers[i].name);
	free(m->layers);
	image_config_fini(&m->config);
	*m = (struct image_manifest){0};
}
