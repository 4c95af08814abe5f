/*
 * What the host's kernel alone takes to bring a guest's first byte out: a program that makes the fewest calls of KVM that do.
 *
 *   floor MIB
 *
 * A virtual machine with that much memory and one virtual CPU, without interrupts, tables, devices and threads; its guest
 * writes one byte to the serial port, which goes to the standard output, and resets the machine. No hypervisor that is of any use
 * can be faster here. How long the machine's end takes is not what this is for.
 *
 * Status 0 when the guest did so, 1 after a line that says why not.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define SERIAL 0x3f8
#define RESET  0x64
/* Real mode, where a virtual CPU begins. */
static const uint8_t guest[] = {
	0xb0, '!',	   /* mov $'!', %al */
	0xba, 0xf8,  0x03, /* mov $SERIAL, %dx */
	0xee,		   /* out %al, %dx */
	0xb0, 0xfe,	   /* mov $0xfe, %al */
	0xe6, RESET,	   /* out %al, $RESET */
};

static int checked(int result, const char *what)
{
	if (result >= 0)
		return result;
	perror(what);
	exit(1);
}

static void begin_at_zero(int vcpu)
{
	struct kvm_regs regs = {.rflags = 2};
	struct kvm_sregs sregs;

	checked(ioctl(vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	checked(ioctl(vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	checked(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static void run(int vcpu, const struct kvm_run *state)
{
	for (;;) {
		checked(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
		if (state->exit_reason != KVM_EXIT_IO) {
			fprintf(stderr, "floor: exit %u\n", state->exit_reason);
			exit(1);
		}
		if (state->io.port == RESET)
			return;
		if (state->io.port == SERIAL)
			checked((int)write(STDOUT_FILENO,
					   (const char *)state + state->io.data_offset, 1),
				"standard output");
	}
}

int main(int argc, char **argv)
{
	size_t size = argc == 2 ? strtoull(argv[1], NULL, 10) << 20 : 0;
	int kvm = checked(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	struct kvm_userspace_memory_region memory = {.memory_size = size};
	struct kvm_run *state;
	void *ram;
	int vm, vcpu;

	ram = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		   -1, 0);
	checked(ram == MAP_FAILED ? -1 : 0, "memory");
	memcpy(ram, guest, sizeof(guest));
	memory.userspace_addr = (uintptr_t)ram;
	vm = checked(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	checked(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000), "KVM_SET_TSS_ADDR");
	checked(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &memory), "KVM_SET_USER_MEMORY_REGION");
	vcpu = checked(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	state = mmap(NULL, (size_t)ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
		     MAP_SHARED, vcpu, 0);
	checked(state == MAP_FAILED ? -1 : 0, "KVM's page");
	begin_at_zero(vcpu);
	run(vcpu, state);
	return 0;
}
