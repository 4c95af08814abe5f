/*
 * The keys of an interactive console: Ctrl-A, then a letter.
 *
 *	Ctrl-A x	end the VM
 *	Ctrl-A d	show what the vCPUs are doing
 *	Ctrl-A c	dump the guest into a file
 *	Ctrl-A b	a break for the guest, before which nothing waits any more
 *	Ctrl-A h	list the keys
 *	Ctrl-A Ctrl-A	one Ctrl-A for the guest
 *	Ctrl-A other	both bytes for the guest
 *
 * The last line is for those who type Ctrl-A as an editing key (start of line in a shell) and did not mean us: the
 * guest gets what they typed, late by one key, and nothing is lost.
 *
 * A pure state machine; owned by one thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct console_keys {
	bool escape; /* the last byte was a Ctrl-A that still waits for its letter */
};

enum console_key {
	CONSOLE_KEY_NONE = 0,
	CONSOLE_KEY_QUIT = 1 << 0,
	CONSOLE_KEY_HELP = 1 << 1,
	CONSOLE_KEY_SHOW = 1 << 2,
	CONSOLE_KEY_DUMP = 1 << 3,
	CONSOLE_KEY_BREAK = 1 << 4,
};

/*
 * Takes n bytes of input and stores what is for the guest in out, which has room for n + 1 bytes and may
 * begin one byte before in. Returns the number stored and sets *pressed to the set of keys. With a break among them what is
 * stored comes behind the last one: text that waited, and then came behind it, would be taken for the command of a SysRq.
 */
size_t console_keys_filter(struct console_keys *keys, const uint8_t *in, size_t n, uint8_t *out,
			   unsigned int *pressed);
