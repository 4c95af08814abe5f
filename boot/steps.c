#include "boot/steps.h"

void steps_init(struct steps *steps)
{
	*steps = (struct steps){.step = NULL};
	pthread_mutex_init(&steps->lock, NULL);
	pthread_cond_init(&steps->changed, NULL);
}

/* What a step has written is seen by who takes the lock afterwards; the counters order nothing. */
static void steps_take(struct steps *steps)
{
	unsigned int i;
	int err;

	while (atomic_load_explicit(&steps->err, memory_order_relaxed) == 0 &&
	       (i = atomic_fetch_add_explicit(&steps->next, 1, memory_order_relaxed)) < steps->n) {
		err = steps->step(steps->arg, i);
		if (err < 0)
			atomic_store_explicit(&steps->err, err, memory_order_relaxed);
	}
}

int steps_run(struct steps *steps, steps_fn *step, void *arg, unsigned int n)
{
	pthread_mutex_lock(&steps->lock);
	steps->step = step;
	steps->arg = arg;
	steps->n = n;
	steps->run++;
	atomic_store_explicit(&steps->next, 0, memory_order_relaxed);
	atomic_store_explicit(&steps->err, 0, memory_order_relaxed);
	pthread_cond_broadcast(&steps->changed);
	pthread_mutex_unlock(&steps->lock);

	steps_take(steps);

	pthread_mutex_lock(&steps->lock);
	/* Not before: who helps may have taken a number and not yet looked what to do with it. */
	while (steps->helping > 0)
		pthread_cond_wait(&steps->changed, &steps->lock);
	steps->step = NULL;
	pthread_mutex_unlock(&steps->lock);
	return atomic_load_explicit(&steps->err, memory_order_relaxed);
}

void steps_end(struct steps *steps)
{
	pthread_mutex_lock(&steps->lock);
	steps->over = true;
	pthread_cond_broadcast(&steps->changed);
	pthread_mutex_unlock(&steps->lock);
}

void steps_help(struct steps *steps)
{
	unsigned int run = 0; /* the last that was helped with */

	pthread_mutex_lock(&steps->lock);
	while (!steps->over) {
		if (!steps->step || steps->run == run) {
			pthread_cond_wait(&steps->changed, &steps->lock);
			continue;
		}
		run = steps->run;
		steps->helping++;
		pthread_mutex_unlock(&steps->lock);
		steps_take(steps);
		pthread_mutex_lock(&steps->lock);
		if (--steps->helping == 0)
			pthread_cond_broadcast(&steps->changed);
	}
	pthread_mutex_unlock(&steps->lock);
}

void steps_fini(struct steps *steps)
{
	pthread_cond_destroy(&steps->changed);
	pthread_mutex_destroy(&steps->lock);
}
