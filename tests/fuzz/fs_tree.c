#include "tests/fuzz/fs_tree.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fs_host.h"

#define TREE_MANY 70

static const char secret[] = "what nobody in the guest may read";

static struct {
	char dir[32];	/* "": it was not made yet */
	char share[40]; /* in dir, with the canary beside it */
	char canary[48];
	struct stat canary_stat;
	uint64_t dir_ino;
	char many[48]; /* a directory in dir, or in share */
	bool changed;  /* it is not as at first, or may not be */
} tree;

static const char *tree_name(const char *name, char path[96])
{
	snprintf(path, 96, "%s/%s", tree.share, name);
	return path;
}

static uint64_t tree_ino(const char *name)
{
	char path[96];
	struct stat st;

	FUZZ_CHECK(lstat(tree_name(name, path), &st) == 0);
	return st.st_ino;
}

static void tree_make_file(const char *path, size_t size, const char *bytes)
{
	size_t len = strlen(bytes);
	int fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0644);

	FUZZ_CHECK(fd >= 0 && ftruncate(fd, (off_t)size) == 0 &&
		   write(fd, bytes, len) == (ssize_t)len);
	close(fd);
}

static void tree_make_dir(const char *name)
{
	char path[96];

	FUZZ_CHECK(mkdir(tree_name(name, path), 0755) == 0);
}

static int tree_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	if (ftw->level > 0)
		remove(path);
	return 0;
}

static void tree_remove(void)
{
	nftw(tree.dir, tree_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	rmdir(tree.dir);
}

static void tree_fill(void)
{
	char path[96];

	umask(022);
	FUZZ_CHECK(chmod(tree.share, 0755) == 0);
	tree_make_file(tree_name("file", path), 5, "hello");
	tree_make_file(tree_name("big", path), TREE_BIG, "hello");
	tree_make_file(tree_name("knob", path), 0, "");
	tree_make_dir("proc");
	tree_make_dir("other");
	tree_make_dir("dir");
	tree_make_dir("dir/sub");
	tree_make_file(tree_name("dir/inner", path), 5, "hello");
	FUZZ_CHECK(symlink("../canary", tree_name("link", path)) == 0);
	FUZZ_CHECK(mkfifo(tree_name("pipe", path), 0600) == 0);
	host_set_strange(HOST_SEALED_DIR, tree_ino("proc"));
	host_set_strange(HOST_SEALED_FILE, tree_ino("knob"));
	host_set_strange(HOST_OTHER_DIR, tree_ino("other"));
	tree.changed = false;
}

/* Few descriptors, so that all tables are small, and it is soon seen how many are open. */
static void tree_limit_fds(void)
{
	struct rlimit limit;

	FUZZ_CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = HOST_FDS;
	FUZZ_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
}

static void tree_make_many(void)
{
	char path[96];

	snprintf(tree.many, sizeof(tree.many), "%s/many", tree.dir);
	FUZZ_CHECK(mkdir(tree.many, 0755) == 0);
	for (unsigned int i = 0; i < TREE_MANY; i++) {
		snprintf(path, sizeof(path), "%s/one-of-many-directories-%u", tree.many, i);
		FUZZ_CHECK(mkdir(path, 0755) == 0);
	}
}

const char *tree_path(void)
{
	struct stat st;

	if (tree.dir[0])
		return tree.share;
	tree_limit_fds();
	/* where nothing is waited for, if there is that */
	strcpy(tree.dir,
	       access("/dev/shm", W_OK) == 0 ? "/dev/shm/fuzz-fs-XXXXXX" : "/tmp/fuzz-fs-XXXXXX");
	FUZZ_CHECK(mkdtemp(tree.dir));
	atexit(tree_remove);
	snprintf(tree.share, sizeof(tree.share), "%s/share", tree.dir);
	snprintf(tree.canary, sizeof(tree.canary), "%s/canary", tree.dir);
	tree_make_file(tree.canary, 0, secret);
	FUZZ_CHECK(stat(tree.canary, &tree.canary_stat) == 0);
	FUZZ_CHECK(stat(tree.dir, &st) == 0);
	tree.dir_ino = st.st_ino;
	FUZZ_CHECK(mkdir(tree.share, 0755) == 0);
	tree_make_many();
	tree_fill();
	return tree.share;
}

void tree_renew(void)
{
	if (!tree.changed)
		return;
	nftw(tree.share, tree_remove_one, 16, FTW_DEPTH | FTW_PHYS);
	tree_fill();
}

void tree_show_many(bool shown)
{
	char path[96];
	int err;

	tree_name("many", path);
	err = shown ? rename(tree.many, path) : rename(path, tree.many);
	FUZZ_CHECK(err == 0);
}

void tree_touch(void)
{
	tree.changed = true;
}

void tree_change(struct fuzz_input *in)
{
	static const char *const names[] = {"file",    "big",  "dir",	   "dir/inner",
					    "dir/sub", "late", "late/dir", "none"};
	uint8_t code = fuzz_u8(in);
	char from[96], to[96];

	tree_name(names[code % 8], from);
	tree_name(names[code / 8 % 8], to);
	tree.changed = true;
	if (code % 8 == code / 8 % 8)
		remove(from);
	else
		rename(from, to);
}

void tree_check(void)
{
	struct stat st;

	FUZZ_CHECK(stat(tree.canary, &st) == 0 && st.st_ino == tree.canary_stat.st_ino &&
		   st.st_ctim.tv_sec == tree.canary_stat.st_ctim.tv_sec &&
		   st.st_ctim.tv_nsec == tree.canary_stat.st_ctim.tv_nsec);
}

void tree_check_bytes(const void *bytes, size_t len)
{
	FUZZ_CHECK(!memmem(bytes, len, secret, sizeof(secret) - 1));
}
void tree_check_inside(uint64_t ino)
{
	FUZZ_CHECK(ino != tree.canary_stat.st_ino && ino != tree.dir_ino);
}
