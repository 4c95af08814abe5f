/*
 * A program of libvmm that asks a guest for memory and gives it back:
 *
 *	balloon KERNEL INITRD ROOT-DISK BYTES
 *
 * The guest's console is standard output; what was found is told on standard error, one line each.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "vmm.h"

#define PATIENCE 60 /* s, for each step */

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

int main(int argc, char **argv)
{
	struct vmm_balloon_stats before, inside, after;
	uint64_t bytes = argc == 5 ? strtoull(argv[4], NULL, 10) : 0;
	struct vmm_disk disk = {.path = argv[3], .readonly = true};
	struct vmm_config config;
	struct vmm *vm;
	int ok = 0;

	vmm_config_init(&config);
	config.kernel = argv[1];
	config.initrd = argv[2];
	config.append = "quiet root=/dev/vda ro vmm.run=c2xlZXAgMTAwMAo="; /* sleep 1000 */
	config.memory = UINT64_C(512) << 20;
	config.disks = &disk;
	config.n_disks = 1;
	config.console_out = STDOUT_FILENO;
	vmm_log_set_sink(on_log, NULL);
	if (argc != 5 || vmm_create(&config, &vm) < 0)
		return 2;
	if (vmm_start(vm) == 0 && await_balloon(vm, 0, &before)) {
		tell("before", &before);
		if (vmm_balloon_set(vm, bytes) == 0 && await_balloon(vm, bytes, &inside)) {
			tell("inside", &inside);
			if (vmm_balloon_set(vm, 0) == 0 && await_balloon(vm, 0, &after)) {
				tell("after", &after);
				/* It may not all have come from what was free. */
				ok = before.free - inside.free >= bytes / 4 * 3 &&
				     after.free - inside.free >= bytes / 4 * 3;
			}
		}
	}
	vmm_destroy(vm);
	return ok ? 0 : 1;
}
