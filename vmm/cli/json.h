/*
 * Text as JSON. One thread.
 */
#pragma once

#include <stdio.h>

/* text as a string of JSON in UTF-8, with its quotes; bytes that are no UTF-8 become U+FFFD. */
void json_string(FILE *out, const char *text);
