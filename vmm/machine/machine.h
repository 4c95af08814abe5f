/*
 * The computer: every part of it, how they are wired, how it starts and how it ends.
 *
 * This is the composition root: the only place that knows all parts. machine.c is the computer on one page;
 * machine_cards.c plugs in virtio devices, of which each kind has a file (machine_disk.c, machine_net.c); machine_boot.c loads the kernel and describes the machine
 * to it, machine_run.c starts and ends it.
 *
 * Threads: one for each vCPU; one for a debugger (machine_gdb.h); one event loop for the console, the power button and the ending; I/O threads, each with an
 * event loop, which share the queues of all virtio devices among themselves. See vmm/core/thread.h for their signals, vmm/sandbox/filter.h for what they may do. Any thread may call
 * those functions of which it is said below; all else is the owner's thread's, one at a time.
 *
 * The end: whoever finds it first (a vCPU, a console key, machine_stop()) records the reason and posts to the main
 * loop, which stops the vCPUs, writes the console out and then signals end_fd. No vCPU waits for another.
 *
 * Lock order: machine.lock -> pause.lock. The parts' locks are described in their headers.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "boot/kernel.h"
#include "devices/acpi_power.h"
#include "devices/cmos.h"
#include "devices/console.h"
#include "devices/i8042.h"
#include "devices/ioapic.h"
#include "devices/serial.h"
#include "virtio/net_limit.h"
#include "virtio/passt.h"
#include "virtio/virtio_mmio.h"
#include "virtio/virtio_pci.h"
#include "virtio/vsock.h"
#include "vmm/core/bus.h"
#include "vmm/core/evloop.h"
#include "vmm/core/guest_mem.h"
#include "vmm/core/kept_name.h"
#include "vmm/core/pci.h"
#include "vmm/machine/vcpu.h"
#include "vmm/machine/vm.h"
#include "vmm/sandbox/confine.h"
#include "vmm/sandbox/filter.h"

/* PCI has 31 slots beside the host bridge; more devices share slots as functions. */
#define MACHINE_MAX_CARDS	   48
#define MACHINE_MAX_DISKS_AND_NETS 32
#define MACHINE_MAX_IO_THREADS	   32
#define MACHINE_MAX_DISK_QUEUES	   32
#define MACHINE_MAX_E820	   (4 + GUEST_MEM_MAX_REGIONS)
#define MACHINE_MAX_VCPUS	   254 /* xAPIC ids are 0 to 253; 255 means all, and 254 is nobody's */
#define MACHINE_MAX_INITRD_PARTS   8
#define MACHINE_MAX_SHARES	   8
#define MACHINE_MIN_MEMORY	   (UINT64_C(2) << 20)

enum machine_end {
	MACHINE_END_NONE,
	MACHINE_END_POWER_OFF,
	MACHINE_END_REBOOT,
	MACHINE_END_CRASH,
	MACHINE_END_STOPPED,
	MACHINE_END_CONSOLE_KEY,
	MACHINE_END_FAILED,
	MACHINE_END_DEBUGGER,
};

struct machine_disk_config {
	const char *path;
	const char *serial; /* NULL: none */
	bool readonly;
	bool overlay;
	bool qcow2;
	bool backing_qcow2;
	const char *overlay_file; /* NULL: temporary */
	const char *backing;	  /* NULL: none */
	bool direct;
	unsigned int queues;	   /* 0: chosen by vCPUs and I/O threads */
	uint64_t iops, iops_burst; /* 0: no limit, and a default burst */
	uint64_t bps, bps_burst;
};

/* Whether the host's kernel serves a card on a TAP. */
enum machine_vhost {
	MACHINE_VHOST_AUTO, /* if it can */
	MACHINE_VHOST_ON,   /* or the machine is refused */
	MACHINE_VHOST_OFF,
};

struct machine_net_config {
	bool user;	 /* passt with these forwards; else a TAP */
	const char *tap; /* NULL: use tap_fd */
	int tap_fd;
	const uint8_t *mac;  /* NULL: derived */
	unsigned int mtu;    /* 0: the interface's, or passt's */
	unsigned int queues; /* pairs; 0: as many as vCPUs, if the TAP has them */
	enum machine_vhost vhost;
	const struct passt_forward *forwards;
	unsigned int n_forwards;
	struct net_limit_config rx_limit; /* zeros: none */
	struct net_limit_config tx_limit;
};

struct machine_vsock_config {
	uint32_t cid;
	const char *path; /* NULL: there are the ports alone */
	const struct virtio_vsock_port *ports;
	unsigned int n_ports;
};

/* A directory of the host; see struct vmm_share. */
struct machine_share_config {
	const char *path;
	const char *tag; /* by which the guest mounts it */
	bool writable;
	int cache; /* enum virtio_fs_cache */
};

/* A piece of the initrd that is no file; see struct vmm_initrd_part. */
struct machine_initrd_part {
	const char *name;
	struct boot_initrd_part part;
};

enum machine_sandbox {
	MACHINE_SANDBOX_ON, /* as far as this host has it */
	MACHINE_SANDBOX_OFF,
	MACHINE_SANDBOX_STRICT, /* whole, or the machine is refused */
};

/* Borrowed during machine_create(), but for the console's descriptors, which stay the caller's. */
struct machine_config {
	const char *kernel;
	const char *initrd;				/* NULL: none */
	const struct machine_initrd_part *initrd_parts; /* behind it */
	unsigned int n_initrd_parts;
	const char *cmdline; /* NULL: the built-in one */
	const char *append;  /* NULL: nothing */
	uint64_t memory;     /* bytes */
	struct guest_mem_options memory_options;
	unsigned int cpus;
	const struct machine_disk_config *disks;
	unsigned int n_disks;
	const struct machine_net_config *nets;
	unsigned int n_nets;
	unsigned int
		io_threads; /* 0: as many as disks, network cards and socket devices, up to the host's CPUs */
	const struct machine_vsock_config *vsock; /* NULL: none */
	const struct machine_share_config *shares;
	unsigned int n_shares;
	bool rng;
	bool balloon;
	bool console_virtio; /* hvc0 is the console; the serial port has the early messages alone */
	int console_socket; /* -1, or a socket that listens once the machine starts; then the other two are -1 */
	bool mmio_transport;	  /* virtio over MMIO, and no PCI */
	bool unpack;		  /* a compressed kernel, instead of the kernel itself */
	const char *kernel_cache; /* directory for unpacked kernels; NULL: none */
	bool quick_end;		  /* see vmm_config.quick_end */
	bool device_tree; /* describes the machine to the kernel, instead of ACPI and MP tables */
	bool kaslr;	  /* random addresses for the kernel */
	enum machine_sandbox sandbox; /* of the machine's threads; see also machine_confine() */
	const char *gdb;	      /* see vmm_config.gdb; NULL: no debugger */
	bool gdb_wait;
	int console_in;
	int console_out;
	bool console_keys;
	int dump_fd; /* for a dump of the guest by a key; -1: none; the caller's, as the console's */
};

/* What a process with this machine gives up besides; see vmm_confinement. */
struct machine_confinement {
	bool strict;
	bool change_user;
	uid_t uid;
	gid_t gid;
	bool starting_thread; /* so does the caller of machine_start(), by a filter */
	int still_open;
	const int *remove_in;
	unsigned int n_remove_in;
};

/* What the guest says of its memory, in bytes and counts; UINT64_MAX: nothing. */
struct machine_balloon_stats {
	uint64_t balloon; /* what it has given up */
	uint64_t total;
	uint64_t free;
	uint64_t available;
	uint64_t caches;
	uint64_t swap_in;
	uint64_t swap_out;
	uint64_t major_faults;
	uint64_t minor_faults;
};

struct machine;

/* A virtio device on its transport: the first member of each kind's own struct. */
struct machine_card {
	struct virtio_device *dev;
	union { /* as machine.mmio_transport says */
		struct {
			struct vm_msi msi;
			struct virtio_pci pci;
		};
		struct virtio_mmio mmio;
	};
	/* before the loops run, reports errors itself; NULL: nothing to do */
	int (*start)(struct machine_card *card);
	/* starts and ends the card's own thread; reports errors itself; NULL: it has none */
	int (*run)(struct machine_card *card, struct machine *machine);
	void (*halt)(struct machine_card *card);
	/* after machine_confine(), before any thread: what makes threads of the kernel's; as start */
	int (*own)(struct machine_card *card);
	void (*resized)(
		struct machine_card
			*card); /* main loop: its backing may have another size; NULL: none has */
	/* for machine_confine(); NULL: none */
	const struct kept_name *made;
	const char *socket_dir; /* where sockets will be connected to, on an I/O thread */
	void (*sockets_moved)(struct machine_card *card); /* it is the working directory now */
	const struct confine_tree *trees; /* directories in which something will be opened */
	unsigned int n_trees;
	void (*confined)(struct machine_card *card,
			 bool alone); /* alone: no other user than ours has a name here any more */
	void (*remove)(struct machine_card *card); /* undoes and frees the device */
};

/* What one kind of thread gives up when it starts. */
struct machine_rights {
	struct thread_rights rights;
	struct machine *machine;
	enum filter_kind kind;
};

struct machine {
	/* immutable after create */
	enum machine_sandbox sandbox;
	bool filtered; /* threads get filters */
	bool owners; /* the process has kept rights over shared files, which threads drop but those that write them */
	bool has_storage; /* disks or shared directories, whose slow work threads do */
	bool quick_end;
	int dump_fd; /* -1: none */
	int end_fd;  /* eventfd: the machine has ended and stopped */
	unsigned int n_vcpus;
	struct vcpu *vcpus;
	unsigned int n_io_loops;
	struct evloop *io_loops;
	bool mmio_transport;
	char *cmdline;
	gpa_t initrd;
	uint64_t initrd_size; /* 0: none */
	unsigned int n_cards;
	struct machine_balloon *balloon;	/* one of the cards; NULL: none */
	struct machine_console *virtio_console; /* the same */
	struct machine_gdb *gdb;		/* NULL: no debugger */
	/* from machine_begin_load() to machine_load() */
	int kernel_fd; /* -1: not open */
	int initrd_fd; /* the same */
	struct boot_job *boot_job;
	/* what was made so far, for machine_destroy() */
	unsigned int built;
	unsigned int next_io_loop; /* whose turn it is to get a queue */
	unsigned int n_user_nets;  /* cards on passt */
	/* owned by the main loop */
	unsigned int keys; /* pressed, for which the vCPUs are being paused */
	bool ending;	   /* the vCPUs were told */
	bool ended;	   /* end_fd was written to */
	/* owned by the owner's thread */
	bool prepared;
	bool started;
	bool owner_filtered; /* machine_start() filters its caller */
	int mounts; /* a descriptor of the mount namespace, from confine to start; -1: none */
	/* any thread */
	_Atomic int end; /* enum machine_end, set once */
	/* immutable after create, too: what is large is behind what is small, which takes shorter instructions to reach then */
	struct machine_rights rights[FILTER_KINDS];
	struct guest_mem mem;
	struct vm vm;
	struct bus ports;
	struct bus mmio;
	struct evloop loop;
	struct machine_card *cards[MACHINE_MAX_CARDS];
	struct vcpu_pause pause;       /* has its own locking */
	struct thread_starter starter; /* of the threads that wait for storage */
	/* devices, with their own locking */
	struct ioapic ioapic;
	struct serial serial;
	struct console console;
	struct i8042 i8042;
	struct cmos cmos;
	struct reset_port reset_port;
	struct acpi_power power;
	struct pci_bus pci;
	struct pci_function host_bridge;
	/* under lock: starting the vCPUs and stopping them exclude each other */
	pthread_mutex_t lock;
	bool stopped;
	/* under gate_lock: no vCPU enters the guest before all threads have their filters */
	pthread_mutex_t gate_lock;
	pthread_cond_t gate_changed;
	unsigned int gate_awaited; /* threads that have none yet */
	bool gate_shut;		   /* nobody enters any more */
	/* any thread */
	struct evloop_task end_task;
	struct evloop_task out_task; /* all vCPUs are out of the guest */
	struct evloop_task resize_task;
	struct log_limit log;
};

/*
 * Opens and builds everything and loads the kernel. Reports errors itself. Returns 0, or negative errno with
 * *machine NULL and nothing left behind.
 */
int machine_create(const struct machine_config *config, struct machine **machine);

/* What may still be refused, before anything runs. Once. Returns 0 or negative errno. */
int machine_prepare(struct machine *machine);

/* machine_prepare(), if that was not called, and starts the threads. Once. Returns 0 or negative errno. */
int machine_start(struct machine *machine);

/*
 * The whole process, which has one thread, gives up what this machine will not need (vmm/sandbox/confine.h). After
 * machine_prepare(), before machine_start(). Reports errors itself.
 */
int machine_confine(struct machine *machine, const struct machine_confinement *confinement);

/* Any thread. */
void machine_power_button(struct machine *machine);
void machine_stop(struct machine *machine);
/* Has the size of the disks' images looked at again, soon. */
void machine_disks_resized(struct machine *machine);

/*
 * Any thread, from create to destroy; machine_balloon_stats() waits for the guest. They report errors
 * themselves, but not that it does not answer (-EAGAIN, -ETIMEDOUT).
 */
int machine_balloon_set(struct machine *machine, uint64_t bytes);
int machine_balloon_stats(struct machine *machine, struct machine_balloon_stats *stats,
			  unsigned int timeout_ms);

/* Any thread, from create to destroy. The terminal behind the console has this size, in characters. */
void machine_console_resize(struct machine *machine, unsigned int rows, unsigned int columns);

/*
 * The device tree that describes the machine, whether the kernel was given it or not, to be freed; NULL when there is no
 * memory. Any thread, from create to destroy.
 */
void *machine_make_tree(const struct machine *machine, size_t *size);

/* Polls readable once the machine has ended, its vCPUs have stopped and the console was written out. Any thread. */
int machine_end_fd(const struct machine *machine);

/* MACHINE_END_NONE until then. Any thread. */
enum machine_end machine_end_reason(const struct machine *machine);

/* Where a vCPU was when the machine ended. Returns 0, -EAGAIN while it has not, or -ENOENT: there is none, or it was never started. The owner's thread. */
int machine_last_instruction(const struct machine *machine, unsigned int cpu, uint64_t *address);

/* Shows every vCPU's registers in the log, whatever its level. Waits until they have stopped. Any thread that has the rights, not a vCPU's. */
void machine_show_vcpus(struct machine *machine);

/* While all vCPUs are paused: tells a guest that uses KVM's clock that it has stood, so that its watchdogs do not bark. */
void machine_tell_stood(struct machine *machine);

/*
 * Writes the guest's memory and vCPUs into a regular file, from its start, as an ELF core; the vCPUs stop meanwhile. Reports errors
 * itself, and leaves the file empty then. One at a time, any thread that has the rights, not a vCPU's. Returns 0 or negative errno.
 */
int machine_dump_guest(struct machine *machine, int fd);

/*
 * The last n messages of the log of a Linux guest's kernel, to be freed, or NULL when its memory does not tell. Threads as above.
 */
char *machine_read_kernel_log(struct machine *machine, unsigned int n);

/* How long a vCPU has run, in ns. Returns 0, or -ENOENT while it does not. Any thread. */
int machine_cpu_time(struct machine *machine, unsigned int cpu, uint64_t *ns);

/* Of the file that the guest's memory is, when it is shared; else -1. The machine's. Any thread. */
int machine_memory_fd(const struct machine *machine);

/* Of the process's pages (pagemap.h), or -1. The machine's. Any thread. */
int machine_pagemap_fd(const struct machine *machine);

/* Ends the machine if it runs, and frees it. */
void machine_destroy(struct machine *machine);

/* ---- between machine.c and its neighbours ---- */

/* machine_check.c */
/* The arrays are as long as the counts say, within the bounds above, and what is required is there. Returns 0, or -EINVAL or -EBADF after a message
 * about what cannot be. */
int machine_check_config(const struct machine_config *config);
bool machine_net_is_limited(const struct machine_net_config *config);

/* machine_run.c. Any thread: the machine ends for this reason, unless it has ended already. */
void machine_end(struct machine *machine, enum machine_end reason);
/* What parts call when the machine ends; arg is the machine. On vCPU threads, but for keys, on the main loop. */
void machine_on_power_off(void *arg);
void machine_on_reset(void *arg);
void machine_on_triple_fault(void *arg);
void machine_on_failure(void *arg, unsigned int vcpu);
void machine_on_keys(void *arg, unsigned int pressed);
/*
 * The end, and what follows when the vCPUs are out of the guest. On the main loop, which never waits for a vCPU: one that resets a device on the MMIO
 * transport waits for the device's loop, which may be this one.
 */
void machine_on_end(void *arg);
void machine_on_out(void *arg);
/* On the owner's thread: the main loop goes on meanwhile. Idempotent. */
void machine_stop_vcpus(struct machine *machine);

/* machine_core_x86.c. While the vCPUs are paused: the registers of one that has the kernel's tables. False: none is in 64-bit mode. */
bool machine_find_kernel(const struct machine *machine, struct kvm_sregs *sregs);

/* machine_sandbox.c */
int machine_init_rights(struct machine *machine, const struct machine_config *config);
/* For thread_start(), of a thread for which the vCPUs wait (but for disks'); NULL: none are given up. After machine_shut_gate(). */
const struct thread_rights *machine_rights(struct machine *machine, enum filter_kind kind);
/* Reports errors itself. */
int machine_start_starter(struct machine *machine);
/* Before the first thread is started. */
void machine_shut_gate(struct machine *machine);
/* By the owner, when all were started: takes its own filter too, and lets the vCPUs go. Returns 0, or negative errno after a message. */
int machine_open_gate(struct machine *machine);
void machine_close_mounts(struct machine *machine);
/* vCPUs that wait still end without having run. Any thread. */
void machine_bar_gate(struct machine *machine);

/* machine_memory.c */
int machine_make_memory(struct machine *machine, const struct machine_config *config);

/* machine_cards.c */
int machine_init_io(struct machine *machine, const struct machine_config *config);
int machine_start_io(struct machine *machine);
void machine_stop_io(struct machine *machine);
void machine_fini_io(struct machine *machine);
/* The loop for one more queue: all take turns. */
struct evloop *machine_next_io_loop(struct machine *machine);
/*
 * Attaches an initialized device to its transport. Cards appear to the guest in the order in which they were added. From
 * then on the card is undone by machine_remove_cards(), which calls remove. Returns 0, or negative errno after a message.
 */
int machine_add_card(struct machine *machine, struct machine_card *card, struct virtio_device *dev,
		     void (*remove)(struct machine_card *card));
int machine_plug_cards(struct machine *machine);
/* What cards do that shall not be left behind by a program that is killed while it prepares. */
int machine_start_cards(struct machine *machine);
/* What they do when the process has given up all that one with more than one thread cannot. */
int machine_own_cards(struct machine *machine);
void machine_remove_cards(struct machine *machine);

/* One file for each kind of card, machine_KIND.c. Each opens what the device needs and adds it as a card. */
int machine_check_image(const struct machine_disk_config *config);
int machine_add_disk(struct machine *machine, const struct machine_disk_config *config,
		     unsigned int cpus);
/* The resize task, on the main loop. */
void machine_on_disks_resized(void *arg);
int machine_add_net(struct machine *machine, const struct machine_net_config *config,
		    unsigned int cpus);
int machine_add_vsock(struct machine *machine, const struct machine_vsock_config *config);
/* number: among the shares */
int machine_add_share(struct machine *machine, const struct machine_share_config *config,
		      unsigned int number, unsigned int cpus);
int machine_add_rng(struct machine *machine);
int machine_add_balloon(struct machine *machine);
/* Nobody waits for the guest's answer any more. */
void machine_end_balloon(struct machine *machine);
int machine_add_console(struct machine *machine);

/* machine_boot.c */
/* Begins to unpack the kernel if it can be opened; what goes wrong is found and reported by machine_load(). Returns 0. */
int machine_begin_load(struct machine *machine, const struct machine_config *config);
/* Ends what machine_load() was not called for. */
void machine_abandon_load(struct machine *machine);
/* What the kernel was loaded with belongs to the machine from then on. */
int machine_load(struct machine *machine, const struct machine_config *config,
		 struct boot_entry *entry);
void machine_unload(struct machine *machine);
/* Tells the memory map, at most MACHINE_MAX_E820 ranges. Returns how many. */
unsigned int machine_make_e820(const struct machine *machine, struct boot_e820 *e820);
/* Whether the guest, when it reset the machine, did so because of a panic; see the built-in command line. */
bool machine_reset_was_panic(const struct machine *machine);
/* Whether the guest announced a reset to the firmware at all. */
bool machine_reset_was_announced(const struct machine *machine);

/* machine_gdb.c. Without a debugger in the configuration they do nothing. Those that return an int report errors themselves. */
int machine_make_gdb(struct machine *machine, const struct machine_config *config);
void machine_undo_gdb(struct machine *machine);
int machine_listen_gdb(struct machine *machine);
/* Before the vCPUs start. */
int machine_start_gdb(struct machine *machine);
/* The machine has ended: the debugger is told, soon. Any thread. */
void machine_end_gdb(struct machine *machine);
/* For machine_confine(); NULL: none. */
const struct kept_name *machine_gdb_made(const struct machine *machine);
/* machine_gdb_run.c; see struct vcpu_host. */
void machine_gdb_on_exit(void *arg, unsigned int cpu);
bool machine_gdb_on_port(void *arg, unsigned int cpu);

/* machine_tree.c. Hands the device tree to the kernel, which was loaded. Returns 0, or negative errno after a message. */
int machine_write_tree(struct machine *machine);
