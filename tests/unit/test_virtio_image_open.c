/* virtio/image_open: what does not go together, and what a raw image and an overlay become. */
#include <stdarg.h>
#include <sys/syscall.h>

#include "tests/unit/image_fixture.h"
#include "virtio/image_open.h"

#define SIZE (64u * 1024u)

static unsigned char content[SIZE], got[SIZE];

/* As a file system that makes no files without a name. */
static bool no_tmpfile;

int openat(int at, const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
	va_end(args);
	if (no_tmpfile && (flags & O_TMPFILE) == O_TMPFILE) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return (int)syscall(SYS_openat, at, path, flags, mode);
}

static void make_base(void)
{
	setup();
	fill_pattern(content, SIZE, 1);
	make_file(base_path, content, SIZE);
}

static struct image *open_well(const struct image_config *config)
{
	struct image *image;

	ck_assert_int_eq(image_open(&image, config), 0);
	ck_assert_ptr_nonnull(image);
	ck_assert_uint_eq(n_lines, 0);
	ck_assert_uint_eq(image->size, SIZE);
	return image;
}

static void base_is_as_it_was(void)
{
	int fd = open(base_path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(image_file_pread(fd, got, SIZE, 0), 0);
	ck_assert_mem_eq(got, content, SIZE);
	close(fd);
}

static const struct {
	struct image_config config;
	const char *advice;
} contradictions[] = {
	{{.overlay = true, .readonly = true}, "leave 'readonly' or 'overlay' out"},
	{{.format = IMAGE_QCOW2}, "add ',overlay' (or ',readonly')"},
	{{.backing = "b"}, "add ',format=qcow2'"},
	{{.backing = "b", .overlay = true}, "add ',format=qcow2'"},
	{{.backing_format = IMAGE_QCOW2}, "add ',backing=FILE'"},
	{{.format = IMAGE_QCOW2, .readonly = true, .backing_format = IMAGE_QCOW2},
	 "add ',backing=FILE'"},
	{{.direct = true, .overlay = true}, "leave 'direct' out"},
	{{.direct = true, .format = IMAGE_QCOW2, .readonly = true}, "leave 'direct' out"},
};

START_TEST(contradictions_are_refused)
{
	struct image_config config = contradictions[_i].config;
	struct image *image = (struct image *)(void *)content;

	config.path = base_path;
	ck_assert_int_eq(image_open(&image, &config), -EINVAL);
	ck_assert_ptr_null(image);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_ptr_nonnull(strstr(line, base_path));
	ck_assert_ptr_nonnull(strstr(line, contradictions[_i].advice));
}
END_TEST

/* A missing file, and a missing base of an overlay: nothing is made in its place. */
START_TEST(missing)
{
	struct image_config config = {.path = top_path, .overlay = _i};
	struct image *image;

	ck_assert_int_eq(image_open(&image, &config), -ENOENT);
	ck_assert_ptr_null(image);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_ptr_nonnull(strstr(line, top_path));
	ck_assert_int_eq(access(top_path, F_OK), -1);
}
END_TEST

/* What a backing file has behind its last whole sector is a part of the disk, which a disk of whole sectors cannot show. */
START_TEST(backing_of_half_a_sector)
{
	struct image_config config = {
		.path = top_path, .format = IMAGE_QCOW2, .readonly = true, .backing = base_path};
	struct image *image;

	ck_assert_int_eq(truncate(base_path, SIZE - 1), 0);
	ck_assert_int_eq(image_open(&image, &config), -EINVAL);
	ck_assert_ptr_null(image);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_ptr_nonnull(strstr(line, base_path));
	ck_assert_ptr_nonnull(strstr(line, "no multiple of 512"));
}
END_TEST

START_TEST(raw)
{
	const struct image_config config = {.path = base_path, .readonly = _i};
	struct image *image = open_well(&config);

	ck_assert(image->readonly == (_i == 1));
	ck_assert_int_eq(image_pread(image, got, SIZE, 0), 0);
	ck_assert_mem_eq(got, content, SIZE);
	if (!image->readonly) {
		memset(content + 512, 0x55, 1024);
		ck_assert_int_eq(image_write(image, content + 512, 1024, 512), 0);
	}
	image->ops->close(image);
	base_is_as_it_was();
}
END_TEST

/* It may be what the guest wrote: a word, and it is used as it is. */
START_TEST(raw_that_looks_like_qcow2)
{
	const struct image_config config = {.path = base_path, .overlay = _i};
	int fd = open(base_path, O_WRONLY | O_CLOEXEC);
	struct image *image;

	memcpy(content, "QFI\xfb", 4);
	ck_assert_int_eq(pwrite(fd, content, 4, 0), 4);
	close(fd);
	ck_assert_int_eq(image_open(&image, &config), 0);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_ptr_nonnull(strstr(line, "is 'format=qcow2' missing?"));
	ck_assert_int_eq(image_pread(image, got, SIZE, 0), 0);
	ck_assert_mem_eq(got, content, SIZE);
	image->ops->close(image);
}
END_TEST

/* What is written ends with the image (0), or is found again (1); the base is the same either way. */
START_TEST(overlay)
{
	const struct image_config config = {
		.path = base_path, .overlay = true, .overlay_path = _i ? top_path : NULL};
	unsigned char changed[SIZE];
	struct image *image = open_well(&config);
	bool lost;

	memcpy(changed, content, SIZE);
	memset(changed + 1024, 0x77, 4096);
	ck_assert(!image->readonly);
	ck_assert_int_eq(image_write(image, changed + 1024, 4096, 1024), 0);
	ck_assert_int_eq(image_pread(image, got, SIZE, 0), 0);
	ck_assert_mem_eq(got, changed, SIZE);
	ck_assert_int_eq(image->ops->flush(image, &lost), 0);
	image->ops->close(image);
	base_is_as_it_was();
	image = open_well(&config);
	ck_assert_int_eq(image_pread(image, got, SIZE, 0), 0);
	ck_assert_mem_eq(got, (_i ? changed : content), SIZE);
	image->ops->close(image);
}
END_TEST

/* What the guest writes to a private disk, others cannot read, be they in another group; and who made the file can write to it again. */
START_TEST(overlay_is_as_private_as_its_base)
{
	static const struct {
		mode_t base, mask, made;
	} modes[] = {{0600, 0, 0600}, {0640, 0, 0600}, {0644, 0, 0644},	  {0666, 0, 0666},
		     {0444, 0, 0644}, {0755, 0, 0644}, {0664, 022, 0644}, {0644, 077, 0600}};
	const struct image_config config = {
		.path = base_path, .overlay = true, .overlay_path = top_path};
	struct image *image;
	struct stat st;

	no_tmpfile = _i;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		umask(modes[i].mask);
		ck_assert_int_eq(chmod(base_path, modes[i].base), 0);
		image = open_well(&config);
		ck_assert_int_eq(stat(top_path, &st), 0);
		ck_assert_uint_eq(st.st_mode & 07777, modes[i].made);
		image->ops->close(image);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio/image_open");
	TCase *tc = tcase_create("open");

	tcase_add_checked_fixture(tc, make_base, teardown);
	tcase_add_loop_test(tc, contradictions_are_refused, 0,
			    (int)(sizeof(contradictions) / sizeof(contradictions[0])));
	tcase_add_loop_test(tc, missing, 0, 2);
	tcase_add_test(tc, backing_of_half_a_sector);
	tcase_add_loop_test(tc, raw, 0, 2);
	tcase_add_loop_test(tc, raw_that_looks_like_qcow2, 0, 2);
	tcase_add_loop_test(tc, overlay, 0, 2);
	tcase_add_loop_test(tc, overlay_is_as_private_as_its_base, 0, 2);
	suite_add_tcase(s, tc);
	return run(s);
}
