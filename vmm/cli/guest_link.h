/*
 * The control stream to the guest's init (guest/protocol.h), on a socket that never waits: the guest may read slowly, say
 * nonsense, or nothing.
 *
 * Owner: struct command. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest/protocol.h"

struct guest_link {
	int fd; /* -1: it is over; borrowed */
	/* what the guest has not taken */
	uint8_t *out;
	size_t out_len, out_room;
	/* what is no whole message yet */
	uint8_t in[sizeof(struct guest_message) + GUEST_MESSAGE_MAX];
	size_t in_len;
};

/* A message of the guest's; body has size bytes and a NUL behind them. */
typedef void guest_link_fn(void *arg, uint32_t type, const void *body, size_t size);

void guest_link_init(struct guest_link *link, int fd);

/*
 * Sends it, or keeps what does not go now. What does not fit either, because the guest has taken nothing for long, is lost.
 * Returns 0, or -ENOMEM.
 */
int guest_link_say(struct guest_link *link, uint32_t type, const void *body, size_t size);

/* Whether something is kept, for which the socket has to become writable. */
bool guest_link_is_waiting(const struct guest_link *link);

/* The socket became ready. Returns 0; -EPIPE when the guest has closed the stream, or -EPROTO for what is no message. */
int guest_link_serve(struct guest_link *link, guest_link_fn *fn, void *arg);

void guest_link_fini(struct guest_link *link);

/* ---- START ---- */

struct guest_link_share {
	const char *tag;
	const char *place;
	bool readonly;
};

struct guest_link_start {
	uint32_t flags;
	uint32_t dhcp;
	struct guest_window window;
	const char *host_name;
	const char *root_type; /* "": none */
	const char *directory;
	const char *user;  /* "": root */
	char *const *args; /* with a NULL at the end, as env */
	char *const *env;
	const struct guest_link_share *shares;
	uint16_t n_shares;
	uint16_t umask;
};

/* Returns 0, -E2BIG when there is more text than the guest takes, or -ENOMEM. */
int guest_link_say_start(struct guest_link *link, const struct guest_link_start *start);
