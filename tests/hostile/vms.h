/*
 * The machines of these tests: a hostile one with every device, its healthy sibling with one disk, and what both say on their
 * consoles (guest/guest.h). What goes wrong is reported by failed(). One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm.h"

#define VM_MEMORY (UINT64_C(64) << 20)

/* Where the tests live: the guest, images, sockets. */
struct place {
	const char *guest;
	const char *dir;
	bool mmio;
	uint64_t seed;
	unsigned int rounds;
	unsigned int cpus; /* of a hostile machine */
	bool images;	   /* its disks are qcow2 images and overlays */
	const char *tap;   /* its network card's interface; NULL: passt */
	bool vhost;	   /* with tap: the host's kernel serves it */
};

struct machine {
	struct vmm *vm;
	int in;	    /* we write, the guest reads */
	int out;    /* the guest writes, we read */
	int far[2]; /* the guest's ends */
	char line[160];
	unsigned int len;
	uint64_t bytes;	 /* that it wrote */
	unsigned int ok; /* lines that say so */
	bool quiet;
	char last[160]; /* line of its own */
};

/* name: of files and sockets that are this machine's alone. Each exits the program when it fails. */
void hostile_start(struct machine *m, const struct place *place, const char *theme,
		   const char *name);
void healthy_start(struct machine *m, const struct place *place, const char *theme);
/* Reads what it says, for at most so long. "=FAIL" is a failure. */
void machine_listen(struct machine *m, int timeout_ms);
/* Types noise, as much as is taken. */
void machine_feed(struct machine *m);
bool machine_ended(const struct machine *m, enum vmm_end *end);
void machine_destroy(struct machine *m);

/* Asks the sibling. Returns how many reads it has done since it was started; fails if it is not well or does not answer. */
unsigned int healthy_ask(struct machine *m);
