/*
 * What vmm and the first program of its guests (guest/init.c) say to one another when a command runs in the guest.
 *
 * Four streams, which the guest opens to ports of the host (AF_VSOCK, CID 2): control, and the command's three. Each port
 * takes one connection. Standard input, output and error are bytes and nothing else; the end of a stream is its half-close,
 * and who takes no more bytes closes it. With GUEST_TERMINAL the command has a terminal of the guest, whose keys come as
 * input and whose screen goes out as output; GUEST_TERMINAL_ERRORS says that standard error is that terminal too, and the
 * error stream then stays empty.
 *
 * The control stream holds messages: a struct guest_message and size bytes behind it. In this order:
 *
 *	guest	READY	    its first program runs, the channel works
 *	host	START	    what to run
 *	guest	STARTED	    the command runs
 *	host	SIGNAL, WINDOW	at any time from then on
 *	guest	EXITED	    the command has ended; all that it left running was killed
 *	guest	DONE	    its output was written, its disks are clean: the machine may be ended
 *
 * Instead of what is due from it the guest may say FAILED, which is its last word. Before STARTED it may say NOTE, for what the user
 * should know and hinders nothing.
 *
 * Numbers are little-endian and structs without padding. Both sides come from one build, so a version is there to be refused,
 * not negotiated.
 */
#pragma once

#include <stdint.h>

#define GUEST_VERSION 3

/* "vmm" and a number: above what programs use. */
#define GUEST_PORT_CONTROL UINT32_C(0x766d6d00)
#define GUEST_PORT_STDIN   UINT32_C(0x766d6d01)
#define GUEST_PORT_STDOUT  UINT32_C(0x766d6d02)
#define GUEST_PORT_STDERR  UINT32_C(0x766d6d03)
#define GUEST_PORTS	   4

/*
 * Where the first program and its modules are in the initramfs, a name that no root has by chance. Modules are loaded in the order of
 * their names.
 */
#define GUEST_DIR     "/.vmm"
#define GUEST_INIT    GUEST_DIR "/init"
#define GUEST_MODULES GUEST_DIR "/modules"

/* The type of a root that is a directory of the host, and the tag by which it is mounted. */
#define GUEST_SHARED_TYPE "virtiofs"
#define GUEST_SHARED_TAG  "root"

enum guest_type {
	/* from the host */
	GUEST_START = 1, /* struct guest_start and its strings */
	GUEST_SIGNAL,	 /* struct guest_signal */
	GUEST_WINDOW,	 /* struct guest_window */
	/* from the guest */
	GUEST_READY = 16, /* struct guest_ready */
	GUEST_STARTED,	  /* nothing */
	GUEST_EXITED,	  /* struct guest_exited */
	GUEST_FAILED,	  /* struct guest_failed and what was tried, in words, without a NUL */
	GUEST_DONE,	  /* nothing */
	GUEST_NOTE,	  /* the same for what there is to know */
};

struct guest_message {
	uint32_t type; /* enum guest_type */
	uint32_t size; /* bytes behind it */
};

/* The largest message: Linux takes 2 MiB of arguments and environment. */
#define GUEST_START_MAX	  (UINT32_C(4) << 20)
/* Of all others. */
#define GUEST_MESSAGE_MAX 256

enum guest_flags {
	GUEST_TERMINAL = 1 << 0,
	GUEST_TERMINAL_ERRORS = 1 << 1,
	GUEST_TERMINAL_UTF8 = 1 << 2, /* erases whole characters */
	GUEST_ROOT_READONLY =
		1 << 3, /* the file system cannot be written: a layer in memory takes what is */
	GUEST_ROOT_KEEP = 1 << 4,   /* what is written to the root shall last */
	GUEST_ROOT_SHARED = 1 << 7, /* it is a directory of the host */
	GUEST_DISKS_KEEP = 1 << 6,  /* what is written to some other disk shall last */
	GUEST_LAYER_TOLD =
		1 << 8, /* the user knows that the kernel cannot put a layer above the root */
	GUEST_CONTAINER = 1 << 9, /* the root is as its image has it: /run and /tmp too */
};

struct guest_window {
	uint16_t rows;
	uint16_t columns;
};

/* Strings with their NULs follow: host name, type of the root's file system ("": none, the initramfs is the root), working
 * directory, user ("": root; else NAME or UID, and behind a colon a group, as /etc/passwd and /etc/group of the root have them), then the
 * arguments, then the environment, then of each shared directory its tag, its place, and "ro" or "rw". A user that is named gets HOME,
 * USER and LOGNAME where the environment has none. */
struct guest_start {
	uint32_t version;
	uint32_t flags; /* enum guest_flags */
	uint32_t dhcp;	/* a bit for each network card, in their order: ask for its address */
	uint16_t n_shares;
	uint16_t umask;	  /* the command's */
	uint64_t seconds; /* the time, of CLOCK_REALTIME */
	uint32_t nanoseconds;
	struct guest_window window;
	uint32_t n_args; /* at least 1 */
	uint32_t n_env;
};

/*
 * How old the time in START is, in ns, for a guest that has said READY and heard START at these times of its own: half of both ways, as far as it
 * can know. Without that it would be behind, and files that are shared would come from its future. Ways of over a second tell
 * nothing: somebody was stopped.
 */
static inline uint64_t guest_start_age(uint64_t ready, uint64_t start)
{
	return start - ready < 1000000000 ? (start - ready) / 2 : 0;
}

struct guest_signal {
	uint32_t number;
	uint32_t group; /* whether to the command's process group, else to the command alone */
};

struct guest_ready {
	uint32_t version;
	uint32_t reserved;
	uint64_t uptime; /* ns since the kernel began to count */
};

struct guest_exited {
	uint32_t status; /* of exit(), when signal is 0 */
	uint32_t signal; /* that ended it */
	uint64_t cpu;	 /* microseconds, of it and of those that it waited for */
	uint64_t memory; /* bytes: the most that one of these had in memory */
};

enum guest_failed_what {
	GUEST_FAILED_ITSELF,  /* the guest cannot go on */
	GUEST_FAILED_COMMAND, /* the command itself could not be run */
	GUEST_FAILED_WISH,    /* there is not what the host wants */
};

struct guest_failed {
	uint32_t error; /* an errno; 0: none */
	uint32_t what;	/* enum guest_failed_what */
};
