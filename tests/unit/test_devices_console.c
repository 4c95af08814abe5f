/* The console's output: bursts, back pressure, readers that go, and its life. */
#include <sys/syscall.h>

#include "tests/unit/console_fixture.h"

/* More than ring, pipe and socket buffers together, and than all indexes of 16 bits count. */
#define FLOOD (2 * 1024 * 1024)

/* ---- output ---- */

/* A message per write() shows how many there are. */
START_TEST(test_output_in_bursts)
{
	const size_t total = 100 * 1024;
	size_t got = 0;
	int s[2], writes = 0;

	make_sockets(SOCK_SEQPACKET, s);
	rig_start(-1, s[0], false);
	ck_assert(!console_wrote(&rig.console));
	ck_assert_uint_eq(guest_sends(total, 5000), total);
	ck_assert(console_wrote(&rig.console));
	ck_assert(!console_wrote(&rig.console));
	while (got < total) {
		struct pollfd pfd = {.fd = s[1], .events = POLLIN};

		ck_assert_int_eq(poll(&pfd, 1, 2000), 1);
		got += (size_t)recv(s[1], rig.got + got, sizeof(rig.got) - got, 0);
		writes++;
	}
	ck_assert_mem_eq(rig.got, rig.data, total);
	ck_assert_int_le(writes, (int)(total / CONSOLE_OUTPUT_BURST) * 2);
	rig_stop();
}
END_TEST

START_TEST(test_output_is_prompt)
{
	int p[2];

	make_pipe(p);
	rig_start(-1, p[1], false);
	for (int i = 0; i < 10; i++) {
		uint64_t begin = evloop_now();

		out(UART_TX, (uint8_t)('a' + i));
		ck_assert_uint_eq(host_reads(p[0], rig.got, 1, 2000), 1);
		ck_assert_uint_eq(rig.got[0], 'a' + i);
		ck_assert_uint_lt(evloop_now() - begin, 500 * MS);
	}
	rig_stop();
}
END_TEST

/* The reader stops: memory stays what it is, the vCPU goes on; then it reads again and nothing is missing. */
START_TEST(test_output_stopped_reader)
{
	size_t sent, more, got;
	uint64_t begin;
	int p[2];

	make_pipe(p);
	fcntl(p[0], F_SETPIPE_SZ, 65536);
	rig_start(-1, p[1], false);
	sent = guest_sends(FLOOD, 300);
	ck_assert_uint_le(sent, CONSOLE_OUTPUT_SIZE + 65536);
	ck_assert_uint_ge(sent, CONSOLE_OUTPUT_SIZE);
	out(UART_MCR, UART_MCR_OUT2);
	out(UART_IER, UART_IER_THRI);
	ck_assert(!rig_interrupted(0));
	/* Read again, and the guest is told. */
	got = host_reads(p[0], rig.got, sent, 500);
	ck_assert_uint_eq(got, sent);
	ck_assert_mem_eq(rig.got, rig.data, sent);
	ck_assert(rig_interrupted(2000));
	/* Stopped again, with a guest that does not care for THRE: two megabytes without waiting. */
	more = guest_sends(FLOOD, 300);
	begin = evloop_now();
	for (size_t i = 0; i < FLOOD; i++)
		out(UART_TX, 'z');
	ck_assert_uint_lt(evloop_now() - begin, 20000 * MS);
	got = host_reads(p[0], rig.got, sizeof(rig.got), 500);
	ck_assert_uint_ge(got, more);
	/* What the pipe and the console hold, however late the loop was at moving it on. */
	ck_assert_uint_le(got, CONSOLE_OUTPUT_SIZE + 65536 + SERIAL_FIFO);
	rig_stop();
}
END_TEST

static void *reader_thread(void *arg)
{
	int fd = *(int *)arg;
	size_t got = 0;

	while (got < FLOOD) {
		ssize_t n = read(fd, rig.got, 65536);

		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++, got++)
			if (rig.got[i] != rig.data[got % sizeof(rig.data)])
				return NULL;
	}
	return got == FLOOD ? &rig : NULL;
}

static void flood_through(int guest_end, int host_end)
{
	pthread_t thread;
	void *whole;

	rig_start(-1, guest_end, false);
	pthread_create(&thread, NULL, reader_thread, &host_end);
	ck_assert_uint_eq(guest_sends(FLOOD, 60000), FLOOD);
	console_flush(&rig.console, 5000);
	pthread_join(thread, &whole);
	ck_assert_ptr_eq(whole, &rig);
	rig_stop();
}

START_TEST(test_output_flood_arrives)
{
	int fds[2];

	if (_i == 0)
		make_pipe(fds);
	else if (_i == 1)
		make_sockets(SOCK_STREAM, fds);
	else
		make_pty(&fds[0], &fds[1]);
	if (_i == 1)
		flood_through(fds[0], fds[1]);
	else
		flood_through(fds[1], fds[0]);
}
END_TEST

/* In place of the C library's: a file on slow storage, which takes a burst at a time. */
static _Atomic bool slow_writes;

ssize_t write(int fd, const void *buf, size_t n)
{
	if (n >= 2048 && atomic_load(&slow_writes))
		nap(10);
	return syscall(SYS_write, fd, buf, n);
}

struct flood {
	_Atomic int task_ran, stop;
};

static void flood_task_run(void *arg)
{
	atomic_store(&((struct flood *)arg)->task_ran, 1);
}

static void *flood_append(void *arg)
{
	struct flood *flood = arg;

	/* A burst while one is written, and never a full ring, to which nothing could come meanwhile. */
	while (!atomic_load(&flood->stop)) {
		console_output_append(&rig.console.output, rig.data, 4096);
		nap(1);
	}
	return NULL;
}

/* A guest that writes as fast as a file takes it: the loop has its turns all the same, in one of which the machine may be ended. */
START_TEST(test_output_leaves_turns)
{
	struct flood flood = {0};
	int fd = make_file(), keys[2];
	struct evloop_task task = {.fn = flood_task_run, .arg = &flood};
	pthread_t thread;

	make_pipe(keys);
	rig_start(keys[0], fd, true);
	atomic_store(&slow_writes, true);
	ck_assert_int_eq(pthread_create(&thread, NULL, flood_append, &flood), 0);
	for (int i = 0; i < 5; i++) {
		nap(20);
		atomic_store(&flood.task_ran, 0);
		evloop_post(&rig.loop, &task);
		for (int ms = 0; ms < 2000 && !atomic_load(&flood.task_ran); ms++)
			nap(1);
		ck_assert_int_eq(flood.task_ran, 1);
	}
	/* descriptors too */
	ck_assert_int_eq(write(keys[1], "\001x", 2), 2);
	ck_assert(comes_to(&rig.quits, 1));
	atomic_store(&slow_writes, false);
	atomic_store(&flood.stop, 1);
	pthread_join(thread, NULL);
	rig_stop();
	close(fd);
}
END_TEST

static void rig_lives(void *arg)
{
	atomic_fetch_add((_Atomic int *)arg, 1);
}

/* A pty whose other side has no user: what it holds waits for one, and so does the guest, but our thread neither waits nor spins. */
START_TEST(test_output_pty_without_user)
{
	_Atomic int lives = 0;
	struct evloop_task task = {.fn = rig_lives, .arg = &lives};
	clock_t before;
	int master, slave;

	make_pty(&master, &slave);
	if (_i == 1)
		fcntl(master, F_SETFL, O_NONBLOCK);
	rig_start(-1, master, false);
	close(slave);
	guest_sends(FLOOD, 300);
	ck_assert_uint_eq(in(UART_LSR)&UART_LSR_THRE, 0);
	before = clock();
	nap(300);
	ck_assert_int_lt(clock() - before, CLOCKS_PER_SEC / 30);
	evloop_post(&rig.loop, &task);
	ck_assert(comes_to(&lives, 1));
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	ck_assert_int_ge(slave, 0);
	ck_assert_uint_eq(host_reads(slave, rig.got, CONSOLE_OUTPUT_SIZE, 1000),
			  CONSOLE_OUTPUT_SIZE);
	rig_stop();
	close(master);
	close(slave);
}
END_TEST

/* The other users of our descriptors must not notice us. */
START_TEST(test_descriptor_flags_untouched)
{
	int fds[2][2], master, slave;

	make_pipe(fds[0]);
	make_pty(&master, &slave);
	for (int i = 0; i < 2; i++) {
		int in_fd = i ? slave : fds[0][0], out_fd = i ? slave : fds[0][1];

		rig_start(in_fd, out_fd, false);
		out(UART_TX, 'x');
		nap(10);
		ck_assert_int_eq(fcntl(in_fd, F_GETFL) & O_NONBLOCK, 0);
		ck_assert_int_eq(fcntl(out_fd, F_GETFL) & O_NONBLOCK, 0);
		rig_stop();
		ck_assert_int_eq(fcntl(in_fd, F_GETFL) & O_NONBLOCK, 0);
		ck_assert_int_ge(fcntl(out_fd, F_GETFD), 0);
	}
}
END_TEST

START_TEST(test_output_reader_gone)
{
	int fds[2];

	if (_i == 0)
		make_pipe(fds);
	else
		make_sockets(SOCK_STREAM, fds);
	rig_start(-1, fds[1], false);
	/* With the ring full and the guest waiting. */
	guest_sends(FLOOD, 300);
	ck_assert_uint_eq(in(UART_LSR)&UART_LSR_THRE, 0);
	close(fds[0]);
	ck_assert_uint_eq(guest_sends(FLOOD, 5000), FLOOD);
	ck_assert_int_eq(atomic_load(&rig.logs), 1);
	ck_assert_ptr_nonnull(strstr(rig.log, "reader"));
	rig_stop();
}
END_TEST

START_TEST(test_output_disk_full)
{
	int fd = open("/dev/full", O_WRONLY);

	ck_assert_int_ge(fd, 0);
	rig_start(-1, fd, false);
	ck_assert_uint_eq(guest_sends(FLOOD, 5000), FLOOD);
	ck_assert(comes_to(&rig.logs, 1));
	ck_assert_ptr_nonnull(strstr(rig.log, strerror(ENOSPC)));
	rig_stop();
}
END_TEST

/* A file is continued where others stopped writing, because the offset is shared. */
START_TEST(test_output_to_file)
{
	const size_t total = 300 * 1024;
	int fd = make_file();

	ck_assert_int_eq(write(fd, "head", 4), 4);
	rig_start(-1, fd, false);
	ck_assert_uint_eq(guest_sends(total, 5000), total);
	console_flush(&rig.console, 1000);
	ck_assert_int_eq(write(fd, "tail", 4), 4);
	ck_assert_int_eq(pread(fd, rig.got, sizeof(rig.got), 0), (ssize_t)total + 8);
	ck_assert_mem_eq(rig.got, "head", 4);
	ck_assert_mem_eq(rig.got + 4, rig.data, total);
	ck_assert_mem_eq(rig.got + 4 + total, "tail", 4);
	rig_stop();
}
END_TEST

START_TEST(test_no_output)
{
	rig_start(-1, -1, false);
	ck_assert_uint_eq(guest_sends(FLOOD, 5000), FLOOD);
	console_flush(&rig.console, 1000);
	ck_assert_int_eq(atomic_load(&rig.logs), 0);
	rig_stop();
}
END_TEST

START_TEST(test_closed_descriptors)
{
	ck_assert_int_eq(rig_init(999, -1, false), -EBADF);
	evloop_fini(&rig.loop);
	ck_assert_int_eq(rig_init(-1, 999, false), -EBADF);
	evloop_fini(&rig.loop);
}
END_TEST

/* ---- life ---- */

START_TEST(test_never_started)
{
	ck_assert_int_eq(rig_init(STDIN_FILENO, STDOUT_FILENO, false), 0);
	rig_stop();
}
END_TEST

/* Descriptors run out at the output, then at the input. */
START_TEST(test_init_fails_cleanly)
{
	struct console_config config = {.loop = &rig.loop, .on_keys = rig_keys};
	struct rlimit limit = {.rlim_cur = 64, .rlim_max = 64};
	int p[2], last = 0, fd;

	make_pipe(p);
	config.in_fd = p[0];
	config.out_fd = p[1];
	ck_assert_int_eq(evloop_init(&rig.loop), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	while ((fd = dup(p[0])) >= 0)
		last = fd;
	ck_assert_int_eq(console_init(&rig.console, &config), -EMFILE);
	close(last);
	ck_assert_int_eq(console_init(&rig.console, &config), -EMFILE);
	/* What the output had opened is free again. */
	ck_assert_int_eq(dup(p[0]), last);
	evloop_fini(&rig.loop);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("devices/console");
	TCase *tc = add_case(suite, "output");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, test_output_in_bursts);
	tcase_add_test(tc, test_output_is_prompt);
	tcase_add_test(tc, test_output_stopped_reader);
	tcase_add_loop_test(tc, test_output_flood_arrives, 0, 3);
	tcase_add_test(tc, test_output_leaves_turns);
	tcase_add_loop_test(tc, test_output_pty_without_user, 0, 2);
	tcase_add_test(tc, test_descriptor_flags_untouched);
	tcase_add_loop_test(tc, test_output_reader_gone, 0, 2);
	tcase_add_test(tc, test_output_disk_full);
	tcase_add_test(tc, test_output_to_file);
	tcase_add_test(tc, test_no_output);
	tcase_add_test(tc, test_closed_descriptors);
	tc = add_case(suite, "life");
	tcase_add_test(tc, test_never_started);
	tcase_add_test(tc, test_init_fails_cleanly);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
