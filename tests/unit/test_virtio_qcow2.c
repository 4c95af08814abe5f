/* virtio/qcow2 against images of qemu-img: each reads as 'qemu-img convert' reads it, and what cannot be read is refused. */
#include "tests/unit/qcow2_fixture.h"
#include "virtio/image_open.h"
#include "virtio/overlay.h"

static struct image *open_image(struct image *backing)
{
	struct qcow2_config config = {.path = top_path, .backing = backing};
	struct image *image;

	ck_assert_msg(qcow2_open(&image, &config) == 0, "%s", line);
	ck_assert_uint_eq(n_lines, 0);
	ck_assert(image->readonly);
	return image;
}

/* How many pieces compare() reads; each unpacks a whole cluster. */
static unsigned int n_pieces = 200;

/* At once, then in small odd pieces at random. */
static void compare(struct image *image)
{
	ck_assert_uint_eq(image->size, SIZE);
	memset(got, 0xa5, SIZE);
	ck_assert_int_eq(image_pread(image, got, SIZE, 0), 0);
	ck_assert_mem_eq(got, content, SIZE);
	for (unsigned int n = 0; n < n_pieces; n++) {
		uint64_t at = (uint64_t)random() % SIZE;
		size_t len = (size_t)random() % 30000 + 1;

		if (len > SIZE - at)
			len = SIZE - at;
		ck_assert_int_eq(image_pread(image, got, len, at), 0);
		ck_assert_mem_eq(got, content + at, len);
	}
}

static void compare_and_close(void)
{
	struct image *image = open_image(NULL);

	compare(image);
	image->ops->close(image);
}

/* ---- what qemu-img makes ---- */

static const char *const cluster_sizes[] = {
	"cluster_size=512",  "cluster_size=1k",	  "cluster_size=2k",   "cluster_size=4k",
	"cluster_size=8k",   "cluster_size=16k",  "cluster_size=32k",  "cluster_size=64k",
	"cluster_size=128k", "cluster_size=256k", "cluster_size=512k", "cluster_size=1M",
	"cluster_size=2M",
};
#define N_SIZES ((int)(sizeof(cluster_sizes) / sizeof(cluster_sizes[0])))

/* Four pieces for each cluster, within reason. */
static void choose_pieces(int size)
{
	unsigned int n = 4 * (SIZE / (512u << size) + 1);

	n_pieces = n < 40 ? 40 : n < 200 ? n : 200;
}

#define CONVERT(...) convert((const char *const[]){__VA_ARGS__, NULL})

START_TEST(every_cluster_size)
{
	CONVERT("-o", cluster_sizes[_i]);
	compare_and_close();
	CONVERT("-o", cluster_sizes[_i], "-o", "compat=0.10");
	compare_and_close();
	CONVERT("-o", cluster_sizes[_i], "-o", "preallocation=metadata");
	compare_and_close();
}
END_TEST

START_TEST(compressed_in_every_cluster_size)
{
	choose_pieces(_i);
	CONVERT("-c", "-o", cluster_sizes[_i]);
	compare_and_close();
	CONVERT("-c", "-o", cluster_sizes[_i], "-o", "compat=0.10");
	compare_and_close();
#ifdef VMM_HAVE_ZSTD
	CONVERT("-c", "-o", cluster_sizes[_i], "-o", "compression_type=zstd");
	compare_and_close();
#endif
}
END_TEST

/* By qemu-io in odd places, with zero clusters and discarded ones. */
static void rewrite_unread(void)
{
	QEMU_IO(top_path, "-c", "write -P 1 700k 300k", "-c", "write -P 2 77k 512", "-c",
		"write -z 1M 900k", "-c", "discard 2200k 200k", "-c", "write -z 2100k 4k", "-c",
		"write -P 3 2300k 1k", "-c", "write -z -u 2500k 64k");
}

/* Read by both afterwards. */
static void rewrite(void)
{
	struct stat st;
	int fd;

	rewrite_unread();
	QEMU_IMG("convert", "-f", "qcow2", "-O", "raw", top_path, raw_path);
	fd = open(raw_path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_int_eq(st.st_size, SIZE);
	ck_assert_int_eq(image_file_pread(fd, content, SIZE, 0), 0);
	close(fd);
}

START_TEST(rewritten_in_every_cluster_size)
{
	CONVERT("-o", cluster_sizes[_i]);
	rewrite();
	compare_and_close();
	CONVERT("-c", "-o", cluster_sizes[_i]);
	rewrite();
	compare_and_close();
}
END_TEST

START_TEST(subclusters)
{
	CONVERT("-o", cluster_sizes[_i], "-o", "extended_l2=on");
	compare_and_close();
	rewrite();
	compare_and_close();
	CONVERT("-c", "-o", cluster_sizes[_i], "-o", "extended_l2=on");
	rewrite();
	compare_and_close();
}
END_TEST

START_TEST(snapshots_are_ignored)
{
	CONVERT("-o", cluster_sizes[_i]);
	QEMU_IMG("snapshot", "-c", "one", top_path);
	rewrite_unread();
	QEMU_IMG("snapshot", "-c", "two", top_path);
	rewrite();
	compare_and_close();
}
END_TEST

START_TEST(unclosed_image_is_read_with_a_warning)
{
	struct qcow2_config config = {.path = top_path};
	struct image *image;
	unsigned char byte = 1; /* of the incompatible features: dirty */
	int fd;

	CONVERT("-o", "lazy_refcounts=on");
	fd = open(top_path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(pwrite(fd, &byte, 1, 79), 1);
	close(fd);
	ck_assert_int_eq(qcow2_open(&image, &config), 0);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_ptr_nonnull(strstr(line, "not closed"));
	compare(image);
	image->ops->close(image);
}
END_TEST

/* ---- backing files, overlays ---- */

static struct file_image backing;

static void make_backed(const char *backing_size)
{
	QEMU_IMG("convert", "-f", "raw", "-O", "raw", raw_path, backing_path);
	QEMU_IMG("resize", "-q", "--shrink", "-f", "raw", backing_path, backing_size);
	QEMU_IMG("create", "-q", "-f", "qcow2", "-b", backing_path, "-F", "raw", top_path,
		 "3149312");
	rewrite();
}

START_TEST(backing_file_is_the_one_that_is_named)
{
	const char *const sizes[] = {"3149312", "2500k", "1M", "8M"};
	struct image *image;

	make_backed(sizes[_i]);
	image = open_image(file_image_open(&backing, backing_path, 0));
	compare(image);
	image->ops->close(image);
	ck_assert(backing.closed);
}
END_TEST

START_TEST(backing_file_must_be_named)
{
	struct qcow2_config config = {.path = top_path};
	struct image *image;

	make_backed("3149312");
	ck_assert_int_eq(qcow2_open(&image, &config), -EINVAL);
	ck_assert_ptr_null(image);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_ptr_nonnull(strstr(line, backing_path));
	ck_assert_ptr_nonnull(strstr(line, "add ',backing=FILE'"));
	CONVERT("-c");
	config.backing = file_image_open(&backing, backing_path, 0);
	ck_assert_int_eq(qcow2_open(&image, &config), -EINVAL);
	ck_assert_ptr_nonnull(strstr(line, "leave backing= out"));
	ck_assert(backing.closed);
}
END_TEST

START_TEST(packed_backing_of_an_image)
{
	struct qcow2_config config = {.path = backing_path};
	struct image *image, *below;

	QEMU_IMG("convert", "-c", "-f", "raw", "-O", "qcow2", raw_path, backing_path);
	QEMU_IMG("create", "-q", "-f", "qcow2", "-b", backing_path, "-F", "qcow2", top_path);
	rewrite();
	ck_assert_int_eq(qcow2_open(&below, &config), 0);
	image = open_image(below);
	compare(image);
	image->ops->close(image);
}
END_TEST

/* What is in the header of a qcow2 image is no content of a disk. */
START_TEST(backing_file_has_the_format_of_the_header)
{
	struct image_config config = {
		.path = top_path, .format = IMAGE_QCOW2, .readonly = true, .backing = backing_path};
	struct image *image;

	QEMU_IMG("convert", "-f", "raw", "-O", "qcow2", raw_path, backing_path);
	QEMU_IMG("create", "-q", "-f", "qcow2", "-b", backing_path, "-F", "qcow2", top_path);
	ck_assert_int_eq(image_open(&image, &config), -EINVAL);
	ck_assert_ptr_null(image);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_ptr_nonnull(strstr(line, "' (qcow2); add "));
	ck_assert_ptr_nonnull(strstr(line, ",backing-format=qcow2'"));
}
END_TEST

/* Nothing that the user could add would help. */
START_TEST(chain_of_three_is_refused)
{
	struct image_config config = {.path = top_path,
				      .format = IMAGE_QCOW2,
				      .readonly = true,
				      .backing = backing_path,
				      .backing_format = IMAGE_QCOW2};
	struct image *image;

	QEMU_IMG("create", "-q", "-f", "qcow2", "-b", raw_path, "-F", "raw", backing_path);
	QEMU_IMG("create", "-q", "-f", "qcow2", "-b", backing_path, "-F", "qcow2", top_path);
	ck_assert_int_eq(image_open(&image, &config), -ENOTSUP);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_ptr_nonnull(strstr(line, "it has a backing file itself"));
}
END_TEST

/* As the command line names them: an overlay on changes to a raw (0) or a packed (1) image. */
START_TEST(overlay_on_a_backed_image)
{
	struct image_config config = {.path = top_path,
				      .format = IMAGE_QCOW2,
				      .backing = backing_path,
				      .backing_format = _i ? IMAGE_QCOW2 : IMAGE_RAW,
				      .overlay = true};
	const char *format = _i ? "qcow2" : "raw";
	struct image *image;

	QEMU_IMG("convert", "-f", "raw", "-O", format, raw_path, backing_path);
	QEMU_IMG("create", "-q", "-f", "qcow2", "-b", backing_path, "-F", format, top_path);
	rewrite();
	ck_assert_msg(image_open(&image, &config) == 0, "%s", line);
	fill_pattern(content + 4096, 10240, 7);
	ck_assert_int_eq(image_write(image, content + 4096, 10240, 4096), 0);
	compare(image);
	image->ops->close(image);
}
END_TEST

/* What an overlay's file is made with: it is as private as each file below it. */
START_TEST(permissions_are_those_of_both_files)
{
	struct image_config config = {
		.path = top_path, .format = IMAGE_QCOW2, .readonly = true, .backing = backing_path};
	struct image *image;

	make_backed("1M");
	ck_assert_int_eq(chmod(top_path, _i ? 0644 : 0600), 0);
	ck_assert_int_eq(chmod(backing_path, _i ? 0640 : 0644), 0);
	ck_assert_int_eq(image_open(&image, &config), 0);
	ck_assert_uint_eq(image->mode & 0777, _i ? 0640 : 0600);
	image->ops->close(image);
}
END_TEST

START_TEST(overlay_on_a_packed_image)
{
	struct overlay_config config = {.base_name = "x"};
	struct image *image;

	CONVERT("-c");
	config.base = open_image(NULL);
	ck_assert_int_eq(overlay_open(&image, &config), 0);
	for (unsigned int n = 0; n < 100; n++) {
		uint64_t at = (uint64_t)random() % (SIZE / 512) * 512;
		size_t len = 512 * ((size_t)random() % 50 + 1);

		if (len > SIZE - at)
			len = SIZE - at;
		fill_pattern(content + at, len, n);
		ck_assert_int_eq(image_write(image, content + at, len, at), 0);
	}
	compare(image);
	image->ops->close(image);
}
END_TEST

/* ---- refusals ---- */

/* Changes one byte. Returns what it was. */
static unsigned char poke(off_t at, unsigned char byte)
{
	int fd = open(top_path, O_RDWR | O_CLOEXEC);
	unsigned char old;

	ck_assert_int_eq(pread(fd, &old, 1, at), 1);
	ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
	close(fd);
	return old;
}

static void refused(int err, const char *why)
{
	struct qcow2_config config = {.path = top_path};
	struct image *image;

	n_lines = 0;
	ck_assert_int_eq(qcow2_open(&image, &config), err);
	ck_assert_ptr_null(image);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_msg(strstr(line, why), "'%s' does not say '%s'", line, why);
}

static const struct {
	off_t at;
	unsigned char byte;
	int err;
	const char *why;
} bad_fields[] = {
	{0, 'q', -EINVAL, "not a qcow2 image"},
	{7, 4, -ENOTSUP, "version 4"},
	{23, 8, -EINVAL, "clusters of 2^8"},
	{23, 22, -EINVAL, "clusters of 2^22"},
	{25, 0x7f, -ENOTSUP, "too large"},
	{24, 0xff, -EINVAL, "size"},
	{35, 1, -ENOTSUP, "encrypted"},
	{39, 0, -EINVAL, "first table is too small"},
	{47, 1, -EINVAL, "first table is not in the file"},
	{41, 1, -EINVAL, "first table is not in the file"},
	{79, 2, -EINVAL, "corrupt"},
	{79, 4, -ENOTSUP, "another file"},
	{79, 8, -EINVAL, "compression type"},
	{72, 0x80, -ENOTSUP, "not known"},
	{103, 0, -EINVAL, "header of"},
	{103, 105, -EINVAL, "header of"},
	{104, 2, -EINVAL, "compression type"},
	{15, 1, -EINVAL, "backing file is out of bounds"},
	{116, 1, -EINVAL, "extension is too long"},
};

START_TEST(bad_headers_are_refused)
{
	CONVERT("-o", "cluster_size=64k");
	for (size_t i = 0; i < sizeof(bad_fields) / sizeof(bad_fields[0]); i++) {
		unsigned char old = poke(bad_fields[i].at, bad_fields[i].byte);

		refused(bad_fields[i].err, bad_fields[i].why);
		poke(bad_fields[i].at, old);
	}
	n_lines = 0;
	compare_and_close();
}
END_TEST

START_TEST(short_files_are_refused)
{
	CONVERT("-c");
	for (off_t size = 0; size < 200; size += 8) {
		ck_assert_int_eq(truncate(top_path, 200 - size), 0);
		refused(-EINVAL, "");
	}
	ck_assert_int_eq(truncate(top_path, 0), 0);
	refused(-EINVAL, "not a qcow2 image");
}
END_TEST

START_TEST(written_image_is_refused)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd;

	CONVERT("-c");
	fd = open(top_path, O_RDWR | O_CLOEXEC);
	ck_assert_int_eq(fcntl(fd, F_OFD_SETLK, &whole), 0);
	refused(-EBUSY, "locked");
	close(fd);
	n_lines = 0;
	compare_and_close();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio/qcow2");
	TCase *tc = tcase_create("qcow2");

	tcase_add_checked_fixture(tc, make_content, remove_content);
	tcase_set_timeout(tc, 100);
	tcase_add_loop_test(tc, every_cluster_size, 0, N_SIZES);
	tcase_add_loop_test(tc, compressed_in_every_cluster_size, 0, N_SIZES);
	tcase_add_loop_test(tc, rewritten_in_every_cluster_size, 0, N_SIZES);
	tcase_add_loop_test(tc, subclusters, 5, N_SIZES); /* of 512 bytes at least */
	tcase_add_loop_test(tc, snapshots_are_ignored, 0, N_SIZES);
	tcase_add_test(tc, unclosed_image_is_read_with_a_warning);
	tcase_add_loop_test(tc, backing_file_is_the_one_that_is_named, 0, 4);
	tcase_add_test(tc, backing_file_must_be_named);
	tcase_add_test(tc, packed_backing_of_an_image);
	tcase_add_test(tc, backing_file_has_the_format_of_the_header);
	tcase_add_test(tc, chain_of_three_is_refused);
	tcase_add_loop_test(tc, overlay_on_a_backed_image, 0, 2);
	tcase_add_loop_test(tc, permissions_are_those_of_both_files, 0, 2);
	tcase_add_test(tc, overlay_on_a_packed_image);
	tcase_add_test(tc, bad_headers_are_refused);
	tcase_add_test(tc, short_files_are_refused);
	tcase_add_test(tc, written_image_is_refused);
	suite_add_tcase(s, tc);
	return run_with_qemu_img(s);
}
