/*
 * Libraries that few starts need: loading one takes time and memory at every start. So they are loaded when something needs one, and are
 * no part of the program, unless that is static.
 *
 * What is loaded is a struct that begins with a pointer for us (NULL: not loaded, or part of the program), behind which are pointers to
 * functions.
 *
 * Owner: the struct's. Threads: one at a time.
 */
#pragma once

/*
 * names: of the functions, in the struct's order, each with a zero at its end and one more behind the last. Returns 0, or -ELIBACC when the
 * library is not there (any more) or lacks a function.
 */
int late_library_open(void *functions, const char *file, const char *names);

/* Also of zeros, or after late_library_open() failed. */
void late_library_close(void *functions);
