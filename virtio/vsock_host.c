#include "virtio/vsock_host.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/core/descriptor.h"

#define VSOCK_HOST_BACKLOG 1024
#define VSOCK_HOST_ACCEPTS 16		       /* in one call */
#define VSOCK_HOST_PAUSE   UINT64_C(100000000) /* ns, after the host ran out of something */

/* "CONNECT ", ten digits and the newline, and room to see that it is longer. */
#define VSOCK_HOST_LINE 32

/* ---- the file ---- */

static socklen_t vsock_host_address(struct sockaddr_un *addr, const char *path)
{
	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(addr->sun_path, path, strlen(path) + 1);
	return sizeof(*addr);
}

int vsock_host_socket(struct vsock_host *host)
{
	int fd;

	if (!*host->path)
		return -ENOENT;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd >= 0)
		return fd;
	fd = -errno;
	log_guest(&host->log, "%s: cannot connect to the host: %s", host->name, strerror(-fd));
	return fd;
}

int vsock_host_connect(struct vsock_host *host, int fd, uint32_t port)
{
	char path[VSOCK_HOST_MAX_PATH + 12];
	struct sockaddr_un addr;
	socklen_t len;
	int err;

	snprintf(path, sizeof(path), "%s_%u", host->path, port);
	len = vsock_host_address(&addr, path);
	if (connect(fd, (const struct sockaddr *)&addr, len) == 0)
		return 0;
	err = -errno;
	/* That nobody listens, or too many wait, is for the guest alone to know. */
	if (err != -ENOENT && err != -ECONNREFUSED && err != -EAGAIN)
		log_guest(&host->log, "%s: cannot connect to socket '%s': %s", host->name, path,
			  strerror(-err));
	return err;
}

/* ---- clients ---- */

/* Waits for more clients as long as one more has room, and for the most patient of the silent ones. */
static void vsock_host_watch(struct vsock_host *host)
{
	bool room = host->n_clients < VSOCK_HOST_CLIENTS;

	if (evloop_mod(host->loop, &host->listener, room ? EPOLLIN : 0) < 0)
		evloop_timer_set(host->loop, &host->timer, VSOCK_HOST_PAUSE);
}

static void vsock_host_forget(struct vsock_host_client *client)
{
	evloop_del(client->host->loop, &client->watch);
	client->used = false;
	client->host->n_clients--;
}

static void vsock_host_refuse(struct vsock_host_client *client)
{
	vsock_host_forget(client);
	descriptor_hang_up(client->watch.fd);
}

/* "CONNECT ", a decimal number of 32 bits, newline. */
static bool vsock_host_parse(const char *line, size_t len, uint32_t *port)
{
	static const char word[] = "CONNECT ";
	size_t at = sizeof(word) - 1;
	uint64_t n = 0;

	if (len < at + 2 || memcmp(line, word, at) != 0)
		return false;
	for (; at < len - 1; at++) {
		if (line[at] < '0' || line[at] > '9')
			return false;
		n = n * 10 + (uint64_t)(line[at] - '0');
		if (n > UINT32_MAX)
			return false;
	}
	*port = (uint32_t)n;
	return true;
}

/* Looks before it takes, for what is behind the line belongs to the stream. over: nothing more comes. */
static void vsock_host_read(struct vsock_host_client *client, bool over)
{
	int fd = client->watch.fd;
	char line[VSOCK_HOST_LINE];
	ssize_t n = recv(fd, line, sizeof(line), MSG_PEEK | MSG_DONTWAIT);
	const char *end = n > 0 ? memchr(line, '\n', (size_t)n) : NULL;
	uint32_t port;
	size_t len;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || (!end && (over || n == sizeof(line)))) {
		vsock_host_refuse(client);
		return;
	}
	if (!end) {
		/* Readable as it is, so epoll would not let us sleep: edges tell of more. */
		evloop_mod(client->host->loop, &client->watch, EPOLLIN | EPOLLET);
		return;
	}
	len = (size_t)(end - line) + 1;
	if (!vsock_host_parse(line, len, &port) ||
	    recv(fd, line, len, MSG_DONTWAIT) != (ssize_t)len) {
		vsock_host_refuse(client);
		return;
	}
	vsock_host_forget(client);
	client->host->connect(client->host->arg, fd, port);
}

static void vsock_host_on_client(void *arg, uint32_t events)
{
	struct vsock_host_client *client = arg;

	vsock_host_read(client, events & EPOLLHUP);
	vsock_host_watch(client->host);
}

static void vsock_host_add(struct vsock_host *host, int fd)
{
	struct vsock_host_client *client = host->clients;

	while (client->used)
		client++;
	*client = (struct vsock_host_client){
		.host = host,
		.watch = {.fd = fd, .fn = vsock_host_on_client, .arg = client},
		.deadline = evloop_now() + VSOCK_HOST_PATIENCE,
		.used = true};
	host->n_clients++;
	if (evloop_add(host->loop, &client->watch, EPOLLIN) < 0) {
		vsock_host_refuse(client);
		return;
	}
	if (!host->timer.armed)
		evloop_timer_set(host->loop, &host->timer, VSOCK_HOST_PATIENCE);
	vsock_host_read(client, false);
}

static void vsock_host_on_listener(void *arg, uint32_t events)
{
	struct vsock_host *host = arg;

	(void)events;
	for (int i = 0; i < VSOCK_HOST_ACCEPTS && host->n_clients < VSOCK_HOST_CLIENTS; i++) {
		int fd = accept4(host->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
			break;
		if (fd < 0) {
			log_guest(&host->log, "%s: cannot accept a client: %m", host->name);
			evloop_mod(host->loop, &host->listener, 0);
			evloop_timer_set(host->loop, &host->timer, VSOCK_HOST_PAUSE);
			return;
		}
		vsock_host_add(host, fd);
	}
	vsock_host_watch(host);
}

static void vsock_host_on_timer(void *arg)
{
	struct vsock_host *host = arg;
	uint64_t now = evloop_now(), next = UINT64_MAX;

	for (unsigned int i = 0; i < VSOCK_HOST_CLIENTS; i++) {
		struct vsock_host_client *client = &host->clients[i];

		if (!client->used)
			continue;
		if (client->deadline <= now)
			vsock_host_refuse(client);
		else if (client->deadline - now < next)
			next = client->deadline - now;
	}
	if (host->n_clients > 0)
		evloop_timer_set(host->loop, &host->timer, next);
	vsock_host_watch(host);
}

/* ---- life ---- */

static const char *vsock_host_hint(int err)
{
	switch (err) {
	case -EADDRINUSE:
		return " (somebody listens on it, or it is no socket)";
	case -EINVAL:
		return " (the name is empty or too long)";
	default:
		return "";
	}
}

int vsock_host_init(struct vsock_host *host, const struct vsock_host_options *options)
{
	size_t len = options->path ? strlen(options->path) : 0;
	int fd, err;

	if (options->path && (len == 0 || len > VSOCK_HOST_MAX_PATH)) {
		log_error("%s: the path of the socket has %zu characters, not 1 to %zu",
			  options->name, len, VSOCK_HOST_MAX_PATH);
		return -EINVAL;
	}
	memset(host, 0, sizeof(*host));
	host->made = (struct kept_name)KEPT_NAME_NONE;
	host->loop = options->loop;
	host->name = options->name;
	host->connect = options->connect;
	host->arg = options->arg;
	memcpy(host->path, options->path ? options->path : "", len);
	host->timer = (struct evloop_timer){.fn = vsock_host_on_timer, .arg = host};
	host->listener.fd = -1;
	if (!options->path)
		return 0;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		err = -errno;
		log_failure(err, "%s: cannot make a socket", options->name);
		return err;
	}
	host->listener = (struct evloop_fd){.fd = fd, .fn = vsock_host_on_listener, .arg = host};
	return 0;
}

int vsock_host_listen(struct vsock_host *host)
{
	int err;

	if (!*host->path)
		return 0;
	err = kept_name_listen(&host->made, host->listener.fd, host->path, VSOCK_HOST_BACKLOG);
	if (err < 0) {
		log_error("cannot listen on socket '%s': %s%s", host->path, strerror(-err),
			  vsock_host_hint(err));
		return err;
	}
	err = evloop_add(host->loop, &host->listener, EPOLLIN);
	if (err < 0)
		log_failure(err, "cannot watch socket '%s'", host->path);
	return err;
}

void vsock_host_moved(struct vsock_host *host)
{
	char *slash = strrchr(host->path, '/');

	if (slash)
		memmove(host->path, slash + 1, strlen(slash));
}

void vsock_host_fini(struct vsock_host *host)
{
	if (!*host->path)
		return;
	for (unsigned int i = 0; i < VSOCK_HOST_CLIENTS; i++) {
		if (host->clients[i].used)
			vsock_host_refuse(&host->clients[i]);
	}
	evloop_timer_cancel(host->loop, &host->timer);
	evloop_del(host->loop, &host->listener);
	kept_name_remove(&host->made);
	kept_name_close(&host->made);
	close(host->listener.fd);
}
