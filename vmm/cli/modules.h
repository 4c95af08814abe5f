/*
 * The modules of a kernel, as depmod(8) lists them: where they are, in which order they are to be loaded, and how the guest
 * gets them.
 *
 * Owner: the caller. One thread. Functions return 0, or a negative errno after one line on stderr.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum module_state {
	MODULE_UNKNOWN, /* no file, and what is part of the kernel cannot be read */
	MODULE_MISSING,
	MODULE_BUILTIN, /* a part of the kernel */
	MODULE_FILE,
};

struct module {
	const char *name;	 /* as modprobe(8) takes it: '-' and '_' are the same */
	enum module_state state; /* set by modules_gather() */
};

/* Of the files that one archive holds. */
#define MODULES_MAX 99

/*
 * Looks for the n modules in dir, which is /lib/modules/RELEASE or a source tree with modules.order, and writes those that are files to out, an archive as the kernel
 * unpacks it to its first root (cpio "newc", Documentation/driver-api/early-userspace/buffer-format.rst): /.vmm/modules/00-NAME.ko,
 * 01-NAME.ko and so on, unpacked, in the order in which finit_module(2) is to load them, with what they depend on before them. A
 * file that the guest's kernel refuses is none of those that were asked for, or has no hardware there (crc32c_intel). Nothing is
 * written when there is no such file. Errors of out are for the caller to see (ferror()).
 *
 * release is the kernel's: in a source tree, modules of another one count as missing. out NULL: only looks. A module that is not there is no error; its state says so. A dir without modules.dep and modules.order is -ENOENT.
 */
int modules_gather(const char *dir, const char *release, struct module *modules, size_t n,
		   FILE *out);

/* Whether the len bytes at a are the name b. */
bool modules_is_name(const char *a, size_t len, const char *b);
