/*
 * What is at the other end of a hostile machine's cables, as a program of its own:
 *
 *	passt ...		in passt(1)'s place: sends every frame back, and others of all sizes
 *	peer vsock PATH		at a unix socket: swallows what comes, and sends as much as it can
 *	peer udp ADDRESS	behind a TAP: datagrams of all sizes to ADDRESS, one every half a millisecond
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FRAMES	  3 /* the descriptor that passt is given */
#define FRAME_MAX (65535 + 14 + 4)
#define MAX_CONNS 1000

/* ---- frames, each behind its length in 32 bits ---- */

static uint8_t in[2 * FRAME_MAX], out[16 * FRAME_MAX];
static size_t in_len, out_len;

static void send_frame(const uint8_t *frame, uint32_t len)
{
	uint32_t word = htonl(len);

	if (out_len + sizeof(word) + len > sizeof(out))
		return;
	memcpy(out + out_len, &word, sizeof(word));
	memcpy(out + out_len + sizeof(word), frame, len);
	out_len += sizeof(word) + len;
}

static void answer(const uint8_t *frame, uint32_t len)
{
	static const uint32_t sizes[] = {14, 60, 1514, 9014, 65535, 65535 + 14, 15};
	static unsigned int n;
	static uint8_t other[FRAME_MAX];

	send_frame(frame, len);
	send_frame(other, sizes[n++ % (sizeof(sizes) / sizeof(sizes[0]))]);
}

/* The first frame, if it is there. Returns how many bytes that were. */
static size_t take_frame(void)
{
	uint32_t len;

	if (in_len < sizeof(len))
		return 0;
	memcpy(&len, in, sizeof(len));
	len = ntohl(len);
	if (len > FRAME_MAX)
		exit(2); /* no frame is that long: the machine's fault */
	if (in_len < sizeof(len) + len)
		return 0;
	answer(in + sizeof(len), len);
	return sizeof(len) + len;
}

static void drop(uint8_t *buf, size_t *len, size_t n)
{
	memmove(buf, buf + n, *len - n);
	*len -= n;
}

static int run_passt(void)
{
	printf("%d\n", getpid());
	fflush(stdout);
	for (;;) {
		struct pollfd pfd = {.fd = FRAMES,
				     .events = (short)(POLLIN | (out_len ? POLLOUT : 0))};
		ssize_t n;

		if (poll(&pfd, 1, -1) < 0)
			return 1;
		if (pfd.revents & (POLLIN | POLLHUP)) {
			n = recv(FRAMES, in + in_len, sizeof(in) - in_len, MSG_DONTWAIT);
			if (n == 0 || (n < 0 && errno != EAGAIN))
				return 0;
			in_len += n > 0 ? (size_t)n : 0;
			for (size_t used; (used = take_frame()) > 0;)
				drop(in, &in_len, used);
		}
		if (pfd.revents & POLLOUT) {
			n = send(FRAMES, out, out_len, MSG_DONTWAIT);
			drop(out, &out_len, n > 0 ? (size_t)n : 0);
		}
	}
}

/* ---- streams ---- */

static int make_listener(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
	    listen(fd, 1024) < 0) {
		perror(path);
		exit(1);
	}
	return fd;
}

/* Returns whether it goes on. */
static int serve(const struct pollfd *pfd)
{
	static char buf[8192];
	ssize_t n = 1;

	if (pfd->revents & POLLOUT)
		n = send(pfd->fd, buf, sizeof(buf), MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno != EAGAIN)
		return 0;
	n = 1;
	if (pfd->revents & (POLLIN | POLLHUP | POLLERR))
		n = recv(pfd->fd, buf, sizeof(buf), MSG_DONTWAIT);
	return n > 0 || (n < 0 && errno == EAGAIN);
}

static int run_vsock(const char *path)
{
	static struct pollfd pfd[MAX_CONNS + 1];
	nfds_t n = 1;

	pfd[0] = (struct pollfd){.fd = make_listener(path), .events = POLLIN};
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		if (poll(pfd, n, -1) < 0)
			return 1;
		for (nfds_t i = n - 1; i > 0; i--) {
			if (pfd[i].revents == 0 || serve(&pfd[i]))
				continue;
			close(pfd[i].fd);
			pfd[i] = pfd[--n];
		}
		if (pfd[0].revents && n <= MAX_CONNS) {
			int fd = accept4(pfd[0].fd, NULL, NULL, SOCK_NONBLOCK);

			if (fd >= 0)
				pfd[n++] = (struct pollfd){.fd = fd, .events = POLLIN | POLLOUT};
		}
		pfd[0].events = n <= MAX_CONNS ? POLLIN : 0;
	}
}

/* ---- datagrams ---- */

static int run_udp(const char *address)
{
	static uint8_t bytes[65507];
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	unsigned int n = 0;

	if (fd < 0 || inet_pton(AF_INET, address, &to.sin_addr) != 1)
		return 1;
	for (;;) {
		size_t size = n % 16 == 0 ? sizeof(bytes) : (n * 97) % 2000;

		/* It fails while the interface has no carrier, as it does when there is no machine. */
		sendto(fd, bytes, size, 0, (struct sockaddr *)&to, sizeof(to));
		n++;
		usleep(500);
	}
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && strcmp(argv[1], "vsock") == 0)
		return run_vsock(argv[2]);
	if (argc == 3 && strcmp(argv[1], "udp") == 0)
		return run_udp(argv[2]);
	return run_passt();
}
