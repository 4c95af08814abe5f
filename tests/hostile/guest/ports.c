/* Ports: all of them, in every width, one by one and in strings. */
#include "guest.h"
#include "themes.h"

#include <linux/serial_reg.h>

/* What is there (vmm/machine/layout_x86.h). */
static const struct range {
	uint16_t first, last;
} claimed[] = {
	{0x60, 0x64},	{0x70, 0x71},	{0x3f8, 0x3ff},
	{0x600, 0x603}, {0xcf8, 0xcff}, {0xc000, 0xefff},
};

static unsigned int turn;

static bool is_claimed(uint32_t port, unsigned int width)
{
	for (unsigned int i = 0; i < sizeof(claimed) / sizeof(claimed[0]); i++) {
		if (port + width > claimed[i].first && port <= claimed[i].last)
			return true;
	}
	return false;
}

/* Changes a value that would end this machine, which it may, into one that does not. */
static uint32_t harmless(uint16_t port, unsigned int width, uint32_t value)
{
	if (port == 0x64)
		return value & ~0x10u; /* no pulse of the reset line */
	if (port == 0x600)
		return value & ~0x20u; /* no SLP_EN */
	if (port == 0x602)
		return value | 2; /* not the reset's value */
	if (port == 0xcf9 && width == 1)
		return value & ~4u; /* no RST_CPU */
	return value;
}

static uint32_t ones(unsigned int width)
{
	return width == 4 ? UINT32_MAX : (1u << (8 * width)) - 1;
}

/* Registers are here: every width is tried. Of BARs of ports the first few, where the kicks are. */
static bool is_busy(uint16_t port)
{
	if (port > 0xd00 && port < 0xbff0)
		return false;
	return (port < 0xc000 || (port < 0xc800 && port % 256 < 36)) &&
	       (is_claimed(port, 4) || is_claimed(port - 4u, 8));
}

static void hit_port_width(uint16_t port, unsigned int width)
{
	uint32_t value = port_read(port, width);

	if (value != ones(width) && !is_claimed(port, width))
		FAIL("port %x answers %x", (uint64_t)port, (uint64_t)value);
	port_write(port, width, harmless(port, width, port * 0x9e3779b1u + turn));
}

/* A port where nobody is gets one of the widths in a round, and all of them in three. */
static void hit_port(uint16_t port)
{
	if (!is_busy(port)) {
		hit_port_width(port, 1u << (port / 2 + turn) % 3);
		return;
	}
	for (unsigned int width = 1; width <= 4; width *= 2)
		hit_port_width(port, width);
}

static void hit_odd_ports(void)
{
	for (uint32_t port = 1; port < 0x10000; port += 2)
		hit_port((uint16_t)port);
}

static void in_string(uint16_t port, unsigned int width, void *to, size_t n)
{
	if (width == 1)
		__asm__ volatile("rep insb" : "+D"(to), "+c"(n) : "d"(port) : "memory");
	else if (width == 2)
		__asm__ volatile("rep insw" : "+D"(to), "+c"(n) : "d"(port) : "memory");
	else
		__asm__ volatile("rep insl" : "+D"(to), "+c"(n) : "d"(port) : "memory");
}

static void out_string(uint16_t port, unsigned int width, const void *from, size_t n)
{
	if (width == 1)
		__asm__ volatile("rep outsb" : "+S"(from), "+c"(n) : "d"(port) : "memory");
	else if (width == 2)
		__asm__ volatile("rep outsw" : "+S"(from), "+c"(n) : "d"(port) : "memory");
	else
		__asm__ volatile("rep outsl" : "+S"(from), "+c"(n) : "d"(port) : "memory");
}

/* What harmless() takes away, from each byte; but for the reset register, whose value is a whole one. */
#define HARMLESS 0xcbcbcbcb

static void hit_strings(uint16_t port, uint8_t *buffer)
{
	for (unsigned int width = 1; width <= 4; width *= 2) {
		size_t n = rnd_below(64);

		in_string(port, width, buffer, n);
		for (size_t i = 0; i < n * width; i += 4)
			mem_write(gpa(buffer) + i, 4, rnd() & HARMLESS);
		if (port != 0x602)
			out_string(port, width, buffer, n);
	}
}

void attack_ports(void)
{
	uint8_t *buffer = alloc(512, 16);

	turn = rnd_below(3);
	for (unsigned int i = 0; i < param("rounds", 1); i++, turn++) {
		second_start(hit_odd_ports);
		for (uint32_t port = 0; port < 0x10000; port += 2)
			hit_port((uint16_t)port);
		second_stop();
	}
	OK("every port in every width");
	for (unsigned int i = 0; i < sizeof(claimed) / sizeof(claimed[0]); i++) {
		for (uint32_t port = claimed[i].first; port <= claimed[i].last; port++) {
			if (port < 0xc000 || port % 256 < 3)
				hit_strings((uint16_t)port, buffer);
		}
	}
	for (unsigned int i = 0; i < 50; i++)
		hit_strings((uint16_t)(0xf000 + rnd_below(0x1000)), buffer);
	/* Over the end of the ports. */
	for (unsigned int port = 0xfffd; port < 0x10000; port++)
		hit_port((uint16_t)port);
	OK("strings");
}

void attack_power(void)
{
	for (unsigned int value = 0; value < 256; value++) {
		out8(0x601, (uint8_t)value);
		out8(0x603, (uint8_t)value);
		if (value != 1)
			out8(0x602, (uint8_t)value);
		/* Sleep states other than S5. */
		if ((value & 0x3c) != (0x20 | 5 << 2))
			out8(0x600, (uint8_t)value);
		if ((value & 0xf1) != 0xf0)
			out8(0x64, (uint8_t)value);
		out8(0x60, (uint8_t)value);
		/* Of the reset control register a 1 that was there already is no edge; the first would be. */
		out8(0xcf9, (uint8_t)(value & ~4u));
	}
	OK("power and reset registers");
}
