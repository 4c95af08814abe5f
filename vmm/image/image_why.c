#include "vmm/image/image_why.h"

#include <stdarg.h>
#include <stdio.h>

int image_fail(struct image_why *why, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, args);
	va_end(args);
	return err;
}
