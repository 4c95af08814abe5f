#include "guest/init.h"

#include <fcntl.h>
#include <sys/mman.h>

#define FILE_SIZE (1 << 20) /* bytes of it that are read */

/* Returns the text, "" when there is none. */
static const char *user_read(const char *path)
{
	long at = SYS6(mmap, 0, FILE_SIZE + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);
	long fd = SYS3(open, path, O_RDONLY | O_CLOEXEC, 0), n = 1;
	char *text;

	if (fd < 0 || (at < 0 && at > -4096))
		return "";
	text = (char *)at; /* NOLINT: what mmap() is for */
	for (size_t len = 0; n > 0 && len < FILE_SIZE; len += (size_t)n) {
		n = SYS3(read, fd, text + len, FILE_SIZE - len);
		if (n < 0)
			break;
	}
	SYS1(close, fd);
	return text;
}

static void user_set_env(struct init_start *start, char *text, size_t size, const char *name,
			 const char *value)
{
	size_t len = text_append(text, size, 0, name);
	char **at = start->env;

	for (; *at; at++) {
		if (memcmp(*at, name, len) == 0)
			return;
	}
	text_append(text, size, len, value);
	at[0] = text;
	at[1] = NULL;
}

void user_find(struct init_start *start)
{
	static char home[300], user[200], login[80];
	const struct passwd_user *u = &start->user;
	enum passwd_answer answer;

	if (!*start->user_name)
		return;
	answer = passwd_find(start->user_name, user_read("/etc/passwd"), user_read("/etc/group"),
			     &start->user);
	if (answer != PASSWD_OK) {
		size_t len = text_append(user, sizeof(user), 0, passwd_problem(answer));

		text_append(user, sizeof(user), len, start->user_name);
		init_refuse(user);
	}
	user_set_env(start, home, sizeof(home), "HOME=", u->home);
	if (!*u->name)
		return;
	user_set_env(start, user, sizeof(user), "USER=", u->name);
	user_set_env(start, login, sizeof(login), "LOGNAME=", u->name);
}

long user_become(const struct init_start *start)
{
	const struct passwd_user *u = &start->user;
	long err;

	SYS1(umask, start->what.umask);
	if (!u->set)
		return 0;
	/* Programs open /dev/stdout by its name. */
	for (int fd = 0; fd < 3; fd++)
		SYS3(fchown, fd, u->uid, -1);
	err = SYS2(setgroups, u->n_groups, u->groups);
	if (err == 0)
		err = SYS1(setgid, u->gid);
	if (err == 0)
		err = SYS1(setuid, u->uid);
	return err;
}
