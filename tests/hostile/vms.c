#define _GNU_SOURCE
#include "vms.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process.h"

#define ANSWER_MS 20000

/* ---- making ---- */

static void make_pipes(struct machine *m)
{
	int in[2], out[2];

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0) {
		failed("no pipes: %s", strerror(errno));
		exit(1);
	}
	*m = (struct machine){.in = in[1], .out = out[0], .far = {in[0], out[1]}};
	fcntl(m->in, F_SETFL, O_NONBLOCK);
	fcntl(m->out, F_SETFL, O_NONBLOCK);
}

static void start(struct machine *m, struct vmm_config *config)
{
	int err;

	config->memory = VM_MEMORY;
	config->console_in = m->far[0];
	config->console_out = m->far[1];
	err = vmm_create(config, &m->vm);
	if (err == 0)
		err = vmm_start(m->vm);
	if (err == 0)
		return;
	failed("cannot start a machine: %s", strerror(-err));
	log_show();
	exit(1);
}

/* In the place's directory. */
static char *file(const struct place *place, const char *name, const char *suffix)
{
	char *path;

	if (asprintf(&path, "%s/%s%s", place->dir, name, suffix) < 0)
		abort();
	return path;
}

/* What lies in a file of its own, in one that all share, and in one with a limit; or what a format says. Returns how many. */
static unsigned int choose_disks(struct vmm_disk *disks, const struct place *place,
				 const char *name)
{
	if (!place->images) {
		disks[0] = (struct vmm_disk){
			.path = file(place, name, ".raw"), .serial = "hostile", .queues = 2};
		disks[1] = (struct vmm_disk){.path = file(place, "base", ""), .overlay = true};
		disks[2] = (struct vmm_disk){
			.path = file(place, name, ".limited"), .iops = 50000, .bps = 500000000};
		return 3;
	}
	disks[0] = (struct vmm_disk){.path = file(place, "base", ".qcow2"),
				     .serial = "hostile",
				     .format = VMM_DISK_QCOW2,
				     .backing = file(place, "base", ""),
				     .overlay = true,
				     .overlay_file = file(place, name, ".first"),
				     .queues = 2};
	disks[1] = (struct vmm_disk){.path = file(place, "base", ""),
				     .overlay = true,
				     .overlay_file = file(place, name, ".second"),
				     .queues = 2};
	disks[2] = (struct vmm_disk){.path = file(place, "packed", ".qcow2"),
				     .format = VMM_DISK_QCOW2,
				     .readonly = true};
	return 3;
}

void hostile_start(struct machine *m, const struct place *place, const char *theme,
		   const char *name)
{
	struct vmm_disk disks[3];
	struct vmm_net net = {.user = !place->tap,
			      .tap = place->tap,
			      .vhost = place->vhost ? VMM_VHOST_ON : VMM_VHOST_OFF};
	struct vmm_vsock vsock = {.cid = 3, .path = file(place, name, ".vsock")};
	struct vmm_share shares[] = {
		{.path = file(place, "readable", ""), .tag = "readable"},
		{.path = file(place, "writable", ""), .tag = "writable", .writable = true},
	};
	struct vmm_config config;
	char cmdline[128];

	snprintf(cmdline, sizeof(cmdline), "theme=%s seed=%llu rounds=%u vhost=%u", theme,
		 (unsigned long long)place->seed, place->rounds, (unsigned int)place->vhost);
	make_pipes(m);
	vmm_config_init(&config);
	config.kernel = place->guest;
	config.cmdline = cmdline;
	config.cpus = place->cpus;
	config.disks = disks;
	config.n_disks = choose_disks(disks, place, name);
	config.nets = &net;
	config.n_nets = 1;
	config.vsock = &vsock;
	config.shares = shares;
	config.n_shares = 2;
	config.console_virtio = strcmp(theme, "serial") !=
				0; /* what is typed goes to one of the two */
	config.mmio_transport = place->mmio;
	start(m, &config);
	for (unsigned int i = 0; i < config.n_disks; i++) {
		free((void *)(uintptr_t)disks[i].path);
		free((void *)(uintptr_t)disks[i].backing);
		free((void *)(uintptr_t)disks[i].overlay_file);
	}
	free((void *)(uintptr_t)vsock.path);
	free((void *)(uintptr_t)shares[0].path);
	free((void *)(uintptr_t)shares[1].path);
}

void healthy_start(struct machine *m, const struct place *place, const char *theme)
{
	char base[256], cmdline[128];
	const struct vmm_disk disk = {.path = base, .readonly = true};
	struct vmm_config config;

	snprintf(base, sizeof(base), "%s/base", place->dir);
	snprintf(cmdline, sizeof(cmdline), "theme=%s", theme);
	make_pipes(m);
	vmm_config_init(&config);
	config.kernel = place->guest;
	config.cmdline = cmdline;
	config.disks = &disk;
	config.n_disks = 1;
	config.mmio_transport = place->mmio;
	start(m, &config);
}

void machine_destroy(struct machine *m)
{
	vmm_destroy(m->vm);
	close(m->in);
	close(m->out);
	close(m->far[0]);
	close(m->far[1]);
}

bool machine_ended(const struct machine *m, enum vmm_end *end)
{
	return vmm_wait(m->vm, 0, end) == 0;
}

/* ---- talking ---- */

static void take_line(struct machine *m)
{
	m->line[m->len] = '\0';
	m->len = 0;
	if (m->line[0] != '=')
		return;
	snprintf(m->last, sizeof(m->last), "%s", m->line + 1);
	if (strncmp(m->last, "ok ", 3) == 0)
		m->ok++;
	else if (strncmp(m->last, "FAIL ", 5) == 0)
		failed("the guest says: %s", m->last + 5);
	else if (strcmp(m->last, "quiet") == 0)
		m->quiet = true;
	if (getenv("VERBOSE"))
		fprintf(stderr, "\tguest: %s\n", m->last);
}

static void take_byte(struct machine *m, char c)
{
	if (c == '\n')
		take_line(m);
	else if (m->len < sizeof(m->line) - 1)
		m->line[m->len++] = c;
}

void machine_listen(struct machine *m, int timeout_ms)
{
	struct pollfd pfd = {.fd = m->out, .events = POLLIN};
	char buf[4096];
	ssize_t n;

	if (poll(&pfd, 1, timeout_ms) != 1)
		return;
	n = read(m->out, buf, sizeof(buf));
	for (ssize_t i = 0; i < n; i++)
		take_byte(m, buf[i]);
	m->bytes += n > 0 ? (uint64_t)n : 0;
}

void machine_feed(struct machine *m)
{
	static const char noise[] = "input without end \x01\x03\x04\x1a\x7f\xff";
	ssize_t n = write(m->in, noise, sizeof(noise));

	(void)n; /* it is full most of the time */
}

unsigned int healthy_ask(struct machine *m)
{
	static unsigned int number;
	uint64_t since = now_ms();
	unsigned int answer = 0, reads = 0, bad = 0;
	char line[16];

	snprintf(line, sizeof(line), "%u\n", ++number);
	if (write(m->in, line, strlen(line)) < 0)
		failed("the sibling takes no input: %s", strerror(errno));
	while (now_ms() - since < ANSWER_MS) {
		machine_listen(m, 100);
		if (sscanf(m->last, "alive %u %u %u", &answer, &reads, &bad) == 3 &&
		    answer == number)
			break;
	}
	if (answer != number)
		failed("the sibling does not answer any more; it said: %s", m->last);
	if (bad > 0)
		failed("the sibling has read %u sectors wrong", bad);
	return reads;
}
