/* A child that was forked while a VM ran, and executes nothing, has copies of all descriptors: nobody is kept waiting by them. A part of two_vms. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "holdings.h"
#include "vmm.h"

#define PATIENCE_MS 20000

/* A listening socket with an address that the kernel picks. */
static int listen_anywhere(struct sockaddr *addr, socklen_t *len)
{
	int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, addr, *len) < 0 || listen(fd, 1) < 0)
		exit(1);
	*len = sizeof(struct sockaddr_un);
	getsockname(fd, addr, len);
	return fd;
}

static int connect_to(const struct sockaddr *addr, socklen_t len)
{
	int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	CHECK(connect(fd, addr, len) == 0, "%s", strerror(errno));
	return fd;
}

/* Whoever is there has taken the connection when it answers. */
static void ask(int fd, const char *text)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	char answer[64];

	CHECK(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text), "%s",
	      strerror(errno));
	CHECK(poll(&pfd, 1, PATIENCE_MS) == 1 && recv(fd, answer, sizeof(answer), 0) > 0,
	      "'%s' is not answered", text);
}

static bool sees_the_end(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	char rest[256];
	ssize_t n;

	do {
		if (poll(&pfd, 1, 2000) != 1)
			return false;
		n = recv(fd, rest, sizeof(rest), MSG_DONTWAIT);
	} while (n > 0);
	return n == 0 || errno == ECONNRESET;
}

static struct vmm *start(const char *kernel, int console, const char *gdb)
{
	struct vmm_config config;
	struct vmm *vm;
	int err;

	vmm_config_init(&config);
	config.kernel = kernel;
	config.memory = 64 << 20;
	config.console_socket = console;
	config.gdb = gdb;
	err = vmm_create(&config, &vm);
	if (err == -ENOTSUP)
		return NULL;
	if (err == 0)
		err = vmm_start(vm);
	CHECK(err == 0, "%s (%s)", strerror(-err), last_logged);
	if (err < 0)
		exit(1);
	return vm;
}

void test_forked_vms(char **argv)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_un room;
	} port = {.in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
	socklen_t name_len = sizeof(sa_family_t), port_len = sizeof(port.in);
	int listener = listen_anywhere((struct sockaddr *)&name, &name_len), console, gdb = -1;
	char number[8];
	struct vmm *vm;
	pid_t child;

	close(listen_anywhere(&port.any, &port_len)); /* a port that is free */
	snprintf(number, sizeof(number), "%u", ntohs(port.in.sin_port));
	vm = start(argv[2], listener, number);
	if (vm)
		gdb = connect_to(&port.any, port_len);
	else /* this host's KVM cannot debug */
		vm = start(argv[2], listener, NULL);
	console = connect_to((struct sockaddr *)&name, name_len);
	ask(console, "x");
	if (gdb >= 0)
		ask(gdb, "$?#3f");
	child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	vmm_destroy(vm);
	CHECK(sees_the_end(console), "the console's client waits");
	close(console);
	if (gdb >= 0) {
		CHECK(sees_the_end(gdb), "gdb waits");
		close(gdb);
		vmm_destroy(start(argv[2], -1, number));
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	close(listener);
}
