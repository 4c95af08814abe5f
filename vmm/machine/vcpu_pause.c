#include "vmm/machine/vcpu_pause.h"

#include "vmm/core/assert.h"
#include "vmm/core/evloop.h"
#include "vmm/machine/vcpu.h"

void vcpu_pause_init(struct vcpu_pause *pause, struct vcpu *vcpus, unsigned int n_vcpus)
{
	*pause = (struct vcpu_pause){.vcpus = vcpus, .n_vcpus = n_vcpus};
	pthread_mutex_init(&pause->lock, NULL);
	pthread_cond_init(&pause->changed, NULL);
}

void vcpu_pause_fini(struct vcpu_pause *pause)
{
	assert(pause->n_inside == 0);
	pthread_cond_destroy(&pause->changed);
	pthread_mutex_destroy(&pause->lock);
}

/* Under lock: a thread that is inside has not ended, so it can be sent a signal. */
static void vcpu_pause_kick(struct vcpu *vcpu)
{
	if (vcpu->inside) {
		int err = pthread_kill(vcpu->self, VCPU_KICK_SIGNAL);

		assert(err == 0);
	}
}

void vcpu_pause_begin(struct vcpu_pause *pause)
{
	pthread_mutex_lock(&pause->lock);
	/* Those that were told by another, and have not stopped yet, have a kick or are on their way. */
	if (pause->n_pausers++ == 0) {
		for (unsigned int i = 0; i < pause->n_vcpus; i++)
			vcpu_pause_kick(&pause->vcpus[i]);
	}
	pthread_mutex_unlock(&pause->lock);
}

void vcpu_pause_wait(struct vcpu_pause *pause)
{
	pthread_mutex_lock(&pause->lock);
	assert(pause->n_pausers > 0);
	while (pause->n_inside > 0)
		pthread_cond_wait(&pause->changed, &pause->lock);
	pthread_mutex_unlock(&pause->lock);
}

/* Under lock. */
static void vcpu_pause_answer(struct vcpu_pause *pause)
{
	if (pause->n_inside > 0 || !pause->asked_by)
		return;
	evloop_post(pause->asked_by, pause->asked_for);
	pause->asked_by = NULL;
}

void vcpu_pause_ask(struct vcpu_pause *pause, struct evloop *loop, struct evloop_task *task)
{
	pthread_mutex_lock(&pause->lock);
	pause->asked_by = loop;
	pause->asked_for = task;
	vcpu_pause_answer(pause);
	pthread_mutex_unlock(&pause->lock);
}

void vcpu_pause_end(struct vcpu_pause *pause)
{
	pthread_mutex_lock(&pause->lock);
	assert(pause->n_pausers > 0);
	if (--pause->n_pausers == 0)
		pthread_cond_broadcast(&pause->changed);
	pthread_mutex_unlock(&pause->lock);
}

void vcpu_pause_let_out(struct vcpu_pause *pause)
{
	pthread_mutex_lock(&pause->lock);
	pthread_cond_broadcast(&pause->changed);
	pthread_mutex_unlock(&pause->lock);
}

void vcpu_pause_hold(struct vcpu *vcpu, bool hold)
{
	pthread_mutex_lock(&vcpu->host.pause->lock);
	vcpu->held = hold;
	pthread_mutex_unlock(&vcpu->host.pause->lock);
}

/* ---- on the vCPU's thread ---- */

static void vcpu_pause_go_out(struct vcpu *vcpu)
{
	struct vcpu_pause *pause = vcpu->host.pause;

	if (!vcpu->inside)
		return;
	vcpu->inside = false;
	if (--pause->n_inside > 0)
		return;
	pthread_cond_broadcast(&pause->changed);
	vcpu_pause_answer(pause);
}

void vcpu_pause_pass(struct vcpu *vcpu)
{
	struct vcpu_pause *pause = vcpu->host.pause;

	pthread_mutex_lock(&pause->lock);
	while ((pause->n_pausers > 0 || vcpu->held) && !vcpu_must_stop(vcpu)) {
		vcpu_pause_go_out(vcpu);
		pthread_cond_wait(&pause->changed, &pause->lock);
	}
	/* With an end, it stays out. */
	if (!vcpu->inside && !vcpu_must_stop(vcpu)) {
		vcpu->inside = true;
		pause->n_inside++;
	}
	pthread_mutex_unlock(&pause->lock);
}

void vcpu_pause_enter(struct vcpu *vcpu)
{
	vcpu->self =
		pthread_self(); /* who starts the thread may not have stored vcpu->thread yet */
	vcpu_pause_pass(vcpu);
}

void vcpu_pause_leave(struct vcpu *vcpu)
{
	struct vcpu_pause *pause = vcpu->host.pause;

	pthread_mutex_lock(&pause->lock);
	vcpu_pause_go_out(vcpu);
	pthread_mutex_unlock(&pause->lock);
}
