/*
 * Tells what a file is from its first bytes, so that a file which is no kernel gets an error that helps.
 *
 * Internal to boot/. Pure functions, any thread.
 */
#pragma once

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

/* The compression whose magic stands at p, or NULL: the payload formats of scripts/Makefile.lib. */
const char *kernel_kind_compression(const uint8_t *p, size_t len);
