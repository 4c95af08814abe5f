/*
 * What is left of the PC's keyboard controller (Intel 8042) and of the chipset's reset control register
 * (port 0xcf9, ICH9 datasheet, RST_CNT): the two ways by which a guest without ACPI resets the machine.
 *
 * There is no keyboard. Status always reads 0x01: "output buffer full" makes Linux's i8042_flush() give up after 16
 * reads (no controller found) instead of waiting 500 ms for an answer, and the clear "input buffer full"
 * lets kb_wait() pass at once before a reset.
 *
 * Port 0x61 (NMI status and control, ICH9 datasheet, NMI_SC) says that no bus has an error, and is not there otherwise.
 *
 * Owner: the machine. Any vCPU thread may call the handlers; the callback runs on that thread, without a lock.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

struct i8042 {
	/* immutable after init */
	void (*reset)(void *arg);
	void *arg;
};

/* Ports 0x60 to 0x64; the others read as all ones. */
#define I8042_SIZE    5
#define I8042_DATA    0
#define I8042_PORT_B  1
#define I8042_COMMAND 4

void i8042_init(struct i8042 *dev, void (*reset)(void *arg), void *arg);
uint64_t i8042_read(void *dev, uint64_t offset, unsigned int width);
void i8042_write(void *dev, uint64_t offset, unsigned int width, uint64_t value);

/* Bits of the reset control register. A rising RST_CPU resets; the other bits choose how hard. */
#define RESET_PORT_SYS_RST  0x02
#define RESET_PORT_RST_CPU  0x04
#define RESET_PORT_FULL_RST 0x08

struct reset_port {
	/* immutable after init */
	void (*reset)(void *arg);
	void *arg;
	/* any thread; all that a snapshot must save */
	_Atomic uint8_t value;
};

/*
 * One byte port. 0xcf9 lies inside the dword port of PCI configuration address (0xcf8), so the handler of that one passes
 * byte accesses at offset 1 on to here.
 */
#define RESET_PORT_SIZE 1

void reset_port_init(struct reset_port *dev, void (*reset)(void *arg), void *arg);
uint64_t reset_port_read(void *dev, uint64_t offset, unsigned int width);
void reset_port_write(void *dev, uint64_t offset, unsigned int width, uint64_t value);
