/* --sandbox and --user */
#include "vmm/cli/option.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vmm/cli/report.h"
#include "vmm/cli/value.h"

/* 2^32 - 1 stands for no user. */
#define MAX_ID 0xfffffffeu

#define USERS "/etc/passwd"

int option_sandbox(struct options *o, char *value)
{
	static const char *const names[] = {[VMM_SANDBOX_ON] = "on",
					    [VMM_SANDBOX_OFF] = "off",
					    [VMM_SANDBOX_STRICT] = "strict"};
	int i = option_choose("sandbox", value, names, 3);

	o->config.sandbox = (enum vmm_sandbox)i;
	return i < 0 ? i : 0;
}

/* Read from the file, so that a static program needs no other libraries of the host. Returns 0, -ENOENT, or why it cannot be opened. */
static int option_user_by_name(struct options *o, const char *name)
{
	FILE *file = fopen(USERS, "re");
	const struct passwd *entry;

	if (!file)
		return -errno;
	while ((entry = fgetpwent(file)) && strcmp(entry->pw_name, name) != 0)
		;
	if (entry) {
		o->uid = entry->pw_uid;
		o->gid = entry->pw_gid;
	}
	fclose(file);
	return entry ? 0 : -ENOENT;
}

int option_user(struct options *o, char *value)
{
	char *colon = strchr(value, ':');
	uint64_t uid, gid;
	int err = -ENOENT;

	o->change_user = true;
	if (geteuid() != 0)
		return report_refuse("--user needs root rights");
	if (colon)
		*colon = '\0';
	else
		err = option_user_by_name(o, value);
	if (err == 0)
		return 0;
	if (value_number(value, 0, MAX_ID, &uid) < 0 ||
	    value_number(colon ? colon + 1 : value, 0, MAX_ID, &gid) < 0) {
		if (colon)
			*colon = ':'; /* all of it is shown */
		if (err != -ENOENT)
			report_failure(err, "cannot open '" USERS "'");
		else
			report("--user takes the name of a user in " USERS
			       ", or numbers as UID[:GID]; not '%s'",
			       value);
		return -EINVAL;
	}
	o->uid = (uint32_t)uid;
	o->gid = (uint32_t)gid;
	return 0;
}
