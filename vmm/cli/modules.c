#include "vmm/cli/modules.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guest/protocol.h"
#include "vmm/api/vmm.h"
#include "vmm/cli/cpio.h"
#include "vmm/cli/modules_tree.h"
#include "vmm/cli/progress.h"
#include "vmm/cli/report.h"

/* The modules that were asked for, and before them what they want to be loaded first. */
#define MODULES_MAX_NAMES 64

struct modules_name {
	char *name; /* owned */
	char *line; /* of modules.dep, owned; NULL: it is no file */
	bool builtin;
};

struct modules {
	struct modules_tree tree; /* its dir is that of installed ones too */
	size_t n_names;
	struct modules_name names[MODULES_MAX_NAMES];
	bool knows_builtin; /* the list of those was read */
	size_t n_files;
	const char *files[MODULES_MAX]; /* parts of lines, in load order */
};

/* ---- names ---- */

static char modules_letter(char c)
{
	return c == '-' ? '_' : c;
}

/* The module that path, which ends at one of " :" or NUL, is the file of: "kernel/net/NAME.ko.xz". *len is 0 for no module. */
static const char *modules_stem(const char *path, size_t *len)
{
	const char *end = path + strcspn(path, " :"), *at = end, *ko;

	while (at > path && at[-1] != '/')
		at--;
	ko = memmem(at, (size_t)(end - at), ".ko", 3);
	*len = ko ? (size_t)(ko - at) : 0;
	return at;
}

bool modules_is_name(const char *a, size_t len, const char *b)
{
	for (; len > 0 && modules_letter(*a) == modules_letter(*b); len--) {
		a++;
		b++;
	}
	return len == 0 && *b == '\0';
}

static bool modules_is_same(const char *a, const char *b)
{
	return modules_is_name(a, strlen(a), b);
}

static void modules_add_name(struct modules *m, const char *name)
{
	for (size_t i = 0; i < m->n_names; i++) {
		if (modules_is_same(m->names[i].name, name))
			return;
	}
	/* More are of no use: they would not fit into the archive. */
	if (m->n_names < MODULES_MAX_NAMES) {
		m->names[m->n_names].name = strdup(name);
		if (m->names[m->n_names].name)
			m->n_names++;
	}
}

/* ---- depmod's files ---- */

typedef void modules_line_fn(struct modules *m, char *line, void *arg);

/* Calls fn for each line, without its newline, that is no comment. Returns 0 or negative errno. */
static int modules_read(struct modules *m, const char *file, modules_line_fn *fn, void *arg)
{
	char path[PATH_MAX], *line = NULL;
	size_t room = 0;
	ssize_t len;
	FILE *in;

	snprintf(path, sizeof(path), "%s/%s", m->tree.dir, file);
	in = fopen(path, "re");
	if (!in)
		return -errno;
	while ((len = getline(&line, &room, in)) >= 0) {
		if (len > 0 && line[len - 1] == '\n')
			line[len - 1] = '\0';
		if (line[0] != '#')
			fn(m, line, arg);
	}
	free(line);
	fclose(in);
	return 0;
}

/* "kernel/a/NAME.ko.xz: kernel/b/OTHER.ko.xz ..." */
static void modules_on_dep(struct modules *m, char *line, void *arg)
{
	size_t len;
	const char *stem = modules_stem(line, &len);

	(void)arg;
	for (size_t i = 0; i < m->n_names; i++) {
		struct modules_name *n = &m->names[i];

		if (!n->line && modules_is_name(stem, len, n->name) && strchr(line, ':'))
			n->line = strdup(line);
	}
}

/* "kernel/a/NAME.ko" */
static void modules_on_builtin(struct modules *m, char *line, void *arg)
{
	size_t len;
	const char *stem = modules_stem(line, &len);

	(void)arg;
	for (size_t i = 0; i < m->n_names; i++) {
		if (modules_is_name(stem, len, m->names[i].name))
			m->names[i].builtin = true;
	}
}

struct modules_asked {
	const struct module *modules;
	size_t n;
};

/* "softdep NAME pre: A B post: C" */
static void modules_on_softdep(struct modules *m, char *line, void *arg)
{
	const struct modules_asked *asked = arg;
	char *save, *word = strtok_r(line, " \t", &save);
	bool pre = false, wanted = false;

	if (!word || strcmp(word, "softdep") != 0 || !(word = strtok_r(NULL, " \t", &save)))
		return;
	for (size_t i = 0; i < asked->n; i++)
		wanted = wanted || modules_is_same(asked->modules[i].name, word);
	while (wanted && (word = strtok_r(NULL, " \t", &save))) {
		if (strchr(word, ':'))
			pre = strcmp(word, "pre:") == 0;
		else if (pre)
			modules_add_name(m, word);
	}
}

/* "alias NAME MODULE": what is wanted first may be no module's name (crc32c). */
static void modules_on_alias(struct modules *m, char *line, void *arg)
{
	size_t n_soft = *(size_t *)arg;
	char *save, *name, *module;

	if (strncmp(line, "alias ", 6) != 0)
		return;
	name = strtok_r(line + 6, " \t", &save);
	module = name ? strtok_r(NULL, " \t", &save) : NULL;
	for (size_t i = 0; module && i < n_soft; i++) {
		if (modules_is_same(m->names[i].name, name))
			modules_add_name(m, module);
	}
}

/* Where nothing is installed. Returns 0 or -ENOENT. */
static int modules_find_in_tree(struct modules *m)
{
	int err = modules_tree_open(&m->tree);

	for (size_t i = 0; i < m->n_names && err == 0; i++) {
		if (!m->names[i].builtin) /* what was one before may still lie there */
			m->names[i].line = modules_tree_line(&m->tree, m->names[i].name);
	}
	free(m->tree.list);
	return err;
}

static int modules_find(struct modules *m, const struct module *modules, size_t n)
{
	struct modules_asked asked = {.modules = modules, .n = n};
	size_t n_soft;
	int err;

	modules_read(m, "modules.softdep", modules_on_softdep, &asked);
	n_soft = m->n_names;
	if (n_soft > 0)
		modules_read(m, "modules.alias", modules_on_alias, &n_soft);
	for (size_t i = 0; i < n; i++)
		modules_add_name(m, modules[i].name);
	m->knows_builtin = modules_read(m, "modules.builtin", modules_on_builtin, NULL) == 0;
	err = modules_read(m, "modules.dep", modules_on_dep, NULL);
	if (err == -ENOENT)
		err = modules_find_in_tree(m);
	if (err == -ENOENT)
		report("there is no '%s/modules.dep', which tells what modules the kernel has; "
		       "make it with: sudo depmod %s",
		       m->tree.dir, m->tree.release);
	else if (err < 0)
		report_failure(err, "cannot read '%s/modules.dep'", m->tree.dir);
	return err;
}

static enum module_state modules_state(const struct modules *m, const char *name)
{
	for (size_t i = 0; i < m->n_names; i++) {
		const struct modules_name *n = &m->names[i];

		if (!modules_is_same(n->name, name))
			continue;
		if (n->builtin)
			return MODULE_BUILTIN;
		if (n->line)
			return MODULE_FILE;
		break;
	}
	return m->knows_builtin ? MODULE_MISSING : MODULE_UNKNOWN;
}

/* ---- the archive ---- */

/* A file or directory, as mode says. */
static int modules_put(FILE *out, const char *name, uint32_t mode, const void *data, size_t size)
{
	struct cpio_entry entry = {.name = name, .mode = mode, .links = 1, .size = (uint32_t)size};
	uint8_t *bytes = malloc(cpio_size(name, size));

	if (!bytes) {
		report("out of memory");
		return -ENOMEM;
	}
	fwrite(bytes, 1, (size_t)(cpio_write(bytes, &entry, data) - bytes), out);
	free(bytes);
	return 0;
}

static void modules_end(FILE *out)
{
	uint8_t bytes[128];

	fwrite(bytes, 1, (size_t)(cpio_end(bytes) - bytes), out);
}

/* ---- the files ---- */

static int modules_add_file(struct modules *m, const char *file)
{
	for (size_t i = 0; i < m->n_files; i++) {
		if (strcmp(m->files[i], file) == 0)
			return 0;
	}
	if (m->n_files == MODULES_MAX) {
		report("the guest would need more than %d modules of '%s'", MODULES_MAX,
		       m->tree.dir);
		return -E2BIG;
	}
	m->files[m->n_files++] = file;
	return 0;
}

/* What a module depends on is listed with the deepest last. */
static int modules_add_line(struct modules *m, char *line)
{
	char *colon = strchr(line, ':'), *at;
	int err = 0;

	*colon = '\0';
	while (err == 0 && (at = strrchr(colon + 1, ' '))) {
		if (at[1])
			err = modules_add_file(m, at + 1);
		*at = '\0';
	}
	return err == 0 ? modules_add_file(m, line) : err;
}

static int modules_order(struct modules *m)
{
	int err = 0;

	for (size_t i = 0; i < m->n_names && err == 0; i++) {
		if (m->names[i].line && !m->names[i].builtin)
			err = modules_add_line(m, m->names[i].line);
	}
	return err;
}

static int modules_pack_file(const struct modules *m, size_t number, FILE *out)
{
	const char *file = m->files[number], *base = strrchr(file, '/'), *end;
	char path[PATH_MAX], name[NAME_MAX + 32];
	void *bytes;
	size_t size;
	int err;

	progress_step("unpacking modules", "");
	snprintf(path, sizeof(path), "%s%s%s", file[0] == '/' ? "" : m->tree.dir,
		 file[0] == '/' ? "" : "/", file);
	base = base ? base + 1 : file;
	end = strstr(base, ".ko");
	err = vmm_unpack_file(path, &bytes, &size);
	if (err == -ENOTSUP)
		report("cannot unpack module '%s': this vmm knows no such format, or its library "
		       "is not installed",
		       path);
	else if (err < 0)
		report("cannot read module '%s': %s", path,
		       err == -EBADMSG ? "it is damaged" : strerror(-err));
	if (err < 0)
		return err;
	snprintf(name, sizeof(name), "%s/%02zu-%.*s.ko", &GUEST_MODULES[1], number,
		 end ? (int)(end - base) : (int)strlen(base), base);
	err = modules_put(out, name, S_IFREG | 0644, bytes, size);
	free(bytes);
	return err;
}

static int modules_pack(struct modules *m, FILE *out)
{
	int err = modules_order(m);

	if (err < 0 || m->n_files == 0)
		return err;
	err = modules_put(out, &GUEST_DIR[1], S_IFDIR | 0755, NULL, 0);
	if (err == 0)
		err = modules_put(out, &GUEST_MODULES[1], S_IFDIR | 0755, NULL, 0);
	for (size_t i = 0; i < m->n_files && err == 0; i++)
		err = modules_pack_file(m, i, out);
	modules_end(out);
	return err;
}

int modules_gather(const char *dir, const char *release, struct module *modules, size_t n,
		   FILE *out)
{
	struct modules m = {.tree = {.dir = dir, .release = release}};
	int err = modules_find(&m, modules, n);

	for (size_t i = 0; i < n && err == 0; i++)
		modules[i].state = modules_state(&m, modules[i].name);
	if (err == 0 && out)
		err = modules_pack(&m, out);
	for (size_t i = 0; i < m.n_names; i++) {
		free(m.names[i].name);
		free(m.names[i].line);
	}
	return err;
}
