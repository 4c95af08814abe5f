#include "vmm/cli/named.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/cli/report.h"
#include "vmm/image/image_hint.h"
#include "vmm/image/image_ref.h"

bool named_hint(const struct options *options)
{
	struct image_why why;

	if (!image_hint(options->root, &why))
		return false;
	report("--root %s", why.text);
	return true;
}

const char *named_why(const char *path, int err)
{
	struct stat st;

	if (err == -ENXIO && stat(path, &st) == 0) {
		if (S_ISSOCK(st.st_mode))
			return "it is a socket";
		if (S_ISFIFO(st.st_mode))
			return "nobody reads from it";
	}
	return strerror(-err);
}

/* Whether it may be opened is seen when it is. */
static bool named_is_there(const char *path)
{
	return access(path, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

static int named_look(const char *what, const char *path)
{
	if (!path || named_is_there(path))
		return 0;
	return report_failure(-errno, "cannot open %s '%s'", what, path);
}

static int named_check_root(const struct options *options)
{
	const char *image = options->root_image.path;

	if (!options->root)
		return 0;
	if (image_ref_is(options->root))
		return *image ? named_look("image", image) : 0;
	if (!named_is_there(options->root) && named_hint(options))
		return -ENOENT;
	return named_look("root", options->root);
}

int named_check_open(const struct options *options)
{
	bool prints = options->console == OPTIONS_CONSOLE_STDIO && !options->command;

	if (prints && (fcntl(STDOUT_FILENO, F_GETFL) & O_ACCMODE) == O_RDONLY) {
		report("standard output, to which the console goes, is not open for writing");
		return -EBADF;
	}
	for (unsigned int i = 0; i < options->config.n_nets; i++) {
		int fd = options->nets[i].tap_fd;

		if (fd >= 0 && fcntl(fd, F_GETFD) < 0) {
			report("--net tap-fd=%d: no such file descriptor is open", fd);
			return -EBADF;
		}
	}
	return 0;
}

int named_check(const struct options *options)
{
	const struct vmm_config *config = &options->config;
	int err = named_look("kernel", config->kernel);

	if (err == 0)
		err = named_look("initrd", config->initrd);
	if (err == 0)
		err = named_check_root(options);
	for (unsigned int i = 0; i < config->n_shares && err == 0; i++)
		err = named_look("directory", options->shares[i].path);
	for (unsigned int i = 0; i < config->n_disks && err == 0; i++)
		err = named_look("disk", options->disks[i].path);
	return err;
}
