/*
 * Any command line of vmm: it is understood, or refused with one line.
 *
 * Each byte of the input is a word that the command line knows, or, from 128 on, a character; 0 ends an argument.
 *
 * Fuzzes: vmm/cli/options.c vmm/cli/options_command.c vmm/cli/options_console.c vmm/cli/options_disk.c vmm/cli/options_image.c
 * Fuzzes: vmm/cli/options_memory.c vmm/cli/options_net.c vmm/cli/options_sandbox.c vmm/cli/options_vsock.c vmm/cli/suggest.c vmm/cli/value.c
 */
#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>

#include "tests/fuzz/bytes.h"
#include "vmm/cli/options.h"
#include "vmm/cli/report.h"

#define MAX_ARGS 64
#define MAX_TEXT 4096

/* A new one goes to the end, or what corpora say becomes something else. */
static const char *const words[128] = {
	NULL,
	"--kernel",
	"--initrd",
	"--cmdline",
	"--append",
	"--kaslr",
	"--disk",
	"--net",
	"--vsock",
	"--cpus",
	"--memory",
	"--io-threads",
	"--rng",
	"--balloon",
	"--unpack",
	"--kernel-cache",
	"--transport",
	"--tables",
	"--dump-dtb",
	"--dump-guest",
	"--timeout",
	"--console",
	"--events",
	"--log-level",
	"--help",
	"--version",
	"--",
	"=",
	",",
	",,",
	"on",
	"off",
	/* disks */
	"readonly",
	"overlay",
	"overlay=",
	"format=",
	"backing=",
	"backing-format=",
	"raw",
	"qcow2",
	"serial=",
	"direct",
	"queues=",
	"iops=",
	"iops-burst=",
	"bps=",
	"bps-burst=",
	/* network cards */
	"tap=",
	"tap-fd=",
	"user",
	"mac=",
	"mtu=",
	"vhost=",
	"forward=",
	"tcp:",
	"udp:",
	"52:54:00:12:34:56",
	"rx-bps=",
	"rx-bps-burst=",
	"rx-pps=",
	"rx-pps-burst=",
	"tx-bps=",
	"tx-bps-burst=",
	"tx-pps=",
	"tx-pps-burst=",
	/* others */
	"cid=",
	"socket=",
	"hugepages=",
	"thp",
	"2M",
	"1G",
	"prefault",
	"shared",
	"pci",
	"mmio",
	"acpi",
	"dtb",
	"stdio",
	"none",
	"pty",
	"file=",
	"virtio",
	"error",
	"warn",
	"info",
	"debug",
	"0",
	"1",
	"2",
	"3",
	"8",
	"16",
	"64",
	"255",
	"256",
	"1024",
	"65535",
	"65536",
	"1500",
	"K",
	"M",
	"G",
	".",
	":",
	"/a",
	"x",
	"18446744073709551616",
	"1099511627776",
	"1099511627777",
	"2147483648",
	"--sandbox",
	"--user",
	"strict",
	"4294967295",
	"--root",
	"rw",
	"mounts",
	"--env",
	"HOME=",
	"LANG",
	"--boot-timeout",
};

static unsigned int n_reports;

static void count_report(const char *fmt, va_list ap)
{
	char line[1024];

	vsnprintf(line, sizeof(line), fmt, ap);
	n_reports++;
}

void report(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	count_report(fmt, ap);
	va_end(ap);
}

int report_refuse(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	count_report(fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int report_failure(int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	count_report(fmt, ap);
	va_end(ap);
	return err;
}

/* The arguments one behind the other; returns how many. */
static int make_arguments(struct bytes *in, char *text, char **argv)
{
	char *end = text + MAX_TEXT - 1;
	int n = 1;

	argv[0] = text;
	argv[n] = text;
	while (in->left > 0 && n < MAX_ARGS) {
		uint8_t c = bytes_u8(in);
		const char *word = c < 128 ? words[c] : NULL;
		size_t len = word ? strlen(word) : c >= 128;

		if ((size_t)(end - text) <= len)
			break;
		if (word)
			memcpy(text, word, len);
		else if (c >= 128)
			*text = (char)(c & 127);
		text += len;
		if (c == 0) {
			*text++ = '\0';
			argv[++n] = text;
		}
	}
	*text = '\0';
	n += *argv[n] != '\0';
	argv[n] = NULL;
	return n;
}

/* Any host has this one user. */
uid_t geteuid(void)
{
	return 0;
}

struct passwd *fgetpwent(FILE *file)
{
	static struct passwd user = {.pw_uid = 7, .pw_gid = 8};
	static char name[] = "x";
	static unsigned int n;

	(void)file;
	user.pw_name = name;
	return n++ % 2 == 0 ? &user : NULL;
}

static void check_disk(const struct vmm_disk *disk)
{
	must(disk->path && *disk->path && disk->queues <= 32);
	must(!disk->serial || (*disk->serial && strlen(disk->serial) <= 20));
	must(!disk->iops_burst || disk->iops);
	must(!disk->bps_burst || disk->bps);
}

static void check_net(const struct vmm_net *net)
{
	must((net->tap != NULL) + (net->tap_fd >= 0) + net->user == 1);
	must(net->n_forwards <= VMM_MAX_FORWARDS && (net->user || net->n_forwards == 0));
	must(net->queues <= VMM_MAX_NET_QUEUES && (net->mtu == 0 || net->mtu >= 68));
}

static void check(const struct options *o)
{
	const struct vmm_config *config = &o->config;

	if (o->action != OPTIONS_RUN)
		return;
	must(!(config->cmdline && config->append));
	if (o->command)
		must(o->command[0] && o->console != OPTIONS_CONSOLE_STDIO);
	else
		must(!o->root && !o->env_given);
	must(o->n_env <= OPTIONS_MAX_ENV && !o->env[o->n_env]);
	for (unsigned int i = 0; i < o->n_env; i++)
		must(strchr(o->env[i], '='));
	must(config->memory >= VMM_MIN_MEMORY);
	must(config->cpus >= 1 && config->cpus <= VMM_MAX_CPUS);
	must(config->io_threads <= VMM_MAX_IO_THREADS);
	must(config->n_disks + config->n_nets <= VMM_MAX_DISKS_AND_NETS);
	for (unsigned int i = 0; i < config->n_disks; i++)
		check_disk(&config->disks[i]);
	for (unsigned int i = 0; i < config->n_nets; i++)
		check_net(&config->nets[i]);
	must(!config->vsock || (config->vsock->cid >= VMM_MIN_CID && config->vsock->path));
	must((o->console != OPTIONS_CONSOLE_FILE && o->console != OPTIONS_CONSOLE_SOCKET) ||
	     (o->console_path && *o->console_path));
}

/* What a container image brings, beside what was given: that stays as it was. */
static void add_image(struct options *o, char *word)
{
	static char home[] = "HOME=/image", nameless[] = "=x", none[] = "none";
	unsigned int given = 0, left = 0;

	for (unsigned int i = 0; i < o->n_env; i++)
		given += o->env_is_given[i];
	options_drop_env(o, "HOME");
	if (options_add_env(o, home) < 0 || options_add_env(o, word) < 0)
		n_reports = 0; /* too many */
	must(options_add_env(o, nameless) == 0 && options_add_env(o, none) == 0);
	options_drop_env(o, "TERM");
	for (unsigned int i = 0; i < o->n_env; i++)
		left += o->env_is_given[i];
	must(left == given);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct options options;
	struct bytes in = {data, size};
	char *argv[MAX_ARGS + 2];
	/* of its own, so that sanitizers see what is read outside */
	char *text = malloc(MAX_TEXT);
	int argc, ret;

	must(text);
	argc = make_arguments(&in, text, argv);
	n_reports = 0;
	ret = options_parse(&options, argc, argv);
	must(ret == 0 ? n_reports == 0 : ret == -EINVAL && n_reports == 1);
	if (ret == 0)
		check(&options);
	if (ret == 0 && options.command) {
		add_image(&options, argv[argc - 1]);
		check(&options);
	}
	free(text);
	return 0;
}
