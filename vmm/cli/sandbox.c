#include "vmm/cli/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/cli/exit_status.h"
#include "vmm/cli/report.h"
#include "vmm/cli/terminal.h"

/* How long a thread that was refused waits for main() to end the program in good order. */
#define PATIENCE_MS 2000

/* ---- what our parent left open ---- */

/* As the kernel writes it (getdents64(2)); libc's opendir() takes memory that every start would pay for. */
struct entry {
	uint64_t inode;
	int64_t offset;
	uint16_t size;
	uint8_t type;
	char name[];
};

static void note(struct sandbox *sandbox, int fd)
{
	int *more = realloc(sandbox->inherited,
			    (sandbox->n_inherited + 1) * sizeof(*sandbox->inherited));

	if (!more) {
		sandbox->unlisted = -ENOMEM;
		return;
	}
	sandbox->inherited = more;
	more[sandbox->n_inherited++] = fd;
}

/* Whether our parent left none open but the standard ones, which all are; before Linux 6.2 that is not told by a number. */
static bool has_left_none(void)
{
	struct stat dir;

	if (stat("/proc/self/fd", &dir) < 0 || dir.st_size != STDERR_FILENO + 1)
		return false;
	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			return false;
	}
	return true;
}

static void list_inherited(struct sandbox *sandbox)
{
	int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_Alignas(struct entry) char buf[1024];
	long n = 0;

	sandbox->unlisted = dir < 0 ? -errno : 0;
	while (dir >= 0 && (n = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
		for (const char *at = buf; at < buf + n;) {
			const struct entry *entry = (const struct entry *)(const void *)at;
			int fd = (int)strtoull(entry->name, NULL, 10); /* 0 for . and .. */

			if (fd > STDERR_FILENO && fd != dir)
				note(sandbox, fd);
			at += entry->size;
		}
	}
	if (dir >= 0 && n < 0)
		sandbox->unlisted = -errno;
	if (dir >= 0)
		close(dir);
}

void sandbox_begin(struct sandbox *sandbox)
{
	*sandbox = (struct sandbox){.violation_fd = -1};
	if (!has_left_none())
		list_inherited(sandbox);
}

static void close_inherited(struct sandbox *sandbox)
{
	for (unsigned int i = 0; i < sandbox->n_inherited; i++)
		close(sandbox->inherited[i]);
	free(sandbox->inherited);
	sandbox->inherited = NULL;
	sandbox->n_inherited = 0;
}

/* ---- a refused call ---- */

static int violation_fd = -1; /* for the handler */
static struct events *violation_events;

void sandbox_tell_refused(struct events *events)
{
	events_tell(events, 0, "ended", ",\"reason\":\"refused\",\"status\":%d",
		    EXIT_STATUS_REFUSED);
	events_close(events);
}

static void on_refusal(int sig, siginfo_t *info, void *context)
{
	static const char before[] = "vmm: ", after[] = "\r\n";
	uint64_t one = 1;
	char text[128];
	struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
	ssize_t n;

	(void)sig;
	(void)context;
	/* Where nobody reads, the end does not wait for it. */
	if (vmm_describe_violation(info, text, sizeof(text)) && poll(&fd, 1, PATIENCE_MS) != 0) {
		n = write(STDERR_FILENO, before, strlen(before));
		n = write(STDERR_FILENO, text, strlen(text));
		n = write(STDERR_FILENO, after, strlen(after));
	}
	n = write(violation_fd, &one, sizeof(one));
	(void)n;
	/* main() restores the terminal and ends the program, unless it was main() itself, or it waits for this thread. */
	if (gettid() != getpid())
		poll(NULL, 0, PATIENCE_MS);
	sandbox_tell_refused(violation_events);
	terminal_restore();
	_exit(EXIT_STATUS_REFUSED);
}

static int watch_refusals(struct sandbox *sandbox)
{
	struct sigaction action = {.sa_sigaction = on_refusal, .sa_flags = SA_SIGINFO};

	sandbox->violation_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (sandbox->violation_fd < 0)
		return report_failure(-errno, "cannot watch the sandbox");
	violation_fd = sandbox->violation_fd;
	violation_events = sandbox->events;
	sigaction(SIGSYS, &action, NULL);
	return 0;
}

/* ---- entering ---- */

int sandbox_enter(struct sandbox *sandbox, struct vmm *vm, const struct options *options,
		  int remove_in)
{
	struct vmm_confinement confinement = {.strict = options->config.sandbox ==
							VMM_SANDBOX_STRICT,
					      .change_user = options->change_user,
					      .uid = options->uid,
					      .gid = options->gid,
					      .remove_in = &remove_in,
					      .n_remove_in = remove_in >= 0,
					      .starting_thread = true,
					      .still_open = sandbox->unlisted};
	int err;

	if (options->config.sandbox == VMM_SANDBOX_OFF)
		return 0;
	close_inherited(sandbox);
	err = watch_refusals(sandbox);
	return err < 0 ? err : vmm_confine(vm, &confinement);
}
