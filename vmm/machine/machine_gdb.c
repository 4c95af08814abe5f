/* The debugger's socket and thread. */
#include "vmm/machine/machine_gdb.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/core/descriptor.h"
#include "vmm/machine/machine.h"

#define MACHINE_GDB_RETRY_MS 100 /* after the host ran out of something */

/* In gdb's numbers. */
#define GDB_SIGNAL_ABRT 6
#define GDB_SIGNAL_TERM 15

_Static_assert(GDB_MAX_CPUS >= MACHINE_MAX_VCPUS, "each vCPU is a thread");

/* ---- struct gdb_target ---- */

static void machine_gdb_kill(void *arg)
{
	struct machine_gdb *gdb = arg;

	machine_end(gdb->machine, MACHINE_END_DEBUGGER);
}

static int machine_gdb_read_registers(void *arg, unsigned int cpu, struct gdb_registers *registers)
{
	struct machine_gdb *gdb = arg;

	return vcpu_debug_read(&gdb->machine->vcpus[cpu], registers);
}

static int machine_gdb_write_registers(void *arg, unsigned int cpu,
				       const struct gdb_registers *registers)
{
	struct machine_gdb *gdb = arg;

	return vcpu_debug_write(&gdb->machine->vcpus[cpu], registers);
}

static const char *machine_gdb_describe(void *arg, unsigned int cpu)
{
	struct machine_gdb *gdb = arg;
	struct kvm_mp_state state = {0};

	ioctl(gdb->machine->vcpus[cpu].fd, KVM_GET_MP_STATE, &state);
	switch (state.mp_state) {
	case KVM_MP_STATE_RUNNABLE:
		return "running";
	case KVM_MP_STATE_HALTED:
		return "halted";
	default:
		return "not started";
	}
}

/* There is never more on its way than an answer, so who has no room for it does not read at all. */
static void machine_gdb_send(void *arg, const void *bytes, size_t len)
{
	struct machine_gdb *gdb = arg;

	if (!gdb->lost &&
	    send(gdb->client, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len)
		gdb->lost = true;
}

/* ---- the thread ---- */

static void machine_gdb_hang_up(struct machine_gdb *gdb)
{
	gdb_server_disconnect(&gdb->server);
	descriptor_hang_up(gdb->client);
	gdb->client = -1;
}

static void machine_gdb_accept(struct machine_gdb *gdb)
{
	gdb->client = accept4(gdb->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	gdb->lost = false;
	if (gdb->client >= 0) {
		gdb->short_of = false;
		gdb_server_connect(&gdb->server);
	} else if (errno != EAGAIN && errno != ECONNABORTED) {
		if (!gdb->short_of)
			log_warn("gdb has to wait: %m");
		gdb->short_of = true;
		poll(NULL, 0, MACHINE_GDB_RETRY_MS);
	}
}

static void machine_gdb_receive(struct machine_gdb *gdb)
{
	uint8_t bytes[GDB_PACKET_MAX];
	ssize_t n = recv(gdb->client, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n > 0)
		gdb_server_input(&gdb->server, bytes, (size_t)n);
	if (gdb->lost || n == 0 || (n < 0 && errno != EAGAIN))
		machine_gdb_hang_up(gdb);
}

static void machine_gdb_tell_end(struct machine_gdb *gdb)
{
	switch (machine_end_reason(gdb->machine)) {
	case MACHINE_END_POWER_OFF:
	case MACHINE_END_REBOOT:
		gdb_server_ended(&gdb->server, 0, 0);
		break;
	case MACHINE_END_CRASH:
	case MACHINE_END_FAILED:
		gdb_server_ended(&gdb->server, GDB_SIGNAL_ABRT, 0);
		break;
	default:
		gdb_server_ended(&gdb->server, GDB_SIGNAL_TERM, 0);
	}
}

static void *machine_gdb_thread(void *arg)
{
	struct machine_gdb *gdb = arg;
	eventfd_t count;

	/* acquire: pairs with the release in machine_end_gdb() */
	while (!atomic_load_explicit(&gdb->ending, memory_order_acquire)) {
		struct pollfd fds[2] = {
			{.fd = gdb->wake, .events = POLLIN},
			{.fd = gdb->client >= 0 ? gdb->client : gdb->listener, .events = POLLIN}};

		poll(fds, 2, -1);
		if (fds[0].revents) {
			eventfd_read(gdb->wake, &count);
			machine_gdb_look(gdb);
			if (gdb->lost && gdb->client >= 0)
				machine_gdb_hang_up(gdb);
		}
		/* What was ready may be closed by now. */
		if (fds[1].revents && fds[1].fd == gdb->listener)
			machine_gdb_accept(gdb);
		else if (fds[1].revents && gdb->client >= 0)
			machine_gdb_receive(gdb);
	}
	machine_gdb_tell_end(gdb);
	machine_gdb_hang_up(gdb);
	return NULL;
}

/* ---- the socket ---- */

static int machine_gdb_bind(struct machine_gdb *gdb)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_port = htons(gdb->port),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int on = 1;

	if (!gdb->port)
		return kept_name_listen(&gdb->made, gdb->listener, gdb->where, 1);
	/* What is accepted inherits the second. */
	if (setsockopt(gdb->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(gdb->listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
	    bind(gdb->listener, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(gdb->listener, 1) < 0)
		return -errno;
	return 0;
}

int machine_listen_gdb(struct machine *machine)
{
	struct machine_gdb *gdb = machine->gdb;
	int err = 0;

	if (!gdb)
		return 0;
	gdb->listener = socket(gdb->port ? AF_INET : AF_UNIX,
			       SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	err = gdb->listener < 0 ? -errno : machine_gdb_bind(gdb);
	if (err < 0)
		log_error("cannot listen for gdb on '%s': %s%s", gdb->where, strerror(-err),
			  err == -EADDRINUSE && !gdb->port
				  ? " (somebody listens on it, or it is no socket)"
				  : "");
	return err;
}

/* ---- life ---- */

/* A number is a port, all else a path. */
static bool machine_gdb_parse(struct machine_gdb *gdb)
{
	char *end;
	unsigned long long port = strtoull(gdb->where, &end, 10);

	if (gdb->where[0] < '0' || gdb->where[0] > '9' || *end)
		return true;
	gdb->port = (uint16_t)port;
	if (port >= 1 && port <= UINT16_MAX)
		return true;
	log_error("gdb: port %s is not from 1 to %u", gdb->where, UINT16_MAX);
	return false;
}

static const struct gdb_target machine_gdb_ops = {.stop = machine_gdb_stop,
						  .resume = machine_gdb_resume,
						  .release = machine_gdb_release,
						  .kill = machine_gdb_kill,
						  .read_registers = machine_gdb_read_registers,
						  .write_registers = machine_gdb_write_registers,
						  .read_memory = machine_gdb_read_memory,
						  .write_memory = machine_gdb_write_memory,
						  .insert = machine_gdb_insert,
						  .remove = machine_gdb_remove,
						  .describe = machine_gdb_describe,
						  .send = machine_gdb_send};

int machine_make_gdb(struct machine *machine, const struct machine_config *config)
{
	struct machine_gdb *gdb;
	int err;

	if (!config->gdb)
		return 0;
	gdb = calloc(1, sizeof(*gdb));
	if (!gdb)
		return log_no_memory();
	machine->gdb = gdb;
	gdb->machine = machine;
	gdb->n_cpus = machine->n_vcpus;
	gdb->waits = config->gdb_wait;
	gdb->listener = -1;
	gdb->client = -1;
	gdb->instruction = vcpu_debug_has_int3() ? MACHINE_GDB_INT3 : MACHINE_GDB_IN;
	gdb->made = (struct kept_name)KEPT_NAME_NONE;
	gdb_server_init(&gdb->server, &machine_gdb_ops, gdb, gdb->n_cpus);
	for (unsigned int i = 0; i < gdb->n_cpus; i++)
		gdb->cpus[i].action = GDB_ACTION_RUN;
	gdb->where = strdup(config->gdb);
	gdb->wake = gdb->where ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
	err = !gdb->where ? -ENOMEM : gdb->wake < 0 ? -errno : 0;
	if (err < 0) {
		log_failure(err, "gdb");
	} else if (!vcpu_debug_available(&machine->vm, &gdb->debug.quiet)) {
		log_error("gdb: this host's KVM cannot debug guests (KVM_SET_GUEST_DEBUG)");
		err = -ENOTSUP;
	} else if (!machine_gdb_parse(gdb)) {
		err = -EINVAL;
	}
	if (err < 0)
		machine_undo_gdb(machine);
	return err;
}

int machine_start_gdb(struct machine *machine)
{
	struct machine_gdb *gdb = machine->gdb;
	int err;

	if (!gdb)
		return 0;
	if (gdb->waits) {
		machine_gdb_begin_standing(gdb);
		log_warn("the machine waits for gdb: target remote %s%s", gdb->port ? ":" : "",
			 gdb->where);
	}
	err = thread_start(&gdb->thread, "vmm-gdb", machine_gdb_thread, gdb,
			   machine_rights(machine, FILTER_GDB));
	gdb->started = err == 0;
	if (err < 0)
		log_failure(err, "cannot start the thread for gdb");
	return err;
}

void machine_end_gdb(struct machine *machine)
{
	if (!machine->gdb)
		return;
	atomic_store_explicit(&machine->gdb->ending, true, memory_order_release);
	eventfd_write(machine->gdb->wake, 1);
}

const struct kept_name *machine_gdb_made(const struct machine *machine)
{
	return machine->gdb ? &machine->gdb->made : NULL;
}

void machine_undo_gdb(struct machine *machine)
{
	struct machine_gdb *gdb = machine->gdb;

	if (!gdb)
		return;
	machine_end_gdb(machine);
	if (gdb->started)
		pthread_join(gdb->thread, NULL);
	/* Its port can be taken again, whoever has a copy. */
	descriptor_hang_up(gdb->listener);
	kept_name_remove(&gdb->made);
	kept_name_close(&gdb->made);
	if (gdb->wake >= 0)
		close(gdb->wake);
	free(gdb->where);
	free(gdb);
	machine->gdb = NULL;
}
