#include "vmm/image/image_config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int image_config_add(struct image_config *config, const char *string)
{
	size_t len = strlen(string) + 1;

	if (len > IMAGE_MAX_CONFIG - config->size)
		return -E2BIG;
	if (len > config->room - config->size) {
		uint32_t room = 2 * config->room + (uint32_t)len;
		char *text = realloc(config->text, room);

		if (!text)
			return -ENOMEM;
		config->text = text;
		config->room = room;
	}
	memcpy(config->text + config->size, string, len);
	config->size += (uint32_t)len;
	return 0;
}

const char *image_config_string(const struct image_config *config, uint32_t n)
{
	const char *at = config->text, *end = config->text + config->size;

	for (; at < end; at += strlen(at) + 1) {
		if (n-- == 0)
			return at;
	}
	return NULL;
}

uint32_t image_config_end(const struct image_config *config)
{
	return IMAGE_CONFIG_STRINGS + config->n_entrypoint + config->n_cmd + config->n_env;
}

int image_config_check(const struct image_config *config)
{
	uint64_t n = 0, want = (uint64_t)IMAGE_CONFIG_STRINGS + config->n_entrypoint +
			       config->n_cmd + config->n_env;

	if (config->size == 0 || config->text[config->size - 1] != '\0')
		return -EINVAL;
	for (uint32_t i = 0; i < config->size; i++)
		n += config->text[i] == '\0';
	return n == want || n == want + 2 ? 0 : -EINVAL;
}

void image_config_fini(struct image_config *config)
{
	free(config->text);
	*config = (struct image_config){0};
}
