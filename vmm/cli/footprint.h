/*
 * What the program keeps in memory while a machine runs.
 *
 * One thread, the program's first.
 */
#pragma once

/* Before anything is allocated. */
void footprint_begin(void);

/* The machine was started. */
void footprint_run(void);

/* Gives back what the start alone has needed, by vmm_pagemap_fd(). It may be called at any time, and nothing depends on it. */
void footprint_shrink(int pagemap);
