/*
 * A virtqueue over hand-driven rings, for tests of virtio/virtq. The RAM has a hole before 4 GiB. One queue per
 * test: fix is made anew for each.
 */
#pragma once

#include <check.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/virtq_driver.h"
#include "virtio/virtq.h"

#define RAM0_SIZE (UINT64_C(2) << 30) /* lazily reserved: two chains of 1 GiB buffers fit */
#define RAM1_BASE (UINT64_C(4) << 30)
#define RAM1_SIZE (UINT64_C(1) << 20)
#define RINGS	  UINT64_C(0x100000)
#define HEAP_END  UINT64_C(0x1000000)
#define SIZE	  16

#define EVENT_IDX (UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX)
#define INDIRECT  (UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC)

#define NEXT  VRING_DESC_F_NEXT
#define WRITE VRING_DESC_F_WRITE

/* For long loops: ck_assert() tells the runner of each success, too. */
#define FIX_CHECK(cond)                                                                            \
	do {                                                                                       \
		if (!(cond))                                                                       \
			ck_abort_msg("not so: %s", #cond);                                         \
	} while (0)

struct virtq_fixture {
	struct guest_mem mem;
	struct virtq_driver drv;
	struct virtq vq;
	struct virtq_chain chain; /* popped last */
	struct iovec iov[VIRTQ_MAX_SIZE];
	gpa_t buf; /* 64 KiB for buffers */
};

static struct virtq_fixture fix;

static inline void fix_make_queue(uint16_t size, uint64_t features)
{
	virtq_driver_init(&fix.drv, &fix.mem, RINGS, HEAP_END, size);
	ck_assert_int_eq(virtq_init(&fix.vq, &fix.mem, &fix.drv.config, features), 0);
	fix.buf = virtq_driver_alloc(&fix.drv, 65536);
}

static inline void fix_setup(void)
{
	const struct guest_mem_region regions[] = {
		{.base = 0, .size = RAM0_SIZE},
		{.base = RAM1_BASE, .size = RAM1_SIZE},
	};

	ck_assert_int_eq(guest_mem_init(&fix.mem, regions, 2), 0);
	fix_make_queue(SIZE, INDIRECT);
}

static inline void fix_teardown(void)
{
	guest_mem_fini(&fix.mem);
}

static inline int fix_pop(void)
{
	return virtq_pop(&fix.vq, &fix.chain, fix.iov, VIRTQ_MAX_SIZE);
}

static inline void fix_offer(uint16_t head)
{
	virtq_driver_put(&fix.drv, head);
	virtq_driver_publish(&fix.drv);
}

static inline int fix_run(Suite *s)
{
	SRunner *runner = srunner_create(s);
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
