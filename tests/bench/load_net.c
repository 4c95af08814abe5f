#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

#define HOST		"10.0.0.1"
#define GUEST		"10.0.0.2"
#define TCP_PORT	7000
#define UDP_PORT	7001
#define MIB		1048576
#define PACKET		64  /* bytes of UDP payload */
#define SILENCE_MS	300 /* after which no packet is expected any more */
#define WARM_UP		4   /* echo requests that do not count: the first one waits for ARP */
#define PIECE		(256 << 10)
#define REQUEST_SECONDS 60

/* What the guest asks the host to do next, on a connection of its own. Both are of one kind of machine. */
struct net_request {
	char kind[8]; /* a job's */
	uint64_t count;
};

/* Of packets that arrived. */
struct net_arrival {
	uint64_t packets, ns; /* from the first to the last */
};

static struct sockaddr_in address(const char *name, int port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons((uint16_t)port),
				    .sin_addr.s_addr = inet_addr(name)};
}

/* ---- both sides ---- */

static int send_bytes(int fd, uint64_t bytes)
{
	static char piece[PIECE];

	while (bytes > 0) {
		ssize_t sent = send(fd, piece, bytes < PIECE ? bytes : PIECE, MSG_NOSIGNAL);

		if (sent <= 0)
			return -1;
		bytes -= (uint64_t)sent;
	}
	return 0;
}

static int receive_bytes(int fd, uint64_t bytes)
{
	static char piece[PIECE];

	while (bytes > 0) {
		ssize_t got = recv(fd, piece, bytes < PIECE ? bytes : PIECE, 0);

		if (got <= 0)
			return -1;
		bytes -= (uint64_t)got;
	}
	return 0;
}

static int udp_socket(void)
{
	struct sockaddr_in any = address("0.0.0.0", UDP_PORT);
	int on = 1, size = 4 << 20, fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	if (fd < 0 || bind(fd, (const struct sockaddr *)&any, sizeof(any))) {
		close(fd);
		return -1;
	}
	return fd;
}

/* A full queue of the device is no error of the job. */
static void send_packets(int fd, const struct sockaddr_in *to, uint64_t count)
{
	char packet[PACKET] = "bench";

	for (uint64_t i = 0; i < count; i++)
		while (sendto(fd, packet, sizeof(packet), 0, (const struct sockaddr *)to,
			      sizeof(*to)) < 0 &&
		       errno == ENOBUFS)
			usleep(10);
}

/* The first packet may take its time, for the other side has to be told to start. */
static struct net_arrival receive_packets(int fd, uint64_t count)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	struct net_arrival arrival = {0};
	uint64_t first = 0;
	char packet[PACKET];

	while (arrival.packets < count) {
		if (recv(fd, packet, sizeof(packet), MSG_DONTWAIT) == sizeof(packet)) {
			arrival.ns = load_now();
			if (!arrival.packets++)
				first = arrival.ns;
		} else if (poll(&poll_fd, 1, arrival.packets ? SILENCE_MS : 10 * SILENCE_MS) == 0) {
			break;
		}
	}
	arrival.ns -= first;
	return arrival;
}

/* ---- the guest's side ---- */

int net_configure(void)
{
	struct ifreq request = {.ifr_name = "eth0"};
	struct sockaddr_in guest = address(GUEST, 0), mask = address("255.255.255.0", 0);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	for (int i = 0; ioctl(fd, SIOCGIFINDEX, &request) && i < 100; i++)
		usleep(10000);
	memcpy(&request.ifr_addr, &guest, sizeof(guest));
	if (ioctl(fd, SIOCSIFADDR, &request))
		return load_fail("net", "eth0's address");
	memcpy(&request.ifr_netmask, &mask, sizeof(mask));
	if (ioctl(fd, SIOCSIFNETMASK, &request) || ioctl(fd, SIOCGIFFLAGS, &request))
		return load_fail("net", "eth0's mask");
	request.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &request))
		return load_fail("net", "eth0 up");
	close(fd);
	return 0;
}

static int ask(const char *kind, uint64_t count)
{
	struct sockaddr_in host = address(HOST, TCP_PORT);
	struct net_request request = {.count = count};
	int fd = -1;

	/* The link may need a moment. */
	for (int i = 0; i < 100; i++) {
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(fd, (const struct sockaddr *)&host, sizeof(host)) == 0)
			break;
		close(fd);
		fd = -1;
		usleep(20000);
	}
	strncpy(request.kind, kind, sizeof(request.kind) - 1);
	if (fd >= 0 && send(fd, &request, sizeof(request), 0) == sizeof(request))
		return fd;
	close(fd);
	return -1;
}

static int tcp_job(const char *kind, uint64_t mib)
{
	int fd = ask(kind, mib * MIB), error;
	uint64_t start = load_now();

	if (fd < 0)
		return load_fail(kind, "the host");
	if (!strcmp(kind, "g2h"))
		error = send_bytes(fd, mib * MIB) || receive_bytes(fd, 1);
	else
		error = receive_bytes(fd, mib * MIB);
	close(fd);
	if (error)
		return load_fail(kind, "the connection");
	printf("bench %s %.1f\n", kind,
	       (double)mib * MIB * 8 * 1000 / (double)(load_now() - start));
	return 0;
}

static int udp_job(const char *kind, uint64_t count)
{
	struct sockaddr_in host = address(HOST, UDP_PORT);
	struct net_arrival arrival = {0};
	int packets = udp_socket();
	int fd = ask(kind, count);

	if (fd < 0 || packets < 0)
		return load_fail(kind, "the host");
	if (!strcmp(kind, "udp-g2h")) {
		/* A byte says that the host is ready. */
		if (receive_bytes(fd, 1))
			return load_fail(kind, "the start");
		send_packets(packets, &host, count);
		if (recv(fd, &arrival, sizeof(arrival), MSG_WAITALL) != sizeof(arrival))
			return load_fail(kind, "the count");
	} else {
		arrival = receive_packets(packets, count);
	}
	close(fd);
	close(packets);
	errno = ETIME;
	if (arrival.packets < 2)
		return load_fail(kind, "no packet arrives");
	printf("bench %s %.2f\n", kind, (double)(arrival.packets - 1) * 1e6 / (double)arrival.ns);
	return 0;
}

static uint16_t checksum(const void *data, size_t length)
{
	const uint16_t *words = data;
	uint32_t sum = 0;

	for (size_t i = 0; i < length / 2; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t) ~(sum + (sum >> 16));
}

/* Returns the nanoseconds, or 0 when no answer came. */
static uint64_t echo(int fd, const struct sockaddr_in *host, uint16_t sequence)
{
	struct {
		struct icmphdr head;
		char data[56];
	} packet = {.head = {.type = ICMP_ECHO, .un.echo = {.id = 1, .sequence = sequence}}};
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	char answer[256];
	const struct icmphdr *head = (const void *)(answer + sizeof(struct iphdr));
	uint64_t start = load_now();

	packet.head.checksum = checksum(&packet, sizeof(packet));
	sendto(fd, &packet, sizeof(packet), 0, (const struct sockaddr *)host, sizeof(*host));
	while (poll(&poll_fd, 1, 1000) > 0) {
		ssize_t got = recv(fd, answer, sizeof(answer), 0);

		if (got >= (ssize_t)(sizeof(struct iphdr) + sizeof(*head)) &&
		    head->type == ICMP_ECHOREPLY && head->un.echo.sequence == sequence)
			return load_now() - start;
	}
	return 0;
}

static int compare(const void *one, const void *other)
{
	uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;

	return (a > b) - (a < b);
}

static int ping_job(uint64_t count)
{
	struct sockaddr_in host = address(HOST, 0);
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	uint64_t *times = calloc(count, sizeof(*times));
	int result = 0;

	if (fd < 0 || !times)
		return load_fail("ping", "a socket");
	for (uint64_t i = 0; i < count + WARM_UP && !result; i++) {
		uint64_t time = echo(fd, &host, (uint16_t)i);

		usleep(1000);
		if (i < WARM_UP)
			continue;
		times[i - WARM_UP] = time;
		errno = ETIME;
		result = time ? 0 : load_fail("ping", "no answer");
	}
	close(fd);
	qsort(times, count, sizeof(*times), compare);
	if (!result)
		printf("bench ping %.2f\n", (double)times[count / 2] / 1000);
	free(times);
	return result;
}

int net_job(char *job)
{
	char kind[16];
	unsigned long long count;

	errno = EINVAL;
	if (sscanf(job, "%15[^:]:%llu", kind, &count) != 2 || count < 1)
		return load_fail(job, "job");
	if (!strcmp(kind, "ping"))
		return ping_job(count);
	if (!strncmp(kind, "udp-", 4))
		return udp_job(kind, count);
	return tcp_job(kind, count);
}

/* ---- the host's side ---- */

static void serve_request(int fd, const struct net_request *request)
{
	struct sockaddr_in guest = address(GUEST, UDP_PORT);
	struct net_arrival arrival;
	int packets;

	if (!strncmp(request->kind, "g2h", sizeof(request->kind))) {
		if (!receive_bytes(fd, request->count))
			send_bytes(fd, 1);
	} else if (!strncmp(request->kind, "h2g", sizeof(request->kind))) {
		send_bytes(fd, request->count);
	} else {
		packets = udp_socket();
		if (!strncmp(request->kind, "udp-g2h", sizeof(request->kind))) {
			send_bytes(fd, 1);
			arrival = receive_packets(packets, request->count);
			send(fd, &arrival, sizeof(arrival), MSG_NOSIGNAL);
		} else {
			send_packets(packets, &guest, request->count);
		}
		close(packets);
	}
}

int net_serve(void)
{
	struct sockaddr_in any = address("0.0.0.0", TCP_PORT);
	/* A guest that ends in the middle of a job must not keep the next one waiting. */
	struct timeval patience = {.tv_sec = REQUEST_SECONDS};
	int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listener, (const struct sockaddr *)&any, sizeof(any)) || listen(listener, 8))
		return load_fail("serve", "the port");
	for (;;) {
		struct net_request request;
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			return load_fail("serve", "accept");
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
		if (recv(fd, &request, sizeof(request), MSG_WAITALL) == sizeof(request))
			serve_request(fd, &request);
		close(fd);
	}
}
