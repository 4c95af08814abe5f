/*
 * A directory of the host in the guest: virtio-fs (virtio 1.2, 5.11), which Linux mounts as the file system "virtiofs" by its tag.
 * It is read-only, where whatever would change something is refused with EROFS, or the guest may write there what vmm's user may.
 *
 * The guest gets what lies below the directory, and nothing else: names are looked up one by one, without following links, ".."
 * is none, and what is no regular file, directory or link is not opened. File systems that are views into the host's kernel (/proc,
 * /sys, ...) are empty directories: they would show what vmm itself is, and its memory. Which user may read what is for the
 * host's kernel to say: vmm has the rights of the user who runs it.
 *
 * Requests are done one after the other by the device's loop, which is there for nothing else; those that may have to wait for storage
 * long are left to a few threads (fs_slow.h), and answered when they are done. A guest can
 * know a million files, and have open nearly as many as vmm may (RLIMIT_NOFILE); then ENFILE is the answer.
 *
 * Owner: the machine. Threads: init and fini by the owner while the loop does not run; all else on the loop's thread.
 *
 * Snapshot: not possible while the guest has it mounted, for files are held by descriptors.
 */
#pragma once

#include "virtio/fs_nodes.h"
#include "virtio/fs_request.h"
#include "virtio/fs_slow.h"
#include "virtio/virtio.h"

#define VIRTIO_FS_QUEUE_SIZE 1024 /* descriptors: a request of 1 MiB is 256 pages and a few more */
#define VIRTIO_FS_TAG_MAX    36
#define VIRTIO_FS_MAX_QUEUES 8
#define FS_MAX_PAGES	     256 /* of a request, as is agreed upon; Linux's own bound */
#define FS_SPARES	     17	 /* halves of the most descriptors that nodes have */
#define VIRTIO_FS_DEVICES    32	 /* file systems that are told apart by their file's numbers */

/* What the guest may keep in mind. */
enum virtio_fs_cache {
	/* It asks again after a second, and when a file is opened; what it writes is here at once. */
	VIRTIO_FS_CACHE_AUTO = 0,
	/* For a day: nobody else changes anything, or nothing of it may be seen, as under an overlay. What it writes comes later. */
	VIRTIO_FS_CACHE_ALWAYS,
	VIRTIO_FS_CACHE_NEVER, /* not even contents */
};

struct virtio_fs_options {
	struct evloop *loop;   /* borrowed */
	const char *path;      /* of the directory */
	const char *tag;       /* at most VIRTIO_FS_TAG_MAX bytes */
	unsigned int n_queues; /* for requests, up to VIRTIO_FS_MAX_QUEUES */
	bool writable;
	enum virtio_fs_cache cache;
};

struct fs_listing;

/* An open file or directory. */
struct fs_file {
	bool used;
	bool is_dir;
	bool blind;	  /* its file system does not know whether reading would wait */
	bool in_memory;	  /* it would not */
	uint16_t working; /* slow requests that have it; it is not closed before they are done */
	int fd;		  /* -1: of a sealed directory, in which there is nothing */
	uint32_t node;	  /* what was opened; the guest may have forgotten it */
	uint32_t next;	  /* free one; 0: the last */
	/* of a directory */
	off_t position; /* where the last answer ended; -1: nowhere that is known */
	struct fs_listing
		*listing; /* what was read last; NULL: its descriptor is at the position */
};

/* What is used most comes first, where the code that reaches it is shortest. */
struct virtio_fs {
	/* owned by the loop thread */
	struct fs_nodes nodes;
	struct fs_file *files; /* by number; 0 is none */
	uint32_t n_files;      /* numbers that were ever used */
	uint32_t n_open;
	uint32_t free_file;
	bool begun;	/* FUSE_INIT was seen */
	bool writeback; /* the guest writes when it likes */
	bool own_umask; /* the thread's, not the process's */
	bool no_trees;	/* open_tree() is not to be had */
	/* immutable after init; but vmm_confine() puts the same directories, cut off from all else, behind the descriptors */
	int root; /* O_PATH */
	int proc; /* /proc/self/fd, which opens what nodes hold */
	enum virtio_fs_cache cache;
	/* Who vmm is; in the guest that is root. */
	uid_t uid;
	gid_t gid;
	uint32_t rights; /* capabilities, where CAP_FSETID can be taken, too; else 0 */
	bool writable;
	bool squash;	     /* there are no other users: all files are shown as root's */
	bool owners;	     /* there are: a new file is given to whoever made it */
	bool keep_setid;     /* files that run as their owner may be made */
	bool flushes;	     /* to close a file may fail, as over a network */
	bool has_mounts;     /* there are other file systems below, where it may, too */
	uint32_t most_files; /* open at a time */
	char name[64];
	struct evloop_task make_room;
	struct virtio_device dev;
	/* owned by the loop thread, too */
	uint32_t mask;	  /* the thread's umask; above 0777: not known */
	uint64_t changes; /* requests that may have changed something */
	uint64_t synced;  /* of those, when all was synced last */
	dev_t devices[VIRTIO_FS_DEVICES];
	unsigned int n_devices;
	dev_t other_devices[VIRTIO_FS_DEVICES]; /* of others */
	/* Directories of other file systems below, for all to be synced: the loop's thread adds some, slow threads read them. */
	int others[VIRTIO_FS_DEVICES];
	_Atomic unsigned int n_others; /* release by fs_sync_also(), acquire by fs_sync_each() */
	struct fs_slow slow;
	struct fs_request request;
	struct iovec iov[VIRTIO_FS_QUEUE_SIZE];
};

#define VIRTIO_FS_PROC "/proc/self/fd"
#define FS_FSETID      (UINT32_C(1) << CAP_FSETID)

/* Opens the directory. Returns 0 or negative errno, which was reported. */
int virtio_fs_init(struct virtio_fs *fs, const struct virtio_fs_options *options);

/* Owner, while the loop does not run: vmm may be another user now. alone: in a user namespace in which there is no other. */
void virtio_fs_confined(struct virtio_fs *fs, bool alone);

/* The transport is detached and the loop stopped. */
void virtio_fs_fini(struct virtio_fs *fs);

/*
 * ---- between fs.c and its neighbours ----
 *
 * An operation does what the request asks. out stands behind the answer's header, of which the caller makes one. It returns how many
 * bytes were written, the negative errno that the guest gets, or FS_LATER. Those that are on a node (fs_request_is_on_node()) may rely on that
 * there is one.
 */
typedef int64_t fs_operation(struct virtio_fs *fs, struct fs_request *request,
			     struct iov_cursor *out);

/* fs_serve.c */
fs_operation fs_serve;
/* The guest begins anew, or has gone: it knows of no file. */
void fs_forget_all(struct virtio_fs *fs);
/* A directory of another file system, fd, was found. */
void fs_sync_also(struct virtio_fs *fs, int fd, dev_t dev);
/* Any thread: that of fd, and all such. Returns 0 or negative errno. */
int fs_sync_each(struct virtio_fs *fs, int fd);

/* fs_files.c */
fs_operation fs_open, fs_open_dir, fs_release, fs_read, fs_seek, fs_flush, fs_sync;
/* Forgets all open files. */
void fs_files_clear(struct virtio_fs *fs);
/* A slow request has the file, or has it no more. */
void fs_file_hold(struct fs_file *file);
void fs_file_done(struct virtio_fs *fs, struct fs_file *file);
/* NULL: the guest has none of that number. */
struct fs_file *fs_file_get(struct virtio_fs *fs, uint64_t number, bool is_dir);
/*
 * Whether another can be open. fs_file_add() succeeds then: fd, or -1 for what the guest sees as empty, is the table's. *answer is for the
 * guest.
 */
bool fs_files_have_room(const struct virtio_fs *fs);
void fs_file_add(struct virtio_fs *fs, uint64_t node, int fd, bool is_dir,
		 struct fuse_open_out *answer);
/* A descriptor by which the node is open, or -1. Which permissions it has depends on who opened it. */
int fs_file_of(const struct virtio_fs *fs, const struct fs_node *node);

/* fs_list.c */
fs_operation fs_list;
/* It is closed, or read anew. */
void fs_list_forget(struct fs_file *file);

/* fs_xattr.c. fs_get_xattr() lists names, too. */
fs_operation fs_get_xattr, fs_set_xattr, fs_remove_xattr;

/* fs_ops.c */
fs_operation fs_find, fs_getattr, fs_readlink;
/* A name in a directory becomes a number. Returns 0, or negative errno with nothing told to the guest. */
int fs_look_up(struct virtio_fs *fs, uint64_t parent, const char *name,
	       struct fuse_entry_out *entry);
/* The same for what fd leads to, which is taken; name "": it has none; mount: which shows it, 0: that is not known. */
int fs_learn(struct virtio_fs *fs, uint64_t parent, const char *name, int fd, uint64_t mount,
	     struct fuse_entry_out *entry);
/* Whether it may be the name of a file in a directory. */
bool fs_is_name(const char *name);
/* The bytes, whole, or -EINVAL when they do not fit. */
int64_t fs_put(struct iov_cursor *out, const void *bytes, size_t len);
/* The node's descriptor, or that of an open file, which is there wherever it may be; NULL: none is known. */
int fs_there(struct virtio_fs *fs, struct fs_node *node, const struct fs_file *file);
int64_t fs_put_attr(struct virtio_fs *fs, const struct fs_node *node, int fd,
		    struct iov_cursor *out);
/* Another descriptor for what a node, or a descriptor of ours, holds. Returns it, or negative errno. */
int fs_reopen(struct virtio_fs *fs, struct fs_node *node, int flags);
int fs_reopen_fd(struct virtio_fs *fs, int fd, int flags);
/* The name of a descriptor in fs->proc. */
#define FS_FD_NAME 16
const char *fs_fd_name(int fd, char name[FS_FD_NAME]);
/* A file's number in the guest: those of all file systems below the directory are in one. */
uint64_t fs_number(struct virtio_fs *fs, dev_t dev, ino_t ino);
/* For how many seconds the guest may believe what it is told. */
uint64_t fs_seconds(const struct virtio_fs *fs);

/* fs_make.c */
fs_operation fs_create, fs_make_temporary, fs_make_node, fs_make_dir, fs_make_symlink, fs_make_link;
/* The loop thread, before anything is made. */
void fs_make_begin(struct virtio_fs *fs);
/* The directory in which a name is to be changed. Returns its descriptor, or negative errno. */
int fs_change_in(struct virtio_fs *fs, uint64_t dir, const char *name);
/* The permissions that a file may have, of those that the guest asks for. */
mode_t fs_mode(const struct virtio_fs *fs, uint32_t mode);

/* fs_remove.c */
fs_operation fs_remove, fs_rename;

/* fs_write.c */
fs_operation fs_write, fs_setattr, fs_allocate, fs_copy;
