/* A program that debugs itself: an int3, and a step by the trap flag, must come to it and to nobody else. Says how often each did. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <ucontext.h>

static volatile sig_atomic_t breakpoints, steps;

static void on_trap(int number, siginfo_t *info, void *arg)
{
	ucontext_t *context = arg;

	(void)number;
	if (info->si_code == TRAP_TRACE) {
		steps++;
		context->uc_mcontext.gregs[REG_EFL] &= ~0x100l;
	} else {
		breakpoints++;
	}
}

int main(void)
{
	struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};

	sigaction(SIGTRAP, &action, NULL);
	for (int i = 0; i < 10; i++) {
		__asm__ volatile("int3");
		__asm__ volatile("pushf; orq $0x100, (%%rsp); popf; nop" ::: "memory", "cc");
	}
	printf("breakpoints: %d\nsteps: %d\n", (int)breakpoints, (int)steps);
	return 0;
}
