/*
 * vmm doctor: whether virtual machines will run well on this host, and what to type where they will not.
 *
 * One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

enum doctor_result {
	DOCTOR_OK,
	DOCTOR_WARN, /* something is slower, or not possible */
	DOCTOR_FAIL, /* no virtual machine runs, or none runs well */
};

struct doctor {
	FILE *out;
	bool json;
	bool any; /* finding so far */
	bool failed;
};

/* The command, of which argv[0] is "doctor". Returns the exit status: 0 all is well, 1 not, 125 bad usage. */
int doctor_main(int argc, char **argv);

/* One finding. mend: what to type, or NULL. */
void doctor_find(struct doctor *d, enum doctor_result result, const char *check, const char *mend,
		 const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* doctor_kvm.c, doctor_host.c, doctor_kernel.c: what is looked at */
void doctor_check_kvm(struct doctor *d);
void doctor_check_host(struct doctor *d);
/* kernel: what --kernel says, or NULL */
void doctor_check_kernel(struct doctor *d, const char *kernel);

/* The first line of a file, without its newline; "" if there is none. Returns text. */
char *doctor_read(const char *path, char *text, int size);

/* What to type to be let into a device: by its group, where that has a right to it. Lasts until the next call. */
const char *doctor_let_in(const char *path);

/* The host's Linux: 6 and 18 are 618. */
unsigned int doctor_linux_version(void);
