/* The kernel that a guest would boot. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/api/vmm.h"
#include "vmm/cli/command_kernel.h"
#include "vmm/cli/doctor.h"
#include "vmm/cli/kernel_choice.h"
#include "vmm/cli/kernel_parts.h"

/* Of what a squashfs may be packed by, what container images take; and nothing that only makes it faster. */
#define DOCTOR_PARTS ((KERNEL_PART(KERNEL_SQUASHFS_LZ4 + 1) - 1) & ~KERNEL_PART(KERNEL_SHA256))

static void doctor_tell_parts(struct doctor *d, const enum kernel_answer *answers)
{
	uint32_t needs = command_kernel_usual_needs();

	for (unsigned int part = 0; part < KERNEL_PARTS; part++) {
		bool needed = needs & KERNEL_PART(part);

		if (answers[part] == KERNEL_LACKS)
			doctor_find(d, needed ? DOCTOR_FAIL : DOCTOR_WARN, "kernel", NULL,
				    "it lacks %s (CONFIG_%s)%s", kernel_part_name(part),
				    kernel_part_symbol(part),
				    needed ? ", without which no command runs in it" : "");
	}
}

/* The configuration: a file beside the kernel, or inside it. Sets k->config to "inside it" or "" for that. */
static int doctor_get_config(struct kernel_choice *k, char **config)
{
	int err;

	*config = kernel_read_config(k);
	if (*config)
		return 0;
	err = vmm_kernel_config(k->path, config);
	strcpy(k->config, err == 0 ? "inside it" : "");
	return err;
}

static void doctor_look_at(struct doctor *d, struct kernel_choice *k)
{
	enum kernel_answer answers[KERNEL_PARTS];
	char *config = NULL;
	int err;

	kernel_look_around("", k);
	err = doctor_get_config(k, &config);
	if (err < 0 && !k->release[0]) {
		doctor_find(d, DOCTOR_FAIL, "kernel", NULL, "cannot use '%s': %s", k->path,
			    err == -ENOEXEC || err == -ENODATA
				    ? "it is no kernel of Linux that vmm knows"
				    : strerror(-err));
		return;
	}
	doctor_find(
		d, DOCTOR_OK, "kernel", NULL, "'%s', %s: Linux %s; configuration: %s; modules: %s",
		k->path, k->why, k->release[0] ? k->release : "(unknown)",
		k->config[0] ? k->config : "not found", k->modules[0] ? k->modules : "none found");
	if (kernel_ask(k, config, DOCTOR_PARTS, answers, NULL) == 0)
		doctor_tell_parts(d, answers);
	free(config);
}

void doctor_check_kernel(struct doctor *d, const char *kernel)
{
	struct kernel_choice k;

	if (kernel_choose(kernel, "", &k) == 0)
		doctor_look_at(d, &k);
	else
		doctor_find(d, DOCTOR_FAIL, "kernel", k.mend[0] ? k.mend : NULL, "%s", k.problem);
}
