/*
 * The checksum of ACPI's tables and of MP tables.
 *
 * Internal to boot/. Any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* What a byte of the table, which is 0 now, must be for all to add up to 0. */
uint8_t checksum_make(const void *table, size_t len);
