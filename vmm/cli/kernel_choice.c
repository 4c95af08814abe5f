#include "vmm/cli/kernel_choice.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "vmm/api/vmm.h"

/* In a source tree, or where one is built. */
#define KERNEL_BUILT_DIR "arch/x86/boot"
#define KERNEL_BUILT	 KERNEL_BUILT_DIR "/bzImage"

static bool kernel_exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/* Makes path and tells whether something is there; if not, path is empty. */
__attribute__((format(printf, 3, 4))) static bool kernel_try(char *path, size_t size,
							     const char *fmt, ...)
{
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(path, size, fmt, args);
	va_end(args);
	if (n > 0 && (size_t)n < size && kernel_exists(path))
		return true;
	path[0] = '\0';
	return false;
}

/* To the file that a link names: what belongs to a kernel lies there. */
static void kernel_follow(char path[static PATH_MAX])
{
	char *file = realpath(path, NULL);

	if (file)
		snprintf(path, PATH_MAX, "%s", file);
	free(file);
}

/* ---- which kernel ---- */

static bool kernel_is_source_tree(void)
{
	return kernel_exists(KERNEL_BUILT) && kernel_exists("Makefile") &&
	       (kernel_exists("Kconfig") || kernel_exists(".config"));
}

static bool kernel_find(const char *root, const char *release, struct kernel_choice *k)
{
	if (kernel_is_source_tree()) {
		k->why = "just built in this source tree";
		return kernel_try(k->path, sizeof(k->path), KERNEL_BUILT);
	}
	k->why = "the host's own";
	if (kernel_try(k->path, sizeof(k->path), "%s/boot/vmlinuz-%s", root, release) ||
	    kernel_try(k->path, sizeof(k->path), "%s/lib/modules/%s/vmlinuz", root, release))
		return true;
	/* A container, or a machine that was not booted from its own disk. */
	k->why = "to which the distribution's link leads";
	if (!kernel_try(k->path, sizeof(k->path), "%s/vmlinuz", root) &&
	    !kernel_try(k->path, sizeof(k->path), "%s/boot/vmlinuz", root))
		return false;
	kernel_follow(k->path);
	return true;
}

/* Some distributions let root alone read kernels. */
static int kernel_check_readable(struct kernel_choice *k)
{
	int fd = open(k->path, O_RDONLY | O_CLOEXEC), err = -errno;

	if (fd >= 0) {
		close(fd);
		return 0;
	}
	snprintf(k->problem, sizeof(k->problem), "cannot read kernel '%s', %s: %s", k->path, k->why,
		 strerror(-err));
	if (err == -EACCES)
		snprintf(k->mend, sizeof(k->mend), "sudo chmod a+r %s", k->path);
	return err;
}

int kernel_choose(const char *given, const char *root, struct kernel_choice *k)
{
	struct utsname host;

	k->path[0] = k->problem[0] = k->mend[0] = '\0';
	if (given) {
		k->why = "given";
		snprintf(k->path, sizeof(k->path), "%s", given);
		return 0;
	}
	if (uname(&host) < 0)
		strcpy(host.release, "unknown");
	if (kernel_find(root, host.release, k))
		return kernel_check_readable(k);
	snprintf(k->problem, sizeof(k->problem),
		 "which kernel? There is no %s/boot/vmlinuz-%s: give one with --kernel FILE, or "
		 "install one",
		 root, host.release);
	strcpy(k->mend, "sudo apt install linux-image-cloud-amd64");
	return -ENOENT;
}

/* ---- what lies around it ---- */

#define MODULES_LIST "/modules.dep"   /* without it nobody knows what is there, */
#define MODULES_TREE "/modules.order" /* but in the source tree */

static void kernel_cut(struct kernel_choice *k, const char *end)
{
	k->modules[strlen(k->modules) - strlen(end)] = '\0';
}

static bool kernel_try_modules(struct kernel_choice *k, const char *place)
{
	bool found = kernel_try(k->modules, sizeof(k->modules), "%s/lib/modules/%s" MODULES_LIST,
				place, k->release);

	if (found)
		kernel_cut(k, MODULES_LIST);
	return found;
}

/* How much of path names the source tree, or -1. dir: how much of it names its directory. Both with the slash. */
static int kernel_tree(const char *path, int dir, char beside[static PATH_MAX])
{
	int built = (int)strlen(path) - (int)(sizeof(KERNEL_BUILT) - 1);

	if (built >= 0 && strcmp(path + built, KERNEL_BUILT) == 0)
		return built;
	if (strcmp(path + dir, "vmlinux") == 0 &&
	    kernel_try(beside, PATH_MAX, "%.*s" KERNEL_BUILT_DIR, dir, path))
		return dir;
	return -1;
}

/* What a source tree has is newer than what may be installed under the same release. */
static void kernel_look_beside(struct kernel_choice *k, const char *path)
{
	const char *slash = strrchr(path, '/');
	char beside[PATH_MAX + 4];
	int dir = slash ? (int)(slash - path) + 1 : 0, tree = kernel_tree(path, dir, beside);

	snprintf(beside, sizeof(beside), "%.*s..", dir, path);
	if (!k->modules[0] && !kernel_try_modules(k, beside) && tree >= 0 &&
	    kernel_try(k->modules, sizeof(k->modules), "%.*s." MODULES_TREE, tree, path))
		kernel_cut(k, MODULES_TREE);
	if (!k->config[0] &&
	    !kernel_try(k->config, sizeof(k->config), "%.*sconfig-%s", dir, path, k->release) &&
	    tree >= 0)
		kernel_try(k->config, sizeof(k->config), "%.*s.config", tree, path);
}

void kernel_look_around(const char *root, struct kernel_choice *k)
{
	char *file;

	k->modules[0] = k->config[0] = '\0';
	if (vmm_kernel_release(k->path, k->release, sizeof(k->release)) < 0) {
		k->release[0] = '\0';
		return;
	}
	kernel_look_beside(k, k->path);
	/* where links lead to: a tree has some to what it built, and one may be in its midst */
	file = realpath(k->path, NULL);
	if (file)
		kernel_look_beside(k, file);
	free(file);
	if (!k->modules[0])
		kernel_try_modules(k, root);
	if (!k->config[0])
		kernel_try(k->config, sizeof(k->config), "%s/lib/modules/%s/config", root,
			   k->release);
}
