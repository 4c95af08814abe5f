#include "devices/console_output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "vmm/core/log.h"
#include "vmm/core/sigpipe.h"

/* For a descriptor that says EAGAIN and that epoll cannot watch, or always tells of. */
#define RETRY_NS UINT64_C(10000000)

/* One that takes nothing for so long is not there, for somebody in a hurry. */
#define IDLE_MS 100

#define NS_PER_MS UINT64_C(1000000)

_Static_assert((CONSOLE_OUTPUT_SIZE & (CONSOLE_OUTPUT_SIZE - 1)) == 0,
	       "free-running indexes need a power of two");

/* The lock is held. */
static uint32_t console_output_used(const struct console_output *out)
{
	return out->head - out->tail;
}

static uint32_t console_output_waiting(struct console_output *out)
{
	uint32_t used;

	pthread_mutex_lock(&out->lock);
	used = console_output_used(out);
	pthread_mutex_unlock(&out->lock);
	return used;
}

/* The bytes that lie in one piece at the tail. Returns how many. */
static size_t console_output_peek(struct console_output *out, const uint8_t **data)
{
	uint32_t at, n;

	pthread_mutex_lock(&out->lock);
	at = out->tail % CONSOLE_OUTPUT_SIZE;
	n = console_output_used(out);
	pthread_mutex_unlock(&out->lock);
	*data = out->ring + at;
	return n < CONSOLE_OUTPUT_SIZE - at ? n : CONSOLE_OUTPUT_SIZE - at;
}

/* Frees n bytes; tells the guest when it waits and half of the ring is free. Returns the bytes left. */
static uint32_t console_output_consume(struct console_output *out, uint32_t n)
{
	bool ready;
	uint32_t left;

	pthread_mutex_lock(&out->lock);
	out->tail += n;
	left = console_output_used(out);
	/* Little output stays in the first pages of the ring, and in one piece. */
	if (left == 0)
		out->head = out->tail = 0;
	ready = out->starved && left <= CONSOLE_OUTPUT_SIZE / 2;
	if (ready)
		out->starved = false;
	pthread_mutex_unlock(&out->lock);
	if (ready)
		out->ready(out->arg);
	return left;
}

static void console_output_fail(struct console_output *out, int err)
{
	if (out->gone)
		; /* they come and go */
	else if (err == -EPIPE || err == -ECONNRESET)
		log_warn("the reader of the guest's console is gone; its output is discarded from "
			 "now on");
	else
		log_warn(
			"cannot write the guest's console: %s; its output is discarded from now on",
			strerror(-err));
	pthread_mutex_lock(&out->lock);
	out->discard = true;
	pthread_mutex_unlock(&out->lock);
	console_output_consume(out, console_output_waiting(out));
	if (out->gone)
		out->gone(out->gone_arg);
}

static void console_output_watch(struct console_output *out, bool blocked)
{
	out->blocked = blocked;
	if (evloop_mod(out->loop, &out->efd, blocked ? EPOLLOUT : 0) < 0)
		evloop_timer_set(out->loop, &out->timer, RETRY_NS);
}

/* Writes until the ring's end or the ring is empty, whichever is first. Returns bytes left, or -EAGAIN. */
static int console_output_write(struct console_output *out)
{
	const uint8_t *data;
	size_t n = console_output_peek(out, &data);
	ssize_t written;

	if (n == 0)
		return 0;
	written = hostfd_write(&out->host, data, n);
	if (written == -EAGAIN)
		return -EAGAIN;
	if (written < 0) {
		console_output_fail(out, (int)written);
		return 0;
	}
	return (int)console_output_consume(out, (uint32_t)written);
}

/*
 * Writes what waits, of which the ring's end makes two pieces. A guest may fill the ring as fast as a slow file takes it: for what
 * has come meanwhile it is the loop's turn first, in which the machine may be ended. What is less than a burst gathers until the timer.
 */
static void console_output_burst(struct console_output *out)
{
	int left;

	evloop_timer_cancel(out->loop, &out->timer);
	left = console_output_write(out);
	if (left >= CONSOLE_OUTPUT_BURST)
		left = console_output_write(out);
	console_output_watch(out, left < 0);
	if (left > 0)
		evloop_timer_set(out->loop, &out->timer,
				 left >= CONSOLE_OUTPUT_BURST ? 0 : CONSOLE_OUTPUT_DELAY);
}

static void console_output_on_task(void *arg)
{
	struct console_output *out = arg;
	uint32_t used;

	if (out->blocked)
		return;
	used = console_output_waiting(out);
	if (used >= CONSOLE_OUTPUT_BURST)
		console_output_burst(out);
	else if (used && !out->timer.armed)
		evloop_timer_set(out->loop, &out->timer, CONSOLE_OUTPUT_DELAY);
}

static void console_output_on_timer(void *arg)
{
	console_output_burst(arg);
}

static void console_output_on_fd(void *arg, uint32_t events)
{
	struct console_output *out = arg;

	console_output_burst(out);
	/* A pty that is full and whose other side nobody has open: epoll would tell of the hang-up without end. */
	if (out->blocked && !(events & EPOLLOUT)) {
		evloop_del(out->loop, &out->efd);
		evloop_timer_set(out->loop, &out->timer, RETRY_NS);
	}
}

int console_output_init(struct console_output *out, struct evloop *loop, int fd,
			void (*ready)(void *arg), void *arg)
{
	int err;

	/* The ring's pages come to be when they are used. */
	memset(out, 0, offsetof(struct console_output, ring));
	out->loop = loop;
	out->ready = ready;
	out->arg = arg;
	out->host.fd = -1;
	out->task = (struct evloop_task){.fn = console_output_on_task, .arg = out};
	out->timer = (struct evloop_timer){.fn = console_output_on_timer, .arg = out};
	out->discard = fd < 0;
	if (fd >= 0) {
		err = hostfd_open(&out->host, fd, O_WRONLY);
		if (err < 0)
			return err;
	}
	out->efd = (struct evloop_fd){.fd = out->host.fd, .fn = console_output_on_fd, .arg = out};
	pthread_mutex_init(&out->lock, NULL);
	return 0;
}

bool console_output_put(struct console_output *out, uint8_t byte)
{
	uint32_t used;
	bool room, wake = false;

	pthread_mutex_lock(&out->lock);
	used = console_output_used(out);
	if (!out->discard && used < CONSOLE_OUTPUT_SIZE) {
		out->ring[out->head++ % CONSOLE_OUTPUT_SIZE] = byte;
		used++;
		wake = used == 1 || used == CONSOLE_OUTPUT_BURST;
	}
	room = CONSOLE_OUTPUT_SIZE - used >= CONSOLE_OUTPUT_RESERVE;
	if (!room)
		out->starved = true;
	pthread_mutex_unlock(&out->lock);
	if (wake)
		evloop_post(out->loop, &out->task);
	return room;
}

size_t console_output_append(struct console_output *out, const void *buf, size_t n)
{
	uint32_t used, room, at, first;
	bool wake = false;

	pthread_mutex_lock(&out->lock);
	used = console_output_used(out);
	room = CONSOLE_OUTPUT_SIZE - used;
	room = room > 2 * CONSOLE_OUTPUT_RESERVE ? room - 2 * CONSOLE_OUTPUT_RESERVE : 0;
	if (!out->discard && n > room) {
		n = room;
		out->starved = true;
	}
	if (!out->discard && n > 0) {
		at = out->head % CONSOLE_OUTPUT_SIZE;
		first = CONSOLE_OUTPUT_SIZE - at < n ? CONSOLE_OUTPUT_SIZE - at : (uint32_t)n;
		memcpy(out->ring + at, buf, first);
		memcpy(out->ring, (const uint8_t *)buf + first, n - first);
		out->head += (uint32_t)n;
		wake = used == 0 ||
		       (used < CONSOLE_OUTPUT_BURST && used + n >= CONSOLE_OUTPUT_BURST);
	}
	pthread_mutex_unlock(&out->lock);
	if (wake)
		evloop_post(out->loop, &out->task);
	return n;
}

void console_output_text(struct console_output *out, const char *text)
{
	size_t len = strlen(text);

	pthread_mutex_lock(&out->lock);
	/* Twice the reserve: what put() promised to others is theirs. */
	if (!out->discard &&
	    CONSOLE_OUTPUT_SIZE - console_output_used(out) >= len + 2 * CONSOLE_OUTPUT_RESERVE)
		while (*text)
			out->ring[out->head++ % CONSOLE_OUTPUT_SIZE] = (uint8_t)*text++;
	pthread_mutex_unlock(&out->lock);
	evloop_post(out->loop, &out->task);
}

/* A reader who takes some is given the whole time again, and three times that in all. Returns the bytes that could not be written. */
static uint32_t console_output_drain(struct console_output *out, uint64_t patience)
{
	struct pollfd pfd = {.fd = out->host.fd, .events = POLLOUT};
	uint64_t now = evloop_now(), end = now + patience, last = now + 3 * patience;
	int left;

	while ((left = console_output_write(out)) != 0 && now < end && now < last) {
		pfd.revents = 0;
		if (left < 0 && (poll(&pfd, 1, IDLE_MS) == 0 || !(pfd.revents & POLLOUT)) &&
		    out->hurry)
			break;
		now = evloop_now();
		if (left > 0)
			end = now + patience;
	}
	return console_output_waiting(out);
}

void console_output_flush(struct console_output *out, unsigned int timeout_ms)
{
	sigset_t old;
	uint32_t left;

	sigpipe_hold(&old);
	left = console_output_drain(out, timeout_ms * NS_PER_MS);
	sigpipe_release(&old);
	if (left)
		log_warn("%u bytes of the guest's console were not written: nobody reads them",
			 left);
}

static void console_output_set_discard(struct console_output *out, bool discard)
{
	pthread_mutex_lock(&out->lock);
	out->discard = discard;
	pthread_mutex_unlock(&out->lock);
}

int console_output_attach(struct console_output *out, int fd)
{
	int err;

	console_output_detach(out);
	err = hostfd_open(&out->host, fd, O_WRONLY);
	if (err < 0)
		return err;
	out->efd.fd = out->host.fd;
	console_output_set_discard(out, false);
	return 0;
}

void console_output_detach(struct console_output *out)
{
	console_output_set_discard(out, true);
	evloop_timer_cancel(out->loop, &out->timer);
	evloop_del(out->loop, &out->efd);
	out->blocked = false;
	if (out->host.fd >= 0)
		hostfd_close(&out->host);
	console_output_consume(out, console_output_waiting(out));
}

void console_output_fini(struct console_output *out)
{
	evloop_timer_cancel(out->loop, &out->timer);
	if (out->host.fd >= 0) {
		evloop_del(out->loop, &out->efd);
		hostfd_close(&out->host);
	}
	pthread_mutex_destroy(&out->lock);
}
