#include "vmm/cli/modules_tree.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/api/vmm.h"
#include "vmm/cli/modules.h"
#include "vmm/cli/report.h"

#define TREE_DEPTH 16 /* of what depends on one another */

/* What a file holds, with a zero behind it; NULL if it cannot be read. */
static char *tree_read(const char *dir, const char *name, size_t *size)
{
	char path[PATH_MAX];
	void *bytes;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return vmm_unpack_file(path, &bytes, size) == 0 ? bytes : NULL;
}

int modules_tree_open(struct modules_tree *tree)
{
	size_t size;

	tree->list = tree_read(tree->dir, "modules.order", &size);
	return tree->list ? 0 : -ENOENT;
}

/* Where it is in the tree: lists name it with .o or .ko, and older ones say kernel/ before it, as where it is installed. */
static bool tree_file(const struct modules_tree *tree, const char *line, size_t len, char *file)
{
	static const char prefix[] = "kernel/";
	char path[PATH_MAX];

	for (size_t cut = 0;; cut = sizeof(prefix) - 1) {
		snprintf(file, PATH_MAX / 2, "%.*s.ko", (int)(len - cut), line + cut);
		snprintf(path, sizeof(path), "%.2000s/%s", tree->dir, file);
		if (access(path, R_OK) == 0)
			return true;
		if (cut > 0 || strncmp(line, prefix, sizeof(prefix) - 1) != 0)
			return false;
	}
}

static bool tree_find(const struct modules_tree *tree, const char *name, char *file)
{
	for (const char *line = tree->list; *line; line += strcspn(line, "\n") + 1) {
		const char *end = line + strcspn(line, "\n"), *dot = end, *base;

		while (dot > line && *dot != '.')
			dot--;
		for (base = dot; base > line && base[-1] != '/';)
			base--;
		if (modules_is_name(base, (size_t)(dot - base), name))
			return tree_file(tree, line, (size_t)(dot - line), file);
		if (!*end)
			break;
	}
	return false;
}

/* What it says of itself behind mark, up to a zero; writable. */
static char *tree_info(char *bytes, size_t size, const char *mark, size_t len)
{
	char *at = memmem(bytes, size, mark, len);

	return at ? at + len : bytes + size;
}

/* The word before the first space of vermagic is the release. */
static void tree_check(struct modules_tree *tree, const char *file, const char *magic)
{
	size_t len = strcspn(magic, " ");

	if (strncmp(magic, tree->release, len) == 0 && !tree->release[len])
		return;
	if (tree->n_stale++ == 0)
		report("module '%s/%s' is of Linux %.*s, not of %s, and counts as missing; type: "
		       "make modules",
		       tree->dir, file, (int)len, magic, tree->release);
}

#define TREE_INFO(bytes, size, mark) tree_info(bytes, size, mark, sizeof(mark) - 1)

static bool tree_add(struct modules_tree *tree, const char *name, unsigned int depth)
{
	char file[PATH_MAX / 2], *bytes, *at, *save;
	size_t size;

	if (depth == TREE_DEPTH || tree->n == MODULES_MAX || !tree_find(tree, name, file))
		return false;
	tree->n++;
	fprintf(tree->out, depth == 0 ? "%s:" : " %s", file);
	bytes = tree_read(tree->dir, file, &size);
	if (!bytes)
		return true; /* whoever reads it again says why */
	tree_check(tree, file, TREE_INFO(bytes, size, "vermagic="));
	at = strtok_r(TREE_INFO(bytes, size, "\0depends="), ",", &save);
	for (; at; at = strtok_r(NULL, ",", &save))
		tree_add(tree, at, depth + 1);
	free(bytes);
	return true;
}

char *modules_tree_line(struct modules_tree *tree, const char *name)
{
	unsigned int n_stale = tree->n_stale;
	char *line = NULL;
	size_t size;
	bool found;

	tree->out = open_memstream(&line, &size);
	tree->n = 0;
	found = tree->out && tree_add(tree, name, 0);
	if ((!tree->out || fclose(tree->out) == 0) && found && tree->n_stale == n_stale)
		return line;
	free(line);
	return NULL;
}
