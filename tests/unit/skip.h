/*
 * For what a test cannot try on this host: it says so, and its program counts as skipped (exit status 77), as far as nothing
 * failed. Check runs tests in processes of their own; notes reach the program's end from there.
 */
#pragma once

/* "skipped: TEXT" on stdout. Any process of the program. */
void skip_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The exit status of a program of which so many tests failed. */
int skip_status(int failed);

/*
 * A directory in which files can be opened for direct I/O: TMPDIR, the working directory (where things are built), /var/tmp or
 * /tmp. NULL after a note: there is none.
 */
const char *skip_unless_direct(void);
