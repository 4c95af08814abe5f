#include "vmm/core/late_close.h"

#include <unistd.h>
#include <sys/syscall.h>

#if __has_include(<linux/io_uring.h>)
#include <linux/io_uring.h>

/* A ring that is never used, so that it needs no mapping. Negative where there is none, or none for us. */
static int late_close_ring(int fd)
{
	struct io_uring_params params = {.flags = 0};
	int ring = (int)syscall(SYS_io_uring_setup, 1, &params);

	if (ring >= 0)
		syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, &fd, 1);
	return ring;
}
#else
static int late_close_ring(int fd)
{
	(void)fd;
	return -1;
}
#endif

void late_close(int fd)
{
	/* A ring holds the files registered with it for as long as it is there, and goes in a work queue of the kernel. */
	int ring = late_close_ring(fd);

	close(fd);
	if (ring >= 0)
		close(ring);
}
