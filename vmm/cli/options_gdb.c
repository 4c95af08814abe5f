/* --gdb */
#include "vmm/cli/option.h"

#include <string.h>

#include "vmm/cli/report.h"
#include "vmm/cli/value.h"

int option_gdb(struct options *o, char *value)
{
	char *where = value_next_item(&value), *port_at;
	uint64_t port;

	if (*where == '\0' || *where == '-' || strcmp(where, "wait") == 0)
		return report_refuse(
			"--gdb takes a port or the path of a unix socket to make, not '%s'", where);
	if (where[strspn(where, "0123456789")] == '\0' &&
	    value_number(where, 1, UINT16_MAX, &port) < 0)
		return report_refuse("--gdb: port %s is not from 1 to %u", where, UINT16_MAX);
	/* an address is not what it is for, and no name that is meant */
	port_at = strrchr(where, ':');
	if (port_at && !strchr(where, '/') && port_at[1] != '\0' &&
	    port_at[1 + strspn(port_at + 1, "0123456789")] == '\0')
		return report_refuse(
			"--gdb takes a port of 127.0.0.1 without the address: %s, not '%s'",
			port_at + 1, where);
	o->config.gdb = where;
	while (value) {
		char *item = value_next_item(&value);

		if (strcmp(item, "wait") != 0 || o->config.gdb_wait)
			return report_refuse(strcmp(item, "wait") != 0
						     ? "--gdb has no option '%s'; there is wait"
						     : "--gdb: %s is given twice",
					     item);
		o->config.gdb_wait = true;
	}
	return 0;
}
