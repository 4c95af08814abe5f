/*
 * A few threads that may wait for storage, so that an event loop need not.
 *
 * Jobs are handed over in batches, with one wake-up each; threads are started when there is more to do than threads that
 * rest, and stay. What is finished goes back to the loop, gathered for a moment so that quick jobs share the way back.
 *
 * Owner: whoever has the jobs. Threads: init and fini by its owner while the loop does not run, submit on the loop's thread.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "vmm/core/evloop.h"

#define DISK_POOL_THREADS 8

struct disk_job {
	bool quick; /* set by the user: likely done soon, so that what was done before it may wait for it */
	struct disk_job *next;
};

struct disk_job_list {
	struct disk_job *head;
	struct disk_job *tail;
};

static inline void disk_job_list_add(struct disk_job_list *list, struct disk_job *job)
{
	job->next = NULL;
	if (list->tail)
		list->tail->next = job;
	else
		list->head = job;
	list->tail = job;
}

static inline struct disk_job *disk_job_list_take(struct disk_job_list *list)
{
	struct disk_job *job = list->head;

	if (job) {
		list->head = job->next;
		if (!list->head)
			list->tail = NULL;
	}
	return job;
}

/* Empties other into list. */
static inline void disk_job_list_join(struct disk_job_list *list, struct disk_job_list *other)
{
	if (!other->head)
		return;
	if (list->tail)
		list->tail->next = other->head;
	else
		list->head = other->head;
	list->tail = other->tail;
	*other = (struct disk_job_list){0};
}

struct disk_pool {
	/* immutable after init */
	struct evloop *loop;
	const char *name; /* of each thread, 15 characters at most */
	void (*execute)(void *arg, struct disk_job *job); /* on a thread of the pool */
	void (*done)(void *arg, struct disk_job *job);	  /* on the loop's thread */
	void (*batch_done)(void *arg);			  /* the same, after some calls of done */
	void *arg;
	pthread_mutex_t *guard; /* held around done and batch_done, borrowed; NULL: none */
	/* owned by the loop thread until the loop was stopped */
	unsigned int n_threads;
	/* under lock */
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct disk_job_list todo;
	struct disk_job_list finished;
	unsigned int resting;
	bool stopping;
	struct evloop_task collect;
	/* owned by the loop thread, too */
	pthread_t threads[DISK_POOL_THREADS];
};

/* loop, name, the functions and arg are set. */
void disk_pool_init(struct disk_pool *pool);

/* Empties the list. When no thread can be started at all, the jobs are executed here and now. */
void disk_pool_submit(struct disk_pool *pool, struct disk_job_list *jobs);

/* Joins the threads once they have done all jobs. done() is not called for jobs that the loop has not collected. */
void disk_pool_fini(struct disk_pool *pool);
