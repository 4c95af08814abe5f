#include "virtio/disk_queue.h"

#include "virtio/disk_uring.h"
#include "vmm/core/assert.h"

/* The most that the loop itself copies to or from an image in memory at once; other devices may wait for the loop. */
#define DISK_QUEUE_HERE_BYTES (UINT64_C(1) << 20)

static void disk_queue_execute(void *arg, struct disk_job *job)
{
	struct disk_queue *queue = arg;
	struct disk_request *request = disk_request_of(job);

	request->result = disk_execute(queue->disk, &request->io, &queue->cancel);
}

static void disk_queue_job_done(void *arg, struct disk_job *job)
{
	struct disk_request *request = disk_request_of(job);

	disk_queue_complete(arg, request, request->result);
}

static void disk_queue_jobs_done(void *arg)
{
	struct disk_queue *queue = arg;

	queue->batch_done(queue->arg);
}

int __attribute__((cold)) disk_queue_init(struct disk_queue *queue)
{
	enum disk_engine engine = queue->disk->engine;

	queue->uring = NULL;
	queue->batch = (struct disk_job_list){0};
	queue->in_flight = 0;
	queue->cancelling = false;
	atomic_init(&queue->cancel, false);
	queue->pool.loop = queue->loop;
	queue->pool.name = "vmm-disk";
	queue->pool.execute = disk_queue_execute;
	queue->pool.done = disk_queue_job_done;
	queue->pool.batch_done = disk_queue_jobs_done;
	queue->pool.arg = queue;
	queue->pool.guard = queue->guard;
	disk_pool_init(&queue->pool);
	if (engine == DISK_ENGINE_URING ||
	    (engine == DISK_ENGINE_AUTO && !queue->disk->image->in_memory))
		queue->uring = disk_uring_new(queue);
	return 0;
}

void disk_queue_complete(struct disk_queue *queue, struct disk_request *request, int err)
{
	assert(queue->in_flight > 0);
	queue->in_flight--;
	queue->done(queue->arg, request, err);
	if (queue->cancelling && queue->in_flight == 0) {
		queue->cancelling = false;
		atomic_store(&queue->cancel, false);
		queue->idle(queue->arg);
	}
}

void disk_queue_to_pool(struct disk_queue *queue, struct disk_request *request)
{
	request->job.quick = request->io.op == DISK_WRITE && !request->io.sync &&
			     queue->disk->image->memory_align == 0;
	disk_job_list_add(&queue->batch, &request->job);
}

static bool disk_queue_does_here(const struct disk_queue *queue, const struct disk_io *io)
{
	if (queue->disk->engine == DISK_ENGINE_LOOP)
		return true;
	return queue->disk->engine == DISK_ENGINE_AUTO && queue->disk->image->in_memory &&
	       io->len <= DISK_QUEUE_HERE_BYTES && io->n_ranges == 0;
}

void disk_queue_submit(struct disk_queue *queue, struct disk_request *request)
{
	assert(!queue->cancelling);
	queue->in_flight++;
	if (disk_queue_does_here(queue, &request->io))
		disk_queue_complete(queue, request, disk_execute(queue->disk, &request->io, NULL));
	else if (!queue->uring || !disk_uring_submit(queue->uring, request))
		disk_queue_to_pool(queue, request);
}

void disk_queue_run(struct disk_queue *queue)
{
	if (queue->uring)
		disk_uring_run(queue->uring);
	disk_pool_submit(&queue->pool, &queue->batch);
}

void __attribute__((cold)) disk_queue_cancel(struct disk_queue *queue)
{
	assert(!queue->cancelling);
	if (queue->in_flight == 0) {
		queue->idle(queue->arg);
		return;
	}
	queue->cancelling = true;
	atomic_store(&queue->cancel, true);
	disk_queue_run(queue);
}

void __attribute__((cold)) disk_queue_fini(struct disk_queue *queue)
{
	atomic_store(&queue->cancel, true);
	disk_uring_free(queue->uring);
	disk_pool_fini(&queue->pool);
}
