/*
 * Namespaces that are had or not; each in a child, for there is no way back. The program brings its own open() and unshare(), which stand
 * in front of the C library's, for hosts that this one need not be like.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/confine_fixture.h"
#include "tests/unit/run_suite.h"
#include "tests/unit/skip.h"
#include "vmm/sandbox/confine.h"

/* What files of /proc hold; NULL: what they do. */
static struct {
	const char *restricted; /* AppArmor's user namespaces */
	const char *label;
	bool read_only; /* all of it */
} proc;

static int open_text(const char *text)
{
	int fd = memfd_create("text", MFD_CLOEXEC);

	return fd >= 0 && pwrite(fd, text, strlen(text), 0) < 0 ? -1 : fd;
}

int open(const char *name, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	va_start(ap, flags);
	if (flags & O_CREAT)
		mode = va_arg(ap, mode_t);
	va_end(ap);
	if (proc.restricted &&
	    strcmp(name, "/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 0)
		return open_text(proc.restricted);
	if (proc.label && strcmp(name, "/proc/self/attr/current") == 0)
		return open_text(proc.label);
	if (proc.read_only && (flags & O_ACCMODE) != O_RDONLY &&
	    strncmp(name, "/proc/", strlen("/proc/")) == 0) {
		errno = EROFS;
		return -1;
	}
	return openat(AT_FDCWD, name, flags, mode);
}

/* How many more times there is another thread, or so it seems. */
static int lingers;

int unshare(int flags)
{
	if (flags & CLONE_NEWUSER && lingers > 0) {
		lingers--;
		errno = EINVAL;
		return -1;
	}
	return (int)syscall(SYS_unshare, flags);
}

/* Whose namespaces are those of a user namespace, if there are any: one without rights over the host. Nobody is a user in none. */
static int try_alone(struct confine_result *result)
{
	struct confine_options options = {.strict = false};
	uid_t uid = geteuid();

	EXPECT(drop(1u << CAP_SYS_ADMIN) == 0);
	EXPECT(confine_process(&options, result) == 0);
	EXPECT(geteuid() == uid);
	EXPECT(result->alone == holds(result, "namespaces"));
	return 0;
}

static int child_alone(void)
{
	struct confine_result result;

	EXPECT(try_alone(&result) == 0);
	return result.alone ? 0 : 77;
}

static int child_restricted(void)
{
	struct confine_result result;

	proc.restricted = "1\n";
	EXPECT(try_alone(&result) == 0);
	EXPECT(!result.alone);
	EXPECT(strstr(result.missing,
		      "namespaces (kernel/apparmor_restrict_unprivileged_userns), an empty root "
		      "(Operation not permitted)"));
	return 0;
}

static int child_unconfined(void)
{
	proc.label = "unconfined\n";
	return child_restricted();
}

static int child_in_such_a_namespace(void)
{
	proc.label = "unprivileged_userns (enforce)\n";
	return child_restricted();
}

static int child_with_a_profile(void)
{
	proc.restricted = "1\n";
	proc.label = "vmm (unconfined)\n";
	return child_alone();
}

static int child_not_restricted(void)
{
	proc.restricted = "0\n";
	proc.label = "unconfined\n";
	return child_alone();
}

static int child_read_only_proc(void)
{
	struct confine_result result;

	proc.read_only = true;
	EXPECT(try_alone(&result) == 0);
	EXPECT(!result.alone);
	EXPECT(strstr(result.missing, "namespaces (Read-only file system)"));
	return 0;
}

static int child_joined(void)
{
	lingers = 50;
	return child_alone();
}

static int child_not_alone(void)
{
	struct confine_result result;

	lingers = INT_MAX;
	EXPECT(try_alone(&result) == 0);
	EXPECT(!result.alone && strstr(result.missing, "namespaces (Invalid argument)"));
	return 0;
}

/* A thread that was joined ends a little later. Another one that goes on does not keep the machine. */
START_TEST(a_thread_that_lingers)
{
	if (in_child(child_alone) == 77) {
		skip_note("no user namespaces here");
		return;
	}
	ck_assert_int_eq(in_child(child_joined), 0);
	ck_assert_int_eq(in_child(child_not_alone), 0);
}
END_TEST

START_TEST(no_namespace_that_cannot_be_finished)
{
	if (in_child(child_alone) == 77) {
		skip_note("no user namespaces here");
		return;
	}
	ck_assert_int_eq(in_child(child_unconfined), 0);
	ck_assert_int_eq(in_child(child_in_such_a_namespace), 0);
	ck_assert_int_eq(in_child(child_with_a_profile), 0);
	ck_assert_int_eq(in_child(child_not_restricted), 0);
	ck_assert_int_eq(in_child(child_read_only_proc), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("namespaces");
	TCase *tc = tcase_create("namespaces");

	tcase_add_test(tc, a_thread_that_lingers);
	tcase_add_test(tc, no_namespace_that_cannot_be_finished);
	suite_add_tcase(suite, tc);
	return run_suite(suite);
}
