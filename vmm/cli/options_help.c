/*
 * --help, and help TOPIC. Every option and item has its default; tests/lint/test_options.sh compares it with the parser. What --help
 * shows of an option is its first line, or the second if the first has no room for more than the name. A tab stands for the way to
 * where descriptions begin.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "vmm/cli/exit_status.h"
#include "vmm/cli/help.h"
#include "vmm/cli/options.h"
#include "vmm/cli/report.h"
#include "vmm/cli/suggest.h"

static const struct help_section {
	const char *topic;
	const char *text;
} sections[] = {
	{"kernel", "  --kernel FILE\tbzImage or vmlinux to boot\n"
		   "\t(default: one just built in this source tree of Linux, or\n"
		   "\tthe host's own)\n"
		   "  --initrd FILE\tinitial RAM disk (default none)\n"
		   "  --append TEXT\tadd to the built-in kernel command line (default nothing)\n"
		   "  --cmdline TEXT\treplace it (default: the built-in one, see vmm(1))\n"
		   "  --kaslr on|off\trandom addresses (default on; off with --gdb)\n"
		   "  --unpack on|off\tunpack the kernel, where vmm knows how (default on)\n"
		   "  --kernel-cache on|off\n"
		   "\tkeep unpacked kernels in ~/.cache/vmm (default on)\n"},
	{"disk",
	 "  --disk FILE[,ITEM]...\n"
	 "\timage or block device: vda, vdb, ... (default none)\n"
	 "      ,readonly\tthe guest cannot write (default: it can)\n"
	 "      ,overlay[=FILE]\tthe image stays as it is; what the guest writes ends with\n"
	 "\tthe machine, or is kept in FILE (default: no overlay)\n"
	 "      ,format=raw|qcow2\n"
	 "\twhat the image is (default raw)\n"
	 "      ,backing=FILE\timage behind a qcow2 image (default none)\n"
	 "      ,backing-format=raw|qcow2\n"
	 "\twhat that is (default raw)\n"
	 "      ,serial=ID\t1 to 20 bytes for the guest (default none)\n"
	 "      ,direct\tpast the host's page cache (default: through it)\n"
	 "      ,queues=N\trequest queues, 1 to 32 (default one for each CPU, but no\n"
	 "\tmore than I/O threads)\n"
	 "      ,iops=N ,bps=N\trequests and bytes a second (default no limit)\n"
	 "      ,iops-burst=N ,bps-burst=N\n"
	 "\tat once after a rest (default a tenth of a second's)\n"},
	{"net", "  --net tap=NAME|tap-fd=N|user[,ITEM]...\n"
		"\tnetwork card: eth0, eth1, ... (default none)\n"
		"      ,tap=NAME ,tap-fd=N\n"
		"\ton a TAP interface, by name or descriptor (default none)\n"
		"      ,user\ton passt(1), without rights (default: on a TAP)\n"
		"      ,forward=tcp|udp:HOST:GUEST\n"
		"\twith user: port of the host to the guest (default none)\n"
		"      ,mac=M\tEthernet address (default: a stable one of its own)\n"
		"      ,mtu=N\t68 to 65535, user to 65520 (default that, or TAP's)\n"
		"      ,queues=N\twith tap=: pairs of queues, 1 to 16 (default one for each\n"
		"\tCPU, if the interface has them)\n"
		"      ,vhost=on|off\twith a TAP: served by the host's kernel (default: on when\n"
		"\tit can and there is no limit)\n"
		"      ,rx-bps=N ,rx-pps=N ,tx-bps=N ,tx-pps=N\n"
		"\tbytes and packets a second to the guest (rx) and from it\n"
		"\t(tx) (default no limit)\n"
		"      ,rx-bps-burst=N ,rx-pps-burst=N ,tx-bps-burst=N ,tx-pps-burst=N\n"
		"\tat once after a rest (default a tenth of a second's)\n"
		"  --vsock cid=N,socket=PATH\n"
		"\tsockets between guest and host, AF_VSOCK (default none)\n"
		"      ,cid=N\tthe guest's address, 3 to 4294967294 (required)\n"
		"      ,socket=PATH\tunix socket of the host to make (required)\n"},
	{"memory",
	 "  --memory SIZE[,ITEM]...\n"
	 "\tguest memory, such as 512M or 4G (default 256M)\n"
	 "      ,hugepages=thp|off|2M|1G\n"
	 "\ton huge pages where the host has them at hand (thp),\n"
	 "\tnever, or on those that were set aside (default thp)\n"
	 "      ,prefault\tall of it at the start (default: as the guest uses it)\n"
	 "      ,shared\tin a file that others can map (default: private)\n"
	 "  --balloon on|off\tgive memory that the guest frees to the host (default on)\n"},
	{"machine",
	 "  --cpus N\tvirtual CPUs, 1 to 254 (default 1)\n"
	 "  --io-threads N\tthreads that serve the devices, 1 to 32\n"
	 "\t(default one for each disk, card and vsock, no more than\n"
	 "\tthe host's CPUs)\n"
	 "  --rng on|off\tentropy source (default on)\n"
	 "  --gdb PORT|PATH\tport or unix socket by which gdb debugs (default none)\n"
	 "      ,wait\tstand at the first instruction (default: run)\n"
	 "  --transport pci|mmio\thow the guest finds its devices (default pci)\n"
	 "  --tables acpi|dtb\tACPI tables or a device tree (default acpi)\n"
	 "\tthat tell of the machine; the tree is for kernels with\n"
	 "\tCONFIG_OF\n"
	 "  --dump-dtb FILE\twrite the machine's device tree to FILE, and do not start\n"
	 "\t(default: start)\n"
	 "  --dump-guest FILE\tan ELF core of a guest that crashed or hung, or by a key\n"
	 "\t(default none)\n"
	 "  --timeout SECONDS\tend the machine then, with status 124 (default never)\n"},
	{"console",
	 "  --console [virtio,]stdio|none|file=FILE|pty|socket=PATH\n"
	 "\twhere the console goes (default stdio; a command: none)\n"
	 "\tby the serial port, or by hvc0 with virtio, which is faster\n"
	 "  --log-level error|warn|info|debug\n"
	 "\tleast important messages to show (default warn)\n"
	 "Keys: Ctrl-A x ends the machine, Ctrl-A d shows what its vCPUs do, c dumps the\n"
	 "guest (--dump-guest), b sends a break, h lists the keys, Ctrl-A sends Ctrl-A.\n"
	 "A command has other keys: vmm help command. Two commas in a name that items may\n"
	 "follow stand for one.\n"},
	{"command",
	 "  --root DIR|IMAGE[,ITEM]...\n"
	 "\ta command's root (default the initrd, else this host's)\n"
	 "\ta directory, an image of ext4, squashfs or erofs, or a\n"
	 "\tcontainer image: docker-archive:FILE[:NAME],\n"
	 "\toci-archive:FILE[:TAG] or oci:DIR[:TAG], which runs its own\n"
	 "\tcommand unless there is one; what is written there ends\n"
	 "\twith the machine\n"
	 "      ,rw\tkeep what is written, in the image or the directory\n"
	 "\t(default: it ends with the machine)\n"
	 "      ,shared\tvmm serves the directory (default: unless it is small)\n"
	 "      ,packed\tit goes into guest memory (default: if it is small)\n"
	 "      ,mounts\tpacked, with what is mounted below it (default without)\n"
	 "  --share DIR:PATH\ta directory of this host in the guest (default none)\n"
	 "\tat PATH, to be written; DIR:PATH:ro to be read alone\n"
	 "\t(default :rw); mounted for a command, else virtiofs with\n"
	 "\tthe tag PATH without its slash; may be repeated\n"
	 "      ,cache=auto|always|never\n"
	 "\twhat the guest keeps in mind: for a second, for long,\n"
	 "\tor not at all (default auto)\n"
	 "  --image-cache DIR\tkeep container images there (default ~/.cache/vmm/images)\n"
	 "      ,size=SIZE\thow much of them (default 16G)\n"
	 "  --env NAME[=VALUE]\ta variable for the command, or one of yours\n"
	 "\t(default: your language and terminal alone; may be\n"
	 "\trepeated)\n"
	 "  --boot-timeout SEC\thow long a guest may be silent before its command starts\n"
	 "\t(default 10; 0: without end)\n"
	 "  --events FILE|fd=N\ta line of JSON for each step (default none)\n"
	 "On a terminal, Ctrl-] three times within a second ends a guest that hangs; Ctrl-]\n"
	 "twice and d shows what its vCPUs are doing, and c dumps it (--dump-guest).\n"},
	{"sandbox", "  --sandbox on|off|strict\n"
		    "\tgive up what is not needed before the guest runs\n"
		    "\tas far as this host can, never, or wholly (default on)\n"
		    "  --user NAME|UID[:GID]\n"
		    "\twith root rights: run as this user\n"
		    "\t(default: stay root, without capabilities)\n"},
	{"status",
	 "Exit status: 0 powered off or rebooted, 123 crashed, 124 timed out, 125 vmm\n"
	 "could not, 128+N ended by signal N; or the command's own, 127 not found, 126 not\n"
	 "executable.\n"
	 "Signals: SIGTERM and SIGINT press the power button, and end the machine after\n"
	 "10 s; a second one, or SIGHUP, at once. A command gets them. Upon SIGUSR1 the\n"
	 "sizes of disks are looked at again.\n"},
	{"image", "vmm image [--image-cache DIR[,size=SIZE]] COMMAND\n"
		  "  ls\tthe container images that are kept, and when they were used\n"
		  "  du\thow much room they take\n"
		  "  rm NAME|DIGEST...\tremove some, as ls shows them\n"
		  "  prune [SIZE]\tremove those not used lately, until SIZE is left (default 0);\n"
		  "\tmachines keep what they use\n"
		  "  build DIR|IMAGE FILE\tmake FILE for --root or --disk; its name ends with\n"
		  "\t.squashfs, or for a directory also with .erofs or .ext4\n"
		  "IMAGE is what --root takes, such as docker-archive:FILE by docker save.\n"},
	{"doctor",
	 "vmm doctor [--kernel FILE] [--json]\n"
	 "Looks whether virtual machines will run well on this host, and whether the\n"
	 "kernel has what a guest needs. Each finding is ok, warn (something is slower or\n"
	 "not possible) or fail, with what to type to mend it. Exit status: 0 without a\n"
	 "fail, 1 with one, 125 bad usage.\n"},
};

#define HELP_COLUMN 23 /* where descriptions begin */
#define N_SECTIONS  (sizeof(sections) / sizeof(sections[0]))

static const char usage[] =
	"usage: vmm [OPTION]... [-- COMMAND [ARGUMENT]...]\n"
	"       vmm doctor [--kernel FILE] [--json], vmm image COMMAND, vmm help [TOPIC]\n"
	"Boots Linux in a virtual machine, or runs one command there as if it ran here.\n"
	"\n";

/* ---- what --help shows of a section ---- */

static const char *help_next_line(const char *line)
{
	return strchr(line, '\n') + 1;
}

/* NULL: the line ends with the option's name and value, or has none. */
static const char *help_tab(const char *line)
{
	return memchr(line, '\t', (size_t)(help_next_line(line) - line));
}

static void help_print_line(const char *line)
{
	const char *tab = help_tab(line);

	if (tab) {
		printf("%-*.*s", HELP_COLUMN, (int)(tab - line), line);
		line = tab + 1;
	}
	fwrite(line, 1, (size_t)(help_next_line(line) - line), stdout);
}

static void help_print(const char *text)
{
	for (const char *line = text; *line; line = help_next_line(line))
		help_print_line(line);
}

static void help_print_brief(const char *text)
{
	for (const char *line = text; *line; line = help_next_line(line)) {
		if (strncmp(line, "  --", 4) != 0)
			continue;
		help_print_line(line);
		if (!help_tab(line))
			help_print_line(help_next_line(line));
	}
}

static void help_print_topics(void)
{
	for (size_t i = 0; i < N_SECTIONS; i++)
		printf(" %s", sections[i].topic);
}

void options_print_help(void)
{
	fputs(usage, stdout);
	for (size_t i = 0; i < N_SECTIONS; i++)
		help_print_brief(sections[i].text);
	fputs("  --help, --version    print and end\n"
	      "\n"
	      "Ctrl-A x ends the machine, Ctrl-] three times that of a command. The manual is\n"
	      "vmm(1). More is told by vmm help OPTION and by vmm help with one of\n",
	      stdout);
	help_print_topics();
	fputs(" all\n", stdout);
}

/* ---- topics ---- */

/* Words that are looked for elsewhere. */
static const char *const help_aliases[][2] = {
	{"exit", "status"}, {"signals", "status"}, {"keys", "console"}};

/* The line of an option of this name, or NULL. */
static const char *help_find_option(const struct help_section *s, const char *name)
{
	size_t len = strlen(name);

	for (const char *line = s->text; *line; line = help_next_line(line)) {
		if (strncmp(line, "  --", 4) == 0 && strncmp(line + 4, name, len) == 0 &&
		    line[4 + len] == ' ')
			return line;
	}
	return NULL;
}

/* With what belongs to it. */
static void help_print_option(const char *line)
{
	do {
		help_print_line(line);
		line = help_next_line(line);
	} while ((*line == ' ' || *line == '\t') && strncmp(line, "  --", 4) != 0);
}

static int help_refuse(const char *topic)
{
	struct suggestion s = suggest_begin(topic);

	for (size_t i = 0; i < N_SECTIONS; i++)
		suggest_try(&s, sections[i].topic);
	if (s.name)
		report("there is no help on '%s'; did you mean '%s'?", topic, s.name);
	else
		report("there is no help on '%s'; see vmm --help", topic);
	return EXIT_STATUS_FAILED;
}

int help_topic(const char *topic)
{
	const char *name = topic ? topic + strspn(topic, "-") : "";
	bool found = false;

	if (!topic) {
		options_print_help();
		return 0;
	}
	for (size_t i = 0; i < 3; i++)
		topic = strcmp(topic, help_aliases[i][0]) == 0 ? help_aliases[i][1] : topic;
	for (size_t i = 0; i < N_SECTIONS; i++) {
		const struct help_section *s = &sections[i];
		const char *option = *name ? help_find_option(s, name) : NULL;

		if (strcmp(topic, "all") == 0 || strcmp(topic, s->topic) == 0)
			help_print(s->text);
		else if (option)
			help_print_option(option);
		else
			continue;
		found = true;
	}
	return found ? 0 : help_refuse(topic);
}
