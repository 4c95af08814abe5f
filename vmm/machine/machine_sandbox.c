/* What the machine's threads, and its process, give up before the guest runs. */
#include "vmm/machine/machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/sandbox/confine.h"

static const struct machine_rights *machine_rights_of(const struct thread_rights *rights)
{
	return (const struct machine_rights *)rights;
}

/* ---- the gate ----
 *
 * Threads share their memory: a guest that breaks out of the first vCPU must not find another thread that can do more. So no
 * vCPU runs before all have their filters.
 */

static void machine_pass(struct machine *machine, bool ok)
{
	pthread_mutex_lock(&machine->gate_lock);
	machine->gate_awaited--;
	machine->gate_shut = machine->gate_shut || !ok;
	if (machine->gate_awaited == 0 || machine->gate_shut)
		pthread_cond_broadcast(&machine->gate_changed);
	pthread_mutex_unlock(&machine->gate_lock);
}

/* Returns whether the guest may run. */
static bool machine_wait_gate(struct machine *machine)
{
	bool open;

	pthread_mutex_lock(&machine->gate_lock);
	while (machine->gate_awaited > 0 && !machine->gate_shut)
		pthread_cond_wait(&machine->gate_changed, &machine->gate_lock);
	open = !machine->gate_shut;
	pthread_mutex_unlock(&machine->gate_lock);
	return open;
}

void machine_shut_gate(struct machine *machine)
{
	machine->gate_awaited = 1; /* the owner */
}

void machine_bar_gate(struct machine *machine)
{
	pthread_mutex_lock(&machine->gate_lock);
	machine->gate_shut = true;
	pthread_cond_broadcast(&machine->gate_changed);
	pthread_mutex_unlock(&machine->gate_lock);
}

/* ---- filters ---- */

/* Threads that are started when there is work for them, which the guest does not wait for. */
static bool machine_comes_later(enum filter_kind kind)
{
	return kind == FILTER_DISK || kind == FILTER_FS_IO;
}

/* For the calling thread. Returns 0, or negative errno after a message if that ends the machine. */
static int machine_filter(struct machine *machine, enum filter_kind kind)
{
	int err;

	/* The starter of those that come later has done so before. */
	if (machine->owners && kind != FILTER_FS_WRITE && !machine_comes_later(kind))
		confine_drop_capabilities();
	/* Its filter allows to take one, which is for what machine_confine() has left, not for what a program may have kept back. */
	else if (!machine->owners && kind == FILTER_FS_WRITE)
		confine_settle_capabilities();
	err = filter_install(kind);
	if (err == 0)
		return 0;
	if (machine->sandbox != MACHINE_SANDBOX_STRICT) {
		log_warn("sandbox: a thread has no filter of system calls: %s", strerror(-err));
		return 0;
	}
	return log_failure(err, "sandbox: cannot filter a thread's system calls");
}

/* On the new thread. A loop goes on in any case, for the machine's end needs it; a vCPU does not. */
static bool machine_drop(const struct thread_rights *rights)
{
	const struct machine_rights *r = machine_rights_of(rights);
	struct machine *machine = r->machine;
	int err = machine_filter(machine, r->kind);

	if (!machine_comes_later(r->kind))
		machine_pass(machine, err == 0);
	if (err < 0)
		machine_end(machine, MACHINE_END_FAILED);
	return r->kind != FILTER_VCPU || machine_wait_gate(machine);
}

int machine_open_gate(struct machine *machine)
{
	int err = 0;

	if (machine->filtered && machine->owner_filtered)
		err = machine_filter(machine, FILTER_OWNER);
	machine_pass(machine, err == 0);
	return err;
}

int machine_init_rights(struct machine *machine, const struct machine_config *config)
{
	bool strict = config->sandbox == MACHINE_SANDBOX_STRICT;
	void (*tell)(const char *fmt, ...) = strict ? log_error : log_warn;
	int err = filter_available();

	machine->mounts = -1;
	machine->sandbox = config->sandbox;
	machine->has_storage = config->n_disks > 0 || config->n_shares > 0;
	for (unsigned int i = 0; i < FILTER_KINDS; i++)
		machine->rights[i] = (struct machine_rights){.rights.drop = machine_drop,
							     .machine = machine,
							     .kind = (enum filter_kind)i};
	if (config->sandbox == MACHINE_SANDBOX_OFF)
		return 0;
	machine->filtered = err == 0;
	/* The strongest layer; but who builds with a sanitizer knows. */
	if (err == 0 || (filter_is_sanitized() && !strict))
		return 0;
	tell("sandbox: no filters of system calls: %s",
	     err == -ENOTSUP ? "this vmm was built without libseccomp" : strerror(-err));
	return strict ? err : 0;
}

const struct thread_rights *machine_rights(struct machine *machine, enum filter_kind kind)
{
	if (!machine->filtered)
		return NULL;
	if (!machine_comes_later(kind)) {
		pthread_mutex_lock(&machine->gate_lock);
		machine->gate_awaited++;
		pthread_mutex_unlock(&machine->gate_lock);
	}
	return &machine->rights[kind].rights;
}

int machine_start_starter(struct machine *machine)
{
	int err;

	if (!machine->filtered || !machine->has_storage)
		return 0;
	err = thread_starter_start(&machine->starter, machine_rights(machine, FILTER_STARTER));
	if (err < 0)
		log_failure(err, "cannot start the thread that starts others");
	for (unsigned int i = 0; i < machine->n_io_loops && err == 0; i++) {
		machine->io_loops[i].starter = &machine->starter;
		machine->io_loops[i].started = machine_rights(machine, FILTER_DISK);
	}
	return err;
}

/* ---- the process ---- */

static struct machine_card *machine_find_sockets(const struct machine *machine)
{
	for (unsigned int i = 0; i < machine->n_cards; i++) {
		if (machine->cards[i]->socket_dir)
			return machine->cards[i];
	}
	return NULL;
}

/* The directories of all that is removed at the end. Returns how many. */
static unsigned int machine_list_made(const struct machine *machine,
				      const struct machine_confinement *c, int *dirs)
{
	const struct kept_name *gdb = machine_gdb_made(machine);
	unsigned int n = 0;

	if (gdb && gdb->dir >= 0)
		dirs[n++] = gdb->dir;
	for (unsigned int i = 0; i < c->n_remove_in; i++)
		dirs[n++] = c->remove_in[i];
	for (unsigned int i = 0; i < machine->n_cards; i++) {
		const struct kept_name *made = machine->cards[i]->made;

		if (made && made->dir >= 0)
			dirs[n++] = made->dir;
	}
	return n;
}

/* Returns how many. */
static unsigned int machine_list_trees(const struct machine *machine,
				       const struct confine_tree **trees)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < machine->n_cards; i++) {
		for (unsigned int j = 0; j < machine->cards[i]->n_trees; j++)
			trees[n++] = &machine->cards[i]->trees[j];
	}
	return n;
}

static void machine_tell_cards(struct machine *machine, const struct confine_result *result)
{
	for (unsigned int i = 0; i < machine->n_cards; i++) {
		if (machine->cards[i]->confined)
			machine->cards[i]->confined(machine->cards[i], result->alone);
	}
}

/* The guest's connections to the host need names, when all other names are given up. */
static void machine_check_sockets(const struct machine_card *sockets, bool moved)
{
	if (!moved)
		log_warn("sandbox: without an empty root a guest that breaks out could connect to "
			 "all unix sockets that its user can");
	if (access(moved ? "." : sockets->socket_dir, X_OK) < 0)
		log_warn("the guest's connections to the host will fail: cannot enter directory "
			 "'%s': %m",
			 sockets->socket_dir);
}

void machine_close_mounts(struct machine *machine)
{
	if (machine->mounts >= 0)
		close(machine->mounts);
	machine->mounts = -1;
}

int machine_confine(struct machine *machine, const struct machine_confinement *c)
{
	const struct confine_tree *trees[2 * MACHINE_MAX_SHARES];
	struct machine_card *sockets = machine_find_sockets(machine);
	struct confine_options options = {.strict = c->strict,
					  .change_user = c->change_user,
					  .uid = c->uid,
					  .gid = c->gid,
					  .still_open = c->still_open,
					  .socket_dir = sockets ? sockets->socket_dir : NULL};
	struct confine_result result;
	bool writes = false;
	int *dirs = calloc(machine->n_cards + c->n_remove_in + 1, sizeof(*dirs));
	int err;

	if (!dirs)
		return log_no_memory();
	machine->owner_filtered = c->starting_thread;
	options.remove_in = dirs;
	options.n_remove_in = machine_list_made(machine, c, dirs);
	options.trees = trees;
	options.n_trees = machine_list_trees(machine, trees);
	for (unsigned int i = 0; i < options.n_trees; i++)
		writes |= trees[i]->write;
	/* Those of directories are ones that others may wait for. */
	options.mounts = machine->quick_end && !sockets && options.n_trees == 0 &&
			 options.n_remove_in == 0;
	options.keep_owners = writes && machine->filtered && c->starting_thread;
	err = confine_process(&options, &result);
	free(dirs);
	if (err < 0)
		return err;
	machine->owners = result.kept;
	machine->mounts = result.mounts;
	if (options.n_trees > 0 && !(writes ? result.out_of_reach : result.hidden))
		log_warn("sandbox: without %s a guest that breaks out could reach files "
			 "outside of shared directories, as far as its user can",
			 result.missing);
	if (result.moved)
		sockets->sockets_moved(sockets);
	if (sockets)
		machine_check_sockets(sockets, result.moved);
	machine_tell_cards(machine, &result);
	log_info("sandbox: %s%s%s%s", result.held,
		 machine->filtered ? ", filters of system calls" : "",
		 result.missing[0] ? "; without " : "", result.missing);
	return 0;
}
