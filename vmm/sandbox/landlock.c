#include "vmm/sandbox/landlock.h"

#include <errno.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's struct as of version 6; headers may be older. A version that knows less is told its own length of it. */
struct landlock_rules {
	uint64_t files;
	uint64_t net;	/* since version 4 */
	uint64_t scope; /* since version 6 */
};

/* Of versions 2 and 3. Without the former nothing moves from one directory to another: the guest is told EXDEV. */
#define LANDLOCK_REFER	  (UINT64_C(1) << 13)
#define LANDLOCK_TRUNCATE (UINT64_C(1) << 14)

#define LANDLOCK_NET_ALL   UINT64_C(3) /* bind, connect */
#define LANDLOCK_SCOPE_ALL UINT64_C(3) /* abstract unix sockets, signals */

/* How many kinds of access to files each version knows: they are numbered in the order in which they came. */
static unsigned int landlock_n_file_rights(int version)
{
	static const unsigned int n[] = {0, 13, 14, 15, 15, 16};

	return n[version < 5 ? version : 5];
}

static int landlock_allow(int ruleset, int dir, uint64_t access)
{
	struct landlock_path_beneath_attr below = {.allowed_access = access, .parent_fd = dir};

	return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &below, 0) < 0
		       ? -errno
		       : 0;
}

/* No devices, and nothing is run. */
static uint64_t landlock_tree_rights(const struct confine_tree *tree, uint64_t known)
{
	uint64_t rights = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;

	if (tree->write)
		rights |= LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
			  LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
			  LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
			  LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_SYM |
			  LANDLOCK_REFER | LANDLOCK_TRUNCATE;
	return rights & known;
}

int landlock_deny(const int *remove_in, unsigned int n, const struct confine_tree *const *trees,
		  unsigned int n_trees)
{
	int version = (int)syscall(SYS_landlock_create_ruleset, NULL, 0,
				   LANDLOCK_CREATE_RULESET_VERSION);
	struct landlock_rules rules = {.net = LANDLOCK_NET_ALL, .scope = LANDLOCK_SCOPE_ALL};
	size_t size = sizeof(rules);
	int fd, err = 0;

	if (version < 0)
		return -errno;
	if (version < 6)
		size = version < 4 ? offsetof(struct landlock_rules, net)
				   : offsetof(struct landlock_rules, scope);
	rules.files = (UINT64_C(1) << landlock_n_file_rights(version)) - 1;
	fd = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
	if (fd < 0)
		return -errno;
	for (unsigned int i = 0; i < n && err == 0; i++)
		err = landlock_allow(fd, remove_in[i], LANDLOCK_ACCESS_FS_REMOVE_FILE);
	for (unsigned int i = 0; i < n_trees && err == 0; i++) {
		if (trees[i]->read)
			err = landlock_allow(fd, trees[i]->fd,
					     landlock_tree_rights(trees[i], rules.files));
	}
	if (err == 0 && syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		err = -errno;
	close(fd);
	return err;
}
