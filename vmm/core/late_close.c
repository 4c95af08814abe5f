#include "vmm/core/late_close.h"

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#if __has_include(<linux/io_uring.h>)
#include <linux/io_uring.h>

int late_close_hold(int fd, int other)
{
	/* A negative one leaves its place free. */
	const int fds[] = {fd, other};
	/* A ring that takes no orders, and so needs no mapping; nobody can make it take any for want of another system call. It
	 * holds the files registered with it for as long as it is there, and goes in a work queue of the kernel. */
	struct io_uring_params params = {.flags = IORING_SETUP_R_DISABLED};
	int ring = (int)syscall(SYS_io_uring_setup, 1, &params);
	int err;

	if (ring < 0)
		return -errno;
	if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, fds, 2) == 0)
		return ring;
	err = -errno;
	close(ring);
	return err;
}
#else
int late_close_hold(int fd, int other)
{
	(void)fd;
	(void)other;
	return -ENOSYS;
}
#endif
