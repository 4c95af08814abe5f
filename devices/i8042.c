#include "devices/i8042.h"

#include "vmm/core/bus.h"

/* Status bit 0. */
#define STATUS_OUTPUT_FULL 0x01

/* No error of a bus (bits 7 and 6): Linux looks for one in each NMI that nobody wants. Bit 5, the timer's output, ends its calibration. */
#define PORT_B_NO_ERRORS 0x3f

/* Commands 0xf0 to 0xff pulse the output lines whose bits are 0; line 0 is the CPU's reset. */
#define COMMAND_PULSE	    0xf0
#define COMMAND_PULSE_RESET 0x01

void i8042_init(struct i8042 *dev, void (*reset)(void *arg), void *arg)
{
	*dev = (struct i8042){.reset = reset, .arg = arg};
}

uint64_t i8042_read(void *arg, uint64_t offset, unsigned int width)
{
	uint64_t ones = bus_ones(width) & ~UINT64_C(0xff);

	(void)arg;
	switch (offset) {
	case I8042_DATA:
		return ones;
	case I8042_PORT_B:
		return ones | PORT_B_NO_ERRORS;
	case I8042_COMMAND:
		return ones | STATUS_OUTPUT_FULL;
	default:
		return bus_ones(width);
	}
}

void i8042_write(void *arg, uint64_t offset, unsigned int width, uint64_t value)
{
	struct i8042 *dev = arg;

	(void)width;
	if (offset != I8042_COMMAND)
		return;
	if ((value & (COMMAND_PULSE | COMMAND_PULSE_RESET)) == COMMAND_PULSE)
		dev->reset(dev->arg);
}

void reset_port_init(struct reset_port *dev, void (*reset)(void *arg), void *arg)
{
	dev->reset = reset;
	dev->arg = arg;
	atomic_init(&dev->value, 0);
}

uint64_t reset_port_read(void *arg, uint64_t offset, unsigned int width)
{
	struct reset_port *dev = arg;

	if (offset != 0)
		return bus_ones(width);
	return (bus_ones(width) & ~UINT64_C(0xff)) |
	       atomic_load_explicit(&dev->value, memory_order_relaxed);
}

void reset_port_write(void *arg, uint64_t offset, unsigned int width, uint64_t value)
{
	const uint8_t bits = RESET_PORT_SYS_RST | RESET_PORT_RST_CPU | RESET_PORT_FULL_RST;
	struct reset_port *dev = arg;
	uint8_t old;

	(void)width;
	if (offset != 0)
		return;
	/* The register orders nothing else; the exchange makes the edge belong to one vCPU. */
	old = atomic_exchange_explicit(&dev->value, (uint8_t)value & bits, memory_order_relaxed);
	if (!(old & RESET_PORT_RST_CPU) && (value & RESET_PORT_RST_CPU))
		dev->reset(dev->arg);
}
