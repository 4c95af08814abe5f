/* What --disk says of its image: format=, backing=, backing-format=, overlay. */
#include "vmm/cli/option.h"

#include <string.h>

#include "vmm/cli/report.h"
#include "vmm/cli/value.h"

static int option_image_file(const struct vmm_disk *disk, const char *what, const char **file,
			     const char *value)
{
	if (*file || *value == '\0')
		return report_refuse("--disk '%s': %s= takes the name of a file, once", disk->path,
				     what);
	*file = value;
	return 1;
}

static int option_image_format(const struct vmm_disk *disk, const char *what,
			       enum vmm_disk_format *format, const char *value)
{
	if (strcmp(value, "qcow2") == 0)
		*format = VMM_DISK_QCOW2;
	else if (strcmp(value, "raw") == 0)
		*format = VMM_DISK_RAW;
	else
		return report_refuse("--disk '%s': %s= takes raw or qcow2, not '%s'", disk->path,
				     what, value);
	return 1;
}

int option_disk_image(struct vmm_disk *disk, char *item)
{
	char *value;

	if (strcmp(item, "overlay") == 0 || strncmp(item, "overlay=", 8) == 0) {
		value = value_of(item, "overlay");
		if (disk->overlay)
			return report_refuse("--disk '%s': overlay is given twice", disk->path);
		disk->overlay = true;
		return value ? option_image_file(disk, "overlay", &disk->overlay_file, value) : 1;
	}
	value = value_of(item, "backing");
	if (value)
		return option_image_file(disk, "backing", &disk->backing, value);
	value = value_of(item, "backing-format");
	if (value)
		return option_image_format(disk, "backing-format", &disk->backing_format, value);
	value = value_of(item, "format");
	if (value)
		return option_image_format(disk, "format", &disk->format, value);
	return 0;
}
