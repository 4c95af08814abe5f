/* tapfd NAME FD PROGRAM ARG... - runs PROGRAM with the TAP interface NAME open as descriptor FD */
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd, wanted;

	if (argc < 4)
		return 2;
	wanted = atoi(argv[2]);
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", argv[1]);
	fd = open("/dev/net/tun", O_RDWR);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0 || dup2(fd, wanted) < 0) {
		perror("tapfd");
		return 2;
	}
	if (fd != wanted)
		close(fd);
	execv(argv[3], argv + 3);
	perror(argv[3]);
	return 2;
}
