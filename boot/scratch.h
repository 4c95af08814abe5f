/*
 * Large memory for a short time. It is the kernel's again at once when it is freed, which malloc() does not promise: a block
 * that it has had from the kernel makes it keep later ones of that size.
 *
 * Internal to boot/. Any thread.
 */
#pragma once

#include <stddef.h>

/* Zeros; pages exist once they are touched. len above 0. NULL when there is no memory. */
void *scratch_get(size_t len);

/* The same len. NULL is fine. */
void scratch_free(void *scratch, size_t len);
