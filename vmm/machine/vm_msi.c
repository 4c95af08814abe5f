/* Message interrupts: direct ones, and irqfds behind global system interrupt routes. */
#include "vmm/machine/vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm/machine/layout_x86.h"

int vm_send_msi(struct vm *vm, uint64_t address, uint32_t data)
{
	struct kvm_msi msi = {.address_lo = (uint32_t)address,
			      .address_hi = (uint32_t)(address >> 32),
			      .data = data};

	int taken = ioctl(vm->fd, KVM_SIGNAL_MSI, &msi);

	return taken < 0 ? -errno : taken;
}

static struct kvm_irq_routing_entry *vm_find_route(struct kvm_irq_routing *table, uint32_t gsi)
{
	for (uint32_t i = 0; i < table->nr; i++) {
		if (table->entries[i].gsi == gsi)
			return &table->entries[i];
	}
	return NULL;
}

/* Sets the route of gsi and hands the whole table to KVM, which knows no smaller change. */
static int vm_set_route(struct vm *vm, uint32_t gsi, uint64_t address, uint32_t data)
{
	struct kvm_irq_routing_entry want = {
		.gsi = gsi,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = {.address_lo = (uint32_t)address,
			  .address_hi = (uint32_t)(address >> 32),
			  .data = data},
	};
	struct kvm_irq_routing_entry *entry;
	int err = 0;

	pthread_mutex_lock(&vm->gsi_lock);
	if (!vm->routing)
		vm->routing = calloc(1, sizeof(*vm->routing) + VM_MAX_GSIS * sizeof(want));
	if (!vm->routing) {
		err = -ENOMEM;
		goto out;
	}
	entry = vm_find_route(vm->routing, gsi);
	if (entry && memcmp(entry, &want, sizeof(want)) == 0)
		goto out;
	if (!entry)
		entry = &vm->routing->entries[vm->routing->nr++];
	*entry = want;
	if (ioctl(vm->fd, KVM_SET_GSI_ROUTING, vm->routing) < 0) {
		err = -errno;
		/* KVM kept the old table. An entry of no interest stands for this one until the next try. */
		*entry = (struct kvm_irq_routing_entry){.gsi = gsi, .type = KVM_IRQ_ROUTING_MSI};
	}
out:
	pthread_mutex_unlock(&vm->gsi_lock);
	return err;
}

int vm_route_pin(struct vm *vm, unsigned int pin, uint64_t address, uint32_t data)
{
	return pin < VM_IOAPIC_PINS ? vm_set_route(vm, pin, address, data) : -EINVAL;
}

static int vm_take_gsis(struct vm *vm, unsigned int n, unsigned int *first)
{
	int err = -ENOSPC;

	pthread_mutex_lock(&vm->gsi_lock);
	if (n <= VM_MAX_GSIS - vm->n_gsis) {
		*first = vm->n_gsis;
		vm->n_gsis += n;
		err = 0;
	}
	pthread_mutex_unlock(&vm->gsi_lock);
	return err;
}

int vm_msi_init(struct vm_msi *msi, struct vm *vm, unsigned int n_vectors)
{
	int err;

	memset(msi, 0, sizeof(*msi));
	msi->vm = vm;
	err = vm_take_gsis(vm, n_vectors, &msi->first_gsi);
	if (err < 0)
		return err;
	while (msi->n_vectors < n_vectors) {
		int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

		if (fd < 0) {
			err = -errno;
			vm_msi_fini(msi);
			return err;
		}
		msi->fd[msi->n_vectors++] = fd;
	}
	return 0;
}

void vm_msi_fini(struct vm_msi *msi)
{
	/* Closing the VM detaches the irqfds. */
	for (unsigned int i = 0; i < msi->n_vectors; i++)
		close(msi->fd[i]);
	msi->n_vectors = 0;
}

int vm_msi_route(void *arg, unsigned int vector, uint64_t address, uint32_t data)
{
	struct vm_msi *msi = arg;
	struct kvm_irqfd irqfd = {.fd = (uint32_t)msi->fd[vector], .gsi = msi->first_gsi + vector};
	int err = vm_set_route(msi->vm, irqfd.gsi, address, data);

	if (err == 0 && !msi->attached[vector]) {
		err = ioctl(msi->vm->fd, KVM_IRQFD, &irqfd) < 0 ? -errno : 0;
		msi->attached[vector] = err == 0;
	}
	if (err < 0)
		log_guest(&msi->log, "KVM refused the route of an interrupt, which is lost: %s",
			  strerror(-err));
	return err;
}

void vm_msi_signal(void *arg, unsigned int vector)
{
	struct vm_msi *msi = arg;
	uint64_t one = 1;
	ssize_t n = write(msi->fd[vector], &one, sizeof(one));

	(void)n; /* EAGAIN: KVM has not yet taken the last one, and one is enough */
}
