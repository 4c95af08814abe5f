#include "vmm/sandbox/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/core/log.h"
#include "vmm/core/new_calls.h"
#include "vmm/sandbox/confine_trees.h"
#include "vmm/sandbox/landlock.h"

/* Linux 6.3; older headers do not know them. */
#ifndef PR_SET_MDWE
#define PR_SET_MDWE		 65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

struct confine {
	const struct confine_options *options;
	struct confine_result *result;
	bool own_mounts; /* there is a mount namespace of our own */
	bool entered;	 /* its root is the empty one */
	bool cut;	 /* no directory has a way up */
	int left;	 /* the mount namespace that it had, or -1 */
	const char *why; /* a stage failed, if not by its error's words alone */
};

/* Without a text it is only tried whether it may be written. */
static int confine_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (text && write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* The user stays who they are: one number, the same inside and outside. */
static int confine_map_user(uid_t uid, gid_t gid)
{
	char map[64];
	int err;

	snprintf(map, sizeof(map), "%u %u 1", uid, uid);
	err = confine_write("/proc/self/uid_map", map);
	if (err == 0)
		err = confine_write("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "%u %u 1", gid, gid);
	return err == 0 ? confine_write("/proc/self/gid_map", map) : err;
}

static bool confine_begins(const char *path, const char *text)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char found[16] = "";

	if (fd < 0)
		return false;
	if (read(fd, found, sizeof(found) - 1) < 0)
		found[0] = '\0';
	close(fd);
	return strncmp(found, text, strlen(text)) == 0;
}

/*
 * A user namespace that cannot be finished is worse than none: in it we are nobody. With this sysctl AppArmor lets all enter one who have no
 * profile of their own (unconfined), or that of such a namespace (unprivileged_userns, unpriv_bwrap); there they have no rights, and what was
 * opened before is out of reach.
 */
static int confine_may_be_alone(struct confine *c)
{
	static const char sysctl[] = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
	int err = confine_write("/proc/self/uid_map", NULL);

	if (err == 0 && confine_begins(sysctl, "1") &&
	    (confine_begins("/proc/self/attr/current", "unconfined") ||
	     confine_begins("/proc/self/attr/current", "unpriv"))) {
		c->why = &sysctl[strlen("/proc/sys/")];
		return -EACCES;
	}
	return err;
}

static bool confine_has_directories(const struct confine_options *options)
{
	return options->n_remove_in > 0 || options->n_trees > 0;
}

/* Who has made the process knows which they are, and has closed them or not. */
static int confine_descriptors(struct confine *c)
{
	return c->options->still_open;
}

/* A thread that was joined may still be one to the kernel, which gives a process of several no user namespace. */
static int confine_unshare(int namespaces)
{
	for (int tries = 200; unshare(namespaces) < 0; tries--) {
		if (errno != EINVAL || tries == 0)
			return -errno;
		usleep(100);
	}
	return 0;
}

/*
 * First, while all names mean what they did. A network namespace is not among them: it would cost more than all the other
 * layers together, and no thread can make a socket but a unix one. A PID namespace holds children only, and there will be none.
 */
static int confine_namespaces(struct confine *c)
{
	const int wanted = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int err = 0;

	/* One in which nobody is any more falls apart: the names of what was opened there would lead elsewhere. */
	if (confine_has_directories(c->options))
		c->left = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (unshare(wanted) < 0) {
		/* Who may not do so may in a user namespace, where the host lets users have them; that has no other user. */
		if (c->options->change_user)
			return -errno;
		err = confine_may_be_alone(c);
		if (err == 0)
			err = confine_unshare(CLONE_NEWUSER | wanted);
		if (err < 0)
			return err;
		err = confine_map_user(uid, gid);
		c->result->alone = true;
	}
	/* Nobody else sees what happens in it, nor the other way round. */
	if (err == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		err = -errno;
	c->own_mounts = err == 0;
	/* Once there is an empty root, no name leads to it. */
	if (c->own_mounts && c->options->mounts)
		c->result->mounts = open("/proc/thread-self/ns/mnt", O_RDONLY | O_CLOEXEC);
	return err;
}

/* After the namespaces, and before the root, while names lead to them. */
static int confine_directories(struct confine *c)
{
	int err = c->own_mounts ? confine_trees_cut(c->options) : -EPERM;

	c->cut = err == 0;
	return err;
}

/* Makes the working directory, an empty file system, the root, and lets go of all others. */
static int confine_enter(void)
{
	if (syscall(SYS_pivot_root, ".", ".") == 0)
		return umount2(".", MNT_DETACH) < 0 ? -errno : 0;
	/* The root of an initramfs cannot be exchanged; it can be covered. */
	if (mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

/* A copy of the mount below which the sockets lie, not attached anywhere yet. */
static int confine_take_sockets(const struct confine *c, int *tree)
{
	const char *dir = c->options->socket_dir;

	*tree = -1;
	if (!dir)
		return 0;
	*tree = new_open_tree(AT_FDCWD, dir, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	return *tree < 0 ? -errno : 0;
}

static int confine_show_sockets(int tree)
{
	const unsigned long safe = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;
	const char *name = &CONFINE_SOCKETS[1];

	if (tree < 0)
		return 0;
	if (mkdir(name, 0700) < 0 ||
	    new_move_mount(tree, "", AT_FDCWD, name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -errno;
	/* Connecting needs none of that; a file system whose flags are locked keeps its own. */
	mount(NULL, name, NULL, MS_REMOUNT | MS_BIND | safe, NULL);
	return 0;
}

/* The working directory becomes an empty file system, on top of whatever is there. */
static int confine_mount_empty(void)
{
	static const char *const places[] = {"/tmp", "/proc", "/dev"};
	int err = -ENOENT;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && err < 0; i++) {
		err = mount("none", places[i], "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
			    "size=4k,nr_inodes=4,mode=0711") < 0
			      ? -errno
			      : 0;
		if (err == 0 && chdir(places[i]) < 0) {
			err = -errno;
			umount2(places[i], MNT_DETACH);
			return err;
		}
	}
	return err;
}

/* The working directory, an empty file system, becomes all that there is. */
static int confine_replace_root(struct confine *c, int sockets)
{
	int err = confine_show_sockets(sockets);

	if (err == 0)
		err = confine_enter();
	if (err < 0)
		return err;
	c->entered = true;
	if (mount(NULL, "/", NULL,
		  MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		err = -errno;
	if (sockets >= 0 && chdir(CONFINE_SOCKETS) < 0)
		err = -errno;
	c->result->moved = sockets >= 0;
	return err;
}

/* As it was: the sockets may lie where it was mounted, or have names that begin in the working directory. */
static void confine_restore_root(int here)
{
	umount2(".", MNT_DETACH);
	if (here >= 0 && fchdir(here) < 0)
		log_warn("sandbox: cannot return to the working directory: %m");
}

/* After the namespaces: needs rights that only a mount namespace of our own gives, and nobody else shall see it. */
static int confine_root(struct confine *c)
{
	int here, sockets, err;

	if (!c->own_mounts)
		return -EPERM;
	err = confine_take_sockets(c, &sockets);
	if (err < 0)
		return err;
	here = sockets >= 0 ? open(".", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	err = confine_mount_empty();
	if (err == 0) {
		err = confine_replace_root(c, sockets);
		if (!c->entered)
			confine_restore_root(here);
	}
	if (here >= 0)
		close(here);
	if (sockets >= 0)
		close(sockets);
	return err;
}

/* After the root, which took rights of the old user; before the rest, which needs none. */
static int confine_user(struct confine *c)
{
	const struct confine_options *o = c->options;

	if (setgroups(0, NULL) < 0 || setresgid(o->gid, o->gid, o->gid) < 0 ||
	    setresuid(o->uid, o->uid, o->uid) < 0)
		return -errno;
	return 0;
}

/* Those of permitted that are not effective a thread may take when it needs them. */
static int confine_set_capabilities(uint32_t effective, uint32_t permitted)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {
		{.effective = effective, .permitted = permitted}};

	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return syscall(SYS_capset, &header, sets) < 0 ? -errno : 0;
}

void confine_drop_capabilities(void)
{
	confine_set_capabilities(0, 0);
}

void confine_settle_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, sets) < 0)
		return;
	for (unsigned int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		sets[i].permitted = sets[i].effective;
	syscall(SYS_capset, &header, sets);
}

/* A user namespace gave all of them. None can come back, for nothing is executed any more. */
static int confine_capabilities(struct confine *c)
{
	const uint32_t owners = UINT32_C(1) << CAP_CHOWN | UINT32_C(1) << CAP_FOWNER |
				UINT32_C(1) << CAP_DAC_OVERRIDE;

	if (c->options->keep_owners && !c->options->change_user && !c->result->alone &&
	    geteuid() == 0 &&
	    /* In a container the last may be missing: setgid bits for other groups than ours are lost then, and no more. */
	    (confine_set_capabilities(owners, owners | UINT32_C(1) << CAP_FSETID) == 0 ||
	     confine_set_capabilities(owners, owners) == 0)) {
		c->result->kept = true;
		return 0;
	}
	return confine_set_capabilities(0, 0);
}

/* Landlock and filters ask for it. Memory that was not executable stays so, where the kernel can promise that. */
static int confine_no_new_privileges(struct confine *c)
{
	(void)c;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0);
	return 0;
}

static int confine_landlock(struct confine *c)
{
	const struct confine_options *o = c->options;
	int err = landlock_deny(o->remove_in, o->n_remove_in, o->trees, o->n_trees);
	bool inside = c->entered && c->cut;

	c->result->hidden = err == 0 || inside;
	/* Landlock knows nothing of modes and owners; and without it what is open could be opened once more. */
	c->result->out_of_reach = err == 0 && inside;
	return err;
}

/* No file of vmm's memory is written; nor can it open more descriptors, or lock more memory, than now. */
static int confine_limits(struct confine *c)
{
	static const int kept[] = {RLIMIT_NOFILE, RLIMIT_MEMLOCK};
	struct rlimit limit = {0};

	(void)c;
	if (setrlimit(RLIMIT_CORE, &limit) < 0)
		return -errno;
	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		if (getrlimit((__rlimit_resource_t)kept[i], &limit) < 0)
			return -errno;
		limit.rlim_max = limit.rlim_cur;
		if (setrlimit((__rlimit_resource_t)kept[i], &limit) < 0)
			return -errno;
	}
	return 0;
}

static const struct confine_stage {
	const char *name;
	int (*apply)(struct confine *c);
	bool required; /* an error even if not strict */
} confine_stages[] = {
	{"closed descriptors", confine_descriptors, false},
	{"namespaces", confine_namespaces, false},
	{"directories without a way up", confine_directories, false},
	{"an empty root", confine_root, false},
	{"another user", confine_user, true},
	{"no capabilities", confine_capabilities, false},
	{"no new privileges", confine_no_new_privileges, false},
	{"Landlock", confine_landlock, false},
	{"limits", confine_limits, false},
};

static void confine_note(char *text, size_t size, const char *name, const char *why)
{
	size_t len = strlen(text);

	snprintf(text + len, size - len, "%s%s%s%s%s", len > 0 ? ", " : "", name, why ? " (" : "",
		 why ? why : "", why ? ")" : "");
}

/* What is not there to be given up is neither held nor missed. */
static bool confine_wants(const struct confine *c, const struct confine_stage *stage)
{
	if (stage->apply == confine_descriptors)
		return c->options->still_open < 0;
	if (stage->apply == confine_directories)
		return confine_has_directories(c->options);
	return stage->apply != confine_user || c->options->change_user;
}

static const char *confine_held_name(const struct confine *c, const struct confine_stage *stage)
{
	return stage->apply == confine_capabilities && c->result->kept
		       ? "no capabilities but those over shared files"
		       : stage->name;
}

static int confine_apply(struct confine *c)
{
	const struct confine_options *options = c->options;
	struct confine_result *result = c->result;

	for (size_t i = 0; i < sizeof(confine_stages) / sizeof(confine_stages[0]); i++) {
		const struct confine_stage *stage = &confine_stages[i];
		int err;

		if (!confine_wants(c, stage))
			continue;
		c->why = NULL;
		err = stage->apply(c);
		if (err < 0 && !c->why)
			c->why = strerror(-err);
		if (err < 0 && (stage->required || options->strict)) {
			log_error("sandbox: cannot get %s: %s%s", stage->name, c->why,
				  stage->apply == confine_user
					  ? "; it takes CAP_SETUID and CAP_SETGID, and a user "
					    "namespace that maps it and allows setgroups"
					  : "");
			return err;
		}
		if (err < 0)
			confine_note(result->missing, sizeof(result->missing), stage->name, c->why);
		else
			confine_note(result->held, sizeof(result->held),
				     confine_held_name(c, stage), NULL);
	}
	return 0;
}

/*
 * Whether nothing is mounted there but the empty root, and on some hosts what was there before the first one: in a chroot on a mount
 * point the host's other mounts are left, and who unmounts those in the host would find them in use. Linux tells since 6.12 (NS_MNT_GET_INFO, which
 * headers may not have).
 */
static bool confine_is_bare(int mounts)
{
	struct {
		uint32_t size, n;
		uint64_t id;
	} info = {.size = sizeof(info)};

	return ioctl(mounts, _IOR(0xb7, 10, info), &info) == 0 && info.n <= 2;
}

int confine_process(const struct confine_options *options, struct confine_result *result)
{
	struct confine c = {.options = options,
			    .result = result,
			    .cut = !confine_has_directories(options),
			    .left = -1};
	int err;

	*result = (struct confine_result){.mounts = -1};
	err = confine_apply(&c);
	if (result->mounts >= 0 && (err < 0 || !c.entered || !confine_is_bare(result->mounts))) {
		close(result->mounts);
		result->mounts = -1;
	}
	if (c.left >= 0)
		close(c.left);
	return err;
}
