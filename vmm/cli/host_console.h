/*
 * What --console names on the host: standard descriptors, a file, a new pseudo-terminal, or a socket.
 *
 * Life: open; then begin while names can be made, empty once nothing but the machine's threads can fail; and end. One that was
 * made goes again if there is no start (made.h).
 * What cannot be done is one line on stderr. Owner: main(). One thread.
 */
#pragma once

#include <stdbool.h>
#include <sys/stat.h>

#include "vmm/cli/options.h"

struct host_console {
	const char *path; /* of the file or socket */
	int fd;		  /* the same; -1: neither */
	int dir;	  /* of the socket, for paths may mean nothing at the end; -1: none */
	bool bound;	  /* the socket has its name, as this inode: */
	dev_t device;
	ino_t inode;
};

/* Opens it and fills in the console's fields of options->config. Returns 0 or negative errno. */
int host_console_open(struct host_console *host, struct options *options);

/* Gives the socket its name and listens. Returns 0 or negative errno. */
int host_console_begin(struct host_console *host, const struct options *options);

/* The file's old content goes, before the guest writes and not before. By its descriptor: in the sandbox, too. */
void host_console_empty(const struct host_console *host);

/* The terminal's size. Returns whether there is a terminal. */
bool host_console_size(const struct options *options, unsigned int *rows, unsigned int *columns);

/* Removes the socket's name. */
void host_console_end(const struct host_console *host);
