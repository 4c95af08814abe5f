#include "vmm/cli/modules_tree.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/api/vmm.h"
#include "vmm/cli/modules.h"

#define TREE_DEPTH 16 /* of what depends on one another */

struct tree {
	const char *dir;
	const char *list;
	FILE *out;
	unsigned int n; /* files in out; they may be there more than once */
};

/* What a file holds, with a zero behind it; NULL if it cannot be read. */
static char *tree_read(const char *dir, const char *name, size_t *size)
{
	char path[PATH_MAX];
	void *bytes;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return vmm_unpack_file(path, &bytes, size) == 0 ? bytes : NULL;
}

char *modules_tree_list(const char *dir)
{
	size_t size;

	return tree_read(dir, "modules.order", &size);
}

static bool tree_is_same(const char *a, size_t len, const char *name)
{
	for (; len > 0; len--, a++, name++) {
		if ((*a == '-' ? '_' : *a) != (*name == '-' ? '_' : *name))
			return false;
	}
	return *name == '\0';
}

/* Where it is in the tree: lists name it with .o or .ko, and older ones say kernel/ before it, as where it is installed. */
static bool tree_file(const struct tree *tree, const char *line, size_t len, char *file)
{
	static const char prefix[] = "kernel/";
	char path[PATH_MAX];

	for (int strip = 0; strip <= 1; strip++) {
		if (strip && strncmp(line, prefix, strlen(prefix)) != 0)
			return false;
		line += strip ? strlen(prefix) : 0;
		len -= strip ? strlen(prefix) : 0;
		snprintf(file, PATH_MAX / 2, "%.*s.ko", (int)len, line);
		snprintf(path, sizeof(path), "%.2000s/%s", tree->dir, file);
		if (access(path, R_OK) == 0)
			return true;
	}
	return false;
}

static bool tree_find(const struct tree *tree, const char *name, char *file)
{
	for (const char *line = tree->list; *line; line += strcspn(line, "\n") + 1) {
		const char *end = line + strcspn(line, "\n"), *dot = end, *base;

		while (dot > line && *dot != '.')
			dot--;
		for (base = dot; base > line && base[-1] != '/';)
			base--;
		if (tree_is_same(base, (size_t)(dot - base), name))
			return tree_file(tree, line, (size_t)(dot - line), file);
		if (!*end)
			break;
	}
	return false;
}

static bool tree_add(struct tree *tree, const char *name, unsigned int depth)
{
	static const char mark[] = "\0depends=";
	char file[PATH_MAX / 2], *bytes, *at, *save;
	size_t size;

	if (depth == TREE_DEPTH || tree->n == MODULES_MAX || !tree_find(tree, name, file))
		return false;
	tree->n++;
	fprintf(tree->out, depth == 0 ? "%s:" : " %s", file);
	bytes = tree_read(tree->dir, file, &size);
	at = bytes ? memmem(bytes, size, mark, sizeof(mark) - 1) : NULL;
	at = at ? strtok_r(at + sizeof(mark) - 1, ",", &save) : NULL;
	for (; at; at = strtok_r(NULL, ",", &save))
		tree_add(tree, at, depth + 1);
	free(bytes);
	return true;
}

char *modules_tree_line(const char *dir, const char *list, const char *name)
{
	char *line = NULL;
	size_t size;
	struct tree tree = {.dir = dir, .list = list, .out = open_memstream(&line, &size)};
	bool found = tree.out && tree_add(&tree, name, 0);

	if ((!tree.out || fclose(tree.out) == 0) && found)
		return line;
	free(line);
	return NULL;
}
