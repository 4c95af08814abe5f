/* The program: options, terminal, signals and exit status around one VM of libvmm. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "vmm/api/vmm.h"
#include "vmm/cli/cache_dir.h"
#include "vmm/cli/command.h"
#include "vmm/cli/doctor.h"
#include "vmm/cli/dump.h"
#include "vmm/cli/events.h"
#include "vmm/cli/exit_status.h"
#include "vmm/cli/footprint.h"
#include "vmm/cli/help.h"
#include "vmm/cli/host_console.h"
#include "vmm/cli/kernel_choice.h"
#include "vmm/cli/options.h"
#include "vmm/cli/report.h"
#include "vmm/cli/sandbox.h"
#include "vmm/cli/terminal.h"

/* How long the guest may take to power off after SIGTERM or SIGINT. */
#define GRACE_MS 10000

/* A command that is asked twice within this time is not asked two things. */
#define AGAIN_MS 2000

/* After this time a machine has started, and may stay for long. One that ends before need not be made smaller. */
#define SETTLED_MS 2000

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

/* The last two are a command's alone. */
static const int handled_signals[] = {SIGTERM, SIGINT, SIGHUP, SIGWINCH, SIGUSR1, SIGUSR2, SIGQUIT};
#define N_SIGNALS (sizeof(handled_signals) / sizeof(handled_signals[0]))

/* Blocks what we handle and returns a signalfd for it. What our parent told us to ignore stays ignored. */
static int open_signals(bool command)
{
	struct sigaction old;
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < (command ? N_SIGNALS : N_SIGNALS - 2); i++) {
		if (sigaction(handled_signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaddset(&set, handled_signals[i]);
	}
	signal(SIGPIPE, SIG_IGN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* What is for the command alone must not end us before it runs: it waits, and is then read as all others. */
static void hold_command_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

/* ---- the run ---- */

struct run {
	struct vmm *vm;
	const struct options *options;
	struct command *command; /* NULL: none */
	struct events *events;
	int signal_fd;
	int signal;	  /* the last that asked us to end; 0: none */
	uint64_t asked;	  /* when that was, in ms of CLOCK_MONOTONIC */
	bool forced;	  /* the VM was ended without asking the guest (any more) */
	bool timed_out;	  /* so was it, by --timeout */
	bool refused;	  /* a thread was stopped by the sandbox, and its locks are held for ever */
	uint64_t timeout; /* ms of CLOCK_MONOTONIC; UINT64_MAX: never */
	uint64_t grace;
	uint64_t settled;
	int pagemap; /* see footprint.h */
	int violation_fd;
};

static void run_tell_size(const struct run *run)
{
	unsigned int rows, columns;

	if (host_console_size(run->options, &rows, &columns))
		vmm_console_resize(run->vm, rows, columns);
}

/*
 * The command is asked as often as the user likes. Ours is the end when the terminal has hung up or a second request to end
 * soon after the first is not obeyed in time, and at once for the third, or when there is no command.
 */
static void run_on_command_signal(struct run *run, int number)
{
	bool ends = number == SIGTERM || number == SIGINT || number == SIGHUP;
	uint64_t now = now_ms();
	bool again = (run->signal != 0 && now - run->asked <= AGAIN_MS) || number == SIGHUP;

	if (command_signal(run->command, number) && !(ends && run->grace != UINT64_MAX)) {
		if (ends && again)
			run->grace = now + GRACE_MS;
	} else {
		run->forced = true;
		vmm_stop(run->vm);
	}
	if (ends || run->forced) {
		run->signal = number;
		run->asked = now;
	}
}

static void run_on_signal(struct run *run)
{
	struct signalfd_siginfo info;

	if (read(run->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (run->command) {
		run_on_command_signal(run, (int)info.ssi_signo);
		return;
	}
	if (info.ssi_signo == SIGWINCH) {
		run_tell_size(run);
		return;
	}
	if (info.ssi_signo == SIGUSR1) {
		vmm_disks_resized(run->vm);
		return;
	}
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
		run->timed_out = true;
		vmm_stop(run->vm);
	}
	if (now >= run->grace) {
		run->forced = true;
		run->grace = UINT64_MAX;
		vmm_stop(run->vm);
	}
	if (run->command)
		command_check(run->command, now);
	if (now >= run->settled) {
		run->settled = UINT64_MAX;
		footprint_shrink(run->pagemap);
	}
}

static int run_poll_timeout(const struct run *run)
{
	uint64_t next = run->timeout < run->grace ? run->timeout : run->grace;
	uint64_t now = now_ms();

	if (run->settled < next)
		next = run->settled;
	if (run->command && command_deadline(run->command) < next)
		next = command_deadline(run->command);
	if (next == UINT64_MAX)
		return -1;
	if (next <= now)
		return 0;
	return next - now < 1000000 ? (int)(next - now) : 1000000;
}

static const char *run_reason(const struct run *run, enum vmm_end end)
{
	switch (end) {
	case VMM_END_POWER_OFF:
		return "power-off";
	case VMM_END_REBOOT:
		return "reboot";
	case VMM_END_CRASH:
		return "crash";
	case VMM_END_CONSOLE_KEY:
		return "console-key";
	case VMM_END_DEBUGGER:
		return "debugger";
	case VMM_END_STOPPED:
		if (run->forced)
			return "signal";
		if (run->timed_out)
			return "timeout";
		if (command_is_escaped(run->command))
			return "console-key";
		return run->command->boot_timed_out ? "boot-timeout" : "command";
	default:
		return "failed";
	}
}

static int run_status(const struct run *run, enum vmm_end end)
{
	switch (end) {
	case VMM_END_POWER_OFF:
	case VMM_END_REBOOT:
	case VMM_END_CONSOLE_KEY:
	case VMM_END_DEBUGGER:
		return EXIT_STATUS_OK;
	case VMM_END_CRASH:
		return EXIT_STATUS_CRASHED;
	case VMM_END_STOPPED:
		return run->forced ? EXIT_STATUS_SIGNAL + run->signal : EXIT_STATUS_TIMED_OUT;
	default:
		return EXIT_STATUS_FAILED;
	}
}

/* Whoever ended it on purpose does not want to know why. */
static bool run_wants_dump(const struct run *run, enum vmm_end end)
{
	if (!run->options->dump_guest || run->forced)
		return false;
	if (end == VMM_END_STOPPED)
		return run->timed_out || (run->command && run->command->boot_timed_out);
	return end == VMM_END_CRASH || end == VMM_END_FAILED;
}

static int run_until_end(struct run *run)
{
	enum vmm_end end = VMM_END_NONE;
	struct pollfd fds[3 + COMMAND_FDS] = {{.fd = vmm_fd(run->vm), .events = POLLIN},
					      {.fd = run->signal_fd, .events = POLLIN},
					      {.fd = run->violation_fd, .events = POLLIN}};
	int status;

	run->settled = now_ms() + SETTLED_MS;
	while (!(fds[0].revents & POLLIN)) {
		if (run->command)
			command_poll(run->command, fds + 3);
		if (poll(fds, run->command ? 3 + COMMAND_FDS : 3, run_poll_timeout(run)) < 0)
			continue;
		if (fds[2].revents & POLLIN) {
			run->refused = true;
			sandbox_tell_refused(run->events);
			return EXIT_STATUS_REFUSED;
		}
		if (fds[1].revents & POLLIN)
			run_on_signal(run);
		if (run->command)
			command_serve(run->command, fds + 3, now_ms());
		run_check_deadlines(run);
	}
	vmm_wait(run->vm, -1, &end);
	status = run_status(run, end);
	/* What is said of the end are lines of an ordinary terminal. */
	terminal_restore();
	report_status_end();
	if (run_wants_dump(run, end))
		vmm_dump_guest(run->vm, run->options->config.dump_fd);
	if (run->command)
		status = command_end(run->command, end, status);
	if (end == VMM_END_CRASH && run->options->console != OPTIONS_CONSOLE_STDIO &&
	    !(run->command && run->command->console[0] >= 0))
		dump_kernel_log(run->vm);
	events_tell(run->events, 0, "ended", ",\"reason\":\"%s\",\"status\":%d",
		    run_reason(run, end), status);
	return status;
}

/* From here on signals and the terminal are ours; until now a signal just ended us. */
static int take_over(struct run *run, const struct options *options)
{
	int err = 0;

	run->signal_fd = open_signals(run->command != NULL);
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

/* Each stream of a socket device needs a descriptor, and so do files of shared directories; the usual soft limit is there for
 * select(), which we do not use. */
static void allow_descriptors(const struct options *options)
{
	struct rlimit limit;

	if ((!options->config.vsock && options->config.n_shares == 0 && !options->command) ||
	    getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* What may still be refused, then what changes files, then what can be done no more in the sandbox. */
static int start(struct run *run, struct host_console *console, struct sandbox *sandbox)
{
	const struct options *options = run->options;
	int err = take_over(run, options);

	if (err == 0)
		err = vmm_prepare(run->vm);
	if (err == 0)
		err = host_console_begin(console, options);
	run->pagemap = footprint_open();
	sandbox->events = run->events;
	if (err == 0)
		err = sandbox_enter(sandbox, run->vm, options, console->dir);
	if (err < 0)
		return err;
	run->violation_fd = sandbox->violation_fd;
	run_tell_size(run);
	/* Its threads: no more can be started afterwards. */
	if (run->command)
		err = command_begin(run->command, now_ms(), sandbox->violation_fd >= 0);
	if (err == 0)
		err = vmm_start(run->vm);
	if (err == 0)
		events_tell(run->events, 0, "first-instruction", "%s", "");
	return err;
}

/* The files that were made for a start that is none. */
static void abandon(const struct host_console *console, const struct options *options)
{
	host_console_abandon(console);
	dump_abandon_guest(options);
}

/* Returns 0 or negative errno; then all is undone. */
static int make_vm(struct run *run, struct options *options, struct host_console *console)
{
	char cache_dir[4096];
	int err = 0;

	if (options->kernel_cache)
		options->config.kernel_cache = cache_dir_find(
			getenv("XDG_CACHE_HOME"), getenv("HOME"), cache_dir, sizeof(cache_dir));
	if (run->command)
		err = command_open(run->command, options, run->events);
	/* Now it is known what the machine is made of. */
	if (err == 0)
		err = dump_open_guest(options);
	if (err == 0)
		err = vmm_create(&options->config, &run->vm);
	if (err < 0) {
		report_status_end();
		abandon(console, options);
		events_tell(run->events, 0, "ended", ",\"reason\":\"failed\",\"status\":%d",
			    EXIT_STATUS_FAILED);
		return err;
	}
	if (run->command)
		command_created(run->command, run->vm);
	events_tell(run->events, 0, "created", "%s", "");
	return 0;
}

static int run_vm(struct options *options, struct host_console *console, struct sandbox *sandbox,
		  struct events *events)
{
	static struct command command; /* large */
	struct run run = {.options = options,
			  .command = options->command ? &command : NULL,
			  .events = events,
			  .signal_fd = -1,
			  .timeout = UINT64_MAX,
			  .grace = UINT64_MAX,
			  .pagemap = -1,
			  .violation_fd = -1};
	int status = EXIT_STATUS_FAILED;

	if (run.command)
		hold_command_signals();
	if (make_vm(&run, options, console) < 0)
		return status;
	if (options->dump_dtb) {
		if (dump_device_tree(options, run.vm) == 0)
			status = EXIT_STATUS_OK;
		abandon(console, options);
		vmm_destroy(run.vm);
		return status;
	}
	if (options->timeout_ms)
		run.timeout = now_ms() + options->timeout_ms;
	if (start(&run, console, sandbox) == 0) {
		status = run_until_end(&run);
	} else {
		abandon(console, options);
		events_tell(events, 0, "ended", ",\"reason\":\"failed\",\"status\":%d", status);
	}
	terminal_restore();
	host_console_end(console);
	if (run.refused)
		_exit(status);
	if (status == EXIT_STATUS_TIMED_OUT && run.timed_out)
		report("the machine was ended after %llu.%03llu s (--timeout)",
		       (unsigned long long)options->timeout_ms / 1000,
		       (unsigned long long)options->timeout_ms % 1000);
	vmm_destroy(run.vm);
	if (run.command)
		command_close(run.command);
	return status;
}

/* Without --kernel. Returns 0 or negative errno. */
static int choose_kernel(struct options *options)
{
	static struct kernel_choice kernel; /* as options */
	int err = kernel_choose(NULL, "", &kernel);

	if (err < 0)
		report("%s%s%s", kernel.problem, kernel.mend[0] ? "; type: " : "", kernel.mend);
	else if (options->log_level >= VMM_LOG_INFO)
		report("kernel '%s', %s", kernel.path, kernel.why);
	options->config.kernel = kernel.path;
	return err;
}

/* Returns whether argv begins with a word that is a command; then *status is set. */
static bool run_command_word(int argc, char **argv, int *status)
{
	const char *word = argc > 1 ? argv[1] : "";

	if (strcmp(word, "doctor") == 0)
		*status = doctor_main(argc - 1, argv + 1);
	else if (strcmp(word, "help") == 0)
		*status = help_topic(argc > 2 ? argv[2] : NULL);
	else
		return false;
	return true;
}

int main(int argc, char **argv)
{
	static struct options options; /* large, and only what is used of it is touched */
	struct host_console console;
	struct sandbox sandbox;
	struct events events;
	int status;

	footprint_begin();
	open_standard_descriptors();
	if (run_command_word(argc, argv, &status))
		return status;
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
	vmm_log_set_sink(report_log, NULL);
	sandbox_begin(&sandbox);
	allow_descriptors(&options);
	if (!options.config.kernel && choose_kernel(&options) < 0)
		return EXIT_STATUS_FAILED;
	if (events_open(&events, options.events) < 0 ||
	    dump_check_events(&options, events.fd) < 0 || host_console_open(&console, &options) < 0)
		return EXIT_STATUS_FAILED;
	return run_vm(&options, &console, &sandbox, &events);
}
