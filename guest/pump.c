#define _GNU_SOURCE /* POLLRDHUP */
#include "guest/pump.h"

#include <errno.h>

void pump_init(struct pump *pump, int from, int to, unsigned int flags)
{
	pump->from = from;
	pump->to = to;
	pump->flags = flags;
	pump->start = pump->end = 0;
	if (from < 0)
		pump_close(pump);
}

static void pump_close_from(struct pump *pump)
{
	if (pump->from >= 0)
		SYS1(close, pump->from);
	pump->from = -1;
}

void pump_close(struct pump *pump)
{
	pump_close_from(pump);
	if (pump->to >= 0 && !(pump->flags & PUMP_KEEP_TO))
		SYS1(close, pump->to);
	pump->to = -1;
}

bool pump_is_over(const struct pump *pump)
{
	return pump->to < 0;
}

static bool pump_has_bytes(const struct pump *pump)
{
	return pump->start < pump->end;
}

void pump_poll(const struct pump *pump, struct pollfd fds[PUMP_FDS])
{
	bool full = pump_has_bytes(pump);

	/* A negative descriptor is passed over. */
	fds[0] = (struct pollfd){.fd = full ? -1 : pump->from, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = pump->to, .events = full ? POLLOUT : 0};
	if (pump->flags & PUMP_TO_HOST)
		fds[1].events |= POLLRDHUP;
	else if (!full && (pump->flags & PUMP_KEEP_TO))
		fds[1].fd = -1;
}

static void pump_write(struct pump *pump)
{
	while (pump_has_bytes(pump)) {
		long n = SYS3(write, pump->to, pump->buf + pump->start, pump->end - pump->start);

		if (n == -EAGAIN || n == -EINTR)
			return;
		if (n <= 0) {
			pump_close(pump);
			return;
		}
		pump->start += (size_t)n;
	}
	if (pump->from < 0)
		pump_close(pump);
}

static void pump_read(struct pump *pump, bool last)
{
	long n = SYS3(read, pump->from, pump->buf, sizeof(pump->buf));

	if (n == -EINTR || (n == -EAGAIN && !last))
		return;
	pump->start = 0;
	pump->end = n > 0 ? (size_t)n : 0;
	if (n <= 0)
		pump_close(pump);
	else
		pump_write(pump);
}

void pump_serve(struct pump *pump, const struct pollfd fds[PUMP_FDS], bool last)
{
	short deaf = (pump->flags & PUMP_TO_HOST) ? POLLRDHUP | POLLERR | POLLHUP : POLLERR;

	if (pump->to < 0)
		return;
	if (fds[1].revents & deaf)
		pump_close(pump);
	else if (pump_has_bytes(pump) && fds[1].revents)
		pump_write(pump);
	else if (!pump_has_bytes(pump) && (fds[0].revents || last))
		pump_read(pump, last);
}
