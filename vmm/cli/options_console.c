/* --console */
#include <string.h>

#include "vmm/cli/option.h"
#include "vmm/cli/report.h"
#include "vmm/cli/value.h"

static const struct {
	const char *name;
	enum options_console console;
	bool has_path;
} consoles[] = {
	{"stdio", OPTIONS_CONSOLE_STDIO, false},  {"none", OPTIONS_CONSOLE_NONE, false},
	{"pty", OPTIONS_CONSOLE_PTY, false},	  {"file", OPTIONS_CONSOLE_FILE, true},
	{"socket", OPTIONS_CONSOLE_SOCKET, true},
};

/* A path is all that is left of the value, commas included. */
static bool option_console_place(struct options *o, char *value)
{
	for (size_t i = 0; i < sizeof(consoles) / sizeof(consoles[0]); i++) {
		char *path = value_of(value, consoles[i].name);

		if (consoles[i].has_path ? !path || *path == '\0'
					 : strcmp(value, consoles[i].name) != 0)
			continue;
		o->console = consoles[i].console;
		o->console_path = path;
		return true;
	}
	return false;
}

int option_console(struct options *o, char *value)
{
	static const char prefix[] = "virtio,";

	if (strcmp(value, "virtio") == 0) {
		o->config.console_virtio = true;
		o->console = OPTIONS_CONSOLE_STDIO;
		return 0;
	}
	o->config.console_virtio = strncmp(value, prefix, strlen(prefix)) == 0;
	if (option_console_place(o, o->config.console_virtio ? value + strlen(prefix) : value))
		return 0;
	return report_refuse(
		"--console takes stdio, none, file=FILE, pty or socket=PATH, with 'virtio,' before "
		"it "
		"or not; not '%s'",
		value);
}
