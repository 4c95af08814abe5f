/*
 * What the program has to say on stderr: messages, each a line "vmm: text", and on a terminal a line that tells what it is at.
 *
 * Control characters, and bytes that are not UTF-8, become question marks. "vmm:" is bold on a terminal that is not dumb, unless
 * NO_COLOR is set. The line of what it is at is the last one, ends where it began, and is wiped off before anything else is
 * written there. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

void report(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* The same of what was asked for and cannot be had. Returns -EINVAL. */
int report_refuse(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* And after a colon what err, a negative errno, says. Returns err. */
int report_failure(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same for a line of the library's log, which is lost when nobody takes it: who serves a guest does not wait. */
void report_log(void *arg, int level, const char *line);

/* Whether stderr is a terminal that can show that. */
bool report_is_terminal(void);

/* Shows what the program is at, instead of what it was at. Returns whether there is a terminal for that. */
bool report_status(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Wipes it off; from now on there is none. */
void report_status_end(void);

/* Makes a line of a text: what is no character to be shown becomes a question mark. */
void report_clean(char *text);

/* Bytes of the UTF-8 character that text begins with; 0: it begins with none. */
size_t report_character(const char *text);
