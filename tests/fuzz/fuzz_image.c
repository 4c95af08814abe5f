/*
 * Archives of container images: whatever is in one, it is an image whose names lie in it, or it is refused in words.
 *
 * The first byte says what the others are: an archive of docker's or an OCI layout, which is read up to the layers' entries with no regard to
 * digests; or entries of layers, of a few names that lie in one another's way.
 *
 * Fuzzes: vmm/image/image_tree.c vmm/image/image_names.c vmm/image/image_ref.c
 */
#include <assert.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/input.h"
#include "vmm/image/image_ref.h"
#include "vmm/image/image_tree.h"
#ifdef VMM_HAVE_IMAGES
#include "vmm/image/image_manifest.h"
#endif

#define MOST_ENTRIES 512

static struct image_tree tree;
static struct image_why why;

static void check_refused(int err)
{
	assert(err < 0 && err > -4096);
	assert(why.text[0] && memchr(why.text, '\0', sizeof(why.text)));
	assert(err != -ENOMEM);
}

/* ---- what a tree is ---- */

static void check_name(const struct image_tree_name *name)
{
	char path[IMAGE_MAX_PATH + 1];
	const char *text = image_tree_path(name, path);

	assert(name->parent->type == IMAGE_DIR);
	assert(name->name[0] && !strchr(name->name, '/') && strlen(name->name) <= IMAGE_MAX_NAME);
	assert(strcmp(name->name, ".") != 0 && strcmp(name->name, "..") != 0);
	assert(name->inode || name->type == IMAGE_DIR);
	assert(!name->target == (name->type != IMAGE_SYMLINK));
	assert(!name->children || name->type == IMAGE_DIR);
	assert(!name->children || name->children->parent == name);
	assert(!name->next || name->next->previous == name);
	assert(name->layer < tree.n_layers);
	/* By its whole path, which has no links in it, it is found again. */
	assert(!text || image_tree_find(&tree, text) == name);
}

static void check_tree(void)
{
	const struct image_tree_name *name = tree.root;
	size_t n = 1, named = 0, inodes = 0;

	while ((name = image_tree_next(&tree, name))) {
		check_name(name);
		n++;
		named += name->inode != NULL;
	}
	assert(n == tree.n_names);
	for (uint32_t i = 0; i < tree.n_layers; i++) {
		for (const struct image_inode *inode = tree.layers[i].first; inode;
		     inode = inode->next) {
			assert(!inode->next || inode->next->entry > inode->entry);
			for (name = inode->names; name; name = name->next_of_inode) {
				assert(name->inode == inode);
				inodes++;
			}
		}
	}
	assert(inodes == named);
}

static void apply(const struct image_tree_entry *entry)
{
	int err;

	why.text[0] = '\0';
	err = image_tree_apply(&tree, entry, &why);
	if (err < 0)
		check_refused(err);
}

/* ---- entries of a few names ---- */

static void make_path(struct fuzz_input *in, char *path, size_t size)
{
	static const char *const parts[] = {
		"a",	"b", "c", ".wh.a",	  ".wh.b", ".wh..wh..opq", ".",	     "..",
		".wh.", "",  "x", ".wh..wh.plnk", "ä",	   ".wh..",	   ".wh...", "dir"};
	uint8_t n = fuzz_u8(in);
	size_t len = 0;

	path[0] = '\0';
	if (n & 0x80)
		len += (size_t)snprintf(path, size, "/");
	for (unsigned int i = 0; i < (n & 7u) + 1; i++) {
		uint8_t part = fuzz_u8(in);
		/* some are longer than names are */
		int width = part == 0xff ? (int)fuzz_u16(in) % 5000 : 0;

		if (len + 5100 > size)
			break;
		len += (size_t)snprintf(path + len, size - len, "%*s/", width, parts[part & 15]);
	}
	if (!(n & 0x40) && len > 0)
		path[len - 1] = '\0';
}

static void run_entries(struct fuzz_input *in)
{
	static char name[65536], link[65536];
	uint64_t number = 0;

	if (image_tree_init(&tree, "archive", 4, &why) < 0)
		return;
	for (unsigned int i = 0; i < MOST_ENTRIES && fuzz_more(in); i++) {
		uint8_t what = fuzz_u8(in);
		struct image_tree_entry entry = {
			.name = name, .link = link, .type = what % 5, .entry = number++};

		make_path(in, name, sizeof(name));
		link[0] = '\0';
		if (entry.type == IMAGE_LINK || entry.type == IMAGE_SYMLINK)
			make_path(in, link, sizeof(link));
		apply(&entry);
		if (what >= 0xe0 && tree.layer + 1 < tree.n_layers) {
			image_tree_begin_layer(&tree, tree.layer + 1);
			number = 0;
		}
	}
	check_tree();
	image_tree_fini(&tree);
}

/* ---- names of images ---- */

static void run_ref(struct fuzz_input *in)
{
	struct image_ref ref;
	char text[2 * PATH_MAX];
	size_t n = fuzz_bytes(in, text, sizeof(text) - 1);
	int err;

	text[n] = '\0';
	why.text[0] = '\0';
	err = image_ref_parse(&ref, text, &why);
	assert((err == 0) <= image_ref_is(text));
	if (err < 0) {
		check_refused(err);
		return;
	}
	assert(ref.path[0] && !strchr(ref.path, ':'));
	assert(!ref.digest[0] || image_digest_is_good(ref.digest));
}

/* ---- archives ---- */

#ifdef VMM_HAVE_IMAGES
static struct image_libs libs;
static struct image_layer_reader reader;

static enum image_type type_of(struct archive_entry *entry)
{
	switch (libs.archive_entry_filetype(entry)) {
	case AE_IFDIR:
		return IMAGE_DIR;
	case AE_IFLNK:
		return IMAGE_SYMLINK;
	case AE_IFREG:
		return IMAGE_FILE;
	default:
		return IMAGE_NODE;
	}
}

static void run_layer(const struct image_source *source, const struct image_layer *layer)
{
	struct archive_entry *entry;
	uint64_t unpacked = 0, number = 0;
	int err = image_layer_open(&reader, source, layer, "a layer", &unpacked, &why);

	while (err == 0 && number < MOST_ENTRIES) {
		struct image_tree_entry what = {.entry = number++};

		err = image_layer_next(&reader, &entry);
		if (err <= 0)
			break;
		err = 0;
		what.name = libs.archive_entry_pathname(entry);
		what.link = libs.archive_entry_hardlink(entry);
		what.type = what.link ? IMAGE_LINK : type_of(entry);
		if (what.type == IMAGE_SYMLINK)
			what.link = libs.archive_entry_symlink(entry);
		if (what.name && (what.type != IMAGE_SYMLINK || what.link))
			apply(&what);
	}
	if (err == 0)
		err = image_layer_verify(&reader);
	if (err < 0)
		check_refused(err);
	image_layer_close(&reader);
}

static void run_layers(const struct image_source *source, const struct image_manifest *manifest)
{
	assert(manifest->n_layers > 0 && manifest->n_layers <= IMAGE_MAX_LAYERS);
	assert(image_digest_is_good(manifest->digest));
	assert(image_config_check(&manifest->config) == 0);
	if (image_tree_init(&tree, "archive", manifest->n_layers, &why) < 0)
		return;
	for (uint32_t i = 0; i < manifest->n_layers && i < 8; i++) {
		image_tree_begin_layer(&tree, i);
		run_layer(source, &manifest->layers[i]);
	}
	check_tree();
	image_tree_fini(&tree);
}

static void run_archive(struct fuzz_input *in, enum image_kind kind)
{
	static int fd = -1;
	struct image_ref ref = {.kind = kind};
	struct image_manifest manifest;
	struct image_source source;
	int err;

	if (!libs.handles[0] && image_libs_open(&libs, &why) < 0)
		return;
	if (fd < 0)
		fd = memfd_create("archive", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 0) < 0 || pwrite(fd, in->at, in->left, 0) < 0)
		return;
	snprintf(ref.path, sizeof(ref.path), "/proc/self/fd/%d", fd);
	why.text[0] = '\0';
	err = image_source_open(&source, &libs, &ref, &why);
	if (err == 0) {
		err = image_manifest_read(&manifest, &source, &why);
		if (err == 0)
			run_layers(&source, &manifest);
		else
			check_refused(err);
		image_manifest_fini(&manifest);
	} else {
		check_refused(err);
	}
	image_source_close(&source);
}
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {.at = data, .left = size};
	uint8_t what = fuzz_u8(&in);

	if (what == 'E')
		run_entries(&in);
	else if (what == 'R')
		run_ref(&in);
#ifdef VMM_HAVE_IMAGES
	else
		run_archive(&in, what == 'O' ? IMAGE_OCI_ARCHIVE : IMAGE_DOCKER_ARCHIVE);
#endif
	return 0;
}
