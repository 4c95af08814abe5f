/* A directory of the test's own, in which it stands, for tests. */
#pragma once

#include <fcntl.h>
#include <sys/stat.h>

#include "tests/unit/options_fixture.h"

static char dir[64];

static inline void setup(void)
{
	umask(022); /* tests look at modes */
	snprintf(dir, sizeof(dir), "/tmp/command-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
}

static inline void teardown(void)
{
	char line[128];

	ck_assert_int_eq(chdir("/"), 0);
	snprintf(line, sizeof(line), "rm -rf %s", dir);
	ck_assert_int_eq(system(line), 0);
}

static inline void put_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}
