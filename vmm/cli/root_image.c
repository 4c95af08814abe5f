/* --root docker-archive:FILE and the like: the image's file system from the cache, and how its command runs. */
#include "vmm/cli/root.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guest/passwd.h"
#include "vmm/cli/image_store.h"
#include "vmm/cli/report.h"

/* They live as long as the image. */
static char *root_image_string(const struct root *root, uint32_t n)
{
	const struct image_config *config = &root->image.config;
	const char *string = image_config_string(config, n);

	return config->text + (string - config->text);
}

/* There may be very many: each is looked for from the one before. */
static char *root_image_next(char **at)
{
	char *string = *at;

	*at += strlen(string) + 1;
	return string;
}

/* For the one of that number, which need not be there, to be the next. */
static char *root_image_begin(const struct root *root, uint32_t n)
{
	char *at = root_image_string(root, n - 1);

	root_image_next(&at);
	return at;
}

/* As docker does it: what is behind "--" stands for the image's command, and its entrypoint stays. */
static int root_image_choose_command(const struct root *root, struct options *options)
{
	const struct image_config *config = &root->image.config;
	uint32_t n = 0, given = 0;
	char **args, *at;

	while (options->command[given])
		given++;
	args = calloc((size_t)config->n_entrypoint + config->n_cmd + given + 1, sizeof(*args));
	if (!args) {
		report("out of memory");
		return -ENOMEM;
	}
	at = root_image_begin(root, IMAGE_CONFIG_STRINGS);
	while (n < config->n_entrypoint + (given == 0 ? config->n_cmd : 0))
		args[n++] = root_image_next(&at);
	for (uint32_t i = 0; i < given; i++)
		args[n++] = options->command[i];
	options->command = args;
	if (n > 0 && *args[0])
		return 0;
	return report_refuse("image '%s' says of no command that it shall run: vmm ... -- COMMAND",
			     options->root);
}

static int root_image_choose_env(const struct root *root, struct options *options)
{
	static const char *const of_root[] = {"HOME=", "USER=", "LOGNAME="};
	static const char *const of_host[] = {"LANG=",
					      "LC_"}; /* locales that an image may not have */
	const struct image_config *config = &root->image.config;
	uint32_t first = IMAGE_CONFIG_STRINGS + config->n_entrypoint + config->n_cmd;
	char *at = root_image_begin(root, first);
	int err = 0;

	for (size_t i = 0; i < 2; i++)
		options_drop_env(options, of_host[i]);
	/* The guest finds out what another user's are. */
	for (size_t i = 0; *root->user && i < 3; i++)
		options_drop_env(options, of_root[i]);
	for (uint32_t i = 0; i < config->n_env && err == 0; i++)
		err = options_add_env(options, root_image_next(&at));
	return err;
}

/* What the guest would find out, where that can be known before. */
static int root_image_check_user(const struct root *root, const struct options *options)
{
	const struct image_config *config = &root->image.config;
	uint32_t end = image_config_end(config);
	const char *passwd = image_config_string(config, end);
	struct passwd_user user;
	enum passwd_answer answer;

	/* What is shared may lie above the image's own. */
	if (!passwd || options->config.n_shares > 0)
		return 0;
	answer = passwd_find(root->user, passwd, image_config_string(config, end + 1), &user);
	if (answer == PASSWD_OK)
		return 0;
	return report_refuse("'%s': %s%s", options->root, passwd_problem(answer), root->user);
}

static int root_image_use(struct root *root, struct options *options)
{
	const char *directory = root_image_string(root, IMAGE_CONFIG_DIRECTORY);
	int err;

	root->type = "squashfs";
	root_look_at_squashfs(root, root->image.fd);
	root->container = true;
	root->readonly = true;
	root->path = root->image.path;
	root->user = root_image_string(root, IMAGE_CONFIG_USER);
	if (*directory && (size_t)snprintf(root->directory, sizeof(root->directory), "%s",
					   directory) >= sizeof(root->directory)) {
		report("image '%s': its working directory has too long a name", options->root);
		return -ENAMETOOLONG;
	}
	err = root_image_check_user(root, options);
	if (err == 0)
		err = root_image_choose_command(root, options);
	if (err == 0)
		err = root_image_choose_env(root, options);
	return err == 0 ? root_add_disk(root, options) : err;
}

int root_open_container(struct root *root, struct options *options)
{
	struct image_cache cache;
	struct image_ref ref;
	struct image_why why;
	int err;

	if (options->root_keep || options->root_packed || options->root_shared)
		return report_refuse(
			"--root '%s': a container image is never changed, and takes no items",
			options->root);
	err = image_ref_parse(&ref, options->root, &why);
	if (err < 0) {
		report("--root %s", why.text);
		return err;
	}
	err = image_store_open(&cache, options->image_cache, options->image_cache_size);
	if (err < 0)
		return err;
	err = image_cache_get(&cache, &ref, &image_store_progress, &root->image, &why);
	image_cache_close(&cache);
	if (err == 0)
		return root_image_use(root, options);
	report_status_end();
	report("%s", why.text);
	return err;
}
