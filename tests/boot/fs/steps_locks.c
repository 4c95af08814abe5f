/* Steps of locks, of what tells of changes, and of directories with many names. */
#define _GNU_SOURCE
#include "fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <unistd.h>

static short lock_type(const char *word)
{
	return word[0] == 'r' ? F_RDLCK : word[0] == 'w' ? F_WRLCK : F_UNLCK;
}

/* lock SLOT r|w|u START LENGTH [ofd] [wait]: of the process, or of the open file */
static int step_lock(const struct step *step)
{
	struct flock lock = {.l_type = lock_type(step->word[2]),
			     .l_whence = SEEK_SET,
			     .l_start = number(step->word[3]),
			     .l_len = number(step->word[4])};
	bool ofd = has_word(step, 5, "ofd"), wait = has_word(step, 5, "wait");

	if (ofd)
		return result(
			fcntl(*slot(step->word[1]), wait ? F_OFD_SETLKW : F_OFD_SETLK, &lock));
	return result(fcntl(*slot(step->word[1]), wait ? F_SETLKW : F_SETLK, &lock));
}

/* who SLOT r|w START LENGTH [ofd]: what stands in the way of that lock */
static int step_who(const struct step *step)
{
	struct flock lock = {.l_type = lock_type(step->word[2]),
			     .l_whence = SEEK_SET,
			     .l_start = number(step->word[3]),
			     .l_len = number(step->word[4])};
	int err = result(fcntl(*slot(step->word[1]),
			       has_word(step, 5, "ofd") ? F_OFD_GETLK : F_GETLK, &lock));

	if (err < 0)
		return err;
	if (lock.l_type == F_UNLCK)
		say("free");
	else
		say("%c%lld+%lld", lock.l_type == F_RDLCK ? 'r' : 'w', (long long)lock.l_start,
		    (long long)lock.l_len);
	return 0;
}

/* flock SLOT sh|ex|un [wait] */
static int step_flock(const struct step *step)
{
	int how = step->word[2][0] == 's' ? LOCK_SH : step->word[2][0] == 'e' ? LOCK_EX : LOCK_UN;

	return result(flock(*slot(step->word[1]), how | (has_word(step, 3, "wait") ? 0 : LOCK_NB)));
}

/* lease SLOT r|w|u */
static int step_lease(const struct step *step)
{
	return result(fcntl(*slot(step->word[1]), F_SETLEASE, lock_type(step->word[2])));
}

/* nap: until the other process has come to where it waits */
static int step_nap(const struct step *step)
{
	(void)step;
	usleep(200000);
	return 0;
}

/* ---- inotify ---- */

static int watcher = -1;

/* watch PATH */
static int step_watch(const struct step *step)
{
	if (watcher < 0)
		watcher = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	return result(inotify_add_watch(watcher, step->word[1],
					IN_CREATE | IN_DELETE | IN_MODIFY | IN_MOVE | IN_ATTRIB |
						IN_DELETE_SELF));
}

/* events: all that were seen, in order */
static int step_events(const struct step *step)
{
	_Alignas(struct inotify_event) char bytes[4096];
	struct pollfd poll_fd = {.fd = watcher, .events = POLLIN};
	const struct inotify_event *event;
	ssize_t n;

	(void)step;
	poll(&poll_fd, 1, 1000);
	n = read(watcher, bytes, sizeof(bytes));
	for (char *at = bytes; at < bytes + n; at += sizeof(*event) + event->len) {
		event = (const void *)at;
		say("%x%s%s,", event->mask, event->len ? "-" : "", event->len ? event->name : "");
	}
	return result(n);
}

/* ---- directories with many names ---- */

/* many PATH N [FIRST] */
static int step_many(const struct step *step)
{
	long long first = number(word_or(step, 3, "0")), n = number(step->word[2]);
	char name[300];

	for (long long i = first; i < first + n; i++) {
		int fd;

		snprintf(name, sizeof(name), "%s/name-%06lld", step->word[1], i);
		fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
		if (fd < 0)
			return -errno;
		close(fd);
	}
	return 0;
}

static DIR *dir;

/* opendir PATH */
static int step_opendir(const struct step *step)
{
	dir = opendir(step->word[1]);
	return dir ? 0 : -errno;
}

/* next N: reads so many names, or all with 0, and tells how many there were, and of all their hashes' sum */
static int step_next(const struct step *step)
{
	long long n = 0, most = number(step->word[1]);
	uint32_t sum = 0;
	struct dirent *entry;

	errno = 0;
	while ((most == 0 || n < most) && (entry = readdir(dir))) {
		sum += hash_of(entry->d_name, strlen(entry->d_name), HASH_FIRST) + entry->d_type;
		n++;
	}
	if (errno)
		return -errno;
	say("%lld", n);
	if (most == 0)
		say(":%08x", sum);
	return 0;
}

/* twice N: N names, back to where they began, and N names: the same ones */
static int step_twice(const struct step *step)
{
	long long n = number(step->word[1]);
	long place = telldir(dir);
	uint32_t sums[2] = {0, 0};
	struct dirent *entry;

	for (int turn = 0; turn < 2; turn++) {
		seekdir(dir, place);
		for (long long i = 0; i < n && (entry = readdir(dir)); i++)
			sums[turn] = hash_of(entry->d_name, strlen(entry->d_name), sums[turn]);
	}
	say("%s", sums[0] == sums[1] && sums[0] ? "same" : "different");
	return 0;
}

/* rewind */
static int step_rewind(const struct step *step)
{
	(void)step;
	rewinddir(dir);
	return 0;
}

/* empty PATH: removes each file while the directory is read */
static int step_empty(const struct step *step)
{
	DIR *all = opendir(step->word[1]);
	struct dirent *entry;
	long long n = 0;

	while (all && (entry = readdir(all))) {
		if (entry->d_type == DT_REG && unlinkat(dirfd(all), entry->d_name, 0) == 0)
			n++;
	}
	say("%lld", n);
	return all ? closedir(all) : -errno;
}

/* once PATH: reads it while it gets as many names more; none may come twice */
static int step_once(const struct step *step)
{
	static unsigned char seen[100000];
	DIR *all = opendir(step->word[1]);
	struct dirent *entry;
	long long n = 0, twice = 0;
	char name[32];

	memset(seen, 0, sizeof(seen));
	while (all && (entry = readdir(all))) {
		unsigned long number = strtoul(entry->d_name + strcspn(entry->d_name, "0123456789"),
					       NULL, 10);

		if (entry->d_type != DT_REG || strncmp(entry->d_name, "name-", 5) != 0)
			continue;
		twice += seen[number]++;
		if (++n % 10 == 0) {
			int fd;

			snprintf(name, sizeof(name), "more-%06lld", n);
			fd = openat(dirfd(all), name, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
			if (fd >= 0)
				close(fd);
		}
	}
	say("%lld,twice%lld", n, twice);
	return all ? closedir(all) : -errno;
}

const struct operation operations_locks[] = {
	{"lock", 5, step_lock},	    {"who", 5, step_who},     {"flock", 3, step_flock},
	{"lease", 3, step_lease},   {"nap", 1, step_nap},     {"watch", 2, step_watch},
	{"events", 1, step_events}, {"many", 3, step_many},   {"opendir", 2, step_opendir},
	{"next", 2, step_next},	    {"twice", 2, step_twice}, {"rewind", 1, step_rewind},
	{"empty", 2, step_empty},   {"once", 2, step_once},   {NULL, 0, NULL},
};
