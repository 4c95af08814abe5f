#include "vmm/core/mounts.h"

#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/core/unset.h"

/* Not in <linux/magic.h>, or not in older ones. */
#define MOUNTS_MAGIC_CONFIGFS	0x62656570
#define MOUNTS_MAGIC_FUNCTIONFS 0xa647361
#define MOUNTS_MAGIC_FUSECTL	0x65735543
#define MOUNTS_MAGIC_MQUEUE	0x19800202
#define MOUNTS_MAGIC_NFSD	0x6e667364
#define MOUNTS_MAGIC_RPC_PIPEFS 0x67596969
#define MOUNTS_MAGIC_SECRET	0x5345434d

/* The last is mounted nowhere. */
const uint32_t mounts_kernels_own[] = {
	PROC_SUPER_MAGIC,	 SYSFS_MAGIC,
	CGROUP_SUPER_MAGIC,	 CGROUP2_SUPER_MAGIC,
	DEBUGFS_MAGIC,		 TRACEFS_MAGIC,
	SECURITYFS_MAGIC,	 BPF_FS_MAGIC,
	PSTOREFS_MAGIC,		 EFIVARFS_MAGIC,
	SELINUX_MAGIC,		 SMACK_MAGIC,
	DEVPTS_SUPER_MAGIC,	 NSFS_MAGIC,
	BINFMTFS_MAGIC,		 AUTOFS_SUPER_MAGIC,
	BINDERFS_SUPER_MAGIC,	 RDTGROUP_SUPER_MAGIC,
	HUGETLBFS_MAGIC,	 XENFS_SUPER_MAGIC,
	MOUNTS_MAGIC_CONFIGFS,	 MOUNTS_MAGIC_MQUEUE,
	MOUNTS_MAGIC_FUSECTL,	 MOUNTS_MAGIC_NFSD,
	MOUNTS_MAGIC_RPC_PIPEFS, MOUNTS_MAGIC_FUNCTIONFS,
	MOUNTS_MAGIC_SECRET,
};

static const char mounts_types[] =
	"proc\0sysfs\0cgroup\0cgroup2\0debugfs\0tracefs\0securityfs\0bpf\0"
	"pstore\0efivarfs\0selinuxfs\0smackfs\0devpts\0nsfs\0binfmt_misc\0"
	"binder\0resctrl\0hugetlbfs\0xenfs\0configfs\0mqueue\0"
	"fusectl\0nfsd\0rpc_pipefs\0functionfs\0";

bool mounts_is_kernels_own(const char *type)
{
	const char *own = mounts_types;

	while (*own && strcmp(own, type) != 0)
		own += strlen(own) + 1;
	return *own != '\0';
}

int mounts_each(mounts_fn *fn, const void *arg)
{
	FILE *mounts = fopen("/proc/self/mounts", "re");
	UNSET char line[2 * PATH_MAX];
	struct mntent entry;
	int ret = 0;

	if (!mounts)
		return -errno;
	while (ret == 0 && getmntent_r(mounts, &entry, line, sizeof(line)))
		ret = fn(&entry, arg);
	fclose(mounts);
	return ret;
}

/* The directory ends in no slash. */
static int mounts_is_below(const struct mntent *entry, const void *arg)
{
	const char *at = entry->mnt_dir, *dir = arg;

	for (; *dir && *dir == *at; dir++)
		at++;
	return !*dir && at[0] == '/' && at[1];
}

bool mounts_are_below(const char *path)
{
	char *dir = realpath(path, NULL);
	bool found;

	if (dir && !dir[1])
		dir[0] = '\0';
	found = !dir || mounts_each(mounts_is_below, dir) != 0;
	free(dir);
	return found;
}
