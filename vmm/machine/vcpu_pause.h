/*
 * Brings all vCPUs of a running machine to a stop between two exits, for somebody who looks at their registers.
 *
 * While they are paused, the vCPUs' threads wait here, outside KVM_RUN, without a lock, and with the access that the last exit
 * was about completed; whoever paused them does the vCPUs' system calls himself, so that their threads need no rights for it.
 * Any number of threads may pause at once: the vCPUs run again when the last one resumes. An end of the machine lets
 * the vCPUs' threads out to end at once; the pause holds nevertheless, for they enter the guest no more. So does one that begins before the
 * machine has started: then the vCPUs wait before their first instruction.
 *
 * A kick is all it takes: a vCPU comes here when KVM_RUN was interrupted, which happens for no other reason but the end, and when the whole
 * process was stopped, so its way through an exit knows nothing of pauses.
 *
 * Owner: the machine. Threads: as said at each function. Under the lock only a task is posted.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

struct evloop;
struct evloop_task;
struct vcpu;

struct vcpu_pause {
	/* immutable between the first vCPU's start and fini */
	struct vcpu *vcpus;
	unsigned int n_vcpus;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* under lock */
	unsigned int n_pausers;
	unsigned int n_inside;	 /* vCPUs that may be in the guest: vcpu.inside */
	struct evloop *asked_by; /* NULL: nobody */
	struct evloop_task *asked_for;
};

void vcpu_pause_init(struct vcpu_pause *pause, struct vcpu *vcpus, unsigned int n_vcpus);

/* Any thread, a vCPU's too, which then stops before it runs the guest again. The vCPUs will stop soon. */
void vcpu_pause_begin(struct vcpu_pause *pause);

/* Any thread but a vCPU's, after begin, with no lock held that a vCPU takes during an exit. Waits until all have stopped. Not on a loop
 * that serves devices, for which a vCPU may wait itself. */
void vcpu_pause_wait(struct vcpu_pause *pause);

/*
 * For such a loop: posts the task as soon as all have stopped, be it at once. After begin, or after vcpu_request_stop() on all and
 * vcpu_pause_let_out(). Any thread; one loop and one task, which is posted once for all that is asked until then.
 */
void vcpu_pause_ask(struct vcpu_pause *pause, struct evloop *loop, struct evloop_task *task);

/* Any thread. Undoes one begin. */
void vcpu_pause_end(struct vcpu_pause *pause);

/* Any thread, after vcpu_request_stop() on all vCPUs. Those that wait here go, and end. */
void vcpu_pause_let_out(struct vcpu_pause *pause);

/*
 * A vCPU that is held stands when the others run again: a thread that debugs the machine lets one of them step. On any thread while all
 * vCPUs are paused; on that vCPU's own when it shall wait, which it does in vcpu_pause_pass().
 */
void vcpu_pause_hold(struct vcpu *vcpu, bool hold);

/* The vCPUs' threads have ended, and nobody pauses. */
void vcpu_pause_fini(struct vcpu_pause *pause);

/* ---- on the vCPU's thread ---- */

/* Before the first KVM_RUN, and whenever one was interrupted: waits while somebody pauses, or holds this vCPU. */
void vcpu_pause_enter(struct vcpu *vcpu);
void vcpu_pause_pass(struct vcpu *vcpu);
/* After the last KVM_RUN. */
void vcpu_pause_leave(struct vcpu *vcpu);
