#include "virtio/passt_ports.h"

#include <errno.h>
#include <stdbool.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "virtio/passt.h"
#include "vmm/core/log.h"

#define PORT_PAUSE_US 20000
#define PORT_TRIES    25

enum port_state {
	PORT_FREE,
	PORT_TAKEN,
	PORT_UNKNOWN, /* the host has no such family, or no way out by it, or we may not */
};

static int port_bind(int fd, int family, in_port_t port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = port};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = port};
	int on = 1;

	if (family == AF_INET)
		return bind(fd, (struct sockaddr *)&v4, sizeof(v4));
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	return bind(fd, (struct sockaddr *)&v6, sizeof(v6));
}

/*
 * Without a way out by IPv6, passt leaves that alone; newer ones are content with a neighbour, of which nobody can tell here. No packet is
 * sent.
 */
static bool port_has_ipv6(void)
{
	struct sockaddr_in6 far = {
		.sin6_family = AF_INET6, .sin6_port = 1, .sin6_addr.s6_addr = {0x20}};
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool has = connect(fd, (struct sockaddr *)&far, sizeof(far)) == 0;

	if (fd >= 0)
		close(fd);
	return has;
}

/* With TCP an address may be taken over from connections that are over, with UDP it would be shared with who lives. */
static enum port_state port_look(const struct passt_forward *f, int family)
{
	int fd = socket(family, (f->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0), on = 1;
	enum port_state state = PORT_UNKNOWN;

	if (fd < 0)
		return state;
	if (!f->udp)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (port_bind(fd, family, htons(f->host)) == 0)
		state = family == AF_INET || port_has_ipv6() ? PORT_FREE : PORT_UNKNOWN;
	else if (errno == EADDRINUSE)
		state = PORT_TAKEN;
	close(fd);
	return state;
}

/* The passt of a process that was killed has them a moment longer; so long all are waited for together. */
static int port_check(const struct passt_forward *f, int *tries)
{
	const char *name = f->udp ? "UDP" : "TCP";
	enum port_state v4, v6;

	for (;; --*tries) {
		v4 = port_look(f, AF_INET);
		v6 = port_look(f, AF_INET6);
		if (*tries == 0 || (v4 != PORT_TAKEN && v6 != PORT_TAKEN))
			break;
		usleep(PORT_PAUSE_US);
	}
	if (v4 != PORT_TAKEN && v6 != PORT_TAKEN)
		return 0;
	if (v4 != PORT_FREE && v6 != PORT_FREE) {
		log_error("cannot forward %s port %u of the host to the guest: it is in use", name,
			  f->host);
		return -EADDRINUSE;
	}
	log_warn("%s port %u of the host is in use with %s: only what comes by %s is forwarded to "
		 "the "
		 "guest",
		 name, f->host, v4 == PORT_TAKEN ? "IPv4" : "IPv6",
		 v4 == PORT_TAKEN ? "IPv6" : "IPv4");
	return 0;
}

int passt_ports_check(const struct passt_forward *forwards, unsigned int n)
{
	int err = 0, tries = PORT_TRIES;

	for (unsigned int i = 0; i < n && err == 0; i++)
		err = port_check(&forwards[i], &tries);
	return err;
}
