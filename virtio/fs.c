#include "virtio/fs.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <linux/capability.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <unistd.h>

#include "vmm/core/assert.h"
#include "vmm/core/mounts.h"

/* Requests before the loop looks at something else, such as that it shall stop. */
#define FS_BATCH 64

/* Files that a guest may know: some hundred MB of ours. */
#define FS_MOST (UINT32_C(1) << 20)

/* Descriptors. Those of files that are known come and go as there is room, and more than that do not make it faster. */
#define FS_SPARE	UINT64_C(512) /* for the rest of vmm */
#define FS_MOST_FDS	UINT64_C(32768)
#define FS_MOST_FILES	UINT64_C(65536)
#define FS_FDS_AT_FIRST 8192 /* a table of 64 KiB, of the kernel's */

_Static_assert(VIRTIO_FS_TAG_MAX == sizeof(((struct virtio_fs_config *)0)->tag), "as in 5.11.4");

static struct virtio_fs *virtio_fs_of(struct virtio_device *dev)
{
	return (struct virtio_fs *)(void *)((char *)dev - offsetof(struct virtio_fs, dev));
}

/* ---- requests ---- */

/* Returns how many bytes of the chain were written, or FS_LATER. */
static int64_t virtio_fs_answer(struct virtio_fs *fs, const struct virtq_chain *chain)
{
	struct fs_request *request = &fs->request;
	struct fuse_out_header header = {.unique = request->header.unique};
	struct iov_cursor head, out;
	bool refused = !fs->writable && fs_request_would_change(request);
	int64_t ret = refused ? -EROFS : fs_request_parse(request);
	bool silent = fs_request_is_silent(request);

	iov_cursor_init(&head, chain->writable, chain->n_writable);
	out = request->answer = head;
	if (iov_cursor_skip(&out, sizeof(header)) < sizeof(header) && !silent)
		return 0; /* it could not be told of what was done */
	if (ret == 0)
		ret = fs_serve(fs, request, &out);
	if (ret == FS_LATER)
		return FS_LATER;
	if (silent)
		return 0;
	header.error = ret < 0 ? (int32_t)ret : 0;
	header.len = (uint32_t)(sizeof(header) + (ret > 0 ? (size_t)ret : 0));
	iov_cursor_write(&head, &header, sizeof(header));
	return header.len;
}

/* One request. Returns 1, 0 when none waits, or negative errno for a broken ring. */
static int virtio_fs_serve_one(struct virtio_fs *fs, unsigned int queue)
{
	struct virtq *vq = &fs->dev.queue[queue];
	struct virtq_chain chain;
	int64_t written;
	int ret = virtq_pop(vq, &chain, fs->iov, VIRTIO_FS_QUEUE_SIZE);

	if (ret <= 0)
		return ret;
	if (!fs_request_begin(&fs->request, &chain))
		return -EPROTO;
	fs->request.queue = queue;
	fs->request.head = chain.head;
	written = virtio_fs_answer(fs, &chain);
	if (written != FS_LATER)
		virtq_push(vq, chain.head, (uint32_t)written);
	return 1;
}

static void virtio_fs_kick(struct virtio_device *dev, unsigned int queue)
{
	struct virtio_fs *fs = virtio_fs_of(dev);
	struct virtq *vq = &dev->queue[queue];
	unsigned int n = 0;
	int ret;

	do {
		virtq_disable_kick(vq);
		while ((ret = virtio_fs_serve_one(fs, queue)) > 0 && ++n < FS_BATCH)
			virtio_device_publish(dev, queue); /* each may have waited for storage */
		virtio_device_publish(dev, queue);
	} while (ret == 0 && virtq_enable_kick(vq));
	if (ret > 0)
		virtio_device_rekick(dev, queue);
	else if (ret < 0)
		virtio_device_broken(dev, "malformed ring or request");
}

static void virtio_fs_start(struct virtio_device *dev)
{
	struct virtio_fs *fs = virtio_fs_of(dev);

	fs_slow_begin(fs);
	if (fs->writable)
		fs_make_begin(fs);
}

static void virtio_fs_quiesce(struct virtio_device *dev, unsigned int queue)
{
	(void)queue;
	fs_slow_quiesce(virtio_fs_of(dev));
}

static void virtio_fs_stop(struct virtio_device *dev)
{
	struct virtio_fs *fs = virtio_fs_of(dev);

	assert(fs->slow.n == 0);
	fs_forget_all(fs);
}

static const struct virtio_device_ops virtio_fs_ops = {
	.start = virtio_fs_start,
	.kick = virtio_fs_kick,
	.quiesce = virtio_fs_quiesce,
	.stop = virtio_fs_stop,
};

/* ---- life ---- */

/* How many descriptors the process may have, but for those that are spared. */
static uint64_t virtio_fs_fds(void)
{
	struct rlimit limit;
	uint64_t n = INT_MAX;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < n)
		n = limit.rlim_cur;
	n -= n > 4 * FS_SPARE ? FS_SPARE : n / 4;
	return n > 2 ? n : 2;
}

static int virtio_fs_open(struct virtio_fs *fs, const char *path, struct statx *st)
{
	int err;

	fs->root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	err = fs->root < 0 ? -errno : fs_stat_get(fs->root, st);
	if (err == 0)
		err = fs_stat_is_kernels_own(fs->root);
	if (err < 0) {
		log_failure(err, "cannot open %s", fs->name);
		return err;
	}
	fs->proc = open(VIRTIO_FS_PROC, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fs->proc < 0) {
		err = -errno;
		log_failure(err, "cannot share %s without " VIRTIO_FS_PROC, fs->name);
	} else if (err > 0) {
		err = -EINVAL;
		log_error("cannot share %s: it is a view into this host's kernel", fs->name);
	}
	return err;
}

static int virtio_fs_make_tables(struct virtio_fs *fs, const char *path, const struct statx *st)
{
	uint64_t spare = virtio_fs_fds();
	uint32_t fds = (uint32_t)(spare < FS_MOST_FILES ? spare : FS_MOST_FILES);
	int err;

	fs->most_files = fds;
	fs->flushes = fs_stat_flushes(fs->root);
	fs->has_mounts = fs->writable && mounts_are_below(path);
	fs->n_files = 1;
	fs->files = calloc((size_t)fds + 2, sizeof(*fs->files));
	fs->devices[fs->n_devices++] = fs_stat_dev(st);
	if (!fs->files)
		return -ENOMEM;
	fds = fds / 2 < FS_MOST_FDS ? fds / 2 : FS_MOST_FDS;
	err = fs_nodes_init(&fs->nodes, FS_MOST, fds, fs->root, st);
	fs->nodes.first_spare = (int)spare;
	return err;
}

/*
 * Whenever the kernel's table of descriptors is full it gets twice the size, and a process with threads then waits until all CPUs have
 * seen that, for milliseconds. So it becomes large before the guest knows of any file, while the loop's thread has nothing else to do.
 */
static void virtio_fs_make_room(void *arg)
{
	struct virtio_fs *fs = arg;
	int most = fs->nodes.first_spare < FS_FDS_AT_FIRST ? fs->nodes.first_spare
							   : FS_FDS_AT_FIRST;
	int fd = fcntl(fs->root, F_DUPFD_CLOEXEC, most - 1);

	if (fd >= 0)
		close(fd);
}

static int virtio_fs_make_device(struct virtio_fs *fs, const struct virtio_fs_options *options)
{
	struct virtio_fs_config config = {.num_request_queues = htole32(options->n_queues)};

	memcpy(config.tag, options->tag, strnlen(options->tag, sizeof(config.tag)));
	fs->dev = (struct virtio_device){
		.ops = &virtio_fs_ops,
		.name = fs->name,
		.loop = options->loop,
		.id = VIRTIO_ID_FS,
		.queue_size = VIRTIO_FS_QUEUE_SIZE,
		.n_queues = 1 + options->n_queues, /* the first is for what the guest forgets */
		.config_size = sizeof(config),
	};
	memcpy(fs->dev.config, &config, sizeof(config));
	return virtio_device_init(&fs->dev);
}

static void virtio_fs_close(struct virtio_fs *fs)
{
	/* The root's descriptor goes with the nodes. */
	free(fs->files);
	while (fs->n_others > 0)
		close(fs->others[--fs->n_others]);
	fs_nodes_fini(&fs->nodes);
	if (fs->root >= 0)
		close(fs->root);
	if (fs->proc >= 0)
		close(fs->proc);
}

/* Whether our root may be that of the host, and not of a user namespace alone. */
static bool virtio_fs_is_hosts_root(void)
{
	unsigned int inside = 1, outside = 0;
	FILE *map;

	if (geteuid() != 0)
		return false;
	map = fopen("/proc/self/uid_map", "re");
	if (!map)
		return true;
	while (fscanf(map, "%u %u %*u", &inside, &outside) == 2 && inside != 0)
		;
	fclose(map);
	return inside != 0 || outside == 0;
}

/* The threads that are started from now on have those that we have. */
static uint32_t virtio_fs_rights(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {{0}};

	syscall(SYS_capget, &header, sets);
	return sets[0].permitted & ~sets[0].effective & FS_FSETID ? sets[0].effective : 0;
}

void virtio_fs_confined(struct virtio_fs *fs, bool alone)
{
	fs->uid = geteuid();
	fs->gid = getegid();
	fs->squash = alone;
	fs->owners = fs->uid == 0 && !alone;
	fs->rights = virtio_fs_rights();
	/* What is executed on this host as its root is not for a guest to say. */
	fs->keep_setid = fs->keep_setid || fs->uid != 0;
}

int virtio_fs_init(struct virtio_fs *fs, const struct virtio_fs_options *options)
{
	struct statx st;
	int err;

	memset(fs, 0, offsetof(struct virtio_fs, request));
	fs->root = fs->proc = -1;
	fs->writable = options->writable;
	fs->cache = options->cache;
	fs->keep_setid = !virtio_fs_is_hosts_root();
	virtio_fs_confined(fs, false);
	snprintf(fs->name, sizeof(fs->name), "directory '%.48s'", options->path);
	err = virtio_fs_open(fs, options->path, &st);
	if (err < 0) {
		virtio_fs_close(fs);
		return err;
	}
	err = virtio_fs_make_tables(fs, options->path, &st);
	if (err == 0)
		err = virtio_fs_make_device(fs, options);
	if (err < 0) {
		log_failure(err, "cannot set up %s", fs->name);
		virtio_fs_close(fs);
		return err;
	}
	fs_slow_init(fs);
	fs->make_room = (struct evloop_task){.fn = virtio_fs_make_room, .arg = fs};
	evloop_post(options->loop, &fs->make_room);
	return 0;
}

void virtio_fs_fini(struct virtio_fs *fs)
{
	fs_slow_fini(fs);
	fs_files_clear(fs);
	virtio_device_fini(&fs->dev);
	virtio_fs_close(fs);
}
