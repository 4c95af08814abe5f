/* The common configuration structure and the device status (virtio 1.2, 2.1, 4.1.4.3). */
#include "virtio/virtio_pci.h"

#include <string.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#define VPCI_SETTABLE                                                                              \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |      \
	 VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FAILED)

/* ---- kicks ---- */

static uint64_t vpci_notify_address(uint64_t bar, unsigned int queue)
{
	return bar + VIRTIO_PCI_NOTIFY + VIRTIO_PCI_NOTIFY_STEP * queue;
}

/* Binds the kicks where the guest sees the BAR while the device is live, and nowhere otherwise. */
void virtio_pci_rebind(struct virtio_pci *vpci)
{
	uint64_t want = vpci->live ? vpci->bar : 0;

	if (want == vpci->bound)
		return;
	for (unsigned int i = 0; i < vpci->dev->n_queues; i++) {
		int fd = vpci->dev->kick_fd[i];

		if (!vpci->state.queue[i].enabled)
			continue;
		if (vpci->bound)
			vpci->host.unbind_kick(vpci->host.arg, vpci_notify_address(vpci->bound, i),
					       fd);
		if (want)
			vpci->host.bind_kick(vpci->host.arg, vpci_notify_address(want, i), fd);
	}
	vpci->bound = want;
}

/* ---- status ---- */

static void vpci_set_vector(_Atomic uint16_t *live, uint16_t *reg, uint16_t vector,
			    const struct virtio_pci *vpci)
{
	/* 4.1.5.1.2.1: a vector that cannot be mapped reads back as NO_VECTOR */
	*reg = vector < vpci->msix.n_vectors ? vector : VIRTIO_MSI_NO_VECTOR;
	atomic_store_explicit(live, *reg, memory_order_relaxed);
}

/* 4.1.4.3.1 and 2.4: state after reset. */
void virtio_pci_clear(struct virtio_pci *vpci)
{
	memset(&vpci->state, 0, sizeof(vpci->state));
	vpci_set_vector(&vpci->config_vector, &vpci->state.config_vector, VIRTIO_MSI_NO_VECTOR,
			vpci);
	for (unsigned int i = 0; i < VIRTIO_MAX_QUEUES; i++) {
		vpci_set_vector(&vpci->queue_vector[i], &vpci->state.queue_vector[i],
				VIRTIO_MSI_NO_VECTOR, vpci);
		vpci->state.queue[i].size = vpci->dev->queue_size;
	}
	atomic_store_explicit(&vpci->isr, 0, memory_order_relaxed);
}

static void vpci_set_live(struct virtio_pci *vpci, bool live)
{
	vpci->live = live;
	atomic_store_explicit(&vpci->listens, live, memory_order_relaxed);
}

void virtio_pci_reset(struct virtio_pci *vpci)
{
	if (!vpci->live) {
		virtio_pci_clear(vpci);
		return;
	}
	vpci_set_live(vpci, false);
	vpci->resetting = true;
	virtio_pci_rebind(vpci);
	virtio_device_stop(vpci->dev);
}

void virtio_pci_needs_reset(struct virtio_pci *vpci)
{
	vpci->state.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	/* 2.1.2: tell the driver, when it has got as far as listening */
	if (vpci->state.status & VIRTIO_CONFIG_S_DRIVER_OK) {
		atomic_fetch_or_explicit(&vpci->isr, VIRTIO_PCI_ISR_CONFIG, memory_order_relaxed);
		msix_raise(&vpci->msix, vpci->state.config_vector);
	}
}

/* DRIVER_OK: from here on the queues belong to the device. */
static void vpci_go_live(struct virtio_pci *vpci)
{
	struct virtio_device *dev = vpci->dev;

	dev->negotiated = vpci->state.driver_features;
	for (unsigned int i = 0; i < dev->n_queues; i++) {
		const struct virtq_config *config = &vpci->state.queue[i];

		dev->enabled[i] = config->enabled;
		if (!config->enabled)
			continue;
		if (virtq_init(&dev->queue[i], vpci->mem, config, dev->negotiated) < 0) {
			log_guest(&dev->log,
				  "%s: the guest's driver gave a bad address or size for queue %u",
				  dev->name, i);
			virtio_pci_needs_reset(vpci);
			return;
		}
	}
	vpci_set_live(vpci, true);
	virtio_pci_rebind(vpci);
	virtio_device_start(dev);
}

static bool vpci_features_acceptable(const struct virtio_pci *vpci)
{
	uint64_t driver = vpci->state.driver_features;

	return !(driver & ~vpci->dev->features) && (driver & (UINT64_C(1) << VIRTIO_F_VERSION_1));
}

static void vpci_write_status(struct virtio_pci *vpci, uint8_t value)
{
	uint8_t old = vpci->state.status;
	uint8_t added;

	if (value == 0) {
		virtio_pci_reset(vpci);
		return;
	}
	/* 2.1.1: the driver only adds bits */
	added = value & VPCI_SETTABLE & ~old;
	if ((added & VIRTIO_CONFIG_S_FEATURES_OK) && !vpci_features_acceptable(vpci))
		added &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
	if (!((old | added) & VIRTIO_CONFIG_S_FEATURES_OK))
		added &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
	vpci->state.status = old | added;
	if (added & VIRTIO_CONFIG_S_DRIVER_OK)
		vpci_go_live(vpci);
}

/* ---- common configuration, 4.1.4.3 ---- */

static void vpci_set_half(uint64_t *value, bool high, uint32_t half)
{
	if (high)
		*value = (*value & 0xffffffff) | (uint64_t)half << 32;
	else
		*value = (*value & ~UINT64_C(0xffffffff)) | half;
}

static uint32_t vpci_half(uint64_t value, bool high)
{
	return (uint32_t)(high ? value >> 32 : value);
}

/* The driver's selected queue; NULL when there is none (4.1.4.3.1: queue_size then reads 0). */
static struct virtq_config *vpci_queue(struct virtio_pci *vpci)
{
	unsigned int queue = vpci->state.queue_select;

	return queue < vpci->dev->n_queues ? &vpci->state.queue[queue] : NULL;
}

static uint64_t vpci_queue_read(struct virtio_pci *vpci, uint64_t offset)
{
	const struct virtq_config *q = vpci_queue(vpci);

	if (!q)
		return offset == VIRTIO_PCI_COMMON_Q_MSIX ? VIRTIO_MSI_NO_VECTOR : 0;
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		return q->size;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		return vpci->state.queue_vector[vpci->state.queue_select];
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		return q->enabled;
	case VIRTIO_PCI_COMMON_Q_NOFF:
		return vpci->state.queue_select;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		return vpci_half(q->desc, offset == VIRTIO_PCI_COMMON_Q_DESCHI);
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		return vpci_half(q->avail, offset == VIRTIO_PCI_COMMON_Q_AVAILHI);
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		return vpci_half(q->used, offset == VIRTIO_PCI_COMMON_Q_USEDHI);
	default:
		return 0;
	}
}

uint64_t virtio_pci_common_read(struct virtio_pci *vpci, uint64_t offset)
{
	struct virtio_pci_state *s = &vpci->state;
	uint8_t byte;

	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		return s->device_feature_select;
	case VIRTIO_PCI_COMMON_DF:
		return s->device_feature_select < 2
			       ? vpci_half(vpci->dev->features, s->device_feature_select)
			       : 0;
	case VIRTIO_PCI_COMMON_GFSELECT:
		return s->driver_feature_select;
	case VIRTIO_PCI_COMMON_GF:
		return s->driver_feature_select < 2
			       ? vpci_half(s->driver_features, s->driver_feature_select)
			       : 0;
	case VIRTIO_PCI_COMMON_MSIX:
		return s->config_vector;
	case VIRTIO_PCI_COMMON_NUMQ:
		return vpci->dev->n_queues;
	case VIRTIO_PCI_COMMON_STATUS:
		return s->status;
	case VIRTIO_PCI_COMMON_CFGGENERATION:
		return (uint8_t)virtio_device_config_get(vpci->dev, 0, &byte, 1);
	case VIRTIO_PCI_COMMON_Q_SELECT:
		return s->queue_select;
	default:
		return vpci_queue_read(vpci, offset);
	}
}

/* Queue registers hold still once the queue is enabled, and after DRIVER_OK in any case. */
static void vpci_queue_write(struct virtio_pci *vpci, uint64_t offset, uint32_t value)
{
	struct virtq_config *q = vpci_queue(vpci);
	uint16_t queue = vpci->state.queue_select;

	if (!q || q->enabled || (vpci->state.status & VIRTIO_CONFIG_S_DRIVER_OK))
		return;
	switch (offset) {
	case VIRTIO_PCI_COMMON_Q_SIZE:
		if (value <= vpci->dev->queue_size)
			q->size = (uint16_t)value;
		break;
	case VIRTIO_PCI_COMMON_Q_MSIX:
		vpci_set_vector(&vpci->queue_vector[queue], &vpci->state.queue_vector[queue],
				(uint16_t)value, vpci);
		break;
	case VIRTIO_PCI_COMMON_Q_ENABLE:
		q->enabled = value == 1;
		break;
	case VIRTIO_PCI_COMMON_Q_DESCLO:
	case VIRTIO_PCI_COMMON_Q_DESCHI:
		vpci_set_half(&q->desc, offset == VIRTIO_PCI_COMMON_Q_DESCHI, value);
		break;
	case VIRTIO_PCI_COMMON_Q_AVAILLO:
	case VIRTIO_PCI_COMMON_Q_AVAILHI:
		vpci_set_half(&q->avail, offset == VIRTIO_PCI_COMMON_Q_AVAILHI, value);
		break;
	case VIRTIO_PCI_COMMON_Q_USEDLO:
	case VIRTIO_PCI_COMMON_Q_USEDHI:
		vpci_set_half(&q->used, offset == VIRTIO_PCI_COMMON_Q_USEDHI, value);
		break;
	}
}

static void vpci_write_features(struct virtio_pci *vpci, uint32_t value)
{
	struct virtio_pci_state *s = &vpci->state;

	/* 3.1.1: the set is fixed once the device has accepted it */
	if (s->driver_feature_select < 2 && !(s->status & VIRTIO_CONFIG_S_FEATURES_OK))
		vpci_set_half(&s->driver_features, s->driver_feature_select, value);
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
	struct virtio_pci_state *s = &vpci->state;

	if (vpci->resetting || width != vpci_field_width(offset))
		return;
	switch (offset) {
	case VIRTIO_PCI_COMMON_DFSELECT:
		s->device_feature_select = value;
		break;
	case VIRTIO_PCI_COMMON_GFSELECT:
		s->driver_feature_select = value;
		break;
	case VIRTIO_PCI_COMMON_GF:
		vpci_write_features(vpci, value);
		break;
	case VIRTIO_PCI_COMMON_MSIX:
		if (!(s->status & VIRTIO_CONFIG_S_DRIVER_OK))
			vpci_set_vector(&vpci->config_vector, &s->config_vector, (uint16_t)value,
					vpci);
		break;
	case VIRTIO_PCI_COMMON_STATUS:
		vpci_write_status(vpci, (uint8_t)value);
		break;
	case VIRTIO_PCI_COMMON_Q_SELECT:
		s->queue_select = (uint16_t)value;
		break;
	default:
		vpci_queue_write(vpci, offset, value);
	}
}
