/*
 * libvmm: virtual machines on KVM, in the calling process.
 *
 * A VM is made from a struct vmm_config, started, waited for and destroyed:
 *
 *	struct vmm_config config;
 *	struct vmm *vm;
 *	enum vmm_end end;
 *
 *	vmm_config_init(&config);
 *	config.kernel = "bzImage";
 *	if (vmm_create(&config, &vm) < 0)
 *		return 1;			(one line was logged)
 *	if (vmm_start(vm) == 0)
 *		vmm_wait(vm, -1, &end);
 *	vmm_destroy(vm);
 *
 * Several VMs may live in one process. The library never exits, never writes to standard output unless it is
 * given as a console, and installs no signal handlers; its threads block all signals but those of a crash. It uses SIGURG between
 * its own threads, which the program need not handle and should not send to them, nor can it receive it by signalfd() or sigwait() meanwhile.
 * A program whose files have a limit (RLIMIT_FSIZE) ignores SIGXFSZ, or vmm_create() with an overlay and vmm_dump_guest() may end it where they would return -EFBIG.
 *
 * Linking: a shared object that libvmm.a is part of does not show the library's functions. It exports those of its own that call them.
 *
 * Errors: functions return 0 or a negative errno. The reason, with the name of the file or option at fault, is
 * logged as one line (vmm_log_set_sink()) by the time the function returns. Not logged is what says no more than that something is not
 * there, yet: -EAGAIN, -ETIMEDOUT, and -ENOENT of a vCPU. Pointers are not NULL unless it is said what that means.
 *
 * Threads: one VM's functions are called by one thread at a time, but those that say so may be called by any thread
 * while the VM exists. A child made by fork() has neither those threads nor the VMs, nor their memory: it must not use them, nor destroy
 * them, and all their descriptors are closed when it executes a program. Until then it keeps what they stand for: vmm_destroy() ends
 * connections that were accepted all the same, and lets a debugger's port go, but a TAP stays taken (vmm_create() tries for an eighth of a second), and
 * with shared_memory the guest's memory is not free.
 *
 * The library's threads have the scheduling policy and the CPUs (affinity) of the thread that calls vmm_start(). Their stacks are of 128 KiB, in
 * which the program's thread-local data (__thread) lies, too: more than 64 KiB of it leave too little for them and for the log's sink, and
 * from about 122 KiB on vmm_start() is -EINVAL. Who calls the library has 64 KiB of stack for it.
 *
 * Costs: a VM takes some 15 file descriptors, one more for each vCPU but the first, two for each I/O thread but the first, and 3 to 7 for
 * each disk, card, socket device, debugger and shared directory with one queue, up to three for each further one; 10 to 20 mappings of memory, and six for
 * each further queue of a disk; one or two threads of its own (KVM may have another), and one for each vCPU, I/O thread and shared directory,
 * and for a debugger. Each queue of a disk and each shared directory has up to eight more once there is storage to wait for, which stay. What
 * guests can take besides is said where it is configured.
 *
 * Descriptors: where 0, 1 or 2 is closed, vmm_create() opens /dev/null in its place (if there is one), and leaves it open: none of the
 * library's own is to be taken for a standard one, into which the log is written.
 *
 * Memory: the caller keeps what config points to until vmm_create() returns; file descriptors given in it are
 * borrowed until vmm_destroy(), unless said otherwise.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of this header; vmm_version() tells that of the library. */
#define VMM_VERSION_MAJOR 0
#define VMM_VERSION_MINOR 1
#define VMM_VERSION_PATCH 0

#define VMM_MAX_DISKS_AND_NETS 32
#define VMM_MAX_DISK_QUEUES    32
#define VMM_MAX_CPUS	       254
#define VMM_MAX_IO_THREADS     32
#define VMM_MIN_CID	       UINT32_C(3)
#define VMM_MAX_CID	       UINT32_C(0xfffffffe)
#define VMM_MIN_MEMORY	       (UINT64_C(2) << 20)

/* Images are never examined to find out their format. A raw one that begins as a qcow2 image does is used as it is, with a warning. */
enum vmm_disk_format {
	VMM_DISK_RAW,
	VMM_DISK_QCOW2, /* read-only, or under an overlay; else -EINVAL */
};

/*
 * A disk on a host file or block device; appears as vda, vdb, ... in the order given. In a struct of zeros all but path has its
 * default. What goes with something else is -EINVAL without it.
 */
struct vmm_disk {
	const char *path; /* an image; never created or changed by opening it; required */
	const char *
		serial; /* at most 20 bytes (else -EINVAL), in the guest's /dev/disk/by-id; NULL: none */
	bool readonly; /* several VMs may share an image that all open read-only */
	bool overlay; /* as if readonly, which is -EINVAL beside it, but the guest can write: what it writes goes elsewhere */
	const char *
		overlay_file; /* where that is kept, made if it is missing, and removed if nothing was written; NULL: it ends with the VM; goes with overlay */
	enum vmm_disk_format format; /* default raw */
	bool direct; /* past the host's page cache (O_DIRECT); goes with raw images that have no overlay */
	uint16_t
		queues; /* at most VMM_MAX_DISK_QUEUES (else -EINVAL); 0: as many as vCPUs, but no more than I/O threads */
	uint64_t iops; /* requests a second; 0: no limit */
	uint64_t
		iops_burst; /* requests at once after a rest; 0: what a tenth of a second allows; goes with iops */
	uint64_t bps;	    /* bytes a second, read and written together, zeros too; 0: no limit */
	uint64_t bps_burst; /* bytes at once after a rest; 0: as above; goes with bps */
	const char *
		backing; /* the image that a qcow2 image holds changes to; NULL: none; goes with such an image */
	enum vmm_disk_format backing_format; /* default raw; qcow2 goes with backing */
};

#define VMM_MAX_NET_QUEUES 16
#define VMM_MAX_FORWARDS   64

/* A port of the host, on any of its addresses, whose connections go to a port of the guest. Neither is 0, nor is one of the
 * host forwarded twice, else -EINVAL. */
struct vmm_forward {
	bool udp; /* else TCP */
	uint16_t host;
	uint16_t guest;
};

enum vmm_vhost {
	VMM_VHOST_AUTO = 0, /* if the host has it for us, and the card has no limit */
	VMM_VHOST_ON, /* or vmm_create() fails; -EINVAL for a card with a limit, or with user */
	VMM_VHOST_OFF,
};

/*
 * How fast a network card may be used in one direction. Packets are counted as the guest and the host hand them over: with
 * segmentation offloads one may hold up to 64 KiB. A burst without its limit is -EINVAL.
 */
struct vmm_net_limit {
	uint64_t bps;	    /* bytes a second, Ethernet headers included; 0: no limit */
	uint64_t bps_burst; /* bytes at once after a rest; 0: what a tenth of a second allows */
	uint64_t pps;	    /* packets a second; 0: no limit */
	uint64_t pps_burst; /* packets at once after a rest; 0: as above */
};

/*
 * A network card; appears as eth0, eth1, ... in the order given. It is on a TAP interface of the host, or, with user, on
 * the program passt(1), which needs no rights. That is a child of this process, which the library waits for by its own
 * number: a program that waits for any child must not take it away. -ENOENT: there is no such program; -EIO: it ended at
 * its start, for the reason that is logged.
 */
struct vmm_net {
	const char *tap; /* name of an existing TAP interface; NULL: tap_fd is used */
	/* TAP with IFF_NO_PI | IFF_VNET_HDR, or the device of a macvtap, which gets O_NONBLOCK; the caller may close it after vmm_create(). No two
	 * cards have the same (-EINVAL). Ignored with tap or user. */
	int tap_fd;
	const uint8_t *
		mac; /* 6 bytes, not zero, no group address; of a macvtap its own (else -EINVAL); NULL: a stable locally administered address, or the macvtap's */
	uint16_t
		mtu; /* bytes, 68 to 65535, with user to 65520 (else -EINVAL); 0: that of the interface, with user 65520 */
	uint16_t
		queues; /* pairs, at most VMM_MAX_NET_QUEUES, and one alone without tap (else -EINVAL); 0: one for each vCPU if the TAP interface has them, up to that number */
	enum vmm_vhost vhost; /* on a TAP: the host's kernel moves the packets (/dev/vhost-net) */
	bool user;	      /* passt; -EINVAL together with tap */
	/* With user, else -EINVAL. One whose port of the host is taken is -EADDRINUSE; if that is so with IPv4 alone or IPv6
	 * alone, a warning says so. */
	const struct vmm_forward *forwards;
	unsigned int n_forwards; /* at most VMM_MAX_FORWARDS (else -EINVAL) */
	struct vmm_net_limit
		rx; /* of what the guest receives; what comes faster waits outside, or is dropped there */
	struct vmm_net_limit tx; /* of what the guest sends; what is faster waits in the guest */
};

#define VMM_MAX_VSOCK_PORTS 8

/*
 * A port of CID 2 behind which there is a connected stream socket instead of a path: the guest's first connection to it is given
 * that, all others are refused. What is no socket is -EBADF, one port twice -EINVAL. The library uses a duplicate, and makes the socket
 * non-blocking, and shuts it down when the guest closes its own or the VM ends; the caller closes fd after vmm_create(), or who has the
 * other end will not see the end of a VM whose guest never came.
 */
struct vmm_vsock_port {
	uint32_t port;
	int fd;
};

/*
 * A socket device (AF_VSOCK in the guest). A client of the host that connects to path and writes "CONNECT PORT\n" reaches
 * that port of the guest and then reads "OK HOSTPORT\n"; the guest reaches port P of CID 2 at the unix socket path_P. 4096
 * streams at most, each of which needs a file descriptor of the process.
 */
struct vmm_vsock {
	uint32_t cid; /* of the guest, VMM_MIN_CID to VMM_MAX_CID, else -EINVAL */
	/* of the socket, at most 96 bytes, which vmm_prepare() makes for the user alone, and vmm_destroy() removes; one that nobody uses is replaced; NULL: there are the ports alone */
	const char *path;
	const struct vmm_vsock_port *ports;
	unsigned int
		n_ports; /* at most VMM_MAX_VSOCK_PORTS; without path at least 1, else -EINVAL */
};

#define VMM_MAX_SHARES 8

/* What the guest may keep in mind of a shared directory. */
enum vmm_share_cache {
	/* It asks again after a second, and what it writes is in the host at once, but for memory that it has mapped. */
	VMM_SHARE_CACHE_AUTO = 0,
	/* For a day, and it writes when it likes: for what nobody else changes meanwhile. */
	VMM_SHARE_CACHE_ALWAYS,
	/* Nothing, not even contents. Linux before 6.6 cannot map files shared (MAP_SHARED) then, be it to read; private maps work. */
	VMM_SHARE_CACHE_NEVER,
};

/*
 * A directory of the host in the guest: Linux mounts it by its tag ("mount -t virtiofs TAG /mnt"). Symbolic links lead nowhere
 * but in the guest; /proc, /sys and the like, which show this host's kernel, are empty directories in it. What vmm's user may not do is
 * refused; what the guest makes belongs to that user, who is the guest's root: his files are shown as root's, and those of root. Devices
 * are not made. Where the user is this host's root, no file becomes setuid or setgid. -EINVAL for a directory of the kernel's own, or
 * two of one tag.
 *
 * A guest can take descriptors of the process: for each directory 65536 for files that it has open and 32768 for others that it knows, but of
 * all that the process may have (RLIMIT_NOFILE) 512, or a quarter of a limit below 2048, are spared. Then it gets ENFILE.
 */
struct vmm_share {
	const char *path; /* required */
	const char *tag;  /* 1 to 36 bytes, else -EINVAL; required */
	bool writable;	  /* default: whatever would change something is EROFS */
	enum vmm_share_cache cache;
};

/* The host's pages behind the guest's memory. */
enum vmm_hugepages {
	/* Small pages and, where the host allows it (/sys/kernel/mm/transparent_hugepage), huge ones as it has them at hand. */
	VMM_HUGEPAGES_THP = 0,
	VMM_HUGEPAGES_OFF, /* small pages alone: the least memory, more time */
	/* Huge pages of this size that the administrator has set aside (hugetlb). All that the guest may use are
	 * taken when the VM is made; they stay with it, and vmm_balloon_set() is refused. */
	VMM_HUGEPAGES_2M,
	VMM_HUGEPAGES_1G,
};

/*
 * What the library's own threads may do once they run: each kind of thread has the few system calls that it makes, and no other
 * (seccomp filters), so that a guest which takes over such a thread cannot open a file, start a program, make a socket (but
 * to connect to unix sockets, with a socket device) or signal another process. A call that is refused raises SIGSYS in its thread, which
 * ends the process unless it has a handler (a shell shows status 159); see vmm_describe_violation(). What is left to the program are
 * the layers that hold for a whole process: vmm_confine().
 *
 * Some functions of the C library have every thread make a system call which is refused to these: setuid(), seteuid(), setgroups() and their
 * like. A program changes users before its first vmm_start(), later one thread's by syscall(SYS_setresuid, ...), or has
 * VMM_SANDBOX_OFF. One that is built with AddressSanitizer must have that: its threads call sigaltstack().
 *
 * The log's sink (vmm_log_set_sink()) is called on such threads too: there it may write to what is open (write(), not send()), allocate
 * memory, take locks and look at the clock, but not open a file or use syslog(). So it is C or C++, or little else: a callback of Go makes
 * other calls, and so do a HashMap or a panic in Rust, and a traceback or a thread in Python; such programs let it write to a pipe that they
 * read. A file that is opened to be read by its path is
 * not found there (ENOENT), which is how libc does without those it looks for itself: messages in another language, the time zone.
 */
enum vmm_sandbox {
	VMM_SANDBOX_ON = 0, /* if vmm was built with filters and the kernel takes them */
	VMM_SANDBOX_OFF,
	VMM_SANDBOX_STRICT, /* or vmm_create() fails: -ENOTSUP when built without */
};

#define VMM_MAX_INITRD_PARTS 8

/*
 * A piece of the initrd that is no file. Linux unpacks archives that follow one another, so each part may be one; it begins at a
 * multiple of 4 bytes.
 */
struct vmm_initrd_part {
	const char *name; /* for messages; required */
	uint64_t size;	  /* bytes */
	const void *data; /* NULL: fill() is called */
	/*
	 * Writes size bytes right into the guest's memory, on the thread of vmm_create(), when nothing else may fail any more but
	 * the machine's start. Returns 0, or a negative errno, which vmm_create() returns, after it has told what went wrong.
	 */
	int (*fill)(void *arg, void *to, size_t size);
	void *arg;
};

struct vmm_config {
	const char *kernel; /* bzImage or vmlinux; required */
	/* vmm_create() unpacks a compressed kernel (gzip; lz4, zstd, xz and lzma if built in), which is faster than that the
	 * kernel does so itself, as it still does where vmm cannot; default true. */
	bool unpack;
	/* A directory of the user's where unpacked kernels are kept, half a GiB at most, and used again while the kernel's file
	 * is the same. Made when there is something to keep, if its parent is the user's; nothing is kept in what is another
	 * user's, or others may write to. NULL (default): none. */
	const char *kernel_cache;
	const char *initrd;			    /* NULL: none */
	const struct vmm_initrd_part *initrd_parts; /* behind that file, or instead of it */
	unsigned int n_initrd_parts;		    /* at most VMM_MAX_INITRD_PARTS, else -EINVAL */
	const char *cmdline; /* the whole command line; NULL: the built-in one */
	const char
		*append; /* added to the built-in command line; NULL: nothing; not with cmdline */
	/* Each start puts the kernel of a bzImage at other addresses, unless the command line has the word nokaslr, or the kernel
	 * cannot be moved; default true. A kernel that unpacks itself chooses its addresses itself, in any case. */
	bool kaslr;
	uint64_t
		memory; /* bytes; default 256 MiB; rounded down to pages; with VMM_HUGEPAGES_2M or _1G a multiple of their size */
	enum vmm_hugepages hugepages; /* default VMM_HUGEPAGES_THP */
	/* All memory is there when vmm_create() returns, or that fails, and what the guest frees stays, but for vmm_balloon_set();
	 * default false: as the guest touches it. */
	bool prefault;
	bool shared_memory; /* see vmm_memory_fd(); default false: private to this process */
	unsigned int cpus;  /* default 1; at most VMM_MAX_CPUS and what KVM allows */
	const struct vmm_disk *disks;
	unsigned int n_disks;
	const struct vmm_net *nets;
	unsigned int n_nets; /* disks and nets together: VMM_MAX_DISKS_AND_NETS */
	unsigned int
		io_threads; /* that serve the devices; 0 (default): one for each disk, net and vsock, but no more than the host has CPUs for us; at most VMM_MAX_IO_THREADS */
	const struct vmm_vsock *vsock;	/* NULL (default): none */
	const struct vmm_share *shares; /* NULL (default): none */
	unsigned int n_shares;		/* at most VMM_MAX_SHARES, else -EINVAL */
	bool rng;			/* an entropy source; default true */
	bool balloon; /* memory that the guest frees goes back to the host, unless prefault; see vmm_balloon_set(); default true */
	bool mmio_transport; /* virtio over MMIO, and no PCI; default false */
	/* A device tree describes the machine to the kernel (Linux: CONFIG_OF), instead of ACPI and MP tables; default false.
	 * Such a kernel cannot power off, nor does it see vmm_power_button(). */
	bool device_tree;
	/* vmm_destroy() does not wait until the kernel has done away with the VM, which may take tens of milliseconds: for a
	 * process that ends then. It needs io_uring. In one that goes on, threads of KVM's own may be seen a moment longer, and on
	 * Intel's CPUs a page or two of address space is lost for each VM. Default false. */
	bool quick_end;
	enum vmm_sandbox sandbox; /* default VMM_SANDBOX_ON */
	/* Where gdb may connect (target remote) and debug the guest, each vCPU a thread: a number is a TCP port of 127.0.0.1, all else the
	 * path of a unix socket, which vmm_prepare() makes for the user alone and vmm_destroy() removes; one that nobody uses is
	 * replaced. Who connects has the guest in his hand, and a port is open to all users of this host. Addresses are those of
	 * the kernel's own symbols without kaslr alone. -ENOTSUP: this KVM cannot. NULL (default): no debugger. */
	const char *gdb;
	bool gdb_wait; /* the vCPUs stand before the first instruction until it lets them go; default false */
	/* The console is hvc0, a virtio console, which is fast; default false: the serial port. The serial port is there in
	 * any case; what the guest writes to it goes to the same place. */
	bool console_virtio;
	/* Of the four descriptors that follow, one that is not open is -EBADF, and so is console_out or dump_fd that is not
	 * open for writing, or console_socket that is no socket.
	 * -1 (default), or a stream socket to which others connect for the console; it must listen by the time of vmm_start().
	 * One client at a time; not with console_in and console_out. */
	int console_socket;
	int console_in;	 /* the console's input; -1 (default): none */
	int console_out; /* its output; -1 (default): thrown away */
	/* Ctrl-A x ends the VM, Ctrl-A d is vmm_dump_vcpus(), Ctrl-A c vmm_dump_guest() to dump_fd, Ctrl-A b a break on the serial
	 * port, Ctrl-A h lists the keys; default false. */
	bool console_keys;
	int dump_fd; /* a regular file; -1 (default): none */
};

/* How a VM ended. */
enum vmm_end {
	VMM_END_NONE,	     /* it has not */
	VMM_END_POWER_OFF,   /* the guest powered off */
	VMM_END_REBOOT,	     /* the guest rebooted */
	VMM_END_CRASH,	     /* the guest panicked, or a triple fault */
	VMM_END_STOPPED,     /* vmm_stop() */
	VMM_END_CONSOLE_KEY, /* Ctrl-A x */
	VMM_END_FAILED,	     /* KVM or the host failed; the reason was logged */
	VMM_END_DEBUGGER,    /* "kill" of gdb */
};

struct vmm;

/* Sets every field to its default. Call it first, so that fields of later versions have theirs too. */
void vmm_config_init(struct vmm_config *config);

/*
 * Opens everything the configuration names, builds the machine and loads the kernel. Nothing runs yet. On failure
 * nothing is left behind and *vm is NULL: -EINVAL for a bad configuration, -EBADF for a bad descriptor in it,
 * -ENOEXEC for what is no bootable kernel, -ENOMEM when the guest's or the host's memory is too small, or too few huge pages are free, -E2BIG for a
 * command line that is too long, -EBUSY for a disk (after half a second, in case its user was just killed) or TAP in use, -EADDRINUSE for a port of a
 * card with user (after as long), or the errno of the call that failed.
 */
int vmm_create(const struct vmm_config *config, struct vmm **vm);

/*
 * The device tree that describes the machine, flattened (a DTB), whether the kernel is given it or not. Returns 0 with
 * *tree to be freed by free(), or -ENOMEM. Any thread.
 */
int vmm_device_tree(const struct vmm *vm, void **tree, size_t *size);

/*
 * Makes the sockets of a socket device and for a debugger: the last thing that may be refused, for a caller who has something of their own to
 * do when all is known to be right and nothing runs yet. vmm_start() does it otherwise. Once (else -EALREADY).
 * Returns 0 or negative errno; after a failure only vmm_destroy() is useful.
 */
int vmm_prepare(struct vmm *vm);

/* Layers that hold for a whole process. A struct of zeros is a good default. */
struct vmm_confinement {
	bool strict; /* a layer that this host cannot have is an error; else the log says so (info) */
	bool change_user; /* to uid and gid, without other groups: needs the rights of root, and is an error without */
	uint32_t uid;
	uint32_t gid;
	/* Directories in which the program itself will remove names later, by unlinkat() and these descriptors (O_PATH); those
	 * are replaced under their numbers by others, from which ".." leads nowhere. */
	const int *remove_in;
	unsigned int n_remove_in;
	/* vmm_start() does vmm_confine_thread() for its caller: then no thread of the process is without a filter when the guest
	 * begins. What fails there is told, and is an error if vmm_config.sandbox is strict. */
	bool starting_thread;
	/* 0, or the negative errno for which the program could not close descriptors that it has from its parent: a layer that is
	 * missing. */
	int still_open;
};

/*
 * The calling process, which is there for this VM and has one thread, gives up what it will not need: namespaces of its own (mount,
 * IPC, UTS, and user if needed), an empty root, another user if wanted, no capabilities, no new privileges, Landlock with rules for shared
 * directories and for names to be removed alone, no core files, and no higher limits of open files and locked memory than the soft ones
 * (the hard ones fall to these). Files and directories can be reached by descriptors alone from then on, and the working directory is another;
 * with shared directories nothing is found in /proc, /sys and the like either, even where there can be no empty root.
 * Between vmm_prepare() (else -EINVAL) and vmm_start(), once (else -EALREADY). Returns 0, or negative errno after a message, with some layers
 * applied; then only vmm_destroy() is useful. Other threads than the caller, if there are any, keep what they have but for the user, whom all change, and an ordinary user's
 * process gets no namespaces then; strict is about the caller alone. With change_user no other VM may have been started here (see enum vmm_sandbox).
 */
int vmm_confine(struct vmm *vm, const struct vmm_confinement *confinement);

/*
 * The calling thread may do no more than wait for its VMs (poll(), epoll), use functions of this header on those that were started, and read and
 * write what is open: a filter as those of the library's threads, which is never taken away. After vmm_start(), once a thread, for a thread with a
 * filter may not have another. Any other call raises SIGSYS
 * (see enum vmm_sandbox). Returns 0, -ENOTSUP when vmm was built without filters, or another negative errno; nothing is logged.
 */
int vmm_confine_thread(void);

/*
 * The same for a thread that does no more than read, write, poll and shut down what is open, and end: a narrower filter. Any
 * time. Gives up the thread's capabilities, of which vmm_confine() may have left some for shared directories. Returns as that.
 */
int vmm_confine_stream_thread(void);

/*
 * In a handler of SIGSYS (SA_SIGINFO), which the library does not install, with its siginfo_t: writes which thread was refused which system call, in at
 * most size bytes, with a zero at the end; with 0 text may be NULL. False when the signal was not raised by a filter. May be called in a
 * handler.
 */
bool vmm_describe_violation(const void *info, char *text, size_t size);

/* vmm_prepare(), if that was not called, and starts the vCPUs. Once (else -EALREADY). Returns 0 or negative errno; after a failure only
 * vmm_destroy() is useful. */
int vmm_start(struct vmm *vm);

/*
 * Waits until the VM has ended, at most timeout_ms (-1: forever; 0: only looks). Returns 0 with *end set (if not
 * NULL), -ETIMEDOUT, or, where it would wait forever for a VM that was not started, -EDEADLK. When it returns 0 the vCPUs have stopped
 * and the console was written out: what its reader has not taken 2 s after it last took something, or in 6 s, is dropped, with a line
 * in the log. May be called again.
 */
int vmm_wait(struct vmm *vm, int timeout_ms, enum vmm_end *end);

/*
 * The address of the instruction at which a vCPU, counted from 0, was when the VM ended: what there is to tell of a guest that
 * hangs. Returns 0, -EAGAIN while the VM has not ended, or -ENOENT when there is no such vCPU or it was never started.
 */
int vmm_last_instruction(const struct vmm *vm, unsigned int cpu, uint64_t *address);

/*
 * Writes what every vCPU is doing to the log, whatever its level: registers, the code where it is, the top of its stack. They stop for
 * as long as that takes. After the end it is what they were doing then. Any thread, but not one with a filter other
 * than that of vmm_confine_thread().
 */
void vmm_dump_vcpus(struct vmm *vm);

/*
 * Writes the guest's memory and the registers of its vCPUs into a regular file, from its start, as an ELF core for gdb and crash(8),
 * with holes for pages of zeros: what the file held is lost, and one that appends (O_APPEND) is refused.
 * The vCPUs stop for as long as that takes. After the end they are as they were then. Returns 0, or negative errno after a message, with
 * the file empty if it could be emptied (-EINVAL for a wrong one, -ENOSPC, -EFBIG, ...). One at a time; threads as with vmm_dump_vcpus().
 */
int vmm_dump_guest(struct vmm *vm, int fd);

/*
 * The last messages, n at most, of the log of a guest's kernel (dmesg), read out of its memory: Linux since 5.10, built with
 * VMCOREINFO (CONFIG_CRASH_CORE, CONFIG_VMCORE_INFO). The text is the guest's, has a newline behind each message and may
 * hold any byte but zeros; free() it. NULL when there is none. Threads as with vmm_dump_vcpus(), and the vCPUs stop as there.
 */
char *vmm_kernel_log(struct vmm *vm, unsigned int n);

/*
 * How long a vCPU has run on the host's CPUs, in nanoseconds: a guest that gets no time is told by it from one that hangs. Returns
 * 0, or -ENOENT when there is no such vCPU or it does not run. Any thread.
 */
int vmm_cpu_time(struct vmm *vm, unsigned int cpu, uint64_t *ns);

/*
 * With shared_memory: the file that holds the guest's memory, for another process that shall read or write it there, such as
 * one that serves a device or looks into the guest. What lies below the hole at 3 GiB is at the start of the file, what lies
 * at 4 GiB and above follows at offset 3 GiB. The size cannot be changed. Else -1. Owned by the VM: to be mapped, duplicated
 * or sent. Who has it can do with the guest as it likes. Any thread.
 */
int vmm_memory_fd(const struct vmm *vm);

/*
 * What the library reads to know which of the guest's pages exist: /proc/self/pagemap, opened by vmm_create(), without the right to see
 * where in the host's memory they lie. Who is confined (vmm_confine()) may use it for pages of its own, by pread(). -1 when it cannot be
 * opened. Owned by the VM. Any thread.
 */
int vmm_pagemap_fd(const struct vmm *vm);

/* A descriptor that polls readable once the VM has ended. Owned by the VM; only to poll. Any thread. */
int vmm_fd(const struct vmm *vm);

/* Presses the ACPI power button: asks the guest's system to power off. Any thread. */
void vmm_power_button(struct vmm *vm);

/*
 * How much of its memory the guest shall give back to the host, in bytes, rounded down to pages; 0 at first. The guest
 * follows as far and as fast as it can, and takes pages back when it would run out of memory otherwise. What it frees
 * goes back in any case, unless with prefault. Nothing does in a program that has locked its memory (mlockall(), MCL_FUTURE).
 * Returns 0, -ENODEV without a balloon, -EOPNOTSUPP with VMM_HUGEPAGES_2M or _1G, or -EINVAL for more than the guest's
 * memory. Any thread.
 */
int vmm_balloon_set(struct vmm *vm, uint64_t bytes);

/* What the guest says of its memory; sizes are bytes. UINT64_MAX stands for what it does not say. In C++ the function of the same name
 * hides it: write "struct vmm_balloon_stats". */
struct vmm_balloon_stats {
	uint64_t balloon;   /* what it has given back by vmm_balloon_set() */
	uint64_t total;	    /* of its kernel; Linux counts what is in the balloon, too */
	uint64_t free;	    /* not used for anything */
	uint64_t available; /* could be used without swapping */
	uint64_t caches;    /* of disks, which could be dropped */
	uint64_t swap_in;
	uint64_t swap_out;
	uint64_t major_faults; /* counts */
	uint64_t minor_faults;
};

/*
 * Asks the guest and waits for its answer, timeout_ms at most. Returns 0, -ENODEV without a balloon, -EAGAIN while the
 * guest has no driver for it or when the VM has ended, or -ETIMEDOUT; the last two are not
 * logged. Any thread.
 */
int vmm_balloon_stats(struct vmm *vm, struct vmm_balloon_stats *stats, unsigned int timeout_ms);

/* Whether the guest has written to its console since this was last asked, whoever reads that. Any thread. */
bool vmm_console_wrote(struct vmm *vm);

/* The terminal behind the console has this size, in characters; the guest is told if the console is a virtio console. Any
 * thread. */
void vmm_console_resize(struct vmm *vm, unsigned int rows, unsigned int columns);

/*
 * Looks how large the images of all disks are now, soon, and tells the guest what has changed; images in a format with a size of
 * its own keep theirs. What goes wrong is logged. Any thread.
 */
void vmm_disks_resized(struct vmm *vm);

/* Ends the VM at once, without asking the guest; one that was not started ends as soon as it is. vmm_wait() tells when that is done. Any
 * thread. */
void vmm_stop(struct vmm *vm);

/* vmm_stop(), and the console's reader is given 100 ms, not 2 s, to take something, be the VM at its end already. Any thread. */
void vmm_stop_now(struct vmm *vm);

/* Ends the VM if it runs, and frees everything; see also vmm_config.quick_end. NULL is fine. */
void vmm_destroy(struct vmm *vm);

/* "0.1.0": what the library is that runs; see VMM_VERSION_MAJOR for what the program was compiled with. */
const char *vmm_version(void);

/* ---- questions, for those who choose a kernel, or want to know whether VMs will run. Nothing is logged. Any thread. ---- */

/*
 * What "uname -r" will say where this kernel runs: letters, digits and any of "+-._~", of which no dot is the first. Returns 0,
 * -ENODATA when the file does not tell, -ENOEXEC for what is no regular file, -ENAMETOOLONG for more than size
 * bytes, or the errno of opening or reading it.
 */
int vmm_kernel_release(const char *path, char *release, size_t size);

/*
 * The configuration that the kernel was built with, if it holds it (CONFIG_IKCONFIG): a text to be freed by free(). A packed
 * kernel is unpacked for it, in memory. Returns 0, -ENODATA when there is none inside, -ENOEXEC for what is no kernel, -ENOTSUP
 * for one that this library cannot unpack, -EBADMSG for a damaged one, or another negative errno.
 */
int vmm_kernel_config(const char *path, char **text);

/*
 * The same for a kernel that is in that directory (vmm_config.kernel_cache), unpacked, for somebody has started it since its file was
 * changed: it need not be unpacked again. Returns 0, -ENODATA when there is none inside, or another negative errno when that is
 * not known there.
 */
int vmm_kernel_cached_config(const char *path, const char *kernel_cache, char **text);

/*
 * A whole file of at most 64 MiB, unpacked if it is packed by gzip, zstd, xz, lzma or, as kernels are, lz4 (lz4 -l), such as a module of a
 * kernel: *size bytes and a zero behind them, to be freed by free(). Returns 0, -ENOTSUP for what this library cannot unpack, -EBADMSG
 * for a damaged one or one that unpacks to more, -EFBIG for one that is more, or another negative errno.
 */
int vmm_unpack_file(const char *path, void **bytes, size_t *size);

struct vmm_host {
	bool virtualization; /* the CPU shows VT-x or AMD-V; without, KVM emulates the guest's kernel, if it is there at all */
	int kvm_error; /* why /dev/kvm cannot be opened, a negative errno, and the rest is 0; 0: it can */
	int kvm_version; /* 12, if it is the KVM that vmm knows */
	const char *
		kvm_lacks; /* what a VM cannot do without, in words, and is not there, a constant text; NULL: all is */
	int vm_error; /* why no VM can be made, a negative errno; 0: one can */
	uint64_t
		vm_us; /* how long that took, microseconds: more than some hundreds are the kernel's waiting */
};

/* Opens /dev/kvm, and makes an empty VM if it can. */
void vmm_host_examine(struct vmm_host *host);

enum vmm_log_level {
	VMM_LOG_ERROR,
	VMM_LOG_WARN, /* the default: errors and warnings */
	VMM_LOG_INFO,
	VMM_LOG_DEBUG,
};

/*
 * The log is the process's, not a VM's: set it up before the first vmm_create(). Without a sink lines go to
 * standard error as "vmm: text", and are dropped when nobody reads that. The sink may be called from any thread, by several at a time, and must not call libvmm, nor take a
 * lock that the program holds while it does: who calls may wait for the thread that logs. level is an
 * enum vmm_log_level; line is borrowed and has no newline.
 */
void vmm_log_set_level(enum vmm_log_level level);
void vmm_log_set_sink(void (*sink)(void *arg, int level, const char *line), void *arg);

#ifdef __cplusplus
}
#endif
