/* Steps on names: making, removing, moving and listing them. */
#define _GNU_SOURCE
#include "fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* mkdir PATH [MODE] */
static int step_mkdir(const struct step *step)
{
	int dir;
	const char *path = path_of(step->word[1], &dir);

	return result(mkdirat(dir, path, (mode_t)number(word_or(step, 2, "0777"))));
}

/* rmdir PATH */
static int step_rmdir(const struct step *step)
{
	int dir;
	const char *path = path_of(step->word[1], &dir);

	return result(unlinkat(dir, path, AT_REMOVEDIR));
}

/* unlink PATH */
static int step_unlink(const struct step *step)
{
	int dir;
	const char *path = path_of(step->word[1], &dir);

	return result(unlinkat(dir, path, 0));
}

static const struct named rename_flags[] = {
	{"plain", 0},
	{"noreplace", RENAME_NOREPLACE},
	{"exchange", RENAME_EXCHANGE},
	{"unknown", 1u << 20},
	{NULL, 0},
};

/* rename FROM TO [FLAGS] */
static int step_rename(const struct step *step)
{
	int from_dir, to_dir;
	const char *from = path_of(step->word[1], &from_dir), *to = path_of(step->word[2], &to_dir);
	unsigned int flags = named_sum(rename_flags, word_or(step, 3, "plain"));

	return result(flags ? renameat2(from_dir, from, to_dir, to, flags)
			    : renameat(from_dir, from, to_dir, to));
}

/* link FROM TO [follow] */
static int step_link(const struct step *step)
{
	int from_dir, to_dir;
	const char *from = path_of(step->word[1], &from_dir), *to = path_of(step->word[2], &to_dir);

	return result(linkat(from_dir, from, to_dir, to,
			     has_word(step, 3, "follow") ? AT_SYMLINK_FOLLOW : 0));
}

/* symlink TEXT PATH */
static int step_symlink(const struct step *step)
{
	int dir, none;
	const char *path = path_of(step->word[2], &dir);

	return result(symlinkat(path_of(step->word[1], &none), dir, path));
}

/* readlink PATH [SIZE] */
static int step_readlink(const struct step *step)
{
	int dir;
	const char *path = path_of(step->word[1], &dir);
	char text[5000];
	ssize_t n = readlinkat(dir, path, text, (size_t)number(word_or(step, 2, "5000")));

	if (n >= 0)
		say_bytes(text, (size_t)n);
	return result(n);
}

/* mknod PATH fifo|chr|blk|reg|sock [MODE] */
static int step_mknod(const struct step *step)
{
	static const struct named kinds[] = {{"fifo", S_IFIFO},	 {"chr", S_IFCHR},
					     {"blk", S_IFBLK},	 {"reg", S_IFREG},
					     {"sock", S_IFSOCK}, {NULL, 0}};
	int dir;
	const char *path = path_of(step->word[1], &dir);
	mode_t mode = (mode_t)number(word_or(step, 3, "0644"));

	return result(
		mknodat(dir, path, (mode_t)named_sum(kinds, step->word[2]) | mode, makedev(1, 3)));
}

/* bind PATH, connect PATH: a socket of its own */
static int step_socket(const struct step *step)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int (*act)(int, const struct sockaddr *, socklen_t) = connect;

	if (strcmp(step->word[0], "bind") == 0)
		act = bind;
	strncpy(address.sun_path, step->word[1], sizeof(address.sun_path) - 1);
	if (act(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return result(act == bind ? listen(fd, 1) : 0);
}

static char letter(mode_t mode)
{
	static const char letters[] = "?pc?d?b?-?l?s???";

	return letters[(mode & S_IFMT) >> 12];
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void say_tree(int parent, const char *name, unsigned int depth)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	char *names[64];
	size_t n = 0;
	struct dirent *entry;
	struct stat st;
	DIR *dir;

	if (fd < 0) {
		say("(%s)", strerrorname_np(errno));
		return;
	}
	dir = fdopendir(fd);
	while (n < 64 && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			names[n++] = strdup(entry->d_name);
	}
	qsort(names, n, sizeof(names[0]), compare);
	say("[");
	for (size_t i = 0; i < n; i++) {
		memset(&st, 0, sizeof(st));
		fstatat(fd, names[i], &st, AT_SYMLINK_NOFOLLOW);
		say("%s%c%.20s", i ? "," : "", letter(st.st_mode), names[i]);
		if (S_ISREG(st.st_mode))
			say("=%lld*%u", (long long)st.st_size, (unsigned int)st.st_nlink);
		if (S_ISDIR(st.st_mode) && depth < 5)
			say_tree(fd, names[i], depth + 1);
	}
	say("]");
	closedir(dir);
}

/* tree [PATH]: all that is there: kinds, names, sizes and links */
static int step_tree(const struct step *step)
{
	say_tree(AT_FDCWD, word_or(step, 1, "."), 0);
	return 0;
}

/* chdir PATH */
static int step_chdir(const struct step *step)
{
	int dir;
	const char *path = path_of(step->word[1], &dir);

	return result(dir == AT_FDCWD ? chdir(path) : fchdir(dir));
}

/* cwd: the last part of it */
static int step_cwd(const struct step *step)
{
	char path[8192];

	(void)step;
	if (!getcwd(path, sizeof(path)))
		return -errno;
	say("%s", strrchr(path, '/') + 1);
	return 0;
}

/* program PATH: this one, to be run by exec */
static int step_program(const struct step *step)
{
	char bytes[65536];
	int from = open("/proc/self/exe", O_RDONLY),
	    to = open(step->word[1], O_WRONLY | O_CREAT, 0755);
	ssize_t n;

	while ((n = read(from, bytes, sizeof(bytes))) > 0) {
		if (write(to, bytes, (size_t)n) != n)
			return -EIO;
	}
	close(from);
	close(to);
	return 0;
}

/* exec PATH */
static int step_exec(const struct step *step)
{
	int status, dir;
	const char *path = path_of(step->word[1], &dir);
	pid_t pid = fork();

	if (pid == 0) {
		execl(path, path, "--exit", "7", NULL);
		_exit(errno == ENOENT ? 127 : 100 + errno);
	}
	waitpid(pid, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) > 100)
		return -(WEXITSTATUS(status) == 127 ? ENOENT : WEXITSTATUS(status) - 100);
	say("%d", WEXITSTATUS(status));
	return 0;
}

const struct operation operations_names[] = {
	{"mkdir", 2, step_mkdir},	{"rmdir", 2, step_rmdir},
	{"unlink", 2, step_unlink},	{"rename", 3, step_rename},
	{"link", 3, step_link},		{"symlink", 3, step_symlink},
	{"readlink", 2, step_readlink}, {"mknod", 3, step_mknod},
	{"bind", 2, step_socket},	{"connect", 2, step_socket},
	{"tree", 1, step_tree},		{"chdir", 2, step_chdir},
	{"cwd", 1, step_cwd},		{"program", 2, step_program},
	{"exec", 2, step_exec},		{NULL, 0, NULL},
};
