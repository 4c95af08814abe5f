#include "vmm/cli/root_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "guest/protocol.h"
#include "vmm/cli/cpio.h"
#include "vmm/cli/progress.h"
#include "vmm/cli/report.h"

#define ROOT_DIR_PIECE (UINT64_C(64) << 20) /* read at once, so that there is progress to be seen */

struct root_dir_entry {
	char *name;   /* below the directory */
	char *target; /* of a symlink; else NULL */
	dev_t dev;
	ino_t ino;
	dev_t rdev;
	uint64_t size; /* of the body in the archive */
	struct timespec mtime;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	uint32_t links;
	uint32_t inode; /* in the archive */
};

static int root_dir_fail(const struct root_dir *root, const char *name, int err)
{
	return report_failure(err, "cannot pack '%s/%s' for the guest", root->path, name);
}

/* ---- looking ---- */

/* A file that has several names is stored with the first. Returns its entry, or NULL when this is the first. */
static int root_dir_compare(const void *a, const void *b)
{
	const struct root_dir_entry *x = a, *y = b;

	if (x->dev != y->dev)
		return x->dev < y->dev ? -1 : 1;
	return x->ino < y->ino ? -1 : x->ino > y->ino;
}

/* Returns 0, or negative errno after a message. */
static int root_dir_take_link(struct root_dir_entry *entry, const char *path)
{
	size_t size = (size_t)entry->size;
	ssize_t n;

	/* What is in /proc has no size. */
	if (size == 0)
		size = 4095;
	entry->target = malloc(size + 1);
	if (!entry->target)
		return -ENOMEM;
	n = readlinkat(AT_FDCWD, path, entry->target, size + 1);
	if (n < 0)
		return -errno;
	if ((size_t)n > size)
		return -EAGAIN;
	entry->target[n] = '\0';
	entry->size = (uint64_t)n;
	return 0;
}

static struct root_dir_entry *root_dir_add(struct root_dir *root)
{
	if (root->n_entries == root->room) {
		size_t room = root->room ? 2 * root->room : 256;
		struct root_dir_entry *entries = realloc(root->entries,
							 room * sizeof(root->entries[0]));

		if (!entries)
			return NULL;
		root->entries = entries;
		root->room = room;
	}
	return memset(&root->entries[root->n_entries++], 0, sizeof(root->entries[0]));
}

static int root_dir_take(struct root_dir *root, const char *path, const char *name,
			 const struct stat *st)
{
	struct root_dir_entry *entry = root_dir_add(root);
	/* The kernel makes no second name of a symlink, so each is one of its own. */
	uint32_t links = S_ISLNK(st->st_mode) ? 1 : (uint32_t)st->st_nlink;
	bool has_body = S_ISREG(st->st_mode) || S_ISLNK(st->st_mode);

	if (!entry)
		return -ENOMEM;
	*entry = (struct root_dir_entry){.dev = st->st_dev,
					 .ino = st->st_ino,
					 .rdev = st->st_rdev,
					 .size = has_body ? (uint64_t)st->st_size : 0,
					 .mtime = st->st_mtim,
					 .mode = st->st_mode,
					 .uid = st->st_uid,
					 .gid = st->st_gid,
					 .links = links};
	entry->name = strdup(name);
	if (!entry->name)
		return -ENOMEM;
	if (S_ISLNK(st->st_mode))
		return root_dir_take_link(entry, path);
	return entry->size > UINT32_MAX ? -EFBIG : 0;
}

static bool root_dir_may_read(const char *path, const struct stat *st)
{
	return !S_ISREG(st->st_mode) || st->st_size == 0 || geteuid() == 0 ||
	       faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0 || errno != EACCES;
}

static void root_dir_miss(struct root_dir *root, const char *name)
{
	if (root->n_missing++ == 0)
		report("you may not read '%s/%s', so the guest does not have it", root->path, name);
}

/* One of what fts(3) finds. Returns 0, or negative errno after a message. */
static int root_dir_find(struct root_dir *root, const FTSENT *found, size_t prefix)
{
	const char *name = found->fts_path + prefix;
	int err = 0;

	while (*name == '/')
		name++;
	switch (found->fts_info) {
	case FTS_DP:
		return 0;
	case FTS_DNR:
	case FTS_NS:
	case FTS_ERR:
		if (found->fts_errno != EACCES || !*name)
			return root_dir_fail(root, name, -found->fts_errno);
		root_dir_miss(root, name);
		return 0;
	default:
		break;
	}
	if (!*name)
		return 0;
	if (strcmp(name, &GUEST_DIR[1]) == 0) {
		report("cannot pack '%s' for the guest: it has a '%s', where vmm's own files go",
		       root->path, name);
		return -EEXIST;
	}
	if (!root_dir_may_read(found->fts_path, found->fts_statp)) {
		root_dir_miss(root, name);
		return 0;
	}
	err = root_dir_take(root, found->fts_path, name, found->fts_statp);
	return err < 0 ? root_dir_fail(root, name, err) : 0;
}

static int root_dir_walk(struct root_dir *root, bool mounts)
{
	char *const paths[] = {strdup(root->path), NULL};
	FTS *fts = NULL;
	FTSENT *found;
	int err = 0;

	/* The directory itself may be named by a symlink. */
	if (paths[0])
		fts = fts_open(paths,
			       FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR | (mounts ? 0 : FTS_XDEV),
			       NULL);
	if (!fts) {
		err = -ENOMEM;
		root_dir_fail(root, "", err);
	}
	while (err == 0) {
		progress_step("looking through", root->path);
		errno = 0;
		found = fts_read(fts);
		if (!found) {
			if (errno != 0)
				err = root_dir_fail(root, "", -errno);
			break;
		}
		err = root_dir_find(root, found, strlen(root->path));
	}
	if (fts)
		fts_close(fts);
	free(paths[0]);
	return err;
}

/* Numbers the files; a further name of one gets the same number, and no body. */
static int root_dir_number(struct root_dir *root)
{
	void *seen = NULL;
	int err = 0;

	root->size = cpio_end_size();
	for (size_t i = 0; i < root->n_entries && err == 0; i++) {
		struct root_dir_entry *e = &root->entries[i];
		struct root_dir_entry **first = NULL;

		e->inode = (uint32_t)i + 1;
		if (e->links > 1 && !S_ISDIR(e->mode)) {
			first = tsearch(e, &seen, root_dir_compare);
			if (!first)
				err = root_dir_fail(root, e->name, -ENOMEM);
			else if (*first != e) {
				e->inode = (*first)->inode;
				e->size = 0;
			}
		}
		root->size += cpio_size(e->name, e->size);
	}
	while (seen)
		tdelete(*(void **)seen, &seen, root_dir_compare);
	return err;
}

bool root_dir_is_small(const char *path)
{
	char *const paths[] = {strdup(path), NULL};
	FTS *fts = paths[0] ? fts_open(paths, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, NULL)
			    : NULL;
	uint64_t bytes = 0, files = 0;
	dev_t device = 0;
	FTSENT *found;
	bool small = fts;

	/* At the end of all, errno says why. */
	while (small && (errno = 0, found = fts_read(fts))) {
		const struct stat *st = found->fts_statp;

		if (found->fts_info == FTS_DNR || found->fts_info == FTS_NS ||
		    found->fts_info == FTS_ERR) {
			small = false;
			break;
		}
		device = files == 0 ? st->st_dev : device;
		bytes += S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
		small = ++files <= ROOT_DIR_SMALL_FILES && bytes <= ROOT_DIR_SMALL &&
			st->st_dev == device && root_dir_may_read(found->fts_path, st);
	}
	small = small && errno == 0;
	if (fts)
		fts_close(fts);
	free(paths[0]);
	return small;
}

int root_dir_scan(struct root_dir *root, const char *path, bool mounts)
{
	int err;

	*root = (struct root_dir){.path = path};
	err = root_dir_walk(root, mounts);
	if (err == 0)
		err = root_dir_number(root);
	if (err == 0 && root->n_missing > 1)
		report("nor %u other files of '%s'", root->n_missing - 1, path);
	if (err < 0)
		root_dir_free(root);
	return err;
}

/* ---- packing ---- */

static int root_dir_refuse_changed(const struct root_dir *root, const struct root_dir_entry *e)
{
	report("'%s/%s' has changed while it was packed for the guest; try again", root->path,
	       e->name);
	return -EAGAIN;
}

static int root_dir_read(const struct root_dir *root, const struct root_dir_entry *e, int fd,
			 uint8_t *to)
{
	uint64_t done = 0;

	while (done < e->size) {
		uint64_t left = e->size - done;
		ssize_t n;

		progress_step("packing", root->path);
		n = read(fd, to + done, left < ROOT_DIR_PIECE ? left : ROOT_DIR_PIECE);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return root_dir_fail(root, e->name, -errno);
		if (n == 0)
			return root_dir_refuse_changed(root, e);
		done += (uint64_t)n;
	}
	return 0;
}

static int root_dir_write_file(const struct root_dir *root, const struct root_dir_entry *e, int dir,
			       uint8_t *to)
{
	int fd = openat(dir, e->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), err;
	struct stat st;

	if (fd < 0)
		return root_dir_fail(root, e->name, -errno);
	if (fstat(fd, &st) < 0)
		err = root_dir_fail(root, e->name, -errno);
	else if (st.st_ino != e->ino || st.st_dev != e->dev || (uint64_t)st.st_size != e->size ||
		 st.st_mtim.tv_sec != e->mtime.tv_sec || st.st_mtim.tv_nsec != e->mtime.tv_nsec)
		err = root_dir_refuse_changed(root, e);
	else
		err = root_dir_read(root, e, fd, to);
	close(fd);
	return err;
}

static uint32_t root_dir_time(const struct root_dir_entry *e)
{
	if (e->mtime.tv_sec < 0)
		return 0;
	return e->mtime.tv_sec > UINT32_MAX ? UINT32_MAX : (uint32_t)e->mtime.tv_sec;
}

static int root_dir_write_entry(const struct root_dir *root, const struct root_dir_entry *e,
				int dir, uint8_t *to)
{
	struct cpio_entry entry = {.name = e->name,
				   .inode = e->inode,
				   .mode = e->mode,
				   .uid = e->uid,
				   .gid = e->gid,
				   .links = e->links,
				   .mtime = root_dir_time(e),
				   .size = (uint32_t)e->size,
				   .major = major(e->rdev),
				   .minor = minor(e->rdev)};
	uint8_t *body = cpio_header(to, &entry);

	if (e->size == 0)
		return 0;
	if (!S_ISLNK(e->mode))
		return root_dir_write_file(root, e, dir, body);
	memcpy(body, e->target, e->size);
	return 0;
}

int root_dir_write(void *arg, void *to, size_t size)
{
	const struct root_dir *root = arg;
	int dir = open(root->path, O_PATH | O_DIRECTORY | O_CLOEXEC), err = 0;
	uint8_t *at = to;

	(void)size;
	if (dir < 0)
		return root_dir_fail(root, "", -errno);
	for (size_t i = 0; i < root->n_entries && err == 0; i++) {
		const struct root_dir_entry *e = &root->entries[i];

		err = root_dir_write_entry(root, e, dir, at);
		at += cpio_size(e->name, e->size);
	}
	close(dir);
	if (err == 0)
		cpio_end(at);
	return err;
}

void root_dir_free(struct root_dir *root)
{
	for (size_t i = 0; i < root->n_entries; i++) {
		free(root->entries[i].name);
		free(root->entries[i].target);
	}
	free(root->entries);
	root->entries = NULL;
	root->n_entries = root->room = 0;
}
