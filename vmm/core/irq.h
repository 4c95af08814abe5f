/*
 * An interrupt line as a device sees it: raise it, lower it, know nothing of what is behind.
 *
 * The struct is copied into the device at init; arg is owned by whoever made the line and outlives the
 * device. Both functions may be called from any thread and do not sleep for long. Raising a raised line
 * and lowering a lowered one do nothing.
 */
#pragma once

struct irq_line {
	void (*raise)(void *arg);
	void (*lower)(void *arg);
	void *arg;
};

static inline void irq_raise(const struct irq_line *line)
{
	line->raise(line->arg);
}

static inline void irq_lower(const struct irq_line *line)
{
	line->lower(line->arg);
}
