/*
 * Who a user is, by the texts of /etc/passwd and /etc/group (passwd(5), group(5)), as container images name one: NAME or UID, and
 * behind a colon perhaps a group, GROUP or GID. A number needs not be in the files.
 *
 * Pure functions, without a C library.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PASSWD_MAX_GROUPS 256 /* those beyond are left out */

struct passwd_user {
	bool set; /* else it is root, as it comes */
	uint32_t uid;
	uint32_t gid;
	uint32_t n_groups;
	uint32_t groups[PASSWD_MAX_GROUPS]; /* his own, and others unless it was named */
	char name[64];			    /* "": it has none */
	char home[256];			    /* "/" where none is known */
};

enum passwd_answer {
	PASSWD_OK,
	PASSWD_NO_USER,
	PASSWD_NO_GROUP,
};

/* passwd and group: the texts, with a NUL behind them. */
enum passwd_answer passwd_find(const char *spec, const char *passwd, const char *group,
			       struct passwd_user *user);

/* What is wrong, in words before the user as he was named. */
const char *passwd_problem(enum passwd_answer answer);
