#include "vmm/core/pagemap.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What the kernel asks of who opens it, to show where pages lie. */
#define SEES_PLACES (1U << CAP_SYS_ADMIN)

int pagemap_open(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
	uint32_t had;
	int fd;

	if (syscall(SYS_capget, &header, caps) < 0)
		return -1;
	had = caps[0].effective;
	caps[0].effective &= ~SEES_PLACES;
	if (syscall(SYS_capset, &header, caps) < 0)
		return -1;
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	caps[0].effective = had;
	syscall(SYS_capset, &header, caps);
	return fd;
}
