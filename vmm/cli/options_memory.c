/* --memory */
#include "vmm/cli/option.h"

#include <string.h>

#include "vmm/cli/report.h"
#include "vmm/cli/value.h"

static int option_memory_hugepages(struct vmm_config *config, const char *value)
{
	static const char *const names[] = {[VMM_HUGEPAGES_THP] = "thp",
					    [VMM_HUGEPAGES_OFF] = "off",
					    [VMM_HUGEPAGES_2M] = "2M",
					    [VMM_HUGEPAGES_1G] = "1G"};
	int i = option_choose("memory: hugepages=", value, names, 4);

	config->hugepages = (enum vmm_hugepages)i;
	return i < 0 ? i : 0;
}

/* The items that were seen, so that none is given twice. */
struct option_memory_seen {
	bool hugepages;
	bool prefault;
	bool shared;
};

static int option_memory_item(struct vmm_config *config, struct option_memory_seen *seen,
			      char *item)
{
	char *hugepages = value_of(item, "hugepages");
	bool *once = NULL;

	if (hugepages)
		once = &seen->hugepages;
	else if (strcmp(item, "prefault") == 0)
		once = &seen->prefault;
	else if (strcmp(item, "shared") == 0)
		once = &seen->shared;
	if (!once)
		return report_refuse(
			"--memory has no option '%s'; there are hugepages=thp|off|2M|1G, prefault "
			"and "
			"shared",
			item);
	if (*once)
		return report_refuse("--memory: %s is given twice", hugepages ? "hugepages" : item);
	*once = true;
	config->prefault = seen->prefault;
	config->shared_memory = seen->shared;
	return hugepages ? option_memory_hugepages(config, hugepages) : 0;
}

int option_memory(struct options *o, char *value)
{
	struct option_memory_seen seen = {.hugepages = false};
	char *size = value_next_item(&value);
	int err = 0;

	if (value_size(size, &o->config.memory) < 0)
		return report_refuse(
			"--memory takes a size such as 512M or 4G (a bare number counts MiB), not "
			"'%s'",
			size);
	if (o->config.memory < VMM_MIN_MEMORY)
		return report_refuse(
			"--memory '%s' is too small: a machine needs at least %llu MiB", size,
			(unsigned long long)(VMM_MIN_MEMORY >> 20));
	while (value && err == 0)
		err = option_memory_item(&o->config, &seen, value_next_item(&value));
	return err;
}
