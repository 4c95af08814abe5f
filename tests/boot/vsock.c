/*
 * Both ends of a test of virtio sockets: in the guest with AF_VSOCK, on the host with unix sockets in vmm's convention.
 *
 *   vsock guest ROLE PORT N BYTES    the guest's end of N connections
 *   vsock host PATH ROLE PORT N BYTES
 *
 * One side's role is listen and the other's connect. All N connections are open at once before the first byte. Then who
 * connected sends BYTES (of a pattern that depends on the connection), closes that direction, and reads the sum of them and
 * BYTES of another pattern from the other side, to the end, which that side sends only after it has seen the end itself.
 * Prints one line "vsock: N connections, BYTES bytes each way", and for one connection the rates.
 *
 *   vsock guest refused PORT, vsock host PATH refused PORT    a connection is refused, at once
 *   vsock guest hold PORT, vsock host PATH hold PORT          listens, accepts one, and waits for its end
 *
 * ROOM in the environment: the bytes of each socket's buffer in the guest.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

static const char *path; /* NULL: in the guest */
static unsigned int port;
static uint8_t buffer[256 << 10];

static void fail(const char *what)
{
	fprintf(stderr, "vsock: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int open_socket(void)
{
	int fd = socket(path ? AF_UNIX : AF_VSOCK, SOCK_STREAM, 0);
	const char *text = getenv("ROOM");
	uint64_t room = text ? strtoull(text, NULL, 10) : 0;

	if (fd < 0)
		fail("socket");
	if (room && setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &room, sizeof(room)) < 0)
		fail("setsockopt");
	return fd;
}

static int bind_or_connect(int fd, bool listens)
{
	struct sockaddr_vm vm = {.svm_family = AF_VSOCK,
				 .svm_cid = listens ? VMADDR_CID_ANY : VMADDR_CID_HOST,
				 .svm_port = port};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	const struct sockaddr *addr = path ? (void *)&un : (void *)&vm;
	socklen_t len = path ? sizeof(un) : sizeof(vm);

	if (path && listens)
		snprintf(un.sun_path, sizeof(un.sun_path), "%s_%u", path, port);
	else if (path)
		snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	return listens ? bind(fd, addr, len) : connect(fd, addr, len);
}

static int open_listener(void)
{
	int fd = open_socket();

	if (bind_or_connect(fd, true) < 0 || listen(fd, 1024) < 0)
		fail("listen");
	return fd;
}

static void write_all(int fd, const void *data, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, (const char *)data + done, len - done);

		if (n <= 0)
			fail("write");
		done += (size_t)n;
	}
}

/* -1: refused. On the host that is the end instead of a line "OK PORT". */
static int open_connection(void)
{
	char line[32] = "";
	int fd = open_socket();

	if (bind_or_connect(fd, false) < 0)
		return path ? (fail("connect"), -1) : (close(fd), -1);
	if (!path)
		return fd;
	write_all(fd, line, (size_t)snprintf(line, sizeof(line), "CONNECT %u\n", port));
	for (size_t n = 0; n < sizeof(line) - 1 && read(fd, line + n, 1) == 1; n++) {
		if (line[n] == '\n')
			return strncmp(line, "OK ", 3) == 0 ? fd : (fail(line), -1);
	}
	close(fd);
	return -1;
}

/* Bytes of a stream: a pattern that neither repeats with the buffers nor is the same for two streams. */
static uint8_t pattern(uint64_t seed, uint64_t at)
{
	return (uint8_t)(((at + seed * 977) * UINT64_C(0x9e3779b97f4a7c15)) >> 56);
}

static uint64_t add(uint64_t sum, uint8_t byte)
{
	return (sum ^ byte) * UINT64_C(0x100000001b3);
}

static uint64_t send_pattern(int fd, uint64_t seed, uint64_t bytes)
{
	uint64_t sum = 1;

	for (uint64_t at = 0; at < bytes;) {
		size_t len = bytes - at < sizeof(buffer) ? (size_t)(bytes - at) : sizeof(buffer);

		for (size_t i = 0; i < len; i++) {
			buffer[i] = pattern(seed, at + i);
			sum = add(sum, buffer[i]);
		}
		write_all(fd, buffer, len);
		at += len;
	}
	return sum;
}

/* To the end. */
static uint64_t receive(int fd, uint64_t *bytes)
{
	uint64_t sum = 1;
	ssize_t n;

	for (*bytes = 0; (n = read(fd, buffer, sizeof(buffer))) > 0; *bytes += (uint64_t)n) {
		for (ssize_t i = 0; i < n; i++)
			sum = add(sum, buffer[i]);
	}
	if (n < 0)
		fail("read");
	return sum;
}

static void read_exactly(int fd, void *to, size_t len)
{
	for (size_t have = 0; have < len;) {
		ssize_t n = read(fd, (char *)to + have, len - have);

		if (n <= 0)
			fail("read of a sum");
		have += (size_t)n;
	}
}

/* The connecting side; the other direction stays open behind the shutdown. */
static void talk(int fd, uint64_t seed, uint64_t bytes, bool timed)
{
	uint64_t sum, want = 1, got, n;
	double start = now(), middle;

	sum = send_pattern(fd, seed, bytes);
	if (shutdown(fd, SHUT_WR) < 0)
		fail("shutdown");
	read_exactly(fd, &got, sizeof(got));
	middle = now();
	if (got != sum)
		fail("the other side got other bytes");
	got = receive(fd, &n);
	if (timed)
		printf("rates: %.0f MB/s out, %.0f MB/s in\n",
		       (double)bytes / 1e6 / (middle - start),
		       (double)bytes / 1e6 / (now() - middle));
	for (uint64_t at = 0; at < bytes; at++)
		want = add(want, pattern(~seed, at));
	if (n != bytes || got != want)
		fail("bytes are lost or changed");
}

/* The listening side. */
static void answer(int fd, uint64_t bytes)
{
	uint64_t seed, n, sum;

	read_exactly(fd, &seed, sizeof(seed));
	sum = receive(fd, &n);
	if (n != bytes)
		fail("bytes are missing");
	write_all(fd, &sum, sizeof(sum));
	send_pattern(fd, ~seed, bytes);
	if (shutdown(fd, SHUT_WR) < 0)
		fail("shutdown");
}

static void run_listener(unsigned int n, uint64_t bytes)
{
	int listener = open_listener(), *fds = calloc(n, sizeof(*fds));

	puts("listening");
	fflush(stdout);
	for (unsigned int i = 0; i < n; i++) {
		fds[i] = accept(listener, NULL, NULL);
		if (fds[i] < 0)
			fail("accept");
	}
	for (unsigned int i = 0; i < n; i++) {
		char byte;

		answer(fds[i], bytes);
		/* they close when they have all of it; we must not be first */
		if (read(fds[i], &byte, 1) > 0)
			fail("more than the end");
		close(fds[i]);
	}
	close(listener);
	free(fds);
}

static void run_connector(unsigned int n, uint64_t bytes)
{
	int *fds = calloc(n, sizeof(*fds));

	for (unsigned int i = 0; i < n; i++) {
		fds[i] = open_connection();
		/* the other side may start a little later than we do */
		for (int attempt = 0; i == 0 && fds[i] < 0 && attempt < 200; attempt++) {
			usleep(50000);
			fds[i] = open_connection();
		}
		if (fds[i] < 0)
			fail("connect");
	}
	for (uint64_t i = 0; i < n; i++) {
		write_all(fds[i], &i, sizeof(i));
		talk(fds[i], i, bytes, n == 1);
		close(fds[i]);
	}
	free(fds);
}

static void run_refused(void)
{
	double start = now();
	int fd = open_connection();

	if (fd >= 0)
		fail("it was not refused");
	printf("refused: after %.0f ms\n", (now() - start) * 1e3);
}

/* Until the other side ends, however it does that. */
static void run_hold(bool listens)
{
	int fd = listens ? accept(open_listener(), NULL, NULL) : open_connection();
	ssize_t n;

	if (fd < 0)
		fail("connect");
	puts("holding");
	fflush(stdout);
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		;
	puts("released");
}

static void raise_limit(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
	const char *role;
	unsigned int n;
	uint64_t bytes;

	if (argc > 2 && strcmp(argv[1], "host") == 0) {
		path = argv[2];
		argv++;
		argc--;
	}
	if (argc < 4) {
		fputs("usage: vsock guest|host PATH listen|connect|refused|hold PORT [N BYTES]\n",
		      stderr);
		return 2;
	}
	raise_limit();
	role = argv[2];
	port = (unsigned int)atoi(argv[3]);
	n = argc > 4 ? (unsigned int)atoi(argv[4]) : 1;
	bytes = argc > 5 ? strtoull(argv[5], NULL, 10) : 0;
	if (strcmp(role, "refused") == 0) {
		run_refused();
		return 0;
	}
	if (strcmp(role, "hold") == 0) {
		run_hold(path != NULL);
		return 0;
	}
	if (strcmp(role, "listen") == 0)
		run_listener(n, bytes);
	else
		run_connector(n, bytes);
	printf("vsock: %u connections, %" PRIu64 " bytes each way\n", n, bytes);
	return 0;
}
