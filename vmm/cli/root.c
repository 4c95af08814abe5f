#include "vmm/cli/root.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guest/protocol.h"
#include "vmm/cli/named.h"
#include "vmm/cli/option.h"
#include "vmm/cli/report.h"
#include "vmm/image/image_ref.h"

#define MIB (UINT64_C(1) << 20)

/* What Linux and a small command need beside the packed and the unpacked directory; see root_check_memory(). */
#define ROOT_RESERVE (64 * MIB)

/*
 * While it is unpacked there are both, and what is unpacked may take half of the memory that is not the archive's (tmpfs).
 */
static uint64_t root_need(const struct root *root)
{
	return 3 * root->dir.size + ROOT_RESERVE;
}

static int root_check_memory(const struct root *root, const struct options *options)
{
	uint64_t size = root->dir.size, need = root_need(root);

	if (need <= options->config.memory)
		return 0;
	report("directory '%s' is too large to be packed into the guest: its %llu MiB need about "
	       "%llu MiB of guest memory, it has %llu MiB; give more by --memory, or an image",
	       options->root, (unsigned long long)((size + MIB - 1) / MIB),
	       (unsigned long long)((need + MIB - 1) / MIB),
	       (unsigned long long)(options->config.memory / MIB));
	return -ENOMEM;
}

/*
 * Whoever reads what changes in the host meanwhile gets what the layer above makes of it: keeping is no worse. Without a layer the guest
 * looks again.
 */
static int root_share(struct root *root, struct options *options, const char *path)
{
	unsigned int n = options->config.n_shares;

	if (n == VMM_MAX_SHARES)
		return report_refuse(
			"a machine has at most %d shared directories, of which the root is one",
			VMM_MAX_SHARES);
	options->shares[n] = (struct vmm_share){
		.path = path,
		.tag = GUEST_SHARED_TAG,
		.writable = options->root_keep,
		.cache = options->root_keep ? VMM_SHARE_CACHE_AUTO : VMM_SHARE_CACHE_ALWAYS};
	options->config.n_shares = n + 1;
	root->type = GUEST_SHARED_TYPE;
	root->shared = true;
	root->readonly = !options->root_keep;
	return 0;
}

static int root_open_dir(struct root *root, struct options *options)
{
	int err;

	if (options->root_keep && options->root_packed)
		return report_refuse(
			"--root '%s': what is written to a copy is not kept: 'rw' and '%s' exclude "
			"each other",
			options->root, options->root_mounts ? "mounts" : "packed");
	if (!options->root_packed &&
	    (options->root_keep || options->root_shared || !root_dir_is_small(options->root)))
		return root_share(root, options, options->root);
	err = root_dir_scan(&root->dir, options->root, options->root_mounts);
	if (err == 0 && !options->root_packed && root_need(root) > options->config.memory) {
		root_dir_free(&root->dir);
		root->dir.path = NULL;
		return root_share(root, options, options->root);
	}
	if (err == 0)
		err = root_check_memory(root, options);
	return err;
}

/* By the places and numbers of <linux/magic.h> and of each one's own format. */
static const char *root_find_type(int fd, bool *readonly)
{
	static const struct {
		const char *type;
		off_t at;
		const char *magic;
		size_t len;
		bool readonly;
	} types[] = {
		{"ext4", 1024 + 56, "\x53\xef", 2, false},
		{"squashfs", 0, "hsqs", 4, true},
		{"erofs", 1024, "\xe2\xe1\xf5\xe0", 4, true},
	};
	char bytes[4];

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (pread(fd, bytes, sizeof(bytes), types[i].at) == sizeof(bytes) &&
		    memcmp(bytes, types[i].magic, types[i].len) == 0) {
			*readonly = types[i].readonly;
			return types[i].type;
		}
	}
	return NULL;
}

int root_add_disk(const struct root *root, struct options *options)
{
	if (options_full(options))
		return -EINVAL;
	memmove(&options->disks[1], &options->disks[0],
		options->config.n_disks * sizeof(options->disks[0]));
	options->config.n_disks++;
	options->disks[0] = (struct vmm_disk){
		.path = root->path,
		.readonly = root->readonly,
		.overlay = !root->readonly && !options->root_keep,
	};
	return 0;
}

void root_look_at_squashfs(struct root *root, int fd)
{
	uint8_t id[2];

	/* struct squashfs_super_block's compression, little-endian */
	if (pread(fd, id, sizeof(id), 20) == sizeof(id))
		root->packed_by = id[0] | (unsigned int)id[1] << 8;
}

static int root_open_image(struct root *root, struct options *options, int fd)
{
	if (options->root_packed || options->root_shared)
		return report_refuse("--root '%s': '%s' goes with a directory", options->root,
				     options->root_mounts   ? "mounts"
				     : options->root_packed ? "packed"
							    : "shared");
	root->type = root_find_type(fd, &root->readonly);
	if (!root->type) {
		root->type = "";
		if (named_hint(options))
			return -EINVAL;
		return report_refuse(
			"--root '%s' is no directory, and no image of an ext4, squashfs or erofs "
			"file system (nor may it have partitions)",
			options->root);
	}
	if (strcmp(root->type, "squashfs") == 0)
		root_look_at_squashfs(root, fd);
	/* A disk that may not be written would be told to be read-only, which no root's item says. */
	if (options->root_keep && (root->readonly || access(options->root, W_OK) < 0))
		return report_refuse("--root '%s': nothing can be written to %s", options->root,
				     root->readonly ? root->type : "it; leave 'rw' out");
	return root_add_disk(root, options);
}

int root_open(struct root *root, struct options *options)
{
	struct stat st;
	int fd, err;

	*root = (struct root){
		.type = "", .directory = "/", .user = "", .path = options->root, .image.fd = -1};
	if (options->root && image_ref_is(options->root))
		return root_open_container(root, options);
	if (!options->root && options->config.initrd)
		return 0;
	if (!options->root) {
		/* The same programs at the same place; when that has no name any more, at the top. */
		if (!getcwd(root->directory, sizeof(root->directory)) || root->directory[0] != '/')
			strcpy(root->directory, "/");
		return root_share(root, options, "/");
	}
	fd = open(options->root, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0) {
		err = report_failure(-errno, "cannot open root '%s'", options->root);
	} else if (S_ISDIR(st.st_mode)) {
		/* Who says how it is to be shared means the directory. */
		bool plain = !options->root_keep && !options->root_shared && !options->root_packed;

		err = plain && named_hint(options) ? -EINVAL : root_open_dir(root, options);
	} else {
		err = root_open_image(root, options, fd);
	}
	if (fd >= 0)
		close(fd);
	return err;
}

bool root_part(struct root *root, struct vmm_initrd_part *part)
{
	if (!root->dir.path)
		return false;
	*part = (struct vmm_initrd_part){.name = root->dir.path,
					 .size = root->dir.size,
					 .fill = root_dir_write,
					 .arg = &root->dir};
	return true;
}

void root_close(struct root *root)
{
	root_dir_free(&root->dir);
}
