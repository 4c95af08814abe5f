#include "vmm/core/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void assert_failed(const char *what)
{
	dprintf(STDERR_FILENO, "vmm: %s: Assertion failed\n", what);
	abort();
}
