/*
 * Which kernel is booted: the one that was named; else, in a source tree of Linux, the one just built; else the host's own. And
 * what lies around it: its modules and its configuration.
 *
 * Owner: the caller. One thread.
 */
#pragma once

#include <limits.h>
#include <stddef.h>

struct kernel_choice {
	const char *why; /* "given", "just built in this source tree", ... */
	char path[PATH_MAX];
	/* When there is none that can be read: why, and what to type to mend that ("": nothing helps). */
	char problem[PATH_MAX + 128];
	char mend[PATH_MAX + 32];
	/* set by kernel_look_around(); "": not known, or none */
	char release[128];	/* as uname -r tells it in the guest */
	char modules[PATH_MAX]; /* the directory that modules_gather() takes */
	char config[PATH_MAX];	/* the configuration's file */
};

/*
 * given: what --kernel says, or NULL. root: "", or another directory than / to look for the host's files in. Returns 0, or a negative
 * errno with a problem: there is no kernel, or it may not be read. Nothing is reported, and a given kernel is not looked at.
 */
int kernel_choose(const char *given, const char *root, struct kernel_choice *kernel);

/*
 * Finds what belongs to the kernel. Its modules are in ../lib/modules/RELEASE from its own directory, as in a package that was
 * unpacked somewhere, in the source tree where it was built, or else in /lib/modules/RELEASE; its configuration is config-RELEASE beside it, or .config of the source
 * tree. A link is looked around too, and then the file that it leads to. arch/x86/boot/bzImage is of a source tree, and a vmlinux that has arch/x86/boot beside it.
 * A kernel that cannot be read has none.
 */
void kernel_look_around(const char *root, struct kernel_choice *kernel);
