/*
 * A console that others connect to: a listening stream socket whose client, one at a time, reads the guest's output and
 * types its input. While nobody is connected output goes nowhere.
 *
 * A second client is refused by closing its connection. A client may close its sending side and go on reading; one that
 * has left altogether makes room for the next at once, even if the guest has not taken all that it typed. While the host, or the process, lacks
 * what a client takes, clients wait.
 *
 * Owner: struct console. All on the loop's thread, or while the loop does not run. The listening descriptor stays the
 * caller's; it need not listen yet at init.
 */
#pragma once

#include <stdbool.h>

#include "devices/console_input.h"
#include "devices/console_output.h"
#include "vmm/core/evloop.h"
#include "vmm/core/log.h"

struct console_socket {
	/* immutable after init */
	struct evloop *loop;
	struct console_output *output;
	struct console_input *input;
	/* owned by the loop thread */
	struct evloop_fd listener; /* its fd is -1: there is no such socket */
	struct evloop_fd client;   /* the same: nobody is connected */
	bool hung_up;		   /* the client has left; what it sent may still be read */
	bool input_ended;
	struct evloop_timer timer; /* until clients are taken again */
	struct log_limit log;
};

/* fd -1: no socket, and nothing below does anything. */
void console_socket_init(struct console_socket *sock, struct evloop *loop, int fd,
			 struct console_output *output, struct console_input *input);

/* The socket listens now. Returns 0 or negative errno. */
int console_socket_start(struct console_socket *sock);

/* The input has ended. */
void console_socket_on_input_end(struct console_socket *sock);

void console_socket_fini(struct console_socket *sock);
