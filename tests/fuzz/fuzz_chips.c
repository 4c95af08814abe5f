/*
 * A guest against the registers of the small chips: the I/O APIC, the ports of ACPI's power management, the keyboard controller,
 * the clock without power and the reset port.
 *
 * Fuzzes: devices/ioapic.c devices/acpi_power.c devices/i8042.c devices/cmos.c
 */
#include "devices/acpi_power.h"
#include "devices/cmos.h"
#include "devices/i8042.h"
#include "devices/ioapic.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/input.h"
#include "vmm/core/bus.h"

static struct ioapic ioapic;
static struct acpi_power power;
static struct i8042 i8042;
static struct cmos cmos;
static struct reset_port reset_port;

static struct ioapic_route routes[IOAPIC_PINS]; /* as we were told */
static unsigned int resets, offs, messages;
static int taken; /* what delivering a message says */
static bool power_line;

/* ---- the machine ---- */

static int on_deliver(void *arg, uint64_t address, uint32_t data)
{
	bool known = false;

	(void)arg;
	for (unsigned int i = 0; i < IOAPIC_PINS; i++)
		known |= !routes[i].masked && routes[i].address == address &&
			 routes[i].data == data;
	FUZZ_CHECK(known);
	messages++;
	return taken;
}

static void on_route(void *arg, unsigned int pin, const struct ioapic_route *route)
{
	(void)arg;
	FUZZ_CHECK(pin < ioapic.n_pins);
	routes[pin] = *route;
}

static void on_reset(void *arg)
{
	(void)arg;
	resets++;
}

static void on_off(void *arg)
{
	(void)arg;
	offs++;
}

static void on_raise(void *arg)
{
	(void)arg;
	power_line = true;
}

static void on_lower(void *arg)
{
	(void)arg;
	power_line = false;
}

/* ---- operations ---- */

/* A redirection entry as an operating system writes it. */
static void op_entry(struct fuzz_input *in)
{
	uint8_t pin = fuzz_u8(in), how = fuzz_u8(in), high = fuzz_u8(in);
	uint32_t low = (how & 1 ? 0x8000u : 0) | (how & 2 ? 0x10000u : 0) | (how & 4 ? 0x800u : 0) |
		       0x30u | how >> 4;

	ioapic_write(&ioapic, IOAPIC_REGSEL, 4, 0x11u + 2u * (pin % IOAPIC_PINS));
	ioapic_write(&ioapic, IOAPIC_WINDOW, 4, how & 8 ? (uint32_t)high << 24 : 0);
	ioapic_write(&ioapic, IOAPIC_REGSEL, 4, 0x10u + 2u * (pin % IOAPIC_PINS));
	ioapic_write(&ioapic, IOAPIC_WINDOW, 4, low);
}

static void op_ioapic(struct fuzz_input *in, uint8_t what)
{
	static const uint16_t regs[] = {IOAPIC_REGSEL, IOAPIC_WINDOW, IOAPIC_EOIR, 0x20};
	unsigned int width = 1u << (what >> 3 & 3);
	uint64_t offset = what & 0x80 ? fuzz_u16(in) % IOAPIC_SIZE : regs[what >> 5 & 3];

	if (what & 4)
		ioapic_write(&ioapic, offset, width, fuzz_u32(in));
	else
		FUZZ_CHECK((ioapic_read(&ioapic, offset, width) & ~bus_ones(width)) == 0);
}

static void op_line(struct fuzz_input *in, uint8_t what)
{
	uint8_t pin = fuzz_u8(in) % IOAPIC_PINS;
	struct irq_line line = ioapic_irq_line(&ioapic, pin);

	taken = (what >> 4 & 3) - 1;
	if (what & 4)
		irq_raise(&line);
	else
		irq_lower(&line);
	if (what & 8)
		ioapic_eoi(&ioapic, 0x30 | what >> 4);
}

static void op_power(struct fuzz_input *in, uint8_t what)
{
	unsigned int width = 1u << (what >> 5 & 1), offset = what >> 3 & 3;
	uint8_t value = fuzz_u8(in);
	unsigned int before = resets + offs;
	bool ends = (offset == ACPI_POWER_RESET && value == ACPI_POWER_RESET_VALUE) ||
		    (offset == ACPI_POWER_SLEEP_CONTROL && (value & 0x3c) == 0x34);

	if (what & 0x80) {
		acpi_power_button(&power);
		FUZZ_CHECK(power_line);
	} else if (what & 4) {
		acpi_power_write(&power, offset, width, value);
		FUZZ_CHECK(resets + offs == before + ends);
	} else {
		acpi_power_read(&power, what & 0x40 ? value : offset, width);
	}
}

static void op_resets(struct fuzz_input *in, uint8_t what)
{
	unsigned int width = 1u << (what >> 4 & 1), offset = fuzz_u8(in) % I8042_SIZE;

	if (what & 0x20) {
		cmos_write(&cmos, offset & 1, width, fuzz_u8(in));
		FUZZ_CHECK((cmos_read(&cmos, CMOS_DATA, 1) & ~UINT64_C(1)) == 0);
		FUZZ_CHECK(cmos_read(&cmos, 0, width) == bus_ones(width));
	} else if (what & 0x80) {
		i8042_read(&i8042, offset, width);
		i8042_write(&i8042, offset, width, fuzz_u8(in));
	} else {
		reset_port_read(&reset_port, what & 4 ? offset : 0, width);
		reset_port_write(&reset_port, what & 8 ? offset : 0, width, fuzz_u8(in));
	}
}

static void op(struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in);

	switch (what & 3) {
	case 0:
		op_ioapic(in, what);
		break;
	case 1:
		op_line(in, what);
		break;
	case 2:
		op_power(in, what);
		break;
	default:
		if (what & 0x40)
			op_resets(in, what);
		else
			op_entry(in);
	}
}

/* What an entry says (82093AA, 3.2.4; SDM volume 3, 11.11). */
static struct ioapic_route route_of(uint64_t rte)
{
	return (struct ioapic_route){.address = 0xfee00000 | rte >> 56 << 12 | (rte >> 11 & 1) << 2,
				     .data = (uint32_t)(rte & 0x7ff) | (rte & 0x8000 ? 0xc000 : 0),
				     .level = rte & 0x8000,
				     .masked = rte & 0x10000};
}

static void check(void)
{
	FUZZ_CHECK((ioapic.state.pending & ~ioapic.state.lines) == 0);
	FUZZ_CHECK(power_line == (power.state.event != 0));
	for (unsigned int i = 0; i < IOAPIC_PINS; i++) {
		struct ioapic_route route = route_of(ioapic.state.rte[i]);

		FUZZ_CHECK(route.masked == routes[i].masked && route.level == routes[i].level &&
			   route.address == routes[i].address && route.data == routes[i].data);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ioapic_config ioapic_config = {
		.deliver = on_deliver, .route_changed = on_route, .id = 3};
	const struct acpi_power_config power_config = {
		.power_off = on_off, .reset = on_reset, .irq = {on_raise, on_lower, NULL}};
	struct fuzz_input in = {.at = data, .left = size};

	power_line = false;
	ioapic_init(&ioapic, &ioapic_config);
	ioapic_limit_pins(&ioapic, 1 + fuzz_u8(&in) % IOAPIC_PINS);
	for (unsigned int i = 0; i < IOAPIC_PINS; i++)
		routes[i] = route_of(ioapic.state.rte[i]);
	acpi_power_init(&power, &power_config);
	i8042_init(&i8042, on_reset, NULL);
	cmos_init(&cmos);
	reset_port_init(&reset_port, on_reset, NULL);
	while (fuzz_more(&in)) {
		op(&in);
		check();
	}
	acpi_power_fini(&power);
	ioapic_fini(&ioapic);
	return 0;
}
