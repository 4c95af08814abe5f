/* What the program's exit status says; see vmm(1). */
#pragma once

#include <signal.h>

enum exit_status {
	EXIT_STATUS_OK = 0,
	EXIT_STATUS_CRASHED = 123,
	EXIT_STATUS_TIMED_OUT = 124,
	EXIT_STATUS_FAILED = 125,
	EXIT_STATUS_NOT_EXECUTABLE = 126,
	EXIT_STATUS_NOT_FOUND = 127,
	EXIT_STATUS_SIGNAL = 128,			   /* plus its number */
	EXIT_STATUS_REFUSED = EXIT_STATUS_SIGNAL + SIGSYS, /* by the sandbox: a thread is stuck */
};
