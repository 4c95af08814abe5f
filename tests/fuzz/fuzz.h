/*
 * What a fuzz target is: a function that takes any bytes. libFuzzer calls it with bytes of its own making, replay.c with those of files.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
