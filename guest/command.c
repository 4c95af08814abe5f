#include "guest/init.h"

#include <asm/ioctls.h>
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "guest/pump.h"

#define KERNEL_SIGCHLD	  17
#define KERNEL_SIGSET	  8 /* bytes of the kernel's signal set */
#define KERNEL_SIG_BIT(s) (UINT64_C(1) << ((s)-1))
#define SIG_SETMASK_	  2
#define SIGKILL_	  9
#define REAP_MS		  2000

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct command {
	const struct init_start *start;
	long pid; /* also its session and its first process group */
	bool ended;
	int terminal; /* our side; -1: there are pipes */
	int far_side; /* the command's, which we keep open lest it hangs up between two programs; -1: not */
	int signals;	     /* signalfd for SIGCHLD */
	struct pump pump[3]; /* in, out, errors */
	/* what came over the control stream and is no whole message yet */
	uint8_t text[GUEST_MESSAGE_MAX];
	size_t text_len;
};

/* ---- streams ---- */

static void command_nonblocking(int fd)
{
	SYS3(fcntl, fd, F_SETFL, SYS3(fcntl, fd, F_GETFL, 0) | O_NONBLOCK);
}

static void command_pipe(int ends[2])
{
	long err = SYS2(pipe2, ends, O_CLOEXEC);

	if (err < 0)
		init_fail("make a pipe", "", err);
}

static void command_resize(const struct command *command, const struct guest_window *window)
{
	struct {
		uint16_t rows, columns, width, height;
	} size = {.rows = window->rows, .columns = window->columns};

	if (command->terminal >= 0)
		SYS3(ioctl, command->terminal, TIOCSWINSZ, &size);
}

static void command_make_terminal(struct command *command)
{
	char name[32];
	int unlock = 0, number = 0;
	struct termios mode;

	command->terminal = (int)SYS3(open, "/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC, 0);
	if (command->terminal < 0)
		init_fail("make a terminal", "", command->terminal);
	SYS3(ioctl, command->terminal, TIOCSPTLCK, &unlock);
	SYS3(ioctl, command->terminal, TIOCGPTN, &number);
	text_append_number(name, sizeof(name), text_append(name, sizeof(name), 0, "/dev/pts/"),
			   (unsigned int)number);
	command->far_side = (int)SYS3(open, name, O_RDWR | O_NOCTTY | O_CLOEXEC, 0);
	if (command->far_side < 0)
		init_fail("open", name, command->far_side);
	if ((command->start->what.flags & GUEST_TERMINAL_UTF8) &&
	    SYS3(ioctl, command->terminal, TCGETS, &mode) == 0) {
		mode.c_iflag |= IUTF8;
		SYS3(ioctl, command->terminal, TCSETS, &mode);
	}
	command_resize(command, &command->start->what.window);
}

/* far gets the command's ends. */
static void command_make_streams(struct command *command, int far[3])
{
	uint32_t flags = command->start->what.flags;
	int ends[2];

	if (flags & GUEST_TERMINAL) {
		command_make_terminal(command);
		pump_init(&command->pump[0], channel.stream[0], command->terminal, PUMP_KEEP_TO);
		pump_init(&command->pump[1], command->terminal, channel.stream[1], PUMP_TO_HOST);
		far[0] = far[1] = far[2] = command->far_side;
	} else {
		command_pipe(ends);
		far[0] = ends[0];
		pump_init(&command->pump[0], channel.stream[0], ends[1], 0);
		command_pipe(ends);
		far[1] = ends[1];
		pump_init(&command->pump[1], ends[0], channel.stream[1], PUMP_TO_HOST);
	}
	if (flags & GUEST_TERMINAL_ERRORS) {
		pump_init(&command->pump[2], -1, channel.stream[2], PUMP_TO_HOST);
	} else {
		command_pipe(ends);
		far[2] = ends[1];
		pump_init(&command->pump[2], ends[0], channel.stream[2], PUMP_TO_HOST);
	}
	for (unsigned int i = 0; i < 3; i++) {
		command_nonblocking(command->pump[i].to);
		if (command->pump[i].from >= 0)
			command_nonblocking(command->pump[i].from);
	}
}

/* ---- the new process ---- */

/* As a shell does it with a text that does not say what runs it. There is room before args. */
static long command_exec_script(char *path, char **args, char **env)
{
	static const char shell[] = "/bin/sh";
	char *name = args[0];
	long err;

	args[-1] = (char *)(uintptr_t)shell;
	args[0] = path;
	err = SYS3(execve, shell, args - 1, env);
	args[0] = name;
	return err;
}

static long command_exec_path(char *path, char **args, char **env)
{
	long err = SYS3(execve, path, args, env);

	return err == -ENOEXEC ? command_exec_script(path, args, env) : err;
}

static const char *command_find_path(char **env)
{
	for (; *env; env++) {
		if (memcmp(*env, "PATH=", 5) == 0)
			return *env + 5;
	}
	return DEFAULT_PATH + 5;
}

/* In one directory of PATH, of len bytes. There is none whose name and the program's are too long together. */
static long command_exec_in(const char *dir, size_t len, char **args, char **env)
{
	char path[4096];

	if (len >= sizeof(path))
		return -ENOENT;
	memcpy(path, dir, len);
	len = text_append(path, sizeof(path), len, len > 0 ? "/" : "./");
	if (len + text_len(args[0]) >= sizeof(path))
		return -ENOENT;
	text_append(path, sizeof(path), len, args[0]);
	return command_exec_path(path, args, env);
}

/* Returns why none of the programs of that name can be run. */
static long command_exec(char **args, char **env)
{
	const char *dir = command_find_path(env);
	char *name = args[0];
	long worst = -ENOENT;

	for (const char *c = name; *c; c++) {
		if (*c == '/')
			return command_exec_path(name, args, env);
	}
	while (*name) {
		size_t len = 0;
		long err;

		while (dir[len] && dir[len] != ':')
			len++;
		err = command_exec_in(dir, len, args, env);
		if (err != -ENOENT && err != -ENOTDIR)
			worst = err;
		if (!dir[len])
			break;
		dir += len + 1;
	}
	return worst;
}

/* The host waits for this process to start, and hears nobody else meanwhile. */
static void command_enter(const char *directory)
{
	long err = SYS1(chdir, directory);

	if (err == 0)
		return;
	channel_note("the command runs in /, as it cannot run in ", directory, err);
	SYS1(chdir, "/");
}

/* With those above it, as far as they are missing. */
static void command_make_directory(const char *path)
{
	char part[4096];
	size_t len = 0;

	for (; path[len] && len < sizeof(part) - 1; len++) {
		part[len] = path[len];
		part[len + 1] = '\0';
		if (path[len + 1] == '/' || path[len + 1] == '\0')
			SYS2(mkdir, part, 0755);
	}
}

/* In the new process. Whether it could not be run goes into the pipe tell, which is closed when it could. */
static void __attribute__((noreturn))
command_become(const struct command *command, const int far[3], int tell)
{
	const struct init_start *start = command->start;
	const struct rlimit files = {1024, 524288};
	uint64_t none = 0;
	int err;

	SYS0(setsid);
	if (command->terminal >= 0)
		SYS3(ioctl, command->far_side, TIOCSCTTY, 0);
	for (int i = 0; i < 3; i++)
		SYS3(dup3, far[i], i, 0);
	SYS4(rt_sigprocmask, SIG_SETMASK_, &none, 0, KERNEL_SIGSET);
	if (start->what.flags & GUEST_CONTAINER)
		command_make_directory(start->directory);
	command_enter(start->directory);
	/* The kernel's own limit for all but root is 4096, with which some servers do not start. */
	SYS4(prlimit64, 0, RLIMIT_NOFILE, &files, NULL);
	err = (int)user_become(start);
	if (err == 0)
		err = (int)command_exec(start->args, start->env);
	SYS3(write, tell, &err, sizeof(err));
	for (;;)
		SYS1(exit_group, 127);
}

/* The standard descriptors are the console's, above which all of ours are. */
static void command_start(struct command *command)
{
	int far[3], tell[2], err = 0;

	command_make_streams(command, far);
	command_pipe(tell);
	command->pid = SYS0(fork);
	if (command->pid < 0)
		init_fail("start a process", "", command->pid);
	if (command->pid == 0)
		command_become(command, far, tell[1]);
	SYS1(close, tell[1]);
	for (unsigned int i = 0; i < 3; i++) {
		if (far[i] != command->far_side)
			SYS1(close, far[i]);
	}
	if (SYS3(read, tell[0], &err, sizeof(err)) == sizeof(err)) {
		channel_fail(command->start->args[0], (uint32_t)-err, GUEST_FAILED_COMMAND);
		init_sleep(2000);
		init_end();
	}
	SYS1(close, tell[0]);
	channel_say(GUEST_STARTED, NULL, 0);
}

/* ---- what the host says ---- */

static void command_signal(const struct command *command, const struct guest_signal *signal)
{
	if (!command->ended)
		SYS2(kill, signal->group ? -command->pid : command->pid, signal->number);
}

static void command_obey(struct command *command, uint32_t type, const uint8_t *body)
{
	struct guest_signal signal;
	struct guest_window window;

	if (type == GUEST_SIGNAL) {
		memcpy(&signal, body, sizeof(signal));
		command_signal(command, &signal);
	} else if (type == GUEST_WINDOW) {
		memcpy(&window, body, sizeof(window));
		command_resize(command, &window);
	}
}

static void command_hear(struct command *command)
{
	struct guest_message head;
	long n = SYS3(read, channel.control, command->text + command->text_len,
		      sizeof(command->text) - command->text_len);

	if (n == 0)
		init_end(); /* the host has gone */
	command->text_len += n > 0 ? (size_t)n : 0;
	while (command->text_len >= sizeof(head)) {
		size_t size;

		memcpy(&head, command->text, sizeof(head));
		size = sizeof(head) + head.size;
		if (size > sizeof(command->text))
			init_fail("understand the host: a message is too long", "", 0);
		if (command->text_len < size)
			break;
		command_obey(command, head.type, command->text + sizeof(head));
		command->text_len -= size;
		memmove(command->text, command->text + size, command->text_len);
	}
}

/* ---- the end ---- */

/* Those that are killed go at once, but for one that waits for a device or a file system that does not answer: it stays. */
static void command_reap_all(void)
{
	unsigned int waited = 0;

	while (waited < REAP_MS) {
		long pid = SYS4(wait4, -1, 0, __WALL | WNOHANG, 0);

		if (pid < 0)
			return;
		if (pid == 0) {
			init_sleep(1);
			waited++;
		}
	}
}

/* What it left running holds its output open, and ends with it. */
static void command_on_end(struct command *command, int status, const struct rusage *usage)
{
	struct guest_exited exited = {
		.status = WEXITSTATUS(status),
		.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
		.cpu = (uint64_t)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000000 +
		       (uint64_t)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec),
		.memory = (uint64_t)usage->ru_maxrss * 1024};

	command->ended = true;
	SYS2(kill, -1, SIGKILL_);
	command_reap_all();
	if (command->far_side >= 0)
		SYS1(close, command->far_side);
	command->far_side = -1;
	pump_close(&command->pump[0]);
	channel_say(GUEST_EXITED, &exited, sizeof(exited));
}

/* Orphans are ours to wait for too. */
static void command_reap(struct command *command)
{
	uint8_t info[128];
	struct rusage usage;
	int status;
	long pid;

	SYS3(read, command->signals, info, sizeof(info));
	while (!command->ended && (pid = SYS4(wait4, -1, &status, WNOHANG | __WALL, &usage)) > 0) {
		if (pid == command->pid)
			command_on_end(command, status, &usage);
	}
}

static bool command_is_over(const struct command *command)
{
	return command->ended && pump_is_over(&command->pump[1]) && pump_is_over(&command->pump[2]);
}

void command_run(const struct init_start *start)
{
	static struct command command; /* large */
	uint64_t children = KERNEL_SIG_BIT(KERNEL_SIGCHLD);
	struct pollfd fds[2 + 3 * PUMP_FDS];

	command.start = start;
	command.terminal = -1;
	command.far_side = -1;
	SYS4(rt_sigprocmask, SIG_SETMASK_, &children, 0, KERNEL_SIGSET);
	command.signals = (int)SYS4(signalfd4, -1, &children, KERNEL_SIGSET,
				    O_NONBLOCK | O_CLOEXEC);
	command_start(&command);
	command_nonblocking(channel.control);
	while (!command_is_over(&command)) {
		fds[0] = (struct pollfd){.fd = channel.control, .events = POLLIN};
		fds[1] = (struct pollfd){.fd = command.signals, .events = POLLIN};
		for (unsigned int i = 0; i < 3; i++)
			pump_poll(&command.pump[i], fds + 2 + i * PUMP_FDS);
		if (SYS3(poll, fds, 2 + 3 * PUMP_FDS, command.ended ? 100 : -1) < 0)
			continue;
		for (unsigned int i = 0; i < 3; i++)
			pump_serve(&command.pump[i], fds + 2 + i * PUMP_FDS, command.ended);
		if (fds[0].revents)
			command_hear(&command);
		if (fds[1].revents)
			command_reap(&command);
	}
}
