/* fs_cases DIRECTORY [THEME|-THEME]: runs the cases in that directory, of one theme or of all others, and writes a line for each. */
#include "fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

void run_steps(const char *steps);

static const char *only, *without; /* themes */
static unsigned int n_cases;

static void remove_all(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct dirent *entry;
	DIR *dir;

	if (fd < 0 && errno == EACCES) {
		fchmodat(parent, name, 0700, 0);
		fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	}
	if (fd < 0) {
		unlinkat(parent, name, 0);
		return;
	}
	fchmod(fd, 0700);
	dir = fdopendir(fd);
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			remove_all(fd, entry->d_name);
	}
	closedir(dir);
	unlinkat(parent, name, AT_REMOVEDIR);
}

void run_case(const char *theme, const char *name, const char *steps)
{
	int status;
	pid_t pid;

	if ((only && strcmp(only, theme) != 0) || (without && strcmp(without, theme) == 0))
		return;
	n_cases++;
	printf("%s/%s:", theme, name);
	fflush(stdout);
	if (mkdir("case", 0755) < 0) {
		printf(" cannot begin: %s\n", strerror(errno));
		return;
	}
	pid = fork();
	if (pid == 0) {
		if (chdir("case") < 0)
			_exit(1);
		umask(022);
		alarm(60);
		run_steps(steps);
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (!WIFEXITED(status))
		printf(" signal %d", WTERMSIG(status));
	putchar('\n');
	fflush(stdout);
	remove_all(AT_FDCWD, "case");
}

/*
 * A guest's root is an ordinary user to the host, and so it shall be to the guest's kernel: else that would allow what the host then
 * refuses, or say that it was allowed.
 */
static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};

	if (syscall(SYS_capset, &header, none) < 0)
		printf("cannot drop capabilities: %s\n", strerror(errno));
}

static void run_table(const char *theme, const struct fs_case *table)
{
	for (; table->name; table++)
		run_case(theme, table->name, table->steps);
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "--exit") == 0)
		return atoi(argv[2]); /* what a case runs */
	if (argc < 2 || chdir(argv[1]) < 0) {
		fprintf(stderr, "usage: fs_cases DIRECTORY [THEME]\n");
		return 2;
	}
	if (argc > 2 && argv[2][0] == '-')
		without = argv[2] + 1;
	else
		only = argv[2];
	drop_capabilities();
	run_table("names", cases_names);
	run_table("data", cases_data);
	run_table("attributes", cases_attributes);
	run_table("xattrs", cases_xattrs);
	run_table("locks", cases_locks);
	run_table("lists", cases_lists);
	run_matrices();
	printf("cases: %u\n", n_cases);
	return 0;
}
