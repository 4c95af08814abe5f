/*
 * A directory of the host in the guest: virtio-fs (virtio 1.2, 5.11), which Linux mounts as the file system "virtiofs" by its tag.
 * Reading only: whatever would change something is refused with EROFS.
 *
 * The guest gets what lies below the directory, and nothing else: names are looked up one by one, without following links, ".."
 * is none, and what is no regular file, directory or link is not opened. File systems that are views into the host's kernel (/proc,
 * /sys, ...) are empty directories: they would show what vmm itself is, and its memory. Which user may read what is for the
 * host's kernel to say: vmm has the rights of the user who runs it.
 *
 * Requests are done one after the other by the device's loop, which may wait for storage and is there for nothing else. A guest can
 * know a million files, and have open nearly as many as vmm may (RLIMIT_NOFILE); then ENFILE is the answer.
 *
 * Owner: the machine. Threads: init and fini by the owner while the loop does not run; all else on the loop's thread.
 *
 * Snapshot: not possible while the guest has it mounted, for files are held by descriptors.
 */
#pragma once

#include "virtio/fs_nodes.h"
#include "virtio/fs_request.h"
#include "virtio/virtio.h"

#define VIRTIO_FS_QUEUE_SIZE 1024 /* descriptors: a request of 1 MiB is 256 pages and a few more */
#define VIRTIO_FS_TAG_MAX    36
#define VIRTIO_FS_LISTING    16384 /* bytes of a directory at a time */
#define FS_MAX_PAGES	     256   /* of a request, as is agreed upon; Linux's own bound */
#define VIRTIO_FS_DEVICES    32	   /* file systems that are told apart by their file's numbers */

struct virtio_fs_options {
	struct evloop *loop; /* borrowed */
	const char *path;    /* of the directory */
	const char *tag;     /* at most VIRTIO_FS_TAG_MAX bytes */
	/* The guest may keep for long what it has seen, as under an overlay, where changes would make it err anyway; else it asks
	 * again after a second. */
	bool keep;
};

/* An open file or directory. */
struct fs_file {
	bool used;
	bool is_dir;
	int fd;		/* -1: of a sealed directory, in which there is nothing */
	uint32_t next;	/* free one; 0: the last */
	off_t position; /* of a directory's descriptor */
};

struct virtio_fs {
	struct virtio_device dev;
	/* immutable after init; but vmm_confine() puts the same directories, cut off from all else, behind the descriptors */
	char *path;
	char name[64];
	int root; /* O_PATH */
	int proc; /* /proc/self/fd, which opens what nodes hold */
	bool keep;
	bool squash; /* all files are shown as root's: vmm's user has no others, and who owns a file means nothing inside */
	uint32_t most_files; /* open at a time */
	/* owned by the loop thread */
	bool begun; /* FUSE_INIT was seen */
	struct fs_nodes nodes;
	struct fs_file *files; /* by number; 0 is none */
	uint32_t n_files;      /* numbers that were ever used */
	uint32_t n_open;
	uint32_t free_file;
	dev_t devices[VIRTIO_FS_DEVICES];
	unsigned int n_devices;
	struct fs_request request;
	char listing[VIRTIO_FS_LISTING];
	struct iovec iov[VIRTIO_FS_QUEUE_SIZE];
	struct iovec part[VIRTIO_FS_QUEUE_SIZE];
};

#define VIRTIO_FS_PROC "/proc/self/fd"

/* Opens the directory. Returns 0 or negative errno, which was reported. */
int virtio_fs_init(struct virtio_fs *fs, const struct virtio_fs_options *options);

/* Owner, while the loop does not run: vmm will be a user who has no rights to others' files. */
void virtio_fs_squash(struct virtio_fs *fs);

/* The transport is detached and the loop stopped. */
void virtio_fs_fini(struct virtio_fs *fs);

/* ---- between fs.c and its neighbours ---- */

/*
 * Does what the request asks. out stands behind the answer's header, of which the caller makes one. Returns how many bytes were
 * written, or the negative errno that the guest gets.
 */
int64_t fs_serve(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out);

/* fs_files.c. Forgets all open files. */
void fs_files_clear(struct virtio_fs *fs);
int64_t fs_open(struct virtio_fs *fs, const struct fs_request *request, struct iov_cursor *out);
int64_t fs_open_dir(struct virtio_fs *fs, const struct fs_request *request, struct iov_cursor *out);
int64_t fs_release(struct virtio_fs *fs, const struct fs_request *request);
int64_t fs_read(struct virtio_fs *fs, const struct fs_request *request, struct iov_cursor *out);
int64_t fs_seek(struct virtio_fs *fs, const struct fs_request *request, struct iov_cursor *out);
/* NULL: the guest has none of that number. */
struct fs_file *fs_file_get(struct virtio_fs *fs, uint64_t number, bool is_dir);

/* fs_list.c. With entries: FUSE_READDIRPLUS. */
int64_t fs_list(struct virtio_fs *fs, const struct fs_request *request, struct iov_cursor *out,
		bool entries);

/* fs_xattr.c. size 0: only the size is told. list: of names, else the value of request->name. */
int64_t fs_xattr(struct virtio_fs *fs, const struct fs_request *request, struct iov_cursor *out,
		 bool list);

/* fs_ops.c. A name in a directory becomes a number. Returns 0, or negative errno with nothing told to the guest. */
int fs_look_up(struct virtio_fs *fs, uint64_t parent, const char *name,
	       struct fuse_entry_out *entry);
/* The bytes, whole, or -EINVAL when they do not fit. */
int64_t fs_put(struct iov_cursor *out, const void *bytes, size_t len);
/* Another descriptor for what a node holds. Returns it, or negative errno. */
int fs_reopen(struct virtio_fs *fs, struct fs_node *node, int flags);
/* Whether it is on a file system through which the host's kernel is looked into, or spoken to. */
bool fs_is_kernels_own(int fd);
/* A file's number in the guest: those of all file systems below the directory are in one. */
uint64_t fs_number(struct virtio_fs *fs, dev_t dev, ino_t ino);
