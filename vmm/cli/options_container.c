/* What goes with container images: --image-cache, and that they have a command of their own. */
#include "vmm/cli/option.h"

#include <errno.h>
#include <stddef.h>

#include "vmm/cli/report.h"
#include "vmm/cli/value.h"
#include "vmm/image/image_ref.h"

int options_image_cache(const char *whose, char *value, const char **dir, uint64_t *size)
{
	char *path = value_next_item(&value);

	*dir = *path ? path : NULL;
	while (value) {
		char *item = value_next_item(&value), *bytes = value_of(item, "size");

		if (!bytes || value_size(bytes, size) < 0)
			return report_refuse(
				"%s takes DIR[,size=SIZE], not '%s' behind the directory", whose,
				item);
	}
	return 0;
}

int option_image_cache(struct options *o, char *value)
{
	int err = options_image_cache("--image-cache", value, &o->image_cache,
				      &o->image_cache_size);

	if (err == 0 && !o->image_cache) {
		report("--image-cache takes a directory");
		err = -EINVAL;
	}
	return err;
}

void options_choose_command(struct options *o)
{
	static char *none[] = {NULL};

	if (!o->command && o->root && image_ref_is(o->root))
		o->command = none;
}
