/* virtio/blk: what it offers, the data it moves, and what it makes of the host's errors. */
#include <endian.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <linux/virtio_ids.h>

#include "tests/unit/blk_fixture.h"

/* configuration */

static void get_config(struct virtio_blk_config *config)
{
	virtio_device_config_get(&fix.blk.dev, 0, config, sizeof(*config));
}

START_TEST(offers_what_it_can)
{
	struct virtio_blk_config config;

	get_config(&config);
	ck_assert_uint_eq(fix.blk.dev.id, VIRTIO_ID_BLOCK);
	ck_assert_uint_eq(fix.blk.dev.n_queues, 1);
	ck_assert_uint_eq(fix.blk.dev.queue_size, 1024);
	ck_assert_uint_eq(fix.blk.dev.features,
			  BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_SEG_MAX) |
				  BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_DISCARD) |
				  BIT(VIRTIO_BLK_F_WRITE_ZEROES) | BIT(VIRTIO_F_VERSION_1) |
				  RING_BITS);
	ck_assert_uint_eq(le64toh(config.capacity), DISK_SECTORS);
	ck_assert_uint_eq(le32toh(config.seg_max), 254);
	ck_assert_uint_eq(le32toh(config.blk_size), 512);
	ck_assert_uint_eq(config.physical_block_exp, 0);
}
END_TEST

START_TEST(offers_readonly)
{
	ck_assert(fix.blk.dev.features & BIT(VIRTIO_BLK_F_RO));
}
END_TEST

START_TEST(tells_the_blocks_of_a_device)
{
	static const struct {
		uint32_t logical, physical, block;
		uint8_t exp;
		uint16_t min_io;
		bool topology;
	} cases[] = {
		{512, 4096, 512, 3, 8, true},
		{4096, 4096, 4096, 0, 1, false},
		{4096, 16384, 4096, 2, 4, true},
		{16384, 16384, 4096, 2, 4, false}, /* too large for a guest's page */
		{512, 1u << 30, 512, 21, 65535, true},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct virtio_blk_options options = {.disk = &fix.disk, .loop = &fix.loop};
		struct virtio_blk_config config;

		virtio_blk_fini(&fix.blk);
		fix.disk.logical_block = cases[i].logical;
		fix.disk.physical_block = cases[i].physical;
		ck_assert_int_eq(virtio_blk_init(&fix.blk, &options), 0);
		get_config(&config);
		ck_assert_uint_eq(le32toh(config.blk_size), cases[i].block);
		ck_assert_uint_eq(config.physical_block_exp, cases[i].exp);
		ck_assert_uint_eq(le16toh(config.min_io_size), cases[i].min_io);
		ck_assert_uint_eq(!!(fix.blk.dev.features & BIT(VIRTIO_BLK_F_TOPOLOGY)),
				  cases[i].topology);
	}
}
END_TEST

START_TEST(serial_of_every_length)
{
	static const char all[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	size_t len = (size_t)_i;
	char serial[27] = "";

	setup_mem();
	memcpy(serial, all, len);
	blk_open(&fix, 512, false);
	if (len > 20) {
		ck_assert_int_eq(blk_init(&fix, serial), -EINVAL);
		ck_assert_uint_eq(n_lines, 1);
		ck_assert_ptr_nonnull(strstr(line, serial));
		ck_assert_ptr_nonnull(strstr(line, fix.path));
		evloop_fini(&fix.loop);
		disk_close(&fix.disk);
		guest_mem_fini(&mem);
		return;
	}
	ck_assert_int_eq(blk_init(&fix, len > 0 ? serial : NULL), 0);
	begin(BIT(VIRTIO_BLK_F_FLUSH));
	for (uint32_t room = 0; room <= 40; room++) {
		uint8_t want[40] = {0};

		memcpy(want, serial, len < room ? len : room);
		memset(at(fix.data, 64), 0xee, 64);
		ck_assert_uint_eq(request(VIRTIO_BLK_T_GET_ID, 0, true, room,
					  &(struct framing){.cut = 1 + room % 7}),
				  VIRTIO_BLK_S_OK);
		if (room > 0)
			ck_assert_mem_eq(at(fix.data, room), want, room);
		ck_assert_uint_eq(*at(fix.data + room, 1), 0xee);
	}
	teardown();
}
END_TEST

/* data */

static const struct framing framings[] = {
	{0, false}, {0, true},	 {1, false},   {7, false},  {16, false},
	{17, true}, {100, true}, {511, false}, {512, true}, {513, true},
};

START_TEST(data_goes_there_and_back)
{
	const struct framing *f = &framings[_i];
	uint32_t len = f->cut == 1 ? 0 : 1024;
	uint8_t bytes[1024];

	fill(bytes, sizeof(bytes), (uint32_t)_i);
	memcpy(at(f->joined ? fix.hdr + 16 : fix.data, 1024), bytes, len);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, 5, false, len, f), VIRTIO_BLK_S_OK);
	memset(at(fix.data, 1024), 0, 1024);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 5, true, len, f), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(memcmp(at(fix.data, 1024), bytes, len), 0);
	ck_assert_uint_eq(fix.needs_reset, 0);
}
END_TEST

/* Random requests in random framings against a copy in memory; some cross the end of the disk. */
START_TEST(behaves_like_an_array_of_sectors)
{
	uint8_t *model = calloc(1, DISK_SIZE);
	uint8_t *file = malloc(DISK_SIZE);
	unsigned int seed = 4711;

	for (unsigned int i = 0; i < 3000; i++) {
		struct framing f = {0};
		uint32_t sectors = (uint32_t)rand_r(&seed) % 17;
		uint32_t sector = (uint32_t)rand_r(&seed) % (DISK_SECTORS + 4);
		uint32_t len = sectors * 512;
		bool ok = sector + sectors <= DISK_SECTORS;
		uint8_t *data = at(fix.data, 16 * 512);

		f.cut = 40 + (uint32_t)rand_r(&seed) % 3000;
		fill(data, 16 * 512, i);
		if (rand_r(&seed) % 2) {
			if (ok)
				memcpy(model + sector * 512, data, len);
			ck_assert_uint_eq(request(VIRTIO_BLK_T_OUT, sector, false, len, &f),
					  ok ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
			continue;
		}
		ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, sector, true, len, &f),
				  ok ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR);
		if (ok)
			ck_assert_int_eq(memcmp(data, model + sector * 512, len), 0);
		for (uint32_t k = 0; !ok && k < len; k++)
			ck_assert_uint_eq(data[k], 0);
	}
	ck_assert_int_eq(pread(image_fd(&fix.disk), file, DISK_SIZE, 0), (int)DISK_SIZE);
	ck_assert_int_eq(memcmp(file, model, DISK_SIZE), 0);
	ck_assert_uint_eq(n_lines, 0); /* a refused request is the guest's own affair */
	free(file);
	free(model);
}
END_TEST

START_TEST(last_sector_and_beyond)
{
	ck_assert_uint_eq(do_write(DISK_SECTORS - 1, 512), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(do_write(DISK_SECTORS - 1, 1024), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(do_write(DISK_SECTORS, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(do_read(DISK_SECTORS, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(do_read(UINT64_MAX, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(do_read((UINT64_C(1) << 55) + 1, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(lseek(image_fd(&fix.disk), 0, SEEK_END), DISK_SIZE);
	ck_assert_uint_eq(fix.needs_reset, 0);
}
END_TEST

START_TEST(part_of_a_sector_at_the_end)
{
	setup_mem();
	blk_open(&fix, 1500, false);
	ck_assert_int_eq(blk_init(&fix, NULL), 0);
	begin(BIT(VIRTIO_BLK_F_FLUSH));
	ck_assert_uint_eq(do_write(1, 512), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(do_write(2, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(do_read(2, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_int_eq(lseek(image_fd(&fix.disk), 0, SEEK_END), 1500);
	teardown();
}
END_TEST

/* A size that changes while the driver runs: it is told once, and what it may reach follows. */
START_TEST(resized)
{
	static const struct {
		off_t bytes;
		uint64_t sectors;
	} sizes[] = {
		{2 * DISK_SIZE, 2 * DISK_SECTORS},
		{2 * DISK_SIZE + 511, 2 * DISK_SECTORS}, /* a part of a sector does not count */
		{DISK_SIZE / 2, DISK_SECTORS / 2},
		{512, 1}};
	struct virtio_blk_config config;
	uint32_t generation;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		ck_assert_int_eq(ftruncate(image_fd(&fix.disk), sizes[i].bytes), 0);
		ck_assert_int_eq(virtio_blk_resized(&fix.blk), 0);
		get_config(&config);
		ck_assert_uint_eq(le64toh(config.capacity), sizes[i].sectors);
		ck_assert_uint_eq(do_write(sizes[i].sectors - 1, 512), VIRTIO_BLK_S_OK);
		ck_assert_uint_eq(do_write(sizes[i].sectors, 512), VIRTIO_BLK_S_IOERR);
		generation = fix.blk.dev.config_generation;
		ck_assert_int_eq(virtio_blk_resized(&fix.blk), 0);
		ck_assert_uint_eq(fix.blk.dev.config_generation, generation);
	}
	/* There is no disk without a sector: the driver goes on with what it knows. */
	n_lines = 0;
	ck_assert_int_eq(ftruncate(image_fd(&fix.disk), 100), 0);
	ck_assert_int_eq(virtio_blk_resized(&fix.blk), -EINVAL);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_msg(strstr(line, "smaller than one sector"), "%s", line);
	get_config(&config);
	ck_assert_uint_eq(le64toh(config.capacity), 1);
	ck_assert_uint_eq(do_read(0, 512), VIRTIO_BLK_S_IOERR);
}
END_TEST

START_TEST(other_requests)
{
	ck_assert_uint_eq(do_flush(), VIRTIO_BLK_S_OK);
	memset(at(fix.data, 700), 0xee, 700);
	ck_assert_uint_eq(request(4242, 0, true, 700, &(struct framing){.cut = 99}),
			  VIRTIO_BLK_S_UNSUPP);
	for (unsigned int i = 0; i < 700; i++)
		ck_assert_uint_eq(*at(fix.data + i, 1), 0);
	memset(at(fix.data, 9), 0xee, 9);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_FLUSH, 0, true, 9, &plain), VIRTIO_BLK_S_OK);
	for (unsigned int i = 0; i < 9; i++)
		ck_assert_uint_eq(*at(fix.data + i, 1), 0);
	ck_assert_uint_eq(fix.needs_reset, 0);
}
END_TEST

START_TEST(readonly_disk)
{
	uint8_t zero[512] = {0};

	fill(at(fix.data, 512), 512, 1);
	ck_assert_uint_eq(do_write(0, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(do_flush(), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(do_read(0, 512), VIRTIO_BLK_S_OK);
	ck_assert_mem_eq(at(fix.data, 512), zero, 512);
	ck_assert_uint_eq(n_lines, 0);
}
END_TEST

/* errors of the host */

START_TEST(full_host_disk)
{
	/* above what Check itself writes to its files */
	struct rlimit limit = {.rlim_cur = 1 << 20, .rlim_max = RLIM_INFINITY};

	signal(SIGXFSZ, SIG_IGN); /* the loop's thread blocks it */
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	for (unsigned int i = 0; i < 100; i++)
		ck_assert_uint_eq(do_write(2048 + i, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(n_lines, LOG_LIMIT_BURST);
	ck_assert_ptr_nonnull(strstr(line, fix.path));
	ck_assert_ptr_nonnull(
		strstr(line, "write of 512 bytes at byte 1050624 failed: File too large"));
	ck_assert_uint_eq(do_write(2047, 512), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(do_flush(), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(fix.needs_reset, 0);
}
END_TEST

START_TEST(failed_read_leaves_nothing_behind)
{
	uint8_t zero[2048] = {0};
	uint8_t *data = at(fix.data, 2048);

	ck_assert_int_eq(ftruncate(image_fd(&fix.disk), 1000), 0);
	memset(data, 0xee, 2048);
	ck_assert_uint_eq(request(VIRTIO_BLK_T_IN, 0, true, 2048, &(struct framing){.cut = 300}),
			  VIRTIO_BLK_S_IOERR);
	ck_assert_mem_eq(data, zero, 2048);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_ptr_nonnull(strstr(line, "read of 2048 bytes at byte 0 failed"));
	ck_assert_uint_eq(do_read(0, 512), VIRTIO_BLK_S_OK);
}
END_TEST

START_TEST(failed_flush)
{
	fix.disk.state.lost = true;
	ck_assert_uint_eq(do_write(0, 512), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(do_flush(), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(do_flush(), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(n_lines, 2);
	ck_assert_ptr_nonnull(strstr(line, "flush failed, written data may be lost"));
	ck_assert_uint_eq(do_read(0, 512), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(fix.needs_reset, 0);
}
END_TEST

static unsigned int n_syncs;

int fdatasync(int fd)
{
	n_syncs++;
	return (int)syscall(SYS_fdatasync, fd);
}

static uint8_t do_zero(uint64_t sector)
{
	struct virtio_blk_discard_write_zeroes segment = {.sector = htole64(sector),
							  .num_sectors = htole32(1)};

	memcpy(at(fix.data, sizeof(segment)), &segment, sizeof(segment));
	return request(VIRTIO_BLK_T_WRITE_ZEROES, 0, false, sizeof(segment), &plain);
}

/* 5.2.6.2: without the feature each write is stable when it completes, so it fails when it cannot be. */
START_TEST(driver_without_flush)
{
	begin(0);
	n_syncs = 0;
	ck_assert(fix.blk.state.writethrough);
	ck_assert_uint_eq(do_write(0, 512), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(n_syncs, 1);
	ck_assert_uint_eq(do_zero(1), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(n_syncs, 2);
	fix.disk.state.lost = true;
	ck_assert_uint_eq(do_write(0, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(do_zero(1), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(do_read(0, 512), VIRTIO_BLK_S_OK);
	begin(BIT(VIRTIO_BLK_F_FLUSH));
	ck_assert(!fix.blk.state.writethrough);
	ck_assert_uint_eq(do_write(0, 512), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(do_zero(1), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(n_syncs, 2);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_blk");
	TCase *writable = tcase_create("writable");
	TCase *readonly = tcase_create("readonly");
	TCase *own = tcase_create("own");

	tcase_add_checked_fixture(writable, setup, teardown);
	tcase_set_timeout(writable, 60);
	tcase_add_test(writable, offers_what_it_can);
	tcase_add_test(writable, tells_the_blocks_of_a_device);
	tcase_add_loop_test(writable, data_goes_there_and_back, 0,
			    (int)(sizeof(framings) / sizeof(framings[0])));
	tcase_add_test(writable, behaves_like_an_array_of_sectors);
	tcase_add_test(writable, last_sector_and_beyond);
	tcase_add_test(writable, resized);
	tcase_add_test(writable, other_requests);
	tcase_add_test(writable, full_host_disk);
	tcase_add_test(writable, failed_read_leaves_nothing_behind);
	tcase_add_test(writable, failed_flush);
	tcase_add_test(writable, driver_without_flush);
	suite_add_tcase(s, writable);

	tcase_add_checked_fixture(readonly, setup_readonly, teardown);
	tcase_set_timeout(readonly, 60);
	tcase_add_test(readonly, offers_readonly);
	tcase_add_test(readonly, readonly_disk);
	suite_add_tcase(s, readonly);

	tcase_set_timeout(own, 60);
	tcase_add_loop_test(own, serial_of_every_length, 0, 23);
	tcase_add_test(own, part_of_a_sector_at_the_end);
	suite_add_tcase(s, own);
	return run(s);
}
