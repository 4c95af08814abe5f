#include "virtio/virtio_mmio.h"

#include <string.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>

#define VMMIO_MAGIC   0x74726976 /* "virt", 4.2.2 */
#define VMMIO_VERSION 2
#define VMMIO_VENDOR  0x1af4 /* as PCI's subsystem vendor */
#define VMMIO_NO_SHM  UINT32_MAX

/* ---- the interrupt ---- */

static void vmmio_raise(struct virtio_mmio *vmmio, uint32_t bit)
{
	pthread_mutex_lock(&vmmio->irq_lock);
	vmmio->interrupt_status |= bit;
	irq_raise(&vmmio->host.irq); /* of a raised line: nothing */
	pthread_mutex_unlock(&vmmio->irq_lock);
}

static void vmmio_acknowledge(struct virtio_mmio *vmmio, uint32_t bits)
{
	pthread_mutex_lock(&vmmio->irq_lock);
	if (vmmio->interrupt_status & bits) {
		vmmio->interrupt_status &= ~bits;
		irq_lower(&vmmio->host.irq);
		if (vmmio->interrupt_status != 0)
			irq_raise(&vmmio->host.irq);
	}
	pthread_mutex_unlock(&vmmio->irq_lock);
}

static uint32_t vmmio_interrupt_status(struct virtio_mmio *vmmio)
{
	uint32_t status;

	pthread_mutex_lock(&vmmio->irq_lock);
	status = vmmio->interrupt_status;
	pthread_mutex_unlock(&vmmio->irq_lock);
	return status;
}

static void vmmio_interrupt(void *arg, unsigned int queue)
{
	(void)queue;
	vmmio_raise(arg, VIRTIO_MMIO_INT_VRING);
}

static void vmmio_notify_config(void *arg)
{
	vmmio_raise(arg, VIRTIO_MMIO_INT_CONFIG);
}

static void vmmio_config_changed(void *arg)
{
	struct virtio_mmio *vmmio = arg;

	if (virtio_regs_on_config_changed(&vmmio->regs))
		vmmio_notify_config(vmmio);
}

/* ---- kicks, reset ---- */

static void vmmio_live_changed(void *arg)
{
	struct virtio_mmio *vmmio = arg;
	const struct virtio_mmio_host *host = &vmmio->host;
	uint64_t gpa = host->base + VIRTIO_MMIO_QUEUE_NOTIFY;

	for (unsigned int i = 0; i < vmmio->regs.dev->n_queues; i++) {
		int fd = vmmio->regs.dev->kick_fd[i];

		if (vmmio->bound[i])
			host->unbind_kick(host->arg, gpa, i, fd);
		vmmio->bound[i] = vmmio->regs.live && vmmio->regs.state.queue[i].enabled &&
				  !vmmio->regs.dev->serve_inline[i] &&
				  host->bind_kick(host->arg, gpa, i, fd) == 0;
	}
}

/* 4.2.2.1: no bit of InterruptStatus survives the reset. */
static void vmmio_cleared(void *arg)
{
	struct virtio_mmio *vmmio = arg;

	vmmio_acknowledge(vmmio, UINT32_MAX);
}

static void vmmio_on_needs_reset(void *arg)
{
	struct virtio_mmio *vmmio = arg;

	virtio_regs_on_needs_reset(&vmmio->regs);
}

static void vmmio_stopped(void *arg)
{
	struct virtio_mmio *vmmio = arg;

	virtio_regs_on_stopped(&vmmio->regs);
}

/* ---- registers, 4.2.2 ---- */

static uint32_t vmmio_reg_read(struct virtio_mmio *vmmio, uint64_t offset)
{
	struct virtio_regs *regs = &vmmio->regs;
	const struct virtq_config *queue = virtio_regs_queue(regs);
	uint8_t byte;

	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return VMMIO_MAGIC;
	case VIRTIO_MMIO_VERSION:
		return VMMIO_VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return regs->dev->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VMMIO_VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return virtio_regs_device_features(regs);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return queue ? regs->dev->queue_size : 0;
	case VIRTIO_MMIO_QUEUE_READY:
		return queue && queue->enabled;
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return vmmio_interrupt_status(vmmio);
	case VIRTIO_MMIO_STATUS:
		return regs->state.status;
	/* 4.2.2: a region that does not exist has a length of all ones, and so its base */
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return VMMIO_NO_SHM;
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return virtio_device_config_get(regs->dev, 0, &byte, 1);
	default:
		return 0; /* write-only, or nothing */
	}
}

/* A driver may take a queue back at any time. After DRIVER_OK it cannot give one, not even one that it took: only the reset begins anew. */
static void vmmio_write_ready(struct virtio_regs *regs, uint32_t value)
{
	struct virtq_config *queue = virtio_regs_queue(regs);

	if (!queue)
		return;
	if (value == 0)
		virtio_regs_take_queue(regs, queue);
	else if (value == 1 && !(regs->state.status & VIRTIO_CONFIG_S_DRIVER_OK))
		queue->enabled = true;
}

static void vmmio_queue_write(struct virtio_regs *regs, uint64_t offset, uint32_t value)
{
	struct virtq_config *queue = virtio_regs_queue_writable(regs);

	if (!queue)
		return;
	/* Not to be read back: one that is no power of two is kept, and found at DRIVER_OK, or the driver would believe in it. */
	if (offset == VIRTIO_MMIO_QUEUE_NUM)
		virtio_regs_set_queue_size(regs, queue, value);
	switch (offset & ~UINT64_C(4)) {
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
		virtio_regs_set_half(&queue->desc, offset, value);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
		virtio_regs_set_half(&queue->avail, offset, value);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
		virtio_regs_set_half(&queue->used, offset, value);
		break;
	}
}

static void vmmio_reg_write(struct virtio_mmio *vmmio, uint64_t offset, uint32_t value)
{
	struct virtio_regs *regs = &vmmio->regs;

	/* What comes during another vCPU's reset is lost with the rest; while one takes a queue, it waits. */
	if (regs->resetting && !regs->taking)
		return;
	virtio_regs_await_reset(regs);
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		regs->state.device_feature_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		regs->state.driver_feature_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		virtio_regs_write_features(regs, value);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		regs->state.queue_select = value;
		break;
	case VIRTIO_MMIO_QUEUE_READY:
		vmmio_write_ready(regs, value);
		break;
	case VIRTIO_MMIO_STATUS:
		virtio_regs_write_status(regs, (uint8_t)value);
		break;
	default:
		vmmio_queue_write(regs, offset, value);
	}
	virtio_regs_await_reset(regs);
}

uint64_t virtio_mmio_read(void *arg, uint64_t offset, unsigned int width)
{
	struct virtio_mmio *vmmio = arg;
	uint64_t value = 0;

	if (offset >= VIRTIO_MMIO_CONFIG) {
		virtio_device_config_get(vmmio->regs.dev, offset - VIRTIO_MMIO_CONFIG, &value,
					 width);
	} else if (width == 4) { /* 4.2.2.2 */
		pthread_mutex_lock(&vmmio->regs.lock);
		value = vmmio_reg_read(vmmio, offset);
		pthread_mutex_unlock(&vmmio->regs.lock);
	}
	return value;
}

void virtio_mmio_write(void *arg, uint64_t offset, unsigned int width, uint64_t value)
{
	struct virtio_mmio *vmmio = arg;

	if (offset >= VIRTIO_MMIO_CONFIG) {
		virtio_device_config_write(vmmio->regs.dev, offset - VIRTIO_MMIO_CONFIG, width,
					   value);
	} else if (width != 4) {
		return; /* 4.2.2.2 */
	} else if (offset == VIRTIO_MMIO_QUEUE_NOTIFY) {
		/* A kick that no ioeventfd caught. Needs no lock: devices outlive the vCPUs. */
		if (value < vmmio->regs.dev->n_queues)
			virtio_device_kick(vmmio->regs.dev, (unsigned int)value);
	} else if (offset == VIRTIO_MMIO_INTERRUPT_ACK) {
		vmmio_acknowledge(vmmio, (uint32_t)value);
	} else {
		pthread_mutex_lock(&vmmio->regs.lock);
		vmmio_reg_write(vmmio, offset, (uint32_t)value);
		pthread_mutex_unlock(&vmmio->regs.lock);
	}
}

/* ---- life ---- */

void virtio_mmio_init(struct virtio_mmio *vmmio, struct virtio_device *dev,
		      const struct guest_mem *mem, const struct virtio_mmio_host *host)
{
	static const struct virtio_regs_ops ops = {.live_changed = vmmio_live_changed,
						   .cleared = vmmio_cleared,
						   .notify_config = vmmio_notify_config};

	memset(vmmio, 0, sizeof(*vmmio));
	vmmio->host = *host;
	pthread_mutex_init(&vmmio->irq_lock, NULL);
	virtio_regs_init(&vmmio->regs, dev, mem, &ops, vmmio);
	dev->transport = (struct virtio_transport){.interrupt = vmmio_interrupt,
						   .config_changed = vmmio_config_changed,
						   .needs_reset = vmmio_on_needs_reset,
						   .stopped = vmmio_stopped,
						   .arg = vmmio};
}

void virtio_mmio_fini(struct virtio_mmio *vmmio)
{
	virtio_regs_fini(&vmmio->regs);
	pthread_mutex_destroy(&vmmio->irq_lock);
}
