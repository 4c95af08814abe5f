#include "tests/fuzz/trips.h"

#include <stddef.h>
#include <string.h>

#include "tests/fuzz/guest.h"

#define TRIPS_AT_ONCE 4

static struct {
	unsigned int left; /* loads before it happens */
	uint8_t *at;	   /* NULL: nothing is planned */
	uint8_t value;
} trips[TRIPS_AT_ONCE];
static unsigned int n_trips;

/* Called before each load that the compiler has noticed. */
static inline void guest_loads(const void *from)
{
	uintptr_t offset = (uintptr_t)from - (uintptr_t)guest.mem.map;

	if (n_trips == 0 || offset >= guest.mem.map_size)
		return;
	for (unsigned int i = 0; i < TRIPS_AT_ONCE; i++) {
		if (!trips[i].at || trips[i].left-- > 0)
			continue;
		*trips[i].at = trips[i].value;
		trips[i].at = NULL;
		n_trips--;
	}
}

void __sanitizer_cov_load1(uint8_t *from);
void __sanitizer_cov_load2(uint16_t *from);
void __sanitizer_cov_load4(uint32_t *from);
void __sanitizer_cov_load8(uint64_t *from);
void __sanitizer_cov_load16(__int128 *from);

void __sanitizer_cov_load1(uint8_t *from)
{
	guest_loads(from);
}

void __sanitizer_cov_load2(uint16_t *from)
{
	guest_loads(from);
}

void __sanitizer_cov_load4(uint32_t *from)
{
	guest_loads(from);
}

void __sanitizer_cov_load8(uint64_t *from)
{
	guest_loads(from);
}

void __sanitizer_cov_load16(__int128 *from)
{
	guest_loads(from);
}

void trips_forget(void)
{
	memset(trips, 0, sizeof(trips));
	n_trips = 0;
}

void trips_plan(uint8_t *at, uint8_t value, uint8_t left)
{
	for (unsigned int i = 0; i < TRIPS_AT_ONCE; i++) {
		if (trips[i].at)
			continue;
		trips[i].left = left;
		trips[i].at = at;
		trips[i].value = value;
		n_trips++;
		return;
	}
}

bool trips_pending(void)
{
	return n_trips > 0;
}
