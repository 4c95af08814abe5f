#include "vmm/cli/made.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/cli/exit_status.h"

/* What a user ends a start with. */
static const int made_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

#define MADE_SIGNALS (sizeof(made_signals) / sizeof(made_signals[0]))
#define MADE_MAX     2 /* the console's, and a dump's; that of the events is alone */

static const char *made_files[MADE_MAX];
static volatile sig_atomic_t made_n;

void made_abandon(void)
{
	for (int i = 0; i < made_n; i++)
		unlink(made_files[i]);
	made_n = 0;
}

void made_keep(void)
{
	made_n = 0;
}

/*
 * unlink() is safe in a handler (POSIX, 2.4.3). The signal's default action follows, which it does not have for a container's first
 * process: that ends with the status.
 */
static void made_on_signal(int sig)
{
	made_abandon();
	raise(sig);
	_exit(EXIT_STATUS_SIGNAL + sig);
}

/* What our parent told us to ignore stays ignored. */
static void made_watch(void)
{
	struct sigaction old, action = {.sa_handler = made_on_signal,
					.sa_flags = (int)(SA_RESETHAND | SA_NODEFER)};

	for (size_t i = 0; i < MADE_SIGNALS; i++) {
		if (sigaction(made_signals[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
			sigaction(made_signals[i], &action, NULL);
	}
}

int made_open(const char *path, int flags, mode_t mode)
{
	sigset_t set, old;
	int fd;

	made_watch();
	sigemptyset(&set);
	for (size_t i = 0; i < MADE_SIGNALS; i++)
		sigaddset(&set, made_signals[i]);
	sigprocmask(SIG_BLOCK, &set, &old);
	fd = open(path, flags | O_CREAT | O_EXCL, mode);
	if (fd < 0)
		fd = -errno;
	else if (made_n < MADE_MAX)
		made_files[made_n++] = path;
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (fd != -EEXIST)
		return fd;
	/* O_CREAT still: the kernel refuses what others laid out in /tmp only with it (fs.protected_regular). */
	fd = open(path, flags | O_CREAT, mode);
	return fd < 0 ? -errno : fd;
}

bool made_has(const char *path)
{
	for (int i = 0; i < made_n; i++) {
		if (made_files[i] == path)
			return true;
	}
	return false;
}

/* It is somebody else's. */
static void made_forget(const char *path)
{
	for (int i = 0; i < made_n; i++) {
		if (made_files[i] == path)
			made_files[i] = made_files[--made_n];
	}
}

const char *made_lock(int fd, const char *path)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	const char *why = "it is in use (locked) by another program";
	struct stat st, named;
	int ret;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return NULL;
	do {
		ret = fcntl(fd, F_OFD_SETLK, &whole);
	} while (ret < 0 && errno == EINTR);
	if (ret == 0 || (errno != EAGAIN && errno != EACCES)) {
		ret = stat(path, &named);
		if (ret == 0 && named.st_dev == st.st_dev && named.st_ino == st.st_ino)
			return NULL;
		if (ret < 0 && errno != ENOENT)
			why = strerror(errno);
	}
	made_forget(path);
	return why;
}
