/* The rest of the host: memory, disks' and network's helpers, those of container images, what a sandbox is made of, limits. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>

#include "vmm/cli/doctor.h"
#include "vmm/image/image_libs.h"
#include "vmm/image/image_tool.h"

#define MIB	    (UINT64_C(1) << 20)
#define MEMORY_FAIL (64 * MIB)
#define MEMORY_WARN (512 * MIB) /* for a default machine and what the host itself needs */
#define FILES_WARN  4096	/* as many as a socket device has streams */
#define PIN_WARN    (16 * MIB) /* io_uring counts what it uses as locked memory before Linux 5.12 */

/* A number that a file begins with, or other if there is no such file. */
static uint64_t doctor_number(const char *path, uint64_t other)
{
	char text[64];

	doctor_read(path, text, sizeof(text));
	return text[0] >= '0' && text[0] <= '9' ? strtoull(text, NULL, 10) : other;
}

/* Opens it and closes it again. Returns 0 or negative errno. */
static int doctor_try_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK), err = -errno;

	if (fd < 0)
		return err;
	close(fd);
	return 0;
}

/* ---- memory ---- */

static uint64_t doctor_available(void)
{
	FILE *info = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;
	char line[128];

	while (info && fgets(line, sizeof(line), info)) {
		if (sscanf(line, "MemAvailable: %llu", &kib) == 1)
			break;
	}
	if (info)
		fclose(info);
	return (uint64_t)kib << 10;
}

/* The least that memory.max of our cgroup and those around it allows. */
static uint64_t doctor_cgroup_limit(void)
{
	char group[PATH_MAX], path[PATH_MAX + 64], *slash;
	uint64_t least = UINT64_MAX;

	doctor_read("/proc/self/cgroup", group, sizeof(group));
	if (strncmp(group, "0::/", 4) != 0)
		return least;
	while ((slash = strrchr(group, '/'))) {
		uint64_t limit;

		snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.max", group + 3);
		limit = doctor_number(path, UINT64_MAX);
		least = limit < least ? limit : least;
		*slash = '\0';
	}
	return least;
}

static void doctor_check_memory(struct doctor *d)
{
	uint64_t available = doctor_available(), limit = doctor_cgroup_limit();
	uint64_t least = available < limit ? available : limit;
	enum doctor_result result = available == 0	  ? DOCTOR_WARN
				    : least < MEMORY_FAIL ? DOCTOR_FAIL
				    : least < MEMORY_WARN ? DOCTOR_WARN
							  : DOCTOR_OK;

	doctor_find(d, result, "memory", NULL,
		    available == 0 ? "/proc/meminfo does not tell how much is available"
				   : "%llu MiB are available%s",
		    (unsigned long long)(least / MIB),
		    limit < available ? ", the limit of the cgroup" : "");
	if (doctor_number("/proc/sys/vm/overcommit_memory", 0) == 2)
		doctor_find(d, DOCTOR_WARN, "overcommit", "sudo sysctl vm.overcommit_memory=0",
			    "a guest's memory counts as used from the start on, shared memory as "
			    "it is touched");
}

#define THP	  "/sys/kernel/mm/transparent_hugepage/enabled"
#define HUGE_FREE "/sys/kernel/mm/hugepages/hugepages-%dkB/free_hugepages"

static uint64_t doctor_huge_free(int kib)
{
	char path[128];

	snprintf(path, sizeof(path), HUGE_FREE, kib);
	return doctor_number(path, 0);
}

static void doctor_check_huge_pages(struct doctor *d)
{
	char text[64];

	doctor_read(THP, text, sizeof(text));
	if (!text[0])
		doctor_find(d, DOCTOR_WARN, "huge-pages", NULL,
			    "the kernel has none (CONFIG_TRANSPARENT_HUGEPAGE); guests are slower");
	else if (strstr(text, "[never]"))
		doctor_find(d, DOCTOR_WARN, "huge-pages", "echo madvise | sudo tee " THP,
			    "switched off; guests are slower");
	else
		doctor_find(d, DOCTOR_OK, "huge-pages", NULL, "switched on: %s", text);
	doctor_find(d, DOCTOR_OK, "hugetlb", NULL,
		    "set aside and free: %llu of 2M, %llu of 1G, for --memory SIZE,hugepages=",
		    (unsigned long long)doctor_huge_free(2048),
		    (unsigned long long)doctor_huge_free(1048576));
}

/* ---- disks ---- */

#ifdef VMM_HAVE_URING
static void doctor_check_uring(struct doctor *d)
{
	struct io_uring_params params = {.flags = 0};
	int fd = (int)syscall(SYS_io_uring_setup, 1, &params), err = errno;
	bool slow_end = doctor_linux_version() >= 618;

	if (fd >= 0) {
		close(fd);
		doctor_find(d, DOCTOR_OK, "io_uring", NULL, "usable");
		return;
	}
	doctor_find(d, DOCTOR_WARN, "io_uring",
		    doctor_number("/proc/sys/kernel/io_uring_disabled", 0)
			    ? "sudo sysctl kernel.io_uring_disabled=0"
			    : NULL,
		    "not usable: %s (a container's filter may be why); disks are slower%s",
		    strerror(err), slow_end ? ", and the end of each VM takes 10 ms and more" : "");
}
#else
static void doctor_check_uring(struct doctor *d)
{
	doctor_find(d, DOCTOR_WARN, "io_uring", NULL,
		    "this vmm was built without liburing; disks are slower");
}
#endif

/* ---- network ---- */

static void doctor_check_tap(struct doctor *d)
{
	int err = doctor_try_open("/dev/net/tun");

	if (err == 0)
		doctor_find(
			d, DOCTOR_OK, "tap", NULL,
			"/dev/net/tun; an interface is made with: sudo ip tuntap add dev tap0 mode "
			"tap user $USER");
	else
		doctor_find(d, DOCTOR_WARN, "tap",
			    err == -ENOENT || err == -ENODEV ? "sudo modprobe tun"
							     : "sudo chmod 666 /dev/net/tun",
			    "no --net tap=: cannot open /dev/net/tun: %s", strerror(-err));
}

static void doctor_check_vhost(struct doctor *d)
{
	int err = doctor_try_open("/dev/vhost-net");

	if (err == 0)
		doctor_find(d, DOCTOR_OK, "vhost-net", NULL, "the kernel can serve TAPs");
	else
		doctor_find(d, DOCTOR_WARN, "vhost-net",
			    err == -ENOENT || err == -ENODEV ? "sudo modprobe vhost_net"
							     : doctor_let_in("/dev/vhost-net"),
			    "TAPs are served by vmm itself, which is slower: cannot open "
			    "/dev/vhost-net: %s",
			    strerror(-err));
}

static void doctor_check_passt(struct doctor *d)
{
	char path[PATH_MAX];

	if (image_tool_find("passt", path))
		doctor_find(d, DOCTOR_OK, "passt", NULL, "installed, for --net user");
	else
		doctor_find(d, DOCTOR_WARN, "passt", "sudo apt install passt",
			    "no --net user: passt is not installed");
}

/* ---- container images ---- */

static void doctor_check_images(struct doctor *d)
{
	struct image_why why;
	char path[PATH_MAX];

	if (image_libs_check(&why) == 0)
		doctor_find(d, DOCTOR_OK, "images", NULL,
			    "container images' libraries are installed");
	else
		doctor_find(d, DOCTOR_WARN, "images", NULL, "%s", why.text);
	if (image_tool_find(IMAGE_SQFSTAR, path))
		doctor_find(d, DOCTOR_OK, IMAGE_SQFSTAR, NULL, "installed, for container images");
	else
		doctor_find(d, DOCTOR_WARN, IMAGE_SQFSTAR, "sudo apt install squashfs-tools",
			    "no container images: not installed");
}

/* ---- what confines a process ---- */

/* Returns 0, or the errno with which a child is refused a namespace of its own. */
static int doctor_try_namespace(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(unshare(CLONE_NEWUSER) < 0 ? errno : 0);
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : EPERM;
}

static void doctor_check_namespaces(struct doctor *d)
{
	static const char apparmor[] = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
	const char *mend = NULL, *why;
	int err = doctor_try_namespace();
	char label[64];

	/* There a namespace gives no rights, but to programs with a profile that says so (confine.c). */
	doctor_read("/proc/self/attr/current", label, sizeof(label));
	if (geteuid() != 0 && doctor_number(apparmor, 0) == 1 &&
	    (strncmp(label, "unconfined", 10) == 0 || strncmp(label, "unpriv", 6) == 0)) {
		mend = "echo 'abi <abi/4.0>, profile vmm /usr/{,local/}bin/vmm "
		       "flags=(unconfined) { userns, }' | sudo tee /etc/apparmor.d/vmm | "
		       "sudo apparmor_parser -r    # or its place";
		why = "AppArmor";
	} else if (err == 0) {
		doctor_find(d, DOCTOR_OK, "namespaces", NULL, "a user may make their own");
		return;
	} else if (doctor_number("/proc/sys/kernel/unprivileged_userns_clone", 1) == 0) {
		mend = "sudo sysctl kernel.unprivileged_userns_clone=1";
		why = "kernel.unprivileged_userns_clone is 0";
	} else if (doctor_number("/proc/sys/user/max_user_namespaces", 1) == 0) {
		mend = "sudo sysctl user.max_user_namespaces=10000";
		why = "user.max_user_namespaces is 0";
	} else {
		why = strerror(err);
	}
	doctor_find(d, DOCTOR_WARN, "namespaces", mend,
		    "users cannot make their own (%s), which --sandbox strict and --net user need",
		    why);
}

static void doctor_check_landlock(struct doctor *d)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* only its version */);

	if (abi > 0)
		doctor_find(d, DOCTOR_OK, "landlock", NULL, "version %ld", abi);
	else
		doctor_find(
			d, DOCTOR_WARN, "landlock", NULL,
			errno == EOPNOTSUPP
				? "switched off, which --sandbox strict needs; add landlock to "
				  "lsm= on "
				  "the kernel's command line"
				: "this kernel has none, which --sandbox strict needs (Linux 5.13, "
				  "CONFIG_SECURITY_LANDLOCK)");
}

#ifdef VMM_HAVE_SECCOMP
static void doctor_check_seccomp(struct doctor *d)
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;

	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0)
		doctor_find(d, DOCTOR_OK, "seccomp", NULL, "filters can be set");
	else
		doctor_find(d, DOCTOR_WARN, "seccomp", NULL,
			    "no filters, which --sandbox strict needs: %s (CONFIG_SECCOMP_FILTER)",
			    strerror(errno));
}
#else
static void doctor_check_seccomp(struct doctor *d)
{
	doctor_find(
		d, DOCTOR_WARN, "seccomp", NULL,
		"no filters, which --sandbox strict needs: this vmm was built without libseccomp");
}
#endif

/* ---- limits ---- */

static uint64_t doctor_limit(int which, bool hard)
{
	struct rlimit limit = {.rlim_cur = RLIM_INFINITY, .rlim_max = RLIM_INFINITY};

	getrlimit((__rlimit_resource_t)which, &limit);
	return hard ? limit.rlim_max : limit.rlim_cur;
}

static void doctor_check_limits(struct doctor *d)
{
	bool good = true;

	if (doctor_limit(RLIMIT_NOFILE, true) < FILES_WARN) {
		good = false;
		doctor_find(d, DOCTOR_WARN, "limits", "sudo prlimit --pid $$ --nofile=65536",
			    "%llu open files: few streams of --vsock at a time",
			    (unsigned long long)doctor_limit(RLIMIT_NOFILE, true));
	}
	if (doctor_limit(RLIMIT_MEMLOCK, false) < PIN_WARN && doctor_linux_version() < 512) {
		good = false;
		doctor_find(d, DOCTOR_WARN, "limits", "sudo prlimit --pid $$ --memlock=67108864",
			    "%llu KiB of locked memory: too little for io_uring before Linux 5.12",
			    (unsigned long long)doctor_limit(RLIMIT_MEMLOCK, false) >> 10);
	}
	if (doctor_limit(RLIMIT_AS, false) != RLIM_INFINITY) {
		good = false;
		doctor_find(d, DOCTOR_WARN, "limits", "ulimit -v unlimited",
			    "address space is limited, in which all memory of a guest counts");
	}
	if (good)
		doctor_find(d, DOCTOR_OK, "limits", NULL, "files, locked memory, address space");
}

void doctor_check_host(struct doctor *d)
{
	doctor_check_memory(d);
	doctor_check_huge_pages(d);
	doctor_check_uring(d);
	doctor_check_tap(d);
	doctor_check_vhost(d);
	doctor_check_passt(d);
	doctor_check_images(d);
	doctor_check_namespaces(d);
	doctor_check_landlock(d);
	doctor_check_seccomp(d);
	doctor_check_limits(d);
}
