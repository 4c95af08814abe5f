#include "vmm/cli/cache_dir.h"

#include <stdio.h>

const char *cache_dir_find(const char *xdg, const char *home, char *path, size_t size)
{
	int n;

	if (xdg && xdg[0] == '/')
		n = snprintf(path, size, "%s/vmm", xdg);
	else if (home && home[0] == '/')
		n = snprintf(path, size, "%s/.cache/vmm", home);
	else
		return NULL;
	return n > 0 && (size_t)n < size ? path : NULL;
}
