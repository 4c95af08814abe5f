#include "vmm/core/descriptor.h"

#include <sys/socket.h>
#include <unistd.h>

void descriptor_hang_up(int fd)
{
	if (fd < 0)
		return;
	shutdown(fd, SHUT_RDWR);
	close(fd);
}
