/* What a test has open: as many afterwards as before. */
#pragma once

#include <fcntl.h>

static inline unsigned int count_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}
