/* The common configuration structure (virtio 1.2, 4.1.4.3), and where kicks are bound. */
#include "virtio/virtio_pci.h"

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

/* ---- kicks ---- */

/* Where the first queue is kicked. A driver that has the ports on uses them. */
static struct virtio_pci_kick vpci_kicks_now(const struct virtio_pci *vpci)
{
	if (!vpci->regs.live)
		return (struct virtio_pci_kick){0};
	if (vpci->port_bar)
		return (struct virtio_pci_kick){.port = true, .address = vpci->port_bar};
	return (struct virtio_pci_kick){.address = vpci->bar ? vpci->bar + VIRTIO_PCI_NOTIFY : 0};
}

static struct virtio_pci_kick vpci_kick_of(struct virtio_pci_kick first, unsigned int queue)
{
	first.address += VIRTIO_PCI_NOTIFY_STEP * queue;
	return first;
}

/* Binds the kicks where the guest sees the BARs while the device is live, and nowhere otherwise. */
void virtio_pci_rebind(struct virtio_pci *vpci)
{
	struct virtio_pci_kick want = vpci_kicks_now(vpci), bound = vpci->bound;

	if (want.address == bound.address && want.port == bound.port)
		return;
	for (unsigned int i = 0; i < vpci->regs.dev->n_queues; i++) {
		int fd = vpci->regs.dev->kick_fd[i];

		if (!vpci->regs.state.queue[i].enabled || vpci->regs.dev->serve_inline[i])
			continue;
		if (bound.address)
			vpci->host.unbind_kick(vpci->host.arg, vpci_kick_of(bound, i), fd);
		if (want.address)
			vpci->host.bind_kick(vpci->host.arg, vpci_kick_of(want, i), fd);
	}
	vpci->bound = want;
}

/* ---- vectors ---- */

static void vpci_set_vector(_Atomic uint16_t *live, uint16_t *reg, uint16_t vector,
			    const struct virtio_pci *vpci)
{
	/* 4.1.5.1.2.1: a vector that cannot be mapped reads back as NO_VECTOR */
	*reg = vector < vpci->msix.n_vectors ? vector : VIRTIO_MSI_NO_VECTOR;
	atomic_store(live, *reg); /* pairs with the load in vpci_vector_moved() */
}

/* 4.1.4.3.1 and 2.4: state after reset. */
void virtio_pci_clear(struct virtio_pci *vpci)
{
	vpci_set_vector(&vpci->config_vector, &vpci->vectors.config, VIRTIO_MSI_NO_VECTOR, vpci);
	for (unsigned int i = 0; i < VIRTIO_MAX_QUEUES; i++)
		vpci_set_vector(&vpci->queue_vector[i], &vpci->vectors.queue[i],
				VIRTIO_MSI_NO_VECTOR, vpci);
	atomic_store_explicit(&vpci->isr, 0, memory_order_relaxed);
}

/* ---- common configuration, 4.1.4.3 ---- */

static uint64_t vpci_queue_read(struct virtio_pci *vpci, uint64_t offset)
{
	const struct virtq_config *q = virtio_regs_queue(&vpci->regs);

	if (!q)
		return offset == VIRTIO_PCI_COMMON_Q_MSIX ? VIRTIO_MSI_NO_VECTOR : 0;
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		return q->size;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		return vpci->vectors.queue[vpci->regs.state.queue_select];
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return q->enabled;
	case VIRTIO_PCI_COMMON_Q_NOFF:
		return vpci->regs.state.queue_select;
	}
	switch (offset & ~UINT64_C(4)) {
	case VIRTIO_PCI_COMMON_Q_DESCLO:
		return virtio_regs_half(q->desc, offset);
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
		return virtio_regs_half(q->avail, offset);
	case VIRTIO_PCI_COMMON_Q_USEDLO:
		return virtio_regs_half(q->used, offset);
	default:
		return 0;
	}
}

uint64_t virtio_pci_common_read(struct virtio_pci *vpci, uint64_t offset)
{
	struct virtio_regs_state *s = &vpci->regs.state;
	uint8_t byte;

	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		return s->device_feature_select;
	case VIRTIO_PCI_COMMON_DF:
		return virtio_regs_device_features(&vpci->regs);
	case VIRTIO_PCI_COMMON_GFSELECT:
		return s->driver_feature_select;
	case VIRTIO_PCI_COMMON_GF:
		return virtio_regs_driver_features(&vpci->regs);
	case VIRTIO_PCI_COMMON_MSIX:
		return vpci->vectors.config;
	case VIRTIO_PCI_COMMON_NUMQ:
		return vpci->regs.dev->n_queues;
	case VIRTIO_PCI_COMMON_STATUS:
		return s->status;
	case VIRTIO_PCI_COMMON_CFGGENERATION:
		return (uint8_t)virtio_device_config_get(vpci->regs.dev, 0, &byte, 1);
	case VIRTIO_PCI_COMMON_Q_SELECT:
		return s->queue_select;
	default:
		return vpci_queue_read(vpci, offset);
	}
}

/*
 * 4.1.4.3.2 has a queue enabled last, but the drivers of Windows and NetBSD choose its vector after that, and a driver may change or
 * withdraw it at any time (4.1.5.1.2.1). An interrupt that is on its way may still take the old one.
 */
static void vpci_queue_set_vector(struct virtio_pci *vpci, uint16_t value)
{
	uint32_t queue = vpci->regs.state.queue_select;
	struct virtio_device *dev = vpci->regs.dev;

	if (!virtio_regs_queue(&vpci->regs))
		return;
	vpci_set_vector(&vpci->queue_vector[queue], &vpci->vectors.queue[queue], value, vpci);
	if (dev->ops->interrupt_moved)
		dev->ops->interrupt_moved(dev, queue);
}

static void vpci_queue_write(struct virtio_pci *vpci, uint64_t offset, uint32_t value)
{
	struct virtq_config *q = virtio_regs_queue_writable(&vpci->regs);

	if (!q)
		return;
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		/* 4.1.4.3.1: what the driver reads back is 0 or a power of two. */
		if ((value & (value - 1)) == 0)
			virtio_regs_set_queue_size(&vpci->regs, q, value);
		return;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		q->enabled = value == 1;
		return;
	}
	switch (offset & ~UINT64_C(4)) {
	case VIRTIO_PCI_COMMON_Q_DESCLO:
		virtio_regs_set_half(&q->desc, offset, value);
		break;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
		virtio_regs_set_half(&q->avail, offset, value);
		break;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
		virtio_regs_set_half(&q->used, offset, value);
		break;
	}
}

/* 4.1.3.1: a driver accesses each field in its own width; 64-bit ones also in halves. */
static unsigned int vpci_field_width(uint64_t offset)
{
	switch (offset) {
	case VIRTIO_PCI_COMMON_STATUS:
		return 1;
	case VIRTIO_PCI_COMMON_MSIX:
	case VIRTIO_PCI_COMMON_Q_SELECT:
	case VIRTIO_PCI_COMMON_Q_SIZE:
	case VIRTIO_PCI_COMMON_Q_MSIX:
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return 2;
	default:
		return 4;
	}
}

void virtio_pci_common_write(struct virtio_pci *vpci, uint64_t offset, unsigned int width,
			     uint32_t value)
{
	struct virtio_regs_state *s = &vpci->regs.state;

	if (width != vpci_field_width(offset))
		return;
	/* One that is told again changes nothing. */
	if (vpci->regs.resetting && offset == VIRTIO_PCI_COMMON_STATUS && value == 0)
		return;
	virtio_regs_await_reset(&vpci->regs);
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		s->device_feature_select = value;
		break;
	case VIRTIO_PCI_COMMON_GFSELECT:
		s->driver_feature_select = value;
		break;
	case VIRTIO_PCI_COMMON_GF:
		virtio_regs_write_features(&vpci->regs, value);
		break;
	case VIRTIO_PCI_COMMON_MSIX:
		vpci_set_vector(&vpci->config_vector, &vpci->vectors.config, (uint16_t)value, vpci);
		break;
	case VIRTIO_PCI_COMMON_STATUS:
		virtio_regs_write_status(&vpci->regs, (uint8_t)value);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		s->queue_select = (uint16_t)value;
		break;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		vpci_queue_set_vector(vpci, (uint16_t)value);
		break;
	default:
		vpci_queue_write(vpci, offset, value);
	}
}
