#include "vmm/core/late_library.h"

#ifdef VMM_LATE_ZLIB /* all or none of them: a static program loads nothing */
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

int late_library_open(void *functions, const char *file, const char *names)
{
	void **to = functions;
	void *library = dlopen(file, RTLD_NOW | RTLD_LOCAL);

	*to = library;
	if (!library)
		return -ELIBACC;
	for (; *names; names += strlen(names) + 1) {
		/* POSIX has dlsym() return functions as data; this is its way to write that. */
		*++to = dlsym(library, names);
		if (!*to) {
			late_library_close(functions);
			return -ELIBACC;
		}
	}
	return 0;
}

void late_library_close(void *functions)
{
	void **library = functions;

	if (*library)
		dlclose(*library);
	*library = NULL;
}
#endif
