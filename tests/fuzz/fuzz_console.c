/*
 * A guest against the virtio console, a host that types, and one that takes output when it likes; see guest.h.
 *
 * Fuzzes: virtio/console.c
 */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/guest.h"
#include "virtio/console.h"

#define QUEUE_RX 0
#define QUEUE_TX 1

static struct virtio_console console;
static size_t room, written;
static unsigned int rooms;

static size_t on_write(void *arg, const void *buf, size_t n)
{
	const uint8_t *bytes = buf;
	unsigned int sum = 0;

	(void)arg;
	n = n < room ? n : room;
	for (size_t i = 0; i < n; i++)
		sum += bytes[i]; /* looks at each */
	room -= n;
	written += n + (sum & 0);
	return n;
}

static void on_room(void *arg)
{
	(void)arg;
	rooms++;
}

static struct virtio_device *console_open(struct fuzz_input *in)
{
	const struct virtio_console_host host = {.write = on_write, .rx_room = on_room};

	room = (size_t)fuzz_u8(in) << 12;
	written = 0;
	FUZZ_CHECK(virtio_console_init(&console, &guest.loop, &host) == 0);
	return &console.dev;
}

static void console_close(void)
{
	virtio_console_fini(&console);
}

static void console_request(struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in), odd = fuzz_u8(in);
	unsigned int queue = what & 1, n = 1 + (what >> 6);
	struct virtq_piece pieces[4];

	for (unsigned int i = 0; i < n; i++) {
		uint32_t len = guest_len(in) % 0x10000;

		pieces[i] = (struct virtq_piece){guest_alloc(len), len, queue == QUEUE_RX};
	}
	guest_send(queue, pieces, n, odd);
	guest_kick(queue);
}

static void console_host(struct fuzz_input *in)
{
	static const uint8_t typed[0x4000];
	uint8_t what = fuzz_u8(in);
	uint16_t n = fuzz_u16(in);

	switch (what % 4) {
	case 0:
	case 1:
		n %= sizeof(typed);
		FUZZ_CHECK(virtio_console_receive(&console, typed, n) <= n);
		break;
	case 2:
		room = n;
		virtio_console_tx_ready(&console);
		break;
	default:
		virtio_console_resize(&console, n, n * what);
	}
}

static void console_check(void)
{
	const struct virtq_piece tx = {guest_alloc(100), 100, false},
				 rx = {guest_alloc(64), 64, true};

	room = written = 0;
	guest_send(QUEUE_TX, &tx, 1, 0);
	guest_kick(QUEUE_TX);
	room = 1000;
	virtio_console_tx_ready(&console);
	world_settle();
	FUZZ_CHECK(written == 100);
	guest_exchange(QUEUE_TX, &tx, 1);
	guest_send(QUEUE_RX, &rx, 1, 0);
	FUZZ_CHECK(virtio_console_receive(&console, "typed", 5) == 5);
	FUZZ_CHECK(memcmp(guest_at(rx.gpa, 5), "typed", 5) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct guest_target target = {.open = console_open,
						   .close = console_close,
						   .request = console_request,
						   .host = console_host,
						   .check = console_check,
						   .writable = 1 << QUEUE_RX};

	return guest_run(&target, data, size);
}
