/*
 * Datagrams that are made in bursts, which the kernel is asked to cut (UDP_SEGMENT), and must arrive as if each had been sent
 * by itself.
 *
 *   udp send ADDRESS PORT BURSTS
 *   udp receive PORT BURSTS        prints "listening", and when all have come what they were
 */
#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define EACH	 20 /* whole ones in a burst, before one that is not */
#define WHOLE	 1400u
#define REST	 333u
#define PATIENCE 20 /* s */

static unsigned char burst[EACH * WHOLE + REST];

static int fail(const char *what)
{
	fprintf(stderr, "udp: %s: %s\n", what, strerror(errno));
	exit(1);
}

static unsigned int length_of(uint32_t number)
{
	return number % (EACH + 1) == EACH ? REST : WHOLE;
}

static void make(unsigned char *data, uint32_t number)
{
	memcpy(data, &number, sizeof(number));
	for (unsigned int i = sizeof(number); i < length_of(number); i++)
		data[i] = (unsigned char)(number * 7 + i * 13);
}

static int send_bursts(int fd, const struct sockaddr_in *to, long n)
{
	int size = WHOLE;

	if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
		return fail("connect");
	if (setsockopt(fd, SOL_UDP, UDP_SEGMENT, &size, sizeof(size)) < 0)
		return fail("UDP_SEGMENT");
	for (long i = 0; i < n; i++) {
		for (uint32_t j = 0; j <= EACH; j++)
			make(burst + j * WHOLE, (uint32_t)i * (EACH + 1) + j);
		if (send(fd, burst, sizeof(burst), 0) != (ssize_t)sizeof(burst))
			return fail("send");
	}
	return 0;
}

static int receive_bursts(int fd, const struct sockaddr_in *at, long n)
{
	struct timeval patience = {.tv_sec = PATIENCE};
	unsigned char got[2 * sizeof(burst)], wanted[WHOLE];
	uint32_t all = (uint32_t)n * (EACH + 1), i;
	int room = 64 << 20;

	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
	    bind(fd, (const struct sockaddr *)at, sizeof(*at)) < 0)
		return fail("bind");
	puts("listening");
	fflush(stdout);
	for (i = 0; i < all; i++) {
		ssize_t length = recv(fd, got, sizeof(got), 0);

		if (length < 0)
			break;
		make(wanted, i);
		if (length != (ssize_t)length_of(i) || memcmp(got, wanted, (size_t)length) != 0)
			break;
	}
	printf("%u of %u datagrams came, right and in order\n", i, all);
	return i < all;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	int sends = argc == 5 && strcmp(argv[1], "send") == 0;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	if (argc < 4 || fd < 0) {
		fputs("usage: udp send ADDRESS PORT BURSTS | udp receive PORT BURSTS\n", stderr);
		return 2;
	}
	address.sin_port = htons((uint16_t)atoi(argv[argc - 2]));
	if (!sends)
		return receive_bursts(fd, &address, atol(argv[argc - 1]));
	inet_aton(argv[2], &address.sin_addr);
	return send_bursts(fd, &address, atol(argv[argc - 1]));
}
