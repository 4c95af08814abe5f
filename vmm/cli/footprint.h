/*
 * What the program keeps in memory while a machine runs.
 *
 * One thread, the program's first.
 */
#pragma once

/* Before anything is allocated. */
void footprint_begin(void);

/* What footprint_shrink() reads, opened while there is a way to: returns a descriptor, or -1. */
int footprint_open(void);

/* Gives back what the start alone has needed; takes over the descriptor. It may be called at any time, and nothing depends on it. */
void footprint_shrink(int pagemap);
