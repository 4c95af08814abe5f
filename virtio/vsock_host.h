/*
 * The host's side of a virtio socket device: unix sockets of the file system.
 *
 * Clients connect to PATH and write "CONNECT PORT\n"; what follows belongs to the stream. The socket is open to our own
 * user alone. A file that is in the way is replaced when it is a socket that nobody listens on, left by a VM that was
 * killed; of two VMs that start on it at the same moment one is refused (kept_name.h).
 *
 * At most VSOCK_HOST_CLIENTS clients may be silent at once, for VSOCK_HOST_PATIENCE; others wait in the listener's queue.
 *
 * Owner: struct virtio_vsock. Threads: init, listen and fini by the owner while the loop does not run; all else on the
 * loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

#include "vmm/core/evloop.h"
#include "vmm/core/kept_name.h"
#include "vmm/core/log.h"

#define VSOCK_HOST_CLIENTS  128
#define VSOCK_HOST_PATIENCE UINT64_C(2000000000) /* ns */

/* So that "_4294967295" and the end fit behind it. */
#define VSOCK_HOST_MAX_PATH (sizeof(((struct sockaddr_un *)0)->sun_path) - 12)

struct vsock_host_client {
	struct vsock_host *host;
	struct evloop_fd watch;
	uint64_t deadline;
	bool used;
};

struct vsock_host {
	/* immutable after init */
	struct evloop *loop;
	const char *name; /* of the device, borrowed */
	void (*connect)(void *arg, int fd, uint32_t port);
	void *arg;
	/* immutable after listen */
	struct kept_name made; /* the socket's file */
	/* owned by the loop thread */
	struct evloop_fd listener;
	struct evloop_timer timer;
	unsigned int n_clients;
	char path[VSOCK_HOST_MAX_PATH + 1]; /* "": none; changes in vsock_host_moved() alone */
	struct vsock_host_client clients[VSOCK_HOST_CLIENTS];
	struct log_limit log;
};

struct vsock_host_options {
	struct evloop *loop;
	const char *name;
	const char
		*path; /* NULL: no such sockets; then none of the other functions does anything */
	void (*connect)(void *arg, int fd, uint32_t port); /* takes fd over, which does not block */
	void *arg;
};

/* Makes no file yet. Returns 0, or negative errno after a message, with nothing left behind. */
int vsock_host_init(struct vsock_host *host, const struct vsock_host_options *options);

/* Makes the socket's file. Returns 0, or negative errno after a message; then only fini may follow. */
int vsock_host_listen(struct vsock_host *host);

/*
 * The directory of the sockets is the working directory of the process from now on, and may have no other name. After listen,
 * while the loop does not run.
 */
void vsock_host_moved(struct vsock_host *host);

/* Forgets the clients and removes the socket, if it is still ours. */
void vsock_host_fini(struct vsock_host *host);

/* A socket for the listener of port. Returns a descriptor that is not connected yet, or negative errno. */
int vsock_host_socket(struct vsock_host *host);

/* Returns 0, -EAGAIN when the listener's queue is full, or another negative errno. */
int vsock_host_connect(struct vsock_host *host, int fd, uint32_t port);
