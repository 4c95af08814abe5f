/* --memory */
#include "vmm/cli/option.h"

#include <errno.h>
#include <string.h>

#include "vmm/cli/report.h"
#include "vmm/cli/value.h"

static int option_memory_hugepages(struct vmm_config *config, const char *value)
{
	static const char *const names[] = {[VMM_HUGEPAGES_THP] = "thp",
					    [VMM_HUGEPAGES_OFF] = "off",
					    [VMM_HUGEPAGES_2M] = "2M",
					    [VMM_HUGEPAGES_1G] = "1G"};
	int i = value_choice(value, names, 4);

	config->hugepages = (enum vmm_hugepages)i;
	if (i >= 0)
		return 0;
	report("--memory: hugepages= takes thp, off, 2M or 1G, not '%s'", value);
	return -EINVAL;
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
	if (!once) {
		report("--memory has no option '%s'; there are hugepages=thp|off|2M|1G, prefault "
		       "and "
		       "shared",
		       item);
		return -EINVAL;
	}
	if (*once) {
		report("--memory: %s is given twice", hugepages ? "hugepages" : item);
		return -EINVAL;
	}
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

	if (value_size(size, &o->config.memory) < 0) {
		report("--memory takes a size such as 512M or 4G (a bare number counts MiB), not "
		       "'%s'",
		       size);
		return -EINVAL;
	}
	if (o->config.memory < VMM_MIN_MEMORY) {
		report("--memory '%s' is too small: a machine needs at least %llu MiB", size,
		       (unsigned long long)(VMM_MIN_MEMORY >> 20));
		return -EINVAL;
	}
	while (value && err == 0)
		err = option_memory_item(&o->config, &seen, value_next_item(&value));
	return err;
}
