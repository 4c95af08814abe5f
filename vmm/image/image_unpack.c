#include "vmm/image/image_unpack.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define STEP	 1024  /* entries between two looks at the clock */
#define MAX_KEPT 65536 /* bytes of a file whose text is kept */

/* What tells of the image's users. */
struct image_kept {
	const struct image_inode *inode; /* NULL: there is no such file */
	bool known;			 /* all of its text */
	size_t n;
	char text[MAX_KEPT + 1];
};

struct image_unpack {
	const struct image_source *source;
	const struct image_libs *libs;
	struct image_manifest *manifest;
	const struct image_progress *progress;
	struct image_why *why;
	struct archive *out;
	bool gone;	   /* nobody takes what we write */
	uint64_t unpacked; /* by the layers so far */
	uint64_t files;	   /* bytes in files so far */
	struct image_tool tool;
	struct image_layer_reader reader;
	struct image_tree tree;
	struct image_kept kept[2]; /* /etc/passwd and /etc/group */
	char of[64];		   /* the layer, in words */
	char path[IMAGE_MAX_PATH + 1];
	char bytes[65536];
};

typedef int image_entry_fn(struct image_unpack *u, struct archive_entry *entry, uint64_t number);

static int image_unpack_refuse(struct image_unpack *u, const char *name, const char *what)
{
	return image_fail(u->why, -EINVAL, "'%s', %s: '%.200s' %s", u->source->ref->path, u->of,
			  name, what);
}

static bool image_unpack_stops(void *arg)
{
	struct image_unpack *u = arg;

	return u->tool.pid > 0 && image_tool_is_interrupted(&u->tool);
}

/* Each entry of the layer, then whether it was the layer that was meant. */
static int image_unpack_layer(struct image_unpack *u, uint32_t layer, const char *what,
			      image_entry_fn *fn)
{
	struct archive_entry *entry;
	uint64_t number = 0;
	int err;

	snprintf(u->of, sizeof(u->of), "layer %u of %u", layer + 1, u->manifest->n_layers);
	u->tree.layer = layer;
	err = image_layer_open(&u->reader, u->source, &u->manifest->layers[layer], u->of,
			       &u->unpacked, u->why);
	while (err == 0) {
		err = image_layer_next(&u->reader, &entry);
		if (err <= 0)
			break;
		if (number % STEP == 0)
			image_progress(u->progress, what, u->of);
		err = fn(u, entry, number++);
	}
	if (err == 0)
		err = image_layer_verify(&u->reader);
	image_layer_close(&u->reader);
	return err;
}

/* ---- the first time: names ---- */

static int image_unpack_type(struct image_unpack *u, struct archive_entry *entry,
			     struct image_tree_entry *to)
{
	to->link = u->libs->archive_entry_hardlink(entry);
	to->type = IMAGE_LINK;
	if (to->link)
		return 0;
	switch (u->libs->archive_entry_filetype(entry)) {
	case AE_IFREG:
		to->type = IMAGE_FILE;
		return 0;
	case AE_IFDIR:
		to->type = IMAGE_DIR;
		return 0;
	case AE_IFLNK:
		to->type = IMAGE_SYMLINK;
		to->link = u->libs->archive_entry_symlink(entry);
		return to->link ? 0 : image_unpack_refuse(u, to->name, "is a link to nowhere");
	case AE_IFCHR:
	case AE_IFBLK:
	case AE_IFIFO:
		to->type = IMAGE_NODE;
		return 0;
	default:
		return image_unpack_refuse(u, to->name, "is of a kind that no image has");
	}
}

static int image_unpack_name(struct image_unpack *u, struct archive_entry *entry, uint64_t number)
{
	struct image_tree_entry what = {.name = u->libs->archive_entry_pathname(entry),
					.entry = number};
	int64_t size = u->libs->archive_entry_size(entry);
	int err;

	if (!what.name)
		return image_unpack_refuse(u, "", "is no name");
	err = image_unpack_type(u, entry, &what);
	if (err < 0)
		return err;
	/* A file with holes may be larger than all that is in the archive. */
	if (what.type == IMAGE_FILE && (size < 0 || (uint64_t)size > IMAGE_MAX_BYTES - u->files))
		return image_unpack_refuse(u, what.name, "makes the image larger than vmm unpacks");
	if (what.type == IMAGE_FILE)
		u->files += (uint64_t)size;
	return image_tree_apply(&u->tree, &what, u->why);
}

/* ---- the second time: what is in them ---- */

static int image_unpack_header(struct image_unpack *u, struct archive_entry *entry)
{
	int result = u->libs->archive_write_header(u->out, entry);
	const char *text = u->libs->archive_error_string(u->out);

	if (result >= ARCHIVE_WARN)
		return 0;
	return image_fail(u->why, -EIO, "'%s', %s: cannot write '%.200s': %s", u->source->ref->path,
			  u->of, u->path, text ? text : "for no reason");
}

/* A link leads where the guest knows. */
static void image_unpack_find_kept(struct image_unpack *u)
{
	static const char *const paths[] = {"etc/passwd", "etc/group"};

	for (unsigned int i = 0; i < 2; i++) {
		const struct image_tree_name *name = image_tree_find(&u->tree, paths[i]);

		u->kept[i].known = !name || name->type == IMAGE_FILE;
		u->kept[i].inode = name ? name->inode : NULL;
	}
}

static void image_unpack_keep(struct image_unpack *u, const struct image_inode *inode, size_t n)
{
	for (unsigned int i = 0; i < 2; i++) {
		struct image_kept *kept = &u->kept[i];

		if (kept->inode != inode)
			continue;
		kept->known &= n <= MAX_KEPT - kept->n;
		if (kept->known)
			memcpy(kept->text + kept->n, u->bytes, n);
		kept->n += kept->known ? n : 0;
	}
}

/* Whether the user is among them can be said before the guest looks. */
static int image_unpack_tell_kept(struct image_unpack *u)
{
	struct image_config *config = &u->manifest->config;
	int err;

	if (!*image_config_string(config, IMAGE_CONFIG_USER) || !u->kept[0].known ||
	    !u->kept[1].known || config->size + u->kept[0].n + u->kept[1].n + 2 > IMAGE_MAX_CONFIG)
		return 0;
	err = image_config_add(config, u->kept[0].text);
	if (err == 0)
		err = image_config_add(config, u->kept[1].text);
	return err == 0 ? 0 : image_fail(u->why, err, "out of memory");
}

static int image_unpack_data(struct image_unpack *u, const struct image_inode *inode, uint64_t size)
{
	while (size > 0) {
		size_t want = size < sizeof(u->bytes) ? (size_t)size : sizeof(u->bytes);
		long n = image_layer_read(&u->reader, u->bytes, want);

		if (n < 0)
			return (int)n;
		if (n == 0)
			return image_unpack_refuse(u, u->path, "is cut off");
		image_unpack_keep(u, inode, (size_t)n);
		if (u->libs->archive_write_data(u->out, u->bytes, (size_t)n) < n)
			return image_fail(u->why, -EPIPE, "'%s' takes no more", u->tool.name);
		size -= (uint64_t)n;
	}
	return 0;
}

/* Names of the same file, after the first. */
static int image_unpack_links(struct image_unpack *u, const struct image_inode *inode,
			      const char *first)
{
	struct archive_entry *entry;
	char path[IMAGE_MAX_PATH + 1];
	const char *to;
	int err = 0;

	for (const struct image_tree_name *n = inode->names->next_of_inode; n && err == 0;
	     n = n->next_of_inode) {
		entry = u->libs->archive_entry_new();
		to = image_tree_path(n, path);
		if (!entry || !to)
			return image_unpack_refuse(u, n->name, "is too long a name");
		u->libs->archive_entry_set_pathname(entry, to);
		u->libs->archive_entry_set_filetype(entry, AE_IFREG);
		u->libs->archive_entry_set_size(entry, 0);
		u->libs->archive_entry_set_hardlink(entry, first);
		err = image_unpack_header(u, entry);
		u->libs->archive_entry_free(entry);
	}
	return err;
}

static int image_unpack_inode(struct image_unpack *u, const struct image_inode *inode,
			      struct archive_entry *entry)
{
	bool file = u->libs->archive_entry_filetype(entry) == AE_IFREG;
	int64_t size = u->libs->archive_entry_size(entry);
	time_t mtime = u->libs->archive_entry_mtime(entry);
	const char *path = image_tree_path(inode->names, u->path);
	int err;

	if (!path)
		return image_unpack_refuse(u, inode->names->name, "is too long a name");
	memmove(u->path, path, strlen(path) + 1);
	u->libs->archive_entry_set_pathname(entry, u->path);
	/* Names of users are none of the host's. */
	u->libs->archive_entry_set_uname(entry, NULL);
	u->libs->archive_entry_set_gname(entry, NULL);
	u->libs->archive_entry_sparse_clear(entry);
	/* A squashfs has times from 1970 on; sqfstar refuses those from 2038 on, too. */
	if (mtime < 0 || mtime >= INT32_MAX)
		u->libs->archive_entry_set_mtime(entry, mtime < 0 ? 0 : INT32_MAX - 1, 0);
	err = image_unpack_header(u, entry);
	if (err == 0 && file)
		err = image_unpack_data(u, inode, (uint64_t)size);
	return err == 0 ? image_unpack_links(u, inode, u->path) : err;
}

/* The layer's inodes come in the order of its entries. */
static int image_unpack_entry(struct image_unpack *u, struct archive_entry *entry, uint64_t number)
{
	struct image_inode **at = &u->tree.layers[u->tree.layer].last;
	const struct image_inode *inode = *at;

	if (!inode || inode->entry != number)
		return 0;
	*at = inode->next;
	return inode->names ? image_unpack_inode(u, inode, entry) : 0;
}

/* Directories of which nothing is known but that something lies in them. */
static int image_unpack_implied(struct image_unpack *u)
{
	const struct image_tree_name *name = NULL;
	struct archive_entry *entry;
	const char *path;
	int err = 0;

	snprintf(u->of, sizeof(u->of), "its directories");
	while (err == 0 && (name = image_tree_next(&u->tree, name))) {
		if (name->inode || !name->parent)
			continue;
		path = image_tree_path(name, u->path);
		entry = u->libs->archive_entry_new();
		if (!path || !entry)
			return image_unpack_refuse(u, name->name, "is too long a name");
		u->libs->archive_entry_set_pathname(entry, path);
		u->libs->archive_entry_set_filetype(entry, AE_IFDIR);
		u->libs->archive_entry_set_perm(entry, 0755);
		err = image_unpack_header(u, entry);
		u->libs->archive_entry_free(entry);
	}
	return err;
}

static la_ssize_t image_unpack_write(struct archive *a, void *arg, const void *bytes, size_t size)
{
	struct image_unpack *u = arg;

	if (image_tool_write(&u->tool, bytes, size) == 0)
		return (la_ssize_t)size;
	u->gone = true;
	u->libs->archive_set_error(a, EPIPE, "%s takes no more", u->tool.name);
	return -1;
}

static int image_unpack_begin_output(struct image_unpack *u, int file)
{
	static char *const argv[] = {
		IMAGE_SQFSTAR,	   "-comp", "lz4",	 "-force", "-quiet",	"-no-progress",
		"-root-mode",	   "755",   "-root-uid", "0",	   "-root-gid", "0",
		"/proc/self/fd/3", NULL};
	const struct image_libs *libs = u->libs;
	int err;

	err = image_tool_start(&u->tool, argv, file, true, u->why);
	if (err < 0)
		return err;
	u->out = libs->archive_write_new();
	if (!u->out || libs->archive_write_set_format_pax_restricted(u->out) < ARCHIVE_WARN)
		return image_fail(u->why, -ENOMEM, "out of memory");
	/* Names are bytes, whatever our locale. */
	libs->archive_write_set_options(u->out, "hdrcharset=BINARY,xattrheader=SCHILY");
	if (libs->archive_write_open(u->out, u, NULL, image_unpack_write, NULL) < ARCHIVE_WARN)
		return image_fail(u->why, -EIO, "cannot write to '%s'", u->tool.name);
	return 0;
}

static int image_unpack_second(struct image_unpack *u, int file)
{
	int err = image_unpack_begin_output(u, file), said;

	/* What is to come next of each layer. */
	for (uint32_t i = 0; i < u->manifest->n_layers; i++)
		u->tree.layers[i].last = u->tree.layers[i].first;
	u->unpacked = 0;
	image_unpack_find_kept(u);
	if (err == 0)
		err = image_unpack_implied(u);
	for (uint32_t i = 0; i < u->manifest->n_layers && err == 0; i++) {
		if (u->tree.layers[i].first)
			err = image_unpack_layer(u, i, "unpacking", image_unpack_entry);
	}
	if (err == 0 && u->libs->archive_write_close(u->out) < ARCHIVE_WARN)
		err = image_fail(u->why, -EPIPE, "'%s' takes no more", u->tool.name);
	if (err < 0 && !u->gone && u->tool.pid > 0) {
		image_tool_abandon(&u->tool);
	} else if (u->tool.pid > 0) {
		/* It knows why it takes no more. */
		said = image_tool_finish(&u->tool, u->progress, u->why);
		err = said < 0 ? said : err;
	}
	if (err == 0)
		err = image_unpack_tell_kept(u);
	if (u->out)
		u->libs->archive_write_free(u->out);
	return err;
}

int image_unpack(const struct image_source *source, struct image_manifest *manifest, int file,
		 const char *path, const struct image_progress *progress, struct image_why *why)
{
	struct image_unpack *u = calloc(1, sizeof(*u));
	int err;

	if (!u)
		return image_fail(why, -ENOMEM, "out of memory");
	u->source = source;
	u->libs = source->libs;
	u->manifest = manifest;
	u->progress = progress;
	u->why = why;
	u->tool = (struct image_tool){
		.name = IMAGE_SQFSTAR, .package = "squashfs-tools", .pid = -1, .remove = path};
	u->reader.stops = image_unpack_stops;
	u->reader.stops_arg = u;
	err = image_tool_check(&u->tool, why);
	if (err == 0)
		err = image_tree_init(&u->tree, source->ref->path, manifest->n_layers, why);
	for (uint32_t i = 0; i < manifest->n_layers && err == 0; i++)
		err = image_unpack_layer(u, i, "checking", image_unpack_name);
	if (err == 0)
		err = image_unpack_second(u, file);
	image_tree_fini(&u->tree);
	free(u);
	return err;
}
