/* What filter_rules.c writes where the number of the process belongs, and filter.c replaces by it. No process has it. */
#pragma once

#define FILTER_PID 0x7eadbee5u
