/* Steps on what a file has beside data: modes, owners, times, extended attributes. */
#define _GNU_SOURCE
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static void say_stat(const struct statx *st)
{
	static const char *const kinds[16] = {
		[1] = "fifo", [2] = "chr",   [4] = "dir",  [6] = "blk",
		[8] = "file", [10] = "link", [12] = "sock"};

	say("%s,%o", kinds[(st->stx_mode & S_IFMT) >> 12], st->stx_mode & 07777);
	say(",%s%s", st->stx_uid == geteuid() ? "mine" : "other's",
	    st->stx_gid == getegid() ? "" : ",group");
	if (!S_ISDIR(st->stx_mode))
		say(",%u,%llu", st->stx_nlink, (unsigned long long)st->stx_size);
}

static int get_stat(const struct step *step, struct statx *st, int flags)
{
	int dir;
	const char *path = path_of(step->word[1], &dir);

	if (!*path && dir != AT_FDCWD)
		flags |= AT_EMPTY_PATH;
	return result(statx(dir, path, flags, STATX_BASIC_STATS | STATX_BTIME, st));
}

/* stat PATH, lstat PATH: kind, mode, owner, links, size */
static int step_stat(const struct step *step)
{
	struct statx st;
	int err = get_stat(step, &st, step->word[0][0] == 'l' ? AT_SYMLINK_NOFOLLOW : 0);

	if (err == 0)
		say_stat(&st);
	return err;
}

/* fstat SLOT */
static int step_fstat(const struct step *step)
{
	struct statx st;
	int err = result(statx(*slot(step->word[1]), "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st));

	if (err == 0)
		say_stat(&st);
	return err;
}

/* links PATH: of a directory too */
static int step_links(const struct step *step)
{
	struct statx st;
	int err = get_stat(step, &st, 0);

	if (err == 0)
		say("%u", st.stx_nlink);
	return err;
}

/* same PATH PATH: whether both are one file */
static int step_same(const struct step *step)
{
	struct step other = {.n = 2, .word = {"stat", step->word[2]}};
	struct statx a, b;

	if (get_stat(step, &a, 0) < 0 || get_stat(&other, &b, 0) < 0)
		return -errno;
	say(a.stx_ino == b.stx_ino && a.stx_dev_minor == b.stx_dev_minor ? "same" : "different");
	return 0;
}

/* mask PATH: what is told when little is asked for */
static int step_mask(const struct step *step)
{
	struct statx st;
	int err = result(
		statx(AT_FDCWD, step->word[1], AT_STATX_FORCE_SYNC, STATX_SIZE | STATX_MODE, &st));

	if (err == 0)
		say("%d", (st.stx_mask & (STATX_SIZE | STATX_MODE)) == (STATX_SIZE | STATX_MODE));
	return err;
}

/* statfs PATH */
static int step_statfs(const struct step *step)
{
	struct statvfs st;
	int err = result(statvfs(step->word[1], &st));

	if (err == 0)
		say("%lu,%d,%d", st.f_namemax, st.f_blocks >= st.f_bfree, st.f_bsize >= 512);
	return err;
}

/* chmod PATH MODE */
static int step_chmod(const struct step *step)
{
	int dir;
	const char *path = path_of(step->word[1], &dir);

	return result(fchmodat(dir, path, (mode_t)number(step->word[2]), 0));
}

/* fchmod SLOT MODE */
static int step_fchmod(const struct step *step)
{
	return result(fchmod(*slot(step->word[1]), (mode_t)number(step->word[2])));
}

static uid_t owner(const char *word, uid_t mine)
{
	if (strcmp(word, "-") == 0)
		return (uid_t)-1;
	return strcmp(word, "me") == 0 ? mine : (uid_t)number(word);
}

/* chown PATH USER GROUP, lchown, fchown SLOT USER GROUP */
static int step_chown(const struct step *step)
{
	uid_t user = owner(step->word[2], geteuid());
	gid_t group = owner(step->word[3], getegid());
	int dir;
	const char *path;

	if (step->word[0][0] == 'f')
		return result(fchown(*slot(step->word[1]), user, group));
	path = path_of(step->word[1], &dir);
	return result(fchownat(dir, path, user, group,
			       step->word[0][0] == 'l' ? AT_SYMLINK_NOFOLLOW : 0));
}

static struct timespec time_of(const char *word)
{
	const char *point = strchr(word, '.');

	if (strcmp(word, "now") == 0)
		return (struct timespec){.tv_nsec = UTIME_NOW};
	if (strcmp(word, "omit") == 0)
		return (struct timespec){.tv_nsec = UTIME_OMIT};
	return (struct timespec){strtoll(word, NULL, 10), point ? strtol(point + 1, NULL, 10) : 0};
}

/* settime PATH ACCESSED CHANGED [nofollow]; fsettime SLOT ... */
static int step_settime(const struct step *step)
{
	struct timespec times[2] = {time_of(step->word[2]), time_of(step->word[3])};
	int dir;
	const char *path;

	if (step->word[0][0] == 'f')
		return result(futimens(*slot(step->word[1]), times));
	path = path_of(step->word[1], &dir);
	return result(utimensat(dir, path, times,
				has_word(step, 4, "nofollow") ? AT_SYMLINK_NOFOLLOW : 0));
}

static void say_time(const struct statx_timestamp *t)
{
	if (t->tv_sec > 1600000000 && t->tv_sec < 4000000000)
		say("now");
	else
		say("%lld.%09u", (long long)t->tv_sec, t->tv_nsec);
}

/* times PATH: those that were set, or that it is a time of today */
static int step_times(const struct step *step)
{
	struct statx st;
	int err = get_stat(step, &st, AT_SYMLINK_NOFOLLOW);

	if (err < 0)
		return err;
	say_time(&st.stx_atime);
	say(",");
	say_time(&st.stx_mtime);
	return 0;
}

static struct statx marked[SLOTS];

static bool time_differs(const struct statx_timestamp *a, const struct statx_timestamp *b)
{
	return a->tv_sec != b->tv_sec || a->tv_nsec != b->tv_nsec;
}

/* mark PATH LETTER: its times are remembered; whatever comes is later than the clock's step */
static int step_mark(const struct step *step)
{
	int err = get_stat(step, &marked[step->word[2][0] - 'a'], AT_SYMLINK_NOFOLLOW);

	usleep(25000);
	return err;
}

/* moved PATH LETTER: which of the times have changed since */
static int step_moved(const struct step *step)
{
	const struct statx *before = &marked[step->word[2][0] - 'a'];
	struct statx st;
	int err = get_stat(step, &st, AT_SYMLINK_NOFOLLOW | AT_STATX_FORCE_SYNC);

	if (err < 0)
		return err;
	say("moved%s%s", time_differs(&st.stx_mtime, &before->stx_mtime) ? "-m" : "",
	    time_differs(&st.stx_ctime, &before->stx_ctime) ? "-c" : "");
	return 0;
}

/* access PATH MODE [own] */
static int step_access(const struct step *step)
{
	int dir;
	const char *path = path_of(step->word[1], &dir);

	return result(faccessat(dir, path, (int)number(step->word[2]),
				has_word(step, 3, "own") ? AT_EACCESS : 0));
}

/* umask MODE */
static int step_umask(const struct step *step)
{
	umask((mode_t)number(step->word[1]));
	return 0;
}

/* ---- extended attributes; of a link itself with an l before, of a descriptor with an f ---- */

/* setx PATH NAME VALUE [create|replace] */
static int step_setx(const struct step *step)
{
	int none, flags = has_word(step, 4, "create")	 ? XATTR_CREATE
			  : has_word(step, 4, "replace") ? XATTR_REPLACE
							 : 0;
	const char *name = path_of(step->word[2], &none);
	const char *value = path_of(step->word[3], &none);
	size_t n = strcmp(step->word[3], "-") == 0 ? 0 : strlen(value);

	switch (step->word[0][0]) {
	case 'l':
		return result(lsetxattr(step->word[1], name, value, n, flags));
	case 'f':
		return result(fsetxattr(*slot(step->word[1]), name, value, n, flags));
	default:
		return result(setxattr(path_of(step->word[1], &none), name, value, n, flags));
	}
}

/* getx PATH NAME [SIZE] */
static int step_getx(const struct step *step)
{
	static char value[70000];
	int none;
	const char *name = path_of(step->word[2], &none);
	size_t room = (size_t)number(word_or(step, 3, "70000"));
	ssize_t n;

	if (step->word[0][0] == 'l')
		n = lgetxattr(step->word[1], name, value, room);
	else if (step->word[0][0] == 'f')
		n = fgetxattr(*slot(step->word[1]), name, value, room);
	else
		n = getxattr(path_of(step->word[1], &none), name, value, room);
	if (n >= 0 && room > 0)
		say_bytes(value, (size_t)n);
	else if (n >= 0)
		say("size%zd", n);
	return result(n);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* listx PATH [SIZE]: of the user's own, in order */
static int step_listx(const struct step *step)
{
	char list[70000], *names[512];
	int none;
	ssize_t n = listxattr(path_of(step->word[1], &none), list,
			      (size_t)number(word_or(step, 2, "70000")));
	size_t count = 0;

	if (n < 0)
		return -errno;
	if (step->n > 2 && number(step->word[2]) == 0) {
		say("size%zd", n);
		return 0;
	}
	for (char *name = list; name < list + n && count < 512; name += strlen(name) + 1) {
		if (strncmp(name, "user.", 5) == 0)
			names[count++] = name;
	}
	qsort(names, count, sizeof(names[0]), compare);
	say("%zu", count);
	for (size_t i = 0; i < count && i < 5; i++)
		say(",%.20s", names[i]);
	return 0;
}

/* remx PATH NAME */
static int step_remx(const struct step *step)
{
	if (step->word[0][0] == 'l')
		return result(lremovexattr(step->word[1], step->word[2]));
	if (step->word[0][0] == 'f')
		return result(fremovexattr(*slot(step->word[1]), step->word[2]));
	return result(removexattr(step->word[1], step->word[2]));
}

/* manyx PATH N: so many attributes */
static int step_manyx(const struct step *step)
{
	char name[32];

	for (long long i = 0; i < number(step->word[2]); i++) {
		snprintf(name, sizeof(name), "user.many%03lld", i);
		if (setxattr(step->word[1], name, "x", 1, 0) < 0)
			return -errno;
	}
	return 0;
}

const struct operation operations_attributes[] = {
	{"stat", 2, step_stat},
	{"lstat", 2, step_stat},
	{"fstat", 2, step_fstat},
	{"links", 2, step_links},
	{"same", 3, step_same},
	{"mask", 2, step_mask},
	{"statfs", 2, step_statfs},
	{"chmod", 3, step_chmod},
	{"fchmod", 3, step_fchmod},
	{"chown", 4, step_chown},
	{"lchown", 4, step_chown},
	{"fchown", 4, step_chown},
	{"settime", 4, step_settime},
	{"fsettime", 4, step_settime},
	{"times", 2, step_times},
	{"mark", 3, step_mark},
	{"moved", 3, step_moved},
	{"access", 3, step_access},
	{"umask", 2, step_umask},
	{"setx", 4, step_setx},
	{"lsetx", 4, step_setx},
	{"fsetx", 4, step_setx},
	{"getx", 3, step_getx},
	{"lgetx", 3, step_getx},
	{"fgetx", 3, step_getx},
	{"listx", 2, step_listx},
	{"remx", 3, step_remx},
	{"lremx", 3, step_remx},
	{"fremx", 3, step_remx},
	{"manyx", 3, step_manyx},
	{NULL, 0, NULL},
};
