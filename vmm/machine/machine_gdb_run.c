/* How a debugger stops the vCPUs and lets them run, and what their stops mean. */
#include "vmm/machine/machine_gdb.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "vmm/machine/machine.h"

#define EXCEPTION_BREAKPOINT 3

void machine_gdb_on_exit(void *arg, unsigned int cpu)
{
	struct machine *machine = arg;

	machine->gdb->cpus[cpu].exited = true;
	eventfd_write(machine->gdb->wake, 1);
}

/*
 * The read is let go to its end, with what is in %al already; after that only the address is another than before, which whoever
 * looks at the exit sets right.
 */
bool machine_gdb_on_port(void *arg, unsigned int cpu)
{
	struct machine *machine = arg;
	struct vcpu *vcpu = &machine->vcpus[cpu];
	struct kvm_regs regs;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0 ||
	    !machine_gdb_find_soft(machine->gdb, regs.rip))
		return false;
	*((uint8_t *)vcpu->run + vcpu->run->io.data_offset) = (uint8_t)regs.rax;
	vcpu->run->immediate_exit = 1;
	ioctl(vcpu->fd, KVM_RUN, 0);
	vcpu->run->immediate_exit = 0;
	machine->gdb->cpus[cpu].at_port = regs.rip;
	return true;
}

/* ---- what a stop means ---- */

static void machine_gdb_set_back(const struct vcpu *vcpu, uint64_t address)
{
	struct kvm_regs regs;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0)
		return;
	regs.rip = address;
	ioctl(vcpu->fd, KVM_SET_REGS, &regs);
}

/* Fills in what the vCPU has stopped for. False: it is the guest's own business. */
static bool machine_gdb_explain(struct machine_gdb *gdb, unsigned int cpu, struct gdb_stop *stop)
{
	const struct vcpu *vcpu = &gdb->machine->vcpus[cpu];
	const struct kvm_debug_exit_arch *exit = &vcpu->run->debug.arch;
	uint64_t at_port = gdb->cpus[cpu].at_port;

	*stop = (struct gdb_stop){.cpu = cpu,
				  .reason = GDB_STOP_POINT,
				  .point = GDB_POINT_SOFTWARE,
				  .address = exit->pc};
	if (at_port) {
		gdb->cpus[cpu].at_port = 0;
		machine_gdb_set_back(vcpu, at_port);
		return true;
	}
	if (exit->exception == EXCEPTION_BREAKPOINT)
		return machine_gdb_find_soft(gdb, exit->pc) != NULL;
	for (unsigned int i = 0; i < VCPU_DEBUG_SLOTS; i++) {
		if (!gdb->debug.slots[i].used || !(exit->dr6 >> i & 1))
			continue;
		stop->point = gdb->kinds[i];
		stop->address = gdb->debug.slots[i].address;
		return true;
	}
	stop->reason = GDB_STOP_STEP;
	return gdb->cpus[cpu].action == GDB_ACTION_STEP;
}

/* All vCPUs stand. */
static void machine_gdb_sort_exits(struct machine_gdb *gdb)
{
	for (unsigned int i = 0; i < gdb->n_cpus; i++) {
		struct machine_gdb_cpu *cpu = &gdb->cpus[i];

		if (!cpu->exited)
			continue;
		cpu->exited = false;
		cpu->pending = machine_gdb_explain(gdb, i, &cpu->stop);
		if (!cpu->pending)
			vcpu_debug_give_back(&gdb->machine->vcpus[i]);
	}
}

/* One stop is told at a time; a step's first, for the debugger waits for that one. */
static bool machine_gdb_take_stop(struct machine_gdb *gdb, struct gdb_stop *stop)
{
	struct machine_gdb_cpu *found = NULL;

	for (unsigned int i = 0; i < gdb->n_cpus; i++) {
		struct machine_gdb_cpu *cpu = &gdb->cpus[i];

		if (cpu->pending && (!found || cpu->stop.reason == GDB_STOP_STEP))
			found = cpu;
	}
	if (!found)
		return false;
	found->pending = false;
	*stop = found->stop;
	return true;
}

/* ---- standing and running ---- */

static void machine_gdb_pause(struct machine_gdb *gdb)
{
	if (gdb->standing)
		return;
	vcpu_pause_begin(&gdb->machine->pause);
	vcpu_pause_wait(&gdb->machine->pause);
	gdb->standing = true;
	machine_gdb_sort_exits(gdb);
}

/* Each vCPU does what its action says. */
static void machine_gdb_run(struct machine_gdb *gdb)
{
	for (unsigned int i = 0; i < gdb->n_cpus; i++) {
		struct vcpu *vcpu = &gdb->machine->vcpus[i];
		struct vcpu_debug debug = gdb->debug;

		debug.step = gdb->cpus[i].action == GDB_ACTION_STEP;
		debug.software &= gdb->instruction == MACHINE_GDB_INT3;
		vcpu->port_breaks = gdb->debug.software && !debug.software;
		vcpu_debug_set(vcpu, &debug);
		vcpu_pause_hold(vcpu, gdb->cpus[i].action == GDB_ACTION_STAY);
	}
	gdb->standing = false;
	vcpu_pause_end(&gdb->machine->pause);
}

void machine_gdb_begin_standing(struct machine_gdb *gdb)
{
	vcpu_pause_begin(&gdb->machine->pause);
	gdb->standing = true;
}

void machine_gdb_look(struct machine_gdb *gdb)
{
	struct gdb_stop stop;

	/* Who stands has been looked at. */
	if (gdb->standing)
		return;
	machine_gdb_pause(gdb);
	if (gdb_server_is_running(&gdb->server) && machine_gdb_take_stop(gdb, &stop))
		gdb_server_stopped(&gdb->server, &stop);
	else
		machine_gdb_run(gdb);
}

/* ---- struct gdb_target ---- */

void machine_gdb_stop(void *arg)
{
	machine_gdb_pause(arg);
}

/*
 * What was not told yet: a breakpoint stops its vCPU again, when it is still there. What was watched has happened, so it is told now, unless
 * that vCPU stays where it is, or nobody watches any more.
 */
static bool machine_gdb_tell_pending(struct machine_gdb *gdb, const uint8_t *actions)
{
	for (unsigned int i = 0; i < gdb->n_cpus; i++) {
		struct machine_gdb_cpu *cpu = &gdb->cpus[i];
		struct gdb_stop stop = cpu->stop;

		if (!cpu->pending ||
		    (actions[i] == GDB_ACTION_STAY && stop.point >= GDB_POINT_WRITE))
			continue;
		cpu->pending = false;
		if (stop.reason == GDB_STOP_POINT && stop.point >= GDB_POINT_WRITE &&
		    machine_gdb_has(gdb, &stop)) {
			gdb_server_stopped(&gdb->server, &stop);
			return true;
		}
	}
	return false;
}

void machine_gdb_resume(void *arg, const uint8_t *actions)
{
	struct machine_gdb *gdb = arg;

	if (machine_gdb_tell_pending(gdb, actions))
		return;
	for (unsigned int i = 0; i < gdb->n_cpus; i++)
		gdb->cpus[i].action = actions[i];
	machine_tell_stood(gdb->machine);
	machine_gdb_run(gdb);
}

void machine_gdb_release(void *arg)
{
	struct machine_gdb *gdb = arg;

	machine_gdb_pause(gdb);
	machine_gdb_remove_all(gdb);
	for (unsigned int i = 0; i < gdb->n_cpus; i++)
		gdb->cpus[i] = (struct machine_gdb_cpu){.action = GDB_ACTION_RUN};
	machine_tell_stood(gdb->machine);
	machine_gdb_run(gdb);
}
