/*
 * What the program itself has to say: one line on stderr, "vmm: text". Any thread.
 */
#pragma once

void report(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
