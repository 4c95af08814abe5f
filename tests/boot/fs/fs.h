/*
 * How a file system behaves, case by case, in words that are the same wherever it is right: no inode numbers, no times but
 * relations between them. A case is a line of steps, each a system call, which runs in an empty directory of its own; its outcome is
 * one line. test_share_cases.sh runs it on a directory here and through a share, and compares.
 *
 * One process runs a case, one after the other; "peer" steps are run by a second one. Nothing is freed: the process ends with its case.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define STEP_WORDS 10
#define SLOTS	   26

struct fs_case {
	const char *name;
	const char *steps; /* separated by ";", words by blanks */
};

/* One step. word[0] is what is done. */
struct step {
	unsigned int n;
	const char *word[STEP_WORDS];
};

struct operation {
	const char *name;
	unsigned int least;		     /* words, its own included */
	int (*run)(const struct step *step); /* 0 or negative errno; may say() what it found */
};

extern const struct operation operations_files[], operations_data[], operations_names[],
	operations_attributes[], operations_locks[];

extern const struct fs_case cases_names[], cases_data[], cases_attributes[], cases_xattrs[],
	cases_locks[], cases_lists[];

/* Adds to the outcome of the step. */
__attribute__((format(printf, 1, 2))) void say(const char *format, ...);

/* For each case in a table, and for all of the matrix. */
void run_case(const char *theme, const char *name, const char *steps);
void run_matrices(void);

/* ---- of words ---- */

/* The descriptor that a letter stands for. */
int *slot(const char *word);
/*
 * A path, with "%N" for a name of N bytes, "%.N" for "./" N times, "#a" for a descriptor's name below /proc, and "a:REST" for a path from the directory
 * that is open as a. Sets *dir to that, or AT_FDCWD.
 */
const char *path_of(const char *word, int *dir);
long long number(const char *word);
/* The word at that place, or what stands for none. */
const char *word_or(const struct step *step, unsigned int n, const char *otherwise);
/* Whether a word is among the others of a step, from the n-th on. */
bool has_word(const struct step *step, unsigned int n, const char *word);
/* The value of names joined by "+", from a table that ends with NULL. */
struct named {
	const char *name;
	unsigned int value;
};
unsigned int named_sum(const struct named *table, const char *word);
/* What a system call returned, as a step's result. */
int result(long long returned);
/* A few bytes as they are; more as their number and a hash. */
void say_bytes(const char *bytes, size_t n);
/* Bytes of a pattern that differs at each place. */
void pattern(char *bytes, size_t n, uint64_t offset);
uint32_t hash_of(const char *bytes, size_t n, uint32_t before);
#define HASH_FIRST 2166136261u
