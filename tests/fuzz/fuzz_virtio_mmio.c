/*
 * A guest against the registers of a virtio device on MMIO.
 *
 * Fuzzes: virtio/virtio_mmio.c virtio/virtio_regs.c virtio/virtio_device.c
 */
#include <errno.h>
#include <unistd.h>
#include <linux/virtio_mmio.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/transport.h"
#include "virtio/virtio_mmio.h"

#define BASE UINT64_C(0xd0003000)

static struct virtio_mmio vmmio;
static int bound[FAKE_QUEUES]; /* eventfds; -1: none */
static int bind_error;
static bool line;
static unsigned int edges;

/* ---- the host ---- */

static int host_bind(void *arg, uint64_t gpa, unsigned int queue, int fd)
{
	(void)arg;
	FUZZ_CHECK(gpa == BASE + VIRTIO_MMIO_QUEUE_NOTIFY && queue < FAKE_QUEUES);
	if (bind_error)
		return bind_error;
	FUZZ_CHECK(bound[queue] < 0);
	bound[queue] = fd;
	return 0;
}

static void host_unbind(void *arg, uint64_t gpa, unsigned int queue, int fd)
{
	(void)arg;
	FUZZ_CHECK(gpa == BASE + VIRTIO_MMIO_QUEUE_NOTIFY && bound[queue] == fd);
	bound[queue] = -1;
}

static void host_raise(void *arg)
{
	(void)arg;
	edges += !line;
	line = true;
}

static void host_lower(void *arg)
{
	(void)arg;
	line = false;
}

/* ---- a driver ---- */

static void reg_write(uint32_t reg, uint64_t value)
{
	virtio_mmio_write(&vmmio, reg, 4, value);
}

static void set_address(uint32_t reg, uint64_t address)
{
	reg_write(reg, (uint32_t)address);
	reg_write(reg + 4, address >> 32);
}

static void place_queue(unsigned int queue, uint8_t sizes)
{
	struct virtq_driver *drv = &guest.drv[queue];

	virtq_driver_init(drv, &guest.mem, queue * GUEST_RINGS, (queue + 1) * GUEST_RINGS,
			  (uint16_t)(8u << sizes % 6));
	guest.next_desc[queue] = 0;
	reg_write(VIRTIO_MMIO_QUEUE_SEL, queue);
	reg_write(VIRTIO_MMIO_QUEUE_NUM, drv->config.size);
	set_address(VIRTIO_MMIO_QUEUE_DESC_LOW, drv->config.desc);
	set_address(VIRTIO_MMIO_QUEUE_AVAIL_LOW, drv->config.avail);
	set_address(VIRTIO_MMIO_QUEUE_USED_LOW, drv->config.used);
	reg_write(VIRTIO_MMIO_QUEUE_READY, 1);
}

static void bring_up(uint8_t how)
{
	uint64_t features = how & 1 ? fake.dev.features : BIT(VIRTIO_F_VERSION_1);

	reg_write(VIRTIO_MMIO_STATUS, 0);
	FUZZ_CHECK(virtio_mmio_read(&vmmio, VIRTIO_MMIO_STATUS, 4) == 0);
	reg_write(VIRTIO_MMIO_STATUS, S_ACK);
	reg_write(VIRTIO_MMIO_STATUS, S_DRIVER);
	for (uint32_t half = 0; half < 2; half++) {
		reg_write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, half);
		reg_write(VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(features >> 32 * half));
	}
	reg_write(VIRTIO_MMIO_STATUS, S_FEATURES_OK);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		if (!(how >> (4 + i) & 1))
			place_queue(i, how >> 1);
	}
	reg_write(VIRTIO_MMIO_STATUS, S_DRIVER_OK);
	world_settle();
}

static void kick(unsigned int queue)
{
	uint64_t one = 1;

	if (bound[queue] >= 0)
		FUZZ_CHECK(write(bound[queue], &one, sizeof(one)) == sizeof(one));
	else
		reg_write(VIRTIO_MMIO_QUEUE_NOTIFY, queue);
}

/* ---- operations ---- */

/* Any access in the page. */
static void op_any(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	uint64_t offset = how & 0x10 ? fuzz_u16(in) % VIRTIO_MMIO_SIZE : fuzz_u8(in) * 4u % 0x120;
	unsigned int width = how & 8 ? 1u << (how & 3) : 4;

	if (offset + width > VIRTIO_MMIO_SIZE) /* that is the bus's to refuse */
		return;
	if (how & 4)
		virtio_mmio_write(&vmmio, offset, width, how & 0x20 ? fuzz_u64(in) : fuzz_u8(in));
	else
		virtio_mmio_read(&vmmio, offset, width);
}

/* A register that does something. */
static void op_register(struct fuzz_input *in)
{
	static const uint16_t regs[] = {VIRTIO_MMIO_DEVICE_FEATURES_SEL,
					VIRTIO_MMIO_DRIVER_FEATURES_SEL,
					VIRTIO_MMIO_DRIVER_FEATURES,
					VIRTIO_MMIO_QUEUE_SEL,
					VIRTIO_MMIO_QUEUE_NUM,
					VIRTIO_MMIO_QUEUE_READY,
					VIRTIO_MMIO_QUEUE_NOTIFY,
					VIRTIO_MMIO_INTERRUPT_ACK,
					VIRTIO_MMIO_STATUS,
					VIRTIO_MMIO_QUEUE_DESC_LOW,
					VIRTIO_MMIO_QUEUE_DESC_HIGH,
					VIRTIO_MMIO_QUEUE_AVAIL_LOW,
					VIRTIO_MMIO_QUEUE_AVAIL_HIGH,
					VIRTIO_MMIO_QUEUE_USED_LOW,
					VIRTIO_MMIO_QUEUE_USED_HIGH,
					VIRTIO_MMIO_STATUS};
	uint8_t how = fuzz_u8(in);

	reg_write(regs[how % 16], how & 0x80 ? fuzz_u32(in) : fuzz_u8(in));
	virtio_mmio_read(&vmmio, (how >> 4) * 4u, 4);
}

static void op(struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in), how;

	switch (what % 8) {
	case 0:
		op_any(in);
		break;
	case 1:
	case 2:
		op_register(in);
		break;
	case 3:
		bring_up(fuzz_u8(in));
		break;
	case 4:
	case 5:
		how = fuzz_u8(in);
		transport_send(how % FAKE_QUEUES, fuzz_u8(in));
		kick(how % FAKE_QUEUES);
		break;
	case 6:
		transport_host(in);
		break;
	default:
		bind_error = what & 0x80 ? -ENOSPC : 0;
		reg_write(VIRTIO_MMIO_INTERRUPT_ACK, what >> 4);
	}
}

static void check(void)
{
	transport_check(&vmmio.regs);
	FUZZ_CHECK(line == (vmmio.interrupt_status != 0));
	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		FUZZ_CHECK(bound[i] < 0 || vmmio.regs.live);
}

/* The next driver is a good one. */
static void check_serves(void)
{
	bind_error = 0;
	bring_up(1);
	check();
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		unsigned int before = edges;

		if (fake.delegated >> i & 1)
			continue;
		reg_write(VIRTIO_MMIO_INTERRUPT_ACK, UINT32_MAX);
		FUZZ_CHECK(!line);
		transport_send(i, 0);
		kick(i);
		check();
		FUZZ_CHECK(guest.drv[i].used->idx == 1 && edges == before + 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct virtio_mmio_host host = {.base = BASE,
					      .bind_kick = host_bind,
					      .unbind_kick = host_unbind,
					      .irq = {host_raise, host_lower, NULL}};
	struct fuzz_input in = {.at = data, .left = size};

	bind_error = 0;
	line = false;
	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		bound[i] = -1;
	transport_begin(fuzz_u8(&in));
	virtio_mmio_init(&vmmio, &fake.dev, &guest.mem, &host);
	while (fuzz_more(&in)) {
		op(&in);
		check();
	}
	check_serves();
	virtio_mmio_fini(&vmmio);
	transport_end();
	return 0;
}
