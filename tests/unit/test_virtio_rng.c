/* virtio/rng: bytes of any framing, bounds, broken rings, and life on an event loop. */
#include "tests/unit/device_fixture.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

#include "virtio/rng.h"

static struct virtio_rng rng;

static void setup(void)
{
	device_prepare();
	ck_assert_int_eq(virtio_rng_init(&rng, &fix.loop), 0);
	device_attach(&rng.dev);
	device_begin(BIT(VIRTIO_RING_F_INDIRECT_DESC), 1);
}

static void teardown(void)
{
	device_detach();
	virtio_rng_fini(&rng);
	device_finish();
}

static void ask(gpa_t gpa, uint32_t len, uint32_t cut)
{
	struct virtq_piece pieces[VIRTIO_RNG_QUEUE_SIZE];

	virtq_driver_send(&fix.drv[0], pieces,
			  virtq_driver_cut(pieces, VIRTIO_RNG_QUEUE_SIZE, gpa, len, true, cut));
}

/* Whether the bytes look random: each value occurs, none of them often. */
static bool is_random(const uint8_t *bytes, size_t len)
{
	unsigned int count[256] = {0}, most = 0;

	for (size_t i = 0; i < len; i++)
		count[bytes[i]]++;
	for (unsigned int i = 0; i < 256; i++)
		most = count[i] > most ? count[i] : most;
	return most < len / 256 * 4 + 8;
}

START_TEST(fills_buffers_of_any_cut)
{
	static const struct {
		uint32_t len, cut, want;
	} cases[] = {{64, 0, 64}, {1, 0, 1},	   {4096, 0, 4096},    {4096, 700, 4096},
		     {7, 1, 7},	  {5000, 0, 4096}, {8000, 1000, 4096}, {1 << 20, 0, 4096}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t *buf = device_at(DEV_BUFFERS, 1 << 21);
		uint32_t n;

		memset(buf, 0xaa, 1 << 21);
		ask(DEV_BUFFERS + 3, cases[i].len, cases[i].cut);
		device_kick(0);
		n = device_reap(0);
		ck_assert_uint_eq(n, cases[i].want);
		ck_assert(n < 256 || is_random(buf + 3, n));
		/* nothing beside it */
		for (uint32_t k = 0; k < 64; k++)
			ck_assert_uint_eq(buf[k < 3 ? k : 3 + n + k - 3], 0xaa);
	}
	ck_assert_uint_eq(fix.interrupts[0], 8);
	ck_assert_uint_eq(n_lines, 0);
}
END_TEST

START_TEST(indirect_and_alike_are_never_the_same)
{
	const struct virtq_piece pieces[] = {{DEV_BUFFERS, 30, true}, {DEV_BUFFERS + 30, 34, true}};
	uint8_t before[64] = {0};

	for (unsigned int i = 0; i < 20; i++) {
		virtq_driver_put(&fix.drv[0], virtq_driver_chain_indirect(&fix.drv[0], pieces, 2));
		virtq_driver_publish(&fix.drv[0]);
		device_kick(0);
		ck_assert_uint_eq(device_reap(0), 64);
		ck_assert_mem_ne(before, device_at(DEV_BUFFERS, 64), 64);
		memcpy(before, device_at(DEV_BUFFERS, 64), 64);
	}
}
END_TEST

START_TEST(a_batch_costs_one_interrupt)
{
	for (unsigned int i = 0; i < 8; i++)
		ask(DEV_BUFFERS + 64 * i, 64, 0);
	device_kick(0);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[0]), 8);
	ck_assert_uint_eq(fix.interrupts[0], 1);
	ck_assert(!rng.timer.armed);
}
END_TEST

/* Eight buffers of 64 MiB less a bit, which overlap: a kick serves four pages, and kicks are deaf until the pause ends. */
START_TEST(a_kick_is_bounded)
{
	for (unsigned int i = 0; i < 8; i++)
		ask(DEV_BUFFERS, DEV_RAM_SIZE - DEV_BUFFERS, 0);
	device_kick(0);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[0]), 4);
	ck_assert(rng.timer.armed);
	device_kick(0);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[0]), 4);
	ck_assert_uint_eq(virtq_driver_used_flags(&fix.drv[0]), VRING_USED_F_NO_NOTIFY);
	/* A reset forgets the pause. */
	device_reset();
	ck_assert(!rng.timer.armed);
}
END_TEST

static uint64_t thread_cpu_ns(void)
{
	struct timespec t;
	clockid_t clock;

	ck_assert_int_eq(pthread_getcpuclockid(fix.loop.thread, &clock), 0);
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A guest that never stops asking gets what one pause after the other allows, and the loop stays idle between. */
START_TEST(no_end_of_asking)
{
	uint64_t since, bytes = 0, ns;

	device_reset();
	device_run_loop();
	device_begin(0, 1);
	since = evloop_now();
	while (evloop_now() - since < 500 * UINT64_C(1000000)) {
		while (fix.drv[0].n_free > 0)
			ask(DEV_BUFFERS, 1 << 20, 0);
		virtio_device_rekick(&rng.dev, 0);
		usleep(100);
		while (virtq_driver_n_used(&fix.drv[0]) > 0)
			bytes += device_reap(0);
	}
	ns = evloop_now() - since;
	ck_assert_uint_ge(bytes, 2 * VIRTIO_RNG_KICK_BYTES);
	ck_assert_uint_le(bytes, (ns / VIRTIO_RNG_PAUSE + 1) * VIRTIO_RNG_KICK_BYTES);
	/* Sanitizers make it slower than it is. */
	ck_assert_uint_le(thread_cpu_ns(), ns / 2);
	/* What it asked for last comes without another kick. */
	while (virtq_driver_n_used(&fix.drv[0]) + fix.drv[0].n_free < VIRTIO_RNG_QUEUE_SIZE)
		usleep(100);
}
END_TEST

/* ---- a host that gives nothing ---- */

static void protect(gpa_t gpa, size_t len, int how)
{
	ck_assert_int_eq(mprotect(device_at(gpa, len), len, how), 0);
}

/* Memory that the kernel cannot write to, as behind the end of a file that was cut: what was drawn before it counts. */
START_TEST(memory_that_is_not_there)
{
	protect(DEV_BUFFERS + 4096, 4096, PROT_NONE);
	ask(DEV_BUFFERS + 4096 - 100, 300, 0);
	ask(DEV_BUFFERS + 4096, 64, 0);
	device_kick(0);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[0]), 1);
	ck_assert_uint_eq(device_reap(0), 100);
	ck_assert(rng.timer.armed);
	ck_assert_uint_eq(n_lines, 1);
	/* It waits, does not hog the loop, and is served when there is something. */
	device_kick(0);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[0]), 0);
	protect(DEV_BUFFERS + 4096, 4096, PROT_READ | PROT_WRITE);
	evloop_timer_cancel(&fix.loop, &rng.timer);
	rng.timer.fn(rng.timer.arg);
	ck_assert(device_rekicked(0));
	device_kick(0);
	ck_assert_uint_eq(device_reap(0), 64);
	ck_assert_uint_eq(fix.needs_reset, 0);
	ck_assert(!rng.timer.armed);
}
END_TEST

/* For the calling thread alone, and for good. */
static void forbid_getrandom(void *arg)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = 4, .filter = filter};
	bool *done = arg;

	*done = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

START_TEST(getrandom_is_forbidden)
{
	bool forbidden = false;

	device_reset();
	device_run_loop();
	device_begin(0, 1);
	evloop_call(&fix.loop, forbid_getrandom, &forbidden);
	ck_assert(forbidden);
	ask(DEV_BUFFERS, 64, 0);
	virtio_device_rekick(&rng.dev, 0);
	/* It is tried again, and a reset finds it well. */
	while (n_lines < 3)
		usleep(100);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[0]), 0);
	ck_assert_uint_eq(fix.needs_reset, 0);
	device_reset();
	ck_assert_uint_eq(fix.stopped, 1);
}
END_TEST

START_TEST(bad_rings)
{
	device_put_fault(0, _i, true);
	device_kick(0);
	device_expect_broken(0);
	device_begin(0, 1);
	ask(DEV_BUFFERS, 64, 0);
	device_kick(0);
	ck_assert_uint_eq(device_reap(0), 64);
	ck_assert_uint_eq(fix.needs_reset, 1);
}
END_TEST

START_TEST(readable_buffer_breaks)
{
	const struct virtq_piece pieces[] = {{DEV_BUFFERS, 8, false}, {DEV_BUFFERS + 8, 8, true}};

	virtq_driver_send(&fix.drv[0], pieces, _i ? 2 : 1);
	device_kick(0);
	device_expect_broken(0);
}
END_TEST

START_TEST(breaks_on_its_loop)
{
	device_reset();
	device_run_loop();
	for (unsigned int i = 1; i <= 3; i++) {
		device_begin(0, 1);
		ask(DEV_BUFFERS, 64, 0);
		virtio_device_rekick(&rng.dev, 0);
		while (virtq_driver_n_used(&fix.drv[0]) == 0)
			usleep(50);
		device_put_fault(0, FAULT_BAD_INDEX, true);
		virtio_device_rekick(&rng.dev, 0);
		while (fix.needs_reset < i)
			usleep(50);
		device_reset();
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_rng");
	TCase *tc = tcase_create("rng");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, fills_buffers_of_any_cut);
	tcase_add_test(tc, indirect_and_alike_are_never_the_same);
	tcase_add_test(tc, a_batch_costs_one_interrupt);
	tcase_add_test(tc, a_kick_is_bounded);
	tcase_add_test(tc, no_end_of_asking);
	tcase_add_test(tc, memory_that_is_not_there);
	tcase_add_test(tc, getrandom_is_forbidden);
	tcase_add_loop_test(tc, bad_rings, 0, DEVICE_FAULTS);
	tcase_add_loop_test(tc, readable_buffer_breaks, 0, 2);
	tcase_add_test(tc, breaks_on_its_loop);
	suite_add_tcase(s, tc);
	return device_run(s);
}
