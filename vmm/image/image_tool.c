#include "vmm/image/image_tool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/close_range.h>

#define LOOK_MS 100

void image_progress(const struct image_progress *progress, const char *what, const char *of)
{
	if (progress && progress->fn)
		progress->fn(progress->arg, what, of);
}

static void image_tool_signals(sigset_t *set)
{
	static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	struct sigaction action;

	sigemptyset(set);
	/* What our parent told us to ignore stays ignored; blocked, it would be pending. */
	for (size_t i = 0; i < sizeof(ending) / sizeof(ending[0]); i++) {
		if (sigaction(ending[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
			sigaddset(set, ending[i]);
	}
}

static bool image_tool_is(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

bool image_tool_find(const char *name, char path[static PATH_MAX])
{
	const char *at = getenv("PATH");

	for (at = at ? at : "/bin:/usr/bin"; *at; at += *at == ':') {
		int len = (int)strcspn(at, ":");

		snprintf(path, PATH_MAX, "%.*s/%s", len, at, name);
		if (image_tool_is(path))
			return true;
		at += len;
	}
	/* Where users' PATH does not lead, but mke2fs is. */
	snprintf(path, PATH_MAX, "/usr/sbin/%s", name);
	return image_tool_is(path);
}

int image_tool_check(const struct image_tool *tool, struct image_why *why)
{
	char path[PATH_MAX];

	if (image_tool_find(tool->name, path))
		return 0;
	return image_fail(
		why, -ENOENT,
		"this needs the program '%s', which is not there (Debian: apt install %s)",
		tool->name, tool->package);
}

/* Its own text alone goes to it, and no other descriptor: what we were started with is none of its business. */
static int image_tool_spawn(struct image_tool *tool, char *const argv[], int in, int file)
{
	static char search[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
	static char locale[] = "LC_ALL=C.UTF-8";
	char *const env[] = {search, locale, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t all, none;
	char path[PATH_MAX];
	int err;

	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	sigfillset(&all);
	sigemptyset(&none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	posix_spawn_file_actions_adddup2(&actions, in, 0);
	posix_spawn_file_actions_adddup2(&actions, tool->errors, 1);
	posix_spawn_file_actions_adddup2(&actions, tool->errors, 2);
	if (file >= 0)
		posix_spawn_file_actions_adddup2(&actions, file, 3);
	/* Linux 5.11; before it, what our parent left open stays open there too. */
	syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC);
	err = image_tool_find(tool->name, path)
		      ? posix_spawnp(&tool->pid, path, &actions, &attr, argv, env)
		      : ENOENT;
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	return -err;
}

int image_tool_start(struct image_tool *tool, char *const argv[], int file, bool feeds,
		     struct image_why *why)
{
	int pair[2] = {-1, -1}, err = 0;
	sigset_t set;

	tool->pid = -1;
	tool->to = tool->errors = -1;
	/* A socket, which tells of its other end by an error and not by a signal. */
	if (feeds && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		err = -errno;
	if (!feeds)
		pair[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	tool->errors = memfd_create("vmm-tool", MFD_CLOEXEC);
	if (err == 0 && (pair[0] < 0 || tool->errors < 0))
		err = -errno;
	tool->to = pair[1];
	/* Ignored by our parent, its end would be lost. */
	signal(SIGCHLD, SIG_DFL);
	image_tool_signals(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, &tool->old_mask);
	if (err == 0)
		err = image_tool_spawn(tool, argv, pair[0], file);
	if (pair[0] >= 0)
		close(pair[0]);
	if (err == 0)
		return 0;
	image_tool_abandon(tool);
	return image_fail(why, err, "cannot start '%s': %s", tool->name, strerror(-err));
}

/* Someone wants us to end. */
bool image_tool_is_interrupted(struct image_tool *tool)
{
	sigset_t set, pending;

	image_tool_signals(&set);
	sigpending(&pending);
	for (int signal = 1; signal < NSIG; signal++) {
		if (sigismember(&set, signal) == 1 && sigismember(&pending, signal) == 1) {
			image_tool_abandon(tool); /* which lets it through */
			return true;
		}
	}
	return false;
}

int image_tool_write(struct image_tool *tool, const void *bytes, size_t size)
{
	const char *at = bytes;

	while (size > 0) {
		struct pollfd fd = {.fd = tool->to, .events = POLLOUT};
		ssize_t n = send(tool->to, at, size, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -EPIPE;
		if (n < 0)
			poll(&fd, 1, LOOK_MS);
		if (image_tool_is_interrupted(tool))
			return -EPIPE;
		at += n > 0 ? n : 0;
		size -= n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static void image_tool_end(struct image_tool *tool)
{
	if (tool->to >= 0)
		close(tool->to);
	if (tool->errors >= 0)
		close(tool->errors);
	tool->pid = tool->to = tool->errors = -1;
	sigprocmask(SIG_SETMASK, &tool->old_mask, NULL);
}

/* What it has died of, or its last two lines in one: the last may tell no more than that it has given up. text: both, from its end on. */
static const char *image_tool_last_words(const struct image_tool *tool, int status, char text[512])
{
	off_t size = lseek(tool->errors, 0, SEEK_END);
	ssize_t n = pread(tool->errors, text, 255, size > 255 ? size - 255 : 0);
	char *at = text + 511;
	int lines = 0;

	if (WIFSIGNALED(status)) {
		snprintf(text, 512, "killed by signal %d", WTERMSIG(status));
		return text;
	}
	*at = '\0';
	while (n > 0 && (unsigned char)text[n - 1] <= ' ')
		n--;
	while (n-- > 0) {
		unsigned char c = (unsigned char)text[n];

		if (c == '\n' && lines++ > 0)
			break;
		*--at = c < ' ' ? ' ' : (char)c;
		if (c == '\n')
			*--at = ';';
	}
	return at;
}

int image_tool_finish(struct image_tool *tool, const struct image_progress *progress,
		      struct image_why *why)
{
	const struct timespec look = {.tv_nsec = LOOK_MS * 1000000L};
	int status = 0, err = 0;
	char text[512];
	sigset_t child;
	pid_t got;

	if (tool->pid < 0)
		return image_fail(why, -EINTR, "interrupted");
	if (tool->to >= 0)
		close(tool->to);
	tool->to = -1;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	while ((got = waitpid(tool->pid, &status, WNOHANG)) == 0) {
		image_progress(progress, "waiting for", tool->name);
		sigtimedwait(&child, NULL, &look);
		if (image_tool_is_interrupted(tool))
			return image_fail(why, -EINTR, "interrupted");
	}
	if (got < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		err = image_fail(why, -EIO, "'%s' has failed: %s", tool->name,
				 image_tool_last_words(tool, status, text));
	image_tool_end(tool);
	return err;
}

void image_tool_abandon(struct image_tool *tool)
{
	if (tool->pid > 0) {
		kill(tool->pid, SIGKILL);
		waitpid(tool->pid, NULL, 0);
	}
	if (tool->remove)
		unlink(tool->remove);
	image_tool_end(tool);
}
