#include "vmm/cli/host_console.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "vmm/cli/dump.h"
#include "vmm/cli/made.h"
#include "vmm/cli/named.h"
#include "vmm/cli/report.h"
#include "vmm/cli/terminal.h"

static int open_console_file(struct host_console *host, const char *path,
			     const struct options *options)
{
	/* O_NONBLOCK: a pipe that nobody reads is an error, not something to wait for. O_APPEND: others may empty the file. */
	const int flags = O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_APPEND;
	int err;

	host->path = path;
	host->fd = made_open(path, flags, 0666);
	if (host->fd < 0) {
		err = host->fd;
		report("cannot open console file '%s': %s", path, named_why(path, err));
		return err;
	}
	fcntl(host->fd, F_SETFL, O_APPEND);
	return dump_check_console(options, host->fd, path);
}

/* A terminal for other programs; its name goes to stderr. We keep the far side open, or it would hang up. */
static int open_console_pty(void)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios mode;
	const char *name;
	int far;

	if (fd < 0 || grantpt(fd) < 0 || unlockpt(fd) < 0 || !(name = ptsname(fd)) ||
	    (far = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0 || tcgetattr(far, &mode) < 0)
		return report_failure(-errno, "cannot make a pseudo-terminal for the console");
	/* No echo before somebody connects: it would come back as the guest's input. */
	cfmakeraw(&mode);
	tcsetattr(far, TCSANOW, &mode);
	report("the console is on %s", name);
	return fd;
}

static bool socket_name(struct sockaddr_un *name, const char *path)
{
	*name = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(name->sun_path))
		return false;
	strcpy(name->sun_path, path);
	return true;
}

/* The socket gets its name when the machine starts. */
static int open_console_socket(struct host_console *host)
{
	struct sockaddr_un name;

	if (!socket_name(&name, host->path)) {
		report("the name of console socket '%s' is longer than %zu bytes", host->path,
		       sizeof(name.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	host->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (host->fd >= 0)
		return host->fd;
	return report_failure(-errno, "cannot make a socket for the console");
}

int host_console_open(struct host_console *host, struct options *options)
{
	struct vmm_config *config = &options->config;
	int err;

	*host = (struct host_console){.path = options->console_path, .fd = -1, .dir = -1};
	if (options->command || options->console == OPTIONS_CONSOLE_STDIO) {
		err = dump_check_console(options, STDOUT_FILENO, "standard output");
		if (err < 0)
			return err;
	}
	switch (options->console) {
	case OPTIONS_CONSOLE_STDIO:
		config->console_out = STDOUT_FILENO;
		config->console_in = STDIN_FILENO;
		if (isatty(STDIN_FILENO)) {
			/* In the background of its shell it may become ours; what is not even its terminal stays another's. */
			config->console_keys = tcgetpgrp(STDIN_FILENO) >= 0;
			if (!config->console_keys)
				config->console_in = -1;
		}
		return 0;
	case OPTIONS_CONSOLE_FILE:
		err = open_console_file(host, options->console_path, options);
		config->console_out = host->fd;
		return err;
	case OPTIONS_CONSOLE_PTY:
		err = open_console_pty();
		config->console_in = err;
		config->console_out = err;
		return err < 0 ? err : 0;
	case OPTIONS_CONSOLE_SOCKET:
		err = open_console_socket(host);
		config->console_socket = err;
		return err < 0 ? err : 0;
	case OPTIONS_CONSOLE_NONE:
		return 0;
	}
	return -EINVAL;
}

/* ---- the start ---- */

/*
 * A socket to which nobody answers any more is what a vmm that was killed has left behind. Returns 0 when at most that has the name,
 * -EEXIST when something else has it, or why that is not known.
 */
static int try_name(const struct sockaddr_un *name)
{
	struct stat st;
	bool refused;
	int fd;

	if (lstat(name->sun_path, &st) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	refused = connect(fd, (const struct sockaddr *)name, sizeof(*name)) < 0 &&
		  errno == ECONNREFUSED;
	close(fd);
	return refused ? 0 : -EEXIST;
}

static const char *console_base(const struct host_console *host)
{
	const char *slash = strrchr(host->path, '/');

	return slash ? slash + 1 : host->path;
}

/* Of the socket, whose name is short. */
static int open_console_dir(struct host_console *host)
{
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path) + 2];

	snprintf(dir, sizeof(dir), "%.*s.", (int)(console_base(host) - host->path), host->path);
	host->dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (host->dir < 0)
		return report_failure(-errno, "cannot open the directory of console socket '%s'",
				      host->path);
	return 0;
}

static int rename_console(const struct host_console *host, const char *own, unsigned int flags)
{
	return renameat2(host->dir, own, host->dir, console_base(host), flags) < 0 ? -errno : 0;
}

/*
 * From its own name to the wanted one, when that is free or a killed vmm's. What had that is looked at once it has the other one: it may be
 * that of one that was a moment faster.
 */
static int name_console_socket(const struct host_console *host, const char *own,
			       const struct sockaddr_un *own_name, const struct sockaddr_un *name)
{
	int err = rename_console(host, own, RENAME_NOREPLACE), taken;

	if (err != -EEXIST && err != -EINVAL)
		return err;
	taken = try_name(name);
	if (taken < 0)
		return taken;
	if (err == -EINVAL) /* the file system knows no other way */
		return rename_console(host, own, 0);
	err = rename_console(host, own, RENAME_EXCHANGE);
	if (err == 0)
		err = taken = try_name(own_name);
	if (taken < 0)
		rename_console(host, own, RENAME_EXCHANGE);
	return err;
}

/* Beside the path, which has room for a short name only where it is not long itself. */
static void own_socket_name(const struct host_console *host, const char *own,
			    struct sockaddr_un *name)
{
	*name = (struct sockaddr_un){.sun_family = AF_UNIX};
	if ((size_t)snprintf(name->sun_path, sizeof(name->sun_path), "%.*s%s",
			     (int)(console_base(host) - host->path), host->path,
			     own) >= sizeof(name->sun_path))
		snprintf(name->sun_path, sizeof(name->sun_path), "/proc/self/fd/%d/%s", host->dir,
			 own);
}

/*
 * Under a name of its own until it listens, for one that does not looks like one that was left behind (vmm/core/kept_name.c does the
 * same for the library). bind() takes the mode of the socket: it leads to a shell, as likely as not.
 */
static int listen_and_name(struct host_console *host, const char *own,
			   const struct sockaddr_un *name)
{
	struct sockaddr_un own_name;
	struct stat st;
	int err = 0;

	own_socket_name(host, own, &own_name);
	if (fchmod(host->fd, S_ISVTX | 0600) < 0 ||
	    bind(host->fd, (struct sockaddr *)&own_name, sizeof(own_name)) < 0)
		return -errno;
	if (listen(host->fd, 8) < 0 || fstatat(host->dir, own, &st, AT_SYMLINK_NOFOLLOW) < 0)
		err = -errno;
	if (err == 0)
		err = name_console_socket(host, own, &own_name, name);
	if (err == 0) {
		host->device = st.st_dev;
		host->inode = st.st_ino;
	}
	unlinkat(host->dir, own, 0);
	return err;
}

static int bind_console_socket(struct host_console *host)
{
	int err = open_console_dir(host);
	struct sockaddr_un name;
	uint32_t random;
	char own[16];

	if (err < 0)
		return err;
	socket_name(&name, host->path); /* open has looked at its length */
	/* What is refused leaves the directory as it was. */
	err = try_name(&name);
	if (err == 0 && getrandom(&random, sizeof(random), 0) < 0)
		err = -errno;
	if (err == 0) {
		snprintf(own, sizeof(own), ".vmm-%08" PRIx32, random);
		err = listen_and_name(host, own, &name);
	}
	host->bound = err == 0;
	if (err < 0)
		report("cannot make console socket '%s': %s", host->path,
		       err == -EEXIST ? "the name is taken" : strerror(-err));
	return err;
}

int host_console_begin(struct host_console *host, const struct options *options)
{
	return options->console == OPTIONS_CONSOLE_SOCKET ? bind_console_socket(host) : 0;
}

void host_console_empty(const struct host_console *host)
{
	struct stat st;

	if (fstat(host->fd, &st) == 0 && S_ISREG(st.st_mode) && ftruncate(host->fd, 0) < 0)
		report("cannot empty console file '%s': %m", host->path);
}

bool host_console_size(const struct options *options, unsigned int *rows, unsigned int *columns)
{
	int fd = options->config.console_keys ? STDIN_FILENO : STDOUT_FILENO;
	struct winsize size;

	if (options->console != OPTIONS_CONSOLE_STDIO || ioctl(fd, TIOCGWINSZ, &size) < 0)
		return false;
	*rows = size.ws_row;
	*columns = size.ws_col;
	return true;
}

void host_console_end(const struct host_console *host)
{
	struct stat st;

	if (!host->bound)
		return;
	/* Somebody may have put something else there. */
	if (fstatat(host->dir, console_base(host), &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (st.st_dev != host->device || st.st_ino != host->inode ||
	     unlinkat(host->dir, console_base(host), 0) == 0))
		return;
	if (errno != ENOENT)
		report("cannot remove '%s': %m", host->path);
}
