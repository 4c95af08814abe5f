/*
 * Requests to a shared directory that may have to wait for storage: to read what is not in the host's memory, to have something
 * written for good, or to the end of a network, to copy, to allocate. They are done by a few threads, so that no other request waits for them. When there are
 * too many of them, the loop does them itself, and waits.
 *
 * Owner: the device. Threads: its loop's thread; init and fini by the owner while the loop does not run.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtio/disk_pool.h"
#include "virtio/fs_request.h"

#define FS_SLOW_MOST 64	       /* at a time; each has its pieces of guest memory in mind */
#define FS_LATER     INT64_MIN /* an operation's result: it is answered when it is done */

struct virtio_fs;
struct fs_file;

/* Which operation it is, and with what, the request says. */
struct fs_slow_work {
	struct fs_file *file;  /* borrowed: it stays open until the work is done */
	struct fs_file *other; /* into which is copied; NULL: none */
	int own_fd;	       /* instead of a file, closed when the work is done; -1: none */
	int write_flags;       /* RWF_* */
	struct iov_cursor
		*data; /* what is to be written, or where what is read goes; NULL: neither */
	size_t data_len;
};

struct fs_slow {
	/* owned by the loop thread */
	unsigned int n;	      /* not answered yet */
	unsigned int owed;    /* queues that shall be told to be quiet then */
	uint64_t unpublished; /* queues, bit by bit */
	bool ending;	      /* nobody is answered any more */
	/* any thread */
	struct disk_pool pool;
	_Atomic bool cancel; /* what has not begun need not */
};

void fs_slow_init(struct virtio_fs *fs);
/* The loop was stopped. */
void fs_slow_fini(struct virtio_fs *fs);

/* A driver is there, or goes. */
void fs_slow_begin(struct virtio_fs *fs);
void fs_slow_quiesce(struct virtio_fs *fs);

/* Takes the work of a request. Returns FS_LATER, also when it has been answered by then, or what an operation does. */
int64_t fs_slow(struct virtio_fs *fs, const struct fs_request *request,
		const struct fs_slow_work *work, struct iov_cursor *out);

/* The same, for work on one file, or on a descriptor of its own, which moves no data of the request's. */
int64_t fs_slow_on(struct virtio_fs *fs, const struct fs_request *request, struct fs_file *file,
		   int own_fd, struct iov_cursor *out);

/*
 * Any thread. Both change the pieces, and return how many bytes, or negative errno. Reading ends at the file's end and nowhere else, for
 * that is what a short answer means to Linux; writing after all of them if whole is true, or when some were written.
 */
int64_t fs_read_pieces(int fd, struct iovec *piece, unsigned int n, uint64_t offset);
int64_t fs_write_pieces(int fd, struct iovec *piece, unsigned int n, uint64_t offset, int flags,
			bool whole);
