/* --disk */
#include "vmm/cli/option.h"

#include <errno.h>
#include <string.h>

#include "vmm/cli/report.h"
#include "vmm/cli/value.h"

/* iops= and its like. Returns 1 when item was one of them, 0 when not, or -EINVAL. */
static int option_disk_limit(struct vmm_disk *disk, char *item)
{
	const struct {
		const char *name;
		uint64_t *limit;
	} limits[] = {{"iops", &disk->iops},
		      {"iops-burst", &disk->iops_burst},
		      {"bps", &disk->bps},
		      {"bps-burst", &disk->bps_burst}};

	for (unsigned int i = 0; i < 4; i++) {
		char *value = value_of(item, limits[i].name);

		if (!value)
			continue;
		if (*limits[i].limit ||
		    value_number(value, 1, UINT64_C(1) << 40, limits[i].limit) < 0)
			return report_refuse(
				"--disk '%s': %s= takes a number from 1 to 2^40, once; not '%s'",
				disk->path, limits[i].name, value);
		return 1;
	}
	return 0;
}

static int option_disk_item(struct vmm_disk *disk, char *item)
{
	char *value;
	int image = option_disk_image(disk, item), limit;

	if (image != 0)
		return image < 0 ? image : 0;

	if (strcmp(item, "readonly") == 0) {
		if (disk->readonly)
			return report_refuse("--disk '%s': readonly is given twice", disk->path);
		disk->readonly = true;
		return 0;
	}
	value = value_of(item, "serial");
	if (value) {
		if (disk->serial || *value == '\0' || strlen(value) > 20)
			return report_refuse("--disk '%s': serial= takes 1 to 20 bytes, once",
					     disk->path);
		disk->serial = value;
		return 0;
	}
	if (strcmp(item, "direct") == 0) {
		if (disk->direct)
			return report_refuse("--disk '%s': direct is given twice", disk->path);
		disk->direct = true;
		return 0;
	}
	value = value_of(item, "queues");
	if (value) {
		uint64_t n;

		if (disk->queues || value_number(value, 1, 32, &n) < 0)
			return report_refuse(
				"--disk '%s': queues= takes a number from 1 to 32, once; not '%s'",
				disk->path, value);
		disk->queues = (uint16_t)n;
		return 0;
	}
	limit = option_disk_limit(disk, item);
	if (limit != 0)
		return limit < 0 ? limit : 0;
	return report_refuse(
		"--disk '%s' has no option '%s'; there are readonly, overlay[=FILE], "
		"format=raw|qcow2, backing=FILE, backing-format=raw|qcow2, serial=ID, direct, "
		"queues=N, iops=N, iops-burst=N, bps=N and bps-burst=N",
		disk->path, item);
}

/* tells: of a backing file's format, be it the default. */
static int option_disk_check(const struct vmm_disk *disk, bool tells)
{
	if (disk->iops_burst && !disk->iops)
		report("--disk '%s': iops-burst= goes with iops= alone", disk->path);
	else if (disk->bps_burst && !disk->bps)
		report("--disk '%s': bps-burst= goes with bps= alone", disk->path);
	else if (tells && !disk->backing)
		report("--disk '%s': backing-format= goes with backing= alone", disk->path);
	else
		return 0;
	return -EINVAL;
}

int option_disk(struct options *o, char *value)
{
	struct vmm_disk *disk = &o->disks[o->config.n_disks];
	bool tells = false;

	if (options_full(o))
		return -EINVAL;
	disk->path = value_next_item(&value);
	if (*disk->path == '\0')
		return report_refuse("--disk needs the name of a file");
	while (value) {
		char *item = value_next_item(&value);
		int err = option_disk_item(disk, item);

		tells |= value_of(item, "backing-format") != NULL;
		if (err < 0)
			return err;
	}
	if (option_disk_check(disk, tells) < 0)
		return -EINVAL;
	o->config.n_disks++;
	return 0;
}
