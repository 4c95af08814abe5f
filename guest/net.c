#include "guest/init.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include "guest/dhcp.h"

#define NET_CARDS 32
#define NET_RUN	  "/run/resolv.conf"
#define NET_ETC	  "/etc/resolv.conf"
#define HOSTS_MAX (1l << 20) /* a device of an image has no end */
#define HOSTS_RUN "/run/hosts"
#define HOSTS_ETC "/etc/hosts"

static struct ifreq net_request(const char *name)
{
	struct ifreq request;

	memset(&request, 0, sizeof(request));
	text_append(request.ifr_name, IFNAMSIZ, 0, name);
	return request;
}

/* Returns whether there is such an interface. */
static bool net_up(int fd, const char *name)
{
	struct ifreq request = net_request(name);

	if (SYS3(ioctl, fd, SIOCGIFFLAGS, &request) < 0)
		return false;
	request.ifr_flags |= IFF_UP;
	return SYS3(ioctl, fd, SIOCSIFFLAGS, &request) == 0;
}

static void net_set(int fd, const char *card, unsigned int what, uint32_t address)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = address};
	struct ifreq request = net_request(card);

	memcpy(&request.ifr_addr, &in, sizeof(in));
	SYS3(ioctl, fd, what, &request);
}

static long net_route(int fd, char *card, uint32_t to, uint32_t gateway, unsigned short flags)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct rtentry route;

	memset(&route, 0, sizeof(route));
	route.rt_flags = RTF_UP | flags;
	route.rt_dev = card;
	memcpy(&route.rt_genmask, &in, sizeof(in));
	in.sin_addr.s_addr = to;
	memcpy(&route.rt_dst, &in, sizeof(in));
	in.sin_addr.s_addr = gateway;
	memcpy(&route.rt_gateway, &in, sizeof(in));
	return SYS3(ioctl, fd, SIOCADDRT, &route);
}

/* A root's file may be a symlink to one that some service would have made below /run, which is empty yet. */
static void net_make_way(void)
{
	char path[256];
	long n = SYS3(readlink, NET_ETC, path, sizeof(path) - 1);

	if (n <= 0 || SYS1(chdir, "/etc") < 0)
		return;
	path[n] = '\0';
	for (char *c = path + 1; *c; c++) {
		if (*c != '/')
			continue;
		*c = '\0';
		SYS2(mkdir, path, 0755);
		*c = '/';
	}
	SYS1(chdir, "/");
}

/* The root's own file stays as it is, below ours, for what is written to the root may be kept. */
static void net_name_servers(const struct dhcp_lease *lease)
{
	char text[128];
	size_t len = 0;
	int fd;

	for (unsigned int i = 0; i < 3 && lease->names[i]; i++) {
		const uint8_t *byte = (const uint8_t *)&lease->names[i];

		len = text_append(text, sizeof(text), len, "nameserver ");
		for (unsigned int j = 0; j < 4; j++) {
			len = text_append_number(text, sizeof(text), len, byte[j]);
			len = text_append(text, sizeof(text), len, j < 3 ? "." : "\n");
		}
	}
	fd = (int)SYS3(open, NET_RUN, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	SYS3(write, fd, text, len);
	SYS1(close, fd);
	net_make_way();
	fd = (int)SYS3(open, NET_ETC, O_RDONLY | O_CREAT | O_CLOEXEC, 0644);
	SYS1(close, fd);
	SYS5(mount, NET_RUN, NET_ETC, 0, MS_BIND, 0);
}

/* first: it gives the name servers and the way to all else, too. Returns whether there is a lease. */
static bool net_configure(int fd, char *card, bool first)
{
	struct ifreq hardware = net_request(card), index = net_request(card);
	struct dhcp_lease lease = {0};

	if (SYS3(ioctl, fd, SIOCGIFHWADDR, &hardware) < 0 ||
	    SYS3(ioctl, fd, SIOCGIFINDEX, &index) < 0 ||
	    !dhcp_ask(card, index.ifr_ifindex, (const uint8_t *)hardware.ifr_hwaddr.sa_data,
		      &lease))
		return false;
	net_set(fd, card, SIOCSIFADDR, lease.address);
	net_set(fd, card, SIOCSIFNETMASK, lease.mask ? lease.mask : 0xffffffff);
	/* The router of a host that has a network of its own alone is not in that. */
	if (first && lease.router && net_route(fd, card, 0, lease.router, RTF_GATEWAY) < 0) {
		net_route(fd, card, lease.router, 0, RTF_HOST);
		net_route(fd, card, 0, lease.router, RTF_GATEWAY);
	}
	if (first && lease.names[0])
		net_name_servers(&lease);
	return true;
}

static void net_cards(int fd, uint32_t dhcp)
{
	bool first = true;

	for (unsigned int i = 0; i < NET_CARDS; i++) {
		bool ask = dhcp >> i & 1;
		char card[IFNAMSIZ];

		text_append_number(card, sizeof(card), text_append(card, sizeof(card), 0, "eth"),
				   i);
		if ((i == 0 || ask) && net_up(fd, card) && ask && net_configure(fd, card, first))
			first = false;
	}
}

static void net_write(const char *path, const char *text)
{
	int fd = (int)SYS3(open, path, O_WRONLY | O_CLOEXEC, 0);

	SYS3(write, fd, text, text_len(text));
	SYS1(close, fd);
}

/*
 * The root's own file stays as it is, below ours, and comes first in that. Container images have none, for what runs them makes it;
 * other roots look as they are. In a root that is kept the file is the user's to write.
 */
void net_hosts(const struct init_start *start)
{
	static const char locals[] = "127.0.0.1\tlocalhost\n::1\tlocalhost\n";
	bool container = start->what.flags & GUEST_CONTAINER;
	char text[512];
	size_t len;
	long n, all = 0;
	int from, to;

	if (start->what.flags & GUEST_ROOT_KEEP)
		return;
	if (container)
		SYS2(mkdir, "/etc", 0755);
	/* An image may have a pipe there, or here. */
	from = (int)SYS3(open, HOSTS_ETC,
			 O_RDONLY | O_NONBLOCK | O_CLOEXEC | (container ? O_CREAT : 0), 0644);
	if (from < 0)
		return;
	to = (int)SYS3(open, HOSTS_RUN, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_CLOEXEC,
		       0644);
	for (; all < HOSTS_MAX && (n = SYS3(read, from, text, sizeof(text))) > 0; all += n)
		SYS3(write, to, text, n);
	len = text_append(text, sizeof(text), 0, all > 0 ? "\n" : locals);
	len = text_append(text, sizeof(text), len, "127.0.1.1\t");
	len = text_append(text, sizeof(text), len, start->host_name);
	len = text_append(text, sizeof(text), len, "\n");
	SYS3(write, to, text, len);
	SYS1(close, to);
	SYS1(close, from);
	SYS5(mount, HOSTS_RUN, HOSTS_ETC, 0, MS_BIND, 0);
}

void net_begin(const struct init_start *start)
{
	int fd = (int)SYS3(socket, AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return; /* a kernel without a network */
	net_up(fd, "lo");
	/* As images are used to: their users may have any port, and ping. */
	if (start->what.flags & GUEST_CONTAINER) {
		net_write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
		net_write("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
	}
	net_cards(fd, start->what.dhcp);
	SYS1(close, fd);
}
