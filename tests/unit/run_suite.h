/*
 * The end of a test's main().
 */
#pragma once

#include <check.h>

#include "tests/unit/skip.h"

/* Runs and frees the suite. Returns the exit status: of a program that was skipped, where a test has said so. */
static inline int run_suite(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return skip_status(failed);
}
