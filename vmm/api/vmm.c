#include "vmm/api/vmm.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "vmm/api/config_check.h"
#include "vmm/core/descriptor.h"
#include "vmm/core/evloop.h"
#include "vmm/core/log.h"
#include "vmm/machine/machine.h"
#include "vmm/sandbox/confine.h"
#include "vmm/sandbox/filter.h"

_Static_assert(VMM_MAX_DISKS_AND_NETS == MACHINE_MAX_DISKS_AND_NETS,
	       "the API promises what the machine has");
_Static_assert(VMM_MAX_IO_THREADS == MACHINE_MAX_IO_THREADS,
	       "the API promises what the machine has");
_Static_assert(VMM_MAX_CPUS == MACHINE_MAX_VCPUS, "the API promises what the machine has");
_Static_assert(VMM_MIN_MEMORY == MACHINE_MIN_MEMORY, "the API promises what the machine has");
_Static_assert(VMM_MAX_DISK_QUEUES == MACHINE_MAX_DISK_QUEUES,
	       "the API promises what the machine has");
_Static_assert(VMM_MAX_NET_QUEUES == NET_MAX_PAIRS, "the API promises what the card has");
_Static_assert(VMM_MAX_INITRD_PARTS == MACHINE_MAX_INITRD_PARTS,
	       "the API promises what the machine has");
_Static_assert(VMM_MAX_VSOCK_PORTS == VIRTIO_VSOCK_PORTS, "the API promises what the device has");
_Static_assert(VMM_MAX_SHARES == MACHINE_MAX_SHARES, "the API promises what the machine has");
_Static_assert(VMM_MAX_FORWARDS == PASST_MAX_FORWARDS, "the API promises what the card has");

struct vmm {
	struct machine *machine;
	bool prepared, confined, started; /* or that was tried */
};

void vmm_config_init(struct vmm_config *config)
{
	*config = (struct vmm_config){.memory = UINT64_C(256) << 20,
				      .cpus = 1,
				      .unpack = true,
				      .rng = true,
				      .balloon = true,
				      .kaslr = true,
				      .console_socket = -1,
				      .console_in = -1,
				      .dump_fd = -1,
				      .console_out = -1};
}

static struct machine_config vmm_translate(const struct vmm_config *c)
{
	return (struct machine_config){
		.kernel = c->kernel,
		.unpack = c->unpack,
		.kernel_cache = c->kernel_cache,
		.initrd = c->initrd,
		.n_initrd_parts = c->n_initrd_parts,
		.cmdline = c->cmdline,
		.append = c->append,
		.memory = c->memory,
		.memory_options = {.pages = (enum guest_mem_pages)c->hugepages,
				   .shared = c->shared_memory,
				   .prefault = c->prefault},
		.cpus = c->cpus,
		.n_disks = c->n_disks,
		.n_nets = c->n_nets,
		.n_shares = c->n_shares,
		.io_threads = c->io_threads,
		.rng = c->rng,
		.balloon = c->balloon,
		.console_virtio = c->console_virtio,
		.console_socket = c->console_socket,
		.mmio_transport = c->mmio_transport,
		.device_tree = c->device_tree,
		.quick_end = c->quick_end,
		.kaslr = c->kaslr,
		.sandbox = (enum machine_sandbox)c->sandbox,
		.gdb = c->gdb,
		.gdb_wait = c->gdb_wait,
		.console_in = c->console_in,
		.console_out = c->console_out,
		.console_keys = c->console_keys,
		.dump_fd = c->dump_fd};
}

static struct net_limit_config vmm_translate_limit(const struct vmm_net_limit *l)
{
	return (struct net_limit_config){
		.bps = l->bps, .bps_burst = l->bps_burst, .pps = l->pps, .pps_burst = l->pps_burst};
}

static enum machine_vhost vmm_translate_vhost(enum vmm_vhost vhost)
{
	switch (vhost) {
	case VMM_VHOST_ON:
		return MACHINE_VHOST_ON;
	case VMM_VHOST_OFF:
		return MACHINE_VHOST_OFF;
	default:
		return MACHINE_VHOST_AUTO;
	}
}

static struct machine_net_config vmm_translate_net(const struct vmm_net *n,
						   struct passt_forward *forwards)
{
	for (unsigned int i = 0; i < n->n_forwards; i++)
		forwards[i] = (struct passt_forward){.udp = n->forwards[i].udp,
						     .host = n->forwards[i].host,
						     .guest = n->forwards[i].guest};
	return (struct machine_net_config){.user = n->user,
					   .tap = n->tap,
					   .tap_fd = n->tap_fd,
					   .mac = n->mac,
					   .mtu = n->mtu,
					   .queues = n->queues,
					   .vhost = vmm_translate_vhost(n->vhost),
					   .forwards = forwards,
					   .n_forwards = n->n_forwards,
					   .rx_limit = vmm_translate_limit(&n->rx),
					   .tx_limit = vmm_translate_limit(&n->tx)};
}

static struct machine_vsock_config vmm_translate_vsock(const struct vmm_vsock *v,
						       struct virtio_vsock_port *ports)
{
	for (unsigned int i = 0; i < v->n_ports; i++)
		ports[i] = (struct virtio_vsock_port){v->ports[i].port, v->ports[i].fd};
	return (struct machine_vsock_config){
		.cid = v->cid, .path = v->path, .ports = ports, .n_ports = v->n_ports};
}

static void vmm_translate_initrd(const struct vmm_config *c, struct machine_initrd_part *parts)
{
	for (unsigned int i = 0; i < c->n_initrd_parts; i++) {
		const struct vmm_initrd_part *p = &c->initrd_parts[i];

		parts[i] = (struct machine_initrd_part){
			.name = p->name,
			.part = {.size = p->size, .data = p->data, .fill = p->fill, .arg = p->arg}};
	}
}

/* What config_check() has passed. */
static int vmm_create_machine(const struct vmm_config *config, struct machine **machine)
{
	struct machine_config mc = vmm_translate(config);
	struct machine_disk_config disks[MACHINE_MAX_DISKS_AND_NETS];
	struct machine_net_config nets[MACHINE_MAX_DISKS_AND_NETS];
	struct machine_vsock_config vsock;
	struct virtio_vsock_port ports[VMM_MAX_VSOCK_PORTS];
	struct machine_initrd_part parts[MACHINE_MAX_INITRD_PARTS];
	struct machine_share_config shares[MACHINE_MAX_SHARES];
	struct passt_forward forwards[MACHINE_MAX_DISKS_AND_NETS][VMM_MAX_FORWARDS];

	for (unsigned int i = 0; i < config->n_disks; i++) {
		const struct vmm_disk *d = &config->disks[i];

		disks[i] = (struct machine_disk_config){
			.path = d->path,
			.serial = d->serial,
			.readonly = d->readonly,
			.overlay = d->overlay,
			.qcow2 = d->format == VMM_DISK_QCOW2,
			.backing_qcow2 = d->backing_format == VMM_DISK_QCOW2,
			.overlay_file = d->overlay_file,
			.backing = d->backing,
			.direct = d->direct,
			.queues = d->queues,
			.iops = d->iops,
			.iops_burst = d->iops_burst,
			.bps = d->bps,
			.bps_burst = d->bps_burst,
		};
	}
	if (config->vsock) {
		vsock = vmm_translate_vsock(config->vsock, ports);
		mc.vsock = &vsock;
	}
	for (unsigned int i = 0; i < config->n_nets; i++)
		nets[i] = vmm_translate_net(&config->nets[i], forwards[i]);
	for (unsigned int i = 0; i < config->n_shares; i++)
		shares[i] = (struct machine_share_config){.path = config->shares[i].path,
							  .tag = config->shares[i].tag,
							  .writable = config->shares[i].writable,
							  .cache = (int)config->shares[i].cache};
	mc.shares = shares;
	vmm_translate_initrd(config, parts);
	mc.initrd_parts = parts;
	mc.disks = disks;
	mc.nets = nets;
	return machine_create(&mc, machine);
}

int vmm_create(const struct vmm_config *config, struct vmm **out)
{
	struct vmm *vm = calloc(1, sizeof(*vm));
	int err;

	descriptor_hold_standard();
	*out = NULL;
	if (!vm)
		return log_no_memory();
	err = config_check(config);
	if (err == 0)
		err = vmm_create_machine(config, &vm->machine);
	if (err < 0) {
		free(vm);
		return err;
	}
	*out = vm;
	return 0;
}

int vmm_device_tree(const struct vmm *vm, void **tree, size_t *size)
{
	*tree = machine_make_tree(vm->machine, size);
	if (*tree)
		return 0;
	return log_no_memory();
}

static int vmm_refuse_again(void)
{
	log_error("a VM is prepared and started once");
	return -EALREADY;
}

int vmm_prepare(struct vmm *vm)
{
	int err;

	if (vm->prepared)
		return vmm_refuse_again();
	vm->prepared = true;
	err = machine_prepare(vm->machine);
	vm->started = err < 0; /* nor can it be any more */
	return err;
}

/* A program's mistake, which is not to pass for a layer that this host cannot have. */
static int vmm_check_directories(const struct vmm_confinement *c)
{
	struct stat st;

	for (unsigned int i = 0; i < c->n_remove_in; i++) {
		int err = fstat(c->remove_in[i], &st) < 0 ? -errno
			  : S_ISDIR(st.st_mode)		  ? 0
							  : -ENOTDIR;

		if (err < 0)
			return log_failure(err, "remove_in[%u]: descriptor %d", i, c->remove_in[i]);
	}
	return 0;
}

int vmm_confine(struct vmm *vm, const struct vmm_confinement *c)
{
	struct machine_confinement mc = {.strict = c->strict,
					 .change_user = c->change_user,
					 .uid = c->uid,
					 .gid = c->gid,
					 .remove_in = c->remove_in,
					 .n_remove_in = c->n_remove_in,
					 .starting_thread = c->starting_thread,
					 .still_open = c->still_open};
	int err;

	if (!vm->prepared || vm->confined || vm->started) {
		log_error("vmm_confine() goes between vmm_prepare() and vmm_start(), once");
		return vm->prepared ? -EALREADY : -EINVAL;
	}
	err = vmm_check_directories(c);
	if (err < 0)
		return err;
	vm->confined = true;
	return machine_confine(vm->machine, &mc);
}

int vmm_confine_thread(void)
{
	return filter_install(FILTER_OWNER);
}

int vmm_confine_stream_thread(void)
{
	/* It may have those that vmm_confine() left to threads that write to shared directories. */
	confine_drop_capabilities();
	return filter_install(FILTER_STREAM);
}

bool vmm_describe_violation(const void *info, char *text, size_t size)
{
	const siginfo_t *i = info;

	/* filter_describe() ends its text, which takes a byte. */
	return size ? filter_describe(i, text, size)
		    : i->si_signo == SIGSYS && i->si_code == 1; /* SYS_SECCOMP */
}

int vmm_start(struct vmm *vm)
{
	if (vm->started)
		return vmm_refuse_again();
	vm->prepared = vm->started = true;
	return machine_start(vm->machine);
}

static int64_t vmm_now_ms(void)
{
	return (int64_t)(evloop_now() / 1000000);
}

int vmm_wait(struct vmm *vm, int timeout_ms, enum vmm_end *end)
{
	struct pollfd fd = {.fd = machine_end_fd(vm->machine), .events = POLLIN};
	int64_t deadline = vmm_now_ms() + timeout_ms, left = timeout_ms;

	if (timeout_ms < 0 && !vm->machine->started) {
		log_error("a VM that was not started does not end");
		return -EDEADLK;
	}
	while (poll(&fd, 1, (int)left) != 1) {
		if (timeout_ms < 0)
			continue;
		left = deadline - vmm_now_ms();
		if (left <= 0)
			return -ETIMEDOUT;
	}
	if (end)
		*end = (enum vmm_end)machine_end_reason(vm->machine);
	return 0;
}

int vmm_last_instruction(const struct vmm *vm, unsigned int cpu, uint64_t *address)
{
	return machine_last_instruction(vm->machine, cpu, address);
}

void vmm_dump_vcpus(struct vmm *vm)
{
	machine_show_vcpus(vm->machine);
}

int vmm_dump_guest(struct vmm *vm, int fd)
{
	return machine_dump_guest(vm->machine, fd);
}

char *vmm_kernel_log(struct vmm *vm, unsigned int n)
{
	return machine_read_kernel_log(vm->machine, n);
}

int vmm_cpu_time(struct vmm *vm, unsigned int cpu, uint64_t *ns)
{
	return machine_cpu_time(vm->machine, cpu, ns);
}

bool vmm_console_wrote(struct vmm *vm)
{
	return console_wrote(&vm->machine->console);
}

int vmm_memory_fd(const struct vmm *vm)
{
	return machine_memory_fd(vm->machine);
}

int vmm_pagemap_fd(const struct vmm *vm)
{
	return machine_pagemap_fd(vm->machine);
}

int vmm_fd(const struct vmm *vm)
{
	return machine_end_fd(vm->machine);
}

void vmm_power_button(struct vmm *vm)
{
	machine_power_button(vm->machine);
}

void vmm_disks_resized(struct vmm *vm)
{
	machine_disks_resized(vm->machine);
}

void vmm_stop(struct vmm *vm)
{
	machine_stop(vm->machine);
}

void vmm_stop_now(struct vmm *vm)
{
	console_hurry(&vm->machine->console);
	machine_stop(vm->machine);
}

int vmm_balloon_set(struct vmm *vm, uint64_t bytes)
{
	return machine_balloon_set(vm->machine, bytes);
}

int vmm_balloon_stats(struct vmm *vm, struct vmm_balloon_stats *stats, unsigned int timeout_ms)
{
	struct machine_balloon_stats s;
	int err = machine_balloon_stats(vm->machine, &s, timeout_ms);

	if (err == 0)
		*stats = (struct vmm_balloon_stats){.balloon = s.balloon,
						    .total = s.total,
						    .free = s.free,
						    .available = s.available,
						    .caches = s.caches,
						    .swap_in = s.swap_in,
						    .swap_out = s.swap_out,
						    .major_faults = s.major_faults,
						    .minor_faults = s.minor_faults};
	return err;
}

void vmm_console_resize(struct vmm *vm, unsigned int rows, unsigned int columns)
{
	machine_console_resize(vm->machine, rows, columns);
}

void vmm_destroy(struct vmm *vm)
{
	if (!vm)
		return;
	machine_destroy(vm->machine);
	free(vm);
}

const char *vmm_version(void)
{
	return VMM_VERSION;
}

#define SAME(a, b) _Static_assert((int)(a) == (int)(b), "the two enums have the same numbers")

SAME(VMM_SANDBOX_ON, MACHINE_SANDBOX_ON);
SAME(VMM_SANDBOX_OFF, MACHINE_SANDBOX_OFF);
SAME(VMM_SANDBOX_STRICT, MACHINE_SANDBOX_STRICT);
SAME(VMM_HUGEPAGES_THP, GUEST_MEM_THP);
SAME(VMM_HUGEPAGES_OFF, GUEST_MEM_SMALL);
SAME(VMM_HUGEPAGES_2M, GUEST_MEM_2M);
SAME(VMM_HUGEPAGES_1G, GUEST_MEM_1G);
SAME(VMM_LOG_ERROR, LOG_LEVEL_ERROR);
SAME(VMM_LOG_WARN, LOG_LEVEL_WARN);
SAME(VMM_LOG_INFO, LOG_LEVEL_INFO);
SAME(VMM_LOG_DEBUG, LOG_LEVEL_DEBUG);
SAME(VMM_END_NONE, MACHINE_END_NONE);
SAME(VMM_END_POWER_OFF, MACHINE_END_POWER_OFF);
SAME(VMM_END_REBOOT, MACHINE_END_REBOOT);
SAME(VMM_END_CRASH, MACHINE_END_CRASH);
SAME(VMM_END_STOPPED, MACHINE_END_STOPPED);
SAME(VMM_END_CONSOLE_KEY, MACHINE_END_CONSOLE_KEY);
SAME(VMM_END_FAILED, MACHINE_END_FAILED);
SAME(VMM_END_DEBUGGER, MACHINE_END_DEBUGGER);

void vmm_log_set_level(enum vmm_log_level level)
{
	log_set_level((enum log_level)level);
}

void vmm_log_set_sink(void (*sink)(void *arg, int level, const char *line), void *arg)
{
	log_set_sink(sink, arg);
}
