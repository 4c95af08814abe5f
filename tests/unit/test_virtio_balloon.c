/* virtio/balloon: pages that go back, statistics, poison, bounds, broken rings. */
#include "tests/unit/device_fixture.h"

#include <sys/mman.h>

#include "virtio/balloon.h"

#define PAGE	 UINT64_C(4096)
#define F_STATS	 BIT(VIRTIO_BALLOON_F_STATS_VQ)
#define F_REPORT BIT(VIRTIO_BALLOON_F_REPORTING)
#define F_POISON BIT(VIRTIO_BALLOON_F_PAGE_POISON)
#define F_ALL	 (F_STATS | F_REPORT | F_POISON | BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM))

/* The queues as Linux 6.1 numbers them when all is negotiated, and as the specification does. */
#define Q_STATS	      2
#define Q_REPORT      3
#define Q_REPORT_SPEC 4
#define QUEUES	      0xf
#define QUEUES_SPEC   0x17

static struct virtio_balloon balloon;

static void setup(void)
{
	device_prepare();
	/* Single pages, so that what is resident is what was touched. */
	madvise(fix.mem.map, fix.mem.map_size, MADV_NOHUGEPAGE);
	ck_assert_int_eq(virtio_balloon_init(&balloon, &fix.loop, &fix.mem), 0);
	device_attach(&balloon.dev);
	device_begin(F_ALL, QUEUES);
}

static void teardown(void)
{
	device_detach();
	virtio_balloon_fini(&balloon);
	device_finish();
}

static uint32_t page_of(gpa_t gpa)
{
	return (uint32_t)(gpa / PAGE);
}

static bool is_there(gpa_t gpa)
{
	unsigned char vec = 0;

	ck_assert_int_eq(mincore(device_at(gpa, PAGE), PAGE, &vec), 0);
	return vec & 1;
}

static unsigned int n_there(gpa_t gpa, unsigned int n)
{
	unsigned int there = 0;

	for (unsigned int i = 0; i < n; i++)
		there += is_there(gpa + i * PAGE);
	return there;
}

static void touch(gpa_t gpa, unsigned int n)
{
	memset(device_at(gpa, n * PAGE), 0x5a, n * PAGE);
}

/* A request of page numbers, cut as wanted. */
static void send_pages(unsigned int queue, const uint32_t *pages, uint32_t n, uint32_t cut)
{
	struct virtq_driver *drv = &fix.drv[queue];
	struct virtq_piece pieces[VIRTIO_BALLOON_QUEUE_SIZE];
	gpa_t gpa = virtq_driver_alloc_copy(drv, pages, n * 4);

	virtq_driver_send(
		drv, pieces,
		virtq_driver_cut(pieces, VIRTIO_BALLOON_QUEUE_SIZE, gpa, n * 4, false, cut));
}

static void report(unsigned int queue, gpa_t gpa, uint32_t len)
{
	const struct virtq_piece piece = {gpa, len, true};

	virtq_driver_send(&fix.drv[queue], &piece, 1);
}

static struct virtio_balloon_config config_now(void)
{
	struct virtio_balloon_config config;

	virtio_device_config_get(&balloon.dev, 0, &config, sizeof(config));
	return config;
}

/* ---- target ---- */

START_TEST(target)
{
	ck_assert_uint_eq(config_now().num_pages, 0);
	ck_assert_int_eq(virtio_balloon_set(&balloon, 10 * PAGE + 5), 0);
	ck_assert_uint_eq(config_now().num_pages, 10);
	ck_assert_uint_eq(fix.config_changes, 1);
	ck_assert_int_eq(virtio_balloon_set(&balloon, DEV_RAM_SIZE), 0);
	ck_assert_int_eq(virtio_balloon_set(&balloon, DEV_RAM_SIZE + 1), -EINVAL);
	ck_assert_int_eq(virtio_balloon_set(&balloon, UINT64_MAX), -EINVAL);
	ck_assert_uint_eq(config_now().num_pages, DEV_RAM_SIZE / PAGE);
	/* The driver writes what it has given, and nothing else. */
	virtio_device_config_write(&balloon.dev, 4, 4, 7);
	virtio_device_config_write(&balloon.dev, 0, 4, 99);
	ck_assert_uint_eq(virtio_balloon_actual(&balloon), 7 * PAGE);
	ck_assert_uint_eq(config_now().num_pages, DEV_RAM_SIZE / PAGE);
	device_reset();
	ck_assert_uint_eq(virtio_balloon_actual(&balloon), 0);
	ck_assert_uint_eq(config_now().num_pages, DEV_RAM_SIZE / PAGE);
}
END_TEST

/* ---- inflate and deflate ---- */

START_TEST(inflate)
{
	static const uint32_t cuts[] = {0, 1, 3, 4, 7};
	uint32_t pages[6];

	touch(DEV_BUFFERS, 16);
	/* out of order, one twice */
	for (unsigned int i = 0; i < 6; i++)
		pages[i] = page_of(DEV_BUFFERS) + (const uint32_t[]){9, 2, 3, 1, 9, 15}[i];
	send_pages(0, pages, 6, cuts[_i]);
	device_kick(0);
	ck_assert_uint_eq(device_reap(0), 0);
	for (unsigned int i = 0; i < 16; i++) {
		bool gone = i == 1 || i == 2 || i == 3 || i == 9 || i == 15;

		ck_assert_int_eq(is_there(DEV_BUFFERS + i * PAGE), !gone);
		ck_assert_uint_eq(*device_at(DEV_BUFFERS + i * PAGE, 1), gone ? 0 : 0x5a);
	}
	ck_assert_uint_eq(fix.interrupts[0], 1);
	ck_assert_uint_eq(n_lines, 0);
}
END_TEST

/* Pages that are no memory are passed over, those beside them are not. */
START_TEST(inflate_outside)
{
	const uint32_t last = page_of(DEV_RAM_SIZE) - 1;
	const uint32_t pages[] = {last + 1, UINT32_MAX, last,	       last + 2,
				  1u << 20, last - 2,	UINT32_MAX - 1};

	touch(DEV_RAM_SIZE - 4 * PAGE, 4);
	send_pages(0, pages, 7, 0);
	device_kick(0);
	ck_assert_uint_eq(device_reap(0), 0);
	ck_assert(is_there(DEV_RAM_SIZE - 4 * PAGE) && is_there(DEV_RAM_SIZE - 2 * PAGE));
	ck_assert(!is_there(DEV_RAM_SIZE - 3 * PAGE) && !is_there(DEV_RAM_SIZE - PAGE));
	ck_assert_uint_eq(fix.needs_reset, 0);
	ck_assert_uint_ge(n_lines, 1);
}
END_TEST

/* A request of many pages takes several kicks, and is complete only with the last. */
START_TEST(inflate_is_bounded)
{
	static uint32_t pages[5000];
	unsigned int kicks = 0;

	touch(DEV_BUFFERS, 5000);
	for (uint32_t i = 0; i < 5000; i++)
		pages[i] = page_of(DEV_BUFFERS) + i;
	send_pages(0, pages, 5000, 1001);
	send_pages(0, pages, 1, 0);
	device_kick(0);
	ck_assert_uint_eq(n_there(DEV_BUFFERS, 5000), 5000 - VIRTIO_BALLOON_KICK_PAGES);
	do
		device_kick(0);
	while (++kicks < 100 && device_rekicked(0));
	ck_assert_uint_eq(kicks, 2);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[0]), 2);
	ck_assert_uint_eq(n_there(DEV_BUFFERS, 5000), 0);
}
END_TEST

START_TEST(reset_in_the_middle)
{
	static uint32_t pages[5000];

	touch(DEV_BUFFERS, 5000);
	for (uint32_t i = 0; i < 5000; i++)
		pages[i] = page_of(DEV_BUFFERS) + i;
	send_pages(0, pages, 5000, 0);
	device_kick(0);
	device_reset();
	device_rekicked(0);
	device_begin(F_ALL, QUEUES);
	touch(DEV_BUFFERS, 5000);
	device_kick(0);
	ck_assert_uint_eq(n_there(DEV_BUFFERS, 5000), 5000);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[0]), 0);
	send_pages(0, pages, 5, 0);
	device_kick(0);
	ck_assert_uint_eq(n_there(DEV_BUFFERS, 5000), 4995);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[0]), 1);
}
END_TEST

START_TEST(deflate)
{
	uint32_t pages[] = {page_of(DEV_BUFFERS), UINT32_MAX};

	touch(DEV_BUFFERS, 1);
	for (unsigned int i = 0; i < 32; i++)
		send_pages(1, pages, 2, 0);
	device_kick(1);
	device_kick(1);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[1]), fix.drv[1].next_avail);
	ck_assert_uint_eq(*device_at(DEV_BUFFERS, 1), 0x5a);
}
END_TEST

/* ---- reporting ---- */

START_TEST(reports)
{
	unsigned int queue = _i ? Q_REPORT_SPEC : Q_REPORT;
	const struct virtq_piece pieces[] = {{DEV_BUFFERS, 4 * PAGE, true},
					     {DEV_BUFFERS + 8 * PAGE, 2 * PAGE, true},
					     {DEV_BUFFERS + 12 * PAGE + 1, 2 * PAGE, true}};

	device_reset();
	device_begin(F_ALL, _i ? QUEUES_SPEC : QUEUES);
	touch(DEV_BUFFERS, 16);
	virtq_driver_send(&fix.drv[queue], pieces, 3);
	device_kick(queue);
	ck_assert_uint_eq(device_reap(queue), 0);
	for (unsigned int i = 0; i < 16; i++)
		ck_assert_int_eq(is_there(DEV_BUFFERS + i * PAGE),
				 !(i < 4 || i == 8 || i == 9 || i == 13));
}
END_TEST

/* Without statistics the queues move up. */
START_TEST(reports_without_statistics)
{
	device_reset();
	device_begin(F_REPORT, 0x7);
	touch(DEV_BUFFERS, 4);
	report(2, DEV_BUFFERS, 4 * PAGE);
	device_kick(2);
	ck_assert_uint_eq(device_reap(2), 0);
	ck_assert_uint_eq(n_there(DEV_BUFFERS, 4), 0);
	/* The others are nobody's. */
	report(3, DEV_BUFFERS, 4 * PAGE);
	device_kick(3);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[3]), 0);
	ck_assert_uint_eq(fix.needs_reset, 0);
}
END_TEST

/* Free pages hold the pattern that the guest relies on, unless it is zero or was not negotiated. */
START_TEST(poison)
{
	static const struct {
		uint64_t features;
		uint32_t value;
		bool kept;
	} cases[] = {
		{F_ALL, 0, false}, {F_ALL, 0xaaaaaaaa, true}, {F_ALL & ~F_POISON, 0xaa, false}};

	device_reset();
	virtio_device_config_write(&balloon.dev, offsetof(struct virtio_balloon_config, poison_val),
				   4, cases[_i].value);
	device_begin(cases[_i].features, QUEUES);
	touch(DEV_BUFFERS, 4);
	report(Q_REPORT, DEV_BUFFERS, 4 * PAGE);
	device_kick(Q_REPORT);
	ck_assert_uint_eq(device_reap(Q_REPORT), 0);
	ck_assert_uint_eq(n_there(DEV_BUFFERS, 4), cases[_i].kept ? 4 : 0);
	ck_assert_uint_eq(*device_at(DEV_BUFFERS, 1), cases[_i].kept ? 0x5a : 0);
}
END_TEST

START_TEST(reports_are_bounded)
{
	for (unsigned int i = 0; i < 8; i++)
		report(Q_REPORT, DEV_BUFFERS, DEV_RAM_SIZE - DEV_BUFFERS); /* 48 MiB */
	device_kick(Q_REPORT);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[Q_REPORT]), 2);
	ck_assert(device_rekicked(Q_REPORT));
	for (unsigned int i = 0; i < 5; i++)
		device_kick(Q_REPORT);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[Q_REPORT]), 8);
}
END_TEST

/* ---- statistics ---- */

struct asker {
	pthread_t thread;
	struct virtio_balloon_stats stats;
	unsigned int timeout_ms;
	_Atomic int ret;
};

static void *ask(void *arg)
{
	struct asker *a = arg;

	a->ret = virtio_balloon_stats(&balloon, &a->stats, a->timeout_ms);
	return NULL;
}

static void start_asking(struct asker *a, unsigned int timeout_ms)
{
	a->timeout_ms = timeout_ms;
	a->ret = 1;
	ck_assert_int_eq(pthread_create(&a->thread, NULL, ask, a), 0);
}

static void send_stats(const struct virtio_balloon_stat *stats, uint32_t bytes, uint32_t cut)
{
	struct virtq_driver *drv = &fix.drv[Q_STATS];
	struct virtq_piece pieces[VIRTIO_BALLOON_QUEUE_SIZE];
	gpa_t gpa = virtq_driver_alloc_copy(drv, stats, bytes);

	virtq_driver_send(
		drv, pieces,
		virtq_driver_cut(pieces, VIRTIO_BALLOON_QUEUE_SIZE, gpa, bytes, false, cut));
	device_kick(Q_STATS);
}

START_TEST(statistics)
{
	struct virtio_balloon_stat first = {VIRTIO_BALLOON_S_MEMFREE, 1};
	const struct virtio_balloon_stat second[] = {{VIRTIO_BALLOON_S_MEMTOT, 1000},
						     {VIRTIO_BALLOON_S_MEMFREE, 500},
						     {VIRTIO_BALLOON_S_NR, 1},
						     {UINT16_MAX, 2},
						     {VIRTIO_BALLOON_S_CACHES, UINT64_MAX - 1}};
	struct asker a;

	device_reset();
	device_run_loop();
	device_begin(F_ALL, QUEUES);
	send_stats(&first, sizeof(first), 0);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[Q_STATS]), 0); /* it waits to be asked */

	start_asking(&a, 20000);
	while (virtq_driver_n_used(&fix.drv[Q_STATS]) == 0)
		usleep(50);
	ck_assert_int_eq(a.ret, 1);
	device_reap(Q_STATS);
	send_stats(second, sizeof(second) - (_i == 2), (uint32_t)_i * 7);
	pthread_join(a.thread, NULL);
	ck_assert_int_eq(a.ret, 0);
	ck_assert_uint_eq(a.stats.value[VIRTIO_BALLOON_S_MEMTOT], 1000);
	ck_assert_uint_eq(a.stats.value[VIRTIO_BALLOON_S_MEMFREE], 500);
	ck_assert_uint_eq(a.stats.value[VIRTIO_BALLOON_S_CACHES], UINT64_MAX - (_i != 2));
	ck_assert_uint_eq(a.stats.value[VIRTIO_BALLOON_S_SWAP_IN], UINT64_MAX);

	/* A guest that does not answer. */
	start_asking(&a, 20);
	pthread_join(a.thread, NULL);
	ck_assert_int_eq(a.ret, -ETIMEDOUT);
	/* Its late answer is none to the next question. */
	device_reap(Q_STATS);
	send_stats(&first, sizeof(first), 0);
	start_asking(&a, 20);
	pthread_join(a.thread, NULL);
	ck_assert_int_eq(a.ret, -ETIMEDOUT);
	/* A reset ends the wait. */
	start_asking(&a, 20000);
	usleep(10000);
	device_reset();
	pthread_join(a.thread, NULL);
	ck_assert_int_eq(a.ret, -EAGAIN);
	ck_assert_int_eq(virtio_balloon_stats(&balloon, &a.stats, 20000), -EAGAIN);
}
END_TEST

/* The machine's end ends the wait, too, and nobody waits afterwards. */
START_TEST(no_statistics_after_the_end)
{
	struct virtio_balloon_stat first = {VIRTIO_BALLOON_S_MEMFREE, 1};
	struct asker a;

	device_reset();
	device_run_loop();
	device_begin(F_ALL, QUEUES);
	send_stats(&first, sizeof(first), 0);
	start_asking(&a, 20000);
	usleep(10000);
	virtio_balloon_end(&balloon);
	pthread_join(a.thread, NULL);
	ck_assert_int_eq(a.ret, -EAGAIN);
	ck_assert_int_eq(virtio_balloon_stats(&balloon, &a.stats, 20000), -EAGAIN);
}
END_TEST

START_TEST(no_statistics)
{
	struct virtio_balloon_stats stats;

	device_reset();
	device_begin(F_REPORT, 0x7);
	ck_assert_int_eq(virtio_balloon_stats(&balloon, &stats, 20000), -EAGAIN);
}
END_TEST

/* A second buffer, against the rules, sets the first free. */
START_TEST(two_buffers_of_statistics)
{
	struct virtio_balloon_stat stat = {VIRTIO_BALLOON_S_MEMFREE, 1};

	send_stats(&stat, sizeof(stat), 0);
	send_stats(&stat, sizeof(stat), 0);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[Q_STATS]), 1);
}
END_TEST

/* ---- broken rings ---- */

static const unsigned int all_queues[] = {0, 1, Q_STATS, Q_REPORT};

START_TEST(bad_rings)
{
	unsigned int queue = all_queues[_i % 4];
	uint32_t page = page_of(DEV_BUFFERS);

	device_put_fault(queue, (enum device_fault)(_i / 4), queue == Q_REPORT);
	device_kick(queue);
	device_expect_broken(queue);
	device_begin(F_ALL, QUEUES);
	touch(DEV_BUFFERS, 1);
	send_pages(0, &page, 1, 0);
	device_kick(0);
	ck_assert_uint_eq(device_reap(0), 0);
	ck_assert(!is_there(DEV_BUFFERS));
	ck_assert_uint_eq(fix.needs_reset, 1);
}
END_TEST

START_TEST(wrong_direction)
{
	unsigned int queue = all_queues[_i];
	const struct virtq_piece pieces[] = {{DEV_BUFFERS, PAGE, false}, {DEV_BUFFERS, PAGE, true}};

	touch(DEV_BUFFERS, 1);
	virtq_driver_send(&fix.drv[queue], pieces, 2);
	device_kick(queue);
	device_expect_broken(queue);
	ck_assert(is_there(DEV_BUFFERS));
}
END_TEST

START_TEST(half_a_page_number)
{
	const struct virtq_piece piece = {DEV_BUFFERS, 6, false};

	virtq_driver_send(&fix.drv[_i], &piece, 1);
	device_kick((unsigned int)_i);
	device_expect_broken((unsigned int)_i);
}
END_TEST

/* ---- memory that cannot go back ---- */

static void setup_hugetlb(void)
{
	device_prepare();
	/* Few hosts have huge pages to spare, and the balloon does not look at the pages themselves. */
	fix.mem.options.pages = GUEST_MEM_2M;
	ck_assert_int_eq(virtio_balloon_init(&balloon, &fix.loop, &fix.mem), 0);
	device_attach(&balloon.dev);
	device_begin(BIT(VIRTIO_BALLOON_F_STATS_VQ), 1u << 0 | 1u << 1 | 1u << 2);
}

START_TEST(huge_pages_stay)
{
	const uint32_t pages[] = {page_of(DEV_BUFFERS), page_of(DEV_BUFFERS) + 1};

	ck_assert(!(balloon.dev.features & BIT(VIRTIO_BALLOON_F_REPORTING)));
	ck_assert_int_eq(virtio_balloon_set(&balloon, PAGE), -EOPNOTSUPP);
	ck_assert_uint_eq(config_now().num_pages, 0);
	touch(DEV_BUFFERS, 2);
	send_pages(0, pages, 2, 0);
	device_kick(0);
	ck_assert_uint_eq(device_reap(0), 0);
	ck_assert_uint_eq(n_there(DEV_BUFFERS, 2), 2);
	ck_assert_uint_eq(*device_at(DEV_BUFFERS, 1), 0x5a);
	ck_assert_uint_eq(n_lines, 0);
}
END_TEST

static void setup_prefault(void)
{
	device_prepare();
	fix.mem.options.prefault = true;
	ck_assert_int_eq(virtio_balloon_init(&balloon, &fix.loop, &fix.mem), 0);
	device_attach(&balloon.dev);
	device_begin(BIT(VIRTIO_BALLOON_F_STATS_VQ), 1u << 0 | 1u << 1 | 1u << 2);
}

/* What was made to exist stays until somebody asks for it. */
START_TEST(prefaulted_memory_stays)
{
	ck_assert(!(balloon.dev.features & BIT(VIRTIO_BALLOON_F_REPORTING)));
	ck_assert(balloon.dev.features & BIT(VIRTIO_BALLOON_F_STATS_VQ));
	ck_assert_int_eq(virtio_balloon_set(&balloon, PAGE), 0);
	ck_assert_uint_eq(config_now().num_pages, 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_balloon");
	TCase *tc = tcase_create("balloon"), *huge = tcase_create("huge"),
	      *prefault = tcase_create("prefault");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, target);
	tcase_add_loop_test(tc, inflate, 0, 5);
	tcase_add_test(tc, inflate_outside);
	tcase_add_test(tc, inflate_is_bounded);
	tcase_add_test(tc, reset_in_the_middle);
	tcase_add_test(tc, deflate);
	tcase_add_loop_test(tc, reports, 0, 2);
	tcase_add_test(tc, reports_without_statistics);
	tcase_add_loop_test(tc, poison, 0, 3);
	tcase_add_test(tc, reports_are_bounded);
	tcase_add_loop_test(tc, statistics, 0, 3);
	tcase_add_test(tc, no_statistics_after_the_end);
	tcase_add_test(tc, no_statistics);
	tcase_add_test(tc, two_buffers_of_statistics);
	tcase_add_loop_test(tc, bad_rings, 0, 4 * DEVICE_FAULTS);
	tcase_add_loop_test(tc, wrong_direction, 0, 4);
	tcase_add_loop_test(tc, half_a_page_number, 0, 2);
	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(huge, setup_hugetlb, teardown);
	tcase_add_test(huge, huge_pages_stay);
	suite_add_tcase(s, huge);
	tcase_add_checked_fixture(prefault, setup_prefault, teardown);
	tcase_add_test(prefault, prefaulted_memory_stays);
	suite_add_tcase(s, prefault);
	return device_run(s);
}
