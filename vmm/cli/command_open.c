/* What the machine is given for a command: the guest's init, its root, the sockets, the words for its kernel. */
#include "vmm/cli/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "vmm/cli/guest_init.h"
#include "vmm/cli/report.h"
#include "vmm/cli/terminal.h"

/* Of the guest, when the user has given it none. */
#define COMMAND_CID 3

/* Ours come first, so that the user's words win; what is behind "--" would be the init's. */
static int command_make_cmdline(struct command *command, struct vmm_config *config)
{
	const char *user = config->cmdline ? config->cmdline : config->append ? config->append : "";
	const char *quiet = command->console[0] >= 0 ? "quiet " : "";

	if (asprintf(&command->cmdline, "%srdinit=" GUEST_INIT " %s", config->cmdline ? "" : quiet,
		     user) < 0) {
		command->cmdline = NULL;
		report("out of memory");
		return -ENOMEM;
	}
	if (config->cmdline)
		config->cmdline = command->cmdline;
	else
		config->append = command->cmdline;
	return 0;
}

static int command_make_parts(struct command *command, struct options *options)
{
	struct vmm_config *config = &options->config;
	unsigned int n = 0;
	int err;

	if (root_part(&command->root, &command->parts[n]))
		n++;
	err = command_kernel_open(&command->kernel, options, &command->root, &command->parts[n]);
	if (err < 0)
		return err;
	n += (unsigned int)err;
	err = guest_init_part(&command->parts[n]);
	if (err < 0)
		return err;
	config->initrd_parts = command->parts;
	config->n_initrd_parts = n + 1;
	return 0;
}

static int command_make_pair(int pair[2])
{
	int err;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0)
		return 0;
	err = -errno;
	pair[0] = pair[1] = -1;
	return report_failure(err, "cannot make sockets to the guest");
}

static int command_make_sockets(struct command *command, struct options *options)
{
	int pair[2], err = 0;

	for (uint32_t i = 0; i < GUEST_PORTS && err == 0; i++) {
		err = command_make_pair(pair);
		command->ours[i] = pair[0];
		command->ports[i] = (struct vmm_vsock_port){.port = GUEST_PORT_CONTROL + i,
							    .fd = pair[1]};
	}
	if (err == 0 && options->console == OPTIONS_CONSOLE_NONE)
		err = command_make_pair(command->console);
	command->pumps_over = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (err == 0 && command->pumps_over < 0)
		err = report_failure(-errno, "cannot make an eventfd");
	if (!options->vsock.cid)
		options->vsock.cid = COMMAND_CID;
	options->vsock.ports = command->ports;
	options->vsock.n_ports = GUEST_PORTS;
	options->config.vsock = &options->vsock;
	if (command->console[1] >= 0)
		options->config.console_out = command->console[1];
	return err;
}

/* A terminal on both sides is one in the guest too; what goes elsewhere goes through pipes. */
static void command_choose_streams(struct command *command)
{
	struct termios mode;

	command->terminal = terminal_is_ours(STDIN_FILENO) && isatty(STDOUT_FILENO);
	if (!command->terminal)
		return;
	command->flags |= GUEST_TERMINAL;
	if (isatty(STDERR_FILENO))
		command->flags |= GUEST_TERMINAL_ERRORS;
	if (tcgetattr(STDIN_FILENO, &mode) == 0 && (mode.c_iflag & IUTF8))
		command->flags |= GUEST_TERMINAL_UTF8;
}

int command_open(struct command *command, struct options *options, struct events *events)
{
	int err;

	command->options = options;
	command->events = events;
	command->gone_deadline = UINT64_MAX;
	/* There is no other way to see it; none of our threads makes a file yet. */
	command->umask = (uint16_t)umask(077);
	umask(command->umask);
	command->console[0] = command->console[1] = -1;
	err = root_open(&command->root, options);
	if (err == 0)
		err = command_make_sockets(command, options);
	if (err == 0)
		err = command_make_cmdline(command, &options->config);
	if (err == 0)
		err = command_make_parts(command, options);
	if (err < 0)
		return err;
	guest_link_init(&command->link, command->ours[0]);
	command_choose_streams(command);
	if (command->root.readonly)
		command->flags |= GUEST_ROOT_READONLY;
	if (command->root.shared)
		command->flags |= GUEST_ROOT_SHARED;
	if (command->kernel.no_layer)
		command->flags |= GUEST_LAYER_TOLD;
	if (command->root.container)
		command->flags |= GUEST_CONTAINER;
	if (options->root_keep)
		command->flags |= GUEST_ROOT_KEEP;
	for (unsigned int i = 0; i < options->config.n_disks; i++) {
		if (!options->disks[i].readonly && !options->disks[i].overlay)
			command->flags |= GUEST_DISKS_KEEP;
	}
	/* passt gives addresses; of what is behind a TAP nothing is known. */
	for (unsigned int i = 0; i < options->config.n_nets; i++) {
		if (options->nets[i].user)
			command->dhcp |= UINT32_C(1) << i;
	}
	return 0;
}
