/* Which image is meant, and what it is made of: OCI layouts and docker's manifests, good, odd and damaged. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/skip.h"
#include "vmm/image/image_libs.h"

#ifdef VMM_HAVE_IMAGES
#include "vmm/image/image_manifest.h"

#define MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define INDEX	 "application/vnd.oci.image.index.v1+json"
#define LAYER	 "application/vnd.oci.image.layer.v1.tar+gzip"

static struct image_libs libs;
static struct image_why why;
static struct image_manifest manifest;
static char dir[] = "/tmp/vmm-image-XXXXXX";

static void begin(void)
{
	char path[64];

	ck_assert_int_eq(image_libs_open(&libs, &why), 0);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/blobs", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/blobs/sha256", dir);
	ck_assert_int_eq(mkdir(path, 0700), 0);
}

static void end(void)
{
	char command[80];

	snprintf(command, sizeof(command), "rm -rf %s", dir);
	ck_assert_int_eq(system(command), 0);
	image_libs_close(&libs);
}

static void write_file(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "we");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	fclose(f);
}

/* Makes it a blob. Returns its descriptor, of one of a few buffers. */
static const char *blob(const char *type, const char *text, const char *more)
{
	static char descriptors[16][512];
	static unsigned int n;
	char digest[72], name[96], *to = descriptors[n++ % 16];
	struct sha256_ctx sha;

	libs.nettle_sha256_init(&sha);
	libs.nettle_sha256_update(&sha, strlen(text), (const uint8_t *)text);
	image_digest_of(&libs, &sha, digest);
	snprintf(name, sizeof(name), "blobs/sha256/%s", digest + 7);
	write_file(name, text);
	snprintf(to, 512, "{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%zu%s}", type, digest,
		 strlen(text), more);
	return to;
}

/* An image whose one layer is the text. Returns its descriptor. */
static const char *image(const char *layer, const char *arch, const char *more)
{
	char text[2048], layer_at[512];

	snprintf(layer_at, sizeof(layer_at), "%s", blob(LAYER, layer, ""));
	snprintf(
		text, sizeof(text),
		"{\"os\":\"linux\",\"architecture\":\"%s\",\"config\":{\"User\":\"u\",\"Env\":[\"A="
		"b\","
		"\"C=d\"],\"Cmd\":[\"%s\"],\"Entrypoint\":null},\"rootfs\":{\"diff_ids\":[\"sha256:"
		"%064d\"]}}",
		arch, layer, 7);
	snprintf(text, sizeof(text), "{\"config\":%s,\"layers\":[%s]}",
		 blob("application/vnd.oci.image.config.v1+json", text, ""), layer_at);
	return blob(MANIFEST, text, more);
}

static void index_of(const char *a, const char *b)
{
	char text[2048];

	snprintf(text, sizeof(text), "{\"manifests\":[%s%s%s]}", a, *b ? "," : "", b);
	write_file("index.json", text);
}

static int read_oci(const char *name)
{
	struct image_ref ref = {.kind = IMAGE_OCI_DIR};
	struct image_source source;
	int err;

	snprintf(ref.path, sizeof(ref.path), "%s", dir);
	snprintf(ref.name, sizeof(ref.name), "%s", name);
	image_manifest_fini(&manifest);
	why.text[0] = '\0';
	ck_assert_int_eq(image_source_open(&source, &libs, &ref, &why), 0);
	err = image_manifest_read(&manifest, &source, &why);
	image_source_close(&source);
	return err;
}

static void says(const char *text)
{
	ck_assert_msg(strstr(why.text, text), "'%s' is not '%s'", why.text, text);
}

static void is(const char *cmd)
{
	const char *last = image_config_string(&manifest.config, IMAGE_CONFIG_STRINGS);

	ck_assert_str_eq(last, cmd);
}

START_TEST(one)
{
	index_of(image("one", "amd64", ""), "");
	ck_assert_int_eq(read_oci(""), 0);
	is("one");
	ck_assert_uint_eq(manifest.n_layers, 1);
	ck_assert_uint_eq(manifest.config.n_env, 2);
	ck_assert_uint_eq(manifest.config.n_entrypoint, 0);
	ck_assert_str_eq(image_config_string(&manifest.config, IMAGE_CONFIG_USER), "u");
	ck_assert_str_eq(image_config_string(&manifest.config, IMAGE_CONFIG_DIRECTORY), "");
	ck_assert_int_eq(read_oci("tag"), -ENOENT);
	says("it has: none with a name");
	index_of(image("one", "arm64", ""), "");
	ck_assert_int_eq(read_oci(""), -ENOTSUP);
	says("linux/arm64, not linux/amd64");
}
END_TEST

START_TEST(tags)
{
	index_of(image("a", "amd64",
		       ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"x\"}"),
		 image("b", "amd64",
		       ",\"annotations\":{\"io.containerd.image.name\":\"y:latest\",\"org."
		       "opencontainers.image.ref.name\":\"z\"}"));
	ck_assert_int_eq(read_oci(""), -EINVAL);
	says("several images");
	says("x, y:latest");
	ck_assert_int_eq(read_oci("x"), 0);
	is("a");
	ck_assert_str_eq(manifest.name, "x");
	ck_assert_int_eq(read_oci("y"), 0);
	is("b");
	ck_assert_int_eq(read_oci("z"), 0);
	is("b");
	/* two tags of the same are no question */
	index_of(image("a", "amd64",
		       ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"x\"}"),
		 image("a", "amd64", ""));
	ck_assert_int_eq(read_oci(""), 0);
}
END_TEST

START_TEST(platforms)
{
	const char *ours = ",\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}";
	const char *arm = ",\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\"}";
	char text[2048];

	index_of(image("arm", "arm64", arm), image("ours", "amd64", ours));
	ck_assert_int_eq(read_oci(""), 0);
	is("ours");
	index_of(image("arm", "arm64", arm), "");
	ck_assert_int_eq(read_oci(""), -ENOTSUP);
	says("it has: linux/arm64");
	/* an index in the index; of several variants the first */
	snprintf(text, sizeof(text), "{\"manifests\":[%s,%s]}", image("v1", "amd64", ours),
		 image("v2", "amd64", ours));
	index_of(blob(INDEX, text, ""), "");
	ck_assert_int_eq(read_oci(""), 0);
	is("v1");
	/* and so on, but not without end */
	for (int i = 0; i < 5; i++) {
		const char *inner = i ? blob(INDEX, text, "") : image("deep", "amd64", "");

		snprintf(text, sizeof(text), "{\"manifests\":[%s]}", inner);
	}
	index_of(blob(INDEX, text, ""), "");
	ck_assert_int_eq(read_oci(""), -ELOOP);
}
END_TEST

START_TEST(damage)
{
	static const char *const bad[] = {
		"",
		"[]",
		"null",
		"{}",
		"{\"manifests\":{}}",
		"{\"manifests\":[]}",
		"{\"manifests\":[null,1,\"x\"]}",
		"{\"manifests\":[{}]}",
		"{\"manifests\":[{\"digest\":\"sha256:../../../etc/passwd\",\"size\":1}]}",
		"{\"manifests\":[{\"digest\":7}]}",
		"{\"manifests\":[{\"digest\":\"sha256:"
		"0000000000000000000000000000000000000000000000000000000000000000\",\"size\":1}]}",
		"{\"manifests\":[],\"manifests\":[]}",
	};
	char text[2048];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		write_file("index.json", bad[i]);
		ck_assert_int_lt(read_oci(""), 0);
		ck_assert_msg(why.text[0], "'%s' is refused without a word", bad[i]);
	}
	index_of(blob(MANIFEST, "{\"layers\":[]}", ""), "");
	ck_assert_int_eq(read_oci(""), -EINVAL);
	says("1 to 1024 layers, not 0");
	snprintf(text, sizeof(text), "{\"layers\":[%s]}", blob("application/x+encrypted", "x", ""));
	index_of(blob(MANIFEST, text, ""), "");
	ck_assert_int_eq(read_oci(""), -ENOTSUP);
	says("application/x+encrypted");
	snprintf(text, sizeof(text), "{\"layers\":[%s],\"config\":%s}", blob(LAYER, "x", ""),
		 blob("x", "{\"rootfs\":{\"diff_ids\":[]}}", ""));
	index_of(blob(MANIFEST, text, ""), "");
	ck_assert_int_eq(read_oci(""), -EINVAL);
	says("has 0 layers, the manifest 1");
	snprintf(text, sizeof(text), "{\"layers\":[%s],\"config\":%s}", blob(LAYER, "x", ""),
		 blob("x", "{\"rootfs\":{\"diff_ids\":[1]}}", ""));
	index_of(blob(MANIFEST, text, ""), "");
	ck_assert_int_eq(read_oci(""), -EINVAL);
	says("a layer's digest");
}
END_TEST

static int read_docker(const char *name, const char *manifests)
{
	struct image_ref ref = {.kind = IMAGE_DOCKER_ARCHIVE};
	struct image_source source;
	char command[256];
	int err;

	write_file("manifest.json", manifests);
	snprintf(command, sizeof(command), "tar -C %s -cf %s.tar .", dir, dir);
	ck_assert_int_eq(system(command), 0);
	snprintf(ref.path, sizeof(ref.path), "%s.tar", dir);
	snprintf(ref.name, sizeof(ref.name), "%s", name);
	image_manifest_fini(&manifest);
	why.text[0] = '\0';
	ck_assert_int_eq(image_source_open(&source, &libs, &ref, &why), 0);
	err = image_manifest_read(&manifest, &source, &why);
	image_source_close(&source);
	unlink(ref.path);
	return err;
}

START_TEST(docker)
{
	static const char two[] =
		"[{\"Config\":\"a.json\",\"RepoTags\":[\"x:1\",\"x:latest\"],\"Layers\":[\"l\"]},"
		"{\"Config\":\"b.json\",\"RepoTags\":null,\"Layers\":[\"l\"]}]";
	static const char config[] =
		"{\"config\":{\"Cmd\":[\"%s\"]},\"rootfs\":{\"diff_ids\":[\"sha256:%064d\"]}}";
	char text[512];

	snprintf(text, sizeof(text), config, "a", 0);
	write_file("a.json", text);
	snprintf(text, sizeof(text), config, "b", 0);
	write_file("b.json", text);
	ck_assert_int_eq(read_docker("x", two), 0);
	is("a");
	ck_assert_int_eq(read_docker("x:1", two), 0);
	ck_assert_int_eq(read_docker("x:2", two), -ENOENT);
	says("it has: x:1, x:latest");
	ck_assert_int_eq(read_docker("", two), -EINVAL);
	ck_assert_int_eq(read_docker("", "[{\"Config\":\"b.json\",\"Layers\":[\"l\"]}]"), 0);
	is("b");
	ck_assert_int_lt(read_docker("", "[{\"Config\":\"b.json\",\"Layers\":[1]}]"), 0);
	ck_assert_int_lt(read_docker("", "[{\"Config\":\"b.json\",\"Layers\":{}}]"), 0);
	ck_assert_int_lt(read_docker("", "[{\"Config\":\"none\",\"Layers\":[\"l\"]}]"), 0);
	ck_assert_int_lt(read_docker("", "[{\"Layers\":[\"l\"]}]"), 0);
	ck_assert_int_lt(read_docker("", "[null]"), 0);
	ck_assert_int_lt(read_docker("", "{}"), 0);
	/* one that is named by its digest has it */
	snprintf(text, sizeof(text), "%064d.json", 0);
	write_file(text, "{}");
	snprintf(text, sizeof(text), "[{\"Config\":\"%064d.json\",\"Layers\":[\"l\"]}]", 0);
	ck_assert_int_eq(read_docker("", text), -EBADMSG);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("image_manifest");
	TCase *tc = tcase_create("images");
	SRunner *runner;
	int failed = 0;

	if (image_libs_open(&libs, &why) < 0) {
		skip_note("%s", why.text);
		return skip_status(0);
	}
	image_libs_close(&libs);
	runner = srunner_create(s);
	tcase_add_checked_fixture(tc, begin, end);
	tcase_add_test(tc, one);
	tcase_add_test(tc, tags);
	tcase_add_test(tc, platforms);
	tcase_add_test(tc, damage);
	tcase_add_test(tc, docker);
	suite_add_tcase(s, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#else

int main(void)
{
	skip_note("this vmm is built without container images");
	return skip_status(0);
}
#endif
