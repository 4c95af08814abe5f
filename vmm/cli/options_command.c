/* What goes with -- COMMAND: --root, --env, --boot-timeout; and --events. */
#include "vmm/cli/option.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/cli/named.h"
#include "vmm/cli/report.h"
#include "vmm/cli/value.h"
#include "vmm/image/image_ref.h"

int option_root(struct options *o, char *value)
{
	char *path = value_next_item(&value);
	struct image_why why; /* as root_open_container() says */
	const struct {
		const char *name;
		bool *flag;
	} items[] = {{"rw", &o->root_keep},
		     {"packed", &o->root_packed},
		     {"shared", &o->root_shared},
		     {"mounts", &o->root_mounts}};

	if (*path == '\0')
		return report_refuse("--root takes a directory, an image or a container image");
	o->root = path;
	if (image_ref_is(path))
		image_ref_parse(&o->root_image, path, &why);
	while (value) {
		char *item = value_next_item(&value);
		unsigned int i = 0;

		while (i < 4 && strcmp(item, items[i].name) != 0)
			i++;
		if (i == 4 || *items[i].flag)
			return report_refuse(
				i == 4 ? "--root has no option '%s'; there are rw, shared, packed "
					 "and mounts"
				       : "--root: %s is given twice",
				item);
		*items[i].flag = true;
	}
	o->root_packed |= o->root_mounts;
	return 0;
}

int option_boot_timeout(struct options *o, char *value)
{
	if (strcmp(value, "0") == 0) {
		o->boot_timeout_ms = 0;
		return 0;
	}
	if (value_seconds(value, &o->boot_timeout_ms) == 0)
		return 0;
	return report_refuse("--boot-timeout takes a number of seconds up to 31622400 (366 days), "
			     "or 0 for none; "
			     "not '%s'",
			     value);
}

int option_events(struct options *o, char *value)
{
	if (*value == '\0')
		return report_refuse("--events takes the name of a file, or fd=N");
	o->events = value;
	return 0;
}

/* ---- the command's environment ---- */

static size_t name_length(const char *text)
{
	return strcspn(text, "=");
}

/* The place of a variable; text begins with its name and the equals sign, which are len bytes. */
static unsigned int find_env(const struct options *o, const char *text, size_t len)
{
	unsigned int i = 0;

	while (i < o->n_env && strncmp(o->env[i], text, len) != 0)
		i++;
	return i;
}

/* text is NAME=VALUE; a later one wins. */
static int set_env(struct options *o, char *text)
{
	unsigned int i = find_env(o, text, name_length(text) + 1);

	if (i == OPTIONS_MAX_ENV)
		return report_refuse("a command has at most %d variables", OPTIONS_MAX_ENV);
	o->env[i] = text;
	o->env_is_given[i] = o->env_given;
	if (i == o->n_env)
		o->n_env++;
	return 0;
}

int options_add_env(struct options *o, char *text)
{
	size_t len = name_length(text);
	unsigned int i = find_env(o, text, len + 1);

	/* What is no variable means nothing to the command. */
	if (len == 0 || !text[len] || (i < o->n_env && o->env_is_given[i]))
		return 0;
	o->env_given = false;
	return set_env(o, text);
}

void options_drop_env(struct options *o, const char *begin)
{
	unsigned int n = o->n_env;

	o->n_env = 0;
	for (unsigned int i = 0; i < n; i++) {
		if (!o->env_is_given[i] && strncmp(o->env[i], begin, strlen(begin)) == 0)
			continue;
		o->env[o->n_env] = o->env[i];
		o->env_is_given[o->n_env++] = o->env_is_given[i];
	}
	o->env[o->n_env] = NULL;
}

/* As it is in our own environment; none when it is not set there. */
static int copy_env(struct options *o, const char *name)
{
	size_t len = strlen(name);

	for (char **e = environ; *e; e++) {
		if (strncmp(*e, name, len) == 0 && (*e)[len] == '=')
			return set_env(o, *e);
	}
	return 0;
}

int option_env(struct options *o, char *value)
{
	size_t len = name_length(value);

	o->env_given = true;
	if (len == 0)
		return report_refuse("--env takes NAME=VALUE or NAME, not '%s'", value);
	return value[len] == '=' ? set_env(o, value) : copy_env(o, value);
}

/* What the command would find after a login, and from us the language and the kind of terminal alone: ours may hold secrets. */
int options_begin_env(struct options *o)
{
	static char fixed[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\0"
			      "HOME=/root\0USER=root\0LOGNAME=root\0SHELL=/bin/sh\0";
	int err = 0;

	for (char *e = fixed; *e && err == 0; e += strlen(e) + 1)
		err = options_add_env(o, e);
	for (char **e = environ; *e && err == 0; e++) {
		if (strncmp(*e, "LC_", 3) == 0 || strncmp(*e, "LANG=", 5) == 0 ||
		    strncmp(*e, "TERM=", 5) == 0 || strncmp(*e, "COLORTERM=", 10) == 0)
			err = options_add_env(o, *e);
	}
	return err;
}

/* ---- whether it all goes together ---- */

int options_check_command(const struct options *o)
{
	if (!o->command) {
		if (!o->root && !o->env_given)
			return 0;
		if (o->root && named_hint(o))
			return -EINVAL;
		return report_refuse("--%s goes with a command: vmm ... -- COMMAND",
				     o->root ? "root" : "env");
	}
	if (!o->command[0] && !(o->root && image_ref_is(o->root)))
		return report_refuse("which command? vmm ... -- COMMAND [ARGUMENT]...");
	if (o->root_shared && o->root_packed)
		return report_refuse(
			"--root: a directory is 'shared' or 'packed', not both%s",
			o->root_mounts
				? "; what is mounted below one that is shared is there anyway"
				: "");
	if (o->console == OPTIONS_CONSOLE_STDIO)
		return report_refuse(
			"--console stdio: the standard streams are those of '%s'; there are none, "
			"file=FILE, pty and socket=PATH",
			o->command[0] ? o->command[0] : o->root);
	return 0;
}
