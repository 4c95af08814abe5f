/* --gdb */
#include "vmm/cli/option.h"

#include <errno.h>
#include <string.h>

#include "vmm/cli/report.h"
#include "vmm/cli/value.h"

int option_gdb(struct options *o, char *value)
{
	char *where = value_next_item(&value);

	if (*where == '\0') {
		report("--gdb takes a port or the path of a unix socket to make");
		return -EINVAL;
	}
	o->config.gdb = where;
	while (value) {
		char *item = value_next_item(&value);

		if (strcmp(item, "wait") != 0) {
			report("--gdb has no option '%s'; there is wait", item);
			return -EINVAL;
		}
		o->config.gdb_wait = true;
	}
	return 0;
}
