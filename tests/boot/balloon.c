/*
 * A program of libvmm that asks a guest for memory and gives it back:
 *
 *	balloon KERNEL INITRD ROOT-DISK BYTES           gives it back itself
 *	balloon KERNEL INITRD ROOT-DISK BYTES SCRIPT    the guest must take some back
 *
 * The guest runs SCRIPT (base64), which reads two lines: it needs memory after the first, and ends after the second
 *
 * The guest's console is standard output; what was found is told on standard error, one line each.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm.h"

#define PATIENCE 60	    /* s, for each step */
#define SOME	 (32 << 20) /* bytes */

/* Asks until the balloon has that size. Returns whether it came to that, and the last answer. */
static int await_balloon(struct vmm *vm, uint64_t want, struct vmm_balloon_stats *stats)
{
	for (int i = 0; i < PATIENCE * 10; i++) {
		if (vmm_balloon_stats(vm, stats, 1000) == 0 && stats->balloon == want)
			return 1;
		usleep(100000);
	}
	return 0;
}

static void tell(const char *when, const struct vmm_balloon_stats *stats)
{
	fprintf(stderr,
		"%s: balloon %" PRIu64 " total %" PRIu64 " free %" PRIu64 " available %" PRIu64
		"\n",
		when, stats->balloon, stats->total, stats->free, stats->available);
}

static void on_log(void *arg, int level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line; /* it has no driver yet */
}

/* It may not all have come from what was free. */
static int give_back(struct vmm *vm, uint64_t bytes, const struct vmm_balloon_stats *before,
		     const struct vmm_balloon_stats *inside)
{
	struct vmm_balloon_stats after;

	if (vmm_balloon_set(vm, 0) < 0 || !await_balloon(vm, 0, &after))
		return 0;
	tell("after", &after);
	return before->free - inside->free >= bytes / 4 * 3 &&
	       after.free - inside->free >= bytes / 4 * 3;
}

/* The guest's script goes on, which reads a line. */
static void let_go(int input)
{
	if (write(input, "\n", 1) != 1)
		perror("balloon: input");
}

static int have_taken_back(struct vmm *vm, uint64_t bytes, int input)
{
	struct vmm_balloon_stats stats = {.balloon = bytes};
	enum vmm_end end = VMM_END_NONE;

	let_go(input);
	for (int i = 0; i < PATIENCE * 10 && stats.balloon + SOME > bytes; i++) {
		usleep(100000);
		vmm_balloon_stats(vm, &stats, 1000);
	}
	tell("taken back", &stats);
	let_go(input);
	vmm_wait(vm, PATIENCE * 1000, &end);
	return end == VMM_END_POWER_OFF && stats.balloon + SOME <= bytes;
}

/* What a program does that wants to know which system call was refused to a thread of its machine. */
static void on_refusal(int sig, siginfo_t *info, void *context)
{
	char text[128];
	ssize_t n = -1;

	(void)context;
	if (vmm_describe_violation(info, text, sizeof(text)))
		n = dprintf(STDERR_FILENO, "%s\n", text);
	_exit(n > 0 ? 128 + sig : 1);
}

int main(int argc, char **argv)
{
	struct vmm_balloon_stats before, inside;
	uint64_t bytes;
	struct vmm_disk disk = {.readonly = true};
	struct sigaction action = {.sa_sigaction = on_refusal, .sa_flags = SA_SIGINFO};
	struct vmm_config config;
	char append[2048];
	struct vmm *vm;
	int input[2], ok = 0;

	if (argc < 5 || pipe(input) < 0)
		return 2;
	disk.path = argv[3];
	bytes = strtoull(argv[4], NULL, 10);
	snprintf(append, sizeof(append), "quiet root=/dev/vda ro vmm.run=%s",
		 argc > 5 ? argv[5] : "c2xlZXAgMTAwMAo="); /* sleep 1000 */
	vmm_config_init(&config);
	config.kernel = argv[1];
	config.initrd = argv[2];
	config.append = append;
	config.memory = UINT64_C(512) << 20;
	config.disks = &disk;
	config.n_disks = 1;
	config.console_in = input[0];
	config.console_out = STDOUT_FILENO;
	vmm_log_set_sink(on_log, NULL);
	sigaction(SIGSYS, &action, NULL);
	if (vmm_create(&config, &vm) < 0)
		return 2;
	if (vmm_start(vm) == 0 && await_balloon(vm, 0, &before)) {
		tell("before", &before);
		if (vmm_balloon_set(vm, bytes) == 0 && await_balloon(vm, bytes, &inside)) {
			tell("inside", &inside);
			ok = argc > 5 ? have_taken_back(vm, bytes, input[1])
				      : give_back(vm, bytes, &before, &inside);
		}
	}
	vmm_destroy(vm);
	return ok ? 0 : 1;
}
