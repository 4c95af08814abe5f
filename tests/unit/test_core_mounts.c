/* What is mounted here, as the kernel tells it. */
#include <check.h>
#include <errno.h>
#include <string.h>
#include <sys/vfs.h>

#include "tests/unit/run_suite.h"
#include "vmm/core/mounts.h"

struct found {
	unsigned int n, n_own;
};

static bool has_own_number(const char *path)
{
	unsigned int i = 0;
	struct statfs fs;

	ck_assert_int_eq(statfs(path, &fs), 0);
	while (i < MOUNTS_KERNELS_OWN && mounts_kernels_own[i] != (uint32_t)fs.f_type)
		i++;
	return i < MOUNTS_KERNELS_OWN;
}

/* Both ways to know them agree. */
static int note(const struct mntent *entry, const void *arg)
{
	struct found *found = *(struct found *const *)arg;

	ck_assert_int_eq(entry->mnt_dir[0], '/');
	found->n++;
	if (strcmp(entry->mnt_dir, "/proc") == 0 || strcmp(entry->mnt_dir, "/sys") == 0) {
		ck_assert_int_eq(mounts_is_kernels_own(entry->mnt_type),
				 has_own_number(entry->mnt_dir));
		found->n_own++;
	}
	return 0;
}

static int stop(const struct mntent *entry, const void *arg)
{
	struct found *found = *(struct found *const *)arg;

	(void)entry;
	found->n++;
	return -EXDEV;
}

START_TEST(mounts_of_this_host)
{
	struct found found = {0}, *to = &found;

	ck_assert_int_eq(mounts_each(note, &to), 0);
	ck_assert_uint_ge(found.n, 2);
	ck_assert_uint_ge(found.n_own, 1);
	found.n = 0;
	ck_assert_int_eq(mounts_each(stop, &to), -EXDEV);
	ck_assert_uint_eq(found.n, 1);
}
END_TEST

START_TEST(names)
{
	static const char *const others[] = {"",      "pro",  "proc ",	"ext4",
					     "tmpfs", "fuse", "autofs", "os"};

	ck_assert(mounts_is_kernels_own("proc") && mounts_is_kernels_own("functionfs"));
	ck_assert(mounts_is_kernels_own("cgroup2") && mounts_is_kernels_own("bpf"));
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		ck_assert(!mounts_is_kernels_own(others[i]));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mounts");
	TCase *tc = tcase_create("mounts");

	tcase_add_test(tc, mounts_of_this_host);
	tcase_add_test(tc, names);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
