#include "vmm/cli/guest_link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

void guest_link_init(struct guest_link *link, int fd)
{
	*link = (struct guest_link){.fd = fd};
}

static void guest_link_flush(struct guest_link *link)
{
	while (link->out_len > 0) {
		ssize_t n = send(link->fd, link->out, link->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n <= 0)
			return; /* later; that it is over is seen by reading */
		link->out_len -= (size_t)n;
		memmove(link->out, link->out + n, link->out_len);
	}
}

static int guest_link_keep(struct guest_link *link, const void *bytes, size_t n)
{
	if (link->out_room - link->out_len < n) {
		uint8_t *out = realloc(link->out, link->out_len + n);

		if (!out)
			return -ENOMEM;
		link->out = out;
		link->out_room = link->out_len + n;
	}
	if (n > 0)
		memcpy(link->out + link->out_len, bytes, n);
	link->out_len += n;
	return 0;
}

int guest_link_say(struct guest_link *link, uint32_t type, const void *body, size_t size)
{
	struct guest_message head = {.type = type, .size = (uint32_t)size};
	size_t before = link->out_len;
	int err;

	if (link->fd < 0 || before + size > 2 * (size_t)GUEST_START_MAX)
		return 0;
	err = guest_link_keep(link, &head, sizeof(head));
	if (err == 0)
		err = guest_link_keep(link, body, size);
	if (err < 0)
		link->out_len = before;
	else
		guest_link_flush(link);
	return err;
}

bool guest_link_is_waiting(const struct guest_link *link)
{
	return link->out_len > 0;
}

/* Takes whole messages off what was read. */
static int guest_link_deliver(struct guest_link *link, guest_link_fn *fn, void *arg)
{
	struct guest_message head;
	uint8_t body[GUEST_MESSAGE_MAX + 1];

	while (link->in_len >= sizeof(head)) {
		size_t whole;

		memcpy(&head, link->in, sizeof(head));
		if (head.size > GUEST_MESSAGE_MAX)
			return -EPROTO;
		whole = sizeof(head) + head.size;
		if (link->in_len < whole)
			break;
		memcpy(body, link->in + sizeof(head), head.size);
		body[head.size] = '\0';
		link->in_len -= whole;
		memmove(link->in, link->in + whole, link->in_len);
		fn(arg, head.type, body, head.size);
	}
	return 0;
}

int guest_link_serve(struct guest_link *link, guest_link_fn *fn, void *arg)
{
	ssize_t n;

	guest_link_flush(link);
	n = recv(link->fd, link->in + link->in_len, sizeof(link->in) - link->in_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return -EPIPE;
	link->in_len += (size_t)n;
	return guest_link_deliver(link, fn, arg);
}

void guest_link_fini(struct guest_link *link)
{
	free(link->out);
	link->out = NULL;
	link->out_len = link->out_room = 0;
	link->fd = -1;
}

/* ---- START ---- */

static size_t guest_link_measure(char *const *list, uint32_t *n)
{
	size_t size = 0;

	for (*n = 0; list[*n]; (*n)++)
		size += strlen(list[*n]) + 1;
	return size;
}

static uint8_t *guest_link_put(uint8_t *at, const char *text)
{
	size_t len = strlen(text) + 1;

	memcpy(at, text, len);
	return at + len;
}

static const char *guest_link_how(const struct guest_link_share *share)
{
	return share->readonly ? "ro" : "rw";
}

static size_t guest_link_measure_shares(const struct guest_link_start *s)
{
	size_t size = 0;

	for (uint32_t i = 0; i < s->n_shares; i++)
		size += strlen(s->shares[i].tag) + strlen(s->shares[i].place) + 3 +
			strlen(guest_link_how(&s->shares[i]));
	return size;
}

int guest_link_say_start(struct guest_link *link, const struct guest_link_start *s)
{
	struct guest_start what = {.version = GUEST_VERSION,
				   .flags = s->flags,
				   .window = s->window,
				   .n_shares = s->n_shares,
				   .umask = s->umask};
	struct timespec now;
	uint8_t *body, *at;
	size_t size;
	int err;

	clock_gettime(CLOCK_REALTIME, &now);
	what.dhcp = s->dhcp;
	what.seconds = (uint64_t)now.tv_sec;
	what.nanoseconds = (uint32_t)now.tv_nsec;
	size = sizeof(what) + strlen(s->host_name) + strlen(s->root_type) + strlen(s->directory) +
	       strlen(s->user) + 4 + guest_link_measure(s->args, &what.n_args) +
	       guest_link_measure(s->env, &what.n_env) + guest_link_measure_shares(s);
	if (size > GUEST_START_MAX)
		return -E2BIG;
	body = malloc(size);
	if (!body)
		return -ENOMEM;
	memcpy(body, &what, sizeof(what));
	at = guest_link_put(body + sizeof(what), s->host_name);
	at = guest_link_put(at, s->root_type);
	at = guest_link_put(at, s->directory);
	at = guest_link_put(at, s->user);
	for (uint32_t i = 0; i < what.n_args; i++)
		at = guest_link_put(at, s->args[i]);
	for (uint32_t i = 0; i < what.n_env; i++)
		at = guest_link_put(at, s->env[i]);
	for (uint32_t i = 0; i < s->n_shares; i++) {
		at = guest_link_put(at, s->shares[i].tag);
		at = guest_link_put(at, s->shares[i].place);
		at = guest_link_put(at, guest_link_how(&s->shares[i]));
	}
	err = guest_link_say(link, GUEST_START, body, size);
	free(body);
	return err;
}
