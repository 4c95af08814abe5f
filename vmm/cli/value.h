/*
 * Values of options: numbers, sizes, seconds, Ethernet addresses, and lists with commas. Pure functions.
 */
#pragma once

#include <stdint.h>

/* A decimal number from min to max and nothing else. Returns 0 or -EINVAL. */
int value_number(const char *text, uint64_t min, uint64_t max, uint64_t *out);

/* A size in bytes: a number with K, M, G or T behind it; a bare one counts MiB. Returns 0 or -EINVAL. */
int value_size(const char *text, uint64_t *bytes);

/* Which of n words text is, or -1. */
int value_choice(const char *text, const char *const words[], int n);

/* Seconds, with a fraction if wanted, above 0 and at most a year. Returns 0 or -EINVAL. */
int value_seconds(const char *text, uint64_t *ms);

/* Six pairs of hex digits with colons; no group address, not all zero. Returns 0 or -EINVAL. */
int value_mac(const char *text, uint8_t mac[6]);

/*
 * Cuts the next item off a list with commas: returns it, and moves *list behind it (NULL at the end). Two commas
 * stand for one that belongs to the item. The text is changed in place.
 */
char *value_next_item(char **list);

/* If item is "key=...", returns what is behind the equals sign; else NULL. */
char *value_of(char *item, const char *key);
