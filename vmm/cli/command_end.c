/* The end of a command: what became of it, in words and in a status. */
#include "vmm/cli/command.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>

#include "vmm/cli/exit_status.h"
#include "vmm/cli/kernel_parts.h"
#include "vmm/cli/last_words.h"
#include "vmm/cli/report.h"

#define COMMAND_READER_MS 2000 /* for whoever reads the output of a machine that has ended */
#define COMMAND_LINES	  20   /* of its console */

/* From here on x86's Linux is. */
#define COMMAND_KERNEL UINT64_C(0xffffffff80000000)

/*
 * Shows what the guest's console has said last, which is all now that the machine has ended; of a guest that has done its work only what
 * has gone wrong, and may be why the command was killed. Returns whether there was anything.
 */
static bool command_show_console(struct command *command, bool done)
{
	char *text;

	while (command_read_console(command))
		;
	text = console_tail_text(&command->tail);
	return done ? last_words_show_faults(text)
		    : last_words_show("console", text, COMMAND_LINES);
}

/* What is known of a boot that failed. */
static void command_show_boot(struct command *command)
{
	bool random = command->options->config.kaslr;
	uint64_t address;

	if (command->state == COMMAND_BOOTING)
		kernel_hint(&command->kernel.choice);
	for (unsigned int i = 0; i < command->options->config.cpus; i++) {
		if (vmm_last_instruction(command->vm, i, &address) == 0)
			report("vCPU %u was at 0x%llx%s", i, (unsigned long long)address,
			       random && address >= COMMAND_KERNEL ? " (--kaslr off: as in vmlinux)"
								   : "");
	}
	if (command->console[0] < 0) {
		report("see the guest's console, which is elsewhere (--console)");
		return;
	}
	if (!command_show_console(command, false))
		report("the guest's console was silent (--append loglevel=7 has it say more)");
}

static const char *command_when(const struct command *command)
{
	switch (command->state) {
	case COMMAND_BOOTING:
		return "before its init reached vmm";
	case COMMAND_READY:
		return "before the command started";
	case COMMAND_RUNNING:
		return "while the command ran";
	default:
		return "after the command had ended";
	}
}

/* What ended the guest before its command had, in words. Returns the status. */
static int command_explain(struct command *command, enum vmm_end end, int status)
{
	if (command->boot_timed_out) {
		report("the guest was silent for %llu.%03llu s and has not started the command "
		       "(--boot-timeout)",
		       (unsigned long long)command->options->boot_timeout_ms / 1000,
		       (unsigned long long)command->options->boot_timeout_ms % 1000);
		return EXIT_STATUS_TIMED_OUT;
	}
	if (command->state == COMMAND_FAILED)
		return command->status;
	if (end == VMM_END_STOPPED && (command->link.fd >= 0 || command->state == COMMAND_DONE))
		return status; /* by --timeout or a signal */
	if (end == VMM_END_CRASH)
		report("the guest's kernel crashed %s", command_when(command));
	else
		report("the guest ended %s", command_when(command));
	/* It has not done what it was there for, whatever it thinks itself. */
	return end == VMM_END_FAILED ? EXIT_STATUS_FAILED : EXIT_STATUS_CRASHED;
}

/* Whether there is more to show of a guest that ended with this status. */
static bool command_ended_badly(const struct command *command, int status)
{
	if (status == EXIT_STATUS_TIMED_OUT)
		return command->state < COMMAND_RUNNING;
	return status == EXIT_STATUS_CRASHED ||
	       (status == EXIT_STATUS_FAILED && command->state != COMMAND_FAILED);
}

int command_end(struct command *command, bool done, enum vmm_end end, int status)
{
	command_on_pump(command);
	/* What it wrote did not arrive, or not all of its input was there: no success, whatever it thinks itself. */
	if (done) {
		command_show_console(command, true);
		return command->stream_lost ? EXIT_STATUS_FAILED : command->status;
	}
	if (command->escaped) {
		report("the machine was ended (Ctrl-] three times)");
		return EXIT_STATUS_SIGNAL + SIGINT;
	}
	if (end == VMM_END_DEBUGGER)
		return status; /* as its user wanted */
	status = command_explain(command, end, status);
	if (command_ended_badly(command, status))
		command_show_boot(command);
	else if (status == EXIT_STATUS_TIMED_OUT)
		command_show_console(command, false); /* usually nothing */
	return status;
}

const char *command_reason(const struct command *command)
{
	if (command->escaped)
		return "console-key";
	if (command->boot_timed_out)
		return "boot-timeout";
	if (command->state == COMMAND_DONE)
		return "command";
	if (command->state == COMMAND_FAILED && command->status == EXIT_STATUS_FAILED)
		return "failed";
	if (command->state == COMMAND_FAILED && command->status != EXIT_STATUS_CRASHED)
		return "command"; /* there is none */
	return "init-failed";
}

void command_close(struct command *command)
{
	struct pollfd fd = {.fd = command->pumps_over, .events = POLLIN};
	int left = COMMAND_READER_MS;
	sigset_t none;

	sigemptyset(&none);
	/* The machine's ends are closed: what the sockets still hold is all that there is. A reader who takes some is given the whole time again. */
	while (command->vm &&
	       !(pump_is_over(&command->pumps[1]) && pump_is_over(&command->pumps[2]))) {
		if (atomic_exchange(&command->pumps[1].moved, false) |
		    atomic_exchange(&command->pumps[2].moved, false))
			left = COMMAND_READER_MS;
		if (left == 0) {
			report("the last of the command's output was not written: nobody reads it");
			break;
		}
		/* Nothing is left that a signal had to wait for. */
		sigprocmask(SIG_SETMASK, &none, NULL);
		if (poll(&fd, 1, 100) > 0)
			command_on_pump(command);
		else
			left -= 100;
	}
	guest_link_fini(&command->link);
	free(command->cmdline);
	command->cmdline = NULL;
}
