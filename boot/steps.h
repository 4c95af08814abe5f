/*
 * Work in steps, of which others take some who have nothing else to do than to wait for the thread that does the work.
 *
 * Internal to boot/. One thread calls steps_run(), as often as it has such work, and at last steps_end(); any others call
 * steps_help(), at any time between init and fini.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

/* Does one of the steps, from 0 on; each is done once, by any of the threads. Returns 0 or negative errno, after which no more begin. */
typedef int steps_fn(void *arg, unsigned int step);

struct steps {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under lock */
	unsigned int helping; /* threads that may have a step, but for who runs them */
	bool over;
	/* set under lock, and left alone while anybody is helping */
	unsigned int run; /* the number of this one, from 1 on */
	steps_fn *step;	  /* NULL: there is nothing to do */
	void *arg;
	unsigned int n;
	/* any thread */
	atomic_uint next; /* first step that nobody has taken */
	atomic_int err;	  /* of a step */
};

void steps_init(struct steps *steps);

/* Does all steps, with whoever helps, and returns when all are done: 0, or the errno of one. arg is borrowed until then. */
int steps_run(struct steps *steps, steps_fn *step, void *arg, unsigned int n);

/* Nothing more will be run: sends the helpers home. */
void steps_end(struct steps *steps);

/* Takes part in what is run until steps_end(), and waits while there is nothing. */
void steps_help(struct steps *steps);

void steps_fini(struct steps *steps);
