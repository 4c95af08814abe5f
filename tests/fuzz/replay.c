/*
 * Runs a fuzz target on files, and on every file of directories: what libFuzzer has found stays found, with any compiler.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/fuzz/fuzz.h"

/* Returns 1. */
static int replay_file(const char *path, const struct stat *st)
{
	size_t size = (size_t)st->st_size;
	/* not a byte more than the input, so that sanitizers see what is read behind it */
	uint8_t *data = malloc(size ? size : 1);
	FILE *file = fopen(path, "re");

	if (!data || !file || fread(data, 1, size, file) != size) {
		fprintf(stderr, "cannot read %s: %s\n", path, strerror(errno));
		exit(1);
	}
	fclose(file);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	return 1;
}

/* Returns how many files were run. */
static int replay(const char *path)
{
	struct dirent *entry;
	struct stat st;
	int n = 0;
	DIR *dir;

	if (stat(path, &st) < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(1);
	}
	if (!S_ISDIR(st.st_mode))
		return replay_file(path, &st);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		char name[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		n += replay(name);
	}
	if (dir)
		closedir(dir);
	return n;
}

int main(int argc, char **argv)
{
	int n = 0;

	for (int i = 1; i < argc; i++)
		n += replay(argv[i]);
	printf("%d inputs\n", n);
	return n > 0 ? 0 : 1;
}
