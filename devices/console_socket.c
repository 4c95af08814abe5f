#include "devices/console_socket.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/core/log.h"

#define CONSOLE_SOCKET_PAUSE UINT64_C(100000000) /* ns, after the host ran out of something */

static void console_socket_drop(struct console_socket *sock)
{
	if (sock->client.fd < 0)
		return;
	console_output_detach(sock->output);
	console_input_detach(sock->input);
	evloop_del(sock->loop, &sock->client);
	close(sock->client.fd);
	sock->client.fd = -1;
}

/* The client has left: nothing can be written any more, but what it sent before is still to be read. */
static void console_socket_hang_up(struct console_socket *sock)
{
	sock->hung_up = true;
	evloop_del(sock->loop, &sock->client);
	console_output_detach(sock->output);
	if (sock->input_ended)
		console_socket_drop(sock);
}

static void console_socket_on_client(void *arg, uint32_t events)
{
	(void)events;
	console_socket_hang_up(arg);
}

static void console_socket_on_gone(void *arg)
{
	console_socket_hang_up(arg);
}

void console_socket_on_input_end(struct console_socket *sock)
{
	sock->input_ended = true;
	if (sock->hung_up)
		console_socket_drop(sock);
}

static int console_socket_take(struct console_socket *sock, int fd)
{
	int err;

	sock->client.fd = fd;
	sock->hung_up = false;
	sock->input_ended = false;
	/* Only that both directions are closed is of interest here. */
	err = evloop_add(sock->loop, &sock->client, EPOLLHUP);
	if (err == 0)
		err = console_output_attach(sock->output, fd);
	if (err == 0)
		err = console_input_attach(sock->input, fd);
	if (err < 0)
		console_socket_drop(sock);
	return err;
}

/* It may be known of the client only when its turn comes that it is gone: who tries whether a name is in use is no longer here. */
static bool console_socket_is_busy(const struct console_socket *sock)
{
	struct pollfd pfd = {.fd = sock->client.fd};

	return pfd.fd >= 0 && !sock->hung_up && poll(&pfd, 1, 0) == 0;
}

static void console_socket_on_listener(void *arg, uint32_t events)
{
	struct console_socket *sock = arg;
	int fd = accept4(sock->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	int err = fd < 0 ? -errno : 0;

	(void)events;
	if (fd >= 0 && console_socket_is_busy(sock)) {
		close(fd); /* one at a time */
		return;
	}
	if (fd >= 0) {
		console_socket_drop(sock);
		err = console_socket_take(sock, fd);
	}
	if (err == 0 || err == -EAGAIN || err == -ECONNABORTED || err == -EINTR)
		return;
	/* Out of descriptors or memory, most likely, which a guest can see to; to try again at once would only burn time. */
	log_guest(&sock->log, "who connects to the guest's console has to wait: %s",
		  strerror(-err));
	evloop_mod(sock->loop, &sock->listener, 0);
	evloop_timer_set(sock->loop, &sock->timer, CONSOLE_SOCKET_PAUSE);
}

static void console_socket_on_timer(void *arg)
{
	struct console_socket *sock = arg;

	if (evloop_mod(sock->loop, &sock->listener, EPOLLIN) < 0)
		evloop_timer_set(sock->loop, &sock->timer, CONSOLE_SOCKET_PAUSE);
}

void console_socket_init(struct console_socket *sock, struct evloop *loop, int fd,
			 struct console_output *output, struct console_input *input)
{
	*sock = (struct console_socket){.loop = loop, .output = output, .input = input};
	sock->listener =
		(struct evloop_fd){.fd = fd, .fn = console_socket_on_listener, .arg = sock};
	sock->timer = (struct evloop_timer){.fn = console_socket_on_timer, .arg = sock};
	sock->client = (struct evloop_fd){.fd = -1, .fn = console_socket_on_client, .arg = sock};
	if (fd >= 0) {
		output->gone = console_socket_on_gone;
		output->gone_arg = sock;
	}
}

int console_socket_start(struct console_socket *sock)
{
	return sock->listener.fd < 0 ? 0 : evloop_add(sock->loop, &sock->listener, EPOLLIN);
}

void console_socket_fini(struct console_socket *sock)
{
	evloop_timer_cancel(sock->loop, &sock->timer);
	evloop_del(sock->loop, &sock->listener);
	/* As descriptor_hang_up(); not before the end, for the loop's thread has no right to it. */
	if (sock->client.fd >= 0)
		shutdown(sock->client.fd, SHUT_RDWR);
	console_socket_drop(sock);
}
