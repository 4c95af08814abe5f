#include "vmm/cli/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <termios.h>
#include <unistd.h>

static struct termios terminal_saved;
static volatile sig_atomic_t terminal_fd = -1;
static int terminal_left = -1; /* its descriptor */

/* What does not end a program, or is handled by main(). All others do, those without a name among them. */
#define TERMINAL_BIT(sig) (UINT64_C(1) << ((sig)-1))
static const uint64_t terminal_other_signals =
	TERMINAL_BIT(SIGHUP) | TERMINAL_BIT(SIGINT) | TERMINAL_BIT(SIGTERM) |
	TERMINAL_BIT(SIGUSR1) | TERMINAL_BIT(SIGPIPE) | TERMINAL_BIT(SIGSYS) |
	TERMINAL_BIT(SIGTSTP) | TERMINAL_BIT(SIGTTIN) | TERMINAL_BIT(SIGTTOU) |
	TERMINAL_BIT(SIGCHLD) | TERMINAL_BIT(SIGCONT) | TERMINAL_BIT(SIGURG) |
	TERMINAL_BIT(SIGWINCH) | TERMINAL_BIT(SIGKILL) | TERMINAL_BIT(SIGSTOP);

bool terminal_is_ours(int fd)
{
	return isatty(fd) && tcgetpgrp(fd) == getpgrp();
}

void terminal_restore(void)
{
	if (terminal_fd >= 0)
		tcsetattr(terminal_fd, TCSADRAIN, &terminal_saved);
	terminal_fd = -1;
	terminal_left = -1;
}

/* tcsetattr() is safe in a handler (POSIX, 2.4.3); the signal's default action follows. */
static void terminal_on_fatal(int sig)
{
	if (terminal_fd >= 0)
		tcsetattr(terminal_fd, TCSANOW, &terminal_saved);
	raise(sig);
}

/* What our parent told us to ignore stays ignored. */
static void terminal_handle_signals(void)
{
	struct sigaction old, action = {.sa_handler = terminal_on_fatal,
					.sa_flags = (int)(SA_RESETHAND | SA_NODEFER)};

	for (int sig = 1; sig < _NSIG; sig++) {
		if (!(terminal_other_signals >> (sig - 1) & 1) && sigaction(sig, NULL, &old) == 0 &&
		    old.sa_handler != SIG_IGN)
			sigaction(sig, &action, NULL);
	}
}

/* The modes are kept the first time: after a stop they may be ours. */
static int terminal_set_raw(int fd)
{
	static bool saved;
	struct termios raw;

	if (!saved && tcgetattr(fd, &terminal_saved) < 0)
		return -errno;
	saved = true;
	raw = terminal_saved;
	cfmakeraw(&raw);
	terminal_fd = fd;
	if (tcsetattr(fd, TCSADRAIN, &raw) < 0) {
		terminal_fd = -1;
		return -errno;
	}
	return 0;
}

int terminal_make_raw(int fd)
{
	terminal_handle_signals();
	if (terminal_is_ours(fd))
		return terminal_set_raw(fd);
	terminal_left = fd;
	return 0;
}

void terminal_leave(void)
{
	int fd = terminal_fd;

	terminal_restore();
	terminal_left = fd;
}

void terminal_was_left(void)
{
	if (terminal_fd >= 0)
		terminal_left = terminal_fd;
	terminal_fd = -1;
}

bool terminal_is_left(void)
{
	return terminal_left >= 0;
}

void terminal_return(void)
{
	if (!terminal_is_left())
		return;
	/* One that hung up never comes back. */
	if (!isatty(terminal_left) ||
	    (terminal_is_ours(terminal_left) && terminal_set_raw(terminal_left) == 0))
		terminal_left = -1;
}
