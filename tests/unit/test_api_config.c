/*
 * What vmm_create() refuses by looking at its configuration alone, before anything is opened: what is more than a machine has,
 * and what contradicts itself. Each is -EINVAL, or -EBADF of a descriptor, and one line.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/api/vmm.h"

static unsigned int n_lines;
static char line[512];
static struct vmm_config config;
static struct vmm_disk disk;
static struct vmm_net net;
static struct vmm_forward forwards[VMM_MAX_FORWARDS + 1];

static void on_log(void *arg, int level, const char *text)
{
	(void)arg;
	(void)level;
	n_lines++;
	snprintf(line, sizeof(line), "%s", text);
}

/* Nothing is opened: a kernel that is not there would be said to be missing. */
static void setup(void)
{
	vmm_log_set_sink(on_log, NULL);
	vmm_config_init(&config);
	config.kernel = "/proc/nonexistent/kernel";
	for (unsigned int i = 0; i <= VMM_MAX_FORWARDS; i++)
		forwards[i] = (struct vmm_forward){.host = (uint16_t)(20000 + i), .guest = 1};
}

static void refused_by(int error, const char *want, const char *what)
{
	struct vmm *vm = (struct vmm *)&config;
	int err;

	n_lines = 0;
	err = vmm_create(&config, &vm);
	ck_assert_msg(err == error && n_lines == 1 && strstr(line, want), "%s: %d, %u lines: %s",
		      what, err, n_lines, line);
	ck_assert_ptr_null(vm);
}

static void refused(const char *want, const char *what)
{
	refused_by(-EINVAL, want, what);
}

#define DISK_REFUSED(want, ...)                                                                    \
	do {                                                                                       \
		disk = (struct vmm_disk){__VA_ARGS__};                                             \
		disk.path = "d.img";                                                               \
		refused(want, #__VA_ARGS__);                                                       \
	} while (0)

START_TEST(disks)
{
	config.disks = &disk;
	config.n_disks = 1;
	disk = (struct vmm_disk){0};
	refused("disks[0].path is NULL", "a disk without a path");
	DISK_REFUSED("'d.img': 33 queues: a disk has at most 32",
		     .queues = VMM_MAX_DISK_QUEUES + 1);
	DISK_REFUSED("'d.img': a burst goes with", .iops_burst = 1);
	DISK_REFUSED("a burst goes with", .bps_burst = 1);
	DISK_REFUSED("a burst goes with", .bps = 1, .iops_burst = 1);
	DISK_REFUSED("a burst goes with", .iops = 1, .bps_burst = 1);
	DISK_REFUSED("goes with an overlay", .overlay_file = "o");
	DISK_REFUSED("disks[0].format is none of its enum", .format = (enum vmm_disk_format)9);
	DISK_REFUSED("disks[0].backing_format is none of its enum",
		     .backing_format = (enum vmm_disk_format)9);
	config.disks = NULL;
	refused("1 disks, but their array is NULL", "disks that are nowhere");
}
END_TEST

#define NET_REFUSED(want, ...)                                                                     \
	do {                                                                                       \
		net = (struct vmm_net){__VA_ARGS__};                                               \
		net.tap_fd = net.tap_fd ? net.tap_fd : -1;                                         \
		refused(want, #__VA_ARGS__);                                                       \
	} while (0)

START_TEST(network_cards)
{
	static const uint8_t group[6] = {1}, zero[6];

	config.nets = &net;
	config.n_nets = 1;
	NET_REFUSED("network card 1: it is on a TAP interface or on passt, not both", .user = true,
		    .tap = "t");
	NET_REFUSED("17 queues: a card has at most 16", .tap = "t",
		    .queues = VMM_MAX_NET_QUEUES + 1);
	NET_REFUSED("several queues go with", .user = true, .queues = 2);
	NET_REFUSED("several queues go with", .tap_fd = 9, .queues = 2);
	NET_REFUSED("passt is a program of its own", .user = true, .vhost = VMM_VHOST_ON);
	NET_REFUSED("nets[0].vhost is none of its enum", .tap = "t", .vhost = (enum vmm_vhost)9);
	NET_REFUSED("from 68 to 65535", .tap = "tap0", .mtu = 67);
	NET_REFUSED("from 68 to 65520", .user = true, .mtu = 67);
	NET_REFUSED("from 68 to 65520", .user = true, .mtu = 65521);
	NET_REFUSED("cannot be zero or a group address", .user = true, .mac = group);
	NET_REFUSED("cannot be zero or a group address", .tap = "t", .mac = zero);
	config.nets = NULL;
	refused("but their array is NULL", "cards that are nowhere");
}
END_TEST

START_TEST(limits)
{
	config.nets = &net;
	config.n_nets = 1;
	NET_REFUSED("a burst goes with", .tap = "t", .rx = {.bps_burst = 1});
	NET_REFUSED("a burst goes with", .tap = "t", .rx = {.pps_burst = 1});
	NET_REFUSED("a burst goes with", .tap = "t", .tx = {.bps_burst = 1, .pps = 1});
	NET_REFUSED("a burst goes with", .user = true, .tx = {.pps_burst = 1, .bps = 1});
	NET_REFUSED("vhost knows of no limits", .tap = "t", .vhost = VMM_VHOST_ON,
		    .rx = {.bps = 1});
	NET_REFUSED("vhost knows of no limits", .tap = "t", .vhost = VMM_VHOST_ON,
		    .tx = {.pps = 1});
}
END_TEST

START_TEST(port_forwards)
{
	config.nets = &net;
	config.n_nets = 1;
	NET_REFUSED("forwards go with passt alone", .tap = "t", .forwards = forwards,
		    .n_forwards = 1);
	NET_REFUSED("nets[0].forwards is NULL", .user = true, .n_forwards = 1);
	NET_REFUSED("nets[0].n_forwards is more than VMM_MAX_FORWARDS", .user = true,
		    .forwards = forwards, .n_forwards = VMM_MAX_FORWARDS + 1);
	forwards[1].host = forwards[0].host;
	NET_REFUSED("TCP port 20000 of the host is forwarded twice", .user = true,
		    .forwards = forwards, .n_forwards = 2);
	forwards[1].guest = 0;
	NET_REFUSED("from a port to a port", .user = true, .forwards = forwards, .n_forwards = 2);
	forwards[0].host = 0;
	NET_REFUSED("from a port to a port", .user = true, .forwards = forwards, .n_forwards = 1);
}
END_TEST

START_TEST(a_tap_twice)
{
	struct vmm_net two[] = {{.tap_fd = 9}, {.tap_fd = 9}};

	config.nets = two;
	config.n_nets = 2;
	refused("cannot share a TAP's file descriptor", "a TAP's descriptor twice");
}
END_TEST

START_TEST(the_machine)
{
	struct vmm_vsock vsock = {.cid = VMM_MIN_CID};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct vmm_vsock_port ports[] = {{7, fd}, {7, fd}};
	const struct vmm_config good = config;

#define REFUSED(want, ...)                                                                         \
	do {                                                                                       \
		config = good;                                                                     \
		__VA_ARGS__;                                                                       \
		refused(want, #__VA_ARGS__);                                                       \
	} while (0)
	REFUSED("no kernel", config.kernel = NULL);
	REFUSED("exclude each other", config.cmdline = "", config.append = "");
	REFUSED("1 to 254", config.cpus = 0);
	REFUSED("1 to 254", config.cpus = VMM_MAX_CPUS + 1);
	REFUSED("at least 2 MiB", config.memory = VMM_MIN_MEMORY - 1);
	REFUSED("at most 32", config.io_threads = VMM_MAX_IO_THREADS + 1);
	REFUSED("not both", config.console_socket = 9, config.console_out = 9);
	REFUSED("a socket device has no path", config.vsock = &vsock);
	ck_assert_int_ge(ports[0].fd, 0);
	vsock.ports = ports;
	vsock.n_ports = 2;
	REFUSED("vsock port 7 is there twice", config.vsock = &vsock);
	close(ports[0].fd);
}
END_TEST

/* The arrays are at the end of what can be read: of one that is said to be longer than any can be nothing is. */
START_TEST(arrays)
{
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vmm_vsock vsock = {.cid = VMM_MIN_CID, .ports = (void *)(page + 4096), .n_ports = 9};
	const struct vmm_config good = config;
	struct vmm_disk two[] = {{.path = "d"}, {.path = NULL}};
	struct vmm_share shares[] = {{.path = "p", .tag = "t"},
				     {.path = "q", .tag = "u", .cache = (enum vmm_share_cache)9},
				     {.path = NULL}};
	struct vmm_initrd_part parts[] = {
		{.name = "p", .data = "x", .size = 1}, {.name = "q"}, {.name = NULL}};

	ck_assert_ptr_ne(page, MAP_FAILED);
	ck_assert_int_eq(mprotect(page + 4096, 4096, PROT_NONE), 0);
	REFUSED("33 disks are more than 32", config.disks = (void *)(page + 4096),
		config.n_disks = 33);
	REFUSED("4294967295 nets", config.nets = (void *)(page + 4096), config.n_nets = UINT32_MAX);
	REFUSED("31 nets beside the disks are more than 30", config.disks = two, config.n_disks = 2,
		config.nets = (void *)(page + 4096), config.n_nets = 31);
	REFUSED("9 shares are more than 8", config.shares = (void *)(page + 4096),
		config.n_shares = 9);
	REFUSED("9 initrd_parts are more", config.initrd_parts = (void *)(page + 4096),
		config.n_initrd_parts = 9);
	REFUSED("9 vsock ports are more", config.vsock = &vsock);
	REFUSED("shares, but their array is NULL", config.n_shares = 1);
	REFUSED("initrd_parts, but their array is NULL", config.n_initrd_parts = 1);
	vsock.ports = NULL;
	vsock.n_ports = 1;
	REFUSED("vsock ports, but their array is NULL", config.vsock = &vsock);
	REFUSED("disks[1].path is NULL", config.disks = two, config.n_disks = 2);
	REFUSED("shares[1].cache is none of its enum", config.shares = shares, config.n_shares = 3);
	shares[1].cache = VMM_SHARE_CACHE_NEVER;
	REFUSED("shares[2].path is NULL", config.shares = shares, config.n_shares = 3);
	REFUSED("initrd_parts[1].data and fill are both NULL", config.initrd_parts = parts,
		config.n_initrd_parts = 3);
	parts[1].data = "y";
	REFUSED("initrd_parts[2].name is NULL", config.initrd_parts = parts,
		config.n_initrd_parts = 3);
	REFUSED("hugepages is none of its enum", config.hugepages = (enum vmm_hugepages)9);
	REFUSED("sandbox is none of its enum", config.sandbox = (enum vmm_sandbox)9);
	munmap(page, 8192);
}
END_TEST

START_TEST(descriptors)
{
	struct vmm_vsock_port port = {.port = 1, .fd = 999};
	const struct vmm_vsock vsock = {.cid = VMM_MIN_CID, .ports = &port, .n_ports = 1};
	static const uint8_t zero[6];
	const struct vmm_config good = config;
	int reads = open("/dev/null", O_RDONLY | O_CLOEXEC),
	    writes = open("/dev/null", O_WRONLY | O_CLOEXEC),
	    datagrams = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

#define BAD_FD(want, ...)                                                                          \
	do {                                                                                       \
		config = good;                                                                     \
		__VA_ARGS__;                                                                       \
		refused_by(-EBADF, want, #__VA_ARGS__);                                            \
	} while (0)
	BAD_FD("console_in: file descriptor 999 is not open", config.console_in = 999);
	BAD_FD("console_out: file descriptor 999 is not open", config.console_out = 999);
	BAD_FD("console_socket: file descriptor 999 is not open as a stream socket",
	       config.console_socket = 999);
	BAD_FD("not open as a stream socket", config.console_socket = reads);
	BAD_FD("vsock port: file descriptor 999 is not open as a stream socket",
	       config.vsock = &vsock);
	port.fd = writes;
	BAD_FD("vsock port", config.vsock = &vsock);
	port.fd = datagrams;
	BAD_FD("vsock port", config.vsock = &vsock);
	BAD_FD("console_socket", config.console_socket = datagrams);
	BAD_FD("dump_fd: file descriptor 999 is not open", config.dump_fd = 999);
	BAD_FD("not open for writing", config.console_out = reads);
	BAD_FD("not open for writing", config.dump_fd = reads);
	/* An input that cannot be read is what nohup(1) gives. What is refused next is the card. */
	config = good;
	config.console_in = config.console_out = config.dump_fd = writes;
	net = (struct vmm_net){.tap = "t", .mac = zero};
	config.nets = &net;
	config.n_nets = 1;
	refused("cannot be zero", "good descriptors");
	close(reads);
	close(writes);
	close(datagrams);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("api/config");
	TCase *tcase = tcase_create("config");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, disks);
	tcase_add_test(tcase, network_cards);
	tcase_add_test(tcase, limits);
	tcase_add_test(tcase, port_forwards);
	tcase_add_test(tcase, a_tap_twice);
	tcase_add_test(tcase, the_machine);
	tcase_add_test(tcase, arrays);
	tcase_add_test(tcase, descriptors);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
