#include "vmm/machine/vm_examine.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "vmm/machine/vcpu.h"
#include "vmm/machine/vm.h"

static uint64_t vm_examine_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void vm_examine_start(struct vm_examined *e, int kvm)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {VM_IOAPIC_PINS}};
	uint64_t before = vm_examine_us();
	int fd;

	do
		fd = ioctl(kvm, KVM_CREATE_VM, 0);
	while (fd < 0 && errno == EINTR);
	if (fd < 0 || ioctl(fd, KVM_ENABLE_CAP, &cap) < 0)
		e->vm_error = -errno;
	e->vm_us = vm_examine_us() - before;
	if (fd >= 0)
		close(fd);
}

void vm_examine(struct vm_examined *e)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	*e = (struct vm_examined){.virtualization = vcpu_host_has_virtualization(),
				  .kvm_error = kvm < 0 ? -errno : 0};
	if (kvm < 0)
		return;
	e->kvm_version = ioctl(kvm, KVM_GET_API_VERSION, 0);
	if (e->kvm_version == KVM_API_VERSION) {
		e->lacks = vm_lacks(kvm);
		if (!e->lacks)
			vm_examine_start(e, kvm);
	}
	close(kvm);
}
