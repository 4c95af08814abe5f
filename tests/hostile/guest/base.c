/* Ports, memory, reports, chance: what needs no device but the serial port. */
#include "guest.h"

#include <stdarg.h>
#include <linux/serial_reg.h>

#define COM1 0x3f8

uint32_t port_read(uint16_t port, unsigned int width)
{
	return width == 1 ? in8(port) : width == 2 ? in16(port) : in32(port);
}

void port_write(uint16_t port, unsigned int width, uint32_t value)
{
	if (width == 1)
		out8(port, (uint8_t)value);
	else if (width == 2)
		out16(port, (uint16_t)value);
	else
		out32(port, value);
}

uint64_t mem_read(uint64_t address, unsigned int width)
{
	uint64_t value = 0;

	if (width == 1)
		__asm__ volatile("movb (%1), %b0" : "+r"(value) : "r"(address) : "memory");
	else if (width == 2)
		__asm__ volatile("movw (%1), %w0" : "+r"(value) : "r"(address) : "memory");
	else if (width == 4)
		__asm__ volatile("movl (%1), %k0" : "+r"(value) : "r"(address) : "memory");
	else
		__asm__ volatile("movq (%1), %q0" : "+r"(value) : "r"(address) : "memory");
	return value;
}

void mem_write(uint64_t address, unsigned int width, uint64_t value)
{
	if (width == 1)
		__asm__ volatile("movb %b0, (%1)" : : "r"(value), "r"(address) : "memory");
	else if (width == 2)
		__asm__ volatile("movw %w0, (%1)" : : "r"(value), "r"(address) : "memory");
	else if (width == 4)
		__asm__ volatile("movl %k0, (%1)" : : "r"(value), "r"(address) : "memory");
	else
		__asm__ volatile("movq %q0, (%1)" : : "r"(value), "r"(address) : "memory");
}

void *memcpy(void *to, const void *from, size_t n)
{
	void *d = to;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
	return to;
}

void *memset(void *to, int byte, size_t n)
{
	void *d = to;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(byte) : "memory");
	return to;
}

void halt(void)
{
	for (;;)
		__asm__ volatile("cli; hlt" : : : "memory");
}

uint64_t now(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

/* ---- reports ---- */

/* Whatever a theme has done to the port. */
static void serial_recover(void)
{
	out8(COM1 + UART_LCR, UART_LCR_WLEN8);
	out8(COM1 + UART_MCR, UART_MCR_DTR | UART_MCR_RTS);
	out8(COM1 + UART_IER, 0);
	out8(COM1 + UART_FCR, UART_FCR_ENABLE_FIFO);
}

static void put(char c)
{
	for (uint64_t since = now(); !(in8(COM1 + UART_LSR) & UART_LSR_THRE);) {
		if (now() - since > 10 * SECOND)
			return;
	}
	out8(COM1 + UART_TX, (uint8_t)c);
}

static void put_text(const char *text)
{
	while (*text)
		put(*text++);
}

static void put_number(uint64_t n, unsigned int base)
{
	char digits[24];
	unsigned int at = sizeof(digits) - 1;

	digits[at] = '\0';
	do {
		digits[--at] = "0123456789abcdef"[n % base];
		n /= base;
	} while (n > 0);
	put_text(&digits[at]);
}

void say(const char *format, ...)
{
	va_list ap;

	serial_recover();
	put_text("\n=");
	va_start(ap, format);
	for (; *format; format++) {
		if (*format != '%') {
			put(*format);
			continue;
		}
		switch (*++format) {
		case 's':
			put_text(va_arg(ap, const char *));
			break;
		case 'u':
			put_number(va_arg(ap, unsigned int), 10);
			break;
		default:
			put_number(va_arg(ap, uint64_t), 16);
		}
	}
	va_end(ap);
	put('\n');
}

void give_up(const char *why)
{
	FAIL("%s", why);
	say("quiet");
	halt();
}

/* ---- parameters ---- */

static const char *cmdline;

/* The first word of TEXT is NAME=...: what follows, or NULL. */
static const char *value_of(const char *text, const char *name)
{
	while (*name && *text == *name) {
		text++;
		name++;
	}
	return *name == '\0' && *text == '=' ? text + 1 : NULL;
}

static const char *find_value(const char *name)
{
	for (const char *p = cmdline; *p; p++) {
		const char *value = p == cmdline || p[-1] == ' ' ? value_of(p, name) : NULL;

		if (value)
			return value;
	}
	return NULL;
}

uint64_t param(const char *name, uint64_t otherwise)
{
	const char *text = find_value(name);
	uint64_t n = 0;

	if (!text)
		return otherwise;
	for (; *text >= '0' && *text <= '9'; text++)
		n = n * 10 + (uint64_t)(*text - '0');
	return n;
}

/* ---- chance ---- */

/* One for each CPU, so that what each does follows from the seed alone. */
static uint64_t rnd_state[2];

/* The CPU's stack tells which it is. */
static unsigned int cpu(void)
{
	extern char first_stack_end[];
	uint64_t sp;

	__asm__("mov %%rsp, %0" : "=r"(sp));
	return sp > (uint64_t)(uintptr_t)first_stack_end;
}

uint32_t rnd(void)
{
	uint64_t *s = &rnd_state[cpu()];

	*s ^= *s >> 12;
	*s ^= *s << 25;
	*s ^= *s >> 27;
	return (uint32_t)((*s * UINT64_C(0x2545f4914f6cdd1d)) >> 32);
}

uint32_t rnd_below(uint32_t n)
{
	return rnd() % n;
}

bool chance(unsigned int percent)
{
	return rnd_below(100) < percent;
}

uint64_t rnd_nasty(void)
{
	static const uint64_t edges[] = {0,
					 UINT64_C(0xffffffff),
					 UINT64_C(0xffffffffffffffff),
					 UINT64_C(0x8000000000000000),
					 UINT64_C(0x100000000),
					 RAM_END,
					 UINT64_C(0xc0000000),
					 UINT64_C(0xd0000000),
					 UINT64_C(0xfec00000),
					 UINT64_C(0xfffbc000),
					 UINT64_C(0xfffffffffffff000)};
	uint64_t value;

	switch (rnd_below(4)) {
	case 0:
		value = edges[rnd_below(sizeof(edges) / sizeof(edges[0]))];
		break;
	case 1:
		value = UINT64_C(1) << rnd_below(64);
		break;
	case 2:
		return rnd_below(64);
	default:
		return (uint64_t)rnd() << 32 | rnd();
	}
	return value + rnd_below(33) - 16;
}

static uint32_t spare(uint32_t half)
{
	return half < GUEST_SAFE ? half + (uint32_t)(RAM_END / 2) : half;
}

uint64_t rnd_place(void)
{
	uint64_t value = rnd_nasty();

	if (value >> 32 == 0)
		return spare((uint32_t)value);
	return value >> 32 << 32 | spare((uint32_t)value);
}

/* ---- memory ---- */

static uint64_t alloc_next = GUEST_SAFE;

void *alloc(size_t size, size_t align)
{
	uint64_t at = (alloc_next + align - 1) & ~(uint64_t)(align - 1);

	if (at + size > RAM_END / 2) {
		give_up("the guest's own memory is used up");
	}
	alloc_next = at + size;
	return memset((void *)(uintptr_t)at, 0, size);
}

size_t alloc_mark(void)
{
	return alloc_next;
}

void alloc_release(size_t mark)
{
	alloc_next = mark;
}

uint64_t rnd_address(void)
{
	return RAM_END / 2 + rnd_below(RAM_END / 2 - 0x20000);
}

/* ---- the beginning ---- */

/* <asm/bootparam.h>, which a free-standing program does not get along with */
#define CMD_LINE_PTR 0x228

static bool is_word(const char *text, const char *word)
{
	while (*word && *text == *word) {
		text++;
		word++;
	}
	return *word == '\0' && (*text == ' ' || *text == '\0');
}

void guest_main(const uint8_t *params);

void guest_main(const uint8_t *params)
{
	const char *name;

	cmdline = (const char *)(uintptr_t)(uint32_t)mem_read(gpa(params) + CMD_LINE_PTR, 4);
	name = find_value("theme");
	rnd_state[0] = param("seed", 1) * 2 + 1;
	rnd_state[1] = ~rnd_state[0];
	for (const struct theme *t = themes; t->name; t++) {
		if (!name || !is_word(name, t->name))
			continue;
		t->run();
		say("quiet");
		halt();
	}
	give_up("there is no such theme");
}
