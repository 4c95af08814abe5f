/*
 * What a guest's kernel said, in its log or on its console: the lines that tell why it failed.
 *
 * The text is the guest's, a string, and is changed. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Of a panic: lines before it, or as many as there are from what led to it, and lines from it on. */
#define LAST_WORDS_BEFORE 10
#define LAST_WORDS_CAUSE  100
#define LAST_WORDS_PANIC  30

/* Lines of faults, at most: a guest may write as many as it likes. */
#define LAST_WORDS_FAULTS 20

/* Shows the lines around the last panic, or without one the last lines, so many, on stderr, each after "vmm: who: ". Returns whether there were any. */
bool last_words_show(const char *who, char *text, unsigned int lines);

/* Of a guest that lived on: shows the lines on stderr, each after "vmm: guest kernel: ", that name a fault which ended a process. Returns whether there were any. */
bool last_words_show_faults(char *text);
