#include "virtio/virtio_pci.h"

#include <stddef.h>
#include <string.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>

#include "vmm/core/assert.h"

/* The BAR of memory, a page for each part so that each can be told from the offset alone; and that of ports, for kicks. */
#define VPCI_BAR	 0
#define VPCI_BAR_SIZE	 0x8000
#define VPCI_PORT_BAR	 1
#define VPCI_PORT_SIZE	 256
#define VPCI_COMMON	 0x0000
#define VPCI_ISR	 0x1000
#define VPCI_DEVICE	 0x2000
#define VPCI_MSIX_TABLE	 0x4000
#define VPCI_MSIX_PBA	 0x5000
#define VPCI_PAGE	 0x1000
#define VPCI_VENDOR	 0x1af4
#define VPCI_DEVICE_BASE 0x1040 /* 4.1.2.1: plus the device id */
#define VPCI_REVISION	 1
#define VPCI_ISR_QUEUE	 1 /* 4.1.4.5: bit 0; the kernel's header names bit 1 alone */

/* A kick that no ioeventfd caught. Needs no lock: devices outlive the vCPUs. */
static void vpci_notify_write(struct virtio_pci *vpci, uint64_t offset)
{
	unsigned int queue = (unsigned int)offset / VIRTIO_PCI_NOTIFY_STEP;

	if (queue < vpci->regs.dev->n_queues)
		virtio_device_kick(vpci->regs.dev, queue);
}

/* ---- the BAR ---- */

static uint64_t vpci_device_read(struct virtio_pci *vpci, uint64_t offset, unsigned int width)
{
	uint64_t value = 0;

	virtio_device_config_get(vpci->regs.dev, offset, &value, width);
	return value;
}

static uint64_t vpci_bar_read(void *arg, uint64_t offset, unsigned int width)
{
	struct virtio_pci *vpci = arg;
	uint64_t in_page = offset % VPCI_PAGE;
	uint64_t value = 0;

	switch (offset - in_page) {
	case VPCI_COMMON:
		pthread_mutex_lock(&vpci->regs.lock);
		value = virtio_pci_common_read(vpci, in_page);
		if (width == 8)
			value |= virtio_pci_common_read(vpci, in_page + 4) << 32;
		pthread_mutex_unlock(&vpci->regs.lock);
		return value;
	case VPCI_ISR: /* 4.1.4.5: reading clears it */
		return in_page == 0 ? atomic_exchange(&vpci->isr, 0) : 0;
	case VPCI_DEVICE:
		return vpci_device_read(vpci, in_page, width);
	case VPCI_MSIX_TABLE:
		return msix_table_read(&vpci->msix, in_page, width);
	case VPCI_MSIX_PBA:
		return msix_pba_read(&vpci->msix, in_page, width);
	default:
		return 0;
	}
}

static void vpci_bar_write(void *arg, uint64_t offset, unsigned int width, uint64_t value)
{
	struct virtio_pci *vpci = arg;
	uint64_t in_page = offset % VPCI_PAGE;

	switch (offset - in_page) {
	case VPCI_COMMON:
		pthread_mutex_lock(&vpci->regs.lock);
		virtio_pci_common_write(vpci, in_page, width == 8 ? 4 : width, (uint32_t)value);
		if (width == 8)
			virtio_pci_common_write(vpci, in_page + 4, 4, (uint32_t)(value >> 32));
		pthread_mutex_unlock(&vpci->regs.lock);
		break;
	case VIRTIO_PCI_NOTIFY:
		vpci_notify_write(vpci, in_page);
		break;
	case VPCI_DEVICE:
		virtio_device_config_write(vpci->regs.dev, in_page, width, value);
		break;
	case VPCI_MSIX_TABLE:
		msix_table_write(&vpci->msix, in_page, width, value);
		break;
	}
}

/* 4.1.4.4: what a read of a notification address gives is left open. */
static uint64_t vpci_port_read(void *arg, uint64_t offset, unsigned int width)
{
	(void)arg;
	(void)offset;
	(void)width;
	return 0;
}

static void vpci_port_write(void *arg, uint64_t offset, unsigned int width, uint64_t value)
{
	(void)width;
	(void)value;
	vpci_notify_write(arg, offset);
}

/* ---- PCI configuration space ---- */

static void vpci_bar_moved(void *arg, unsigned int bar, uint64_t address)
{
	struct virtio_pci *vpci = arg;

	assert(bar == VPCI_BAR || bar == VPCI_PORT_BAR);
	pthread_mutex_lock(&vpci->regs.lock);
	if (bar == VPCI_BAR)
		vpci->bar = address;
	else
		vpci->port_bar = address;
	virtio_pci_rebind(vpci);
	pthread_mutex_unlock(&vpci->regs.lock);
}

/*
 * 4.1.4.9: an access to pci_cfg_data is an access to the BAR at the place the capability names. The BAR of memory has all
 * that there is, so it is the only one that can be named.
 */
static bool vpci_config_window(void *arg, unsigned int offset, unsigned int width, uint32_t *target)
{
	const struct virtio_pci *vpci = arg;
	unsigned int cap = vpci->window_cap;
	uint32_t length = pci_config_get(&vpci->fn, cap + VIRTIO_PCI_CAP_LENGTH, 4);

	*target = pci_config_get(&vpci->fn, cap + VIRTIO_PCI_CAP_OFFSET, 4);
	return offset == cap + sizeof(struct virtio_pci_cap) && length == width &&
	       pci_config_get(&vpci->fn, cap + VIRTIO_PCI_CAP_BAR, 1) == VPCI_BAR &&
	       *target % width == 0 && *target < VPCI_BAR_SIZE;
}

/*
 * A function that is no bus master reads and writes no memory (PCI 3.0, 6.2.2). Linux withdraws that before it
 * jumps into another kernel, which has other plans for the buffers; the device begins anew with the next driver.
 */
static void vpci_no_master(struct virtio_pci *vpci)
{
	pthread_mutex_lock(&vpci->regs.lock);
	if (vpci->regs.live)
		virtio_regs_reset(&vpci->regs);
	pthread_mutex_unlock(&vpci->regs.lock);
}

static void vpci_config_written(void *arg, unsigned int offset, unsigned int width)
{
	struct virtio_pci *vpci = arg;
	uint32_t control;

	if (offset + width > vpci->msix_cap && offset < vpci->msix_cap + PCI_CAP_MSIX_SIZEOF) {
		control = pci_config_get(&vpci->fn, vpci->msix_cap + PCI_MSIX_FLAGS, 2);
		msix_set_control(&vpci->msix, control & PCI_MSIX_FLAGS_ENABLE,
				 control & PCI_MSIX_FLAGS_MASKALL);
	}
	if (offset <= PCI_COMMAND && offset + width > PCI_COMMAND &&
	    !(vpci->fn.config[PCI_COMMAND] & PCI_COMMAND_MASTER))
		vpci_no_master(vpci);
}

static struct virtio_pci_cap vpci_cap(uint8_t type, uint32_t offset, uint32_t length, uint8_t len)
{
	return (struct virtio_pci_cap){.cap_vndr = PCI_CAP_ID_VNDR,
				       .cap_len = len,
				       .cfg_type = type,
				       .bar = VPCI_BAR,
				       .offset = offset,
				       .length = length};
}

static void vpci_add_virtio_caps(struct virtio_pci *vpci)
{
	struct virtio_pci_cap common = vpci_cap(VIRTIO_PCI_CAP_COMMON_CFG, VPCI_COMMON,
						sizeof(struct virtio_pci_common_cfg),
						sizeof(common));
	struct virtio_pci_cap isr = vpci_cap(VIRTIO_PCI_CAP_ISR_CFG, VPCI_ISR, 1, sizeof(isr));
	struct virtio_pci_cap device = vpci_cap(VIRTIO_PCI_CAP_DEVICE_CFG, VPCI_DEVICE,
						(uint32_t)vpci->regs.dev->config_size,
						sizeof(device));
	struct virtio_pci_notify_cap notify = {
		.cap = vpci_cap(VIRTIO_PCI_CAP_NOTIFY_CFG, VIRTIO_PCI_NOTIFY,
				VIRTIO_PCI_NOTIFY_STEP * vpci->regs.dev->n_queues, sizeof(notify)),
		.notify_off_multiplier = VIRTIO_PCI_NOTIFY_STEP,
	};
	struct virtio_pci_notify_cap port = notify;
	struct {
		struct virtio_pci_cap cap;
		uint32_t data;
	} window = {.cap = vpci_cap(VIRTIO_PCI_CAP_PCI_CFG, 0, 0, sizeof(window))},
	  window_writable = {.cap = {.bar = 0xff, .offset = UINT32_MAX, .length = UINT32_MAX},
			     .data = UINT32_MAX};

	port.cap.bar = VPCI_PORT_BAR;
	port.cap.offset = 0;
	pci_function_add_capability(&vpci->fn, &common, sizeof(common), NULL);
	pci_function_add_capability(&vpci->fn, &isr, sizeof(isr), NULL);
	if (vpci->regs.dev->config_size > 0)
		pci_function_add_capability(&vpci->fn, &device, sizeof(device), NULL);
	/* The first one that a driver can use is the one it should use (4.1.4.1). */
	pci_function_add_capability(&vpci->fn, &port, sizeof(port), NULL);
	pci_function_add_capability(&vpci->fn, &notify, sizeof(notify), NULL);
	vpci->window_cap = pci_function_add_capability(&vpci->fn, &window, sizeof(window),
						       &window_writable);
}

static void vpci_add_msix_cap(struct virtio_pci *vpci)
{
	struct __attribute__((packed)) {
		uint8_t id, next;
		uint16_t control;
		uint32_t table, pba;
	} cap = {.id = PCI_CAP_ID_MSIX,
		 .control = (uint16_t)(vpci->msix.n_vectors - 1),
		 .table = VPCI_MSIX_TABLE | VPCI_BAR,
		 .pba = VPCI_MSIX_PBA | VPCI_BAR},
	  writable = {.control = PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL};

	vpci->msix_cap = pci_function_add_capability(&vpci->fn, &cap, sizeof(cap), &writable);
}

/* Only a hint for people who list devices: drivers go by the virtio id. */
static uint32_t vpci_class(uint16_t id)
{
	switch (id) {
	case VIRTIO_ID_NET:
		return 0x020000; /* Ethernet controller */
	case VIRTIO_ID_BLOCK:
		return 0x018000; /* mass storage, other */
	default:
		return 0xff0000;
	}
}

/* ---- the device's way back ---- */

static void vpci_interrupt(void *arg, unsigned int queue)
{
	struct virtio_pci *vpci = arg;

	atomic_fetch_or_explicit(&vpci->isr, VPCI_ISR_QUEUE, memory_order_relaxed);
	msix_raise(&vpci->msix,
		   atomic_load_explicit(&vpci->queue_vector[queue], memory_order_relaxed));
}

/* 4.1.4.5: the ISR status, which this leaves alone, is not for drivers that use MSI-X. */
static int vpci_interrupt_fd(void *arg, unsigned int queue)
{
	struct virtio_pci *vpci = arg;

	return msix_fd(&vpci->msix,
		       atomic_load_explicit(&vpci->queue_vector[queue], memory_order_relaxed));
}

/* A queue may get another vector meanwhile: either this sees it, or whoever asks for its eventfd then sees what msix.c did before. */
static void vpci_vector_moved(void *arg, unsigned int vector)
{
	struct virtio_pci *vpci = arg;
	struct virtio_device *dev = vpci->regs.dev;

	for (unsigned int i = 0; i < dev->n_queues && dev->ops->interrupt_moved; i++) {
		if (atomic_load(&vpci->queue_vector[i]) == vector)
			dev->ops->interrupt_moved(dev, i);
	}
}

static void vpci_notify_config(void *arg)
{
	struct virtio_pci *vpci = arg;

	atomic_fetch_or_explicit(&vpci->isr, VIRTIO_PCI_ISR_CONFIG, memory_order_relaxed);
	msix_raise(&vpci->msix, atomic_load_explicit(&vpci->config_vector, memory_order_relaxed));
}

static void vpci_config_changed(void *arg)
{
	struct virtio_pci *vpci = arg;

	if (virtio_regs_on_config_changed(&vpci->regs))
		vpci_notify_config(vpci);
}

static void vpci_on_needs_reset(void *arg)
{
	struct virtio_pci *vpci = arg;

	virtio_regs_on_needs_reset(&vpci->regs);
}

static void vpci_stopped(void *arg)
{
	struct virtio_pci *vpci = arg;

	virtio_regs_on_stopped(&vpci->regs);
}

static void vpci_live_changed(void *arg)
{
	virtio_pci_rebind(arg);
}

static void vpci_cleared(void *arg)
{
	virtio_pci_clear(arg);
}

static const struct virtio_regs_ops vpci_regs_ops = {.live_changed = vpci_live_changed,
						     .cleared = vpci_cleared,
						     .notify_config = vpci_notify_config};

/* ---- life ---- */

void virtio_pci_init(struct virtio_pci *vpci, struct virtio_device *dev,
		     const struct guest_mem *mem, const struct virtio_pci_host *host)
{
	struct pci_ids ids = {.vendor = VPCI_VENDOR,
			      .device = (uint16_t)(VPCI_DEVICE_BASE + dev->id),
			      .subsystem_vendor = VPCI_VENDOR,
			      .subsystem = (uint16_t)(VPCI_DEVICE_BASE + dev->id),
			      .class_code = vpci_class(dev->id),
			      .revision = VPCI_REVISION};
	struct pci_hooks hooks = {.bar_moved = vpci_bar_moved,
				  .config_written = vpci_config_written,
				  .config_window = vpci_config_window,
				  .arg = vpci};
	struct pci_bar bar = {
		.size = VPCI_BAR_SIZE, .read = vpci_bar_read, .write = vpci_bar_write, .arg = vpci};
	struct pci_bar port_bar = {.ports = true,
				   .size = VPCI_PORT_SIZE,
				   .read = vpci_port_read,
				   .write = vpci_port_write,
				   .arg = vpci};
	struct msix_watch watch = {.moved = vpci_vector_moved, .arg = vpci};

	_Static_assert(VIRTIO_PCI_NOTIFY_STEP * VIRTIO_MAX_QUEUES <= VPCI_PORT_SIZE,
		       "a port for each queue");
	memset(vpci, 0, sizeof(*vpci));
	vpci->host = *host;
	msix_init(&vpci->msix, dev->n_queues + 1, &host->msix);
	msix_set_watch(&vpci->msix, &watch);
	virtio_regs_init(&vpci->regs, dev, mem, &vpci_regs_ops, vpci);
	pci_function_init(&vpci->fn, &ids, &hooks);
	pci_function_set_bar(&vpci->fn, VPCI_BAR, &bar);
	pci_function_set_bar(&vpci->fn, VPCI_PORT_BAR, &port_bar);
	vpci_add_virtio_caps(vpci);
	vpci_add_msix_cap(vpci);
	dev->transport = (struct virtio_transport){.interrupt = vpci_interrupt,
						   .interrupt_fd = vpci_interrupt_fd,
						   .config_changed = vpci_config_changed,
						   .needs_reset = vpci_on_needs_reset,
						   .stopped = vpci_stopped,
						   .arg = vpci};
}

void virtio_pci_fini(struct virtio_pci *vpci)
{
	msix_fini(&vpci->msix);
	virtio_regs_fini(&vpci->regs);
}
