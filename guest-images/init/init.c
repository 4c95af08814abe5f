/*
 * The first program of the initramfs: loads the modules named in /modules.list, mounts the root file
 * system that the kernel's command line names, and hands over to its init. Nothing is detected: the list
 * and its order are made when the image is.
 *
 * Understood on the command line: root=/dev/NAME, rootfstype= (ext4), ro (the default) and rw, and
 * init= (/sbin/init). Without root= the machine stays in the initramfs and runs init= there (/bin/sh).
 *
 * A failure is one line on the console; ending then makes the kernel panic, which is what a machine that
 * cannot find its root should do: panic= decides what follows, and a VMM can tell it from a power-off.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NEW_ROOT     "/root"
#define ROOT_WAIT_MS 10000
#define ROOT_POLL_MS 2
#define CMDLINE_MAX  4096

struct boot_options {
	const char *root; /* the device, or NULL */
	const char *root_fstype;
	char *init;
	bool root_writable;
};

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void vsay(const char *format, va_list args)
{
	fputs("init: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
}

static void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsay(format, args);
	va_end(args);
}

static void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsay(format, args);
	va_end(args);
	exit(1);
}

static void mount_kernel_file_systems(void)
{
	static const char *const names[][2] = {
		{"devtmpfs", "/dev"},
		{"proc", "/proc"},
		{"sysfs", "/sys"},
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (mount(names[i][0], names[i][1], names[i][0], 0, NULL))
			fail("cannot mount %s: %s", names[i][1], strerror(errno));
}

static void parse_cmdline(char *line, struct boot_options *options)
{
	char *position, *word;

	for (word = strtok_r(line, " \n", &position); word;
	     word = strtok_r(NULL, " \n", &position)) {
		if (!strcmp(word, "--"))
			break;
		if (!strncmp(word, "root=", 5))
			options->root = word + 5;
		else if (!strncmp(word, "rootfstype=", 11))
			options->root_fstype = word + 11;
		else if (!strncmp(word, "init=", 5))
			options->init = word + 5;
		else if (!strcmp(word, "rw"))
			options->root_writable = true;
		else if (!strcmp(word, "ro"))
			options->root_writable = false;
	}
}

/* The strings of *options live in this function's static buffer. */
static void read_options(struct boot_options *options)
{
	static char line[CMDLINE_MAX];
	FILE *file = fopen("/proc/cmdline", "re");
	size_t length;

	if (!file)
		fail("cannot open /proc/cmdline: %s", strerror(errno));
	length = fread(line, 1, sizeof(line) - 1, file);
	line[length] = '\0';
	fclose(file);
	*options = (struct boot_options){.root_fstype = "ext4"};
	parse_cmdline(line, options);
	if (!options->init)
		options->init = options->root ? "/sbin/init" : "/bin/sh";
}

static void load_module(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		say("cannot open %s: %s", path, strerror(errno));
		return;
	}
	/* ENODEV: a driver for a feature that this CPU does not have. */
	if (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST && errno != ENODEV)
		say("cannot load %s: %s", path, strerror(errno));
	close(fd);
}

/* A module that does not load is reported and passed over: only the missing root is fatal. */
static void load_modules(void)
{
	char line[256];
	FILE *list = fopen("/modules.list", "re");

	if (!list)
		return;
	while (fgets(line, sizeof(line), list)) {
		line[strcspn(line, "\n")] = '\0';
		load_module(line);
	}
	fclose(list);
}

/* Drivers finish probing some time after their module has loaded. */
static void wait_for_root(const char *device)
{
	const struct timespec pause = {.tv_nsec = ROOT_POLL_MS * 1000000L};

	for (int waited = 0; access(device, F_OK); waited += ROOT_POLL_MS) {
		if (waited >= ROOT_WAIT_MS)
			fail("the root device %s does not appear", device);
		nanosleep(&pause, NULL);
	}
}

static void mount_root(const struct boot_options *options)
{
	unsigned long flags = options->root_writable ? 0 : MS_RDONLY;

	wait_for_root(options->root);
	if (mount(options->root, NEW_ROOT, options->root_fstype, flags, NULL))
		fail("cannot mount %s as %s: %s", options->root, options->root_fstype,
		     strerror(errno));
}

/* Frees the memory of what is left in the initramfs; other file systems are not entered. */
static void remove_tree(int directory_fd, dev_t device)
{
	DIR *directory = fdopendir(directory_fd);
	struct dirent *entry;
	struct stat status;

	if (!directory)
		return;
	while ((entry = readdir(directory))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) ||
		    status.st_dev != device)
			continue;
		if (S_ISDIR(status.st_mode)) {
			remove_tree(openat(dirfd(directory), entry->d_name,
					   O_RDONLY | O_DIRECTORY | O_CLOEXEC),
				    device);
			unlinkat(dirfd(directory), entry->d_name, AT_REMOVEDIR);
		} else {
			unlinkat(dirfd(directory), entry->d_name, 0);
		}
	}
	closedir(directory);
}

/* The initramfs cannot be unmounted or pivoted away from: it is emptied, and the new root moved over it. */
static void switch_root(void)
{
	static const char *const moved[] = {"/dev", "/proc", "/sys"};
	int old_root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat status;
	char target[32];

	for (size_t i = 0; i < sizeof(moved) / sizeof(moved[0]); i++) {
		snprintf(target, sizeof(target), NEW_ROOT "%s", moved[i]);
		if (mount(moved[i], target, NULL, MS_MOVE, NULL))
			fail("cannot move %s to the root: %s", moved[i], strerror(errno));
	}
	if (chdir(NEW_ROOT) || old_root < 0 || fstat(old_root, &status))
		fail("cannot enter the root: %s", strerror(errno));
	remove_tree(old_root, status.st_dev);
	if (mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		fail("cannot switch to the root: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	struct boot_options options;

	(void)argc;
	mount_kernel_file_systems();
	read_options(&options);
	load_modules();
	if (options.root) {
		mount_root(&options);
		switch_root();
	}
	argv[0] = options.init;
	execv(options.init, argv);
	fail("cannot run %s: %s", options.init, strerror(errno));
}
