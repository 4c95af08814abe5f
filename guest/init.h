/*
 * The first program of a guest that runs one command: what its files share.
 *
 * It is the guest's process 1, so it must not end; it serves one host, which it believes. One thread. What cannot go on is told
 * to the host, or to the console while there is no way to it, and ends the machine.
 */
#pragma once

#include <stdbool.h>

#include "guest/passwd.h"
#include "guest/protocol.h"
#include "guest/sys.h"

#define INIT_MORE_ENV 3 /* variables for which there is room behind those of the host */

/* What the host wants; its strings lie behind the message. */
struct init_start {
	struct guest_start what;
	const char *host_name;
	const char *root_type;
	const char *directory;
	const char *user_name; /* "": root */
	char **args; /* with a NULL at the end, as env, and room for one more before the first */
	char **env;
	char **shares; /* three for each */
	struct passwd_user user;
};

/* ---- init.c ---- */

/* Says that something could not be done, to what, and why (error is a negative errno, or 0), and ends the machine. */
void init_fail(const char *doing, const char *what, long error) __attribute__((noreturn));
/* The same of what the host wants and is not there: text is for the user. */
void init_refuse(const char *text) __attribute__((noreturn));
/* Ends the machine without a word. */
void init_end(void) __attribute__((noreturn));
void init_sleep(unsigned int ms);

/* ---- channel.c ---- */

struct channel {
	int control; /* 0, which is a standard descriptor: not there yet */
	int stream[3];
};

extern struct channel channel;

/* Connects to the host. */
void channel_open(void);
void channel_say(uint32_t type, const void *body, uint32_t size);
void channel_fail(const char *text, uint32_t error, enum guest_failed_what what);
/* Tells the user text and what; error is a negative errno, or 0. */
void channel_note(const char *text, const char *what, long error);
/* Waits for the host's START. */
void channel_receive(struct init_start *start);

/* ---- mounts.c ---- */

/* Before the modules: what they and the root need. */
void mounts_begin(void);
/* Makes the root the one that the host wants. */
void mounts_root(const struct init_start *start);
/* The file systems that every command expects. */
void mounts_finish(const struct init_start *start);
/* The directories of the host beside the root. */
void mounts_share(const struct init_start *start);
/* Nothing runs any more: what shall last is on the disk. */
void mounts_end(const struct init_start *start);

/* ---- modules.c ---- */

/* Loads all modules, then removes them and what else was in the initramfs for us. */
void modules_load(void);

/* ---- net.c ---- */

/* Gives the machine its names in /etc/hosts. Before there are shares, which may lie there. */
void net_hosts(const struct init_start *start);
/* Brings the loopback and the first card up, and the cards in what.dhcp (struct guest_start) with addresses that they ask for. */
void net_begin(const struct init_start *start);

/* ---- user.c ---- */

/* Finds out who the command's user is, by the root's own files, and gives him what a login would. */
void user_find(struct init_start *start);
/* Becomes that user, for good, and takes the umask of whoever started vmm; what the descriptors 0 to 2 are is his then. */
long user_become(const struct init_start *start);

/* ---- command.c ---- */

/* Runs the command until it has ended and its output was passed on. */
void command_run(const struct init_start *start);
