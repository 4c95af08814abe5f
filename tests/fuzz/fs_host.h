/*
 * The host's kernel as a shared directory in a fuzz target meets it: its calls fail when an input says so, files seem to lie on other file
 * systems, and what would wait for storage does not, or waits for as long as the input wants.
 *
 * Linked in by --wrap (see CMakeLists.txt). Threads: all functions on the target's own. Calls by other threads, those of slow requests, fail
 * or not by a word of their own, and may be held at a gate.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* What is different about the host. */
enum {
	HOST_OLD = 1,	    /* no file was changed lately */
	HOST_COLD = 2,	    /* nothing is in memory: to read it would wait */
	HOST_BLIND = 4,	    /* it does not know whether it would */
	HOST_SHORT = 8,	    /* it reads and writes a part of what it shall */
	HOST_NETWORK = 16,  /* the files are beyond a network */
	HOST_STALLED = 32,  /* it writes nothing, and sees no error in that */
	HOST_NO_ATTRS = 64, /* the list of attributes is longer than the share has room for */
};

/* Files with these numbers seem to be of other file systems: the first two of one that is a view into the kernel. 0: none. */
enum { HOST_SEALED_DIR, HOST_SEALED_FILE, HOST_OTHER_DIR, HOST_STRANGE };

/* All goes well from now on, as on a new host. */
void host_behave(void);
void host_be(unsigned int what);
void host_set_strange(unsigned int which, uint64_t ino);

/* The call after so many others fails with this error; 0: the next one. */
void host_plan_fault(unsigned int left, int err);
/* Each call of another thread fails; 0: none does. */
void host_set_slow_fault(int err);

/* Whether other threads wait before they call the host. */
void host_set_gate(bool closed);
bool host_gate_is_closed(void);

/* How many descriptors this process has open, of the first HOST_FDS, which are all that it may have. */
#define HOST_FDS 128
unsigned int host_count_fds(void);
