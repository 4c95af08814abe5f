/* The program: options, terminal, signals and exit status around one VM of libvmm. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "vmm/api/vmm.h"
#include "vmm/cli/options.h"
#include "vmm/cli/report.h"
#include "vmm/cli/terminal.h"

enum exit_status {
	EXIT_STATUS_OK = 0,
	EXIT_STATUS_CRASHED = 123,
	EXIT_STATUS_TIMED_OUT = 124,
	EXIT_STATUS_FAILED = 125,
	EXIT_STATUS_SIGNAL = 128, /* plus its number */
};

/* How long the guest may take to power off after SIGTERM or SIGINT. */
#define GRACE_MS 10000

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* A program started without the standard descriptors must not get /dev/kvm or a disk as its stdout. */
static void open_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* ---- signals ---- */

static const int handled_signals[] = {SIGTERM, SIGINT, SIGHUP};

/* Blocks what we handle and returns a signalfd for it. What our parent told us to ignore stays ignored. */
static int open_signals(void)
{
	struct sigaction old;
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < sizeof(handled_signals) / sizeof(int); i++) {
		if (sigaction(handled_signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaddset(&set, handled_signals[i]);
	}
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* ---- console ---- */

struct console_file {
	const char *path;
	int fd;
	bool created; /* by us, so that a failed start removes it again */
};

/* A console written into what the machine is made of would destroy it. */
static bool is_same_file(const struct stat *st, const char *path)
{
	struct stat other;

	return path && stat(path, &other) == 0 && other.st_dev == st->st_dev &&
	       other.st_ino == st->st_ino;
}

/* The same lock as a disk's, so that no image of this machine or another is taken for a console's file. */
static int lock_console_file(const struct console_file *file, const struct vmm_config *config)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct stat st;

	if (fstat(file->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	if (is_same_file(&st, config->kernel) || is_same_file(&st, config->initrd)) {
		report("console file '%s' is the kernel or the initrd", file->path);
		return -EINVAL;
	}
	if (fcntl(file->fd, F_OFD_SETLK, &whole) < 0 && (errno == EAGAIN || errno == EACCES)) {
		report("console file '%s' is in use (locked) by another program", file->path);
		return -EBUSY;
	}
	return 0;
}

static int open_console_file(struct console_file *file, const char *path,
			     const struct vmm_config *config)
{
	/* O_NONBLOCK: a pipe that nobody reads is an error, not something to wait for. */
	const int flags = O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int err;

	file->path = path;
	file->fd = open(path, flags | O_CREAT | O_EXCL, 0666);
	file->created = file->fd >= 0;
	if (file->fd < 0 && errno == EEXIST)
		file->fd = open(path, flags);
	if (file->fd < 0) {
		err = -errno;
		report("cannot open console file '%s': %s", path,
		       err == -ENXIO ? "nobody reads from it" : strerror(-err));
		return err;
	}
	fcntl(file->fd, F_SETFL, 0);
	return lock_console_file(file, config);
}

/* A terminal for other programs; its name goes to stderr. We keep the far side open, or it would hang up. */
static int open_console_pty(void)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios mode;
	const char *name;
	int far;

	if (fd < 0 || grantpt(fd) < 0 || unlockpt(fd) < 0 || !(name = ptsname(fd)) ||
	    (far = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0 || tcgetattr(far, &mode) < 0) {
		int err = -errno;

		report("cannot make a pseudo-terminal for the console: %s", strerror(-err));
		return err;
	}
	/* No echo before somebody connects: it would come back as the guest's input. */
	cfmakeraw(&mode);
	tcsetattr(far, TCSANOW, &mode);
	report("the console is on %s", name);
	return fd;
}

static int open_console(struct options *options, struct console_file *file)
{
	struct vmm_config *config = &options->config;
	int err;

	switch (options->console) {
	case OPTIONS_CONSOLE_STDIO:
		config->console_out = STDOUT_FILENO;
		config->console_in = STDIN_FILENO;
		if (isatty(STDIN_FILENO)) {
			config->console_keys = terminal_is_ours(STDIN_FILENO);
			if (!config->console_keys)
				config->console_in = -1;
		}
		return 0;
	case OPTIONS_CONSOLE_FILE:
		err = open_console_file(file, options->console_file, config);
		config->console_out = file->fd;
		return err;
	case OPTIONS_CONSOLE_PTY:
		err = open_console_pty();
		config->console_in = err;
		config->console_out = err;
		return err < 0 ? err : 0;
	case OPTIONS_CONSOLE_NONE:
		return 0;
	}
	return -EINVAL;
}

/* The file changes only now that everything else was found to be right. */
static void begin_console_file(const struct console_file *file)
{
	struct stat st;

	if (file->fd >= 0 && fstat(file->fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    ftruncate(file->fd, 0) < 0)
		report("cannot empty console file '%s': %s", file->path, strerror(errno));
}

/* ---- the run ---- */

struct run {
	struct vmm *vm;
	int signal_fd;
	int signal;	  /* the first that asked us to end; 0: none */
	bool forced;	  /* the VM was ended without asking the guest (any more) */
	uint64_t timeout; /* ms of CLOCK_MONOTONIC; UINT64_MAX: never */
	uint64_t grace;
};

static void run_on_signal(struct run *run)
{
	struct signalfd_siginfo info;

	if (read(run->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	/* Nobody is left to watch once the terminal has hung up. */
	if (run->signal != 0 || info.ssi_signo == SIGHUP) {
		run->forced = true;
		vmm_stop(run->vm);
	} else {
		run->grace = now_ms() + GRACE_MS;
		vmm_power_button(run->vm);
	}
	run->signal = (int)info.ssi_signo;
}

static void run_check_deadlines(struct run *run)
{
	uint64_t now = now_ms();

	if (now >= run->timeout) {
		run->timeout = UINT64_MAX;
		vmm_stop(run->vm);
	}
	if (now >= run->grace) {
		run->forced = true;
		run->grace = UINT64_MAX;
		vmm_stop(run->vm);
	}
}

static int run_poll_timeout(const struct run *run)
{
	uint64_t next = run->timeout < run->grace ? run->timeout : run->grace;
	uint64_t now = now_ms();

	if (next == UINT64_MAX)
		return -1;
	if (next <= now)
		return 0;
	return next - now < 1000000 ? (int)(next - now) : 1000000;
}

static int run_until_end(struct run *run)
{
	enum vmm_end end = VMM_END_NONE;
	struct pollfd fds[] = {{.fd = vmm_fd(run->vm), .events = POLLIN},
			       {.fd = run->signal_fd, .events = POLLIN}};

	while (!(fds[0].revents & POLLIN)) {
		if (poll(fds, 2, run_poll_timeout(run)) < 0)
			continue;
		if (fds[1].revents & POLLIN)
			run_on_signal(run);
		run_check_deadlines(run);
	}
	vmm_wait(run->vm, -1, &end);
	switch (end) {
	case VMM_END_POWER_OFF:
	case VMM_END_REBOOT:
	case VMM_END_CONSOLE_KEY:
		return EXIT_STATUS_OK;
	case VMM_END_CRASH:
		return EXIT_STATUS_CRASHED;
	case VMM_END_STOPPED:
		return run->forced ? EXIT_STATUS_SIGNAL + run->signal : EXIT_STATUS_TIMED_OUT;
	default:
		return EXIT_STATUS_FAILED;
	}
}

/* From here on signals and the terminal are ours; until now a signal just ended us. */
static int take_over(struct run *run, const struct options *options)
{
	int err = 0;

	run->signal_fd = open_signals();
	if (run->signal_fd < 0) {
		err = -errno;
		report("cannot watch for signals: %s", strerror(-err));
	} else if (options->config.console_keys) {
		err = terminal_make_raw(STDIN_FILENO);
		if (err < 0)
			report("cannot switch the terminal to raw mode: %s", strerror(-err));
	}
	return err;
}

static int run_vm(struct options *options, struct console_file *file)
{
	struct run run = {.signal_fd = -1, .timeout = UINT64_MAX, .grace = UINT64_MAX};
	int status = EXIT_STATUS_FAILED;

	if (vmm_create(&options->config, &run.vm) < 0) {
		if (file->created)
			unlink(file->path);
		return status;
	}
	begin_console_file(file);
	if (options->timeout_ms)
		run.timeout = now_ms() + options->timeout_ms;
	if (take_over(&run, options) == 0 && vmm_start(run.vm) == 0)
		status = run_until_end(&run);
	terminal_restore();
	if (status == EXIT_STATUS_TIMED_OUT)
		report("the machine was ended after %llu.%03llu s (--timeout)",
		       (unsigned long long)options->timeout_ms / 1000,
		       (unsigned long long)options->timeout_ms % 1000);
	vmm_destroy(run.vm);
	return status;
}

int main(int argc, char **argv)
{
	struct console_file file = {.fd = -1};
	struct options options;

	open_standard_descriptors();
	if (options_parse(&options, argc, argv) < 0)
		return EXIT_STATUS_FAILED;
	switch (options.action) {
	case OPTIONS_HELP:
		options_print_help();
		return EXIT_STATUS_OK;
	case OPTIONS_VERSION:
		printf("vmm %s\n", vmm_version());
		return EXIT_STATUS_OK;
	case OPTIONS_RUN:
		break;
	}
	vmm_log_set_level(options.log_level);
	if (open_console(&options, &file) < 0)
		return EXIT_STATUS_FAILED;
	return run_vm(&options, &file);
}
