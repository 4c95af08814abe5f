#include "devices/console_input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "vmm/core/log.h"

/* A terminal answers EIO while we are in the background of its shell, and a pty while nobody has its other end. */
#define RETRY_NS UINT64_C(500000000)

static void console_input_end(struct console_input *in)
{
	in->ended = true;
	evloop_del(in->config.loop, &in->efd);
	if (in->config.on_end)
		in->config.on_end(in->config.arg);
}

/* Returns whether an event will tell that there is input. */
static bool console_input_watch(struct console_input *in, bool on)
{
	return evloop_mod(in->config.loop, &in->efd, on ? EPOLLIN : 0) == 0;
}

static void console_input_read_failed(struct console_input *in, int err)
{
	if (err == -EIO && in->host.tty) {
		in->retry = true;
		console_input_watch(in, false);
		evloop_timer_set(in->config.loop, &in->timer, RETRY_NS);
		return;
	}
	if (!in->config.on_end)
		log_warn("cannot read the input of the guest's console: %s", strerror(-err));
	console_input_end(in);
}

/* How many bytes may be read now. */
static size_t console_input_space(const struct console_input *in)
{
	size_t waits = in->len - in->pos;

	return waits < CONSOLE_INPUT_SIZE ? CONSOLE_INPUT_SIZE - waits : 0;
}

/* Moves what waits to the front. */
static void console_input_compact(struct console_input *in)
{
	memmove(in->buf, in->buf + in->pos, in->len - in->pos);
	in->len -= in->pos;
	in->pos = 0;
}

/* Takes n bytes that lie one place behind what waits. */
static void console_input_take(struct console_input *in, size_t n)
{
	unsigned int pressed = CONSOLE_KEY_NONE;
	uint8_t *to = in->buf + in->len;

	if (in->config.keys) {
		n = console_keys_filter(&in->keys, to + 1, n, to, &pressed);
	} else {
		memmove(to, to + 1, n);
	}
	if (pressed & CONSOLE_KEY_BREAK)
		in->pos = in->len;
	in->len += n;
	if (pressed)
		in->config.on_key(in->config.arg, pressed);
}

/* Reads more. Returns false when there is nothing now: an event or the timer will come, or it has ended. */
static bool console_input_fill(struct console_input *in)
{
	ssize_t n;

	if (in->ended)
		return false;
	console_input_compact(in);
	n = hostfd_read(&in->host, in->buf + in->len + 1, console_input_space(in));
	if (n == -EAGAIN) {
		if (!console_input_watch(in, true))
			evloop_timer_set(in->config.loop, &in->timer, RETRY_NS);
		return false;
	}
	if (n < 0) {
		console_input_read_failed(in, (int)n);
		return false;
	}
	if (n == 0) {
		console_input_end(in);
		return false;
	}
	console_input_take(in, (size_t)n);
	return true;
}

/* How long the next bytes must still wait, in ns. */
static uint64_t console_input_wait(const struct console_input *in)
{
	uint64_t drained = atomic_load_explicit(&in->drained_at, memory_order_relaxed);
	uint64_t now = evloop_now(), gap;

	if (drained < in->fed_at) /* not drained yet: the receiver knows whether it has room */
		return 0;
	gap = drained - in->fed_at;
	if (gap < in->gap_min)
		gap = in->gap_min;
	if (gap > CONSOLE_INPUT_GAP_MAX)
		gap = CONSOLE_INPUT_GAP_MAX;
	return drained + gap > now ? drained + gap - now : 0;
}

/* Hands over what fits. Returns whether all of it did. */
static bool console_input_feed(struct console_input *in)
{
	uint64_t now = evloop_now(); /* not later than the guest can drain the bytes */
	size_t n;

	/* Before receive(): see the comment at the field. */
	atomic_store_explicit(&in->waiting, true, memory_order_relaxed);
	n = in->config.receive(in->config.arg, in->buf + in->pos, in->len - in->pos);
	if (n)
		in->fed_at = now;
	in->pos += n;
	if (in->pos < in->len)
		return false;
	atomic_store_explicit(&in->waiting, false, memory_order_relaxed);
	return true;
}

static void console_input_pump(void *arg)
{
	struct console_input *in = arg;
	uint64_t wait;

	for (;;) {
		if (in->pos == in->len && !console_input_fill(in))
			return;
		if (in->pos == in->len) /* the keys were all for us */
			continue;
		wait = console_input_wait(in);
		if (wait) {
			evloop_timer_set(in->config.loop, &in->timer, wait);
			break;
		}
		if (!console_input_feed(in))
			break;
	}
	/* The guest is slow. Its keys wait, but ours must not: those of a person are read ahead. */
	console_input_watch(in, in->config.keys && !in->ended && !in->retry &&
					console_input_space(in) >= CONSOLE_INPUT_SIZE / 2);
}

static void console_input_on_timer(void *arg)
{
	struct console_input *in = arg;

	in->retry = false;
	console_input_pump(in);
}

static void console_input_on_fd(void *arg, uint32_t events)
{
	struct console_input *in = arg;

	(void)events;
	if (in->pos < in->len && console_input_space(in) > 0)
		console_input_fill(in);
	console_input_pump(in);
}

int console_input_init(struct console_input *in, const struct console_input_config *config)
{
	int err = 0;

	memset(in, 0, offsetof(struct console_input, buf));
	in->config = *config;
	in->gap_min = CONSOLE_INPUT_GAP_MIN;
	in->host.fd = -1;
	in->ended = config->fd < 0;
	in->timer = (struct evloop_timer){.fn = console_input_on_timer, .arg = in};
	in->task = (struct evloop_task){.fn = console_input_pump, .arg = in};
	atomic_init(&in->waiting, false);
	atomic_init(&in->drained_at, 0);
	if (!in->ended)
		err = hostfd_open(&in->host, config->fd, O_RDONLY);
	in->efd = (struct evloop_fd){.fd = in->host.fd, .fn = console_input_on_fd, .arg = in};
	return err;
}

void console_input_start(struct console_input *in)
{
	evloop_post(in->config.loop, &in->task);
}

int console_input_attach(struct console_input *in, int fd)
{
	int err;

	console_input_detach(in);
	err = hostfd_open(&in->host, fd, O_RDONLY);
	if (err < 0)
		return err;
	in->efd.fd = in->host.fd;
	in->ended = false;
	evloop_post(in->config.loop, &in->task);
	return 0;
}

void console_input_detach(struct console_input *in)
{
	in->ended = true;
	in->retry = false;
	evloop_del(in->config.loop, &in->efd);
	if (in->host.fd >= 0)
		hostfd_close(&in->host);
}

void console_input_room(struct console_input *in)
{
	atomic_store_explicit(&in->drained_at, evloop_now(), memory_order_relaxed);
	if (atomic_load_explicit(&in->waiting, memory_order_relaxed))
		evloop_post(in->config.loop, &in->task);
}

void console_input_fini(struct console_input *in)
{
	evloop_timer_cancel(in->config.loop, &in->timer);
	evloop_del(in->config.loop, &in->efd);
	if (in->host.fd >= 0)
		hostfd_close(&in->host);
}
