/*
 * Tells what a file is from its first bytes, so that a file which is no kernel gets an error that helps.
 *
 * Internal to boot/. Pure functions, any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Enough for every magic that kernel_kind_find() knows and for the setup header of a bzImage. */
#define KERNEL_KIND_HEAD 4096

enum kernel_kind {
	KERNEL_KIND_BZIMAGE,
	KERNEL_KIND_ELF,
	KERNEL_KIND_OTHER,
};

/* head holds the first len bytes of the file. */
enum kernel_kind kernel_kind_find(const uint8_t *head, size_t len);

/* For KERNEL_KIND_OTHER: a phrase that says what the file is and what to do. size is the whole file's. */
const char *kernel_kind_describe(const uint8_t *head, size_t len, uint64_t size);

/* Whether the magic at p is that of a compression which a kernel may be packed by. */
bool kernel_kind_is_packed(const uint8_t *p, size_t len);
