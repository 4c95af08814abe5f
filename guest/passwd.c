#include "guest/passwd.h"

struct field {
	const char *at;
	size_t len;
};

/* The field of that number of a line; of no length when there is none. */
static struct field field_of(const char *line, unsigned int n)
{
	struct field f = {.at = line};

	for (;;) {
		f.len = 0;
		while (f.at[f.len] && f.at[f.len] != '\n' && f.at[f.len] != ':')
			f.len++;
		if (n-- == 0)
			return f;
		if (f.at[f.len] != ':')
			return (struct field){.at = f.at, .len = 0};
		f.at += f.len + 1;
	}
}

static bool field_is(struct field a, struct field b)
{
	for (size_t i = 0; i < a.len; i++) {
		if (i >= b.len || a.at[i] != b.at[i])
			return false;
	}
	return a.len == b.len && a.len > 0;
}

/* No id is 2^32 - 1: for system calls it is none. */
static bool field_number(struct field f, uint32_t *number)
{
	uint64_t n = 0;

	for (size_t i = 0; i < f.len; i++) {
		if (f.at[i] < '0' || f.at[i] > '9')
			return false;
		n = 10 * n + (uint64_t)(f.at[i] - '0');
		if (n >= UINT32_MAX)
			return false;
	}
	*number = (uint32_t)n;
	return f.len > 0;
}

static void field_copy(struct field f, char *to, size_t size)
{
	size_t i = 0;

	for (; i < f.len && i + 1 < size; i++)
		to[i] = f.at[i];
	to[i] = '\0';
}

static const char *next_line(const char *line)
{
	while (*line && *line != '\n')
		line++;
	return *line ? line + 1 : line;
}

/* The first line that has the name, or else, for a number, the id. NULL: none. */
static const char *find_line(const char *text, struct field what)
{
	uint32_t number = 0, id;
	bool is_number = field_number(what, &number);

	for (const char *line = text; *line; line = next_line(line)) {
		if (field_is(field_of(line, 0), what) && field_number(field_of(line, 2), &id))
			return line;
	}
	for (const char *line = text; is_number && *line; line = next_line(line)) {
		if (field_number(field_of(line, 2), &id) && id == number &&
		    field_of(line, 0).len > 0)
			return line;
	}
	return NULL;
}

/* Whether the list, names with commas between them, has this one. */
static bool list_has(struct field list, struct field name)
{
	while (list.len > 0) {
		struct field one = {.at = list.at, .len = 0};

		while (one.len < list.len && one.at[one.len] != ',')
			one.len++;
		if (field_is(one, name))
			return true;
		list.at += one.len < list.len ? one.len + 1 : one.len;
		list.len -= one.len < list.len ? one.len + 1 : one.len;
	}
	return false;
}

static void find_groups(const char *group, struct field name, struct passwd_user *user)
{
	uint32_t id;

	for (const char *line = group; *line; line = next_line(line)) {
		if (list_has(field_of(line, 3), name) && field_number(field_of(line, 2), &id) &&
		    id != user->gid && user->n_groups < PASSWD_MAX_GROUPS)
			user->groups[user->n_groups++] = id;
	}
}

/* His own group is one of them too: else a set-gid program would shed it, and what is refused to that group with it. */
static void add_own_group(struct passwd_user *user)
{
	user->groups[0] = user->gid;
	user->n_groups = 1;
}

static bool find_group(const char *group, struct field what, uint32_t *gid)
{
	const char *line = find_line(group, what);

	return field_number(line ? field_of(line, 2) : what, gid);
}

enum passwd_answer passwd_find(const char *spec, const char *passwd, const char *group,
			       struct passwd_user *user)
{
	struct field who = field_of(spec, 0), which = field_of(spec, 1);
	const char *line;

	user->set = true;
	user->uid = user->gid = user->n_groups = 0;
	user->name[0] = '\0';
	field_copy((struct field){.at = "/", .len = 1}, user->home, sizeof(user->home));
	/* ":GROUP" is root, in that group. */
	if (who.len == 0)
		who = (struct field){.at = "0", .len = 1};
	line = find_line(passwd, who);
	if (line) {
		field_number(field_of(line, 2), &user->uid);
		field_number(field_of(line, 3), &user->gid);
		field_copy(field_of(line, 0), user->name, sizeof(user->name));
		if (field_of(line, 5).len > 0)
			field_copy(field_of(line, 5), user->home, sizeof(user->home));
	} else if (!field_number(who, &user->uid)) {
		return PASSWD_NO_USER;
	}
	if (which.len > 0 && !find_group(group, which, &user->gid))
		return PASSWD_NO_GROUP;
	add_own_group(user);
	if (line && which.len == 0)
		find_groups(group, field_of(line, 0), user);
	return PASSWD_OK;
}

const char *passwd_problem(enum passwd_answer answer)
{
	return answer == PASSWD_NO_USER ? "its /etc/passwd does not have its user: "
					: "its /etc/group does not have its user's group: ";
}
