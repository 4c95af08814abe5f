#include "guest/dhcp.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#define DHCP_TRIES    4
#define DHCP_WAIT_MS  500
#define DHCP_PACKETS  64 /* that are looked at for each try */
#define DHCP_COOKIE   0x63825363
#define DHCP_XID      0x766d6d31
#define DHCP_CLIENT   68
#define DHCP_SERVER   67
#define DHCP_OPTIONS  312
#define IP_UDP_HEADER 28 /* without options of IP */

/* RFC 2132 */
enum {
	DHCP_PAD = 0,
	DHCP_MASK = 1,
	DHCP_ROUTER = 3,
	DHCP_NAMES = 6,
	DHCP_REQUESTED = 50,
	DHCP_TYPE = 53,
	DHCP_SERVER_ID = 54,
	DHCP_WANTED = 55,
	DHCP_END = 255,
};

enum dhcp_type {
	DHCP_DISCOVER = 1,
	DHCP_OFFER = 2,
	DHCP_REQUEST = 3,
	DHCP_ACK = 5,
};

struct dhcp_message {
	uint8_t op, htype, hlen, hops;
	uint32_t xid;
	uint16_t secs, flags;
	uint32_t ciaddr, yiaddr, siaddr, giaddr;
	uint8_t chaddr[16];
	uint8_t unused[192];
	uint32_t cookie;
	uint8_t options[DHCP_OPTIONS];
};

static uint8_t *dhcp_put(uint8_t *at, uint8_t option, uint8_t len, const void *value)
{
	*at++ = option;
	*at++ = len;
	memcpy(at, value, len);
	return at + len;
}

static void dhcp_send(int fd, const uint8_t mac[6], uint8_t type, const struct dhcp_lease *lease)
{
	static const uint8_t wanted[] = {DHCP_MASK, DHCP_ROUTER, DHCP_NAMES};
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(DHCP_SERVER),
				 .sin_addr.s_addr = 0xffffffff};
	struct dhcp_message m;
	uint8_t *at = m.options;

	memset(&m, 0, sizeof(m));
	m.op = 1;
	m.htype = 1;
	m.hlen = 6;
	m.xid = htonl(DHCP_XID);
	m.flags = htons(0x8000); /* the answer may be a broadcast */
	m.cookie = htonl(DHCP_COOKIE);
	memcpy(m.chaddr, mac, 6);
	at = dhcp_put(at, DHCP_TYPE, 1, &type);
	at = dhcp_put(at, DHCP_WANTED, sizeof(wanted), wanted);
	if (type == DHCP_REQUEST) {
		at = dhcp_put(at, DHCP_REQUESTED, 4, &lease->address);
		at = dhcp_put(at, DHCP_SERVER_ID, 4, &lease->server);
	}
	*at = DHCP_END;
	SYS6(sendto, fd, &m, sizeof(m), 0, &to, sizeof(to));
}

static void dhcp_take(struct dhcp_lease *lease, uint8_t option, uint8_t len, const uint8_t *value,
		      uint8_t *type)
{
	if (option == DHCP_TYPE && len == 1)
		*type = *value;
	else if (option == DHCP_MASK && len == 4)
		memcpy(&lease->mask, value, 4);
	else if (option == DHCP_ROUTER && len >= 4)
		memcpy(&lease->router, value, 4);
	else if (option == DHCP_SERVER_ID && len == 4)
		memcpy(&lease->server, value, 4);
	else if (option == DHCP_NAMES)
		memcpy(lease->names, value,
		       len < sizeof(lease->names) ? len : sizeof(lease->names));
}

/* Returns the type of the message, or 0 for what is no answer to ours. */
static uint8_t dhcp_parse(const struct dhcp_message *m, size_t len, struct dhcp_lease *lease)
{
	size_t fixed = sizeof(*m) - sizeof(m->options), left;
	const uint8_t *at = m->options;
	uint8_t type = 0;

	if (len < fixed || m->op != 2 || m->xid != htonl(DHCP_XID) ||
	    m->cookie != htonl(DHCP_COOKIE))
		return 0;
	memset(lease, 0, sizeof(*lease));
	lease->address = m->yiaddr;
	left = len - fixed;
	while (left > 0 && *at != DHCP_END) {
		size_t size = *at == DHCP_PAD ? 1 : left < 2 ? left + 1 : 2 + (size_t)at[1];

		if (size > left)
			return 0;
		if (size > 1)
			dhcp_take(lease, at[0], at[1], at + 2, &type);
		at += size;
		left -= size;
	}
	return type;
}

/* From the raw socket: an interface without an address hears nothing else but broadcasts. */
static uint8_t dhcp_receive(int fd, struct dhcp_lease *lease)
{
	uint8_t packet[60 + 8 + sizeof(struct dhcp_message)] = {0};
	struct dhcp_message m;
	long n = SYS6(recvfrom, fd, packet, sizeof(packet), MSG_DONTWAIT, 0, 0);
	size_t header = (size_t)(packet[0] & 15) * 4, len;

	if (n < IP_UDP_HEADER || header < 20 || (size_t)n < header + 8 ||
	    packet[9] != IPPROTO_UDP || packet[header + 2] != 0 ||
	    packet[header + 3] != DHCP_CLIENT)
		return 0;
	len = (size_t)n - header - 8;
	if (len > sizeof(m))
		len = sizeof(m);
	memset(&m, 0, sizeof(m));
	memcpy(&m, packet + header + 8, len);
	return dhcp_parse(&m, len, lease);
}

/* Asks until the answer is of that type. */
static bool dhcp_exchange(int out, int in, const uint8_t mac[6], uint8_t type, uint8_t answer,
			  struct dhcp_lease *lease)
{
	struct dhcp_lease got;

	for (int i = 0; i < DHCP_TRIES; i++) {
		struct pollfd fd = {.fd = in, .events = POLLIN};

		dhcp_send(out, mac, type, lease);
		/* Others' packets come too, and may go on for ever. */
		for (int n = 0; n < DHCP_PACKETS && SYS3(poll, &fd, 1, DHCP_WAIT_MS) > 0; n++) {
			if (dhcp_receive(in, &got) == answer) {
				*lease = got;
				return true;
			}
		}
	}
	return false;
}

static int dhcp_open_out(const char *interface)
{
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_port = htons(DHCP_CLIENT)};
	int fd = (int)SYS3(socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1;

	SYS5(setsockopt, fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
	SYS5(setsockopt, fd, SOL_SOCKET, SO_BINDTODEVICE, interface, text_len(interface) + 1);
	SYS3(bind, fd, &from, sizeof(from));
	return fd;
}

bool dhcp_ask(const char *interface, int index, const uint8_t mac[6], struct dhcp_lease *lease)
{
	struct sockaddr_ll at = {
		.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = index};
	int in = (int)SYS3(socket, AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int out = dhcp_open_out(interface);
	bool got = in >= 0 && SYS3(bind, in, &at, sizeof(at)) == 0 &&
		   dhcp_exchange(out, in, mac, DHCP_DISCOVER, DHCP_OFFER, lease) &&
		   dhcp_exchange(out, in, mac, DHCP_REQUEST, DHCP_ACK, lease);

	SYS1(close, in);
	SYS1(close, out);
	return got;
}
