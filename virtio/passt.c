#include "virtio/passt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "virtio/passt_ports.h"
#include "vmm/core/log.h"

#define PASST_PROGRAM  "passt"
#define PASST_FD       3
#define PASST_START_MS 10000
#define PASST_END_MS   2000

extern char **environ;

/* ---- what it is given ---- */

struct passt_args {
	char fd[12];
	char mtu[12];
	char *argv[]; /* and the forwards behind the pointers */
};

static struct passt_args *passt_make_args(const struct passt_config *config)
{
	static const char *const fixed[] = {PASST_PROGRAM, "--foreground", "--quiet", "--pid",
					    "/proc/self/fd/1"};
	const size_t n_fixed = sizeof(fixed) / sizeof(fixed[0]), text = sizeof("65535:65535");
	size_t n = n_fixed + 4 + 2 * (size_t)config->n_forwards + 1, at = n_fixed;
	struct passt_args *args =
		calloc(1, sizeof(*args) + n * sizeof(char *) + config->n_forwards * text);
	char *forward;

	if (!args)
		return NULL;
	forward = (char *)&args->argv[n];
	memcpy(args->argv, fixed, sizeof(fixed));
	snprintf(args->fd, sizeof(args->fd), "%d", PASST_FD);
	snprintf(args->mtu, sizeof(args->mtu), "%u", config->mtu ? config->mtu : PASST_MTU);
	args->argv[at++] = "--fd";
	args->argv[at++] = args->fd;
	args->argv[at++] = "--mtu";
	args->argv[at++] = args->mtu;
	for (unsigned int i = 0; i < config->n_forwards; i++, forward += text) {
		const struct passt_forward *f = &config->forwards[i];

		snprintf(forward, text, "%u:%u", f->host, f->guest);
		args->argv[at++] = f->udp ? "--udp-ports" : "--tcp-ports";
		args->argv[at++] = forward;
	}
	return args;
}

/* The one variable that it gets; NULL: there is none. */
static char *passt_find_path(void)
{
	char **at = environ;

	while (at && *at && strncmp(*at, "PATH=", 5) != 0)
		at++;
	return at ? *at : NULL;
}

/* Its streams: nothing to read, its readiness, its complaints, and the frames. What else is open or in our environment is none of its business. */
static int passt_spawn_with(pid_t *pid, char **argv, int frames, int ready, int complaints)
{
	char *const env[] = {passt_find_path(), NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int err;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attr);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, ready, 1);
	posix_spawn_file_actions_adddup2(&files, complaints, 2);
	posix_spawn_file_actions_adddup2(&files, frames, PASST_FD);
	posix_spawn_file_actions_addclosefrom_np(&files, PASST_FD + 1);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setpgroup(&attr, 0);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
						POSIX_SPAWN_SETPGROUP);
	err = -posix_spawnp(pid, PASST_PROGRAM, &files, &attr, argv, env);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&files);
	return err;
}

/* ---- starting ---- */

/* The pipes and the socket of one start; ours have index 0. */
struct passt_start {
	int frames[2];
	int ready[2];
	int complaints[2];
	char text[2048]; /* what it complained about */
	size_t len;
};

static void passt_close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void passt_start_close(struct passt_start *start)
{
	for (unsigned int i = 0; i < 2; i++) {
		passt_close_fd(&start->frames[i]);
		passt_close_fd(&start->ready[i]);
		passt_close_fd(&start->complaints[i]);
	}
}

/* Its ends must not be among 0 to 3, which they are copied to. */
static int passt_raise_fd(int *fd)
{
	int high = fcntl(*fd, F_DUPFD_CLOEXEC, PASST_FD + 1);

	if (high < 0)
		return -errno;
	close(*fd);
	*fd = high;
	return 0;
}

static int passt_start_open(struct passt_start *start)
{
	int err;

	*start = (struct passt_start){{-1, -1}, {-1, -1}, {-1, -1}, "", 0};
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, start->frames) < 0 ||
	    pipe2(start->ready, O_CLOEXEC) < 0 ||
	    pipe2(start->complaints, O_CLOEXEC | O_NONBLOCK) < 0)
		err = -errno;
	else
		err = passt_raise_fd(&start->frames[1]);
	if (err == 0)
		err = passt_raise_fd(&start->ready[1]);
	if (err == 0)
		err = passt_raise_fd(&start->complaints[1]);
	/* It opens this by name, and started by root it is nobody by then. */
	if (err == 0 && fchmod(start->ready[1], 0622) < 0)
		err = -errno;
	if (err < 0)
		passt_start_close(start);
	return err;
}

static void passt_read_complaints(struct passt_start *start)
{
	ssize_t n = read(start->complaints[0], &start->text[start->len],
			 sizeof(start->text) - 1 - start->len);

	if (n > 0)
		start->len += (size_t)n;
	/* The last ones are those that count. */
	if (start->len == sizeof(start->text) - 1) {
		start->len /= 2;
		memmove(start->text, &start->text[sizeof(start->text) - 1 - start->len],
			start->len);
	}
	start->text[start->len] = '\0';
}

/* Returns 0 when it is ready, -ECHILD when it has ended, -ETIMEDOUT. */
static int passt_await(struct passt_start *start)
{
	struct pollfd fds[2] = {{.fd = start->ready[0], .events = POLLIN},
				{.fd = start->complaints[0], .events = POLLIN}};
	char pid[16];

	for (;;) {
		int n = poll(fds, 2, PASST_START_MS);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ETIMEDOUT;
		if (fds[1].revents & POLLIN)
			passt_read_complaints(start);
		else
			fds[1].fd = fds[1].revents ? -1 : fds[1].fd;
		if (fds[0].revents & POLLIN && !(fds[1].revents & POLLIN))
			return read(fds[0].fd, pid, sizeof(pid)) > 0 ? 0 : -ECHILD;
		if (fds[0].revents && !(fds[1].revents & POLLIN))
			return -ECHILD;
	}
}

/* The last line of its own; it also tells when there is no system log to write to. */
static const char *passt_last_words(struct passt_start *start)
{
	const char *last = "it gave no reason", *line;
	char *rest = start->text;

	while ((line = strsep(&rest, "\n"))) {
		if (*line && strncmp(line, "Failed to send", 14) != 0)
			last = line;
	}
	return last;
}

static void passt_report(struct passt_start *start, int err)
{
	if (err == -ENOENT)
		log_error("cannot start " PASST_PROGRAM
			  " for a user network: there is no such program; install it with: "
			  "apt install passt");
	else if (err == -ECHILD)
		log_error("cannot start " PASST_PROGRAM " for a user network: %s",
			  passt_last_words(start));
	else if (err == -ETIMEDOUT)
		log_error("cannot start " PASST_PROGRAM
			  " for a user network: it was not ready after %d s",
			  PASST_START_MS / 1000);
	else
		log_failure(err, "cannot start " PASST_PROGRAM " for a user network");
}

static int passt_spawn(struct passt *passt, const struct passt_config *config,
		       struct passt_start *start)
{
	struct passt_args *args = passt_make_args(config);
	int err;

	if (!args)
		return -ENOMEM;
	err = passt_spawn_with(&passt->pid, args->argv, start->frames[1], start->ready[1],
			       start->complaints[1]);
	free(args);
	if (err < 0)
		passt->pid = 0;
	passt_close_fd(&start->frames[1]);
	passt_close_fd(&start->ready[1]);
	passt_close_fd(&start->complaints[1]);
	return err < 0 ? err : passt_await(start);
}

/* ---- its end ---- */

static struct passt *passt_of(struct net_backend *be)
{
	return (struct passt *)((char *)be - offsetof(struct passt, stream.be));
}

/* Its process's descriptor is readable once it has ended. */
static int passt_read_link(struct net_backend *be)
{
	struct passt *passt = passt_of(be);

	if (passt->pid != 0 && waitpid(passt->pid, NULL, WNOHANG) == 0)
		return 0;
	passt->pid = 0;
	be->link_up = false;
	return -EPIPE;
}

/* Linux before 5.3 has no such descriptors; there its end shows when its socket is read. */
static int passt_watch(struct passt *passt)
{
	int fd = (int)syscall(SYS_pidfd_open, passt->pid, 0);

	if (fd < 0 && errno != ENOSYS && errno != EPERM)
		return -errno;
	passt->ops = *passt->stream.be.ops;
	passt->ops.read_link = passt_read_link;
	passt->stream.be.ops = &passt->ops;
	passt->stream.be.link_fd = fd;
	return 0;
}

int passt_open(struct passt *passt, const struct passt_config *config)
{
	struct passt_start start;
	int err;

	*passt = (struct passt){.stream = {.be = {.fd = {-1}, .write_fd = {-1}, .link_fd = -1}}};
	if (config->number > 0)
		snprintf(passt->name, sizeof(passt->name), "user %u", config->number + 1);
	else
		snprintf(passt->name, sizeof(passt->name), "user");
	err = passt_ports_check(config->forwards, config->n_forwards);
	if (err < 0)
		return err;
	err = passt_start_open(&start);
	if (err == 0)
		err = passt_spawn(passt, config, &start);
	if (err == 0) {
		err = net_stream_open(&passt->stream, start.frames[0], "connection to passt",
				      passt->name, config->mtu ? config->mtu : PASST_MTU);
		start.frames[0] = -1;
	}
	if (err == 0)
		err = passt_watch(passt);
	if (err < 0)
		passt_report(&start, err);
	passt->complaints = start.complaints[0];
	start.complaints[0] = -1;
	passt_start_close(&start);
	if (err < 0) {
		/* It may live on without ever being ready. */
		if (passt->pid != 0)
			passt->stream.be.link_fd = (int)syscall(SYS_pidfd_open, passt->pid, 0);
		passt_close(passt);
	}
	return err == -ECHILD ? -EIO : err;
}

/* Returns whether it is gone. */
static bool passt_await_end(struct passt *passt)
{
	for (unsigned int ms = 0; ms < PASST_END_MS; ms++) {
		if (waitpid(passt->pid, NULL, WNOHANG) != 0)
			return true;
		poll(NULL, 0, 1);
	}
	return false;
}

/* It ends when its socket is closed; one that does not is helped, by its descriptor: by number others can be hit. */
void passt_close(struct passt *passt)
{
	int fd = passt->stream.be.link_fd;

	passt->stream.be.link_fd = -1;
	net_stream_close(&passt->stream);
	passt_close_fd(&passt->complaints);
	if (passt->pid != 0 && !passt_await_end(passt)) {
		/* Not where a sandbox forbids signals; then it is left alone. */
		if (fd >= 0 && syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) == 0)
			waitpid(passt->pid, NULL, 0);
	}
	passt->pid = 0;
	passt_close_fd(&fd);
}
