/* vmm/core/evloop: descriptors and timers. */
#include "tests/unit/evloop_fixture.h"

/* ---- descriptors ---- */

START_TEST(test_fd)
{
	for (int i = 0; i < N_FDS; i++)
		add(&sources[i]);
	start();
	evloop_settle(&loop);
	for (int i = 0; i < N_FDS; i++)
		ck_assert_uint_eq(sources[i].calls, 0);
	for (int i = 0; i < N_FDS; i++)
		source_signal(&sources[i]);
	evloop_settle(&loop);
	evloop_settle(&loop);
	for (int i = 0; i < N_FDS; i++) {
		ck_assert_uint_eq(sources[i].calls, 1);
		ck_assert_uint_eq(sources[i].events, EPOLLIN);
	}
}
END_TEST

/* A loop that was not started, driven by hand. */
START_TEST(test_fd_turn)
{
	add(&sources[0]);
	source_signal(&sources[0]);
	evloop_turn(&loop);
	ck_assert_uint_eq(sources[0].calls, 1);
	source_signal(&sources[0]);
	evloop_turn(&loop);
	ck_assert_uint_eq(sources[0].calls, 2);
}
END_TEST

/* Level triggered: what is not taken is told again. */
START_TEST(test_fd_level)
{
	sources[0].act = NULL;
	add(&sources[0]);
	start();
	source_signal(&sources[0]);
	evloop_settle(&loop);
	evloop_settle(&loop);
	evloop_stop(&loop);
	ck_assert_uint_gt(sources[0].calls, 1);
}
END_TEST

START_TEST(test_fd_refused)
{
	struct evloop_fd efd = {.fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC),
				.fn = source_on_event,
				.arg = &sources[0]};

	ck_assert_int_ge(efd.fd, 0);
	ck_assert_int_eq(evloop_add(&loop, &efd, EPOLLIN), -EPERM);
	ck_assert(!efd.added);
	evloop_del(&loop, &efd); /* does nothing */
	close(efd.fd);
	efd.fd = -1;
	ck_assert_int_eq(evloop_add(&loop, &efd, EPOLLIN), -EBADF);
	efd.fd = sources[0].efd.fd;
	ck_assert_int_eq(evloop_add(&loop, &efd, EPOLLIN), 0);
	evloop_del(&loop, &efd);
}
END_TEST

/* A paused descriptor says nothing, not even that the other side hung up. */
START_TEST(test_fd_pause)
{
	int fds[2];

	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	close(sources[0].efd.fd);
	sources[0].efd.fd = fds[0];
	sources[0].act = NULL;
	add(&sources[0]);
	ck_assert_int_eq(evloop_mod(&loop, &sources[0].efd, 0), 0);
	ck_assert_int_eq(evloop_mod(&loop, &sources[0].efd, 0), 0);
	close(fds[1]);
	start();
	evloop_settle(&loop);
	ck_assert_uint_eq(sources[0].calls, 0);
	evloop_stop(&loop);
	ck_assert_int_eq(evloop_mod(&loop, &sources[0].efd, EPOLLIN), 0);
	start();
	evloop_settle(&loop);
	evloop_stop(&loop);
	ck_assert_uint_gt(sources[0].calls, 0);
	ck_assert_uint_eq(sources[0].events, EPOLLHUP);
}
END_TEST

START_TEST(test_fd_mod)
{
	add(&sources[0]);
	ck_assert_int_eq(evloop_mod(&loop, &sources[0].efd, EPOLLIN), 0);
	ck_assert_int_eq(evloop_mod(&loop, &sources[0].efd, EPOLLOUT | EPOLLIN), 0);
	start();
	evloop_settle(&loop);
	evloop_stop(&loop);
	ck_assert_uint_gt(sources[0].calls, 0);
	ck_assert_uint_eq(sources[0].events, EPOLLOUT);
	sources[0].calls = 0;
	ck_assert_int_eq(evloop_mod(&loop, &sources[0].efd, EPOLLIN), 0);
	start();
	evloop_settle(&loop);
	ck_assert_uint_eq(sources[0].calls, 0);
}
END_TEST

static void act_del_self(struct source *source)
{
	evloop_del(&loop, &source->efd);
	evloop_del(&loop, &source->efd); /* a second time does nothing */
}

static void act_pause_self(struct source *source)
{
	evloop_mod(&loop, &source->efd, 0);
}

static void act_del_other(struct source *source)
{
	source_drain(source);
	evloop_del(&loop, &source->other->efd);
}

static void act_pause_other(struct source *source)
{
	source_drain(source);
	evloop_mod(&loop, &source->other->efd, 0);
}

/* Removed and put back in one callback: the event is told, once, by a later wait. */
static void act_cycle_other(struct source *source)
{
	source_drain(source);
	evloop_mod(&loop, &source->other->efd, 0);
	evloop_mod(&loop, &source->other->efd, EPOLLIN);
}

static void act_cycle_self(struct source *source)
{
	evloop_del(&loop, &source->efd);
	if (source->calls < 3)
		evloop_add(&loop, &source->efd, EPOLLIN);
}

static void (*const self_acts[])(struct source *) = {act_del_self, act_pause_self};

START_TEST(test_fd_self)
{
	sources[0].act = self_acts[_i];
	add(&sources[0]);
	source_signal(&sources[0]); /* and never drained */
	start();
	evloop_settle(&loop);
	ck_assert_uint_eq(sources[0].calls, 1);
	ck_assert(!sources[0].efd.added);
}
END_TEST

START_TEST(test_fd_cycle_self)
{
	sources[0].act = act_cycle_self;
	add(&sources[0]);
	source_signal(&sources[0]);
	start();
	evloop_settle(&loop);
	ck_assert_uint_eq(sources[0].calls, 3);
}
END_TEST

static void (*const other_acts[])(struct source *) = {act_del_other, act_pause_other};

/* Two ready descriptors in one batch; each removes the other, so exactly one is called. */
START_TEST(test_fd_other)
{
	for (int i = 0; i < 2; i++) {
		sources[i].act = other_acts[_i];
		sources[i].other = &sources[1 - i];
		add(&sources[i]);
		source_signal(&sources[i]);
	}
	start();
	evloop_settle(&loop);
	ck_assert_uint_eq(sources[0].calls + sources[1].calls, 1);
	ck_assert_int_ne(sources[0].efd.added, sources[1].efd.added);
}
END_TEST

START_TEST(test_fd_cycle_other)
{
	for (int i = 0; i < 2; i++) {
		sources[i].act = act_cycle_other;
		sources[i].other = &sources[1 - i];
		add(&sources[i]);
		source_signal(&sources[i]);
	}
	start();
	evloop_settle(&loop);
	ck_assert_uint_eq(sources[0].calls, 1);
	ck_assert_uint_eq(sources[1].calls, 1);
}
END_TEST

/* ---- timers ---- */

static struct alarm {
	struct evloop_timer timer;
	unsigned int fired;
	unsigned int place; /* the how many-th of all */
	uint64_t at;
	uint64_t again; /* ns; 0: not */
	struct evloop_timer *cancel;
} alarms[4];

static unsigned int n_fired;

static void on_alarm(void *arg)
{
	struct alarm *alarm = arg;

	alarm->fired++;
	alarm->place = ++n_fired;
	alarm->at = evloop_now();
	if (alarm->cancel)
		evloop_timer_cancel(&loop, alarm->cancel);
	if (alarm->again && alarm->fired < 3)
		evloop_timer_set(&loop, &alarm->timer, alarm->again);
}

static void setup_alarms(void)
{
	setup();
	n_fired = 0;
	memset(alarms, 0, sizeof(alarms));
	for (int i = 0; i < 4; i++)
		alarms[i].timer = (struct evloop_timer){.fn = on_alarm, .arg = &alarms[i]};
}

/* Runs the loop until it must have seen all timers. */
static void run_for(uint64_t ns)
{
	start();
	usleep((useconds_t)(ns / 1000));
	evloop_settle(&loop);
	evloop_stop(&loop);
}

START_TEST(test_timer_order)
{
	static const uint64_t delay[] = {120 * MS, 40 * MS, 0, 80 * MS};
	static const unsigned int place[] = {4, 2, 1, 3};
	uint64_t before = evloop_now();

	for (int i = 0; i < 4; i++)
		evloop_timer_set(&loop, &alarms[i].timer, delay[i]);
	run_for(130 * MS);
	for (int i = 0; i < 4; i++) {
		ck_assert_uint_eq(alarms[i].fired, 1);
		ck_assert_uint_eq(alarms[i].place, place[i]);
		/* Never early. */
		ck_assert_uint_ge(alarms[i].at, before + delay[i]);
		ck_assert(!alarms[i].timer.armed);
	}
}
END_TEST

/* Equal deadlines go in the order set; as good as equal, as the clock moves between the calls. */
START_TEST(test_timer_fifo)
{
	for (int i = 0; i < 4; i++)
		evloop_timer_set(&loop, &alarms[i].timer, MS);
	run_for(5 * MS);
	for (unsigned int i = 0; i < 4; i++)
		ck_assert_uint_eq(alarms[i].place, i + 1);
}
END_TEST

START_TEST(test_timer_cancel)
{
	for (int i = 0; i < 4; i++)
		evloop_timer_set(&loop, &alarms[i].timer, (uint64_t)i * MS);
	evloop_timer_cancel(&loop, &alarms[0].timer); /* first, middle */
	evloop_timer_cancel(&loop, &alarms[2].timer);
	evloop_timer_cancel(&loop, &alarms[2].timer); /* a second time does nothing */
	run_for(10 * MS);
	ck_assert_uint_eq(alarms[0].fired, 0);
	ck_assert_uint_eq(alarms[1].fired, 1);
	ck_assert_uint_eq(alarms[2].fired, 0);
	ck_assert_uint_eq(alarms[3].fired, 1);
}
END_TEST

/* Both are due at once; the first takes the second away. */
START_TEST(test_timer_cancel_in_callback)
{
	alarms[0].cancel = &alarms[1].timer;
	evloop_timer_set(&loop, &alarms[0].timer, 0);
	evloop_timer_set(&loop, &alarms[1].timer, 0);
	evloop_timer_set(&loop, &alarms[2].timer, 0);
	usleep(1000);
	run_for(2 * MS);
	ck_assert_uint_eq(alarms[0].fired, 1);
	ck_assert_uint_eq(alarms[1].fired, 0);
	ck_assert_uint_eq(alarms[2].fired, 1);
}
END_TEST

START_TEST(test_timer_moved)
{
	evloop_timer_set(&loop, &alarms[0].timer, 1);
	evloop_timer_set(&loop, &alarms[1].timer, 3600 * 1000 * MS);
	evloop_timer_set(&loop, &alarms[0].timer, 3600 * 1000 * MS);
	evloop_timer_set(&loop, &alarms[1].timer, 1);
	run_for(2 * MS);
	ck_assert_uint_eq(alarms[0].fired, 0);
	ck_assert(alarms[0].timer.armed);
	ck_assert_uint_eq(alarms[1].fired, 1);
	evloop_timer_cancel(&loop, &alarms[0].timer);
}
END_TEST

/* Moved over others: each of them fires once, where it belongs now. */
START_TEST(test_timer_moved_over_others)
{
	static const unsigned int place[] = {1, 3, 2};

	evloop_timer_set(&loop, &alarms[0].timer, 4 * MS);
	evloop_timer_set(&loop, &alarms[1].timer, MS);
	evloop_timer_set(&loop, &alarms[2].timer, 12 * MS);
	evloop_timer_set(&loop, &alarms[1].timer, 20 * MS);
	run_for(30 * MS);
	for (unsigned int i = 0; i < 3; i++) {
		ck_assert_uint_eq(alarms[i].fired, 1);
		ck_assert_uint_eq(alarms[i].place, place[i]);
	}
}
END_TEST

/* Further away than the clock counts is never, not at once. */
START_TEST(test_timer_never)
{
	evloop_timer_set(&loop, &alarms[0].timer, UINT64_MAX);
	evloop_timer_set(&loop, &alarms[1].timer, 1);
	run_for(2 * MS);
	ck_assert_uint_eq(alarms[0].fired, 0);
	ck_assert_uint_eq(alarms[1].fired, 1);
}
END_TEST

START_TEST(test_timer_rearm_in_callback)
{
	alarms[0].again = _i ? MS : 1;
	evloop_timer_set(&loop, &alarms[0].timer, 0);
	run_for(20 * MS);
	ck_assert_uint_eq(alarms[0].fired, 3);
}
END_TEST

/* A timer that is always due again does not keep the descriptors from their turn. */
static void on_busy(void *arg)
{
	struct alarm *alarm = arg;

	alarm->fired++;
	evloop_timer_set(&loop, &alarm->timer, 0);
}

START_TEST(test_timer_busy)
{
	alarms[0].timer.fn = on_busy;
	evloop_timer_set(&loop, &alarms[0].timer, 0);
	add(&sources[0]);
	start();
	source_signal(&sources[0]);
	usleep(5000);
	evloop_settle(&loop);
	evloop_stop(&loop);
	ck_assert_uint_eq(sources[0].calls, 1);
	ck_assert_uint_gt(alarms[0].fired, 3);
}
END_TEST

static void set_from_loop(void *arg)
{
	struct alarm *alarm = arg;

	evloop_timer_set(&loop, &alarm->timer, 2 * MS);
}

/* Set while the loop already waits without a deadline. */
START_TEST(test_timer_while_waiting)
{
	start();
	evloop_settle(&loop);
	evloop_call(&loop, set_from_loop, &alarms[0]);
	usleep(3000);
	evloop_settle(&loop);
	evloop_stop(&loop);
	ck_assert_uint_eq(alarms[0].fired, 1);
}
END_TEST

/* An idle loop sleeps. */
START_TEST(test_idle)
{
	struct rusage usage;
	uint64_t spent;

	evloop_timer_set(&loop, &alarms[0].timer, 3600 * 1000 * MS);
	add(&sources[0]);
	run_for(200 * MS);
	ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
	spent = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
		(uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
	ck_assert_uint_lt(spent, 150000);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("core/evloop");
	TCase *fds = tcase_create("descriptors"), *timers = tcase_create("timers");

	tcase_add_checked_fixture(fds, setup, teardown);
	tcase_add_test(fds, test_fd);
	tcase_add_test(fds, test_fd_turn);
	tcase_add_test(fds, test_fd_level);
	tcase_add_test(fds, test_fd_refused);
	tcase_add_test(fds, test_fd_pause);
	tcase_add_test(fds, test_fd_mod);
	tcase_add_loop_test(fds, test_fd_self, 0, 2);
	tcase_add_test(fds, test_fd_cycle_self);
	tcase_add_loop_test(fds, test_fd_other, 0, 2);
	tcase_add_test(fds, test_fd_cycle_other);
	tcase_add_checked_fixture(timers, setup_alarms, teardown);
	tcase_add_test(timers, test_timer_order);
	tcase_add_test(timers, test_timer_fifo);
	tcase_add_test(timers, test_timer_cancel);
	tcase_add_test(timers, test_timer_cancel_in_callback);
	tcase_add_test(timers, test_timer_moved);
	tcase_add_test(timers, test_timer_moved_over_others);
	tcase_add_test(timers, test_timer_never);
	tcase_add_loop_test(timers, test_timer_rearm_in_callback, 0, 2);
	tcase_add_test(timers, test_timer_busy);
	tcase_add_test(timers, test_timer_while_waiting);
	tcase_add_test(timers, test_idle);
	suite_add_tcase(s, fds);
	suite_add_tcase(s, timers);
	return s;
}

int main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
