/*
 * The serial port's console between a guest that writes and reads as it likes and a host that types, reads slowly, goes and comes
 * back: on pipes, sockets, a pseudoterminal, files, and a socket that others connect to.
 *
 * Fuzzes: devices/console.c devices/console_input.c devices/console_output.c devices/console_keys.c devices/console_socket.c
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>
#include <linux/serial_reg.h>

#include "devices/console.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/input.h"
#include "tests/fuzz/world.h"

enum kind {
	KIND_PIPES,
	KIND_SOCKETS,
	KIND_LISTENER,
	KIND_FILES,
	KIND_PTY,
	KIND_NONE,
	KIND_CLOSED, /* numbers behind which there is nothing */
	KINDS,
};

static struct evloop loop;
static struct serial serial;
static struct console console;
static bool has_port;
static size_t port_room;
static unsigned int quits;
static unsigned int full; /* so many times the host has no descriptor for who connects */

/* Descriptors; -1: none. */
static struct {
	int in, out;		 /* what the console is given */
	int typing, reading;	 /* the host's ends of them */
	int listener;		 /* or where it listens */
	bool terminal;		 /* typing is one end of a pty */
	bool closed;		 /* what is refused is tried first */
	struct sockaddr_un addr; /* of the listener, which has a name that the kernel made */
	socklen_t addr_len;
} host;

/* ---- the host ---- */

static void host_pipes(void)
{
	int in[2], out[2];

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		abort();
	host.in = in[0];
	host.typing = in[1];
	host.out = out[1];
	host.reading = out[0];
	fcntl(host.typing, F_SETFL, O_NONBLOCK);
	fcntl(host.reading, F_SETFL, O_NONBLOCK);
}

static void host_sockets(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	host.in = host.out = pair[0];
	host.typing = host.reading = pair[1];
	fcntl(pair[1], F_SETFL, O_NONBLOCK);
}

static void host_listener(void)
{
	const struct sockaddr_un any = {.sun_family = AF_UNIX};

	host.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	host.addr_len = sizeof(host.addr);
	if (host.listener < 0 ||
	    bind(host.listener, (const struct sockaddr *)&any, sizeof(any.sun_family)) < 0 ||
	    getsockname(host.listener, (struct sockaddr *)&host.addr, &host.addr_len) < 0 ||
	    listen(host.listener, 4) < 0)
		abort();
}

static void host_files(void)
{
	static const char text[] = "what is in the file\n";

	host.in = memfd_create("in", MFD_CLOEXEC);
	host.out = memfd_create("out", MFD_CLOEXEC);
	if (pwrite(host.in, text, sizeof(text), 0) < 0)
		abort();
}

/* turned: the console has the end that programs such as terminals have. */
static void host_pty(bool turned)
{
	struct termios t;
	int other;

	host.typing = host.reading = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (host.typing < 0) /* a host without */
		return;
	if (grantpt(host.typing) < 0 || unlockpt(host.typing) < 0)
		abort();
	host.in = host.out = open(ptsname(host.typing), O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (host.in < 0 || tcgetattr(host.in, &t) < 0)
		abort();
	cfmakeraw(&t);
	tcsetattr(host.in, TCSANOW, &t);
	if (!turned) {
		fcntl(host.typing, F_SETFL, O_NONBLOCK);
		return;
	}
	other = host.in;
	host.in = host.out = host.typing;
	host.typing = host.reading = other;
	fcntl(other, F_SETFL, O_NONBLOCK);
}

static void host_open(enum kind kind, bool turned)
{
	host.in = host.out = host.typing = host.reading = host.listener = -1;
	host.closed = false;
	host.terminal = kind == KIND_PTY;
	switch (kind) {
	case KIND_PIPES:
		host_pipes();
		break;
	case KIND_SOCKETS:
		host_sockets();
		break;
	case KIND_LISTENER:
		host_listener();
		break;
	case KIND_FILES:
		host_files();
		break;
	case KIND_PTY:
		host_pty(turned);
		break;
	case KIND_CLOSED:
		host.closed = true;
		break;
	default:
		break;
	}
}

static void close_fd(int *fd, int *twin)
{
	if (*fd >= 0)
		close(*fd);
	if (*twin == *fd)
		*twin = -1;
	*fd = -1;
}

static void host_close(void)
{
	close_fd(&host.in, &host.out);
	close_fd(&host.out, &host.in);
	close_fd(&host.typing, &host.reading);
	close_fd(&host.reading, &host.typing);
	close_fd(&host.listener, &host.listener);
}

int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	if (full > 0) {
		full--;
		errno = EMFILE;
		return -1;
	}
	return (int)syscall(SYS_accept4, fd, addr, len, flags);
}

/* Somebody connects, in the place of who did before. */
static void host_connects(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		abort();
	if (connect(fd, (struct sockaddr *)&host.addr, host.addr_len) < 0) {
		close(fd);
		return;
	}
	close_fd(&host.typing, &host.reading);
	host.typing = host.reading = fd;
}

static void host_types(struct fuzz_input *in, uint8_t how)
{
	static const char *const texts[] = {"x",   "\1",     "\1h",    "\1x",	"\1\1",
					    "\1z", "line\n", "\1d\1d", "\1c\1c"};
	static uint8_t bytes[0x2000];
	struct pollfd arrives = {.fd = host.in, .events = POLLIN};
	size_t len = how >= 0xc0 ? fuzz_u16(in) % sizeof(bytes) : 0;
	ssize_t n;

	if (host.typing < 0)
		return;
	if (len == 0)
		n = write(host.typing, texts[how % 9], strlen(texts[how % 9]));
	else
		n = write(host.typing, bytes, len);
	/* A pty passes it on in its own time. */
	if (n > 0 && host.terminal)
		poll(&arrives, 1, 20);
}

static void host_reads(uint16_t most)
{
	static uint8_t bytes[0x10000];
	ssize_t n = host.reading < 0 ? 0 : read(host.reading, bytes, most);

	(void)n;
}

static void host_op(struct fuzz_input *in, uint8_t how)
{
	uint8_t what = fuzz_u8(in);

	switch (what % 8) {
	case 0:
	case 1:
	case 2:
		host_types(in, how);
		break;
	case 3:
	case 4:
		host_reads(fuzz_u16(in));
		break;
	case 5:
		if (host.listener >= 0) {
			full = how >> 6;
			host_connects();
		} else {
			host_reads(UINT16_MAX);
		}
		break;
	case 6:
		if (how & 0x80)
			close_fd(&host.typing, &host.reading);
		else if (how & 0x40)
			close_fd(&host.reading, &host.typing);
		else if (host.typing >= 0)
			shutdown(host.typing, how & 0x20 ? SHUT_RD : SHUT_WR);
		break;
	default:
		console_flush(&console, 0);
	}
}

/* ---- the guest ---- */

static void on_line(void *arg)
{
	(void)arg;
}

static void on_keys(void *arg, unsigned int pressed)
{
	(void)arg;
	quits += (pressed & CONSOLE_KEY_QUIT) != 0;
}

static size_t port_receive(void *arg, const uint8_t *buf, size_t n)
{
	uint8_t last;

	(void)arg;
	n = n < port_room ? n : port_room;
	port_room -= n;
	if (n > 0)
		memcpy(&last, &buf[n - 1], 1);
	return n;
}

static void port_ready(void *arg)
{
	(void)arg;
}

static void guest_serial(struct fuzz_input *in, uint8_t how)
{
	uint8_t reg = how >> 2 & 7;

	if (how & 0x80)
		serial_write(&serial, reg, 1, fuzz_u8(in));
	else if (how & 0x40)
		serial_read(&serial, reg, 1);
	else /* as Linux opens the port */
		for (unsigned int i = 0; i < 3; i++)
			serial_write(&serial, (const uint8_t[]){UART_FCR, UART_MCR, UART_IER}[i], 1,
				     (const uint8_t[]){0x81, 0x0b, 0x05}[i]);
}

static void guest_prints(uint8_t how)
{
	static const uint8_t bytes[0x8000];
	size_t n = (size_t)how * how / 2;

	if (has_port)
		FUZZ_CHECK(console_write(&console, bytes, n) <= n);
	for (size_t i = 0; i < n && !has_port; i++)
		serial_write(&serial, UART_TX, 1, 'x');
}

/* An interrupt handler that takes what there is. */
static void guest_takes(uint8_t how)
{
	port_room = (size_t)how * 64;
	if (has_port)
		console_room(&console);
	for (unsigned int i = 0; i < how && !has_port; i++)
		serial_read(&serial, UART_RX, 1);
}

static void op(struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in), how = fuzz_u8(in);

	switch (what % 8) {
	case 0:
		guest_serial(in, how);
		break;
	case 1:
		guest_prints(how);
		break;
	case 2:
		guest_takes(how);
		break;
	case 3:
		world_sleep(UINT64_C(1) << how % 32);
		break;
	default:
		host_op(in, how);
	}
	world_settle();
}

/* ---- life ---- */

static void refuse_closed(struct console_config config)
{
	config.in_fd = 999;
	FUZZ_CHECK(console_init(&console, &config) == -EBADF);
	config.in_fd = -1;
	config.out_fd = 999;
	FUZZ_CHECK(console_init(&console, &config) == -EBADF);
}

static void start(uint8_t how)
{
	const struct console_port port = {.receive = port_receive, .tx_ready = port_ready};
	const struct console_config config = {.loop = &loop,
					      .in_fd = host.in,
					      .out_fd = host.out,
					      .keys = how & 0x40,
					      .on_keys = on_keys};
	const struct irq_line irq = {on_line, on_line, NULL};
	struct serial_backend backend;

	if (host.closed)
		refuse_closed(config);
	FUZZ_CHECK(console_init(&console, &config) == 0);
	has_port = how & 0x80;
	if (has_port)
		console_set_port(&console, &port);
	if (host.listener >= 0)
		console_listen(&console, host.listener);
	backend = console_backend(&console);
	serial_init(&serial, &irq, &backend);
	console_start(&console, &serial);
	world_settle();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {.at = data, .left = size};
	uint8_t how = fuzz_u8(&in);

	signal(SIGPIPE, SIG_IGN);
	port_room = 0;
	full = 0;
	world_begin(&loop, NULL);
	host_open((enum kind)(how % KINDS), how & 0x80);
	start(how);
	while (fuzz_more(&in))
		op(&in);
	console_fini(&console);
	serial_fini(&serial);
	host_close();
	world_end();
	return 0;
}
