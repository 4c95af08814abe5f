/* gdb's protocol, as gdb 13 speaks it, against a machine that is none. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/gdb_fixture.h"
#include "tests/unit/run_suite.h"

static struct fake_target f;
static char answer[GDB_PACKET_MAX + 1];

static void setup(void)
{
	fake_init(&f);
}

static void teardown(void)
{
	ck_assert(!f.broken);
}

static void feed_bytes(const char *text, size_t len)
{
	f.n_sent = 0;
	fake_ask(&f, text, len);
}

/* What was sent is one packet with a right sum, behind an acknowledgement if there is one. Returns its text. */
static const char *sent(void)
{
	static struct gdb_input in;
	enum gdb_input_event event = GDB_INPUT_NONE;

	memset(&in, 0, sizeof(in));
	for (size_t i = 0; i < f.n_sent; i++) {
		ck_assert_int_eq(event, GDB_INPUT_NONE);
		event = gdb_input_byte(&in, (uint8_t)f.sent[i]);
	}
	ck_assert_int_eq(event, GDB_INPUT_PACKET);
	memcpy(answer, in.text, in.len + 1);
	return answer;
}

static const char *ask(const char *text)
{
	char first = f.server.no_acks ? '$' : '+';

	feed_bytes(text, strlen(text));
	ck_assert_uint_gt(f.n_sent, 0);
	ck_assert_uint_eq(f.sent[0], first);
	return sent();
}

/* It gets no answer but the acknowledgement. */
static void tell(const char *text)
{
	feed_bytes(text, strlen(text));
	ck_assert_uint_eq(f.n_sent, 1);
	ck_assert_uint_eq(f.sent[0], '+');
}

static void calls(const char *want)
{
	ck_assert_str_eq(f.calls, want);
	f.calls[0] = '\0';
}

START_TEST(the_first_packet_stops_the_machine)
{
	gdb_server_input(&f.server, "+GET / HTTP/1.0\r\n\x03-", 19);
	calls("");
	ck_assert_uint_eq(f.n_sent, 0);
	ck_assert_ptr_nonnull(
		strstr(ask("qSupported:multiprocess+;swbreak+;hwbreak+;xmlRegisters=i386"),
		       "PacketSize=1000;"));
	ck_assert_ptr_nonnull(strstr(answer, "qXfer:features:read+"));
	calls("stop ");
	ck_assert_str_eq(ask("?"), "T05thread:1;");
	ck_assert_str_eq(ask("qC"), "QC1");
	ck_assert_str_eq(ask("qAttached"), "1");
	calls("");
}
END_TEST

START_TEST(damaged_packets_are_asked_for_again)
{
	ask("?");
	f.n_sent = 0;
	gdb_server_input(&f.server, "$?#00", 5);
	ck_assert_mem_eq(f.sent, "-", f.n_sent);
	f.n_sent = 0;
	gdb_server_input(&f.server, "-", 1);
	ck_assert_str_eq(sent(), "T05thread:1;");
	ck_assert_str_eq(ask("QStartNoAckMode"), "OK");
	ck_assert_str_eq(ask("qC"), "QC1");
	f.n_sent = 0;
	gdb_server_input(&f.server, "-$?#00", 6);
	ck_assert_uint_eq(f.n_sent, 0);
}
END_TEST

START_TEST(what_is_unknown_gets_an_empty_answer)
{
	static const char *const unknown[] = {
		"",	     "!",	    "vMustReplyEmpty",
		"qTStatus",  "vFile:open:", "qSymbol::",
		"qOffsets",  "R00",	    "qXfer:memory-map:read::0,100",
		"Z5,1000,1", "z9,1000,1",   "Z3,1000,8"};

	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		ck_assert_msg(ask(unknown[i])[0] == '\0', "%s: %s", unknown[i], answer);
}
END_TEST

START_TEST(what_is_malformed_gets_an_error)
{
	static const char *const bad[] = {"m",
					  "m1000",
					  "m1000,",
					  "mx,1",
					  "m1000,0",
					  "M1000,2:0",
					  "M1000,2",
					  "M1000,g:00",
					  "X1000,5:ab",
					  "X1000,1",
					  "G00",
					  "p",
					  "pffffffff",
					  "P0",
					  "P0=1",
					  "P0=x",
					  "Pffff=00",

					  "Hg9",
					  "Hgx",
					  "T4",
					  "T",
					  "Z0",
					  "Z0,",
					  "Z0,1000",
					  "Z0;1000,1",
					  "z0,1000;1",
					  "vCont",
					  "vCont;",
					  "vCont;x",
					  "vCont;c:9",
					  "vCont;c:",
					  "vContc",
					  "vCont;C",
					  "vCont;s;q",
					  "qThreadExtraInfo,9",
					  "qThreadExtraInfo,x",
					  "qXfer:features:read:target.xml:x"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ck_assert_msg(ask(bad[i])[0] == 'E' && strlen(answer) == 3, "%s: %s", bad[i],
			      answer);
	calls("stop ");
}
END_TEST

START_TEST(each_vcpu_is_a_thread)
{
	ck_assert_str_eq(ask("qfThreadInfo"), "m1,2,3");
	ck_assert_str_eq(ask("qsThreadInfo"), "l");
	ck_assert_str_eq(ask("T3"), "OK");
	/* "CPU#2 [halted]" */
	ck_assert_str_eq(ask("qThreadExtraInfo,3"), "435055233220"
						    "5b68616c7465645d");
	ck_assert_str_eq(ask("Hg3"), "OK");
	ck_assert_str_eq(ask("qC"), "QC3");
	ck_assert_str_eq(ask("p10"), "02000081ffffffff");
	/* any and all change nothing, nor does a thread to continue */
	ck_assert_str_eq(ask("Hg0"), "OK");
	ck_assert_str_eq(ask("Hg-1"), "OK");
	ck_assert_str_eq(ask("Hc2"), "OK");
	ck_assert_str_eq(ask("qC"), "QC3");
}
END_TEST

START_TEST(registers_are_read_and_written)
{
	char packet[2 * sizeof(struct gdb_registers) + 2] = "G";

	f.registers[0].gpr[0] = UINT64_C(0x1122334455667788);
	f.registers[0].efer = 0xd01;
	ask("g");
	ck_assert_uint_eq(strlen(answer), 2 * sizeof(struct gdb_registers));
	ck_assert(strncmp(answer, "8877665544332211", 16) == 0);
	ck_assert_str_eq(answer + strlen(answer) - 16, "010d000000000000");
	memcpy(packet + 1, answer, 2 * sizeof(struct gdb_registers));
	memcpy(packet + 1, "efbeadde", 8);
	ask("Hg2");
	ck_assert_str_eq(ask(packet), "OK");
	ck_assert_uint_eq(f.registers[1].gpr[0], UINT64_C(0x11223344deadbeef));
	ck_assert_uint_eq(f.registers[1].efer, 0xd01);
	ck_assert_str_eq(ask("P11=46020000"), "OK");
	ck_assert_uint_eq(f.registers[1].eflags, 0x246);
	ck_assert_str_eq(ask("p11"), "46020000");
	f.read_only = true;
	ck_assert_str_eq(ask("P11=47020000"), "E22");
	ck_assert_str_eq(ask(packet), "E22");
}
END_TEST

START_TEST(memory_is_read_and_written)
{
	ck_assert_str_eq(ask("mffffffff81000000,4"), "00010203");
	/* up to the end of a page: gdb asks for the rest */
	ck_assert_str_eq(ask("mffffffff81000ffe,4"), "f1f0");
	ck_assert_str_eq(ask("mffffffff81002000,1"), "E14");
	ck_assert_str_eq(ask("m0,8"), "E14");
	/* no more than a packet holds */
	ck_assert_uint_le(strlen(ask("mffffffff81000000,ffffffffffffffff")), GDB_PACKET_MAX);
	ck_assert_uint_gt(strlen(answer), GDB_PACKET_MAX / 2);
	/* over the end of a page: all of it */
	ck_assert_str_eq(ask("Mffffffff81000ffe,4:deadbeef"), "OK");
	ck_assert_mem_eq(f.memory + 0xffe, "\xde\xad\xbe\xef", 4);
	ck_assert_str_eq(ask("Mffffffff81001ffe,4:deadbeef"), "E14");
	ck_assert_str_eq(ask("Xffffffff81000000,0:"), "OK");
	feed_bytes("Xffffffff81000000,5:}\x03}\x04}]\0:", 28);
	ck_assert_str_eq(sent(), "OK");
	ck_assert_mem_eq(f.memory, "#$}\0:", 5);
}
END_TEST

START_TEST(breakpoints_are_passed_on)
{
	ck_assert_str_eq(ask("Z0,ffffffff81000010,1"), "OK");
	ck_assert_str_eq(ask("Z1,20,1;X3,112233;cmds:0,1"), "OK");
	ck_assert_str_eq(ask("Z2,30,8"), "OK");
	ck_assert_str_eq(ask("Z4,40,2"), "OK");
	ck_assert_str_eq(ask("Z1,50,1"), "E28");
	ck_assert_int_eq(f.points[0].kind, GDB_POINT_SOFTWARE);
	ck_assert_uint_eq(f.points[0].address, FAKE_BASE + 16);
	ck_assert_int_eq(f.points[1].kind, GDB_POINT_HARDWARE);
	ck_assert_int_eq(f.points[2].kind, GDB_POINT_WRITE);
	ck_assert_uint_eq(f.points[2].len, 8);
	ck_assert_int_eq(f.points[3].kind, GDB_POINT_ACCESS);
	ck_assert_str_eq(ask("z2,30,8"), "OK");
	ck_assert(!f.points[2].used);
}
END_TEST

/* What gdb is told when the machine stands. */
static void stopped(unsigned int cpu, enum gdb_stop_reason reason, enum gdb_point point,
		    const char *want)
{
	struct gdb_stop stop = {.cpu = cpu, .reason = reason, .point = point, .address = 0xfeed8};

	f.n_sent = 0;
	f.stands = true;
	ck_assert(gdb_server_is_running(&f.server));
	gdb_server_stopped(&f.server, &stop);
	ck_assert_str_eq(sent(), want);
	ck_assert(!gdb_server_is_running(&f.server));
}

START_TEST(running_answers_when_it_stops)
{
	ask("qSupported:swbreak+;hwbreak+");
	ck_assert_str_eq(ask("vCont?"), "vCont;c;C;s;S");
	calls("stop ");
	tell("vCont;c");
	calls("resume rrr ");
	stopped(1, GDB_STOP_POINT, GDB_POINT_SOFTWARE, "T05thread:2;swbreak:;");
	/* registers are of the one that stopped */
	ck_assert_str_eq(ask("qC"), "QC2");
	ck_assert_str_eq(ask("?"), "T05thread:2;swbreak:;");
	tell("vCont;s:2;c");
	calls("resume rsr ");
	stopped(1, GDB_STOP_STEP, GDB_POINT_SOFTWARE, "T05thread:2;");
	tell("vCont;s:3");
	calls("resume --s ");
	stopped(2, GDB_STOP_POINT, GDB_POINT_HARDWARE, "T05thread:3;hwbreak:;");
	tell("vCont;C05:1;S05:-1");
	calls("resume rss ");
	stopped(0, GDB_STOP_POINT, GDB_POINT_WRITE, "T05thread:1;watch:feed8;");
	tell("c");
	calls("resume rrr ");
	stopped(0, GDB_STOP_POINT, GDB_POINT_ACCESS, "T05thread:1;awatch:feed8;");
	ask("Hg2");
	tell("s");
	calls("resume -s- ");
	stopped(0, GDB_STOP_POINT, GDB_POINT_READ, "T05thread:1;rwatch:feed8;");
}
END_TEST

START_TEST(an_old_gdb_is_not_told_what_it_does_not_know)
{
	ask("qSupported:multiprocess+");
	tell("vCont;c");
	stopped(0, GDB_STOP_POINT, GDB_POINT_SOFTWARE, "T05thread:1;");
	tell("vCont;c");
	stopped(0, GDB_STOP_POINT, GDB_POINT_HARDWARE, "T05thread:1;");
}
END_TEST

START_TEST(an_interrupt_stops_what_runs)
{
	ask("Hg2");
	calls("stop ");
	tell("vCont;c");
	f.n_sent = 0;
	f.calls[0] = '\0';
	gdb_server_input(&f.server, "\x03", 1);
	ck_assert_str_eq(sent(), "T02thread:2;");
	calls("stop ");
	/* and no more what stands */
	f.n_sent = 0;
	gdb_server_input(&f.server, "\x03", 1);
	ck_assert_uint_eq(f.n_sent, 0);
	calls("");
}
END_TEST

START_TEST(while_it_runs_nothing_is_answered_from_it)
{
	tell("vCont;c");
	ck_assert_str_eq(ask("g"), "E16");
	ck_assert_str_eq(ask("mffffffff81000000,4"), "E16");
	ck_assert_str_eq(ask("vCont;c"), "E16");
	calls("stop resume rrr ");
}
END_TEST

START_TEST(a_debugger_may_leave_and_another_come)
{
	ck_assert_str_eq(ask("Z1,20,1"), "OK");
	ck_assert_str_eq(ask("D"), "OK");
	calls("stop release ");
	gdb_server_disconnect(&f.server);
	calls("");
	gdb_server_connect(&f.server);
	ck_assert_str_eq(ask("?"), "T05thread:1;");
	tell("vCont;c");
	gdb_server_disconnect(&f.server);
	calls("stop resume rrr release ");
	gdb_server_disconnect(&f.server);
	calls("");
}
END_TEST

START_TEST(a_debugger_may_end_the_machine)
{
	tell("k");
	calls("stop kill ");
	ck_assert_str_eq(ask("vKill;1"), "OK");
	calls("kill ");
}
END_TEST

START_TEST(the_end_is_told_to_who_waits)
{
	gdb_server_ended(&f.server, 0, 0);
	ck_assert_uint_eq(f.n_sent, 0);
	ask("?");
	f.n_sent = 0;
	gdb_server_ended(&f.server, 0, 0);
	ck_assert_uint_eq(f.n_sent, 0);
	tell("vCont;c");
	f.n_sent = 0;
	gdb_server_ended(&f.server, 0, 0);
	ck_assert_str_eq(sent(), "W00");
	f.stands = true;
	tell("vCont;c");
	f.n_sent = 0;
	gdb_server_ended(&f.server, 6, 0);
	ck_assert_str_eq(sent(), "X06");
}
END_TEST

/* ---- the description of registers ---- */

static char description[16384];

/* Whole, by as many requests as gdb needs. */
static void read_description(unsigned int step)
{
	size_t len = 0;
	bool more = true;

	while (more) {
		char packet[64];

		snprintf(packet, sizeof(packet), "qXfer:features:read:target.xml:%zx,%x", len,
			 step);
		ask(packet);
		ck_assert(answer[0] == 'm' || answer[0] == 'l');
		more = answer[0] == 'm';
		ck_assert_uint_lt(len + strlen(answer), sizeof(description));
		strcpy(description + len, answer + 1);
		len += strlen(answer) - 1;
	}
}

START_TEST(the_description_comes_in_parts)
{
	char *whole;

	read_description(0xfff);
	ck_assert(strncmp(description, "<?xml version=\"1.0\"?>", 21) == 0);
	ck_assert_str_eq(description + strlen(description) - 20, "</feature></target>\n");
	ck_assert_ptr_null(strpbrk(description, "#$}*"));
	whole = strdup(description);
	read_description(7);
	ck_assert_str_eq(description, whole);
	ck_assert_str_eq(ask("qXfer:features:read:target.xml:ffffffffffffffff,100"), "l");
	free(whole);
}
END_TEST

/* The order of the description is that of the bytes. */
START_TEST(the_description_agrees_with_the_bytes)
{
	static const struct {
		const char *name;
		size_t offset;
	} known[] = {{"rax", 0},
		     {"rsp", 7 * 8},
		     {"r15", 15 * 8},
		     {"rip", offsetof(struct gdb_registers, rip)},
		     {"eflags", offsetof(struct gdb_registers, eflags)},
		     {"cs", offsetof(struct gdb_registers, segments)},
		     {"st0", offsetof(struct gdb_registers, st)},
		     {"fctrl", offsetof(struct gdb_registers, fctrl)},
		     {"fop", offsetof(struct gdb_registers, fop)},
		     {"xmm15", offsetof(struct gdb_registers, xmm) + 15 * 16},
		     {"mxcsr", offsetof(struct gdb_registers, mxcsr)},
		     {"gs_base", offsetof(struct gdb_registers, gs_base)},
		     {"cr3", offsetof(struct gdb_registers, cr3)},
		     {"efer", offsetof(struct gdb_registers, efer)}};
	size_t number = 0, end = 0, found = 0;

	read_description(0xfff);
	for (char *reg = description; (reg = strstr(reg, "<reg name=\"")); number++) {
		size_t offset, size;
		unsigned int bits;
		char name[16];

		reg += 11;
		ck_assert_int_eq(sscanf(reg, "%15[^\"]\" bitsize=\"%u\"", name, &bits), 2);
		ck_assert(gdb_register_find(number, &offset, &size));
		ck_assert_uint_eq(size * 8, bits);
		ck_assert_uint_eq(offset, end);
		end += size;
		for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
			if (strcmp(name, known[i].name) != 0)
				continue;
			ck_assert_msg(offset == known[i].offset, "%s is at %zu, not %zu", name,
				      offset, known[i].offset);
			found++;
		}
	}
	ck_assert_uint_eq(end, sizeof(struct gdb_registers));
	ck_assert_uint_eq(found, sizeof(known) / sizeof(known[0]));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("gdb_server");
	TCase *tcase = tcase_create("server");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, the_first_packet_stops_the_machine);
	tcase_add_test(tcase, damaged_packets_are_asked_for_again);
	tcase_add_test(tcase, what_is_unknown_gets_an_empty_answer);
	tcase_add_test(tcase, what_is_malformed_gets_an_error);
	tcase_add_test(tcase, each_vcpu_is_a_thread);
	tcase_add_test(tcase, registers_are_read_and_written);
	tcase_add_test(tcase, memory_is_read_and_written);
	tcase_add_test(tcase, breakpoints_are_passed_on);
	tcase_add_test(tcase, running_answers_when_it_stops);
	tcase_add_test(tcase, an_old_gdb_is_not_told_what_it_does_not_know);
	tcase_add_test(tcase, an_interrupt_stops_what_runs);
	tcase_add_test(tcase, while_it_runs_nothing_is_answered_from_it);
	tcase_add_test(tcase, a_debugger_may_leave_and_another_come);
	tcase_add_test(tcase, a_debugger_may_end_the_machine);
	tcase_add_test(tcase, the_end_is_told_to_who_waits);
	tcase_add_test(tcase, the_description_comes_in_parts);
	tcase_add_test(tcase, the_description_agrees_with_the_bytes);
	suite_add_tcase(suite, tcase);
	return run_suite(suite);
}
