/* How a machine starts and how it ends. */
#include "vmm/core/assert.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* How long the console's reader may take for what is left when the machine has ended. */
#define MACHINE_FLUSH_MS 2000

static const char *const machine_end_words[] = {
	[MACHINE_END_NONE] = "not at all",
	[MACHINE_END_POWER_OFF] = "the guest powered off",
	[MACHINE_END_REBOOT] = "the guest rebooted",
	[MACHINE_END_CRASH] = "the guest crashed: its kernel panicked, or a triple fault",
	[MACHINE_END_STOPPED] = "it was stopped",
	[MACHINE_END_CONSOLE_KEY] = "it was ended from the console",
	[MACHINE_END_FAILED] = "it failed",
	[MACHINE_END_DEBUGGER] = "it was ended by its debugger",
};

void machine_end(struct machine *machine, enum machine_end reason)
{
	int none = MACHINE_END_NONE;

	if (!atomic_compare_exchange_strong(&machine->end, &none, (int)reason))
		return;
	/* The vCPU that has ended it is outside, and need not be called back. */
	for (unsigned int i = 0; i < machine->n_vcpus; i++)
		vcpu_enter_no_more(&machine->vcpus[i]);
	/* An early crash may have left nothing on the console. */
	if (reason == MACHINE_END_CRASH)
		log_warn("%s", machine_end_words[reason]);
	else
		log_info("the machine ended: %s", machine_end_words[reason]);
	evloop_post(&machine->loop, &machine->end_task);
}

static void machine_tell_vcpus(struct machine *machine)
{
	pthread_mutex_lock(&machine->lock);
	machine->stopped = true;
	machine_bar_gate(machine);
	for (unsigned int i = 0; i < machine->n_vcpus; i++)
		vcpu_request_stop(&machine->vcpus[i]);
	vcpu_pause_let_out(&machine->pause);
	pthread_mutex_unlock(&machine->lock);
}

/* They were told, and have left the guest: nothing is left that they might wait for. */
static void machine_join_vcpus(struct machine *machine)
{
	pthread_mutex_lock(&machine->lock);
	for (unsigned int i = 0; i < machine->n_vcpus; i++)
		vcpu_join(&machine->vcpus[i]);
	pthread_mutex_unlock(&machine->lock);
}

void machine_stop_vcpus(struct machine *machine)
{
	machine_tell_vcpus(machine);
	/* Without the machine's lock, which the main loop takes: a vCPU may wait for that loop. */
	vcpu_pause_begin(&machine->pause);
	vcpu_pause_wait(&machine->pause);
	vcpu_pause_end(&machine->pause);
	machine_join_vcpus(machine);
}

void machine_on_end(void *arg)
{
	struct machine *machine = arg;

	machine->ending = true;
	machine_tell_vcpus(machine);
	vcpu_pause_ask(&machine->pause, &machine->loop, &machine->out_task);
}

/* The vCPUs have left the guest for the last time. */
static void machine_finish(struct machine *machine)
{
	if (machine->ended)
		return;
	machine->ended = true;
	machine_join_vcpus(machine);
	machine_end_gdb(machine);
	machine_end_balloon(machine);
	/* The loop has nothing else to do any more, so it may wait for the console's reader. */
	console_flush(&machine->console, MACHINE_FLUSH_MS);
	eventfd_write(machine->end_fd, 1);
}

void machine_on_power_off(void *arg)
{
	machine_end(arg, MACHINE_END_POWER_OFF);
}

void machine_on_reset(void *arg)
{
	struct machine *machine = arg;

	machine_end(machine,
		    machine_reset_was_panic(machine) ? MACHINE_END_CRASH : MACHINE_END_REBOOT);
}

void machine_on_triple_fault(void *arg)
{
	struct machine *machine = arg;

	if (machine_reset_was_announced(machine)) /* reboot=triple */
		machine_on_reset(machine);
	else
		machine_end(machine, MACHINE_END_CRASH);
}

void machine_on_failure(void *arg, unsigned int vcpu)
{
	(void)vcpu;
	machine_end(arg, MACHINE_END_FAILED);
}

/* What has ended may be dumped by its owner at this time. */
static void machine_on_dump_key(struct machine *machine)
{
	if (machine_end_reason(machine) != MACHINE_END_NONE)
		return;
	if (machine->dump_fd >= 0)
		machine_dump_guest(machine, machine->dump_fd);
	else
		log_warn("there is no file for a dump of the guest");
}

/* The vCPUs have been paused for them. */
static void machine_serve_keys(struct machine *machine, unsigned int pressed)
{
	if (pressed & CONSOLE_KEY_SHOW)
		machine_show_vcpus(machine);
	if (pressed & CONSOLE_KEY_DUMP)
		machine_on_dump_key(machine);
	vcpu_pause_end(&machine->pause);
	if (pressed & CONSOLE_KEY_QUIT)
		machine_end(machine, MACHINE_END_CONSOLE_KEY);
}

void machine_on_out(void *arg)
{
	struct machine *machine = arg;
	unsigned int pressed = machine->keys;

	machine->keys = 0;
	if (pressed)
		machine_serve_keys(machine, pressed);
	if (machine->ending)
		machine_finish(machine);
}

void machine_on_keys(void *arg, unsigned int pressed)
{
	struct machine *machine = arg;
	bool waits = machine->keys;

	/* What was pressed before comes first. */
	if (!waits && !(pressed & (CONSOLE_KEY_SHOW | CONSOLE_KEY_DUMP))) {
		if (pressed & CONSOLE_KEY_QUIT)
			machine_end(machine, MACHINE_END_CONSOLE_KEY);
		return;
	}
	machine->keys |= pressed;
	if (waits)
		return;
	vcpu_pause_begin(&machine->pause);
	vcpu_pause_ask(&machine->pause, &machine->loop, &machine->out_task);
}

static int machine_start_vcpus(struct machine *machine)
{
	int err = 0;

	guest_mem_hand_over(&machine->mem);
	pthread_mutex_lock(&machine->lock);
	/* machine_stop() may have been faster. */
	for (unsigned int i = 0; i < machine->n_vcpus && err == 0 && !machine->stopped; i++)
		err = vcpu_start(&machine->vcpus[i], machine_rights(machine, FILTER_VCPU));
	pthread_mutex_unlock(&machine->lock);
	return err;
}

int machine_prepare(struct machine *machine)
{
	int err;

	assert(!machine->prepared);
	machine->prepared = true;
	err = machine_start_cards(machine);
	return err < 0 ? err : machine_listen_gdb(machine);
}

int machine_start(struct machine *machine)
{
	int err;

	assert(!machine->started);
	err = machine->prepared ? 0 : machine_prepare(machine);
	if (err == 0)
		err = machine_own_cards(machine);
	if (err < 0)
		return err;
	machine_shut_gate(machine);
	console_start(&machine->console, &machine->serial);
	machine->loop.rights = machine_rights(machine, FILTER_MAIN);
	err = evloop_start(&machine->loop, "vmm-main");
	if (err < 0)
		return log_failure(err, "cannot start the main loop");
	machine->started = true;
	err = machine_start_io(machine);
	if (err == 0)
		err = machine_start_gdb(machine);
	if (err == 0)
		err = machine_start_vcpus(machine);
	/* Later there may be no way to get what it takes. */
	if (machine->quick_end)
		vm_end_late(&machine->vm, machine->mounts);
	machine_close_mounts(machine);
	if (err == 0)
		err = machine_open_gate(machine);
	if (err < 0)
		machine_end(machine, MACHINE_END_FAILED);
	return err;
}

void machine_power_button(struct machine *machine)
{
	acpi_power_button(&machine->power);
}

void machine_stop(struct machine *machine)
{
	machine_end(machine, MACHINE_END_STOPPED);
}

void machine_disks_resized(struct machine *machine)
{
	evloop_post(&machine->loop, &machine->resize_task);
}

int machine_end_fd(const struct machine *machine)
{
	return machine->end_fd;
}

enum machine_end machine_end_reason(const struct machine *machine)
{
	return (enum machine_end)atomic_load(&machine->end);
}

/* The end is signalled when the vCPUs' threads were joined. */
int machine_last_instruction(const struct machine *machine, unsigned int cpu, uint64_t *address)
{
	struct pollfd ended = {.fd = machine->end_fd, .events = POLLIN};
	struct vcpu_registers registers;

	if (poll(&ended, 1, 0) != 1)
		return -EAGAIN;
	if (cpu >= machine->n_vcpus || vcpu_read_registers(&machine->vcpus[cpu], &registers) < 0 ||
	    registers.mp_state == KVM_MP_STATE_UNINITIALIZED)
		return -ENOENT;
	*address = registers.regs.rip;
	return 0;
}

int machine_cpu_time(struct machine *machine, unsigned int cpu, uint64_t *ns)
{
	struct timespec t;
	clockid_t clock;
	int err = -ENOENT;

	/* The lock keeps its thread from being joined meanwhile. */
	pthread_mutex_lock(&machine->lock);
	if (cpu < machine->n_vcpus && machine->vcpus[cpu].running &&
	    pthread_getcpuclockid(machine->vcpus[cpu].thread, &clock) == 0 &&
	    clock_gettime(clock, &t) == 0)
		err = 0;
	pthread_mutex_unlock(&machine->lock);
	if (err == 0)
		*ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
	return err;
}
