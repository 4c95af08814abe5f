/*
 * virtio/qcow2 with hundreds of images that were damaged: each is refused, gives errors or other data, and nothing else happens.
 */
#include "tests/unit/qcow2_fixture.h"

static off_t file_size;

/* Opens, reads all, and says how that went: refused, errors, or read. */
static unsigned int read_damaged(void)
{
	struct qcow2_config config = {.path = top_path};
	struct image *image;
	unsigned int errors = 0;

	n_lines = 0;
	if (qcow2_open(&image, &config) < 0) {
		ck_assert_uint_eq(n_lines, 1);
		return 0;
	}
	/* a damaged size may be a huge one: its first part, and its end */
	for (uint64_t at = 0; at < image->size && at < SIZE; at += 16384) {
		uint64_t len = image->size - at < 16384 ? image->size - at : 16384;
		int ret = image_pread(image, got, len, at);

		ck_assert(ret == 0 || ret == -EIO);
		errors += ret < 0;
	}
	image_pread(image, got, 512, image->size - 512);
	image->ops->close(image);
	return errors > 0 ? 1 : 2;
}

/* Bytes of one kind of place, each broken in some ways; all of it repeats. */
static void damage(off_t start, off_t len, unsigned int rounds, unsigned int *outcomes)
{
	unsigned char old[8], new[8];
	int fd = open(top_path, O_RDWR | O_CLOEXEC);

	for (unsigned int n = 0; n < rounds; n++) {
		off_t at = start + random() % len;
		ssize_t bytes = pread(fd, old, sizeof(old), at);

		memcpy(new, old, sizeof(new));
		switch (n % 4) {
		case 0:
			new[0] ^= 1 << random() % 8;
			break;
		case 1:
			memset(new, 0xff, sizeof(new));
			break;
		case 2:
			fill_pattern(new, sizeof(new), (uint32_t)random());
			break;
		case 3: /* an offset within the file, where no table is */
			memset(new, 0, sizeof(new));
			new[6] = (unsigned char)(random() % (file_size >> 8));
			new[5] = (unsigned char)(random() % ((file_size >> 16) + 1));
			new[0] = (unsigned char)(random() % 2 * 0x40);
			break;
		}
		pwrite(fd, new, (size_t)bytes, at);
		outcomes[read_damaged()]++;
		pwrite(fd, old, (size_t)bytes, at);
	}
	close(fd);
}

static off_t first_table(void)
{
	unsigned char bytes[8];
	int fd = open(top_path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(image_file_pread(fd, bytes, 8, 40), 0);
	file_size = lseek(fd, 0, SEEK_END);
	close(fd);
	return (off_t)bytes[5] << 16 | (off_t)bytes[6] << 8 | bytes[7];
}

static const char *const damaged_kinds[][4] = {
	{"-c", "-o", "cluster_size=64k"},
	{"-c", "-o", "cluster_size=4k"},
	{"-o", "cluster_size=512"},
	{"-o", "cluster_size=16k,extended_l2=on"},
#ifdef VMM_HAVE_ZSTD
	{"-c", "-o", "cluster_size=64k,compression_type=zstd"},
#endif
};

START_TEST(damaged_images_give_errors)
{
	unsigned int outcomes[3] = {0};
	unsigned char entry[8];
	off_t l1, l2;
	int fd;

	convert(damaged_kinds[_i]);
	l1 = first_table();
	fd = open(top_path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(image_file_pread(fd, entry, 8, (uint64_t)l1), 0);
	close(fd);
	/* as it was, it is read without a word: what is seen below comes of the damage */
	ck_assert_uint_eq(read_damaged(), 2);
	ck_assert_uint_eq(n_lines, 0);
	l2 = (off_t)entry[5] << 16 | (off_t)entry[6] << 8 | entry[7];
	damage(0, 112, 100, outcomes);	     /* header */
	damage(l1, 8, 40, outcomes);	     /* first table */
	damage(l2, 512, 100, outcomes);	     /* a second table */
	damage(0, file_size, 100, outcomes); /* anything: data, packed data */
	ck_assert_uint_eq(read_damaged(), 2);
	for (off_t size = file_size; size > 4096; size = size * 2 / 3) {
		ck_assert_int_eq(truncate(top_path, size), 0);
		outcomes[read_damaged()]++;
	}
	ck_assert_uint_gt(outcomes[0], 30);
	ck_assert_uint_gt(outcomes[1], 30);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio/qcow2 damage");
	TCase *tc = tcase_create("damage");

	tcase_add_checked_fixture(tc, make_content, remove_content);
	tcase_set_timeout(tc, 100);
	tcase_add_loop_test(tc, damaged_images_give_errors, 0,
			    (int)(sizeof(damaged_kinds) / sizeof(damaged_kinds[0])));
	suite_add_tcase(s, tc);
	return run_with_qemu_img(s);
}
