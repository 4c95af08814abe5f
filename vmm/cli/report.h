/*
 * What the program itself has to say: one line on stderr, "vmm: text". Control characters, and bytes that are not UTF-8, become
 * question marks. Any thread.
 */
#pragma once

#include <stddef.h>

void report(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Bytes of the UTF-8 character that text begins with; 0: it begins with none. */
size_t report_character(const char *text);
