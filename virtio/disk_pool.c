#include "virtio/disk_pool.h"

#include "vmm/core/thread.h"

/* For how long finished jobs may wait for others to share the way back. */
#define DISK_POOL_GATHER_NS UINT64_C(50000)

static void disk_pool_collect(void *arg)
{
	struct disk_pool *pool = arg;
	struct disk_job_list list = {0};
	struct disk_job *job;

	pthread_mutex_lock(&pool->lock);
	disk_job_list_join(&list, &pool->finished);
	pthread_mutex_unlock(&pool->lock);
	if (pool->guard)
		pthread_mutex_lock(pool->guard);
	while ((job = disk_job_list_take(&list)))
		pool->done(pool->arg, job);
	pool->batch_done(pool->arg);
	if (pool->guard)
		pthread_mutex_unlock(pool->guard);
}

void disk_pool_init(struct disk_pool *pool)
{
	pool->n_threads = 0;
	pool->todo = pool->finished = (struct disk_job_list){0};
	pool->resting = 0;
	pool->stopping = false;
	pool->collect = (struct evloop_task){.fn = disk_pool_collect, .arg = pool};
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->work, NULL);
}

/* Under the lock, which is released for the moment of the wake-up. */
static void disk_pool_deliver(struct disk_pool *pool, struct disk_job_list *finished)
{
	bool wake = !pool->finished.head;

	if (!finished->head)
		return;
	disk_job_list_join(&pool->finished, finished);
	if (!wake)
		return;
	pthread_mutex_unlock(&pool->lock);
	evloop_post(pool->loop, &pool->collect);
	pthread_mutex_lock(&pool->lock);
}

/* Under the lock. Returns false when it is time to end. */
static bool disk_pool_rest(struct disk_pool *pool)
{
	while (!pool->todo.head && !pool->stopping) {
		pool->resting++;
		pthread_cond_wait(&pool->work, &pool->lock);
		pool->resting--;
	}
	return pool->todo.head != NULL;
}

static void *disk_pool_thread(void *arg)
{
	struct disk_pool *pool = arg;
	struct disk_job_list finished = {0};
	uint64_t since = 0;

	pthread_mutex_lock(&pool->lock);
	while (disk_pool_rest(pool)) {
		struct disk_job *job = disk_job_list_take(&pool->todo);
		uint64_t now;

		/* Whoever takes a job wakes the next one, so that a batch costs its sender one wake-up. */
		if (pool->todo.head && pool->resting > 0)
			pthread_cond_signal(&pool->work);
		pthread_mutex_unlock(&pool->lock);
		pool->execute(pool->arg, job);
		now = evloop_now();
		pthread_mutex_lock(&pool->lock);
		if (!finished.head)
			since = now;
		disk_job_list_add(&finished, job);
		if (!pool->todo.head || !pool->todo.head->quick ||
		    now - since >= DISK_POOL_GATHER_NS)
			disk_pool_deliver(pool, &finished);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* On the loop's thread. */
static void disk_pool_grow(struct disk_pool *pool)
{
	if (pool->n_threads < DISK_POOL_THREADS &&
	    thread_starter_run(pool->loop->starter, &pool->threads[pool->n_threads], pool->name,
			       disk_pool_thread, pool, pool->loop->started) == 0)
		pool->n_threads++;
}

static void disk_pool_execute_here(struct disk_pool *pool, struct disk_job_list *jobs)
{
	struct disk_job *job;

	while ((job = disk_job_list_take(jobs))) {
		pool->execute(pool->arg, job);
		pool->done(pool->arg, job);
	}
}

void disk_pool_submit(struct disk_pool *pool, struct disk_job_list *jobs)
{
	bool all_busy = pool->n_threads == 0;

	if (!jobs->head)
		return;
	if (all_busy)
		disk_pool_grow(pool);
	if (pool->n_threads == 0) {
		disk_pool_execute_here(pool, jobs);
		return;
	}
	pthread_mutex_lock(&pool->lock);
	/* Those of an earlier batch are still at it, or have not even begun. */
	all_busy = !all_busy && (pool->resting == 0 || pool->todo.head);
	disk_job_list_join(&pool->todo, jobs);
	if (pool->resting > 0)
		pthread_cond_signal(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	if (all_busy)
		disk_pool_grow(pool);
}

void disk_pool_fini(struct disk_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	pthread_cond_broadcast(&pool->work);
	pthread_mutex_unlock(&pool->lock);
	while (pool->n_threads > 0)
		pthread_join(pool->threads[--pool->n_threads], NULL);
	pthread_cond_destroy(&pool->work);
	pthread_mutex_destroy(&pool->lock);
}
