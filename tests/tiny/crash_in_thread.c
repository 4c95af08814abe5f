/* Preloaded into vmm: the first write outside the main thread is a wild pointer, as a bug of ours would be. */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <unistd.h>

ssize_t write(int fd, const void *buf, size_t n);

ssize_t write(int fd, const void *buf, size_t n)
{
	if (gettid() != getpid())
		*(volatile int *)8 = 1;
	return syscall(SYS_write, fd, buf, n);
}
