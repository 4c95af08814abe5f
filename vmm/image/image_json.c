#include "vmm/image/image_json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int image_json_read(struct image_json *json, const struct image_source *source, const char *name,
		    const char *digest, struct image_why *why)
{
	const struct image_libs *libs = source->libs;
	struct sha256_ctx sha;
	json_error_t error;
	char *text;
	size_t size;
	int err = image_source_read(source, name, digest, &text, &size, why);

	*json = (struct image_json){.libs = libs};
	if (err < 0)
		return err;
	libs->nettle_sha256_init(&sha);
	libs->nettle_sha256_update(&sha, size, (const uint8_t *)text);
	image_digest_of(libs, &sha, json->digest);
	/* A name that is there twice means two things to two readers. */
	json->root = libs->json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
	free(text);
	if (json->root)
		return 0;
	return image_fail(why, -EINVAL, "'%s': '%.200s' is no JSON that vmm takes: line %d: %s",
			  source->ref->path, name, error.line, error.text);
}

void image_json_close(struct image_json *json)
{
	if (json->root)
		json->libs->json_delete(json->root);
	json->root = NULL;
}

const char *image_json_string(const struct image_json *json, const json_t *of, const char *key)
{
	const char *text = json->libs->json_string_value(json->libs->json_object_get(of, key));

	return text ? text : "";
}

const json_t *image_json_array(const struct image_json *json, const json_t *of, const char *key)
{
	const json_t *array = json->libs->json_object_get(of, key);

	return array && json_is_array(array) ? array : NULL;
}
