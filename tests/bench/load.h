/*
 * What a guest does to measure its disk and its network card. A job is a few words joined by colons, and its result a line
 * "bench NAME VALUE" on standard output; what goes wrong is said there too. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Nanoseconds of the guest's clock. */
uint64_t load_now(void);

/* Says why a job has no result; returns -1. */
int load_fail(const char *job, const char *what);

/*
 * disk:NAME:KIND:SIZE:DEPTH:COUNT - COUNT requests of SIZE bytes to /dev/vda past the page cache, DEPTH at a time. KIND is
 * r or w for random places, R for one after the other. The result is microseconds a request.
 */
int disk_job(char *job);

/*
 * net:KIND:COUNT - with the other side at 10.0.0.1, which runs net_serve. KIND is one of
 *
 *   g2h, h2g          COUNT MiB by TCP from the guest, or to it; Mbit a second
 *   udp-g2h, udp-h2g  COUNT packets of 64 bytes; thousands a second that arrive, from the first to the last
 *   ping              COUNT echo requests, one after the other; microseconds, the median
 */
int net_job(char *job);

/* Gives eth0 the address 10.0.0.2. */
int net_configure(void);

/* The other side; serves one job after the other and does not return but for errors. */
int net_serve(void);

/*
 * share:NAME:KIND:COUNT - in the directory that is shared under the name "bench", which nothing is known of at the beginning. KIND is
 *
 *   read, write  COUNT MiB of the file "large", one after the other; writing ends with fsync()
 *   create       COUNT files of 1 KiB in the directory "small", 500 in each of its own
 *   git          "git status" in the repository "tree"
 *   tar          "tree.tar" is unpacked to the directory "out"
 *
 * The result is seconds.
 */
int share_job(char *job);
int share_mount(void);
