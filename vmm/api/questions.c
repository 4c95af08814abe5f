/* What a program may ask about a kernel's file and the host before it makes a VM. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "boot/kernel_cache.h"
#include "boot/kernel_info.h"
#include "vmm/api/vmm.h"
#include "vmm/machine/vm_examine.h"

/* O_NONBLOCK: a pipe is no file, and nothing to wait for. */
static int question_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

int vmm_kernel_release(const char *path, char *release, size_t size)
{
	int fd = question_open(path), err;

	if (fd < 0)
		return fd;
	err = kernel_info_release(fd, release, size);
	close(fd);
	return err == -EISDIR ? -ENOEXEC : err;
}

int vmm_kernel_config(const char *path, char **text)
{
	int fd = question_open(path), err;

	if (fd < 0)
		return fd;
	err = kernel_info_config(fd, text);
	close(fd);
	return err;
}

int vmm_kernel_cached_config(const char *path, const char *kernel_cache, char **text)
{
	int fd = question_open(path), err;

	if (fd < 0)
		return fd;
	err = kernel_cache_config(kernel_cache, fd, text);
	close(fd);
	return err;
}

int vmm_unpack_file(const char *path, void **bytes, size_t *size)
{
	int fd = question_open(path), err;

	if (fd < 0)
		return fd;
	err = kernel_info_unpack(fd, bytes, size);
	close(fd);
	return err;
}

void vmm_host_examine(struct vmm_host *host)
{
	struct vm_examined e;

	vm_examine(&e);
	*host = (struct vmm_host){.virtualization = e.virtualization,
				  .kvm_error = e.kvm_error,
				  .kvm_version = e.kvm_version,
				  .kvm_lacks = e.lacks,
				  .vm_error = e.vm_error,
				  .vm_us = e.vm_us};
}
