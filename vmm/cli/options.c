#include "vmm/cli/options.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "vmm/cli/option.h"
#include "vmm/cli/report.h"
#include "vmm/cli/suggest.h"
#include "vmm/cli/value.h"
#include "vmm/image/image_cache.h"

/* ---- one function for each option; disks and network cards have files of their own ---- */

static int option_kernel(struct options *o, char *value)
{
	o->config.kernel = value;
	return 0;
}

static int option_initrd(struct options *o, char *value)
{
	o->config.initrd = value;
	return 0;
}

static int option_cmdline(struct options *o, char *value)
{
	o->config.cmdline = value;
	return 0;
}

static int option_append(struct options *o, char *value)
{
	o->config.append = value;
	return 0;
}

static int option_count(const char *name, const char *value, unsigned int max, unsigned int *count)
{
	uint64_t n;

	if (value_number(value, 1, max, &n) < 0)
		return report_refuse("--%s takes a number from 1 to %u, not '%s'", name, max,
				     value);
	*count = (unsigned int)n;
	return 0;
}

static int option_cpus(struct options *o, char *value)
{
	return option_count("cpus", value, VMM_MAX_CPUS, &o->config.cpus);
}

static int option_io_threads(struct options *o, char *value)
{
	return option_count("io-threads", value, VMM_MAX_IO_THREADS, &o->config.io_threads);
}

int option_choose(const char *name, const char *value, const char *const names[], int n)
{
	char list[64] = "";
	size_t len = 0;
	int chosen = value_choice(value, names, n);

	if (chosen >= 0)
		return chosen;
	for (int i = 0; i < n && len < sizeof(list); i++)
		len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s",
					i == 0	    ? ""
					: i < n - 1 ? ", "
						    : " or ",
					names[i]);
	return report_refuse("--%s takes %s, not '%s'", name, list, value);
}

/* Of two words, of which the one of this number sets *is. */
static int option_either(const char *name, const char *value, const char *const names[2],
			 int number, bool *is)
{
	int chosen = option_choose(name, value, names, 2);

	*is = chosen == number;
	return chosen < 0 ? chosen : 0;
}

static int option_switch(const char *name, const char *value, bool *on)
{
	static const char *const names[] = {"on", "off"};

	return option_either(name, value, names, 0, on);
}

static int option_rng(struct options *o, char *value)
{
	return option_switch("rng", value, &o->config.rng);
}

static int option_unpack(struct options *o, char *value)
{
	return option_switch("unpack", value, &o->config.unpack);
}

static int option_kernel_cache(struct options *o, char *value)
{
	return option_switch("kernel-cache", value, &o->kernel_cache);
}

static int option_balloon(struct options *o, char *value)
{
	return option_switch("balloon", value, &o->config.balloon);
}

static int option_kaslr(struct options *o, char *value)
{
	return option_switch("kaslr", value, &o->config.kaslr);
}

bool options_full(const struct options *o)
{
	if (o->config.n_disks + o->config.n_nets < VMM_MAX_DISKS_AND_NETS)
		return false;
	report("a machine has room for %d disks and network cards", VMM_MAX_DISKS_AND_NETS);
	return true;
}

static int option_transport(struct options *o, char *value)
{
	static const char *const names[] = {"pci", "mmio"};

	return option_either("transport", value, names, 1, &o->config.mmio_transport);
}

static int option_tables(struct options *o, char *value)
{
	static const char *const names[] = {"acpi", "dtb"};

	return option_either("tables", value, names, 1, &o->config.device_tree);
}

static int option_dump(const char *name, const char *value, const char **file)
{
	if (!*value)
		return report_refuse("--%s needs the name of a file", name);
	*file = value;
	return 0;
}

static int option_dump_dtb(struct options *o, char *value)
{
	return option_dump("dump-dtb", value, &o->dump_dtb);
}

static int option_dump_guest(struct options *o, char *value)
{
	return option_dump("dump-guest", value, &o->dump_guest);
}

static int option_timeout(struct options *o, char *value)
{
	if (value_seconds(value, &o->timeout_ms) < 0)
		return report_refuse(
			"--timeout takes a number of seconds above 0, at most 31622400 (366 days), "
			"not '%s'",
			value);
	return 0;
}

static int option_log_level(struct options *o, char *value)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};
	int i = option_choose("log-level", value, names, 4);

	o->log_level = (enum vmm_log_level)i;
	return i < 0 ? i : 0;
}

static int option_help(struct options *o, char *value)
{
	(void)value;
	o->action = OPTIONS_HELP;
	return 0;
}

static int option_version(struct options *o, char *value)
{
	(void)value;
	o->action = OPTIONS_VERSION;
	return 0;
}

/* ---- the table ---- */

static const struct option {
	const char *name;
	option_fn *fn;
	bool has_value;
	bool repeats;
} options_table[] = {
	{"kernel", option_kernel, true, false},
	{"initrd", option_initrd, true, false},
	{"cmdline", option_cmdline, true, false},
	{"append", option_append, true, false},
	{"kaslr", option_kaslr, true, false},
	{"disk", option_disk, true, true},
	{"net", option_net, true, true},
	{"vsock", option_vsock, true, false},
	{"cpus", option_cpus, true, false},
	{"memory", option_memory, true, false},
	{"io-threads", option_io_threads, true, false},
	{"rng", option_rng, true, false},
	{"balloon", option_balloon, true, false},
	{"gdb", option_gdb, true, false},
	{"unpack", option_unpack, true, false},
	{"kernel-cache", option_kernel_cache, true, false},
	{"transport", option_transport, true, false},
	{"tables", option_tables, true, false},
	{"dump-dtb", option_dump_dtb, true, false},
	{"dump-guest", option_dump_guest, true, false},
	{"sandbox", option_sandbox, true, false},
	{"user", option_user, true, false},
	{"timeout", option_timeout, true, false},
	{"console", option_console, true, false},
	{"events", option_events, true, false},
	{"root", option_root, true, false},
	{"share", option_share, true, true},
	{"image-cache", option_image_cache, true, false},
	{"env", option_env, true, true},
	{"boot-timeout", option_boot_timeout, true, false},
	{"log-level", option_log_level, true, false},
	{"help", option_help, false, false},
	{"version", option_version, false, false},
};

#define N_OPTIONS (sizeof(options_table) / sizeof(options_table[0]))

static const struct option *options_find(const char *name, size_t len)
{
	for (size_t i = 0; i < N_OPTIONS; i++) {
		if (strlen(options_table[i].name) == len &&
		    strncmp(options_table[i].name, name, len) == 0)
			return &options_table[i];
	}
	return NULL;
}

/* The words that are commands if they come first; main.c. */
static const char *const options_commands[] = {"doctor", "help", "image"};

/* What was meant as a command, as it is to be typed; as much of it as fits. */
static const char *options_join(char *text, size_t size, char *const *words)
{
	size_t len = 0;

	for (text[0] = '\0'; *words && len < size; words++)
		len += (size_t)snprintf(text + len, size - len,
					(*words)[strcspn(*words, " \t$&|;<>*")] ? " '%s'" : " %s",
					*words);
	return text;
}

static const char *options_suggest(const char *word, const char **dashes)
{
	struct suggestion s = suggest_begin(word);

	*dashes = "--";
	for (size_t i = 0; i < N_OPTIONS; i++)
		suggest_try(&s, options_table[i].name);
	for (size_t i = 0; i < 3 && word[0] != '-'; i++) {
		const char *before = s.name;

		suggest_try(&s, options_commands[i]);
		if (s.name != before)
			*dashes = "";
	}
	return s.name;
}

/* words: from the one that is refused on. first: nothing stands before it. */
static int options_refuse_word(char *const *words, bool first)
{
	const char *word = words[0], *kind = word[0] == '-' ? "option" : "argument", *dashes;
	const char *name = options_suggest(word, &dashes);
	char command[256];

	if (!first && value_choice(word, options_commands, 3) >= 0)
		report("the command '%s' goes first: vmm%s", word,
		       options_join(command, sizeof(command), words));
	else if (name)
		report("unknown %s '%s'; did you mean %s%s? See vmm --help", kind, word, dashes,
		       name);
	else if (word[0] != '-' && word[0] != '\0')
		report("unknown argument '%s'; did you mean, to run it in the guest: vmm%s --%s",
		       word, first ? "" : " ...", options_join(command, sizeof(command), words));
	else
		report("unknown %s '%s'; see vmm --help", kind, word);
	return -EINVAL;
}

/* Handles argv[*at], and the value behind it; *at moves to the last word used. */
static int options_parse_one(struct options *o, int argc, char **argv, int *at)
{
	char *word = argv[*at], *value = NULL, *equals = strchr(word, '=');
	size_t len = equals ? (size_t)(equals - word) : strlen(word);
	const struct option *opt = len > 2 ? options_find(word + 2, len - 2) : NULL;
	uint64_t bit;

	if (strncmp(word, "--", 2) != 0 || !opt)
		return options_refuse_word(argv + *at, *at == 1);
	bit = UINT64_C(1) << (opt - options_table);
	if ((o->seen & bit) && !opt->repeats)
		return report_refuse("--%s is given twice", opt->name);
	o->seen |= bit;
	if (equals)
		value = equals + 1;
	else if (opt->has_value && *at + 1 < argc)
		value = argv[++*at];
	if (!value != !opt->has_value)
		return report_refuse("--%s %s", opt->name,
				     value ? "takes no value" : "needs a value");
	return opt->fn(o, value);
}

static bool options_has(const struct options *o, const char *name)
{
	return o->seen >> (options_find(name, strlen(name)) - options_table) & 1;
}

/* Addresses shall be those of the symbols, and time is the debugger's. */
static void options_prepare_gdb(struct options *o)
{
	if (!options_has(o, "kaslr"))
		o->config.kaslr = false;
	if (!options_has(o, "boot-timeout"))
		o->boot_timeout_ms = 0;
}

static int options_check(struct options *o)
{
	if (o->action != OPTIONS_RUN)
		return 0;
	if (o->change_user && o->config.sandbox == VMM_SANDBOX_OFF)
		return report_refuse(
			"--user is a part of the sandbox, and --sandbox off turns that off");
	if (o->config.cmdline && o->config.append)
		return report_refuse("--cmdline replaces the command line and --append adds to the "
				     "built-in one: "
				     "give one of them");
	if (!o->command && options_has(o, "boot-timeout"))
		return report_refuse("--boot-timeout goes with a command: vmm ... -- COMMAND; "
				     "there is --timeout "
				     "for "
				     "a machine without one");
	/* The standard streams are the command's. */
	if (o->command && !options_has(o, "console"))
		o->console = OPTIONS_CONSOLE_NONE;
	if (o->config.gdb)
		options_prepare_gdb(o);
	if (options_check_shares(o) < 0)
		return -EINVAL;
	return options_check_command(o);
}

int options_parse(struct options *o, int argc, char **argv)
{
	int err = 0;

	memset(o, 0, offsetof(struct options, forwards));
	vmm_config_init(&o->config);
	o->config.disks = o->disks;
	o->config.nets = o->nets;
	o->log_level = VMM_LOG_WARN;
	o->kernel_cache = true;
	o->config.quick_end = true;
	o->boot_timeout_ms = OPTIONS_BOOT_TIMEOUT_MS;
	o->image_cache_size = IMAGE_CACHE_BOUND;
	for (int i = 1; i < argc && err == 0 && !o->command; i++) {
		if (strcmp(argv[i], "--") == 0)
			o->command = &argv[i + 1];
		else
			err = options_parse_one(o, argc, argv, &i);
	}
	if (err == 0) {
		options_choose_command(o);
		err = options_check(o);
	}
	return err == 0 && o->command ? options_begin_env(o) : err;
}
