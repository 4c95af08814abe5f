#include "vmm/cli/run.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "vmm/cli/dump.h"
#include "vmm/cli/exit_status.h"
#include "vmm/cli/footprint.h"
#include "vmm/cli/host_console.h"
#include "vmm/cli/report.h"
#include "vmm/cli/sandbox.h"
#include "vmm/cli/terminal.h"

/* How long the guest may take to power off after SIGTERM or SIGINT. */
#define GRACE_MS 10000

/* A command that is asked twice within this time is not asked two things. */
#define AGAIN_MS 2000

/* After this time a machine has started, and may stay for long. One that ends before need not be made smaller. */
#define SETTLED_MS 2000

/* Between two looks whether a terminal that others have got is ours again: a shell does not tell. */
#define TERMINAL_MS 500

uint64_t run_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- signals ---- */

/* The last two are a command's alone. */
static const int handled_signals[] = {SIGTERM, SIGINT,	SIGHUP,	 SIGWINCH, SIGUSR1,
				      SIGTSTP, SIGCONT, SIGUSR2, SIGQUIT};
#define N_SIGNALS (sizeof(handled_signals) / sizeof(handled_signals[0]))

/* Blocks what we handle and returns a signalfd for it. What our parent told us to ignore stays ignored. */
int run_open_signals(bool command)
{
	struct sigaction old;
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (size_t i = 0; i < (command ? N_SIGNALS : N_SIGNALS - 2); i++) {
		if (sigaction(handled_signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaddset(&set, handled_signals[i]);
	}
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

/* What is for the command alone must not end us before it runs: it waits, and is then read as all others. */
void run_hold_command_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

/* ---- while it runs ---- */

void run_tell_size(const struct run *run)
{
	unsigned int rows, columns;

	if (host_console_size(run->options, &rows, &columns))
		vmm_console_resize(run->vm, rows, columns);
}

void run_begin_timeout(struct run *run)
{
	if (run->options->timeout_ms)
		run->timeout = run_now_ms() + run->options->timeout_ms;
}

/* Who asks again wants no more of it. What the timeout has ended already stays so. */
static void __attribute__((noinline)) run_force(struct run *run)
{
	run->grace = UINT64_MAX;
	if (!run->timed_out)
		run->forced = true;
	vmm_stop_now(run->vm);
}

/*
 * The command is asked as often as the user likes. Ours is the end when the terminal has hung up or a second request to end
 * soon after the first is not obeyed in time, and at once for the third, or when there is no command.
 */
static void run_on_command_signal(struct run *run, int number)
{
	bool ends = number == SIGTERM || number == SIGINT || number == SIGHUP;
	uint64_t now = run_now_ms();
	bool again = (run->signal != 0 && now - run->asked <= AGAIN_MS) || number == SIGHUP;

	if (command_signal(run->command, number) &&
	    !(ends && (run->timed_out || run->grace != UINT64_MAX))) {
		if (ends && again)
			run->grace = now + GRACE_MS;
	} else {
		run_force(run);
	}
	if (ends || run->forced) {
		run->signal = number;
		run->asked = now;
	}
}

/* Stops, as the signal would have done it. An orphan is not stopped, for nobody would continue it. */
static void run_stop(void)
{
	sigset_t set;

	terminal_leave();
	sigemptyset(&set);
	sigaddset(&set, SIGTSTP);
	raise(SIGTSTP);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	/* here */
	sigprocmask(SIG_BLOCK, &set, NULL);
	terminal_return();
}

/* After any stop; the window may have another size, and the guest has said nothing for it did not run. */
static void run_continue(struct run *run)
{
	terminal_was_left();
	terminal_return();
	if (run->command)
		command_continue(run->command, run_now_ms());
	else
		run_tell_size(run);
}

/* Who presses Ctrl-C and sees nothing for a while presses it again, which cuts the guest's disks off. */
static void run_tell_asked(const struct run *run, int number)
{
	if (number == SIGINT && !run->options->config.console_keys && report_is_terminal())
		report("the guest was asked to power off, and has %d s; the next signal ends it",
		       GRACE_MS / 1000);
}

static void run_on_signal(struct run *run)
{
	struct signalfd_siginfo info;

	if (read(run->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGTSTP) {
		run_stop();
		return;
	}
	if (info.ssi_signo == SIGCONT) {
		run_continue(run);
		return;
	}
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
	if (run->signal != 0 || run->timed_out || info.ssi_signo == SIGHUP) {
		run_force(run);
	} else {
		run->grace = run_now_ms() + GRACE_MS;
		vmm_power_button(run->vm);
		run_tell_asked(run, (int)info.ssi_signo);
	}
	run->signal = (int)info.ssi_signo;
}

static void run_check_deadlines(struct run *run)
{
	uint64_t now = run_now_ms();

	if (now >= run->timeout) {
		run->timeout = run->grace = UINT64_MAX;
		run->timed_out = true;
		vmm_stop(run->vm);
	}
	if (now >= run->grace) {
		run->forced = run->late = true;
		run->grace = UINT64_MAX;
		vmm_stop(run->vm);
	}
	if (run->command)
		command_check(run->command, now);
	if (terminal_is_left())
		terminal_return();
	if (now >= run->settled) {
		run->settled = UINT64_MAX;
		footprint_shrink(vmm_pagemap_fd(run->vm));
	}
}

static int run_poll_timeout(const struct run *run)
{
	uint64_t next = run->timeout < run->grace ? run->timeout : run->grace;
	uint64_t now = run_now_ms();

	if (run->settled < next)
		next = run->settled;
	if (run->command && command_deadline(run->command) < next)
		next = command_deadline(run->command);
	if (terminal_is_left() && now + TERMINAL_MS < next)
		next = now + TERMINAL_MS;
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
		if (run->forced && !run->done)
			return "signal";
		if (run->timed_out && !run->done)
			return "timeout";
		return command_reason(run->command);
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

int run_until_end(struct run *run)
{
	enum vmm_end end = VMM_END_NONE;
	struct pollfd fds[3 + COMMAND_FDS] = {{.fd = vmm_fd(run->vm), .events = POLLIN},
					      {.fd = run->signal_fd, .events = POLLIN},
					      {.fd = run->violation_fd, .events = POLLIN}};
	int status;

	run->settled = run_now_ms() + SETTLED_MS;
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
			command_serve(run->command, fds + 3, run_now_ms());
		run_check_deadlines(run);
	}
	vmm_wait(run->vm, -1, &end);
	status = run_status(run, end);
	/* What is said of the end are lines of an ordinary terminal. */
	terminal_restore();
	report_status_end();
	/* Asked once: its output may go on for a moment. */
	run->done = run->command && command_is_done(run->command);
	if (run->timed_out && status == EXIT_STATUS_TIMED_OUT && !run->done)
		report("the machine was ended after %llu.%03llu s (--timeout)",
		       (unsigned long long)run->options->timeout_ms / 1000,
		       (unsigned long long)run->options->timeout_ms % 1000);
	if (run->late && end == VMM_END_STOPPED)
		report("the %s did not end within %d s of the signal, and was ended",
		       run->command ? "command" : "guest", GRACE_MS / 1000);
	if (run_wants_dump(run, end))
		vmm_dump_guest(run->vm, run->options->config.dump_fd);
	if (run->command)
		status = command_end(run->command, run->done, end, status);
	if (end == VMM_END_CRASH && run->options->console != OPTIONS_CONSOLE_STDIO &&
	    !(run->command && run->command->console[0] >= 0))
		dump_kernel_log(run->vm);
	run->reason = run_reason(run, end);
	return status;
}
