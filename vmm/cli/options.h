/*
 * The command line of vmm, turned into a struct vmm_config. See vmm(1) for what each option takes.
 *
 * Owner: the caller; strings point into argv or into the struct, so it must not be copied. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/api/vmm.h"
#include "vmm/image/image_ref.h"

enum options_action {
	OPTIONS_RUN,
	OPTIONS_HELP,
	OPTIONS_VERSION,
};

enum options_console {
	OPTIONS_CONSOLE_STDIO,
	OPTIONS_CONSOLE_NONE,
	OPTIONS_CONSOLE_FILE,
	OPTIONS_CONSOLE_PTY,
	OPTIONS_CONSOLE_SOCKET,
};

#define OPTIONS_MAX_ENV		256
#define OPTIONS_BOOT_TIMEOUT_MS 10000

struct options {
	enum options_action action;
	enum options_console console;
	bool change_user; /* to uid and gid */
	uint32_t uid;
	uint32_t gid;
	const char *console_path;	/* of a file or socket */
	bool kernel_cache;		/* in the user's cache directory */
	uint64_t timeout_ms;		/* 0: none */
	uint64_t boot_timeout_ms;	/* 0: none */
	char **command;			/* its words, with a NULL at the end; NULL: none */
	const char *root;		/* NULL: the initrd */
	bool root_keep;			/* what is written to it lasts */
	bool root_packed;		/* into the guest's memory */
	bool root_shared;		/* with the guest; neither: as it is better */
	bool root_mounts;		/* with what is mounted below it */
	const char *image_cache;	/* a directory; NULL: in the user's cache directory */
	uint64_t image_cache_size;	/* bytes it may have */
	const char *events;		/* a file's name, or fd=N; NULL: none */
	char *env[OPTIONS_MAX_ENV + 1]; /* the command's environment, with a NULL at the end */
	unsigned int n_env;
	bool env_given;
	bool env_is_given[OPTIONS_MAX_ENV]; /* which of them are the user's */
	const char *dump_guest; /* where the guest goes when it has failed; NULL: nowhere */
	const char *dump_dtb;	/* where the device tree goes, instead of a run; NULL: none */
	enum vmm_log_level log_level;
	struct vmm_config
		config; /* but for the descriptors of the console, and a kernel that is not given */
	/* what config points to */
	struct vmm_disk disks[VMM_MAX_DISKS_AND_NETS];
	struct vmm_net nets[VMM_MAX_DISKS_AND_NETS];
	struct vmm_vsock vsock;
	struct vmm_share shares[VMM_MAX_SHARES];
	const char *share_places[VMM_MAX_SHARES]; /* in the guest */
	char share_tags[VMM_MAX_SHARES][40];
	uint8_t macs[VMM_MAX_DISKS_AND_NETS][6];
	/* options that may be given once, as seen so far */
	uint64_t seen;
	/* What is above says which of these are in use; the others are never touched. */
	struct vmm_forward forwards[VMM_MAX_DISKS_AND_NETS][VMM_MAX_FORWARDS];
	struct image_ref
		root_image; /* what root names, if that is a container image and names a file; else its path is empty */
};

/* Returns 0, or -EINVAL after one line on stderr. argv's strings may be cut into pieces. */
int options_parse(struct options *options, int argc, char **argv);

/* A container image's variables, where the user has given none of the name. Returns 0, or -EINVAL after one line on stderr. */
int options_add_env(struct options *options, char *text);
/* Takes those away that begin so ("HOME=", "LC_") and that the user has not given. */
void options_drop_env(struct options *options, const char *begin);

/* DIR[,size=SIZE], which is cut into pieces. Returns 0, or -EINVAL after one line on stderr that begins with whose it is. */
int options_image_cache(const char *whose, char *value, const char **dir, uint64_t *size);

/* The text of --help, on stdout. */
void options_print_help(void);
