#include "tests/fuzz/fs_host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <linux/magic.h>
#include <unistd.h>

#include "tests/fuzz/input.h"

/* No file becomes larger by allocation or copies: that would fill this machine's memory. */
#define HOST_MOST (UINT64_C(1) << 20)

static struct {
	/* owned by the target's thread */
	pthread_t thread;
	unsigned int what;
	unsigned int left; /* calls, of which the last one fails; 0: none will */
	int err;
	uint64_t strange[HOST_STRANGE];
	/* under the lock */
	pthread_mutex_t lock;
	pthread_cond_t opened;
	bool closed;
	int slow_err;
	unsigned int slow_what;
} host = {.lock = PTHREAD_MUTEX_INITIALIZER, .opened = PTHREAD_COND_INITIALIZER};

/* ---- what an input says ---- */

void host_be(unsigned int what)
{
	host.what = what;
	pthread_mutex_lock(&host.lock);
	host.slow_what = what;
	pthread_mutex_unlock(&host.lock);
}

void host_set_strange(unsigned int which, uint64_t ino)
{
	host.strange[which] = ino;
}

void host_plan_fault(unsigned int left, int err)
{
	host.left = left + 1;
	host.err = err;
}

void host_set_slow_fault(int err)
{
	pthread_mutex_lock(&host.lock);
	host.slow_err = err;
	pthread_mutex_unlock(&host.lock);
}

void host_set_gate(bool closed)
{
	pthread_mutex_lock(&host.lock);
	host.closed = closed;
	pthread_cond_broadcast(&host.opened);
	pthread_mutex_unlock(&host.lock);
}

bool host_gate_is_closed(void)
{
	bool closed;

	pthread_mutex_lock(&host.lock);
	closed = host.closed;
	pthread_mutex_unlock(&host.lock);
	return closed;
}

void host_behave(void)
{
	host.thread = pthread_self();
	host.left = 0;
	host_be(0);
	host_set_slow_fault(0);
	host_set_gate(false);
}

static bool host_is_slow(void)
{
	return !pthread_equal(pthread_self(), host.thread);
}

static bool host_slow_fails(unsigned int *what)
{
	int err;

	pthread_mutex_lock(&host.lock);
	while (host.closed)
		pthread_cond_wait(&host.opened, &host.lock);
	err = host.slow_err;
	*what = host.slow_what;
	pthread_mutex_unlock(&host.lock);
	errno = err;
	return err != 0;
}

/* Before each call; errno is set. */
static bool host_fails_as(unsigned int *what)
{
	if (host_is_slow())
		return host_slow_fails(what);
	*what = host.what;
	if (host.left == 0 || --host.left > 0)
		return false;
	errno = host.err;
	return true;
}

static bool host_fails(void)
{
	unsigned int what;

	return host_fails_as(&what);
}

/* ---- calls that fail, or are the host's ---- */

#define HOST_CALL(type, name, params, args)                                                        \
	type __real_##name params;                                                                 \
	type __wrap_##name params;                                                                 \
	type __wrap_##name params                                                                  \
	{                                                                                          \
		return host_fails() ? (type)-1 : __real_##name args;                               \
	}

HOST_CALL(int, linkat, (int from, const char *name, int to, const char *path, int flags),
	  (from, name, to, path, flags))
HOST_CALL(int, mknodat, (int dir, const char *name, mode_t mode, dev_t dev), (dir, name, mode, dev))
HOST_CALL(int, mkdirat, (int dir, const char *name, mode_t mode), (dir, name, mode))
HOST_CALL(int, symlinkat, (const char *to, int dir, const char *name), (to, dir, name))
HOST_CALL(ssize_t, readlinkat, (int dir, const char *name, char *to, size_t size),
	  (dir, name, to, size))
HOST_CALL(int, unlinkat, (int dir, const char *name, int flags), (dir, name, flags))
HOST_CALL(int, fchownat, (int dir, const char *name, uid_t uid, gid_t gid, int flags),
	  (dir, name, uid, gid, flags))
HOST_CALL(int, fchmodat, (int dir, const char *name, mode_t mode, int flags),
	  (dir, name, mode, flags))
HOST_CALL(int, utimensat, (int dir, const char *name, const struct timespec *times, int flags),
	  (dir, name, times, flags))
HOST_CALL(int, ftruncate, (int fd, off_t size), (fd, size))
HOST_CALL(off_t, lseek, (int fd, off_t offset, int whence), (fd, offset, whence))
HOST_CALL(ssize_t, getdents64, (int fd, void *to, size_t size), (fd, to, size))
HOST_CALL(int, unshare, (int flags), (flags))

/* ---- of more arguments than a call always has ---- */

int __real_openat(int dir, const char *name, int flags, ...);
int __wrap_openat(int dir, const char *name, int flags, ...);
int __wrap_open(const char *name, int flags, ...);
int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);

int __wrap_openat(int dir, const char *name, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	return host_fails() ? -1 : __real_openat(dir, name, flags, mode);
}

int __wrap_open(const char *name, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	return __wrap_openat(AT_FDCWD, name, flags, mode);
}

int __wrap_fcntl(int fd, int command, ...)
{
	va_list ap;
	long arg;

	va_start(ap, command);
	arg = va_arg(ap, long);
	va_end(ap);
	return host_fails() ? -1 : __real_fcntl(fd, command, arg);
}

unsigned int host_count_fds(void)
{
	unsigned int n = 0;

	for (int fd = 0; fd < HOST_FDS; fd++)
		n += __real_fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* ---- of what kind files are ---- */

static unsigned int host_which(uint64_t ino)
{
	unsigned int i = 0;

	while (i < HOST_STRANGE && (ino == 0 || host.strange[i] != ino))
		i++;
	return i;
}

int __real_statx(int dir, const char *name, int flags, unsigned int mask, struct statx *st);
int __wrap_statx(int dir, const char *name, int flags, unsigned int mask, struct statx *st);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
int __real_fstatfs(int fd, struct statfs *st);
int __wrap_fstatfs(int fd, struct statfs *st);

/* Numbers of a whole file system of its own, and larger ones than others have. */
static uint64_t host_ino(uint64_t ino, unsigned int which)
{
	return which == HOST_OTHER_DIR ? ino | UINT64_C(1) << 50 : ino;
}

int __wrap_statx(int dir, const char *name, int flags, unsigned int mask, struct statx *st)
{
	unsigned int which;

	if (host_fails() || __real_statx(dir, name, flags, mask, st) < 0)
		return -1;
	which = host_which(st->stx_ino);
	if (which < HOST_STRANGE) {
		st->stx_dev_minor += 100 + which / 2;
		st->stx_ino = host_ino(st->stx_ino, which);
	}
	if (host.what & HOST_OLD)
		st->stx_ctime.tv_sec -= 100;
	return 0;
}

static long host_fstat(int fd, struct stat *st)
{
	long ret = __real_syscall(SYS_fstat, fd, st);
	unsigned int which = ret == 0 ? host_which(st->st_ino) : HOST_STRANGE;

	if (which < HOST_STRANGE) {
		st->st_dev += 100 + which / 2;
		st->st_ino = host_ino(st->st_ino, which);
	}
	return ret;
}

/* Those that the C library has no function for, or a slower one. */
long __wrap_syscall(long number, ...)
{
	long arg[6]; /* none of ours has more */
	va_list ap;

	va_start(ap, number);
	for (unsigned int i = 0; i < 6; i++)
		arg[i] = va_arg(ap, long);
	va_end(ap);
	if ((number == SYS_fstat || number == SYS_renameat2 || number == SYS_open_tree) &&
	    host_fails())
		return -1;
	if (number == SYS_fstat)
		return host_fstat((int)arg[0], (struct stat *)arg[1]);
	return __real_syscall(number, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

int __wrap_fstatfs(int fd, struct statfs *st)
{
	struct stat file;

	if (host_fails() || __real_fstatfs(fd, st) < 0 || __real_syscall(SYS_fstat, fd, &file) < 0)
		return -1;
	if (host_which(file.st_ino) < HOST_OTHER_DIR)
		st->f_type = PROC_SUPER_MAGIC;
	else if (host.what & HOST_NETWORK)
		st->f_type = NFS_SUPER_MAGIC;
	return 0;
}

/* ---- contents ---- */

ssize_t __wrap_preadv(int fd, const struct iovec *iov, int n, off_t offset);
ssize_t __real_preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags);
ssize_t __wrap_preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags);
ssize_t __real_pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags);
ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags);
ssize_t __real_copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t len,
			       unsigned int flags);
ssize_t __wrap_copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t len,
			       unsigned int flags);
int __real_fallocate(int fd, int mode, off_t offset, off_t len);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t len);
int __wrap_fsync(int fd);
int __wrap_fdatasync(int fd);
int __wrap_syncfs(int fd);

/* The first piece, or a part of it, where the host does not do all. */
static int host_shorten(unsigned int what, const struct iovec *iov, int n, struct iovec *first)
{
	if (!(what & HOST_SHORT) || n == 0)
		return n;
	*first = *iov;
	if (first->iov_len > 1)
		first->iov_len = first->iov_len / 2;
	return 1;
}

ssize_t __wrap_preadv(int fd, const struct iovec *iov, int n, off_t offset)
{
	struct iovec first;
	unsigned int what;

	if (host_fails_as(&what))
		return -1;
	n = host_shorten(what, iov, n, &first);
	return __real_preadv2(fd, what & HOST_SHORT && n > 0 ? &first : iov, n, offset, 0);
}

/* Whatever the file system: the same on each machine. */
ssize_t __wrap_preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	if (host_fails())
		return -1;
	if (host.what & (HOST_COLD | HOST_BLIND)) {
		errno = host.what & HOST_COLD ? EAGAIN : EOPNOTSUPP;
		return -1;
	}
	return __real_preadv2(fd, iov, n, offset, flags & ~RWF_NOWAIT);
}

ssize_t __wrap_pwritev2(int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	struct iovec first;
	unsigned int what;

	if (host_fails_as(&what))
		return -1;
	if (what & HOST_STALLED)
		return 0;
	n = host_shorten(what, iov, n, &first);
	return __real_pwritev2(fd, what & HOST_SHORT && n > 0 ? &first : iov, n, offset,
			       flags & ~(RWF_SYNC | RWF_DSYNC));
}

ssize_t __wrap_copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t len,
			       unsigned int flags)
{
	if (host_fails())
		return -1;
	return __real_copy_file_range(from, from_at, to, to_at, len < HOST_MOST ? len : HOST_MOST,
				      flags);
}

int __wrap_fallocate(int fd, int mode, off_t offset, off_t len)
{
	if (host_fails())
		return -1;
	if (len > (off_t)HOST_MOST) {
		errno = ENOSPC;
		return -1;
	}
	return __real_fallocate(fd, mode, offset, len);
}

/* All is as safe as it can be. A file that is closed before is one too early: its number may be another file's by then. */
static int host_sync(int fd)
{
	bool fails = host_fails();

	FUZZ_CHECK(__real_fcntl(fd, F_GETFD) >= 0);
	return fails ? -1 : 0;
}

int __wrap_fsync(int fd)
{
	return host_sync(fd);
}

int __wrap_fdatasync(int fd)
{
	return host_sync(fd);
}

int __wrap_syncfs(int fd)
{
	return host_sync(fd);
}

/* ---- attributes; not each file system has them, so here all have the same ---- */

ssize_t __wrap_fgetxattr(int fd, const char *name, void *to, size_t size);
ssize_t __wrap_flistxattr(int fd, char *to, size_t size);
int __wrap_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags);
int __wrap_fremovexattr(int fd, const char *name);

static ssize_t host_attr(void *to, size_t size, const char *bytes, size_t len)
{
	if (size == 0)
		return (ssize_t)len;
	if (size < len) {
		errno = ERANGE;
		return -1;
	}
	memcpy(to, bytes, len);
	return (ssize_t)len;
}

static bool host_has_attr(const char *name)
{
	errno = ENODATA;
	return strcmp(name, "user.color") == 0;
}

ssize_t __wrap_fgetxattr(int fd, const char *name, void *to, size_t size)
{
	(void)fd;
	return host_fails() || !host_has_attr(name) ? -1 : host_attr(to, size, "blue", 4);
}

ssize_t __wrap_flistxattr(int fd, char *to, size_t size)
{
	static const char names[] = "security.selinux\0user.color\0trusted.overlay.opaque\0user.b";

	(void)fd;
	if (host_fails())
		return -1;
	if (size > 0 && (host.what & HOST_NO_ATTRS)) {
		errno = ERANGE;
		return -1;
	}
	return host_attr(to, size, names, sizeof(names));
}

int __wrap_fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
	(void)name;
	(void)flags;
	if (size > 0 && memchr(value, 0xff, size)) { /* as if it were full */
		errno = ENOSPC;
		return -1;
	}
	return host_sync(fd);
}

int __wrap_fremovexattr(int fd, const char *name)
{
	(void)fd;
	return host_fails() || !host_has_attr(name) ? -1 : 0;
}

/* ---- memory ---- */

void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);

/* Other threads' memory is not what waits. */
static bool host_is_full(void)
{
	return !host_is_slow() && host_fails();
}

void *__wrap_calloc(size_t n, size_t size)
{
	return host_is_full() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size)
{
	return host_is_full() ? NULL : __real_realloc(p, size);
}

char *__wrap_strdup(const char *text)
{
	return host_is_full() ? NULL : __real_strdup(text);
}
