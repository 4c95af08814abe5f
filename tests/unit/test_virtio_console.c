/* virtio/console: output and back pressure, input, sizes, broken rings. */
#include "tests/unit/device_fixture.h"

#include <linux/virtio_console.h>

#include "virtio/console.h"

#define RX	 0
#define TX	 1
#define QUEUES	 3
#define F_SIZE	 BIT(VIRTIO_CONSOLE_F_SIZE)
#define SINK_MAX (1u << 20)

static struct virtio_console console;

/* The host's side. */
static struct {
	uint8_t bytes[SINK_MAX];
	size_t n;
	size_t room; /* takes so many more */
	unsigned int writes, rooms;
} host;

static uint8_t data[SINK_MAX];

static size_t host_write(void *arg, const void *buf, size_t n)
{
	ck_assert_ptr_eq(arg, &host);
	host.writes++;
	n = n < host.room ? n : host.room;
	memcpy(host.bytes + host.n, buf, n);
	host.n += n;
	host.room -= n;
	return n;
}

static void host_rx_room(void *arg)
{
	ck_assert_ptr_eq(arg, &host);
	host.rooms++;
}

static void setup(void)
{
	const struct virtio_console_host h = {
		.write = host_write, .rx_room = host_rx_room, .arg = &host};

	memset(&host, 0, sizeof(host));
	host.room = SINK_MAX;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	device_prepare();
	ck_assert_int_eq(virtio_console_init(&console, &fix.loop, &h), 0);
	device_attach(&console.dev);
	device_begin(F_SIZE | BIT(VIRTIO_RING_F_INDIRECT_DESC), QUEUES);
	memcpy(device_at(DEV_BUFFERS, sizeof(data)), data, sizeof(data));
}

static void teardown(void)
{
	device_detach();
	virtio_console_fini(&console);
	device_finish();
}

/* Bytes [from, from + len) of the data, or room for as many, cut as wanted. */
static void send_buffer(unsigned int queue, uint32_t from, uint32_t len, uint32_t cut)
{
	struct virtq_piece pieces[VIRTIO_CONSOLE_QUEUE_SIZE];

	virtq_driver_send(&fix.drv[queue], pieces,
			  virtq_driver_cut(pieces, VIRTIO_CONSOLE_QUEUE_SIZE, DEV_BUFFERS + from,
					   len, queue == RX, cut));
}

/* ---- output ---- */

START_TEST(output)
{
	static const uint32_t cuts[] = {0, 1000, 300};
	static const unsigned int pieces[] = {1, 5, 14};

	send_buffer(TX, 0, 4096, cuts[_i]);
	device_kick(TX);
	ck_assert_uint_eq(device_reap(TX), 0);
	ck_assert_uint_eq(host.n, 4096);
	ck_assert_mem_eq(host.bytes, data, 4096);
	ck_assert_uint_eq(host.writes, pieces[_i]);
	ck_assert_uint_eq(fix.interrupts[TX], 1);
	send_buffer(TX, 4096, 1, 0);
	send_buffer(TX, 4097, 99, 0);
	device_kick(TX);
	ck_assert_uint_eq(fix.interrupts[TX], 2);
	ck_assert_uint_eq(host.n, 4196);
	ck_assert_mem_eq(host.bytes, data, 4196);
}
END_TEST

/* A reader that is slow: what does not fit stays where it is, in order, and nothing is lost or doubled. */
START_TEST(output_waits)
{
	for (uint32_t i = 0; i < 8; i++)
		send_buffer(TX, i * 1000, 1000, i % 2 ? 600 : 0);
	host.room = 2300;
	device_kick(TX);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[TX]), 2);
	ck_assert_uint_eq(fix.interrupts[TX], 1);
	ck_assert(!device_rekicked(TX));
	device_kick(TX); /* of no use */
	ck_assert_uint_eq(host.n, 2300);
	ck_assert_uint_eq(virtq_driver_used_flags(&fix.drv[TX]), VRING_USED_F_NO_NOTIFY);
	for (unsigned int rounds = 0; host.n < 8000; rounds++) {
		host.room = 77 + rounds % 3;
		virtio_console_tx_ready(&console);
		ck_assert(device_rekicked(TX));
		device_kick(TX);
		ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[TX]), host.n / 1000);
	}
	ck_assert_mem_eq(host.bytes, data, 8000);
	virtio_console_tx_ready(&console);
	ck_assert(!device_rekicked(TX));
	ck_assert_uint_eq(virtq_driver_used_flags(&fix.drv[TX]), 0);
}
END_TEST

START_TEST(output_is_bounded)
{
	uint32_t kicks = 1;

	send_buffer(TX, 0, SINK_MAX, 0);
	device_kick(TX);
	ck_assert_uint_eq(host.n, VIRTIO_CONSOLE_KICK_BYTES);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[TX]), 0);
	for (; device_rekicked(TX); kicks++)
		device_kick(TX);
	ck_assert_uint_eq(host.n, SINK_MAX);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[TX]), 1);
	ck_assert_mem_eq(host.bytes, data, SINK_MAX);
	ck_assert_uint_le(kicks, 5);
}
END_TEST

/* A held buffer is forgotten with the queue. */
START_TEST(reset_while_output_waits)
{
	send_buffer(TX, 0, 1000, 0);
	host.room = 10;
	device_kick(TX);
	device_reset();
	memset(device_at(0, DEV_RINGS * 2), 0xee, DEV_RINGS * 2);
	host.room = SINK_MAX;
	virtio_console_tx_ready(&console);
	ck_assert(!device_rekicked(TX));
	device_begin(F_SIZE, QUEUES);
	send_buffer(TX, 2000, 50, 0);
	device_kick(TX);
	ck_assert_uint_eq(host.n, 60);
	ck_assert_mem_eq(host.bytes + 10, data + 2000, 50);
}
END_TEST

/* ---- vCPUs ---- */

/* What Linux waits for busily is there when its kick returns, and goes on by itself when the host had no room. */
START_TEST(output_by_the_vcpu)
{
	device_reset();
	device_run_loop();
	device_begin(F_SIZE, QUEUES);
	for (uint32_t i = 0; i < 300; i++) {
		send_buffer(TX, i * 16, 16, 0);
		virtio_device_kick(&console.dev, TX);
		ck_assert_uint_eq(device_reap(TX), 0);
	}
	ck_assert_mem_eq(host.bytes, data, 4800);
	host.room = 6;
	send_buffer(TX, 4800, 16, 0);
	virtio_device_kick(&console.dev, TX);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[TX]), 0);
	host.room = SINK_MAX - 5000;
	virtio_console_tx_ready(&console);
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(device_reap(TX), 0);
	ck_assert_uint_eq(host.n, 4816);
	ck_assert_mem_eq(host.bytes, data, 4816);
}
END_TEST

static _Atomic bool kicking;

static void *kick_all_the_time(void *arg)
{
	while (kicking)
		virtio_device_kick(arg, TX);
	return NULL;
}

/* Resets while other vCPUs kick: what is in the ring goes out once, and after a reset nothing is touched. */
START_TEST(resets_under_kicks)
{
	pthread_t vcpu[2];

	device_reset();
	device_run_loop();
	kicking = true;
	for (unsigned int i = 0; i < 2; i++)
		pthread_create(&vcpu[i], NULL, kick_all_the_time, &console.dev);
	for (unsigned int round = 0; round < 200; round++) {
		host.n = 0;
		host.room = SINK_MAX;
		device_begin(F_SIZE, QUEUES);
		for (uint32_t i = 0; i < 8; i++)
			send_buffer(TX, i * 16, 16, 0);
		while (virtq_driver_n_used(&fix.drv[TX]) < 8)
			virtio_device_kick(&console.dev, TX);
		ck_assert_uint_eq(host.n, 128);
		ck_assert_mem_eq(host.bytes, data, 128);
		device_reset();
		memset(device_at(0, DEV_RINGS * 2), 0xee, DEV_RINGS * 2);
	}
	kicking = false;
	for (unsigned int i = 0; i < 2; i++)
		pthread_join(vcpu[i], NULL);
	ck_assert_uint_eq(fix.needs_reset, 0);
}
END_TEST

/* ---- input ---- */

START_TEST(input)
{
	static const uint32_t cuts[] = {0, 7, 30};
	uint8_t *buf = device_at(DEV_BUFFERS, 4096);

	memset(buf, 0xaa, 4096);
	send_buffer(RX, 0, 100, cuts[_i]);
	if (_i == 0) /* both queues may be in use */
		send_buffer(RX, 2000, 1000, 0);
	device_kick(RX);
	ck_assert_uint_eq(host.rooms, 0);
	ck_assert_uint_eq(virtio_console_receive(&console, data, 40), 40);
	ck_assert_uint_eq(device_reap(RX), 40);
	ck_assert_mem_eq(buf, data, 40);
	ck_assert_uint_eq(buf[40], 0xaa);
	ck_assert_uint_eq(fix.interrupts[RX], 1);
	ck_assert_uint_eq(virtio_console_receive(&console, data + 40, 2000), _i == 0 ? 1000 : 0);
	if (_i == 0)
		ck_assert_mem_eq(buf + 2000, data + 40, 1000);
	/* It waits for buffers, and says when there are. */
	ck_assert_uint_eq(virtq_driver_used_flags(&fix.drv[RX]), 0);
	send_buffer(RX, 0, 10, 0);
	device_kick(RX);
	ck_assert_uint_eq(host.rooms, 1);
	ck_assert_uint_eq(virtio_console_receive(&console, data, 5), 5);
	send_buffer(RX, 0, 10, 0);
	device_kick(RX);
	ck_assert_uint_eq(host.rooms, 1);
}
END_TEST

/* Many buffers at once: one interrupt. */
START_TEST(input_in_bulk)
{
	for (uint32_t i = 0; i < 8; i++)
		send_buffer(RX, i * 512, 512, 0);
	memset(device_at(DEV_BUFFERS, 4096), 0, 4096);
	ck_assert_uint_eq(virtio_console_receive(&console, data, 5000), 4096);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[RX]), 8);
	ck_assert_uint_eq(fix.interrupts[RX], 1);
	ck_assert_mem_eq(device_at(DEV_BUFFERS, 4096), data, 4096);
}
END_TEST

/* What is typed before there is a driver, or after it has gone, waits for one. */
START_TEST(input_without_driver)
{
	device_reset();
	ck_assert_uint_eq(virtio_console_receive(&console, data, 5), 0);
	device_begin(F_SIZE, QUEUES);
	device_kick(RX); /* as after every start */
	ck_assert_uint_eq(host.rooms, 1);
	ck_assert_uint_eq(virtio_console_receive(&console, data, 5), 0);
	send_buffer(RX, 0, 100, 0);
	device_kick(RX);
	ck_assert_uint_eq(host.rooms, 2);
	ck_assert_uint_eq(virtio_console_receive(&console, data, 5), 5);
}
END_TEST

/* ---- size ---- */

START_TEST(size)
{
	struct virtio_console_config config;

	ck_assert_uint_eq(fix.config_changes, 0); /* nothing to tell at the start */
	virtio_console_resize(&console, 50, 132);
	ck_assert_uint_eq(fix.config_changes, 1);
	virtio_device_config_get(&console.dev, 0, &config, sizeof(config));
	ck_assert_uint_eq(config.rows, 50);
	ck_assert_uint_eq(config.cols, 132);
	ck_assert_uint_eq(config.max_nr_ports, 0);
	virtio_console_resize(&console, 1000000, 70000);
	virtio_device_config_get(&console.dev, 0, &config, sizeof(config));
	ck_assert_uint_eq(config.rows, UINT16_MAX);
	ck_assert_uint_eq(config.cols, UINT16_MAX);
	/* A new driver is told at once, if it wants to know. */
	device_reset();
	device_begin(0, QUEUES);
	ck_assert_uint_eq(fix.config_changes, 2);
	device_reset();
	device_begin(F_SIZE, QUEUES);
	ck_assert_uint_eq(fix.config_changes, 3);
}
END_TEST

/* ---- broken rings ---- */

static void poke(unsigned int queue)
{
	if (queue == TX)
		device_kick(TX);
	else
		ck_assert_uint_eq(virtio_console_receive(&console, data, 100), 0);
}

static void check_usable(void)
{
	device_begin(F_SIZE, QUEUES);
	host.n = 0;
	send_buffer(TX, 0, 10, 0);
	device_kick(TX);
	ck_assert_uint_eq(device_reap(TX), 0);
	ck_assert_uint_eq(host.n, 10);
	send_buffer(RX, 0, 10, 0);
	ck_assert_uint_eq(virtio_console_receive(&console, data, 10), 10);
	ck_assert_uint_eq(device_reap(RX), 10);
	ck_assert_uint_eq(fix.needs_reset, 1);
}

START_TEST(bad_rings)
{
	unsigned int queue = _i % 2;

	device_begin(F_SIZE, QUEUES); /* without indirect tables */
	device_put_fault(queue, (enum device_fault)(_i / 2), queue == RX);
	poke(queue);
	ck_assert_uint_eq(virtio_console_receive(&console, data, 100), 0);
	device_expect_broken(queue);
	check_usable();
}
END_TEST

START_TEST(wrong_direction)
{
	const struct virtq_piece pieces[] = {{DEV_BUFFERS, 8, false}, {DEV_BUFFERS + 8, 8, true}};
	unsigned int queue = _i % 2;

	virtq_driver_send(&fix.drv[queue], pieces, 2);
	poke(queue);
	device_expect_broken(queue);
	ck_assert_uint_eq(host.n, 0);
	check_usable();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_console");
	TCase *tc = tcase_create("console");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, output, 0, 3);
	tcase_add_test(tc, output_waits);
	tcase_add_test(tc, output_is_bounded);
	tcase_add_test(tc, reset_while_output_waits);
	tcase_add_test(tc, output_by_the_vcpu);
	tcase_add_test(tc, resets_under_kicks);
	tcase_add_loop_test(tc, input, 0, 3);
	tcase_add_test(tc, input_in_bulk);
	tcase_add_test(tc, input_without_driver);
	tcase_add_test(tc, size);
	tcase_add_loop_test(tc, bad_rings, 0, 2 * DEVICE_FAULTS);
	tcase_add_loop_test(tc, wrong_direction, 0, 2);
	suite_add_tcase(s, tc);
	return device_run(s);
}
