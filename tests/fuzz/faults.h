/*
 * A host on which calls on files fail: the functions here stand in front of the C library's. What fails is an input's to say.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
	FAULT_TMPFILE = 1,	  /* no files without a name */
	FAULT_LINK = 2,		  /* no name for one */
	FAULT_FSYNC = 4,	  /* both kinds of it */
	FAULT_WRITE = 8,	  /* the disk is full */
	FAULT_ZERO = 16,	  /* no fallocate() */
	FAULT_LOCKED = 32,	  /* by somebody else */
	FAULT_NO_LOCKS = 64,	  /* at all */
	FAULT_TRUNCATE = 128,	  /* the file system has a limit */
	FAULT_READ = 256,	  /* the disk is broken */
	FAULT_HUGE = 512,	  /* files seem to take a million times as much */
	FAULT_INTERRUPTED = 1024, /* once, before anything else */
};

static unsigned int faults;

static bool fault(unsigned int which, int err)
{
	if (faults & which) {
		errno = err;
		return true;
	}
	if (faults & FAULT_INTERRUPTED) {
		faults &= ~(unsigned int)FAULT_INTERRUPTED;
		errno = EINTR;
		return true;
	}
	return false;
}

int openat(int dir, const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	if ((flags & O_TMPFILE) == O_TMPFILE && (faults & FAULT_TMPFILE)) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return (int)syscall(SYS_openat, dir, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	return openat(AT_FDCWD, path, flags, mode);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
	if (faults & FAULT_LINK) {
		errno = ENOENT;
		return -1;
	}
	return (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
}

int fsync(int fd)
{
	if (faults & FAULT_FSYNC) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	return fault(FAULT_FSYNC, EIO) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t offset)
{
	return fault(FAULT_WRITE, ENOSPC) ? -1 : syscall(SYS_pwrite64, fd, buf, len, offset);
}

ssize_t pread(int fd, void *buf, size_t len, off_t offset)
{
	return fault(FAULT_READ, EIO) ? -1 : syscall(SYS_pread64, fd, buf, len, offset);
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
	return fault(FAULT_ZERO, ENOSYS) ? -1 : (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

int ftruncate(int fd, off_t len)
{
	if (faults & FAULT_TRUNCATE) {
		errno = EFBIG;
		return -1;
	}
	return (int)syscall(SYS_ftruncate, fd, len);
}

int fcntl(int fd, int command, ...)
{
	va_list ap;
	long arg;

	va_start(ap, command);
	arg = va_arg(ap, long);
	va_end(ap);
	if (command == F_OFD_SETLK && (faults & (FAULT_LOCKED | FAULT_NO_LOCKS))) {
		errno = faults & FAULT_LOCKED ? EAGAIN : ENOLCK;
		return -1;
	}
	return (int)syscall(SYS_fcntl, fd, command, arg);
}

int fstatat(int dir, const char *path, struct stat *st, int flags)
{
	int ret = (int)syscall(SYS_newfstatat, dir, path, st, flags);

	if (ret == 0 && (faults & FAULT_HUGE))
		st->st_blocks <<= 20;
	return ret;
}
