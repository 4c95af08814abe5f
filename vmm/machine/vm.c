#include "vmm/machine/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/core/late_close.h"
#include "vmm/core/log.h"
#include "vmm/machine/layout_x86.h"

#define VM_KVM_DEVICE "/dev/kvm"

/* Then to be of that group helps; root's is no group to be of. */
static bool vm_group_may_use(void)
{
	struct stat st;

	return stat(VM_KVM_DEVICE, &st) == 0 && st.st_gid != 0 && (st.st_mode & 060) == 060;
}

static int vm_open_kvm(void)
{
	int fd = open(VM_KVM_DEVICE, O_RDWR | O_CLOEXEC);
	int err = -errno;
	const char *hint;

	if (fd >= 0)
		return fd;
	switch (err) {
	case -ENOENT:
		hint = "; load KVM with: modprobe kvm_intel or modprobe kvm_amd, and enable "
		       "virtualization in the firmware";
		break;
	case -EACCES:
		hint = vm_group_may_use() ? "; let your user in with: sudo usermod -aG $(stat -c "
					    "%G " VM_KVM_DEVICE ") $USER, then log in again"
					  : "; vmm doctor tells how to let your user in";
		break;
	case -EPERM:
		hint = "; what is around this program, such as a container or a unit's "
		       "DevicePolicy=, does not let it through";
		break;
	case -ENODEV:
	case -ENXIO:
		hint = "; the CPU has no virtualization, or the firmware switched it off";
		break;
	default:
		hint = "";
	}
	log_error("cannot open " VM_KVM_DEVICE ": %s%s", strerror(-err), hint);
	return err;
}

/* What vmm cannot do without. */
static const struct {
	int cap;
	const char *name;
} vm_needed[] = {
	{KVM_CAP_USER_MEMORY, "user memory"},
	{KVM_CAP_SPLIT_IRQCHIP, "a split interrupt controller"},
	{KVM_CAP_SIGNAL_MSI, "message interrupts"},
	{KVM_CAP_IRQFD, "irqfd"},
	{KVM_CAP_IOEVENTFD_ANY_LENGTH, "ioeventfds of any length"},
	{KVM_CAP_IMMEDIATE_EXIT, "immediate exit"},
};

const char *vm_lacks(int kvm_fd)
{
	for (size_t i = 0; i < sizeof(vm_needed) / sizeof(vm_needed[0]); i++) {
		if (ioctl(kvm_fd, KVM_CHECK_EXTENSION, vm_needed[i].cap) <= 0)
			return vm_needed[i].name;
	}
	return NULL;
}

static int vm_check_kvm(struct vm *vm)
{
	int version = ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0);
	const char *lacks;
	int n;

	if (version != KVM_API_VERSION) {
		log_error(VM_KVM_DEVICE " is not KVM with version %d of its API", KVM_API_VERSION);
		return -ENOTSUP;
	}
	lacks = vm_lacks(vm->kvm_fd);
	if (lacks) {
		log_error("this host's KVM lacks %s; vmm needs Linux 4.18 or newer", lacks);
		return -ENOTSUP;
	}
	n = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (n < (int)sizeof(struct kvm_run)) {
		log_error("this host's KVM gives no usable vCPU state area");
		return -ENOTSUP;
	}
	vm->run_size = (size_t)n;
	n = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	vm->max_vcpus = n > 0 ? (unsigned int)n : 4;
	return 0;
}

static int vm_create(struct vm *vm)
{
	do
		vm->fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	while (vm->fd < 0 && errno == EINTR);
	if (vm->fd < 0)
		return log_failure(-errno, "cannot create a virtual machine");
	return 0;
}

/* Intel CPUs without unrestricted guests use these pages; elsewhere the calls do nothing or are missing. */
static int vm_set_intel_pages(struct vm *vm)
{
	uint64_t identity = LAYOUT_IDENTITY_MAP;

	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0 && errno != ENOTTY &&
	    errno != EINVAL)
		return -errno;
	if (ioctl(vm->fd, KVM_SET_TSS_ADDR, (unsigned long)LAYOUT_TSS) < 0 && errno != ENOTTY)
		return -errno;
	return 0;
}

/* One slot has at most 2^31 - 1 pages; larger regions take several. */
#define VM_SLOT_MAX (UINT64_C(1) << 42)

static int vm_add_memory(struct vm *vm)
{
	uint32_t slot = 0;

	for (unsigned int i = 0; i < vm->mem->n_regions; i++) {
		const struct guest_mem_region *r = &vm->mem->regions[i];

		for (uint64_t done = 0; done < r->size; done += VM_SLOT_MAX) {
			uint64_t left = r->size - done;
			struct kvm_userspace_memory_region region = {
				.slot = slot++,
				.guest_phys_addr = r->base + done,
				.memory_size = left < VM_SLOT_MAX ? left : VM_SLOT_MAX,
				.userspace_addr = (uintptr_t)r->host + done,
			};

			if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
				return -errno;
		}
	}
	return 0;
}

static int vm_split_irqchip(struct vm *vm)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {VM_IOAPIC_PINS}};

	return ioctl(vm->fd, KVM_ENABLE_CAP, &cap) < 0 ? -errno : 0;
}

static int vm_build(struct vm *vm)
{
	int err = vm_set_intel_pages(vm);

	if (err == 0)
		err = vm_add_memory(vm);
	if (err < 0)
		return log_failure(err, "cannot give the virtual machine its memory");
	err = vm_split_irqchip(vm);
	if (err < 0)
		log_failure(err, "cannot create the interrupt controller");
	return err;
}

int vm_init(struct vm *vm, const struct guest_mem *mem)
{
	int err;

	*vm = (struct vm){
		.kvm_fd = -1, .fd = -1, .held_by = -1, .mem = mem, .n_gsis = LAYOUT_GSI_MSI};
	pthread_mutex_init(&vm->gsi_lock, NULL);
	err = vm_open_kvm();
	if (err < 0)
		goto fail;
	vm->kvm_fd = err;
	err = vm_check_kvm(vm);
	if (err == 0)
		err = vm_create(vm);
	if (err == 0)
		err = vm_build(vm);
	if (err < 0)
		goto fail;
	return 0;
fail:
	vm_fini(vm);
	return err;
}

void vm_fini(struct vm *vm)
{
	free(vm->routing);
	vm->routing = NULL;
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->held_by >= 0)
		close(vm->held_by);
	if (vm->kvm_fd >= 0)
		close(vm->kvm_fd);
	vm->fd = -1;
	vm->kvm_fd = -1;
	vm->held_by = -1;
	pthread_mutex_destroy(&vm->gsi_lock);
}

/* It waits for grace periods of the kernel, tens of milliseconds in all. */
void vm_end_late(struct vm *vm, int other)
{
	vm->held_by = late_close_hold(vm->fd, other);
}

static int vm_kick(struct vm *vm, bool port, uint64_t address, int fd, uint32_t flags)
{
	/* Length 0: any width, and on CPUs that tell the address of the access no decoding of the instruction. */
	struct kvm_ioeventfd io = {.addr = address,
				   .len = 0,
				   .fd = fd,
				   .flags = (port ? KVM_IOEVENTFD_FLAG_PIO : 0) | flags};

	return ioctl(vm->fd, KVM_IOEVENTFD, &io) < 0 ? -errno : 0;
}

int vm_bind_kick(struct vm *vm, bool port, uint64_t address, int fd)
{
	return vm_kick(vm, port, address, fd, 0);
}

int vm_unbind_kick(struct vm *vm, bool port, uint64_t address, int fd)
{
	return vm_kick(vm, port, address, fd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

static int vm_kick_value(struct vm *vm, uint64_t gpa, uint32_t value, int fd, uint32_t flags)
{
	struct kvm_ioeventfd io = {.addr = gpa,
				   .len = 4,
				   .datamatch = value,
				   .fd = fd,
				   .flags = KVM_IOEVENTFD_FLAG_DATAMATCH | flags};

	return ioctl(vm->fd, KVM_IOEVENTFD, &io) < 0 ? -errno : 0;
}

int vm_bind_kick_value(struct vm *vm, uint64_t gpa, uint32_t value, int fd)
{
	return vm_kick_value(vm, gpa, value, fd, 0);
}

int vm_unbind_kick_value(struct vm *vm, uint64_t gpa, uint32_t value, int fd)
{
	return vm_kick_value(vm, gpa, value, fd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}
