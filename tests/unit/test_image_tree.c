/* How images are called, and how their layers are merged. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/image/image_config.h"
#include "vmm/image/image_ref.h"
#include "vmm/image/image_tree.h"

/* ---- names of images ---- */

START_TEST(refs)
{
	static const char hex[] =
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	struct image_ref ref;
	struct image_why why;
	char text[256];

	ck_assert(image_ref_is("docker-archive:x") && image_ref_is("oci:") &&
		  image_ref_is("oci-archive:/x"));
	ck_assert(!image_ref_is("docker-archive") && !image_ref_is("/oci:x") &&
		  !image_ref_is("x.tar"));
	ck_assert_int_eq(image_ref_parse(&ref, "docker-archive:/a/b.tar", &why), 0);
	ck_assert_int_eq(ref.kind, IMAGE_DOCKER_ARCHIVE);
	ck_assert_str_eq(ref.path, "/a/b.tar");
	ck_assert_str_eq(ref.name, "");
	ck_assert_int_eq(image_ref_parse(&ref, "oci-archive:b.tar:a/b:1", &why), 0);
	ck_assert_int_eq(ref.kind, IMAGE_OCI_ARCHIVE);
	ck_assert_str_eq(ref.path, "b.tar");
	ck_assert_str_eq(ref.name, "a/b:1");
	snprintf(text, sizeof(text), "oci:dir@sha256:%s", hex);
	ck_assert_int_eq(image_ref_parse(&ref, text, &why), 0);
	ck_assert_int_eq(ref.kind, IMAGE_OCI_DIR);
	ck_assert_str_eq(ref.path, "dir");
	ck_assert_str_eq(ref.name, "");
	ck_assert_str_eq(ref.digest + 7, hex);
	ck_assert_int_eq(image_ref_parse(&ref, "oci:dir@sha256:12", &why), -EINVAL);
	ck_assert_int_eq(image_ref_parse(&ref, "oci:", &why), -EINVAL);
	ck_assert_int_eq(image_ref_parse(&ref, "docker-archive::x", &why), -EINVAL);
	ck_assert_int_eq(image_ref_parse(&ref, "x.tar", &why), -EINVAL);
	ck_assert(!image_digest_is_good("sha256:") && !image_digest_is_good("sha512:0"));
	snprintf(text, sizeof(text), "sha256:%s0", hex);
	ck_assert(!image_digest_is_good(text));
	text[7] = 'A';
	text[71] = '\0';
	ck_assert(!image_digest_is_good(text));
}
END_TEST

START_TEST(config_strings)
{
	struct image_config config = {.n_cmd = 1};
	char *large = malloc(IMAGE_MAX_CONFIG);

	for (unsigned int i = 0; i < IMAGE_CONFIG_STRINGS; i++)
		ck_assert_int_eq(image_config_add(&config, i ? "x" : ""), 0);
	ck_assert_int_eq(image_config_check(&config), -EINVAL);
	ck_assert_int_eq(image_config_add(&config, "cmd"), 0);
	ck_assert_int_eq(image_config_check(&config), 0);
	ck_assert_str_eq(image_config_string(&config, 0), "");
	ck_assert_str_eq(image_config_string(&config, IMAGE_CONFIG_STRINGS), "cmd");
	ck_assert_ptr_null(image_config_string(&config, IMAGE_CONFIG_STRINGS + 1));
	/* the texts about users: both or none, as in what an older vmm has kept */
	ck_assert_int_eq(image_config_add(&config, "passwd"), 0);
	ck_assert_int_eq(image_config_check(&config), -EINVAL);
	ck_assert_int_eq(image_config_add(&config, "group"), 0);
	ck_assert_int_eq(image_config_check(&config), 0);
	ck_assert_str_eq(image_config_string(&config, image_config_end(&config)), "passwd");
	memset(large, 'x', IMAGE_MAX_CONFIG - 1);
	large[IMAGE_MAX_CONFIG - 1] = '\0';
	ck_assert_int_eq(image_config_add(&config, large), -E2BIG);
	config.n_env = UINT32_MAX;
	ck_assert_int_eq(image_config_check(&config), -EINVAL);
	image_config_fini(&config);
	free(large);
}
END_TEST

/* ---- layers ---- */

static struct image_tree tree;
static struct image_why why;
static uint64_t entry;

static void begin(void)
{
	ck_assert_int_eq(image_tree_init(&tree, "x.tar", 3, &why), 0);
	entry = 0;
}

static void end(void)
{
	image_tree_fini(&tree);
}

static int put(enum image_type type, const char *name, const char *link)
{
	struct image_tree_entry e = {.name = name, .link = link, .type = type, .entry = entry++};

	return image_tree_apply(&tree, &e, &why);
}

static int dir(const char *name)
{
	return put(IMAGE_DIR, name, NULL);
}

static int file(const char *name)
{
	return put(IMAGE_FILE, name, NULL);
}

static void layer(uint32_t n)
{
	image_tree_begin_layer(&tree, n);
	entry = 0;
}

/* The names that are left, sorted by nobody: each has to be there, and no other. */
static void is(const char *const *names, size_t n)
{
	const struct image_tree_name *name = NULL;
	char path[IMAGE_MAX_PATH + 1];
	size_t seen = 0;

	while ((name = image_tree_next(&tree, name))) {
		const char *text = image_tree_path(name, path);
		bool found = !*text;

		for (size_t i = 0; i < n; i++)
			found |= strcmp(names[i], text) == 0;
		ck_assert_msg(found, "'%s' is left", text);
		seen++;
	}
	ck_assert_uint_eq(seen, n + 1);
	ck_assert_uint_eq(tree.n_names, n + 1);
}

#define IS(...)                                                                                    \
	do {                                                                                       \
		static const char *const names_[] = {__VA_ARGS__};                                 \
		is(names_, sizeof(names_) / sizeof(names_[0]));                                    \
	} while (0)

START_TEST(merges)
{
	ck_assert_int_eq(dir("./"), 0);
	ck_assert_int_eq(dir("a"), 0);
	ck_assert_int_eq(file("a/f"), 0);
	ck_assert_int_eq(file("/a/g/"), 0);
	ck_assert_int_eq(file("deep/er/f"), 0);
	IS("a", "a/f", "a/g", "deep", "deep/er", "deep/er/f");
	ck_assert_ptr_null(image_tree_find(&tree, "deep")->inode);
	layer(1);
	/* a directory keeps what is in it; a file replaces all */
	ck_assert_int_eq(dir("a"), 0);
	ck_assert_int_eq(file("a/f"), 0);
	ck_assert_int_eq(file("deep"), 0);
	IS("a", "a/f", "a/g", "deep");
	ck_assert_uint_eq(image_tree_find(&tree, "a/f")->inode->entry, 1);
	ck_assert_ptr_eq(image_tree_find(&tree, "a/f")->inode, tree.layers[1].first->next);
	/* nothing is left of the first layer's a and a/f */
	ck_assert_ptr_null(tree.layers[0].first->names);
	ck_assert_ptr_null(tree.layers[0].first->next->names);
	ck_assert_ptr_nonnull(tree.layers[0].first->next->next->names);
	layer(2);
	ck_assert_int_eq(dir("deep/"), 0);
	ck_assert_int_eq(put(IMAGE_SYMLINK, "a", "/b"), 0);
	IS("a", "deep");
	ck_assert_int_eq(image_tree_find(&tree, "a")->type, IMAGE_SYMLINK);
}
END_TEST

START_TEST(whiteouts)
{
	file("a/f");
	file("a/g");
	file("b/f");
	file("b/d/f");
	file("c");
	file(".wh.c");
	ck_assert_int_eq(file(".wh.none"), 0);
	ck_assert_int_eq(file("none/.wh.f"), 0);
	ck_assert_int_eq(file("c/.wh.f"), 0); /* in what is no directory: nothing */
	/* of this layer nothing goes */
	IS("a", "a/f", "a/g", "b", "b/f", "b/d", "b/d/f", "c");
	layer(1);
	ck_assert_int_eq(file("a/.wh.f"), 0);
	ck_assert_int_eq(file("a/f2"), 0);
	/* whatever comes first: what this layer has stays */
	ck_assert_int_eq(file("b/d/mine"), 0);
	ck_assert_int_eq(file("b/.wh..wh..opq"), 0);
	ck_assert_int_eq(file("b/too"), 0);
	ck_assert_int_eq(file(".wh.c"), 0);
	ck_assert_int_eq(file(".wh..wh.plnk"), 0);
	IS("a", "a/g", "a/f2", "b", "b/d", "b/d/mine", "b/too");
	ck_assert_int_eq(file(".wh."), -EINVAL);
	ck_assert_int_eq(file("a/.wh.."), -EINVAL);
	ck_assert_int_eq(file("a/.wh..."), -EINVAL);
	layer(2);
	ck_assert_int_eq(file(".wh.a"), 0);
	ck_assert_int_eq(file(".wh..wh..opq"), 0);
	ck_assert_uint_eq(tree.n_names, 1);
}
END_TEST

START_TEST(hard_links)
{
	file("a");
	ck_assert_int_eq(put(IMAGE_LINK, "b", "a"), 0);
	ck_assert_int_eq(put(IMAGE_LINK, "c", "./b"), 0);
	ck_assert_int_eq(put(IMAGE_LINK, "a", "/a"), 0); /* to itself */
	ck_assert_ptr_eq(image_tree_find(&tree, "a")->inode, image_tree_find(&tree, "c")->inode);
	layer(1);
	/* to a lower layer's; and what is replaced goes on under its other names */
	ck_assert_int_eq(put(IMAGE_LINK, "d", "a"), 0);
	file("a");
	ck_assert_ptr_eq(image_tree_find(&tree, "d")->inode, tree.layers[0].first);
	ck_assert_ptr_ne(image_tree_find(&tree, "a")->inode, tree.layers[0].first);
	file(".wh.b");
	file(".wh.c");
	ck_assert_ptr_eq(tree.layers[0].first->names, image_tree_find(&tree, "d"));
	layer(2);
	file(".wh.d");
	ck_assert_ptr_null(tree.layers[0].first->names);
	/* a name that its own target lies in */
	file("dir/f");
	ck_assert_int_eq(put(IMAGE_LINK, "dir", "dir/f"), 0);
	IS("a", "dir");
	put(IMAGE_SYMLINK, "s", "x");
	ck_assert_int_eq(put(IMAGE_LINK, "t", "s"), 0);
	ck_assert_str_eq(image_tree_find(&tree, "t")->target, "x");
	ck_assert_int_eq(put(IMAGE_LINK, "l", "none"), -EINVAL);
	ck_assert_ptr_nonnull(
		strstr(why.text, "layer 3 of 3: 'l' is a hard link to what is not there"));
	ck_assert_int_eq(put(IMAGE_LINK, "l", "none/none"), -EINVAL);
	ck_assert_int_eq(put(IMAGE_LINK, "l", "../x"), -EINVAL);
	ck_assert_int_eq(put(IMAGE_LINK, "l", "../../etc/shadow"), -EINVAL);
	ck_assert_int_eq(put(IMAGE_LINK, "l", ""), -EINVAL);
	dir("e");
	ck_assert_int_eq(put(IMAGE_LINK, "l", "e"), -EINVAL);
}
END_TEST

START_TEST(links_in_the_way)
{
	dir("usr/lib");
	put(IMAGE_SYMLINK, "lib", "usr/lib");
	put(IMAGE_SYMLINK, "usr/up", "../../../usr/./lib");
	put(IMAGE_SYMLINK, "abs", "/usr");
	layer(1);
	ck_assert_int_eq(file("lib/a"), 0);
	ck_assert_int_eq(file("usr/up/b"), 0);
	ck_assert_int_eq(file("abs/up/c"), 0);
	IS("usr", "usr/lib", "lib", "usr/up", "abs", "usr/lib/a", "usr/lib/b", "usr/lib/c");
	put(IMAGE_SYMLINK, "x", "y");
	put(IMAGE_SYMLINK, "y", "x");
	ck_assert_int_eq(file("x/f"), -EINVAL);
	ck_assert_ptr_nonnull(strstr(why.text, "'x/f' is behind too many links"));
	/* to nowhere: it is made there, as it would be in the image */
	put(IMAGE_SYMLINK, "z", "/new/place");
	ck_assert_int_eq(file("z/f"), 0);
	ck_assert_ptr_nonnull(image_tree_find(&tree, "new/place/f"));
	/* a link itself is replaced, not followed */
	ck_assert_int_eq(dir("lib"), 0);
	ck_assert_int_eq(image_tree_find(&tree, "lib")->type, IMAGE_DIR);
	ck_assert_ptr_nonnull(image_tree_find(&tree, "usr/lib/a"));
}
END_TEST

START_TEST(hostile_names)
{
	static const char *const names[] = {"..",    "../x",   "a/../../x", "a/..",
					    "/..",   "./../x", "a/b/../c",  "../",
					    "a/../", "f/x",    "f/x/y",	    "f/"};
	char name[IMAGE_MAX_PATH + 10];

	file("f");
	for (size_t i = 0; i + 1 < sizeof(names) / sizeof(names[0]); i++) {
		ck_assert_msg(file(names[i]) == -EINVAL, "'%s' is taken", names[i]);
		ck_assert_ptr_nonnull(strstr(why.text, "'x.tar', layer 1 of 3: '"));
	}
	ck_assert_int_eq(file("/"), -EINVAL);
	ck_assert_int_eq(file(""), -EINVAL);
	ck_assert_int_eq(file("./."), -EINVAL);
	ck_assert_int_eq(put(IMAGE_SYMLINK, "l", ""), -EINVAL);
	memset(name, 'x', sizeof(name));
	name[IMAGE_MAX_NAME + 1] = '\0';
	ck_assert_int_eq(file(name), -EINVAL);
	name[IMAGE_MAX_NAME] = '\0';
	ck_assert_int_eq(file(name), 0);
	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = i % 2 ? '/' : 'd';
	name[IMAGE_MAX_PATH + 1] = '\0';
	ck_assert_int_eq(file(name), -EINVAL);
	name[IMAGE_MAX_PATH] = '\0';
	ck_assert_int_eq(file(name), 0); /* two thousand directories deep */
	ck_assert_int_eq(file("...") + file("a/...b") + file("..a"), 0);
	layer(1);
	ck_assert_int_eq(file(".wh.d"), 0);
	ck_assert_ptr_null(image_tree_find(&tree, "d"));
}
END_TEST

/* Names that links make longer than any is. */
START_TEST(long_by_links)
{
	char name[IMAGE_MAX_PATH + 1], path[IMAGE_MAX_PATH + 1];

	memset(name, 'x', 3000);
	for (size_t i = 200; i < 3000; i += 201)
		name[i] = '/';
	name[2999] = '\0';
	dir(name);
	put(IMAGE_SYMLINK, "l", name);
	memmove(name + 2, name, 3000);
	memcpy(name, "l/", 2);
	ck_assert_int_eq(file(name), 0);
	ck_assert_ptr_null(image_tree_path(image_tree_find(&tree, name), path));
}
END_TEST

/* What was replaced or removed counts no more. */
START_TEST(text_of_what_is_left)
{
	char target[IMAGE_MAX_PATH + 1], name[IMAGE_MAX_NAME + 1];
	int err = 0;

	memset(target, 't', IMAGE_MAX_PATH);
	target[IMAGE_MAX_PATH] = '\0';
	memset(name, 'n', IMAGE_MAX_NAME);
	name[IMAGE_MAX_NAME] = '\0';
	for (uint64_t n = 0; n <= IMAGE_MAX_TEXT && err == 0; n += IMAGE_MAX_PATH)
		err = put(IMAGE_SYMLINK, name, target);
	ck_assert_int_eq(err, 0);
	ck_assert_uint_eq(tree.n_text, IMAGE_MAX_NAME + IMAGE_MAX_PATH);
	ck_assert_int_eq(put(IMAGE_LINK, "l", name), 0);
	ck_assert_uint_eq(tree.n_text, IMAGE_MAX_NAME + 1 + 2 * IMAGE_MAX_PATH);
	layer(1);
	ck_assert_int_eq(file(name), 0);
	ck_assert_uint_eq(tree.n_text, IMAGE_MAX_NAME + 1 + IMAGE_MAX_PATH);
	layer(2);
	ck_assert_int_eq(file(".wh.l") + file(".wh..wh..opq"), 0);
	ck_assert_uint_eq(tree.n_text, 0);
	/* but all that is there does */
	for (unsigned int i = 0; i <= IMAGE_MAX_TEXT / IMAGE_MAX_PATH && err == 0; i++) {
		snprintf(name, sizeof(name), "%u", i);
		err = put(IMAGE_SYMLINK, name, target);
	}
	ck_assert_int_eq(err, -EINVAL);
	ck_assert_ptr_nonnull(strstr(why.text, "is one link too many"));
}
END_TEST

START_TEST(bounds)
{
	char name[32];
	int err = 0;

	for (uint32_t i = 0; i < IMAGE_MAX_NAMES && err == 0; i++) {
		snprintf(name, sizeof(name), "%u/%u", i % 1000, i);
		err = file(name);
	}
	ck_assert_int_eq(err, -EINVAL);
	ck_assert_ptr_nonnull(strstr(why.text, "is one name too many"));
	for (uint32_t i = 0; i <= IMAGE_MAX_NAMES; i++)
		err = file("0/0");
	ck_assert_int_eq(err, -EINVAL);
	ck_assert_ptr_nonnull(strstr(why.text, "is one entry too many"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("image_tree");
	TCase *names = tcase_create("names"), *tc = tcase_create("layers");
	SRunner *runner = srunner_create(s);
	int failed;

	tcase_add_test(names, refs);
	tcase_add_test(names, config_strings);
	tcase_add_checked_fixture(tc, begin, end);
	tcase_set_timeout(tc, 100);
	tcase_add_test(tc, merges);
	tcase_add_test(tc, whiteouts);
	tcase_add_test(tc, hard_links);
	tcase_add_test(tc, links_in_the_way);
	tcase_add_test(tc, hostile_names);
	tcase_add_test(tc, long_by_links);
	tcase_add_test(tc, text_of_what_is_left);
	tcase_add_test(tc, bounds);
	suite_add_tcase(s, names);
	suite_add_tcase(s, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
