#include "vmm/core/descriptor.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/core/unset.h"

/* Reads of a page, which is more than a socket holds that nobody has tuned: nothing new comes, but over TCP. */
#define DESCRIPTOR_READS 256

void descriptor_hold_standard(void)
{
	int fd = 0;

	while (fd <= STDERR_FILENO && fcntl(fd, F_GETFD) >= 0)
		fd++;
	if (fd > STDERR_FILENO)
		return;
	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

void descriptor_deafen(int fd)
{
	UNSET char rest[4096];

	shutdown(fd, SHUT_RD);
	for (int i = 0; i < DESCRIPTOR_READS; i++) {
		if (recv(fd, rest, sizeof(rest), MSG_DONTWAIT) <= 0)
			break;
	}
}

void descriptor_hang_up(int fd)
{
	if (fd < 0)
		return;
	descriptor_deafen(fd);
	shutdown(fd, SHUT_RDWR);
	close(fd);
}
