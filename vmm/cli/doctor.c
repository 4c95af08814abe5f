#include "vmm/cli/doctor.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "vmm/api/vmm.h"
#include "vmm/cli/events.h"
#include "vmm/cli/exit_status.h"
#include "vmm/cli/help.h"
#include "vmm/cli/report.h"

char *doctor_read(const char *path, char *text, int size)
{
	FILE *file = fopen(path, "re");

	if (!file || !fgets(text, size, file))
		text[0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	if (file)
		fclose(file);
	return text;
}

const char *doctor_let_in(const char *path)
{
	static char text[96];
	struct stat st;
	bool group = stat(path, &st) == 0 && st.st_gid != 0 && (st.st_mode & 060) == 060;

	snprintf(text, sizeof(text),
		 group ? "sudo usermod -aG $(stat -c %%G %s) $USER    # and log in again"
		       : "sudo setfacl -m u:$USER:rw %s    # until the next boot",
		 path);
	return text;
}

unsigned int doctor_linux_version(void)
{
	unsigned int major = 0, minor = 0;
	struct utsname host;

	if (uname(&host) == 0)
		sscanf(host.release, "%u.%u", &major, &minor);
	return major * 100 + minor;
}

/* ---- findings ---- */

#define DOCTOR_TEXT 8192

static const char *const doctor_results[] = {"ok", "warn", "fail"};

static void doctor_print(struct doctor *d, enum doctor_result result, const char *check,
			 const char *mend, const char *text)
{
	fprintf(d->out, "%-4s  %s: %s\n", doctor_results[result], check, text);
	if (mend)
		fprintf(d->out, "      type: %s\n", mend);
}

static void doctor_print_json(struct doctor *d, enum doctor_result result, const char *check,
			      const char *mend, const char *text)
{
	char quoted[6 * DOCTOR_TEXT];

	fprintf(d->out, "%s\n  {\"check\": \"%s\", \"result\": \"%s\", \"text\": %s",
		d->any ? "," : "", check, doctor_results[result],
		events_quote(quoted, sizeof(quoted), text));
	fprintf(d->out, ", \"mend\": %s}",
		mend ? events_quote(quoted, sizeof(quoted), mend) : "null");
}

void doctor_find(struct doctor *d, enum doctor_result result, const char *check, const char *mend,
		 const char *fmt, ...)
{
	char text[DOCTOR_TEXT];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* A kernel's file, and its maker, have chosen names: they make no further lines, and do not steer a terminal. */
	if (!d->json)
		report_clean(text);
	(d->json ? doctor_print_json : doctor_print)(d, result, check, mend, text);
	d->any = true;
	d->failed |= result == DOCTOR_FAIL;
}

/* ---- the command ---- */

static int doctor_run(struct doctor *d, const char *kernel)
{
	if (d->json)
		fprintf(d->out, "{\"vmm\": \"%s\", \"findings\": [", vmm_version());
	doctor_check_kvm(d);
	doctor_check_host(d);
	doctor_check_kernel(d, kernel);
	if (d->json)
		fprintf(d->out, "\n], \"well\": %s}\n", d->failed ? "false" : "true");
	return d->failed ? 1 : 0;
}

int doctor_main(int argc, char **argv)
{
	struct doctor d = {.out = stdout};
	const char *kernel = NULL;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0) {
			d.json = true;
		} else if (strcmp(argv[i], "--help") == 0) {
			return help_topic("doctor");
		} else if (strncmp(argv[i], "--kernel=", 9) == 0) {
			kernel = argv[i] + 9;
		} else if (strcmp(argv[i], "--kernel") == 0 && i + 1 < argc) {
			kernel = argv[++i];
		} else {
			report("vmm doctor takes --kernel FILE and --json, not '%s'", argv[i]);
			return EXIT_STATUS_FAILED;
		}
	}
	return doctor_run(&d, kernel);
}
