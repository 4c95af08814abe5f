#include "virtio/fs_slow.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "virtio/fs.h"
#include "vmm/core/assert.h"

/* Copied by one request, so that none takes long: where blocks are shared it is a moment, else storage's speed counts. */
#define FS_MOST_COPIED (UINT64_C(64) << 20)

/* An answer but for what is read: as many pieces at most as it has bytes. */
#define FS_SLOW_ANSWER (sizeof(struct fuse_out_header) + sizeof(struct fuse_write_out))

struct fs_slow_job {
	struct disk_job job;
	/* by who does it */
	int64_t result; /* bytes, or negative errno */
	/* set before it is handed over */
	uint32_t opcode;
	uint64_t unique;
	uint64_t changes; /* of the device, that one which syncs all has synced then */
	int fd, other_fd;
	int write_flags;
	struct fs_file *file, *other;
	int own_fd;
	unsigned int queue;
	uint16_t head; /* of its chain */
	unsigned int n_answer, n_data;
	union fs_args args;
	struct iovec answer[FS_SLOW_ANSWER];
	struct iovec data[];
};

static struct fs_slow_job *fs_slow_job_of(struct disk_job *job)
{
	return (struct fs_slow_job *)(void *)((char *)job - offsetof(struct fs_slow_job, job));
}

/* ---- the work; any thread ---- */

/* The next done bytes are through. Returns how many pieces are left. */
static unsigned int fs_advance(struct iovec **piece, unsigned int n, size_t done)
{
	for (; n > 0 && done >= (*piece)->iov_len; ++*piece, n--)
		done -= (*piece)->iov_len;
	if (n > 0) {
		(*piece)->iov_base = (char *)(*piece)->iov_base + done;
		(*piece)->iov_len -= done;
	}
	return n;
}

int64_t fs_read_pieces(int fd, struct iovec *piece, unsigned int n, uint64_t offset)
{
	int64_t all = 0;
	ssize_t got;

	do {
		got = preadv(fd, piece, (int)n, (off_t)offset + all);
		if (got < 0)
			return -errno;
		all += got;
		n = fs_advance(&piece, n, (size_t)got);
	} while (got > 0 && n > 0);
	return all;
}

int64_t fs_write_pieces(int fd, struct iovec *piece, unsigned int n, uint64_t offset, int flags,
			bool whole)
{
	int64_t all = 0;
	ssize_t done;

	do {
		done = pwritev2(fd, piece, (int)n, (off_t)offset + all, flags);
		if (done < 0)
			return -errno;
		all += done;
		n = fs_advance(&piece, n, (size_t)done);
	} while (whole && done > 0 && n > 0);
	/* Neither an error nor progress */
	return whole && n > 0 ? -EIO : all;
}

static int64_t fs_slow_copy(const struct fs_slow_job *job)
{
	const struct fuse_copy_file_range_in *in = &job->args.copy;
	off_t from = (off_t)in->off_in, to = (off_t)in->off_out;
	ssize_t n = copy_file_range(job->fd, &from, job->other_fd, &to,
				    in->len < FS_MOST_COPIED ? in->len : FS_MOST_COPIED, 0);

	return n < 0 ? -errno : n;
}

static int64_t fs_slow_do(struct virtio_fs *fs, struct fs_slow_job *job)
{
	const struct fuse_fallocate_in *allocate = &job->args.fallocate;
	ssize_t ret;

	switch (job->opcode) {
	case FUSE_READ:
		return fs_read_pieces(job->fd, job->data, job->n_data, job->args.read.offset);
	case FUSE_WRITE:
		return fs_write_pieces(job->fd, job->data, job->n_data, job->args.write.offset,
				       job->write_flags,
				       job->args.write.write_flags & FUSE_WRITE_CACHE);
	case FUSE_COPY_FILE_RANGE:
		return fs_slow_copy(job);
	case FUSE_FALLOCATE:
		ret = fallocate(job->fd, (int)allocate->mode, (off_t)allocate->offset,
				(off_t)allocate->length);
		break;
	case FUSE_FLUSH:
		ret = close(job->fd);
		job->own_fd = -1;
		break;
	case FUSE_SYNCFS:
		return fs_sync_each(fs, job->fd);
	default:
		assert(job->opcode == FUSE_FSYNC || job->opcode == FUSE_FSYNCDIR);
		ret = job->args.fsync.fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(job->fd)
									 : fsync(job->fd);
	}
	return ret < 0 ? -errno : ret;
}

static void fs_slow_execute(void *arg, struct disk_job *job)
{
	struct virtio_fs *fs = arg;
	struct fs_slow_job *slow = fs_slow_job_of(job);

	slow->result = atomic_load_explicit(&fs->slow.cancel, memory_order_relaxed)
			       ? -EINTR
			       : fs_slow_do(fs, slow);
}

/* ---- answers; the loop's thread ---- */

static bool fs_slow_tells_size(const struct fs_slow_job *job)
{
	return job->opcode == FUSE_WRITE || job->opcode == FUSE_COPY_FILE_RANGE;
}

static void fs_slow_release(struct virtio_fs *fs, struct fs_slow_job *job)
{
	if (job->file)
		fs_file_done(fs, job->file);
	if (job->other)
		fs_file_done(fs, job->other);
	if (job->own_fd >= 0)
		close(job->own_fd);
	free(job);
}

static void fs_slow_answer(struct virtio_fs *fs, const struct fs_slow_job *job)
{
	struct fuse_out_header header = {.unique = job->unique, .len = sizeof(header)};
	struct fuse_write_out size = {.size = (uint32_t)job->result};
	struct iov_cursor out;

	iov_cursor_init(&out, job->answer, job->n_answer);
	if (job->result < 0)
		header.error = (int32_t)job->result;
	else if (fs_slow_tells_size(job))
		header.len += (uint32_t)sizeof(size);
	else
		header.len += (uint32_t)job->result;
	iov_cursor_write(&out, &header, sizeof(header));
	if (job->result >= 0 && fs_slow_tells_size(job))
		iov_cursor_write(&out, &size, sizeof(size));
	virtq_push(&fs->dev.queue[job->queue], job->head, header.len);
	fs->slow.unpublished |= UINT64_C(1) << job->queue;
}

static void fs_slow_done(void *arg, struct disk_job *job)
{
	struct virtio_fs *fs = arg;
	struct fs_slow_job *slow = fs_slow_job_of(job);

	fs->slow.n--;
	if (slow->opcode == FUSE_SYNCFS && slow->result == 0 && slow->changes > fs->synced)
		fs->synced = slow->changes;
	if (!fs->slow.ending)
		fs_slow_answer(fs, slow);
	fs_slow_release(fs, slow);
}

static void fs_slow_batch_done(void *arg)
{
	struct virtio_fs *fs = arg;

	for (unsigned int queue = 0; fs->slow.unpublished >> queue; queue++) {
		if (fs->slow.unpublished >> queue & 1)
			virtio_device_publish(&fs->dev, queue);
	}
	fs->slow.unpublished = 0;
	for (; fs->slow.n == 0 && fs->slow.owed > 0; fs->slow.owed--)
		virtio_device_quiesced(&fs->dev);
}

/* ---- requests ---- */

/* NULL: there is no memory. */
static struct fs_slow_job *fs_slow_make(const struct fs_request *request,
					const struct fs_slow_work *work)
{
	struct iov_cursor answer = request->answer, data = {0};
	struct fs_slow_job *job;
	unsigned int n_data = 0;
	size_t there;

	if (work->data)
		data = *work->data;
	iov_cursor_rest(&data, &n_data);
	job = calloc(1, sizeof(*job) + n_data * sizeof(job->data[0]));
	if (!job)
		return NULL;
	job->opcode = request->header.opcode;
	job->unique = request->header.unique;
	job->args = request->args;
	job->write_flags = work->write_flags;
	job->own_fd = work->own_fd;
	job->fd = work->file ? work->file->fd : work->own_fd;
	job->other_fd = work->other ? work->other->fd : -1;
	job->file = work->file;
	job->other = work->other;
	job->queue = request->queue;
	job->head = request->head;
	job->n_answer = iov_cursor_take(&answer, job->answer, FS_SLOW_ANSWER, FS_SLOW_ANSWER,
					&there);
	job->n_data = iov_cursor_take(&data, job->data, n_data, work->data_len, &there);
	if (job->file)
		fs_file_hold(job->file);
	if (job->other)
		fs_file_hold(job->other);
	return job;
}

/* Here and now. */
static int64_t fs_slow_wait(struct virtio_fs *fs, struct fs_slow_job *job, struct iov_cursor *out)
{
	struct fuse_write_out size;
	int64_t ret = fs_slow_do(fs, job);

	if (ret >= 0 && fs_slow_tells_size(job)) {
		size = (struct fuse_write_out){.size = (uint32_t)ret};
		ret = fs_put(out, &size, sizeof(size));
	}
	fs_slow_release(fs, job);
	return ret;
}

int64_t fs_slow(struct virtio_fs *fs, const struct fs_request *request,
		const struct fs_slow_work *work, struct iov_cursor *out)
{
	struct fs_slow_job *job = fs_slow_make(request, work);
	struct disk_job_list one = {0};

	if (!job) {
		if (work->own_fd >= 0)
			close(work->own_fd);
		return -ENOMEM;
	}
	if (fs->slow.n >= FS_SLOW_MOST)
		return fs_slow_wait(fs, job, out);
	/* What the others may still change is not synced by this one. */
	job->changes = fs->slow.n > 0 ? fs->synced : fs->changes;
	fs->slow.n++;
	disk_job_list_add(&one, &job->job);
	disk_pool_submit(&fs->slow.pool, &one);
	return FS_LATER;
}

int64_t fs_slow_on(struct virtio_fs *fs, const struct fs_request *request, struct fs_file *file,
		   int own_fd, struct iov_cursor *out)
{
	const struct fs_slow_work work = {.file = file, .own_fd = own_fd};

	return fs_slow(fs, request, &work, out);
}

/* ---- life ---- */

void fs_slow_begin(struct virtio_fs *fs)
{
	fs->slow.ending = false;
	atomic_store(&fs->slow.cancel, false);
}

void fs_slow_quiesce(struct virtio_fs *fs)
{
	fs->slow.ending = true;
	atomic_store(&fs->slow.cancel, true);
	fs->slow.owed++;
	fs_slow_batch_done(fs);
}

void fs_slow_init(struct virtio_fs *fs)
{
	fs->slow = (struct fs_slow){.pool = {.loop = fs->dev.loop,
					     .name = "vmm-fs-io",
					     .execute = fs_slow_execute,
					     .done = fs_slow_done,
					     .batch_done = fs_slow_batch_done,
					     .arg = fs}};
	disk_pool_init(&fs->slow.pool);
}

void fs_slow_fini(struct virtio_fs *fs)
{
	struct disk_job *job;

	atomic_store(&fs->slow.cancel, true);
	disk_pool_fini(&fs->slow.pool);
	while ((job = disk_job_list_take(&fs->slow.pool.finished)))
		fs_slow_release(fs, fs_slow_job_of(job));
}
