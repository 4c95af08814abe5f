/* Every way in which making a VM can fail, with one line that says why and nothing left behind. A part of two_vms. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "holdings.h"
#include "vmm.h"

static void expect_refusal(const struct vmm_config *config, int want, const char *what)
{
	struct vmm *vm = (struct vmm *)&failures;
	struct holdings before, after;
	int err;

	errors_logged = 0;
	take_stock(&before);
	err = vmm_create(config, &vm);
	take_stock(&after);
	CHECK(err < 0 && (want == 0 || err == want), "%s: %s, not %s", what, strerror(-err),
	      strerror(-want));
	CHECK(vm == NULL, "%s: a VM in spite of it", what);
	CHECK(errors_logged == 1, "%s: %d lines logged, the last: %s", what, errors_logged,
	      last_logged);
	compare(&before, &after, what);
	if (err == 0)
		vmm_destroy(vm);
}

static void test_refusals(char **argv)
{
	struct vmm_disk disks[VMM_MAX_DISKS_AND_NETS + 1];
	struct vmm_net net = {.tap = "vmmtest9", .tap_fd = -1};
	struct vmm_config good, c;

	for (int i = 0; i <= VMM_MAX_DISKS_AND_NETS; i++)
		disks[i] = (struct vmm_disk){.path = argv[4]};
	vmm_config_init(&good);
	good.kernel = argv[1];
	good.disks = disks;

#define REFUSED(want, what, ...)                                                                   \
	do {                                                                                       \
		c = good;                                                                          \
		__VA_ARGS__;                                                                       \
		expect_refusal(&c, want, what);                                                    \
	} while (0)
	REFUSED(-EINVAL, "no kernel", c.kernel = NULL);
	REFUSED(-ENOENT, "a missing kernel", c.kernel = "/proc/nonexistent", c.n_disks = 1);
	REFUSED(-ENOENT, "a missing initrd", c.initrd = "/proc/nonexistent", c.n_disks = 1);
	REFUSED(0, "a disk as kernel", c.kernel = argv[4], c.n_disks = 1);
	REFUSED(-EINVAL, "two command lines", c.cmdline = "", c.append = "");
	REFUSED(-EINVAL, "no CPU", c.cpus = 0);
	REFUSED(-EINVAL, "too many CPUs", c.cpus = VMM_MAX_CPUS + 1);
	REFUSED(-EINVAL, "too little memory", c.memory = VMM_MIN_MEMORY - 1);
	REFUSED(0, "too much memory", c.memory = UINT64_MAX);
	REFUSED(-EBUSY, "a disk twice", c.n_disks = 2);
	REFUSED(-EINVAL, "too many disks", c.n_disks = VMM_MAX_DISKS_AND_NETS + 1);
	disks[1].path = "/proc/nonexistent";
	REFUSED(-ENOENT, "a missing second disk", c.n_disks = 2);
	REFUSED(-ENODEV, "a missing TAP", c.n_disks = 1, c.nets = &net, c.n_nets = 1);
	net.tap = NULL;
	REFUSED(0, "no TAP", c.n_disks = 1, c.nets = &net, c.n_nets = 1);
	net.tap_fd = STDERR_FILENO;
	REFUSED(0, "a TAP that is none", c.n_disks = 1, c.nets = &net, c.n_nets = 1);
}

/* The process may open one descriptor more each time: creation fails at every place where it can. */
static void test_few_descriptors(char **argv)
{
	struct vmm_disk disks[] = {{.path = argv[4]}};
	struct rlimit few, many;
	struct vmm_config c;
	struct vmm *vm = NULL;
	int failed = 0, first = dup(STDERR_FILENO);

	close(first);
	vmm_config_init(&c);
	c.kernel = argv[1];
	c.disks = disks;
	c.n_disks = 1;
	c.cpus = 2;
	c.console_in = STDIN_FILENO;
	getrlimit(RLIMIT_NOFILE, &many);
	few = many;
	for (int more = 0; more < 64 && !vm && failures == 0; more++) {
		struct holdings before, after;
		int err;

		errors_logged = 0;
		take_stock(&before);
		few.rlim_cur = (rlim_t)(first + more);
		setrlimit(RLIMIT_NOFILE, &few);
		err = vmm_create(&c, &vm);
		setrlimit(RLIMIT_NOFILE, &many);
		if (err == 0)
			break;
		failed++;
		take_stock(&after);
		CHECK(err == -EMFILE, "%d descriptors: %s", more, strerror(-err));
		CHECK(errors_logged == 1, "%d descriptors: %d lines logged, the last: %s", more,
		      errors_logged, errors_logged ? last_logged : "");
		compare(&before, &after, "few descriptors");
	}
	CHECK(failures || (vm && failed > 8), "created after %d failures", failed);
	vmm_destroy(vm);
}

/* Address space that does not hold the guest's memory. */
static void test_little_memory(char **argv)
{
	struct rlimit little, much;
	struct vmm_config c;

	if (SANITIZED)
		return;
	vmm_config_init(&c);
	c.kernel = argv[1];
	getrlimit(RLIMIT_AS, &much);
	little = much;
	little.rlim_cur = 128 << 20;
	setrlimit(RLIMIT_AS, &little);
	expect_refusal(&c, -ENOMEM, "little memory");
	setrlimit(RLIMIT_AS, &much);
}

void test_refused_vms(char **argv)
{
	test_refusals(argv);
	test_few_descriptors(argv);
	test_little_memory(argv);
}
