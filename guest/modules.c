#include "guest/init.h"

#include <errno.h>
#include <fcntl.h>

#define MODULES_MAX  256
#define MODULES_NAME 64

/* As getdents64() gives them. */
struct modules_entry {
	uint64_t inode;
	int64_t offset;
	uint16_t size;
	uint8_t type;
	char name[];
};

static char modules_names[MODULES_MAX][MODULES_NAME];

/* Keeps the names in order. */
static unsigned int modules_insert(unsigned int n, const char *name)
{
	unsigned int at = n;

	if (n == MODULES_MAX || name[0] == '.' || text_len(name) >= MODULES_NAME)
		return n;
	for (; at > 0 && text_compare(name, modules_names[at - 1]) < 0; at--)
		memcpy(modules_names[at], modules_names[at - 1], MODULES_NAME);
	text_append(modules_names[at], MODULES_NAME, 0, name);
	return n + 1;
}

static unsigned int modules_list(int dir)
{
	uint8_t buf[2048] __attribute__((aligned(8)));
	unsigned int n = 0;
	long len;

	while ((len = SYS3(getdents64, dir, buf, sizeof(buf))) > 0) {
		for (long at = 0; at < len;) {
			const struct modules_entry *entry = (const void *)(buf + at);

			n = modules_insert(n, entry->name);
			at += entry->size;
		}
	}
	return n;
}

/* What does not load is passed over: the kernel has said why, and what needs it will say so too. */
static void modules_insert_one(int dir, const char *name)
{
	int fd = (int)SYS4(openat, dir, name, O_RDONLY | O_CLOEXEC, 0);

	if (fd < 0)
		return;
	SYS3(finit_module, fd, "", 0);
	SYS1(close, fd);
	SYS3(unlinkat, dir, name, 0);
}

void modules_load(void)
{
	int dir = (int)SYS3(open, GUEST_MODULES, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

	if (dir >= 0) {
		unsigned int n = modules_list(dir);

		for (unsigned int i = 0; i < n; i++)
			modules_insert_one(dir, modules_names[i]);
		SYS1(close, dir);
		SYS1(rmdir, GUEST_MODULES);
	}
	SYS1(unlink, GUEST_INIT);
	SYS1(rmdir, GUEST_DIR);
}
