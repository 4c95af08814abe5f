/*
 * What a guest that has taken over one of vmm's threads would try. Linked with all of vmm; when the guest first writes to a port,
 * the thread named by $BREAKOUT_THREAD (vcpu, main, io or disk) makes the system call named by $BREAKOUT_ACT.
 *
 * A call that is not stopped is told on stderr, with status 99. With $BREAKOUT_LIST the calls are listed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/core/bus.h"
#include "vmm/core/evloop.h"
#include "vmm/core/thread.h"

#define NOT_STOPPED 99

static char page[4096];

static const struct act {
	const char *name;
	long number;
	long args[6];
} acts[] = {
#define PTR(p) (long)(uintptr_t)(p)
	{"openat", SYS_openat, {AT_FDCWD, PTR("/etc/passwd"), O_RDONLY}},
	{"open", SYS_open, {PTR("/etc/passwd"), O_RDONLY}},
	{"creat", SYS_creat, {PTR("/tmp/breakout"), 0600}},
	{"openat2", SYS_openat2, {AT_FDCWD, PTR("/etc/passwd"), PTR(page), 24}},
	{"open_by_handle_at", SYS_open_by_handle_at, {0, PTR(page), O_RDONLY}},
	{"execve", SYS_execve, {PTR("/bin/true"), 0, 0}},
	{"execveat", SYS_execveat, {AT_FDCWD, PTR("/bin/true"), 0, 0, 0}},
	{"fork", SYS_fork, {0}},
	{"vfork", SYS_vfork, {0}},
	{"clone", SYS_clone, {SIGCHLD}},
	{"clone", SYS_clone, {CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_NEWUSER}},
	{"socket", SYS_socket, {AF_INET, SOCK_STREAM, 0}},
	{"socket", SYS_socket, {AF_UNIX, SOCK_DGRAM, 0}},
	{"socket", SYS_socket, {AF_NETLINK, SOCK_RAW, 0}},
	{"socketpair", SYS_socketpair, {AF_UNIX, SOCK_STREAM, 0, PTR(page)}},
	{"bind", SYS_bind, {0, PTR(page), 2}},
	{"listen", SYS_listen, {0, 1}},
	{"recvmsg", SYS_recvmsg, {0, PTR(page), 0}},
	{"ptrace", SYS_ptrace, {PTRACE_TRACEME, 0, 0, 0}},
	{"process_vm_readv", SYS_process_vm_readv, {1, PTR(page), 1, PTR(page), 1, 0}},
	{"process_vm_writev", SYS_process_vm_writev, {1, PTR(page), 1, PTR(page), 1, 0}},
	{"kill", SYS_kill, {1, 0}},
	{"kill", SYS_kill, {-1, SIGKILL}},
	{"tkill", SYS_tkill, {1, 0}},
	{"tgkill", SYS_tgkill, {1, 1, 0}},
	{"rt_sigqueueinfo", SYS_rt_sigqueueinfo, {1, 0, PTR(page)}},
	{"pidfd_open", SYS_pidfd_open, {1, 0}},
	{"pidfd_getfd", SYS_pidfd_getfd, {0, 0, 0}},
	{"mmap", SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0}},
	{"mmap",
	 SYS_mmap,
	 {0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_ANONYMOUS, -1, 0}},
	{"mprotect", SYS_mprotect, {PTR(page), 4096, PROT_READ | PROT_EXEC}},
	{"pkey_mprotect", SYS_pkey_mprotect, {PTR(page), 4096, PROT_READ | PROT_EXEC, -1}},
	{"memfd_create", SYS_memfd_create, {PTR("x"), 0}},
	{"userfaultfd", SYS_userfaultfd, {0}},
	{"ioctl", SYS_ioctl, {0, TIOCSTI, PTR(page)}},
	{"ioctl", SYS_ioctl, {3, KVM_CREATE_VM, 0}},
	{"ioctl", SYS_ioctl, {3, KVM_SET_USER_MEMORY_REGION, PTR(page)}},
	{"ioctl", SYS_ioctl, {0, 0x7fffffffL << 32 | KVM_RUN, 0}},
	{"fcntl", SYS_fcntl, {0, F_SETOWN, 1}},
	{"fcntl", SYS_fcntl, {0, F_SETFL, O_ASYNC}},
	{"io_uring_register",
	 SYS_io_uring_register,
	 {0, 12 /* IORING_REGISTER_ENABLE_RINGS */, 0, 0}},
	{"rt_sigaction", SYS_rt_sigaction, {SIGSYS, PTR(page), 0, 8}},
	{"io_uring_setup", SYS_io_uring_setup, {8, PTR(page)}},
	{"unshare", SYS_unshare, {CLONE_NEWNS}},
	{"setns", SYS_setns, {0, 0}},
	{"mount", SYS_mount, {PTR("none"), PTR("/"), PTR("tmpfs"), 0, 0}},
	{"umount2", SYS_umount2, {PTR("/"), 0}},
	{"pivot_root", SYS_pivot_root, {PTR("."), PTR(".")}},
	{"chroot", SYS_chroot, {PTR("/")}},
	{"chdir", SYS_chdir, {PTR("/")}},
	{"fchdir", SYS_fchdir, {0}},
	{"unlink", SYS_unlink, {PTR("/tmp/breakout")}},
	{"rename", SYS_rename, {PTR("/tmp/breakout"), PTR("/tmp/breakin")}},
	{"mkdir", SYS_mkdir, {PTR("/tmp/breakout"), 0700}},
	{"mknod", SYS_mknod, {PTR("/tmp/breakout"), 0, 0}},
	{"symlink", SYS_symlink, {PTR("/"), PTR("/tmp/breakout")}},
	{"linkat", SYS_linkat, {AT_FDCWD, PTR("/etc/passwd"), AT_FDCWD, PTR("/tmp/breakout"), 0}},
	{"chmod", SYS_chmod, {PTR("/tmp/breakout"), 0777}},
	{"fchmod", SYS_fchmod, {0, 0777}},
	{"fchown", SYS_fchown, {0, 0, 0}},
	{"truncate", SYS_truncate, {PTR("/tmp/breakout"), 0}},
	{"readlink", SYS_readlink, {PTR("/proc/self/exe"), PTR(page), 4096}},
	{"getdents64", SYS_getdents64, {0, PTR(page), 4096}},
	{"setuid", SYS_setuid, {0}},
	{"setgroups", SYS_setgroups, {0, 0}},
	{"capset", SYS_capset, {PTR(page), PTR(page)}},
	{"prctl", SYS_prctl, {4 /* PR_SET_DUMPABLE */, 1}},
	{"seccomp", SYS_seccomp, {2 /* SECCOMP_GET_ACTION_AVAIL */, 0, PTR(page)}},
	{"bpf", SYS_bpf, {0, PTR(page), 64}},
	{"perf_event_open", SYS_perf_event_open, {PTR(page), 0, -1, -1, 0}},
	{"keyctl", SYS_keyctl, {0, -3, 0}},
	{"add_key", SYS_add_key, {PTR("user"), PTR("x"), PTR(page), 1, -3}},
	{"init_module", SYS_init_module, {PTR(page), 4096, PTR("")}},
	{"kexec_load", SYS_kexec_load, {0, 0, 0, 0}},
	{"reboot", SYS_reboot, {0, 0, 0, 0}},
	{"setrlimit", SYS_setrlimit, {4, PTR(page)}},
	{"prlimit64", SYS_prlimit64, {1, 4, 0, PTR(page)}},
	{"setpriority", SYS_setpriority, {0, 0, 19}},
	{"sched_setaffinity", SYS_sched_setaffinity, {0, 8, PTR(page)}},
	{"personality", SYS_personality, {0x0400000}},
	{"shmget", SYS_shmget, {0, 4096, 01600}},
	{"msgget", SYS_msgget, {0, 01600}},
	{"mq_open", SYS_mq_open, {PTR("x"), O_RDWR | O_CREAT, 0600, 0}},
	{"inotify_init", SYS_inotify_init, {0}},
	{"fanotify_init", SYS_fanotify_init, {0, 0}},
	{"signalfd4", SYS_signalfd4, {-1, PTR(page), 8, 0}},
	{"timer_create", SYS_timer_create, {0, 0, PTR(page)}},
	{"syslog", SYS_syslog, {3, PTR(page), 4096}},
	{"sysinfo", SYS_sysinfo, {PTR(page)}},
	{"uname", SYS_uname, {PTR(page)}},
	{"getppid", SYS_getppid, {0}},
	{"unknown", 0x3fff, {0}},
};

#define N_ACTS (sizeof(acts) / sizeof(acts[0]))

static struct evloop *main_loop, *io_loop;

static void *do_act(void *arg)
{
	const struct act *act = &acts[atoi(getenv("BREAKOUT_ACT"))];
	long result = syscall(act->number, act->args[0], act->args[1], act->args[2], act->args[3],
			      act->args[4], act->args[5]);
	char text[128];

	(void)arg;
	snprintf(text, sizeof(text), "not stopped: %s gave %ld\n", act->name, result);
	result = write(STDERR_FILENO, text, strlen(text));
	_exit(NOT_STOPPED);
}

static void do_act_on_loop(void *arg)
{
	do_act(arg);
}

static void start_disk_thread(void *arg)
{
	pthread_t thread;

	(void)arg;
	if (thread_starter_run(io_loop->starter, &thread, "vmm-disk", do_act, NULL) < 0)
		_exit(1);
}

/* ---- in place of vmm's own functions, by the linker's --wrap ---- */

int __real_evloop_start(struct evloop *loop, const char *name);
int __wrap_evloop_start(struct evloop *loop, const char *name);
void __real_bus_write(const struct bus *bus, uint64_t address, unsigned int size, uint64_t value);
void __wrap_bus_write(const struct bus *bus, uint64_t address, unsigned int size, uint64_t value);

int __wrap_evloop_start(struct evloop *loop, const char *name)
{
	if (strcmp(name, "vmm-main") == 0)
		main_loop = loop;
	else
		io_loop = loop;
	return __real_evloop_start(loop, name);
}

void __wrap_bus_write(const struct bus *bus, uint64_t address, unsigned int size, uint64_t value)
{
	static struct evloop_task act = {.fn = do_act_on_loop}, start = {.fn = start_disk_thread};
	static _Atomic bool done;
	const char *thread = getenv("BREAKOUT_THREAD");

	if (thread && !atomic_exchange(&done, true)) {
		/* The others have their filters by now; what they do while this one waits is to be seen. */
		usleep(2000);
		if (strcmp(thread, "vcpu") == 0)
			do_act(NULL);
		else if (strcmp(thread, "main") == 0)
			evloop_post(main_loop, &act);
		else
			evloop_post(io_loop, strcmp(thread, "io") == 0 ? &act : &start);
		sleep(5); /* the guest must not end the machine first */
	}
	__real_bus_write(bus, address, size, value);
}

/* Before main(): the list for the test. */
__attribute__((constructor)) static void list(void)
{
	if (!getenv("BREAKOUT_LIST"))
		return;
	for (size_t i = 0; i < N_ACTS; i++)
		printf("%zu %s %ld\n", i, acts[i].name, acts[i].number);
	exit(0);
}
