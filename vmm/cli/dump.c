#include "vmm/cli/dump.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/cli/last_words.h"
#include "vmm/cli/made.h"
#include "vmm/cli/named.h"
#include "vmm/cli/report.h"

/* Of a kernel's log. */
#define DUMP_LOG_SEARCHED 250 /* messages */
#define DUMP_LOG_LINES	  40  /* that are shown when there is no panic */

#define DUMP_IS_PART "the machine is made of this file"

static int dump_refuse_as(const char *what, const char *path, int err, const char *why)
{
	report("cannot write %s '%s': %s", what, path, why);
	return -err;
}

static int dump_refuse(const char *path, int err, const char *why)
{
	return dump_refuse_as("device tree", path, err, why);
}

/* NULL is none. */
static bool dump_is_file(const struct stat *st, const char *path)
{
	struct stat other;

	return path && stat(path, &other) == 0 && other.st_dev == st->st_dev &&
	       other.st_ino == st->st_ino;
}

static bool dump_is_part(const struct stat *st, const struct options *options)
{
	const struct vmm_config *config = &options->config;

	if (dump_is_file(st, config->kernel) || dump_is_file(st, config->initrd) ||
	    dump_is_file(st, options->root) || dump_is_file(st, options->root_image.path))
		return true;
	for (unsigned int i = 0; i < config->n_disks; i++) {
		const struct vmm_disk *disk = &config->disks[i];

		if (dump_is_file(st, disk->path) || dump_is_file(st, disk->backing) ||
		    dump_is_file(st, disk->overlay_file))
			return true;
	}
	return false;
}

/*
 * Not a device: two may well be sent to /dev/null. A file that --console made would be removed with the tree in it. prints: what goes to
 * standard output counts.
 */
static bool dump_is_console(const struct stat *st, const struct options *options, bool prints)
{
	prints &= options->command || options->console == OPTIONS_CONSOLE_STDIO;
	return S_ISREG(st->st_mode) && (dump_is_file(st, options->console_path) ||
					(prints && dump_is_file(st, "/proc/self/fd/1")));
}

/* Why nothing may be written to it, or NULL. */
static const char *dump_is_taken(const struct stat *st, const struct options *options, bool prints)
{
	if (dump_is_part(st, options))
		return DUMP_IS_PART;
	return dump_is_console(st, options, prints) ? "the console goes to this file" : NULL;
}

/* Closes fd. Returns 0 or negative errno. */
static int dump_write(int fd, const char *bytes, size_t len)
{
	int err = 0;

	while (len > 0 && err == 0) {
		ssize_t n = write(fd, bytes, len);

		if (n >= 0) {
			bytes += n;
			len -= (size_t)n;
		} else if (errno != EINTR) {
			err = -errno;
		}
	}
	if (close(fd) < 0 && err == 0)
		err = -errno;
	return err;
}

/*
 * The owner first, as a change of it may take bits of the mode away. Few may give a file away, but many may give it to
 * another of their groups; a tree that is one's own is better than none. A group that it was not meant for gets no rights.
 * Returns 0 or negative errno.
 */
static int dump_keep_access(int fd, const struct stat *old)
{
	mode_t mode = old->st_mode & 0777;

	if (fchown(fd, old->st_uid, old->st_gid) < 0 && fchown(fd, (uid_t)-1, old->st_gid) < 0)
		mode &= 0707;
	return fchmod(fd, mode) < 0 ? -errno : 0;
}

/* A new file, which at no time more may read than the old one (NULL: none). Returns 0 or negative errno. */
static int dump_make(const char *path, const struct stat *old, const void *bytes, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, old ? 0600 : 0666);
	int err;

	if (fd < 0)
		return -errno;
	err = old ? dump_keep_access(fd, old) : 0;
	if (err == 0)
		err = dump_write(fd, bytes, len);
	else
		close(fd);
	if (err < 0)
		unlink(path);
	return err;
}

/* Under another name first. Returns 0 or negative errno. */
static int dump_replace(const char *path, const struct stat *old, const void *bytes, size_t len)
{
	const char *slash = strrchr(path, '/');
	int dir = slash ? (int)(slash - path) + 1 : 0, err;
	char *part;

	/* The file's own may be as long as a name can be. */
	if (asprintf(&part, "%.*s%.200s.%d.part", dir, path, path + dir, (int)getpid()) < 0)
		return -ENOMEM;
	err = dump_make(part, old, bytes, len);
	if (err == 0 && renameat(AT_FDCWD, part, AT_FDCWD, path) < 0) {
		err = -errno;
		unlink(part);
	}
	free(part);
	return err;
}

static int dump_replace_real(const char *path, const struct stat *old, const void *bytes,
			     size_t len, const char **why)
{
	char *real = realpath(path, NULL); /* the file behind a symbolic link */
	int fd, err;

	if (!real)
		return -errno;
	fd = open(real, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
	err = fd < 0 ? -errno : 0;
	if (fd >= 0)
		*why = made_lock(fd, real);
	if (err == 0 && !*why)
		err = dump_replace(real, old, bytes, len);
	if (fd >= 0)
		close(fd);
	free(real);
	return err;
}

/* Or to a file that has no name any more, as the one that a script has for what it reads. */
static int dump_to_device(const char *path, const void *bytes, size_t len, const char **why)
{
	/* O_NONBLOCK: a pipe that nobody reads is an error, not something to wait for. */
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return -errno;
	*why = made_lock(fd, path);
	if (*why) {
		close(fd);
		return -EBUSY;
	}
	/* What is no file has no length. */
	if (ftruncate(fd, 0) < 0 && errno != EINVAL) {
		int err = -errno;

		close(fd);
		return err;
	}
	fcntl(fd, F_SETFL, 0);
	return dump_write(fd, bytes, len);
}

static int dump_bytes(const struct options *options, const void *bytes, size_t len)
{
	const char *path = options->dump_dtb, *why = NULL;
	struct stat st;
	int err;

	if (stat(path, &st) < 0)
		err = errno == ENOENT ? dump_replace(path, NULL, bytes, len) : -errno;
	else if ((why = dump_is_taken(&st, options, false)))
		return dump_refuse(path, EINVAL, why);
	else if (S_ISREG(st.st_mode) && dump_is_file(&st, options->dump_guest))
		return dump_refuse(path, EINVAL, "a dump of the guest goes to this file");
	else if (S_ISBLK(st.st_mode))
		return dump_refuse(path, EINVAL, "it is a block device");
	else if (S_ISREG(st.st_mode) && st.st_nlink > 0)
		err = dump_replace_real(path, &st, bytes, len, &why);
	else
		err = dump_to_device(path, bytes, len, &why);
	if (why)
		return dump_refuse(path, EBUSY, why);
	return err < 0 ? dump_refuse(path, -err, named_why(path, err)) : 0;
}

int dump_device_tree(const struct options *options, const struct vmm *vm)
{
	void *tree;
	size_t size;
	int err = vmm_device_tree(vm, &tree, &size);

	if (err < 0)
		return err;
	err = dump_bytes(options, tree, size);
	free(tree);
	return err;
}

/* ---- events ---- */

int dump_check_events(const struct options *options, int fd)
{
	const char *why;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || S_ISCHR(st.st_mode))
		return 0;
	/* A descriptor may be of the same open file, where what is written comes in turn; of two that were opened it does not. */
	why = dump_is_taken(&st, options, strncmp(options->events, "fd=", 3) != 0);
	if (!why && S_ISREG(st.st_mode) &&
	    (dump_is_file(&st, options->dump_guest) || dump_is_file(&st, options->dump_dtb)))
		why = "a dump goes to this file";
	return why ? dump_refuse_as("events to", options->events, EINVAL, why) : 0;
}

/* ---- the console ---- */

int dump_check_console(const struct options *options, int fd, const char *path)
{
	const char *why = NULL;
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return 0;
	/* A console written into what the machine is made of would destroy it. */
	if (dump_is_part(&st, options))
		why = DUMP_IS_PART;
	else if (fd != STDOUT_FILENO)
		why = made_lock(fd, path);
	return why ? dump_refuse_as("console to", path, EBUSY, why) : 0;
}

/* ---- the guest ---- */

/* Why not, or NULL. */
static const char *dump_is_unfit(const struct options *options)
{
	struct stat st;

	if (fstat(options->config.dump_fd, &st) < 0 || !S_ISREG(st.st_mode))
		return "it is no regular file";
	/* It would read all of the guest's memory. One that we made counts as ours, whoever has it on a file server. */
	if (st.st_uid != geteuid() && !made_has(options->dump_guest))
		return "it belongs to another user";
	return dump_is_taken(&st, options, true);
}

int dump_open_guest(struct options *options)
{
	/* O_NONBLOCK: a pipe is refused, not waited for. */
	const int flags = O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	const char *path = options->dump_guest, *why;
	int fd;

	if (!path)
		return 0;
	fd = made_open(path, flags, 0600);
	if (fd < 0 && fd != -ENXIO)
		return dump_refuse_as("a dump of the guest to", path, -fd, strerror(-fd));
	/* A pipe is opened only if somebody reads. */
	options->config.dump_fd = fd;
	why = dump_is_unfit(options);
	if (!why)
		why = made_lock(fd, path);
	if (why)
		return dump_refuse_as("a dump of the guest to", path, EINVAL, why);
	return 0;
}

void dump_kernel_log(struct vmm *vm)
{
	char *text = vmm_kernel_log(vm, DUMP_LOG_SEARCHED);

	if (text)
		last_words_show("kernel", text, DUMP_LOG_LINES);
	free(text);
}
