#include "vmm/cli/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <termios.h>
#include <unistd.h>

static struct termios terminal_saved;
static volatile sig_atomic_t terminal_fd = -1;

/* What ends a program that does not handle it; main() handles the rest. */
static const int terminal_fatal_signals[] = {
	SIGABRT, SIGSEGV, SIGBUS,  SIGILL,    SIGFPE,  SIGTRAP, SIGQUIT,   SIGXCPU,
	SIGXFSZ, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF, SIGPOLL, SIGSTKFLT, SIGPWR};

bool terminal_is_ours(int fd)
{
	return isatty(fd) && tcgetpgrp(fd) == getpgrp();
}

void terminal_restore(void)
{
	if (terminal_fd >= 0)
		tcsetattr(terminal_fd, TCSADRAIN, &terminal_saved);
	terminal_fd = -1;
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

	for (size_t i = 0; i < sizeof(terminal_fatal_signals) / sizeof(int); i++) {
		int sig = terminal_fatal_signals[i];

		if (sigaction(sig, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(sig, &action, NULL);
	}
}

int terminal_make_raw(int fd)
{
	struct termios raw;

	if (tcgetattr(fd, &terminal_saved) < 0)
		return -errno;
	raw = terminal_saved;
	cfmakeraw(&raw);
	terminal_handle_signals();
	terminal_fd = fd;
	if (tcsetattr(fd, TCSADRAIN, &raw) < 0) {
		terminal_fd = -1;
		return -errno;
	}
	return 0;
}
