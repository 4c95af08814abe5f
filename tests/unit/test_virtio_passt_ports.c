/* Ports of the host that are to be forwarded: free, in use with one family of addresses, in use with both. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/skip.h"
#include "virtio/passt.h"
#include "virtio/passt_ports.h"
#include "vmm/core/log.h"

static unsigned int n_lines;
static char line[256];

static void on_log(void *arg, int level, const char *text)
{
	(void)arg;
	(void)level;
	n_lines++;
	snprintf(line, sizeof(line), "%s", text);
}

static const struct way {
	bool udp;
	bool shared; /* by who has the port: no reason for taking it */
} ways[] = {{false, false}, {false, true}, {true, false}, {true, true}};
#define N_WAYS ((int)(sizeof(ways) / sizeof(ways[0])))

/* A socket on any address of one family, with this port, or for 0 with one that the kernel chooses. -1: there is no such family. */
static int occupy(const struct way *way, int family, uint16_t *port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(*port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(*port)};
	struct sockaddr *addr = family == AF_INET ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6;
	socklen_t len = family == AF_INET ? sizeof(v4) : sizeof(v6);
	int fd = socket(family, (way->udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
	int on = 1, shared = way->shared;

	if (fd < 0)
		return -1;
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &shared, sizeof(shared));
	ck_assert_int_eq(bind(fd, addr, len), 0);
	ck_assert(way->udp || listen(fd, 1) == 0);
	ck_assert_int_eq(getsockname(fd, addr, &len), 0);
	*port = ntohs(family == AF_INET ? v4.sin_port : v6.sin6_port);
	return fd;
}

static struct passt_forward forward_of(const struct way *way, uint16_t port)
{
	log_set_sink(on_log, NULL);
	n_lines = 0;
	return (struct passt_forward){.udp = way->udp, .host = port, .guest = 7};
}

START_TEST(free_port)
{
	uint16_t port = 0;
	int fd = occupy(&ways[_i], AF_INET, &port);
	struct passt_forward forward = forward_of(&ways[_i], port);

	close(fd);
	ck_assert_int_eq(passt_ports_check(&forward, 1), 0);
	ck_assert_uint_eq(n_lines, 0);
	/* it was not kept */
	fd = occupy(&ways[_i], AF_INET, &port);
	close(fd);
}
END_TEST

static void *close_soon(void *arg)
{
	usleep(150000);
	close(*(int *)arg);
	return NULL;
}

/* As by the passt of a vmm that was killed. */
START_TEST(port_of_one_that_ends)
{
	uint16_t port = 0;
	int fd = occupy(&ways[_i], AF_INET, &port);
	struct passt_forward forward = forward_of(&ways[_i], port);
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, close_soon, &fd), 0);
	ck_assert_int_eq(passt_ports_check(&forward, 1), 0);
	ck_assert_uint_eq(n_lines, 0);
	pthread_join(thread, NULL);
}
END_TEST

static void check_half(const struct way *way, int family, const char *want)
{
	uint16_t port = 0;
	int fd = occupy(way, family, &port);
	struct passt_forward forward = forward_of(way, port);

	ck_assert_int_eq(passt_ports_check(&forward, 1), 0);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_msg(strstr(line, want), "%s", line);
	close(fd);
}

static bool has_ipv6(void)
{
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0)
		close(fd);
	else
		skip_note("this host has no IPv6");
	return fd >= 0;
}

/* So that programs that are run keep the rights. */
static void be_root_here(unsigned int uid)
{
	FILE *map = fopen("/proc/self/uid_map", "w");

	ck_assert_ptr_nonnull(map);
	fprintf(map, "0 %u 1\n", uid);
	ck_assert_int_eq(fclose(map), 0);
}

/* A network of its own for this test, which leads nowhere, or by IPv6 to a neighbour. */
static bool enter_network(bool leads)
{
	unsigned int uid = getuid();

	if (unshare(CLONE_NEWNET) < 0) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0) {
			skip_note("no network of its own: %s", strerror(errno));
			return false;
		}
		be_root_here(uid);
	}
	if (leads && system("ip link set lo up && ip -6 route add default dev lo") != 0) {
		skip_note("no way out by IPv6 can be made");
		return false;
	}
	return has_ipv6();
}

START_TEST(one_family)
{
	if (!enter_network(true))
		return;
	check_half(&ways[_i], AF_INET, "in use with IPv4: only what comes by IPv6 is forwarded");
	check_half(&ways[_i], AF_INET6, "in use with IPv6: only what comes by IPv4 is forwarded");
}
END_TEST

/* passt takes no port with IPv6 then. */
START_TEST(no_way_by_ipv6)
{
	uint16_t port = 0;
	struct passt_forward forward;
	int fd;

	if (!enter_network(false))
		return;
	fd = occupy(&ways[_i], AF_INET, &port);
	forward = forward_of(&ways[_i], port);
	ck_assert_int_eq(passt_ports_check(&forward, 1), -EADDRINUSE);
	ck_assert_uint_eq(n_lines, 1);
	close(fd);
	check_half(&ways[_i], AF_INET6, "in use with IPv6: only what comes by IPv4 is forwarded");
}
END_TEST

/* passt is not even looked for. */
START_TEST(both_families)
{
	const struct way *way = &ways[_i];
	uint16_t port = 0;
	int v4 = occupy(way, AF_INET, &port), v6 = has_ipv6() ? occupy(way, AF_INET6, &port) : -1;
	struct passt_forward forwards[] = {forward_of(way, port), forward_of(way, port)};
	struct passt_config config = {.forwards = forwards, .n_forwards = 1};
	struct passt passt;
	char want[80];

	snprintf(want, sizeof(want),
		 "cannot forward %s port %u of the host to the guest: it is in use",
		 way->udp ? "UDP" : "TCP", port);
	ck_assert_int_eq(passt_ports_check(forwards, 2), -EADDRINUSE);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_str_eq(line, want);
	setenv("PATH", "/proc/nonexistent", 1);
	ck_assert_int_eq(passt_open(&passt, &config), -EADDRINUSE);
	ck_assert_uint_eq(n_lines, 2);
	close(v4);
	if (v6 >= 0)
		close(v6);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio/passt_ports");
	TCase *tcase = tcase_create("ports");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tcase, free_port, 0, N_WAYS);
	tcase_add_loop_test(tcase, port_of_one_that_ends, 0, N_WAYS);
	tcase_add_loop_test(tcase, one_family, 0, N_WAYS);
	tcase_add_loop_test(tcase, no_way_by_ipv6, 0, N_WAYS);
	tcase_add_loop_test(tcase, both_families, 0, N_WAYS);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return skip_status(failed);
}
