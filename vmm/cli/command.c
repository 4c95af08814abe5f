#include "vmm/cli/command.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/cli/exit_status.h"
#include "vmm/cli/progress.h"
#include "vmm/cli/report.h"
#include "vmm/cli/terminal.h"

#define COMMAND_CONSOLE_READS 16   /* at once */
#define COMMAND_GONE_MS	      5000 /* for a machine whose init has gone to end */
#define COMMAND_NOTES	      8	   /* of a guest's: ours has few */

enum {
	COMMAND_FD_CONTROL,
	COMMAND_FD_CONSOLE,
	COMMAND_FD_PUMPS,
};

static const char *command_name(const struct command *command)
{
	return command->options->command[0];
}

/* ---- the start ---- */

void command_created(struct command *command, struct vmm *vm)
{
	command->vm = vm;
	for (unsigned int i = 0; i < GUEST_PORTS; i++)
		close(command->ports[i].fd);
	if (command->console[1] >= 0)
		close(command->console[1]);
	root_close(&command->root);
	command_kernel_free_modules(&command->kernel);
}

/* What moves the streams has given up the rest when the guest begins. Returns 0, or negative errno after a message. */
static int command_await_pumps(struct command *command, int first)
{
	bool strict = command->options->config.sandbox == VMM_SANDBOX_STRICT;
	int err = 0;

	for (int i = first; i < 3; i++) {
		int unconfined = pump_wait_begun(&command->pumps[i]);

		if (unconfined < 0 && err == 0)
			err = unconfined;
	}
	/* What this vmm was built without is no news of this host. */
	if (err == 0 || (err == -ENOTSUP && !strict))
		return 0;
	report_failure(err, "sandbox: cannot filter the system calls of the command's streams");
	return strict ? err : 0;
}

int command_begin(struct command *command, uint64_t now, bool confined)
{
	/* Who reads his terminal in the background would be stopped; but not for one that is another session's, as below su(1). */
	bool reads = !isatty(STDIN_FILENO) || terminal_is_ours(STDIN_FILENO) ||
		     tcgetpgrp(STDIN_FILENO) < 0;
	int err = 0;

	for (int i = 0; i < 3; i++)
		command->pumps[i].confined = confined;
	command->pumps[0].keys = command->terminal;
	boot_watch_begin(&command->boot, command->options->boot_timeout_ms, now);
	if (reads)
		err = pump_start(&command->pumps[0], PUMP_INPUT, STDIN_FILENO, command->ours[1],
				 command->pumps_over);
	else
		shutdown(command->ours[1], SHUT_WR);
	for (int i = 1; i <= 2 && err == 0; i++)
		err = pump_start(&command->pumps[i], PUMP_OUTPUT, command->ours[1 + i], i,
				 command->pumps_over);
	if (err == 0)
		return command_await_pumps(command, reads ? 0 : 1);
	return report_failure(err, "cannot start a thread for the command's streams");
}

/* ---- what the guest says ---- */

bool command_read_console(struct command *command)
{
	char bytes[4096];
	ssize_t n = 1;

	/* A guest may write as fast as we read; there is more to do than that. */
	for (int i = 0; i < COMMAND_CONSOLE_READS && n > 0; i++) {
		n = recv(command->console[0], bytes, sizeof(bytes), MSG_DONTWAIT);
		if (n > 0)
			console_tail_put(&command->tail, bytes, (size_t)n);
	}
	return n > 0;
}

static void command_see_kernel(struct command *command, uint64_t ago)
{
	if (!command->kernel_seen)
		events_tell(command->events, ago, "kernel-up", "%s", "");
	command->kernel_seen = true;
}

static struct guest_window command_window(void)
{
	struct winsize size = {.ws_row = 24, .ws_col = 80};

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	return (struct guest_window){.rows = size.ws_row, .columns = size.ws_col};
}

static void command_on_ready(struct command *command, const struct guest_ready *ready)
{
	const struct options *options = command->options;
	struct guest_link_share shares[VMM_MAX_SHARES];
	struct guest_link_start start = {.flags = command->flags,
					 .dhcp = command->dhcp,
					 .umask = command->umask,
					 .window = command_window(),
					 .host_name = "vmm",
					 .root_type = command->root.type,
					 .directory = command->root.directory,
					 .user = command->root.user,
					 .args = options->command,
					 .env = options->env,
					 .shares = shares};
	int err;

	/* The root's own is none of these. */
	for (; start.n_shares < options->config.n_shares - command->root.shared; start.n_shares++)
		shares[start.n_shares] = (struct guest_link_share){
			.tag = options->shares[start.n_shares].tag,
			.place = options->share_places[start.n_shares],
			.readonly = !options->shares[start.n_shares].writable};
	command_see_kernel(command, ready->uptime);
	events_tell(command->events, 0, "init-reached", "%s", "");
	err = guest_link_say_start(&command->link, &start);
	if (err == 0) {
		command->state = COMMAND_READY;
		return;
	}
	report_failure(err, "cannot tell the guest what to run");
	command->state = COMMAND_FAILED;
	command->status = EXIT_STATUS_FAILED;
}

static bool command_is_its_own(int signal)
{
	return signal == SIGUSR1 || signal == SIGUSR2;
}

static void command_pass_on(struct command *command, int signal)
{
	struct guest_signal what = {.number = (uint32_t)signal,
				    .group = !command_is_its_own(signal)};

	guest_link_say(&command->link, GUEST_SIGNAL, &what, sizeof(what));
}

static void command_on_started(struct command *command)
{
	char name[512];

	command->state = COMMAND_RUNNING;
	boot_watch_end(&command->boot);
	progress_end();
	events_tell(command->events, 0, "command-started", ",\"command\":%s",
		    events_quote(name, sizeof(name), command_name(command)));
	/* Not before: until then Ctrl-C ends us, and what is typed stays in the terminal. */
	if (command->terminal && terminal_make_raw(STDIN_FILENO) < 0)
		report("cannot switch the terminal to raw mode: %m");
	command_signal(command, SIGWINCH); /* it may have changed since the start was sent */
	if (command->pumps[0].gate > 0)
		pump_let_go(&command->pumps[0]);
	for (int signal = 1; command->early; signal++, command->early >>= 1) {
		if (command->early & 2)
			command_pass_on(command, signal);
	}
}

static void command_on_exited(struct command *command, const struct guest_exited *exited)
{
	command->state = COMMAND_EXITED;
	command->status = exited->signal ? EXIT_STATUS_SIGNAL + (int)(exited->signal & 0x7f)
					 : (int)(exited->status & 0xff);
	events_tell(command->events, 0, "exited",
		    ",\"status\":%d,\"signal\":%u,\"cpu\":%llu.%06llu,\"memory\":%llu",
		    command->status, exited->signal & 0x7f,
		    (unsigned long long)exited->cpu / 1000000,
		    (unsigned long long)exited->cpu % 1000000, (unsigned long long)exited->memory);
}

/* Returns what there is to say of an errno from the guest, or NULL. */
static const char *command_error(uint32_t error)
{
	return error && error < 4096 ? strerror((int)error) : NULL;
}

static void command_on_note(struct command *command, const struct guest_failed *note,
			    const char *text)
{
	const char *why = command_error(note->error);

	if (command->notes++ < COMMAND_NOTES)
		report("in the guest: %s%s%s", text, why ? ": " : "", why ? why : "");
}

static void command_on_failed(struct command *command, const struct guest_failed *failed,
			      const char *text)
{
	const char *why = command_error(failed->error);

	/* Once the command runs no wish is left. */
	bool wish = failed->what == GUEST_FAILED_WISH && command->state == COMMAND_READY;

	command->state = COMMAND_FAILED;
	if (wish) {
		command->status = EXIT_STATUS_FAILED;
		report("'%s': %s", command->options->root ? command->options->root : "/", text);
		return;
	}
	if (failed->what == GUEST_FAILED_COMMAND) {
		command->status = failed->error == ENOENT ? EXIT_STATUS_NOT_FOUND
							  : EXIT_STATUS_NOT_EXECUTABLE;
		report("cannot run '%s' in the guest: %s", text, why ? why : "for no reason");
		return;
	}
	command->status = EXIT_STATUS_CRASHED;
	report("the guest cannot %s%s%s", text, why ? ": " : "", why ? why : "");
}

/* Messages that are not due, or too short, are those of a guest that is not ours: they have no effect. */
static void command_on_message(void *arg, uint32_t type, const void *body, size_t size)
{
	struct command *command = arg;
	struct guest_ready ready;
	struct guest_exited exited;
	struct guest_failed failed;

	if (type == GUEST_READY && size == sizeof(ready) && command->state == COMMAND_BOOTING) {
		memcpy(&ready, body, sizeof(ready));
		command_on_ready(command, &ready);
	} else if (type == GUEST_STARTED && command->state == COMMAND_READY) {
		command_on_started(command);
	} else if (type == GUEST_EXITED && size == sizeof(exited) &&
		   command->state == COMMAND_RUNNING) {
		memcpy(&exited, body, sizeof(exited));
		command_on_exited(command, &exited);
	} else if (type == GUEST_DONE && command->state == COMMAND_EXITED) {
		command->state = COMMAND_DONE;
	} else if (type == GUEST_FAILED && size >= sizeof(failed) &&
		   command->state < COMMAND_DONE) {
		memcpy(&failed, body, sizeof(failed));
		command_on_failed(command, &failed, (const char *)body + sizeof(failed));
	} else if (type == GUEST_NOTE && size >= sizeof(failed) &&
		   command->state == COMMAND_READY) {
		memcpy(&failed, body, sizeof(failed));
		command_on_note(command, &failed, (const char *)body + sizeof(failed));
	}
}

/* ---- while it runs ---- */

void command_poll(const struct command *command, struct pollfd fds[COMMAND_FDS])
{
	fds[COMMAND_FD_CONTROL] = (struct pollfd){
		.fd = command->link.fd,
		.events = (short)(guest_link_is_waiting(&command->link) ? POLLIN | POLLOUT
									: POLLIN)};
	fds[COMMAND_FD_CONSOLE] = (struct pollfd){.fd = command->console[0], .events = POLLIN};
	fds[COMMAND_FD_PUMPS] = (struct pollfd){.fd = command->pumps_over, .events = POLLIN};
}

static void command_on_keys(struct command *command, unsigned int pressed)
{
	if (pressed & PUMP_KEY_HELP)
		report("Ctrl-] twice, and then within a second: Ctrl-] ends the machine, d shows "
		       "what the "
		       "vCPUs are doing, c dumps the guest (--dump-guest); all keys go to the "
		       "command too");
	if (pressed & PUMP_KEY_SHOW)
		vmm_dump_vcpus(command->vm);
	if (pressed & PUMP_KEY_DUMP) {
		if (command->options->config.dump_fd >= 0)
			vmm_dump_guest(command->vm, command->options->config.dump_fd);
		else
			report("there is no file for a dump of the guest (--dump-guest)");
	}
	command->escaped |= (pressed & PUMP_KEY_END) != 0;
}

void command_on_pump(struct command *command)
{
	static const char *const what[] = {"read the command's input", "write the command's output",
					   "write the command's errors"};
	eventfd_t over;

	eventfd_read(command->pumps_over, &over);
	for (int i = 0; i <= 2; i++) {
		int err = atomic_exchange(&command->pumps[i].error, 0);

		if (err == 0 || err == EPIPE)
			continue;
		report("cannot %s: %s", what[i], strerror(err));
		command->stream_lost = true;
	}
}

bool command_is_done(const struct command *command)
{
	return command->state == COMMAND_DONE && pump_is_over(&command->pumps[1]) &&
	       pump_is_over(&command->pumps[2]);
}

void command_serve(struct command *command, const struct pollfd fds[COMMAND_FDS], uint64_t now)
{
	if (fds[COMMAND_FD_CONSOLE].revents) {
		command_read_console(command);
		command_see_kernel(command, 0);
		boot_watch_hear(&command->boot, now);
	}
	if (fds[COMMAND_FD_CONTROL].revents) {
		int err = guest_link_serve(&command->link, command_on_message, command);

		if (err == -EPROTO)
			report("the guest's init says what vmm does not understand");
		if (err < 0)
			guest_link_fini(&command->link);
		/* It goes when the guest ends, which may still take a moment. */
		if (err < 0 && command->state < COMMAND_DONE)
			command->gone_deadline = now + COMMAND_GONE_MS;
	}
	if (fds[COMMAND_FD_PUMPS].revents) {
		command_on_pump(command);
		command_on_keys(command, atomic_exchange(&command->pumps[0].keys_pressed, 0));
	}
	if (command->state == COMMAND_FAILED || command->escaped || command_is_done(command))
		vmm_stop(command->vm);
}

uint64_t command_deadline(const struct command *command)
{
	uint64_t next = boot_watch_next(&command->boot);

	if (command->gone_deadline < next)
		next = command->gone_deadline;
	return progress_next() < next ? progress_next() : next;
}

void command_check(struct command *command, uint64_t now)
{
	uint64_t ran = 0;

	progress_step("waiting for the guest to boot", "");
	if (now >= command->gone_deadline) {
		command->gone_deadline = UINT64_MAX;
		vmm_stop(command->vm);
	}
	if (now < boot_watch_next(&command->boot))
		return;
	if (vmm_console_wrote(command->vm))
		boot_watch_hear(&command->boot, now);
	vmm_cpu_time(command->vm, 0, &ran);
	if (!boot_watch_look(&command->boot, now, ran))
		return;
	boot_watch_end(&command->boot);
	command->boot_timed_out = true;
	vmm_stop(command->vm);
}

bool command_signal(struct command *command, int signal)
{
	struct guest_window window;

	if (signal == SIGWINCH) {
		/* The start has the size; before it the guest takes nothing else. */
		window = command_window();
		if (command->terminal && command->state == COMMAND_RUNNING)
			guest_link_say(&command->link, GUEST_WINDOW, &window, sizeof(window));
		return true;
	}
	if (command->state == COMMAND_RUNNING)
		command_pass_on(command, signal);
	else if (command->state < COMMAND_RUNNING && command_is_its_own(signal))
		command->early |= UINT32_C(1) << signal;
	return command->state == COMMAND_RUNNING || command_is_its_own(signal);
}

void command_continue(struct command *command, uint64_t now)
{
	command_signal(command, SIGWINCH);
	boot_watch_hear(&command->boot, now);
}
