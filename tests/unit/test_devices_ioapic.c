/* The I/O APIC: registers, delivery, masked edges, EOI, routes. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "devices/ioapic.h"
#include "vmm/core/bus.h"

static struct fixture {
	struct ioapic ioapic;
	int delivered, answer;
	uint64_t address;
	uint32_t data;
	int routes;
	unsigned int route_pin;
	struct ioapic_route route;
} fx;

static int fake_deliver(void *arg, uint64_t address, uint32_t data)
{
	ck_assert_ptr_eq(arg, &fx);
	fx.delivered++;
	fx.address = address;
	fx.data = data;
	return fx.answer;
}

static void fake_route_changed(void *arg, unsigned int pin, const struct ioapic_route *route)
{
	ck_assert_ptr_eq(arg, &fx);
	fx.routes++;
	fx.route_pin = pin;
	fx.route = *route;
}

static void setup(void)
{
	const struct ioapic_config config = {
		.deliver = fake_deliver,
		.route_changed = fake_route_changed,
		.arg = &fx,
		.id = 5,
	};

	memset(&fx, 0, sizeof(fx));
	fx.answer = 1;
	ioapic_init(&fx.ioapic, &config);
}

static void teardown(void)
{
	ioapic_fini(&fx.ioapic);
}

static uint32_t reg_read(uint8_t reg)
{
	ioapic_write(&fx.ioapic, IOAPIC_REGSEL, 4, reg);
	return (uint32_t)ioapic_read(&fx.ioapic, IOAPIC_WINDOW, 4);
}

static void reg_write(uint8_t reg, uint32_t value)
{
	ioapic_write(&fx.ioapic, IOAPIC_REGSEL, 4, reg);
	ioapic_write(&fx.ioapic, IOAPIC_WINDOW, 4, value);
}

/* As Linux does: the high half first, the mask bit last. */
static void rte_write(unsigned int pin, uint64_t rte)
{
	reg_write((uint8_t)(0x11 + 2 * pin), (uint32_t)(rte >> 32));
	reg_write((uint8_t)(0x10 + 2 * pin), (uint32_t)rte);
}

#define MASK  0x10000u
#define LEVEL 0x08000u
#define RIRR  0x04000u

START_TEST(test_registers)
{
	ck_assert_uint_eq(ioapic_read(&fx.ioapic, IOAPIC_REGSEL, 4), 0);
	ck_assert_uint_eq(reg_read(0), 5u << 24);
	ck_assert_uint_eq(reg_read(1), 0x003f0020);
	ck_assert_uint_eq(reg_read(2), 5u << 24);
	reg_write(0, UINT32_MAX);
	ck_assert_uint_eq(reg_read(0), 0x0f000000);
	reg_write(1, 0);
	reg_write(2, 0);
	ck_assert_uint_eq(reg_read(1), 0x003f0020);
	ck_assert_uint_eq(reg_read(2), 0x0f000000);
	ck_assert_uint_eq(reg_read(0x0f), UINT32_MAX);
	ck_assert_uint_eq(reg_read(0x90), UINT32_MAX);
	ck_assert_uint_eq(reg_read(0xff), UINT32_MAX);
	reg_write(0x90, 0);
	reg_write(0xff, 0);
	ck_assert_uint_eq(ioapic_read(&fx.ioapic, IOAPIC_REGSEL, 1), 0xff);
	ck_assert_int_eq(fx.routes, 0);
}
END_TEST

START_TEST(test_fewer_pins)
{
	ioapic_limit_pins(&fx.ioapic, 16);
	ck_assert_uint_eq(reg_read(1), 0x000f0020);
	rte_write(15, 0x31);
	ck_assert_uint_eq(reg_read(0x2e), 0x31);
	ck_assert_int_eq(fx.routes, 1);
	rte_write(16, 0x32);
	ck_assert_uint_eq(reg_read(0x30), UINT32_MAX);
	ck_assert_uint_eq(reg_read(0x31), UINT32_MAX);
	ck_assert_int_eq(fx.routes, 1);
}
END_TEST

START_TEST(test_rte_registers)
{
	uint8_t low = (uint8_t)(0x10 + 2 * _i), high = (uint8_t)(low + 1);

	ck_assert_uint_eq(reg_read(low), MASK);
	ck_assert_uint_eq(reg_read(high), 0);
	reg_write(high, UINT32_MAX);
	reg_write(low, UINT32_MAX);
	/* Delivery status and remote IRR are read only, bits 17 to 48 reserved. */
	ck_assert_uint_eq(reg_read(low), 0x1afff);
	ck_assert_uint_eq(reg_read(high), 0xff000000);
	reg_write(low, 0);
	reg_write(high, 0);
	ck_assert_uint_eq(reg_read(low), 0);
	ck_assert_uint_eq(reg_read(high), 0);
}
END_TEST

START_TEST(test_widths)
{
	static const unsigned int widths[] = {1, 2, 4, 8};

	for (uint64_t offset = 0; offset < 0x60; offset++)
		for (int w = 0; w < 4; w++) {
			ioapic_write(&fx.ioapic, offset, widths[w], UINT64_MAX);
			ck_assert_uint_eq(ioapic_read(&fx.ioapic, offset, widths[w]) &
						  ~bus_ones(widths[w]),
					  0);
		}
	ck_assert_uint_eq(ioapic_read(&fx.ioapic, 0x04, 4), UINT32_MAX);
	ioapic_write(&fx.ioapic, IOAPIC_REGSEL, 1, 1);
	ck_assert_uint_eq(ioapic_read(&fx.ioapic, IOAPIC_WINDOW, 1), 0x20);
	ck_assert_uint_eq(ioapic_read(&fx.ioapic, IOAPIC_WINDOW, 8), 0xffffffff003f0020);
	/* Half a register is not written. */
	ioapic_write(&fx.ioapic, IOAPIC_REGSEL, 1, 0x10);
	ioapic_write(&fx.ioapic, IOAPIC_WINDOW, 2, 0);
	ck_assert_uint_eq(reg_read(0x10), MASK);
	ioapic_write(&fx.ioapic, IOAPIC_WINDOW, 8, 0x31);
	ck_assert_uint_eq(reg_read(0x10), 0x31);
}
END_TEST

static const struct {
	uint64_t rte;
	uint64_t address;
	uint32_t data;
} messages[] = {
	{0x0000000000000031, 0xfee00000, 0x31},	  /* fixed, physical, edge */
	{0x0300000000000031, 0xfee03000, 0x31},	  /* to APIC 3 */
	{0xff00000000000931, 0xfeeff004, 0x131},  /* lowest priority, logical */
	{0x0000000000000400, 0xfee00000, 0x400},  /* NMI */
	{0x0000000000002031, 0xfee00000, 0x31},	  /* active low says nothing */
	{0x0000000000008031, 0xfee00000, 0xc031}, /* level */
	{0x2cff000000000031, 0xfee2c000, 0x31},	  /* reserved bits say nothing */
};

START_TEST(test_message)
{
	struct irq_line line = ioapic_irq_line(&fx.ioapic, 9);

	rte_write(9, messages[_i].rte);
	irq_raise(&line);
	ck_assert_int_eq(fx.delivered, 1);
	ck_assert_uint_eq(fx.address, messages[_i].address);
	ck_assert_uint_eq(fx.data, messages[_i].data);
	ck_assert_uint_eq(fx.route_pin, 9);
	ck_assert_uint_eq(fx.route.address, messages[_i].address);
	ck_assert_uint_eq(fx.route.data, messages[_i].data);
	ck_assert_int_eq(fx.route.level, !!(messages[_i].rte & LEVEL));
	ck_assert(!fx.route.masked);
}
END_TEST

START_TEST(test_edge)
{
	struct irq_line line = ioapic_irq_line(&fx.ioapic, 4);

	rte_write(4, 0x34);
	irq_lower(&line);
	ck_assert_int_eq(fx.delivered, 0);
	irq_raise(&line);
	irq_raise(&line);
	ck_assert_int_eq(fx.delivered, 1);
	/* Neither an EOI nor a new RTE repeats an edge. */
	ioapic_eoi(&fx.ioapic, 0x34);
	rte_write(4, 0x35);
	ck_assert_int_eq(fx.delivered, 1);
	ck_assert_uint_eq(reg_read(0x18), 0x35);
	irq_lower(&line);
	irq_raise(&line);
	ck_assert_int_eq(fx.delivered, 2);
	ck_assert_uint_eq(fx.data, 0x35);
}
END_TEST

START_TEST(test_masked_edge)
{
	struct irq_line line = ioapic_irq_line(&fx.ioapic, 4);

	rte_write(4, MASK | 0x34);
	irq_raise(&line);
	ck_assert_int_eq(fx.delivered, 0);
	/* Still up at unmasking: delivered once. */
	rte_write(4, 0x34);
	ck_assert_int_eq(fx.delivered, 1);
	rte_write(4, MASK | 0x34);
	rte_write(4, 0x34);
	ck_assert_int_eq(fx.delivered, 1);
	/* Down again: whoever polled the device has dealt with it. */
	rte_write(4, MASK | 0x34);
	irq_lower(&line);
	irq_raise(&line);
	irq_lower(&line);
	rte_write(4, 0x34);
	ck_assert_int_eq(fx.delivered, 1);
}
END_TEST

START_TEST(test_level)
{
	struct irq_line line = ioapic_irq_line(&fx.ioapic, 20);

	rte_write(20, LEVEL | 0x51);
	irq_raise(&line);
	ck_assert_int_eq(fx.delivered, 1);
	ck_assert_uint_eq(reg_read(0x38), RIRR | LEVEL | 0x51);
	/* Not again before the EOI of its vector. */
	irq_lower(&line);
	irq_raise(&line);
	rte_write(20, LEVEL | 0x51);
	ioapic_eoi(&fx.ioapic, 0x50);
	ck_assert_int_eq(fx.delivered, 1);
	ioapic_eoi(&fx.ioapic, 0x51);
	ck_assert_int_eq(fx.delivered, 2);
	irq_lower(&line);
	ioapic_eoi(&fx.ioapic, 0x51);
	ck_assert_int_eq(fx.delivered, 2);
	ck_assert_uint_eq(reg_read(0x38), LEVEL | 0x51);
	irq_raise(&line);
	ck_assert_int_eq(fx.delivered, 3);
	/* The EOI register does the same. */
	ioapic_write(&fx.ioapic, IOAPIC_EOIR, 4, 0x51);
	ck_assert_int_eq(fx.delivered, 4);
}
END_TEST

START_TEST(test_masked_level)
{
	struct irq_line line = ioapic_irq_line(&fx.ioapic, 20);

	irq_raise(&line);
	rte_write(20, MASK | LEVEL | 0x51);
	ck_assert_int_eq(fx.delivered, 0);
	rte_write(20, LEVEL | 0x51);
	ck_assert_int_eq(fx.delivered, 1);
	rte_write(20, MASK | LEVEL | 0x51);
	ioapic_eoi(&fx.ioapic, 0x51);
	ck_assert_int_eq(fx.delivered, 1);
	rte_write(20, LEVEL | 0x51);
	ck_assert_int_eq(fx.delivered, 2);
	/* Linux clears remote IRR by a round trip over edge mode. */
	rte_write(20, MASK | 0x51);
	ck_assert_uint_eq(reg_read(0x38) & RIRR, 0);
	rte_write(20, LEVEL | 0x51);
	ck_assert_int_eq(fx.delivered, 3);
}
END_TEST

START_TEST(test_level_nobody_took)
{
	struct irq_line line = ioapic_irq_line(&fx.ioapic, 20);

	fx.answer = _i ? -EINVAL : 0;
	rte_write(20, LEVEL | 0x51);
	irq_raise(&line);
	ck_assert_uint_eq(reg_read(0x38) & RIRR, 0);
	fx.answer = 1;
	rte_write(20, LEVEL | 0x51);
	ck_assert_int_eq(fx.delivered, 2);
	ck_assert_uint_eq(reg_read(0x38) & RIRR, RIRR);
}
END_TEST

START_TEST(test_routes)
{
	rte_write(9, MASK | LEVEL | 0x51);
	fx.routes = 0;
	reg_write(0x23, 2u << 24);
	ck_assert_int_eq(fx.routes, 1);
	ck_assert_uint_eq(fx.route_pin, 9);
	ck_assert_uint_eq(fx.route.address, 0xfee02000);
	ck_assert(fx.route.masked);
	reg_write(0x22, LEVEL | 0x51);
	ck_assert_int_eq(fx.routes, 2);
	ck_assert_uint_eq(fx.route.data, 0xc051);
	ck_assert(fx.route.level && !fx.route.masked);
	/* The same again is no change. */
	reg_write(0x22, LEVEL | 0x51);
	ck_assert_int_eq(fx.routes, 2);
}
END_TEST

/* Without the callback nothing is called. */
START_TEST(test_no_route_callback)
{
	const struct ioapic_config config = {.deliver = fake_deliver, .arg = &fx};

	teardown();
	ioapic_init(&fx.ioapic, &config);
	rte_write(9, 0x51);
	ck_assert_int_eq(fx.routes, 0);
}
END_TEST

static void *toggle_lines(void *arg)
{
	struct irq_line line = ioapic_irq_line(&fx.ioapic, *(unsigned int *)arg);

	for (int i = 0; i < 10000; i++) {
		irq_raise(&line);
		irq_lower(&line);
	}
	return NULL;
}

/* Two devices and a CPU at once; every edge is delivered. */
START_TEST(test_threads)
{
	pthread_t threads[2];
	unsigned int pins[2] = {4, 5};

	rte_write(4, 0x34);
	rte_write(5, 0x35);
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, toggle_lines, &pins[i]);
	for (int i = 0; i < 10000; i++)
		rte_write(6, (uint64_t)(i & 0xff));
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(fx.delivered, 20000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("devices/ioapic");
	TCase *tc = tcase_create("ioapic");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_registers);
	tcase_add_test(tc, test_fewer_pins);
	tcase_add_loop_test(tc, test_rte_registers, 0, IOAPIC_PINS);
	tcase_add_test(tc, test_widths);
	tcase_add_loop_test(tc, test_message, 0, sizeof(messages) / sizeof(messages[0]));
	tcase_add_test(tc, test_edge);
	tcase_add_test(tc, test_masked_edge);
	tcase_add_test(tc, test_level);
	tcase_add_test(tc, test_masked_level);
	tcase_add_loop_test(tc, test_level_nobody_took, 0, 2);
	tcase_add_test(tc, test_routes);
	tcase_add_test(tc, test_no_route_callback);
	tcase_add_test(tc, test_threads);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
