/*
 * Guest memory that changes between two loads, as if another vCPU wrote to it: a byte is changed right before one of the next
 * loads from guest memory.
 *
 * The compiler calls us before each load (clang, -fsanitize-coverage=trace-loads; see CMakeLists.txt). What it makes of
 * memcpy() is not seen, which is well: who has copied once has no second look.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Changes *at to value after left more loads from guest memory. A few may be planned at once; more are not. */
void trips_plan(uint8_t *at, uint8_t value, uint8_t left);

/* Whether something will still change. */
bool trips_pending(void);

void trips_forget(void);
