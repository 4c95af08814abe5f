/* boot/mptable: checksums, counts and entries of the MultiProcessor Specification 1.4. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "boot/mptable.h"
#include "boot/mptable_tables.h"

#define AREA	  0xf0000
#define AREA_SIZE 0x2000
#define FIRST	  0x9fc00

static struct guest_mem mem;
static struct mptable_config cfg;

static void setup(void)
{
	const struct guest_mem_region region = {.base = 0, .size = 0x100000};

	ck_assert_int_eq(guest_mem_init(&mem, &region, 1), 0);
	memset(guest_mem_ptr(&mem, AREA, 0x10000), 0xee, 0x10000);
	cfg = (struct mptable_config){
		.n_cpus = 2,
		.n_pins = 16,
		.lapic_addr = 0xfee00000,
		.ioapic_addr = 0xfec00000,
		.ioapic_id = 9,
		.area = AREA,
		.area_size = AREA_SIZE,
		.first = FIRST,
	};
}

static void teardown(void)
{
	guest_mem_fini(&mem);
}

static uint8_t sum(const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	uint8_t s = 0;

	for (size_t i = 0; i < len; i++)
		s = (uint8_t)(s + p[i]);
	return s;
}

static const struct mp_header *header(void)
{
	const struct mp_floating *floating = guest_mem_ptr(&mem, AREA, sizeof(*floating));

	ck_assert_mem_eq(floating->signature, "_MP_", 4);
	ck_assert_uint_eq(floating->length, 1);
	ck_assert_uint_eq(floating->spec_rev, 4);
	ck_assert_uint_eq(floating->default_config, 0);
	ck_assert_uint_eq(floating->imcr, 0);
	ck_assert_uint_eq(sum(floating, 16), 0);
	ck_assert_mem_eq(guest_mem_ptr(&mem, FIRST, 16), floating, 16);
	return guest_mem_ptr(&mem, floating->table, sizeof(struct mp_header));
}

static const uint8_t *expect_cpus(const uint8_t *p, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		const struct mp_processor *cpu = (const struct mp_processor *)p;

		ck_assert_uint_eq(cpu->type, 0);
		ck_assert_uint_eq(cpu->apic_id, i);
		ck_assert_uint_eq(cpu->flags, i == 0 ? 3 : 1);
		p += 20;
	}
	return p;
}

static const uint8_t *expect_isa(const uint8_t *p)
{
	const struct mp_bus *bus = (const struct mp_bus *)p;
	const struct mp_ioapic *ioapic = (const struct mp_ioapic *)(p + 8);

	ck_assert_uint_eq(bus->type, 1);
	ck_assert_mem_eq(bus->name, "ISA   ", 6);
	ck_assert_uint_eq(ioapic->type, 2);
	ck_assert_uint_eq(ioapic->id, 9);
	ck_assert_uint_eq(ioapic->flags, 1);
	ck_assert_uint_eq(ioapic->address, 0xfec00000);
	return p + 16;
}

static const uint8_t *expect_interrupts(const uint8_t *p, uint8_t bus)
{
	const struct mp_interrupt *entry = (const struct mp_interrupt *)p;

	for (unsigned int irq = 0; irq < cfg.n_pins; irq++, entry++) {
		ck_assert_uint_eq(entry->type, 3);
		ck_assert_uint_eq(entry->kind, 0);
		ck_assert_uint_eq(entry->flags, 0);
		ck_assert_uint_eq(entry->bus, bus);
		ck_assert_uint_eq(entry->bus_irq, irq);
		ck_assert_uint_eq(entry->apic_id, 9);
		ck_assert_uint_eq(entry->apic_pin, irq);
	}
	for (unsigned int lint = 0; lint < 2; lint++, entry++) {
		ck_assert_uint_eq(entry->type, 4);
		ck_assert_uint_eq(entry->kind, lint == 0 ? 3 : 1);
		ck_assert_uint_eq(entry->apic_id, 0xff);
		ck_assert_uint_eq(entry->apic_pin, lint);
	}
	return (const uint8_t *)entry;
}

START_TEST(lists_the_machine)
{
	static const unsigned int counts[] = {1, 2, 8, 255, 256, 1000};
	const unsigned int n = counts[_i] < 255 ? counts[_i] : 255;
	const struct mp_header *h;
	const uint8_t *p;

	cfg.n_cpus = counts[_i];
	ck_assert_int_eq(mptable_write(&mem, &cfg), 0);
	h = header();
	ck_assert_mem_eq(h->signature, "PCMP", 4);
	ck_assert_uint_eq(h->spec_rev, 4);
	ck_assert_uint_eq(h->lapic_address, 0xfee00000);
	ck_assert_uint_eq(h->length, 44 + n * 20 + 8 + 8 + 18 * 8);
	ck_assert_uint_eq(h->entry_count, n + 1 + 1 + 18);
	ck_assert_uint_eq(sum(h, h->length), 0);

	p = expect_cpus((const uint8_t *)(h + 1), n);
	p = expect_interrupts(expect_isa(p), ((const struct mp_bus *)p)->id);
	ck_assert_ptr_eq(p, (const uint8_t *)h + h->length);
}
END_TEST

START_TEST(lists_further_pins)
{
	const struct mp_header *h;
	const uint8_t *p;

	cfg.n_pins = _i ? 256 : 64;
	ck_assert_int_eq(mptable_write(&mem, &cfg), 0);
	h = header();
	ck_assert_uint_eq(h->length, 44 + 2 * 20 + 8 + 8 + (cfg.n_pins + 2) * 8);
	ck_assert_uint_eq(h->entry_count, 2 + 1 + 1 + cfg.n_pins + 2);
	ck_assert_uint_eq(sum(h, h->length), 0);
	p = expect_cpus((const uint8_t *)(h + 1), 2);
	p = expect_interrupts(expect_isa(p), ((const struct mp_bus *)p)->id);
	ck_assert_ptr_eq(p, (const uint8_t *)h + h->length);
}
END_TEST

START_TEST(keeps_to_its_area)
{
	const size_t need = 16 + 44 + 2 * 20 + 8 + 8 + 18 * 8;

	cfg.area_size = need - 1;
	ck_assert_int_eq(mptable_write(&mem, &cfg), -ENOSPC);
	ck_assert_uint_eq(*(uint8_t *)guest_mem_ptr(&mem, AREA, 1), 0xee);
	cfg.area_size = need;
	ck_assert_int_eq(mptable_write(&mem, &cfg), 0);
	ck_assert_uint_eq(*(uint8_t *)guest_mem_ptr(&mem, AREA + need, 1), 0xee);
}
END_TEST

START_TEST(refuses_an_area_outside_ram)
{
	const struct guest_mem_region region = {.base = 0, .size = 0x1000};

	guest_mem_fini(&mem);
	ck_assert_int_eq(guest_mem_init(&mem, &region, 1), 0);
	ck_assert_int_eq(mptable_write(&mem, &cfg), -EFAULT);
	cfg.area = 0xff0;
	ck_assert_int_eq(mptable_write(&mem, &cfg), -EFAULT);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("boot/mptable");
	TCase *tc = tcase_create("mptable");
	SRunner *runner;
	int failed;

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, lists_the_machine, 0, 6);
	tcase_add_loop_test(tc, lists_further_pins, 0, 2);
	tcase_add_test(tc, keeps_to_its_area);
	tcase_add_test(tc, refuses_an_area_outside_ram);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
