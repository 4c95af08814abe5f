/*
 * assert() as <assert.h> has it, in half of the code: where and what it was is one string. Release builds keep it, so there is no NDEBUG.
 * Any thread.
 */
#pragma once

#include <assert.h> /* static_assert() */

#ifdef __FILE_NAME__
#define ASSERT_FILE __FILE_NAME__
#else
#define ASSERT_FILE __FILE__
#endif
#define ASSERT_TEXT(line) #line
#define ASSERT_LINE(line) ASSERT_TEXT(line)

#undef assert
#define assert(is) ((is) ? (void)0 : assert_failed(ASSERT_FILE ":" ASSERT_LINE(__LINE__) ": " #is))

/* Says what is not so on stderr, and aborts. */
_Noreturn void assert_failed(const char *what) __attribute__((cold));
