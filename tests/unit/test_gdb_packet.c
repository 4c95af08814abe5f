/* gdb's packets: frames, sums and numbers. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/run_suite.h"
#include "vmm/gdb/gdb_packet.h"

static struct gdb_input in;
static struct gdb_output out;

static void setup(void)
{
	memset(&in, 0, sizeof(in));
	memset(&out, 0, sizeof(out));
}

/* Takes all bytes; returns what the last one was. None of the others may be anything. */
static enum gdb_input_event take_bytes(const char *bytes, size_t len)
{
	enum gdb_input_event event = GDB_INPUT_NONE;

	for (size_t i = 0; i < len; i++) {
		ck_assert_int_eq(event, GDB_INPUT_NONE);
		event = gdb_input_byte(&in, (uint8_t)bytes[i]);
	}
	return event;
}

static enum gdb_input_event take(const char *text)
{
	return take_bytes(text, strlen(text));
}

START_TEST(a_packet_is_taken_when_its_sum_is_right)
{
	ck_assert_int_eq(take("+$OK#9a"), GDB_INPUT_PACKET);
	ck_assert_str_eq(in.text, "OK");
	ck_assert_uint_eq(in.len, 2);
	ck_assert_int_eq(take("$OK#9A"), GDB_INPUT_PACKET);
	ck_assert_int_eq(take("$#00"), GDB_INPUT_PACKET);
	ck_assert_uint_eq(in.len, 0);
	ck_assert_int_eq(take("$OK#9b"), GDB_INPUT_BAD);
	ck_assert_int_eq(take("$OK#xa"), GDB_INPUT_BAD);
	ck_assert_int_eq(take("$OK#9x"), GDB_INPUT_BAD);
}
END_TEST

START_TEST(escaped_bytes_are_what_they_stand_for)
{
	/* "}" stands before a byte that is changed by 0x20: these are }, #, $ and 0. */
	static const char bytes[] = "$X}]}\x03}\x04}\x20#";
	char frame[32];
	uint8_t sum = 0;

	for (size_t i = 1; i < sizeof(bytes) - 2; i++)
		sum += (uint8_t)bytes[i];
	snprintf(frame, sizeof(frame), "%s%02x", bytes, sum);
	ck_assert_int_eq(take(frame), GDB_INPUT_PACKET);
	ck_assert_uint_eq(in.len, 5);
	ck_assert_mem_eq(in.text, "X}#$\0", 6);
	ck_assert_int_eq(take("$}#7d"), GDB_INPUT_BAD);
}
END_TEST

START_TEST(what_is_lost_ends_with_the_next_packet)
{
	ck_assert_int_eq(take("$half$OK#9a"), GDB_INPUT_PACKET);
	ck_assert_str_eq(in.text, "OK");
	ck_assert_int_eq(take("$half#$OK#9a"), GDB_INPUT_PACKET);
	ck_assert_int_eq(take("$half#6$OK#9a"), GDB_INPUT_PACKET);
}
END_TEST

START_TEST(outside_packets_three_bytes_mean_something)
{
	ck_assert_int_eq(take("xyz+#\n-"), GDB_INPUT_AGAIN);
	ck_assert_int_eq(take("\x03"), GDB_INPUT_INTERRUPT);
	ck_assert_int_eq(take("$\x03-#30"), GDB_INPUT_PACKET);
}
END_TEST

START_TEST(a_packet_has_a_bound)
{
	char *text = malloc(GDB_PACKET_MAX + 8);
	uint8_t sum = (uint8_t)('a' * GDB_PACKET_MAX);

	memset(text, 'a', GDB_PACKET_MAX + 2);
	text[0] = '$';
	snprintf(text + 1 + GDB_PACKET_MAX, 4, "#%02x", sum);
	ck_assert_int_eq(take(text), GDB_INPUT_PACKET);
	ck_assert_uint_eq(in.len, GDB_PACKET_MAX);
	ck_assert_uint_eq(in.text[GDB_PACKET_MAX], 0);
	text[1 + GDB_PACKET_MAX] = 'a';
	snprintf(text + 2 + GDB_PACKET_MAX, 4, "#%02x", (uint8_t)(sum + 'a'));
	ck_assert_int_eq(take(text), GDB_INPUT_BAD);
	ck_assert_int_eq(take("$OK#9a"), GDB_INPUT_PACKET);
	free(text);
}
END_TEST

START_TEST(an_answer_gets_its_frame)
{
	gdb_output_begin(&out);
	gdb_output_finish(&out);
	ck_assert_mem_eq(out.bytes, "$#00", out.len);
	gdb_output_begin(&out);
	gdb_output_print(&out, "E%02d", 14);
	gdb_output_finish(&out);
	ck_assert_mem_eq(out.bytes, "$E14#aa", out.len);
	gdb_output_begin(&out);
	gdb_output_hex(&out, "\x00\x9f\xff", 3);
	gdb_output_finish(&out);
	ck_assert_mem_eq(out.bytes, "$009fff#cb", out.len);
}
END_TEST

START_TEST(an_answer_has_a_bound)
{
	static const uint8_t zeros[GDB_PACKET_MAX];

	gdb_output_begin(&out);
	gdb_output_text(&out, "odd");
	gdb_output_hex(&out, zeros, sizeof(zeros));
	gdb_output_print(&out, "%s", "too much");
	gdb_output_text(&out, "and more");
	gdb_output_finish(&out);
	ck_assert_uint_eq(out.len, sizeof(out.bytes));
	ck_assert_uint_eq(out.bytes[sizeof(out.bytes) - 3], '#');
}
END_TEST

START_TEST(numbers_have_64_bits)
{
	const char *text = "ffffffff81000000,x";
	uint64_t n;

	ck_assert(gdb_parse_number(&text, &n));
	ck_assert_uint_eq(n, UINT64_C(0xffffffff81000000));
	ck_assert_str_eq(text, ",x");
	ck_assert(!gdb_parse_number(&text, &n));
	text = "10000000000000000";
	ck_assert(!gdb_parse_number(&text, &n));
	text = "";
	ck_assert(!gdb_parse_number(&text, &n));
	text = "Fe;";
	ck_assert(gdb_parse_number(&text, &n));
	ck_assert_uint_eq(n, 0xfe);
	ck_assert_str_eq(text, ";");
}
END_TEST

START_TEST(bytes_are_two_digits_each)
{
	const char *text = "00fF7x";
	uint8_t bytes[3];

	ck_assert(gdb_parse_hex(&text, bytes, 2));
	ck_assert_mem_eq(bytes, "\x00\xff", 2);
	ck_assert_str_eq(text, "7x");
	ck_assert(!gdb_parse_hex(&text, bytes, 1));
	text = "1";
	ck_assert(!gdb_parse_hex(&text, bytes, 1));
	text = "";
	ck_assert(!gdb_parse_hex(&text, bytes, 1));
	ck_assert(gdb_parse_hex(&text, bytes, 0));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gdb_packet");
	TCase *tcase = tcase_create("packet");

	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, a_packet_is_taken_when_its_sum_is_right);
	tcase_add_test(tcase, escaped_bytes_are_what_they_stand_for);
	tcase_add_test(tcase, what_is_lost_ends_with_the_next_packet);
	tcase_add_test(tcase, outside_packets_three_bytes_mean_something);
	tcase_add_test(tcase, a_packet_has_a_bound);
	tcase_add_test(tcase, an_answer_gets_its_frame);
	tcase_add_test(tcase, an_answer_has_a_bound);
	tcase_add_test(tcase, numbers_have_64_bits);
	tcase_add_test(tcase, bytes_are_two_digits_each);
	suite_add_tcase(suite, tcase);
	return run_suite(suite);
}
