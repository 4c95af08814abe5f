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
	memset(msi, 0, sizeof(*msi));
	msi->vm = vm;
	msi->n_vectors = n_vectors;
	for (unsigned int i = 0; i < n_vectors; i++)
		msi->fd[i] = -1;
	return vm_take_gsis(vm, n_vectors, &msi->first_gsi);
}

void vm_msi_fini(struct vm_msi *msi)
{
	/* Closing the VM detaches the irqfds. */
	for (unsigned int i = 0; i < msi->n_vectors; i++) {
		if (msi->fd[i] >= 0)
			close(msi->fd[i]);
	}
	msi->n_vectors = 0;
}

/* Makes the vector's irqfd. Most of a machine's vectors are never used, and a descriptor costs time and room. */
static int vm_msi_attach(struct vm_msi *msi, unsigned int vector)
{
	struct kvm_irqfd irqfd = {.gsi = msi->first_gsi + vector};
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int err;

	if (fd < 0)
		return -errno;
	irqfd.fd = (uint32_t)fd;
	err = ioctl(msi->vm->fd, KVM_IRQFD, &irqfd) < 0 ? -errno : 0;
	if (err < 0)
		close(fd);
	else
		msi->fd[vector] = fd;
	return err;
}

int vm_msi_route(void *arg, unsigned int vector, uint64_t address, uint32_t data)
{
	struct vm_msi *msi = arg;
	int err = vm_set_route(msi->vm, msi->first_gsi + vector, address, data);

	if (err == 0 && msi->fd[vector] < 0)
		err = vm_msi_attach(msi, vector);
	if (err < 0)
		log_guest(&msi->log, "KVM refused the route of an interrupt, which is lost: %s",
			  strerror(-err));
	return err;
}

void vm_msi_signal(void *arg, unsigned int vector)
{
	struct vm_msi *msi = arg;

	/* EAGAIN: KVM has not yet taken the last one, and one is enough */
	eventfd_write(msi->fd[vector], 1);
}

int vm_msi_fd(void *arg, unsigned int vector)
{
	struct vm_msi *msi = arg;

	return msi->fd[vector];
}
