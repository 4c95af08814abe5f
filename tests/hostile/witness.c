/*
 * Tells of everything that is done with files that nobody should touch: a line for each open, access and change.
 *
 *	witness TREE [DIRECTORY...]
 *
 * All below TREE is watched, and of each DIRECTORY that it is listed. "ready" comes first; after SIGTERM what has happened until then is
 * told, and it ends well. By fanotify, which knows whose thread it was, else by inotify, which every user may have and which does not. Neither is
 * told of O_PATH descriptors, nor of who asks for attributes: tests that claim so look into /proc/PID/fd as well.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define MAX_WATCHES 1000

/* The bits of both are the same. */
static const struct {
	uint32_t bit;
	const char *name;
} acts[] = {
	{IN_OPEN, "open"},     {IN_ACCESS, "access"},	   {IN_MODIFY, "modify"},
	{IN_ATTRIB, "attrib"}, {IN_CLOSE, "close"},	   {IN_MOVE | IN_MOVE_SELF, "move"},
	{IN_CREATE, "create"}, {IN_DELETE_SELF, "delete"}, {IN_DELETE, "delete"},
};
_Static_assert(FAN_OPEN == IN_OPEN && FAN_ACCESS == IN_ACCESS && FAN_MODIFY == IN_MODIFY &&
		       FAN_CLOSE == IN_CLOSE,
	       "one table for both");

static bool by_fanotify;
static int watch = -1;
static struct {
	char *path;
	bool tree;
} watched[MAX_WATCHES]; /* inotify's, by number */

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void add(const char *path, uint32_t fan_mask, uint32_t in_mask, bool tree)
{
	int n;

	if (by_fanotify) {
		if (fanotify_mark(watch, FAN_MARK_ADD | FAN_MARK_DONT_FOLLOW, fan_mask, AT_FDCWD,
				  path) < 0)
			die(path);
		return;
	}
	n = inotify_add_watch(watch, path, in_mask | IN_DONT_FOLLOW);
	if (n < 0 || n >= MAX_WATCHES)
		die(path);
	watched[n].path = strdup(path);
	watched[n].tree = tree;
}

static int add_found(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	const uint32_t mask = FAN_OPEN | FAN_ACCESS | FAN_MODIFY | FAN_CLOSE;

	(void)type;
	(void)ftw;
	add(path, mask | (S_ISDIR(st->st_mode) ? FAN_ONDIR | FAN_EVENT_ON_CHILD : 0), IN_ALL_EVENTS,
	    true);
	return 0;
}

static void begin(int argc, char **argv)
{
	watch = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_TID,
			      O_RDONLY | O_CLOEXEC);
	by_fanotify = watch >= 0;
	if (!by_fanotify)
		watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (watch < 0)
		die("inotify");
	/* Depth first: a directory is watched when all of it was found, which opens it. */
	if (nftw(argv[1], add_found, 10, FTW_PHYS | FTW_DEPTH) < 0)
		die(argv[1]);
	for (int i = 2; i < argc; i++)
		add(argv[i], FAN_ACCESS | FAN_ONDIR, IN_ACCESS | IN_ONLYDIR, false);
}

static void tell(const char *who, uint64_t mask, const char *path, const char *name)
{
	printf("%s:", who);
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
		if (mask & acts[i].bit)
			printf(" %s", acts[i].name);
	}
	/* Neither of them has a queue without an end. */
	printf(" %s%s%s\n", mask & IN_Q_OVERFLOW ? "more than can be told" : path, *name ? "/" : "",
	       name);
}

static void tell_fanotify(const struct fanotify_event_metadata *event)
{
	char link[64], comm[32] = "?", who[64], path[4096] = "";
	int fd;

	snprintf(link, sizeof(link), "/proc/%d/comm", event->pid);
	fd = open(link, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, comm, sizeof(comm) - 1) > 0)
		comm[strcspn(comm, "\n")] = '\0';
	if (fd >= 0)
		close(fd);
	snprintf(who, sizeof(who), "%d (%s)", event->pid, comm);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", event->fd);
	if (event->fd >= 0 && readlink(link, path, sizeof(path) - 1) < 0)
		path[0] = '\0';
	if (event->fd >= 0)
		close(event->fd);
	tell(who, event->mask, path, "");
}

static void tell_inotify(const struct inotify_event *event)
{
	unsigned int n = (unsigned int)event->wd;
	bool known = n < MAX_WATCHES && watched[n].path;

	/* What is done with files comes with directories, whether they are of interest or not. */
	if ((event->mask & (IN_IGNORED | IN_UNMOUNT)) ||
	    (known && !watched[n].tree && event->len > 0))
		return;
	tell("somebody", event->mask, known ? watched[n].path : "?",
	     event->len > 0 ? event->name : "");
}

/* All that waits. */
static void tell_all(void)
{
	static _Alignas(8) char buf[65536];
	ssize_t n;

	while ((n = read(watch, buf, sizeof(buf))) > 0) {
		for (char *at = buf; at < buf + n;) {
			if (by_fanotify) {
				struct fanotify_event_metadata *event = (void *)at;

				tell_fanotify(event);
				at += event->event_len;
			} else {
				struct inotify_event *event = (void *)at;

				tell_inotify(event);
				at += sizeof(*event) + event->len;
			}
		}
	}
	if (n < 0 && errno != EAGAIN)
		die("read");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct pollfd pfd[2] = {{.events = POLLIN}, {.events = POLLIN}};
	sigset_t signals;

	if (argc < 2)
		return 1;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	pfd[0].fd = signalfd(-1, &signals, SFD_CLOEXEC);
	begin(argc, argv);
	pfd[1].fd = watch;
	printf("ready\n");
	fflush(stdout);
	while (poll(pfd, 2, -1) > 0 && pfd[0].revents == 0)
		tell_all();
	tell_all();
	return 0;
}
