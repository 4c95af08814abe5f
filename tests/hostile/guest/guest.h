/*
 * What the hostile guest is built on: a free-standing program in 64-bit mode, all of memory mapped one to one, interrupts
 * off, two CPUs. One theme (a file of this folder) is run, which the command line names:
 *
 *	theme=NAME seed=NUMBER rounds=NUMBER
 *
 * It speaks to the host by lines on the serial port: "=ok TEXT" for each thing that went as it should, "=FAIL TEXT", and
 * "=quiet" at its end, after which it does nothing; the devices stay as they are.
 *
 * Instructions are plain ones, for a KVM that emulates them (the flags are in ../build.sh); such a KVM does some
 * two million a second, so loops over memory are short.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- ports and memory, each access as written ---- */

static inline void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void out16(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline void out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint16_t in16(uint16_t port)
{
	uint16_t value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline uint32_t in32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

/* width: 1, 2, 4, and for memory 8. */
uint32_t port_read(uint16_t port, unsigned int width);
void port_write(uint16_t port, unsigned int width, uint32_t value);
uint64_t mem_read(uint64_t address, unsigned int width);
void mem_write(uint64_t address, unsigned int width, uint64_t value);

void *memcpy(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);

/* Between stores that a device must see in this order, and before a kick. */
static inline void barrier(void)
{
	__asm__ volatile("lock; addl $0, (%%rsp)" : : : "memory", "cc");
}

/* ---- reports ---- */

/* %s, %u (unsigned int), %x (uint64_t) alone. A line each. */
void say(const char *format, ...);
#define OK(...)	  say("ok " __VA_ARGS__)
#define FAIL(...) say("FAIL " __VA_ARGS__)
#define EXPECT(condition, ...)                                                                     \
	do {                                                                                       \
		if (!(condition))                                                                  \
			FAIL(__VA_ARGS__);                                                         \
	} while (0)

/* Fails, and does no more. */
void give_up(const char *why) __attribute__((noreturn));
/* Halts this CPU for good. */
void halt(void) __attribute__((noreturn));

/* ---- parameters and chance ---- */

/* The number behind NAME= on the command line. */
uint64_t param(const char *name, uint64_t otherwise);

/* Numbers that follow from the seed; each CPU has its own. */
uint32_t rnd(void);
uint32_t rnd_below(uint32_t n); /* n > 0 */
bool chance(unsigned int percent);
/* What bounds break at: 0, ones, powers of two and their neighbours, the ends of memory and of its holes, anything. */
uint64_t rnd_nasty(void);
/* The same for what a device may write to: never where this program is, also when its halves are put together anew. */
uint64_t rnd_place(void);

/* ---- memory ---- */

#define RAM_END	   UINT64_C(0x4000000) /* the host gives as much */
#define PAGE	   UINT64_C(0x1000)
#define GUEST_SAFE UINT64_C(0x1000000) /* below: this program, and what the host left */

/* Zeroed memory above GUEST_SAFE; given back all at once. */
void *alloc(size_t size, size_t align);
size_t alloc_mark(void);
void alloc_release(size_t mark);
/* Somewhere in memory, with 128 KiB behind it, where a device may write without harm to this program. */
uint64_t rnd_address(void);

static inline uint64_t gpa(const volatile void *p)
{
	return (uint64_t)(uintptr_t)p;
}

/* ---- time ---- */

/* Of the time stamp counter; a second is some 10^9 of them. */
uint64_t now(void);
#define SECOND UINT64_C(2000000000)

static inline void pause(void)
{
	__asm__ volatile("pause" : : : "memory");
}

/* ---- the second CPU ---- */

/* Has it run fn, beside this one. It ends by itself, or when second_stopping() tells it to. */
void second_start(void (*fn)(void));
bool second_stopping(void);
void second_stop(void);

/* ---- themes ---- */

struct theme {
	const char *name;
	void (*run)(void);
};

extern const struct theme themes[]; /* ends with a name of NULL */
