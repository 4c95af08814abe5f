/* virtio/overlay_file: which files are taken as overlays of a base, and which are refused. */
#include <endian.h>

#include "tests/unit/overlay_fixture.h"
#include "virtio/overlay_bitmap.h"
#include "virtio/overlay_file.h"
#include "vmm/core/crc32.h"

START_TEST(changed_base_is_refused)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {0}};
	struct stat st;
	int fd;

	make_kept();
	ck_assert_int_eq(stat(base_path, &st), 0);
	times[1] = st.st_mtim;
	times[1].tv_sec++;
	ck_assert_int_eq(utimensat(AT_FDCWD, base_path, times, 0), 0);
	refused(-ESTALE, "touch -d @");
	/* within the same second */
	times[1] = st.st_mtim;
	times[1].tv_nsec = (times[1].tv_nsec + 500000000) % 1000000000;
	ck_assert_int_eq(utimensat(AT_FDCWD, base_path, times, 0), 0);
	refused(-ESTALE, "touch -d @");
	times[1] = st.st_mtim;
	ck_assert_int_eq(utimensat(AT_FDCWD, base_path, times, 0), 0);
	open_overlay(true);
	compare();
	close_overlay();
	/* the same times and another content */
	fd = open(base_path, O_WRONLY | O_CLOEXEC);
	ck_assert_int_eq(pwrite(fd, "x", 1, SIZE - 1), 1);
	ck_assert_int_eq(futimens(fd, times), 0);
	refused(-ESTALE, "was changed since");
	ck_assert_int_eq(ftruncate(fd, SIZE + 512), 0);
	refused(-ESTALE, "bytes");
	close(fd);
}
END_TEST

START_TEST(moved_base_is_accepted)
{
	char moved[160];

	make_kept();
	snprintf(moved, sizeof(moved), "%s.moved", base_path);
	ck_assert_int_eq(rename(base_path, moved), 0);
	strcpy(base_path, moved);
	open_overlay(true);
	compare();
	close_overlay();
}
END_TEST

START_TEST(used_overlay_is_refused)
{
	struct image *first;
	struct file_image first_base;

	open_overlay(true);
	first = top;
	first_base = base;
	refused(-EBUSY, "in use");
	ck_assert_ptr_eq(first_base.image.ops, &file_image_ops);
	base = first_base; /* which the first one points to */
	first->ops->close(first);
	open_overlay(true);
	close_overlay();
}
END_TEST

START_TEST(other_files_are_refused)
{
	char none[4096] = {0};
	struct stat st;

	make_file(top_path, none, 0);
	refused(-EINVAL, "not an overlay");
	make_file(top_path, none, sizeof(none));
	refused(-EINVAL, "not an overlay");
	ck_assert_int_eq(stat(top_path, &st), 0);
	ck_assert_int_eq(st.st_size, sizeof(none));
	unlink(top_path);
	ck_assert_int_eq(symlink("nowhere", top_path), 0);
	refused(-EEXIST, "symbolic link");
	unlink(top_path);
	ck_assert_int_eq(mkfifo(top_path, 0600), 0);
	refused(-EINVAL, "not a regular file");
	unlink(top_path);
	strcat(top_path, "/no/where");
	refused(-ENOENT, "No such file");
	*strstr(top_path, "/no/where") = '\0'; /* for the teardown */
}
END_TEST

START_TEST(damaged_headers_are_refused)
{
	unsigned char byte;
	int fd;

	make_kept();
	fd = open(top_path, O_RDWR | O_CLOEXEC);
	for (off_t at = 0; at < (off_t)sizeof(struct overlay_header); at++) {
		ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
		byte ^= 1 << at % 8;
		ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
		refused(-EINVAL, "overlay");
		byte ^= 1 << at % 8;
		ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
	}
	open_overlay(true);
	compare();
	close_overlay();
	close(fd);
}
END_TEST

/* From large to small, so that there is a header as long as one fits. */
START_TEST(files_of_another_size_are_refused)
{
	const off_t whole = (off_t)overlay_file_data_offset(SIZE) + SIZE;
	const off_t cut[] = {whole + 512, whole + 1, whole - 1, whole - 512, whole / 2, 4096};
	struct stat st;

	make_kept();
	ck_assert_int_eq(stat(top_path, &st), 0);
	ck_assert_int_eq(st.st_size, whole);
	for (size_t i = 0; i < sizeof(cut) / sizeof(cut[0]); i++) {
		ck_assert_int_eq(truncate(top_path, cut[i]), 0);
		refused(-EINVAL, "it was cut short or written to by others");
	}
	for (off_t size = 4095; size > 0; size /= 4) {
		ck_assert_int_eq(truncate(top_path, size), 0);
		refused(-EINVAL, "it is not an overlay");
	}
}
END_TEST

/* With a checksum that fits, as another version of vmm would write it. */
static void put_header(struct overlay_header header)
{
	int fd = open(top_path, O_WRONLY | O_CLOEXEC);

	header.crc = 0;
	header.crc = htole32(crc32_add(0, &header, sizeof(header)));
	ck_assert_int_eq(image_file_pwrite(fd, &header, sizeof(header), 0), 0);
	close(fd);
}

START_TEST(other_headers_are_refused)
{
	struct overlay_header good, other;
	int fd;

	make_kept();
	fd = open(top_path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(image_file_pread(fd, &good, sizeof(good), 0), 0);
	close(fd);
	for (uint32_t version = 0; version < 4; version++) {
		other = good;
		other.version = htole32(version);
		put_header(other);
		if (version != 1)
			refused(-EINVAL, "another version of vmm made it");
	}
	for (unsigned int shift = 0; shift < 64; shift++) {
		other = good;
		other.data_offset ^= UINT64_C(1) << shift;
		put_header(other);
		refused(-EINVAL, "its header is damaged");
	}
	put_header(good);
	open_overlay(true);
	compare();
	close_overlay();
}
END_TEST

/* A bitmap full of anything is a bitmap: other data, but nothing worse. */
START_TEST(any_bitmap_is_read)
{
	unsigned char junk[OVERLAY_BITMAP_PAGE];
	int fd;

	make_kept();
	fd = open(top_path, O_RDWR | O_CLOEXEC);
	fill_pattern(junk, sizeof(junk), 7);
	ck_assert_int_eq(pwrite(fd, junk, sizeof(junk), OVERLAY_HEADER_SIZE), sizeof(junk));
	close(fd);
	open_overlay(true);
	ck_assert_int_eq(image_pread(top, got, SIZE, 0), 0);
	close_overlay();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio/overlay file");
	TCase *tc = tcase_create("file");

	tcase_add_checked_fixture(tc, make_base, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, changed_base_is_refused);
	tcase_add_test(tc, moved_base_is_accepted);
	tcase_add_test(tc, used_overlay_is_refused);
	tcase_add_test(tc, other_files_are_refused);
	tcase_add_test(tc, damaged_headers_are_refused);
	tcase_add_test(tc, other_headers_are_refused);
	tcase_add_test(tc, files_of_another_size_are_refused);
	tcase_add_test(tc, any_bitmap_is_read);
	suite_add_tcase(s, tc);
	return run(s);
}
