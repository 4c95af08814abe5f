/*
 * The rules of the filters (filter.h). Not a part of vmm: it runs when vmm is built, and prints what libseccomp makes of
 * them as C.
 *
 * What no rule allows is trapped. Calls that would widen what a thread can reach are allowed by no rule: open, execve, fork, ptrace,
 * memory that can be executed, sockets (but for guest's connections to unix sockets), signals to others.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <linux/vhost.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "vmm/sandbox/filter.h"
#include "vmm/sandbox/filter_bytes.h"

/* What glibc 2.42 and newer use; <asm/termbits.h> and <termios.h> exclude each other. */
#define TCGETS2_NUMBER	0x802c542au
#define TCSETS2_NUMBER	0x402c542bu
#define TCSETSW2_NUMBER 0x402c542cu
#define TCSETSF2_NUMBER 0x402c542du

/* Not in older headers. */
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

#define MAX_ARGS 2

struct rule {
	int call;
	int error; /* what the caller gets instead of the call; 0: it is allowed */
	unsigned int n_args;
	struct scmp_arg_cmp args[MAX_ARGS];
};

#define EQUAL(n, value)                                                                            \
	{                                                                                          \
		.arg = (n), .op = SCMP_CMP_EQ, .datum_a = (value)                                  \
	}
#define WITHOUT(n, bits)                                                                           \
	{                                                                                          \
		.arg = (n), .op = SCMP_CMP_MASKED_EQ, .datum_a = (bits), .datum_b = 0              \
	}
#define ANY(name)                                                                                  \
	{                                                                                          \
		.call = SCMP_SYS(name)                                                             \
	}
#define IF(name, ...)                                                                              \
	{                                                                                          \
		.call = SCMP_SYS(name), .n_args = 1, .args = { __VA_ARGS__ }                       \
	}
#define IF2(name, ...)                                                                             \
	{                                                                                          \
		.call = SCMP_SYS(name), .n_args = 2, .args = { __VA_ARGS__ }                       \
	}
#define REFUSE(name, errnum)                                                                       \
	{                                                                                          \
		.call = SCMP_SYS(name), .error = (errnum)                                          \
	}
#define IOCTL(request) IF(ioctl, EQUAL(1, (unsigned int)(request)))
/* To nobody but the other end: sendto() could connect a socket that was shut. */
#define SEND	       IF2(sendto, WITHOUT(3, MSG_FASTOPEN), EQUAL(4, 0))
#define NEW_NAMESPACES                                                                             \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |             \
	 CLONE_NEWPID | CLONE_NEWNET)
/*
 * glibc since 2.39 names its memory where GLIBC_TUNABLES says so (glibc.mem.decorate_maps), a thread's stack at its end, too. It gives it up
 * when the kernel does not know how.
 */
#define REFUSE_NAMES                                                                               \
	{                                                                                          \
		.call = SCMP_SYS(prctl), .error = EINVAL, .n_args = 1, .args = {                   \
			EQUAL(0, PR_SET_VMA)                                                       \
		}                                                                                  \
	}
#define READ_ONLY(n) WITHOUT(n, O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)
#define END                                                                                        \
	{                                                                                          \
		.call = __NR_SCMP_ERROR                                                            \
	}

/* Locks, memory, the clock, ways to end, and what libc does on its own. */
static const struct rule rules_base[] = {
	ANY(futex),
	ANY(read),
	ANY(write),
	/* for standard I/O, which a sink of the log may use */
	ANY(writev),
	ANY(lseek),
	ANY(close),
	ANY(poll),
	ANY(brk),
	ANY(munmap),
	ANY(mremap),
	ANY(madvise),
	IF(mmap, WITHOUT(2, PROT_EXEC)),
	IF(mprotect, WITHOUT(2, PROT_EXEC)),
	ANY(clock_gettime),
	ANY(clock_nanosleep),
	ANY(sched_yield),
	ANY(sched_getaffinity),
	ANY(getpid),
	ANY(gettid),
	ANY(rt_sigprocmask),
	IF(rt_sigaction, EQUAL(0, SIGABRT)), /* abort() */
	ANY(rt_sigreturn),
	ANY(restart_syscall),
	/* Within this process: a vCPU's kick, abort(), and a handler that raises its signal again. */
	IF(tgkill, EQUAL(0, FILTER_PID)),
	/* Before a line is written: whether standard error is a terminal, and of what kind. */
	IOCTL(TCGETS),
	IOCTL(TCGETS2_NUMBER),
	/* A program may restore its terminal in a handler, on whatever thread crashed. */
	IOCTL(TCSETS),
	IOCTL(TCSETSW),
	IOCTL(TCSETS2_NUMBER),
	IOCTL(TCSETSW2_NUMBER),
	/*
	 * libc looks for files of its own: whether a heap may shrink, how messages read in the language that the program has set. It
	 * does without them.
	 */
	{.call = SCMP_SYS(openat),
	 .error = ENOENT,
	 .n_args = 2,
	 .args = {{.arg = 0,
		   .op = SCMP_CMP_MASKED_EQ,
		   .datum_a = UINT32_MAX,
		   .datum_b = (uint32_t)AT_FDCWD},
		  READ_ONLY(2)}},
	REFUSE_NAMES,
	ANY(fstat),
	IF(newfstatat, EQUAL(3, AT_EMPTY_PATH)),
	ANY(exit),
	ANY(exit_group),
	END,
};

/* Interrupts and kicks, which are set up whenever a driver says so. */
static const struct rule rules_interrupts[] = {
	IOCTL(KVM_SIGNAL_MSI),
	IOCTL(KVM_SET_GSI_ROUTING),
	IOCTL(KVM_IRQFD),
	IOCTL(KVM_IOEVENTFD),
	ANY(eventfd2),
	IOCTL(VHOST_SET_VRING_CALL),
	END,
};

static const struct rule rules_vcpu[] = {
	IOCTL(KVM_RUN), IOCTL(KVM_GET_REGS), IOCTL(KVM_KVMCLOCK_CTRL), ANY(rt_sigtimedwait), END,
};

/* Of vCPUs that are paused (vcpu_pause.h). */
static const struct rule rules_registers[] = {
	IOCTL(KVM_GET_REGS),
	IOCTL(KVM_GET_SREGS),
	IOCTL(KVM_GET_MP_STATE),
	IOCTL(KVM_KVMCLOCK_CTRL),
	END,
};

/* The file that a guest is dumped into, and which of its memory is there. */
static const struct rule rules_dump[] = {
	ANY(ftruncate),
	ANY(pread64),
	END,
};

/* A debugger that comes and goes, and what it does with vCPUs that are paused. */
static const struct rule rules_gdb[] = {
	ANY(accept4),
	ANY(shutdown),
	ANY(recvfrom),
	SEND,
	IOCTL(KVM_SET_GUEST_DEBUG),
	IOCTL(KVM_SET_REGS),
	IOCTL(KVM_SET_SREGS),
	IOCTL(KVM_GET_FPU),
	IOCTL(KVM_GET_XSAVE),
	IOCTL(KVM_SET_XSAVE),
	IOCTL(KVM_GET_DEBUGREGS),
	IOCTL(KVM_SET_DEBUGREGS),
	END,
};

/* Bytes between memory and files that are open. */
static const struct rule rules_transfer[] = {
	ANY(pread64), ANY(pwrite64), ANY(preadv), ANY(pwritev), ANY(preadv2), END,
};

/* Threads that may wait for storage do this too. */
static const struct rule rules_storage[] = {
	ANY(fdatasync),
	ANY(fallocate),
	IOCTL(BLKDISCARD),
	END,
};

/* Files in shared directories that are open. */
static const struct rule rules_read[] = {
	ANY(preadv),
	END,
};

static const struct rule rules_share[] = {
	ANY(pwritev2), ANY(copy_file_range), ANY(fallocate),
	ANY(fsync),    ANY(fdatasync),	     ANY(syncfs),
	END,
};

static const struct rule rules_loop[] = {
	ANY(epoll_wait),
	ANY(epoll_pwait2),
	ANY(epoll_ctl),
	END,
};

/* A client of the console comes and goes; the entropy source; how large a disk's image is now. */
static const struct rule rules_main[] = {
	ANY(accept4),	ANY(recvfrom),	     SEND, IF(fcntl, EQUAL(1, F_DUPFD_CLOEXEC)),
	ANY(getrandom), IOCTL(BLKGETSIZE64), END,
};

static const struct rule rules_io[] = {
	ANY(readv),
	ANY(recvfrom),
	SEND,
	IF(sendmsg, WITHOUT(2, MSG_FASTOPEN)),
	ANY(shutdown),
	ANY(io_uring_enter),
	/* Rings that were restricted to reading and writing (disk_uring.c). */
	IF(io_uring_register, EQUAL(1, IORING_REGISTER_FILES_UPDATE)),
	IOCTL(TUNSETOFFLOAD),
	IOCTL(TUNSETQUEUE),
	IOCTL(TUNSETTXFILTER),
	IOCTL(VHOST_SET_FEATURES),
	IOCTL(VHOST_SET_VRING_NUM),
	IOCTL(VHOST_SET_VRING_ADDR),
	IOCTL(VHOST_SET_VRING_BASE),
	IOCTL(VHOST_GET_VRING_BASE),
	IOCTL(VHOST_SET_VRING_KICK),
	IOCTL(VHOST_SET_VRING_ERR),
	IOCTL(VHOST_NET_SET_BACKEND),
	/* Whether passt has ended. */
	IF(wait4, EQUAL(2, WNOHANG)),
	END,
};

/* Streams of the socket device. */
static const struct rule rules_sockets[] = {
	ANY(accept4),
	IF2(socket, EQUAL(0, AF_UNIX), EQUAL(1, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)),
	ANY(connect),
	END,
};

/*
 * Shared directories: files are reached from descriptors of directories, and opened to be read. A name may be a path: how far one
 * leads is for the root, the cut off trees and Landlock to say.
 */
static const struct rule rules_fs[] = {
	IF2(openat, {.arg = 0, .op = SCMP_CMP_LE, .datum_a = INT_MAX}, READ_ONLY(2)),
	IF(readlinkat, {.arg = 0, .op = SCMP_CMP_LE, .datum_a = INT_MAX}),
	ANY(preadv),
	ANY(preadv2),
	ANY(getdents64),
	IF(statx, EQUAL(2, AT_EMPTY_PATH)),
	ANY(fstatfs),
	ANY(fgetxattr),
	ANY(flistxattr),
	/* room for descriptors; and flush */
	IF(fcntl, EQUAL(1, F_DUPFD_CLOEXEC)),
	END,
};

/* Those that the guest may write: a file is one that was opened there, a name one in a directory that was. No devices are made. */
#define IN_DIR(name, n) IF(name, {.arg = (n), .op = SCMP_CMP_LE, .datum_a = INT_MAX})
#define MAKE_NODE(type)                                                                            \
	IF2(mknodat, {.arg = 0, .op = SCMP_CMP_LE, .datum_a = INT_MAX},                            \
	    {.arg = 2, .op = SCMP_CMP_MASKED_EQ, .datum_a = S_IFMT, .datum_b = (type)})
static const struct rule rules_fs_write[] = {
	IN_DIR(openat, 0),
	MAKE_NODE(S_IFREG),
	MAKE_NODE(S_IFIFO),
	MAKE_NODE(S_IFSOCK),
	IN_DIR(mkdirat, 0),
	IN_DIR(symlinkat, 1),
	IN_DIR(linkat, 0),
	IN_DIR(unlinkat, 0),
	IN_DIR(renameat2, 0),
	IN_DIR(fchmodat, 0),
	IN_DIR(fchownat, 0),
	IN_DIR(utimensat, 0),
	ANY(ftruncate),
	ANY(fsetxattr),
	ANY(fremovexattr),
	/* another descriptor of an open file's; no copy of its mount */
	IF2(open_tree, {.arg = 0, .op = SCMP_CMP_LE, .datum_a = INT_MAX},
	    EQUAL(2, AT_EMPTY_PATH | O_CLOEXEC)),
	/* a right over groups, where root keeps those over owners, for the moment of a call */
	ANY(capset),
	/* a mask of its own */
	IF(unshare, EQUAL(0, CLONE_FS)),
	ANY(umask),
	END,
};

/* Threads, and no processes; clone3() hides from a filter what it shall do. */
static const struct rule rules_starter[] = {
	IF(clone, {.arg = 0,
		   .op = SCMP_CMP_MASKED_EQ,
		   .datum_a = CLONE_THREAD | CLONE_PTRACE | NEW_NAMESPACES,
		   .datum_b = CLONE_THREAD}),
	REFUSE(clone3, ENOSYS),
	ANY(set_robust_list),
	ANY(rseq),
	/* The new thread takes its own filter. */
	IF(prctl, EQUAL(0, PR_SET_NAME)),
	IF(prctl, EQUAL(0, PR_GET_NAME)),
	IF(prctl, EQUAL(0, PR_SET_NO_NEW_PRIVS)),
	IF(seccomp, EQUAL(0, SECCOMP_SET_MODE_FILTER)),
	END,
};

/* Signals, the terminal, and the names that end with the machine (kept_name.h). */
static const struct rule rules_owner[] = {
	/* A terminal is taken when a command wants it, with handlers that give it back. */
	ANY(rt_sigaction),
	ANY(ppoll),
	IOCTL(TCSETSF),
	IOCTL(TCSETSF2_NUMBER),
	IOCTL(TIOCGWINSZ),
	/* Whether the terminal is ours again after a stop. */
	IOCTL(TIOCGPGRP),
	ANY(getpgrp),
	IF(newfstatat, EQUAL(3, AT_SYMLINK_NOFOLLOW)),
	IF(unlinkat, EQUAL(2, 0)),
	ANY(epoll_ctl),
	/* A program waits for its machines, and whatever else it has, as it likes. */
	ANY(epoll_wait),
	ANY(epoll_pwait),
	ANY(epoll_pwait2),
	/* SIGPIPE, after a line that nobody reads any more */
	ANY(rt_sigtimedwait),
	IF(fcntl, EQUAL(1, F_OFD_SETLK)),
	ANY(wait4),
	/* of passt's descriptor; but a process' directory of a shared /proc is one, too */
	REFUSE(pidfd_send_signal, EPERM),
	ANY(shutdown),
	ANY(recvfrom),
	SEND,
	IOCTL(VHOST_NET_SET_BACKEND),
	IOCTL(VHOST_GET_VRING_BASE),
	IOCTL(VHOST_SET_VRING_KICK),
	IOCTL(TUNSETOFFLOAD),
	IOCTL(TUNSETTXFILTER),
	ANY(io_uring_enter),
	END,
};

/*
 * From one descriptor to another, and nothing else. The last ones are for what libc has to say of a stack that was overwritten, and for a
 * handler of signals, which restores the terminal, tells, and lets the program die.
 */
static const struct rule rules_stream[] = {
	ANY(read),
	ANY(write),
	ANY(poll),
	ANY(shutdown),
	ANY(futex),
	ANY(clock_gettime),
	ANY(restart_syscall),
	/* the end of a thread that nobody joins */
	REFUSE_NAMES,
	ANY(rt_sigprocmask),
	ANY(madvise),
	ANY(munmap),
	ANY(exit),
	ANY(exit_group),
	ANY(writev),
	IF(mmap, WITHOUT(2, PROT_EXEC)),
	IOCTL(TCSETS),
	IOCTL(TCSETSW),
	IOCTL(TCSETS2_NUMBER),
	IOCTL(TCSETSW2_NUMBER),
	ANY(getpid),
	ANY(gettid),
	IF(tgkill, EQUAL(0, FILTER_PID)),
	ANY(rt_sigreturn),
	END,
};

#define MAX_SETS 8

static const struct kind {
	const char *name;
	const struct rule *sets[MAX_SETS]; /* those that matter for speed first */
} kinds[] = {
	[FILTER_VCPU] = {"vcpu", {rules_vcpu, rules_interrupts, rules_transfer, rules_base}},
	[FILTER_MAIN] = {"main",
			 {rules_loop, rules_interrupts, rules_main, rules_registers, rules_dump,
			  rules_base}},
	[FILTER_IO] = {"io",
		       {rules_loop, rules_io, rules_transfer, rules_storage, rules_interrupts,
			rules_base}},
	[FILTER_SOCKETS] = {"sockets",
			    {rules_loop, rules_io, rules_transfer, rules_storage, rules_interrupts,
			     rules_sockets, rules_base}},
	[FILTER_DISK] = {"disk", {rules_transfer, rules_storage, rules_base}},
	[FILTER_FS] = {"fs", {rules_loop, rules_fs, rules_interrupts, rules_base}},
	[FILTER_FS_WRITE] = {"fs_write",
			     {rules_loop, rules_fs, rules_fs_write, rules_share, rules_interrupts,
			      rules_base}},
	[FILTER_FS_IO] = {"fs_io", {rules_read, rules_share, rules_base}},
	[FILTER_STARTER] = {"starter",
			    {rules_transfer, rules_storage, rules_share, rules_base,
			     rules_starter}},
	[FILTER_GDB] = {"gdb", {rules_gdb, rules_registers, rules_base}},
	[FILTER_OWNER] = {"owner",
			  {rules_owner, rules_interrupts, rules_transfer, rules_registers,
			   rules_dump, rules_base}},
	[FILTER_STREAM] = {"stream", {rules_stream}},
};

static void check(int err, const char *what)
{
	if (err >= 0)
		return;
	fprintf(stderr, "filter_rules: %s: %s\n", what, strerror(-err));
	exit(1);
}

static void add_rules(scmp_filter_ctx ctx, const struct kind *kind)
{
	for (unsigned int i = 0; i < MAX_SETS && kind->sets[i]; i++) {
		for (const struct rule *r = kind->sets[i]; r->call != __NR_SCMP_ERROR; r++) {
			uint32_t action = r->error ? SCMP_ACT_ERRNO((uint32_t)r->error)
						   : SCMP_ACT_ALLOW;
			int err = seccomp_rule_add_array(ctx, action, r->call, r->n_args, r->args);

			if (err != -EEXIST) /* two sets may have the same rule */
				check(err, kind->name);
		}
	}
}

/* The operands of all programs, each once: there are few. */
static uint32_t values[UINT8_MAX + 1];
static unsigned int n_values;

static unsigned int value_index(uint32_t k)
{
	unsigned int i = 0;

	while (i < n_values && values[i] != k)
		i++;
	if (i == sizeof(values) / sizeof(values[0]))
		check(-E2BIG, "operands");
	if (i == n_values)
		values[n_values++] = k;
	return i;
}

/* As filter_bytes.h says, one a line. Returns how many bytes. */
static unsigned int print_instruction(const struct kind *kind, const struct sock_filter *insn)
{
	unsigned int code = insn->code;

	if (code & ~FILTER_CODE)
		check(-ERANGE, kind->name);
	code |= (insn->jt ? FILTER_HAS_JT : 0) | (insn->jf ? FILTER_HAS_JF : 0);
	printf("\t0x%02x, %u, ", code, value_index(insn->k));
	if (insn->jt)
		printf("%u, ", insn->jt);
	if (insn->jf)
		printf("%u, ", insn->jf);
	printf("/* 0x%08x */\n", insn->k);
	return 2 + (insn->jt != 0) + (insn->jf != 0);
}

/* Returns its bytes. */
static unsigned int print_filter(const struct kind *kind)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_TRAP);
	struct sock_filter insn;
	unsigned int len = 0;
	FILE *file = tmpfile();

	if (!ctx || !file)
		check(-ENOMEM, "no room");
	check(seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS), "attributes");
	/*
	 * A tree. The kernel runs a new filter for each number that there is, to know which calls it need not be run for: with
	 * a list that takes most of the time of a filter's start.
	 */
	check(seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2), "a tree");
	add_rules(ctx, kind);
	check(seccomp_export_bpf(ctx, fileno(file)), kind->name);
	rewind(file);
	printf("\t/* %s */\n", kind->name);
	while (fread(&insn, sizeof(insn), 1, file) == 1)
		len += print_instruction(kind, &insn);
	fclose(file);
	seccomp_release(ctx);
	return len;
}

int main(void)
{
	unsigned int end[FILTER_KINDS], at = 0;

	printf("/* Made by filter_rules.c. */\n"
	       "static const uint8_t filter_bytes[] = {\n");
	for (unsigned int i = 0; i < FILTER_KINDS; i++)
		end[i] = at += print_filter(&kinds[i]);
	printf("};\n\nstatic const uint16_t filter_ends[FILTER_KINDS] = {");
	for (unsigned int i = 0; i < FILTER_KINDS; i++)
		printf("%u, ", end[i]);
	printf("};\n\nstatic const uint32_t filter_values[] = {\n");
	for (unsigned int i = 0; i < n_values; i++)
		printf("\t0x%08x,\n", values[i]);
	printf("};\n");
	return 0;
}
