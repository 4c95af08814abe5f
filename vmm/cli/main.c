/* The program: options, terminal, signals and exit status around one VM of libvmm. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vmm/api/vmm.h"
#include "vmm/cli/cache_dir.h"
#include "vmm/cli/doctor.h"
#include "vmm/cli/dump.h"
#include "vmm/cli/events.h"
#include "vmm/cli/exit_status.h"
#include "vmm/cli/footprint.h"
#include "vmm/cli/help.h"
#include "vmm/cli/host_console.h"
#include "vmm/cli/image.h"
#include "vmm/cli/kernel_choice.h"
#include "vmm/cli/made.h"
#include "vmm/cli/named.h"
#include "vmm/cli/options.h"
#include "vmm/cli/progress.h"
#include "vmm/cli/report.h"
#include "vmm/cli/run.h"
#include "vmm/cli/sandbox.h"
#include "vmm/cli/terminal.h"

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

/* From here on signals and the terminal are ours; until now a signal just ended us. */
static int take_over(struct run *run, const struct options *options)
{
	int err = 0;

	run->signal_fd = run_open_signals(run->command != NULL);
	if (run->signal_fd < 0)
		return report_failure(run->signal_fd, "cannot watch for signals");
	if (options->config.console_keys)
		err = terminal_make_raw(STDIN_FILENO);
	return err < 0 ? report_failure(err, "cannot switch the terminal to raw mode") : 0;
}

/* Each interrupt of a device needs a descriptor, and so do streams, files of shared directories and images that are looked at; the usual
 * soft limit is there for select(), which we do not use. */
static void allow_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* What may still be refused, at the latest by the sandbox, then what changes files. */
static int start(struct run *run, struct host_console *console, struct sandbox *sandbox)
{
	const struct options *options = run->options;
	int err = take_over(run, options);

	if (err == 0)
		err = vmm_prepare(run->vm);
	if (err == 0)
		err = host_console_begin(console, options);
	sandbox->events = run->events;
	if (err == 0)
		err = sandbox_enter(sandbox, run->vm, options, console->dir);
	if (err < 0)
		return err;
	run->violation_fd = sandbox->violation_fd;
	run_tell_size(run);
	/* Its threads: no more can be started afterwards. */
	if (run->command)
		err = command_begin(run->command, run_now_ms(), sandbox->violation_fd >= 0);
	if (err == 0) {
		host_console_empty(console);
		err = vmm_start(run->vm);
	}
	if (err < 0)
		return err;
	footprint_run();
	made_keep();
	events_tell(run->events, 0, "first-instruction", "%s", "");
	return 0;
}

/* Last: who hears it may start another machine with the same disks and sockets. Returns the status. */
static int tell_ended(struct events *events, const char *reason, int status)
{
	events_tell(events, 0, "ended", ",\"reason\":\"%s\",\"status\":%d", reason, status);
	return status;
}

/* There will be no machine; that its device tree was written is no failure. Returns the status. */
static int abandon(struct events *events, int status)
{
	made_abandon();
	return tell_ended(events, status ? "failed" : "dump-dtb", status);
}

/* Returns 0 or negative errno; then all is undone. */
static int make_vm(struct run *run, struct options *options)
{
	char cache_dir[4096];
	int err = 0;

	if (options->kernel_cache)
		options->config.kernel_cache = cache_dir_find(
			getenv("XDG_CACHE_HOME"), getenv("HOME"), cache_dir, sizeof(cache_dir));
	progress_begin();
	if (run->command)
		err = command_open(run->command, options, run->events);
	/* Now it is known what the machine is made of. */
	if (err == 0)
		err = dump_open_guest(options);
	if (err == 0)
		err = vmm_create(&options->config, &run->vm);
	if (err < 0 || !run->command)
		progress_end();
	else
		progress_made();
	if (err < 0) {
		abandon(run->events, EXIT_STATUS_FAILED);
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
			  .violation_fd = -1};
	int status = EXIT_STATUS_FAILED;

	if (run.command)
		run_hold_command_signals();
	if (make_vm(&run, options) < 0)
		return status;
	if (options->dump_dtb) {
		if (dump_device_tree(options, run.vm) == 0)
			status = EXIT_STATUS_OK;
		vmm_destroy(run.vm);
		return abandon(events, status);
	}
	run_begin_timeout(&run);
	if (start(&run, console, sandbox) == 0)
		status = run_until_end(&run);
	else
		command.vm = NULL; /* nothing will come from it */
	terminal_restore();
	host_console_end(console);
	if (run.refused)
		_exit(status);
	vmm_destroy(run.vm);
	if (run.reason)
		tell_ended(events, run.reason, status);
	else
		abandon(events, status);
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

/* What was asked for on standard output and is not there is no answer: a full disk must not look like one. */
static int end_output(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	report("cannot write to standard output: %m");
	return EXIT_STATUS_FAILED;
}

/* Returns whether argv begins with a word that is a command; then *status is set. */
static bool run_command_word(int argc, char **argv, int *status)
{
	const char *word = argc > 1 ? argv[1] : "";

	*status = EXIT_STATUS_OK;
	if (strcmp(word, "doctor") == 0)
		*status = doctor_main(argc - 1, argv + 1);
	else if (strcmp(word, "image") == 0)
		*status = image_main(argc - 1, argv + 1);
	else if (strcmp(word, "help") == 0)
		for (int i = 2; *status == 0 && (i < argc || i == 2); i++)
			*status = help_topic(argv[i]);
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
	int status, err;

	footprint_begin();
	signal(SIGXFSZ, SIG_IGN); /* a file that may not be so large is an error like others */
	open_standard_descriptors();
	allow_descriptors();
	if (run_command_word(argc, argv, &status))
		return end_output(status);
	if (options_parse(&options, argc, argv) < 0)
		return EXIT_STATUS_FAILED;
	switch (options.action) {
	case OPTIONS_HELP:
		options_print_help();
		return end_output(EXIT_STATUS_OK);
	case OPTIONS_VERSION:
		printf("vmm %s\n", vmm_version());
		return end_output(EXIT_STATUS_OK);
	case OPTIONS_RUN:
		break;
	}
	vmm_log_set_level(options.log_level);
	signal(SIGPIPE, SIG_IGN); /* whoever reads what we say may go */
	vmm_log_set_sink(report_log, NULL);
	if (named_check_open(&options) < 0)
		return EXIT_STATUS_FAILED;
	sandbox_begin(&sandbox);
	/* Nothing is told before it is known that this would not be written over what the machine is made of. */
	if (events_open(&events, options.events) < 0 ||
	    dump_check_events(&options, events.fd) < 0) {
		made_abandon();
		return EXIT_STATUS_FAILED;
	}
	made_keep();
	err = named_check(&options);
	if (err == 0 && !options.config.kernel) {
		err = choose_kernel(&options);
		if (err == 0 && dump_check_events(&options, events.fd) < 0)
			return EXIT_STATUS_FAILED;
	}
	if (err == 0)
		err = host_console_open(&console, &options);
	if (err < 0)
		return abandon(&events, EXIT_STATUS_FAILED);
	return run_vm(&options, &console, &sandbox, &events);
}
