/*
 * Holds a VM with one vCPU that never runs, for as long as the machine lives, so that no VM of a test is the first or the
 * last one: run.sh says why. The vCPU's local APIC is disabled, as at reset, which keeps KVM's own switch for such APICs
 * (apic_sw_disabled) where it is.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(void)
{
	struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {24}};
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = kvm < 0 ? -1 : ioctl(kvm, KVM_CREATE_VM, 0);

	if (vm < 0 || ioctl(vm, KVM_ENABLE_CAP, &split) < 0 || ioctl(vm, KVM_CREATE_VCPU, 0) < 0) {
		perror("hold_vm");
		return 1;
	}
	for (;;)
		pause();
}
