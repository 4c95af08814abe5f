/* The ways to end the machine: ACPI power registers, keyboard controller reset, reset control register; and the place of the clock. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "devices/acpi_power.h"
#include "devices/cmos.h"
#include "devices/i8042.h"
#include "vmm/core/bus.h"

static struct fixture {
	struct acpi_power power;
	struct i8042 i8042;
	struct reset_port port;
	struct cmos cmos;
	int offs, resets, level, edges;
} fx;

static const unsigned int widths[] = {1, 2, 4, 8};

static void fake_off(void *arg)
{
	ck_assert_ptr_eq(arg, &fx);
	fx.offs++;
}

static void fake_reset(void *arg)
{
	ck_assert_ptr_eq(arg, &fx);
	fx.resets++;
}

static void fake_raise(void *arg)
{
	(void)arg;
	fx.edges += !fx.level;
	fx.level = 1;
}

static void fake_lower(void *arg)
{
	(void)arg;
	fx.level = 0;
}

static void setup(void)
{
	const struct acpi_power_config config = {
		.power_off = fake_off,
		.reset = fake_reset,
		.arg = &fx,
		.irq = {fake_raise, fake_lower, &fx},
	};

	memset(&fx, 0, sizeof(fx));
	acpi_power_init(&fx.power, &config);
	i8042_init(&fx.i8042, fake_reset, &fx);
	reset_port_init(&fx.port, fake_reset, &fx);
	cmos_init(&fx.cmos);
}

static void teardown(void)
{
	acpi_power_fini(&fx.power);
}

static uint8_t in(unsigned int reg)
{
	return (uint8_t)acpi_power_read(&fx.power, reg, 1);
}

static void out(unsigned int reg, uint8_t value)
{
	acpi_power_write(&fx.power, reg, 1, value);
}

START_TEST(test_registers)
{
	static const struct {
		unsigned int reg;
		uint8_t kept_of_ff; /* what reads back after 0xff was written */
	} registers[] = {
		{ACPI_POWER_SLEEP_CONTROL, ACPI_POWER_SLP_TYP_MASK},
		{ACPI_POWER_SLEEP_STATUS, 0},
		{ACPI_POWER_RESET, 0},
		{ACPI_POWER_EVENT, 0},
		{ACPI_POWER_SIZE, 0xff},
	};

	for (int i = 0; i < 5; i++) {
		if (registers[i].reg < ACPI_POWER_SIZE)
			ck_assert_uint_eq(in(registers[i].reg), 0);
		acpi_power_write(&fx.power, registers[i].reg, 1, 0xff);
		/* 0xff into sleep control enters S7, which ends at once and says so. */
		if (registers[i].reg == ACPI_POWER_SLEEP_CONTROL) {
			ck_assert_uint_eq(in(ACPI_POWER_SLEEP_STATUS), ACPI_POWER_WAK_STS);
			out(ACPI_POWER_SLEEP_STATUS, ACPI_POWER_WAK_STS);
		}
		ck_assert_uint_eq(in(registers[i].reg), registers[i].kept_of_ff);
	}
	ck_assert_int_eq(fx.offs + fx.resets + fx.edges, 0);
}
END_TEST

START_TEST(test_power_off)
{
	uint8_t s5 = ACPI_POWER_SLP_TYP_S5 << ACPI_POWER_SLP_TYP_SHIFT;

	out(ACPI_POWER_SLEEP_CONTROL, s5);
	ck_assert_int_eq(fx.offs, 0);
	out(ACPI_POWER_SLEEP_CONTROL, s5 | ACPI_POWER_SLP_EN);
	ck_assert_int_eq(fx.offs, 1);
	ck_assert_uint_eq(in(ACPI_POWER_SLEEP_CONTROL), s5);
	for (int typ = 0; typ < 8; typ++)
		if (typ != ACPI_POWER_SLP_TYP_S5)
			out(ACPI_POWER_SLEEP_CONTROL, (uint8_t)(typ << 2 | ACPI_POWER_SLP_EN));
	ck_assert_int_eq(fx.offs, 1);
	ck_assert_uint_eq(in(ACPI_POWER_SLEEP_STATUS), ACPI_POWER_WAK_STS);
	out(ACPI_POWER_SLEEP_STATUS, 0x7f);
	ck_assert_uint_eq(in(ACPI_POWER_SLEEP_STATUS), ACPI_POWER_WAK_STS);
	out(ACPI_POWER_SLEEP_STATUS, ACPI_POWER_WAK_STS);
	ck_assert_uint_eq(in(ACPI_POWER_SLEEP_STATUS), 0);
}
END_TEST

START_TEST(test_acpi_reset)
{
	out(ACPI_POWER_RESET, 0);
	out(ACPI_POWER_RESET, ACPI_POWER_RESET_VALUE + 1);
	ck_assert_int_eq(fx.resets, 0);
	out(ACPI_POWER_RESET, ACPI_POWER_RESET_VALUE);
	ck_assert_int_eq(fx.resets, 1);
}
END_TEST

START_TEST(test_power_button)
{
	acpi_power_button(&fx.power);
	ck_assert_int_eq(fx.level, 1);
	ck_assert_int_eq(fx.edges, 1);
	/* Pressed again before the guest looked: one more edge. */
	acpi_power_button(&fx.power);
	ck_assert_int_eq(fx.edges, 2);
	ck_assert_uint_eq(in(ACPI_POWER_EVENT), ACPI_POWER_EVENT_BUTTON);
	ck_assert_int_eq(fx.level, 0);
	ck_assert_uint_eq(in(ACPI_POWER_EVENT), 0);
	out(ACPI_POWER_EVENT, 0xff);
	ck_assert_uint_eq(in(ACPI_POWER_EVENT), 0);
}
END_TEST

START_TEST(test_power_widths)
{
	for (uint64_t offset = 0; offset <= ACPI_POWER_SIZE; offset++)
		for (int w = 0; w < 4; w++) {
			acpi_power_write(&fx.power, offset, widths[w], UINT64_MAX);
			ck_assert_uint_eq(acpi_power_read(&fx.power, offset, widths[w]) | 0xff,
					  bus_ones(widths[w]));
		}
	acpi_power_write(&fx.power, ACPI_POWER_RESET, 4, ACPI_POWER_RESET_VALUE);
	ck_assert_int_eq(fx.resets, 1);
}
END_TEST

/* i8042_flush(): gives up after 16 bytes; kb_wait(): passes at once. */
START_TEST(test_i8042)
{
	int reads = 0;

	while ((i8042_read(&fx.i8042, I8042_COMMAND, 1) & 0x01) && reads < 16) {
		i8042_read(&fx.i8042, I8042_DATA, 1);
		reads++;
	}
	ck_assert_int_eq(reads, 16);
	ck_assert_uint_eq(i8042_read(&fx.i8042, I8042_COMMAND, 1), 0x01);
	ck_assert_uint_eq(i8042_read(&fx.i8042, I8042_DATA, 1), 0x00);
	for (unsigned int command = 0; command < 256; command++) {
		fx.resets = 0;
		i8042_write(&fx.i8042, I8042_COMMAND, 1, command);
		ck_assert_int_eq(fx.resets, command >= 0xf0 && !(command & 1));
	}
	fx.resets = 0;
	for (uint64_t offset = 0; offset < I8042_SIZE; offset++)
		for (int w = 0; w < 4; w++) {
			i8042_write(&fx.i8042, offset, widths[w], UINT64_MAX);
			ck_assert_uint_eq(
				i8042_read(&fx.i8042, offset, widths[w]) & ~bus_ones(widths[w]), 0);
		}
	i8042_write(&fx.i8042, I8042_DATA, 1, 0xfe);
	ck_assert_int_eq(fx.resets, 0);
	ck_assert_uint_eq(i8042_read(&fx.i8042, 2, 1), 0xff);
}
END_TEST

/* default_do_nmi(): neither SERR nor IOCHK; pit_hpet_ptimer_calibrate_cpu(): the output of timer 2 is high. */
START_TEST(test_port_b)
{
	for (int w = 0; w < 4; w++)
		ck_assert_uint_eq(i8042_read(&fx.i8042, I8042_PORT_B, widths[w]),
				  (bus_ones(widths[w]) & ~UINT64_C(0xff)) | 0x3f);
}
END_TEST

/* rtcget() of NetBSD: the time is not valid, and no update to wait for. A date is one for who does not look. */
START_TEST(test_cmos)
{
	for (unsigned int index = 0; index < 256; index++) {
		uint8_t reg = index & 0x7f;

		cmos_write(&fx.cmos, 0, 1, index);
		cmos_write(&fx.cmos, CMOS_DATA, 1, 0xff);
		for (int w = 0; w < 4; w++) {
			ck_assert_uint_eq(cmos_read(&fx.cmos, CMOS_DATA, widths[w]),
					  (bus_ones(widths[w]) & ~UINT64_C(0xff)) |
						  (reg == 7 || reg == 8));
			ck_assert_uint_eq(cmos_read(&fx.cmos, 0, widths[w]), bus_ones(widths[w]));
		}
	}
}
END_TEST

/* Linux with reboot=p, and what firmware does. */
START_TEST(test_reset_port)
{
	uint8_t cf9 = (uint8_t)reset_port_read(&fx.port, 0, 1) & (uint8_t)~0x0e;

	reset_port_write(&fx.port, 0, 1, cf9 | 0x02);
	ck_assert_int_eq(fx.resets, 0);
	ck_assert_uint_eq(reset_port_read(&fx.port, 0, 1), 0x02);
	reset_port_write(&fx.port, 0, 1, cf9 | 0x0e);
	ck_assert_int_eq(fx.resets, 1);
	reset_port_write(&fx.port, 0, 1, 0x0e);
	ck_assert_int_eq(fx.resets, 1);
	reset_port_write(&fx.port, 0, 1, 0);
	reset_port_write(&fx.port, 0, 4, 0xffffff06);
	ck_assert_int_eq(fx.resets, 2);
	ck_assert_uint_eq(reset_port_read(&fx.port, 0, 4), 0xffffff06);
	reset_port_write(&fx.port, 1, 1, 0);
	ck_assert_uint_eq(reset_port_read(&fx.port, 1, 1), 0xff);
	ck_assert_uint_eq(reset_port_read(&fx.port, 0, 8), 0xffffffffffffff06);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("devices/power");
	TCase *tc = tcase_create("power");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_registers);
	tcase_add_test(tc, test_power_off);
	tcase_add_test(tc, test_acpi_reset);
	tcase_add_test(tc, test_power_button);
	tcase_add_test(tc, test_power_widths);
	tcase_add_test(tc, test_i8042);
	tcase_add_test(tc, test_port_b);
	tcase_add_test(tc, test_cmos);
	tcase_add_test(tc, test_reset_port);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
