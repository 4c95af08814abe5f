/* --disk */
#include "vmm/cli/option.h"

#include <errno.h>
#include <string.h>

#include "vmm/cli/report.h"
#include "vmm/cli/value.h"

static int option_disk_item(struct vmm_disk *disk, char *item)
{
	char *value;
	int image = option_disk_image(disk, item);

	if (image != 0)
		return image < 0 ? image : 0;

	if (strcmp(item, "readonly") == 0) {
		if (disk->readonly) {
			report("--disk '%s': readonly is given twice", disk->path);
			return -EINVAL;
		}
		disk->readonly = true;
		return 0;
	}
	value = value_of(item, "serial");
	if (value) {
		if (disk->serial || *value == '\0' || strlen(value) > 20) {
			report("--disk '%s': serial= takes 1 to 20 bytes, once", disk->path);
			return -EINVAL;
		}
		disk->serial = value;
		return 0;
	}
	if (strcmp(item, "direct") == 0)
		return option_unsupported("--disk", item);
	report("--disk '%s' has no option '%s'; there are readonly, overlay, format=raw|qcow2, "
	       "backing=FILE and serial=ID",
	       disk->path, item);
	return -EINVAL;
}

int option_disk(struct options *o, char *value)
{
	struct vmm_disk *disk = &o->disks[o->config.n_disks];

	if (options_full(o))
		return -EINVAL;
	disk->path = value_next_item(&value);
	if (*disk->path == '\0') {
		report("--disk needs the name of a file");
		return -EINVAL;
	}
	while (value) {
		int err = option_disk_item(disk, value_next_item(&value));

		if (err < 0)
			return err;
	}
	o->config.n_disks++;
	return 0;
}
