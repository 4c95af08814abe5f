#include "vmm/sandbox/filter.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/core/unset.h"
#include "vmm/sandbox/filter_bytes.h"

/* The sanitizers' own calls, in each thread and for each report, are no part of the rules. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FILTER_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define FILTER_SANITIZED 1
#endif
#endif

/* This thread's name, for filter_describe(). */
static _Thread_local char filter_thread[16];

#if defined(VMM_HAVE_SECCOMP) && !defined(FILTER_SANITIZED)

/*
 * Made when vmm is built: the programs of all kinds in filter_bytes, one after the other (filter_bytes.h); where each ends in filter_ends;
 * and filter_values.
 */
#include "vmm/sandbox/filter_programs.h"

#define FILTER_MAX_LEN 512

int filter_available(void)
{
	uint32_t action = SECCOMP_RET_TRAP;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0 ? -errno : 0;
}

/* The instruction that begins at *at, which moves behind it. */
static struct sock_filter filter_next(const uint8_t **at)
{
	const uint8_t *byte = *at;
	uint8_t code = *byte++;
	uint32_t k = filter_values[*byte++];
	uint8_t jt = code & FILTER_HAS_JT ? *byte++ : 0;
	uint8_t jf = code & FILTER_HAS_JF ? *byte++ : 0;

	*at = byte;
	/* The number of this process is known now. */
	return (struct sock_filter)BPF_JUMP(code & FILTER_CODE,
					    k == FILTER_PID ? (uint32_t)getpid() : k, jt, jf);
}

int filter_install(enum filter_kind kind)
{
	UNSET struct sock_filter code[FILTER_MAX_LEN]; /* each thread has it once */
	const uint8_t *at = &filter_bytes[kind > 0 ? filter_ends[kind - 1] : 0];
	struct sock_fprog program = {.filter = code};

	while (at < &filter_bytes[filter_ends[kind]]) {
		if (program.len == FILTER_MAX_LEN)
			return -E2BIG;
		code[program.len++] = filter_next(&at);
	}
	prctl(PR_GET_NAME, filter_thread);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
		return -errno;
	return 0;
}

#else

int filter_available(void)
{
	return -ENOTSUP;
}

int filter_install(enum filter_kind kind)
{
	(void)kind;
	return -ENOTSUP;
}
#endif

bool filter_is_sanitized(void)
{
#ifdef FILTER_SANITIZED
	return true;
#else
	return false;
#endif
}

/* snprintf() is not safe in a handler. */
static char *filter_append(char *at, const char *end, const char *text)
{
	while (*text && at < end)
		*at++ = *text++;
	return at;
}

static char *filter_append_number(char *at, const char *end, unsigned int n)
{
	char digits[12];
	char *d = &digits[sizeof(digits) - 1];

	*d = '\0';
	do
		*--d = (char)('0' + n % 10);
	while ((n /= 10) > 0);
	return filter_append(at, end, d);
}

bool filter_describe(const siginfo_t *info, char *text, size_t size)
{
	const char *end = text + size - 1;
	char *at = text;

	if (info->si_signo != SIGSYS || info->si_code != 1 /* SYS_SECCOMP */)
		return false;
	at = filter_append(at, end, "sandbox: thread ");
	at = filter_append(at, end, filter_thread[0] ? filter_thread : "without a filter");
	at = filter_append(at, end, " was refused system call ");
	at = filter_append_number(at, end, (unsigned int)info->si_syscall);
	*at = '\0';
	return true;
}
