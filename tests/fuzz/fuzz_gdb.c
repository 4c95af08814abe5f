/*
 * gdb's protocol against a debugger that means harm: whatever it sends, the machine is asked for nothing while it runs, and an honest debugger
 * is served afterwards.
 *
 * The input is a stream of pieces, each a byte that says what comes, and up to a newline its bytes: a packet's text, which gets its
 * frame; or bytes as they are.
 *
 * Fuzzes: vmm/gdb/gdb_access.c vmm/gdb/gdb_packet.c vmm/gdb/gdb_query.c vmm/gdb/gdb_registers.c vmm/gdb/gdb_server.c
 */
#include "tests/fuzz/bytes.h"
#include "tests/unit/gdb_fixture.h"

enum {
	PIECE_PACKET,
	PIECE_RAW,
	PIECE_STOP, /* of the machine; the next byte says why */
	PIECE_NEW_DEBUGGER,
	PIECE_KINDS,
};

static struct fake_target f;

static void stop_machine(struct bytes *in)
{
	uint8_t how = bytes_u8(in);
	struct gdb_stop stop = {.cpu = how % FAKE_CPUS,
				.reason = (enum gdb_stop_reason)(how / 4 % 3),
				.point = (enum gdb_point)(how / 16 % 5),
				.address = FAKE_BASE + how};

	if (!gdb_server_is_running(&f.server))
		return;
	f.stands = true;
	if (how == 255)
		gdb_server_ended(&f.server, 6, 0);
	else
		gdb_server_stopped(&f.server, &stop);
}

static void take_piece(struct bytes *in)
{
	uint8_t kind = bytes_u8(in) % PIECE_KINDS;
	const uint8_t *end = memchr(in->at, '\n', in->left);
	size_t len = end ? (size_t)(end - in->at) : in->left;

	switch (kind) {
	case PIECE_STOP:
		stop_machine(in);
		return;
	case PIECE_NEW_DEBUGGER:
		gdb_server_disconnect(&f.server);
		gdb_server_connect(&f.server);
		return;
	case PIECE_PACKET:
		fake_ask(&f, in->at, len);
		break;
	default:
		gdb_server_input(&f.server, in->at, len);
	}
	in->at += len + (end ? 1 : 0);
	in->left -= len + (end ? 1 : 0);
}

/* Whoever was there has changed nothing of this. */
static void serve_honest_debugger(void)
{
	static const char answer[] = "+$QC1#c5";

	gdb_server_disconnect(&f.server);
	gdb_server_connect(&f.server);
	f.n_sent = 0;
	fake_ask(&f, (const uint8_t *)"qC", 2);
	must(f.n_sent == sizeof(answer) - 1 && memcmp(f.sent, answer, f.n_sent) == 0);
	gdb_server_disconnect(&f.server);
	must(!f.stands);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = {data, size};

	fake_init(&f);
	while (in.left > 0)
		take_piece(&in);
	must(!f.broken);
	serve_honest_debugger();
	must(!f.broken);
	return 0;
}
