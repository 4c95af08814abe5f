/* The second CPU: begun anew for each thing that it shall do, and halted between them, so that it costs nothing. */
#include "guest.h"

#define LAPIC	       UINT64_C(0xfee00000)
#define LAPIC_ICR      (LAPIC + 0x300)
#define LAPIC_SVR      (LAPIC + 0xf0)
#define LAPIC_ON       0x1ff
#define LAPIC_ICR_HIGH (LAPIC + 0x310)
#define ICR_INIT       0x4500
#define ICR_STARTUP    0x4600
#define SECOND_AT      UINT64_C(0x10000) /* start.S */

static void (*volatile job)(void);
static volatile bool began, ended, stopping;

void second_main(void);

void second_main(void)
{
	began = true;
	job();
	barrier();
	ended = true;
}

bool second_stopping(void)
{
	return stopping;
}

static void second_send(uint32_t what)
{
	mem_write(LAPIC_ICR_HIGH, 4, 1u << 24);
	mem_write(LAPIC_ICR, 4, what);
}

static bool second_wait(const volatile bool *flag, uint64_t ticks)
{
	for (uint64_t since = now(); !*flag;) {
		if (now() - since > ticks)
			return false;
		pause();
	}
	return true;
}

void second_start(void (*fn)(void))
{
	extern char second_begin[], second_end[];

	memcpy((void *)(uintptr_t)SECOND_AT, second_begin, (size_t)(second_end - second_begin));
	job = fn;
	began = ended = stopping = false;
	barrier();
	mem_write(LAPIC_SVR, 4, LAPIC_ON);
	/* The second counts once the CPU has taken the first, which may be a while later. */
	for (uint64_t since = now(); !began && now() - since < 10 * SECOND;) {
		second_send(ICR_INIT);
		second_wait(&began, SECOND / 1000);
		second_send(ICR_STARTUP | SECOND_AT / PAGE);
		second_wait(&began, SECOND / 50);
	}
	if (!began)
		give_up("the second CPU does not start");
}

void second_stop(void)
{
	stopping = true;
	if (!second_wait(&ended, 20 * SECOND))
		give_up("the second CPU does not come back");
}
