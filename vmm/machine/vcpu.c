#include "vmm/machine/vcpu.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/core/assert.h"
#include "vmm/core/thread.h"

/* The kernel's idea of a signal set, which is shorter than libc's. */
#define VCPU_KERNEL_SIGSET_SIZE 8

/* So many of the values that KVM adds to an error are told. */
#define VCPU_ERROR_DATA 4

/* Where the code segment after a reset is 16 bytes below its end (Intel SDM volume 3, 10.1.4; AMD APM volume 2, 14.1.5). */
#define VCPU_RESET_VECTOR 0xfff0

enum vcpu_next {
	VCPU_CONTINUE,
	VCPU_END,
};

/* ---- exits ---- */

static enum vcpu_next vcpu_exit_debug(struct vcpu *vcpu);
static enum vcpu_next vcpu_fail(struct vcpu *vcpu, const char *why, uint64_t detail);

static enum vcpu_next vcpu_exit_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	unsigned int size = run->io.size;

	if (vcpu->port_breaks && run->io.direction == KVM_EXIT_IO_IN &&
	    vcpu->host.break_at_port(vcpu->host.arg, vcpu->index))
		return vcpu_exit_debug(vcpu);
	for (uint32_t i = 0; i < run->io.count; i++, data += size) {
		uint64_t value = 0;

		if (run->io.direction == KVM_EXIT_IO_OUT) {
			memcpy(&value, data, size);
			bus_write(vcpu->host.ports, run->io.port, size, value);
		} else {
			value = bus_read(vcpu->host.ports, run->io.port, size);
			memcpy(data, &value, size);
		}
	}
	return VCPU_CONTINUE;
}

static enum vcpu_next vcpu_exit_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	unsigned int len = run->mmio.len;
	uint64_t value = 0;

	assert(len <= sizeof(run->mmio.data));
	/* KVM cuts accesses at page ends; devices see whole ones alone (bus.h). */
	if (len == 0 || (len & (len - 1)) != 0) {
		memset(run->mmio.data, 0xff, len);
	} else if (run->mmio.is_write) {
		memcpy(&value, run->mmio.data, len);
		bus_write(vcpu->host.mmio, run->mmio.phys_addr, len, value);
	} else {
		value = bus_read(vcpu->host.mmio, run->mmio.phys_addr, len);
		memcpy(run->mmio.data, &value, len);
	}
	return VCPU_CONTINUE;
}

static enum vcpu_next vcpu_exit_eoi(struct vcpu *vcpu)
{
	vcpu->host.eoi(vcpu->host.arg, vcpu->run->eoi.vector);
	return VCPU_CONTINUE;
}

static enum vcpu_next __attribute__((cold)) vcpu_exit_shutdown(struct vcpu *vcpu)
{
	vcpu->host.triple_fault(vcpu->host.arg);
	return VCPU_END;
}

/* Takes the pending kick, which stays blocked outside KVM_RUN and would end every later one at once. Returns whether there was one. */
static bool vcpu_take_kick(void)
{
	const struct timespec now = {0};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, VCPU_KICK_SIGNAL);
	return sigtimedwait(&set, NULL, &now) > 0;
}

/*
 * The access of the last exit is complete. What interrupts KVM_RUN without a kick has stopped the process (SIGSTOP, a cgroup that was frozen):
 * the guest is told that its clock went on, or its watchdogs would take that for a CPU that is stuck. KVM refuses it for one without that clock.
 */
static enum vcpu_next __attribute__((cold)) vcpu_exit_interrupted(struct vcpu *vcpu)
{
	if (!vcpu_take_kick())
		ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, 0);
	vcpu_pause_pass(vcpu);
	return VCPU_CONTINUE;
}

/* A debugger asked for it (vcpu_debug_x86.h), looks at it, and lets it go. */
static enum vcpu_next vcpu_exit_debug(struct vcpu *vcpu)
{
	if (!vcpu->host.debug)
		return vcpu_fail(vcpu, "a debugger's exit without a debugger, reason",
				 vcpu->last_exit);
	vcpu_pause_hold(vcpu, true);
	vcpu->host.debug(vcpu->host.arg, vcpu->index);
	vcpu_pause_pass(vcpu);
	return VCPU_CONTINUE;
}

static enum vcpu_next vcpu_fail(struct vcpu *vcpu, const char *why, uint64_t detail)
{
	struct kvm_regs regs = {0};

	ioctl(vcpu->fd, KVM_GET_REGS, &regs);
	log_error("vCPU %u cannot go on: %s %#llx, at instruction %#llx", vcpu->index, why,
		  (unsigned long long)detail, (unsigned long long)regs.rip);
	vcpu->host.failed(vcpu->host.arg, vcpu->index);
	return VCPU_END;
}

static enum vcpu_next __attribute__((cold)) vcpu_exit_fail_entry(struct vcpu *vcpu)
{
	return vcpu_fail(vcpu, "the CPU refused to enter the guest, reason",
			 vcpu->run->fail_entry.hardware_entry_failure_reason);
}

/*
 * An INIT leads the first CPU to its firmware, of which there is none: KVM cannot fetch the instruction. A PC resets then, as after a
 * triple fault. A crash kernel on another CPU does that when it starts this one anew.
 */
static bool __attribute__((cold)) vcpu_wants_firmware(const struct vcpu *vcpu)
{
	struct kvm_regs regs;

	return vcpu->run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION &&
	       ioctl(vcpu->fd, KVM_GET_REGS, &regs) == 0 && regs.rip == VCPU_RESET_VECTOR;
}

static enum vcpu_next __attribute__((cold)) vcpu_exit_internal_error(struct vcpu *vcpu)
{
	const struct kvm_run *run = vcpu->run;

	if (vcpu_wants_firmware(vcpu))
		return vcpu_exit_shutdown(vcpu);
	/* What they say depends on the kind and the kernel; the first ones say most. For a report to KVM's authors: an error is one line. */
	for (unsigned int i = 0; i < run->internal.ndata && i < VCPU_ERROR_DATA; i++)
		log_info("vCPU %u: KVM's error data: %#llx", vcpu->index, run->internal.data[i]);
	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
		return vcpu_fail(vcpu, "KVM cannot emulate an instruction of the guest, error",
				 run->internal.suberror);
	return vcpu_fail(vcpu, "KVM's internal error", run->internal.suberror);
}

typedef enum vcpu_next vcpu_exit_fn(struct vcpu *vcpu);

static vcpu_exit_fn *const vcpu_exits[] = {
	[KVM_EXIT_IO] = vcpu_exit_io,
	[KVM_EXIT_MMIO] = vcpu_exit_mmio,
	[KVM_EXIT_IOAPIC_EOI] = vcpu_exit_eoi,
	[KVM_EXIT_SHUTDOWN] = vcpu_exit_shutdown,
	[KVM_EXIT_INTR] = vcpu_exit_interrupted,
	[KVM_EXIT_DEBUG] = vcpu_exit_debug,
	[KVM_EXIT_FAIL_ENTRY] = vcpu_exit_fail_entry,
	[KVM_EXIT_INTERNAL_ERROR] = vcpu_exit_internal_error,
};

static enum vcpu_next vcpu_dispatch(struct vcpu *vcpu)
{
	uint32_t reason = vcpu->run->exit_reason;

	vcpu->last_exit = reason;
	if (reason < sizeof(vcpu_exits) / sizeof(vcpu_exits[0]) && vcpu_exits[reason])
		return vcpu_exits[reason](vcpu);
	return vcpu_fail(vcpu, "an exit that vmm does not know, reason", reason);
}

/* ---- the thread ---- */

/* KVM makes a thread of its own for a VM, on recent kernels when that is run first. */
static const char *vcpu_why(int err)
{
	return err == EAGAIN ? "KVM may start no thread for it (a limit of processes), error"
			     : strerror(err);
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *vcpu = arg;
	enum vcpu_next next = VCPU_CONTINUE;

	vcpu_pause_enter(vcpu);
	while (next == VCPU_CONTINUE && !vcpu_must_stop(vcpu)) {
		if (ioctl(vcpu->fd, KVM_RUN, 0) == 0)
			next = vcpu_dispatch(vcpu);
		else if (errno == EINTR)
			next = vcpu_exit_interrupted(vcpu);
		else if (errno != EAGAIN || vcpu->index == 0)
			next = vcpu_fail(vcpu, vcpu_why(errno), (uint64_t)errno);
		/* else it was woken by the interrupt that starts it */
	}
	vcpu_pause_leave(vcpu);
	return NULL;
}

static int vcpu_set_signal_mask(struct vcpu *vcpu)
{
	struct {
		struct kvm_signal_mask mask;
		uint8_t set[VCPU_KERNEL_SIGSET_SIZE];
	} kernel = {.mask.len = VCPU_KERNEL_SIGSET_SIZE};
	sigset_t set;

	/* Of a page that the host has lost KVM tells by SIGBUS, and tries again for ever while that is blocked. */
	thread_fill_blocked(&set);
	sigdelset(&set, VCPU_KICK_SIGNAL);
	memcpy(kernel.mask.sigset, &set, VCPU_KERNEL_SIGSET_SIZE);
	return ioctl(vcpu->fd, KVM_SET_SIGNAL_MASK, &kernel) < 0 ? -errno : 0;
}

/* ---- life ---- */

int __attribute__((cold))
vcpu_init(struct vcpu *vcpu, struct vm *vm, unsigned int index, unsigned int n_vcpus,
	  const struct kvm_cpuid2 *cpuid, const struct vcpu_host *host)
{
	int err;

	*vcpu = (struct vcpu){.vm = vm, .index = index, .host = *host};
	vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)index);
	if (vcpu->fd < 0)
		return log_failure(-errno, "cannot create vCPU %u", index);
	vcpu->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED) {
		err = -errno;
		vcpu->run = NULL;
	} else {
		err = vcpu_x86_set_cpuid(vcpu, n_vcpus, cpuid);
		if (err == 0)
			err = vcpu_x86_set_msrs(vcpu);
		if (err == 0)
			err = vcpu_set_signal_mask(vcpu);
	}
	if (err < 0) {
		log_failure(err, "cannot set up vCPU %u", index);
		vcpu_fini(vcpu);
	}
	return err;
}

int __attribute__((cold)) vcpu_start(struct vcpu *vcpu, const struct thread_rights *rights)
{
	char name[16];
	int err;

	snprintf(name, sizeof(name), "vmm-vcpu%u", vcpu->index);
	err = thread_start(&vcpu->thread, name, vcpu_thread, vcpu, rights);
	if (err < 0)
		log_failure(err, "cannot start the thread of vCPU %u", vcpu->index);
	vcpu->running = err == 0;
	return err;
}

void __attribute__((cold)) vcpu_request_stop(struct vcpu *vcpu)
{
	vcpu_enter_no_more(vcpu);
	if (vcpu->running) {
		int err = pthread_kill(vcpu->thread, VCPU_KICK_SIGNAL);

		/* older C libraries know that it has ended by itself */
		assert(err == 0 || err == ESRCH);
	}
}

void vcpu_join(struct vcpu *vcpu)
{
	if (!vcpu->running)
		return;
	pthread_join(vcpu->thread, NULL);
	vcpu->running = false;
}

void __attribute__((cold)) vcpu_fini(struct vcpu *vcpu)
{
	assert(!vcpu->running);
	if (vcpu->run)
		munmap(vcpu->run, vcpu->vm->run_size);
	if (vcpu->fd >= 0)
		close(vcpu->fd);
	vcpu->run = NULL;
	vcpu->fd = -1;
}
