/*
 * The system calls that the guest's first program makes, without a C library: each returns what the kernel does, a result or a
 * negative errno. Constants and structs come from the usual headers, for those that are here are the same in the kernel.
 *
 * x86-64 alone.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <asm/unistd.h>

static inline long sys_call(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}

#define SYS0(n)		    sys_call(__NR_##n, 0, 0, 0, 0, 0, 0)
#define SYS1(n, a)	    sys_call(__NR_##n, (long)(a), 0, 0, 0, 0, 0)
#define SYS2(n, a, b)	    sys_call(__NR_##n, (long)(a), (long)(b), 0, 0, 0, 0)
#define SYS3(n, a, b, c)    sys_call(__NR_##n, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYS4(n, a, b, c, d) sys_call(__NR_##n, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYS5(n, a, b, c, d, e)                                                                     \
	sys_call(__NR_##n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SYS6(n, a, b, c, d, e, f)                                                                  \
	sys_call(__NR_##n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* ---- memory and strings; the compiler may call the first four by itself ---- */

void *memcpy(void *to, const void *from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);

size_t text_len(const char *s);
int text_compare(const char *a, const char *b);
/* Copies s behind the len bytes of a buffer of size bytes as far as it fits, with a NUL. Returns the new length. */
size_t text_append(char *buf, size_t size, size_t len, const char *s);
size_t text_append_number(char *buf, size_t size, size_t len, unsigned long n);
