/*
 * A guest against the socket device, and programs of the host that connect, listen, talk and leave; see guest.h.
 *
 * On the host a program listens on port 1, with little room in its queue. On port 2 nobody does; what belongs to port 3 is left
 * of one that was killed.
 *
 * Fuzzes: virtio/vsock.c virtio/vsock_conn.c virtio/vsock_host.c virtio/vsock_map.c virtio/vsock_packet.c virtio/vsock_rx.c
 * Fuzzes: virtio/vsock_streams.c
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/guest.h"
#include "virtio/vsock.h"

#define CID	 42
#define QUEUE_RX 0
#define QUEUE_TX 1
#define PEERS	 8

static struct virtio_vsock vs;
static char dir[64], path[96];
static int listener;
static int home;	 /* the working directory, but for a run */
static int peers[PEERS]; /* the host's programs' ends of streams; -1: none */
static bool limited;	 /* the device gets no descriptors */

/* ---- the host's programs ---- */

static socklen_t address(struct sockaddr_un *addr, const char *suffix)
{
	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(addr->sun_path, sizeof(addr->sun_path), "%s%s", path, suffix);
	return sizeof(*addr);
}

static int make_socket(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		abort();
	return fd;
}

static int make_listener(const char *suffix)
{
	struct sockaddr_un addr;
	socklen_t len = address(&addr, suffix);
	int fd = make_socket();

	unlink(addr.sun_path);
	if (bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, 2) < 0)
		abort();
	return fd;
}

static void remove_files(void)
{
	static const char *const suffixes[] = {"", "_1", "_3"};
	struct sockaddr_un addr;

	for (unsigned int i = 0; i < 3; i++) {
		address(&addr, suffixes[i]);
		unlink(addr.sun_path);
	}
	rmdir(dir);
}

static void make_host(void)
{
	snprintf(dir, sizeof(dir), "/tmp/fuzz_vsock.XXXXXX");
	if (!mkdtemp(dir))
		abort();
	snprintf(path, sizeof(path), "%s/v", dir);
	atexit(remove_files);
	home = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	listener = make_listener("_1");
	close(make_listener("_3"));
}

static int *free_peer(void)
{
	for (unsigned int i = 0; i < PEERS; i++) {
		if (peers[i] < 0)
			return &peers[i];
	}
	close(peers[0]);
	return &peers[0];
}

/* A client that says what the input has, or what it should. */
static void host_connects(struct fuzz_input *in, uint8_t how)
{
	struct sockaddr_un addr;
	socklen_t len = address(&addr, "");
	char line[48];
	int fd = make_socket(), n;

	*free_peer() = fd;
	if (connect(fd, (struct sockaddr *)&addr, len) < 0)
		return;
	if (how & 1)
		n = (int)fuzz_bytes(in, line, 1 + fuzz_u8(in) % 40);
	else
		n = snprintf(line, sizeof(line), "CONNECT %u\n%s", how / 4u, how & 2 ? "more" : "");
	if (send(fd, line, (size_t)n, MSG_NOSIGNAL) < 0)
		return;
}

static void host_accepts(void)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0)
		*free_peer() = fd;
}

static void host_talks(struct fuzz_input *in, int *peer)
{
	static uint8_t bytes[0x8000];
	uint8_t what = fuzz_u8(in);
	uint32_t len = guest_len(in) % sizeof(bytes);
	ssize_t n = 0;

	switch (what % 8) {
	case 0:
	case 1:
		n = send(*peer, bytes, len, MSG_NOSIGNAL);
		break;
	case 2:
		n = send(*peer, "CONNECT 7\n", 1 + len % 10, MSG_NOSIGNAL);
		break;
	case 3:
	case 4:
		n = recv(*peer, bytes, len + 1, 0);
		break;
	case 5:
		shutdown(*peer, SHUT_WR);
		break;
	case 6:
		shutdown(*peer, SHUT_RD);
		break;
	default:
		close(*peer);
		*peer = -1;
	}
	(void)n;
}

/* The device gets no more descriptors, or gets some again; the host's programs always do. */
static void limit_fds(bool on)
{
	static struct rlimit was;
	struct rlimit limit;
	int fd;

	if (was.rlim_max == 0)
		getrlimit(RLIMIT_NOFILE, &was);
	limit = was;
	setrlimit(RLIMIT_NOFILE, &was);
	if (!on)
		return;
	fd = dup(2);
	close(fd);
	limit.rlim_cur = (rlim_t)fd;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void vsock_happens(struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in), how = fuzz_u8(in);

	limit_fds(false);
	if (what >= 0xf0)
		limited = how & 1;
	else if (what % 4 == 0)
		host_connects(in, how);
	else if (what % 4 == 1)
		host_accepts();
	else if (peers[how % PEERS] >= 0)
		host_talks(in, &peers[how % PEERS]);
	if (limited)
		limit_fds(true);
}

/* ---- the device ---- */

/* What an owner may do wrong. */
static void refused(const struct virtio_vsock_options *good)
{
	static char long_path[200];
	struct virtio_vsock_options options = *good;
	int other = make_listener("");

	FUZZ_CHECK(virtio_vsock_init(&vs, &options) == 0);
	FUZZ_CHECK(virtio_vsock_listen(&vs) == -EADDRINUSE);
	virtio_vsock_fini(&vs);
	close(other);
	options.cid = 2;
	FUZZ_CHECK(virtio_vsock_init(&vs, &options) == -EINVAL);
	options.cid = CID;
	memset(long_path, 'x', sizeof(long_path) - 1);
	options.path = long_path;
	FUZZ_CHECK(virtio_vsock_init(&vs, &options) == -EINVAL);
}

static struct virtio_device *vsock_open(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	struct virtio_vsock_options options = {
		.loop = &guest.loop, .cid = CID, .path = path, .max_connections = how & 1 ? 3 : 0};

	for (unsigned int i = 0; i < PEERS; i++)
		peers[i] = -1;
	limited = false;
	if (how & 4)
		refused(&options);
	if ((how & 0x28) == 0x28)
		options.path = NULL; /* no other streams than those that there are from the start */
	if (how & 2)		     /* of one that was killed */
		close(make_listener(""));
	FUZZ_CHECK(virtio_vsock_init(&vs, &options) == 0);
	FUZZ_CHECK(virtio_vsock_listen(&vs) == 0);
	/* As in a sandbox, where the directory has no name. */
	if ((how & 0x10) && chdir(dir) == 0)
		virtio_vsock_moved(&vs);
	return &vs.dev;
}

static void vsock_close(void)
{
	int fd;

	limit_fds(false);
	virtio_vsock_fini(&vs);
	if (fchdir(home) < 0)
		abort();
	for (unsigned int i = 0; i < PEERS; i++) {
		if (peers[i] >= 0)
			close(peers[i]);
	}
	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		close(fd);
}

/* The ports of a stream that there is, most often; else any of a few. */
static void choose_ports(uint8_t code, struct virtio_vsock_hdr *hdr)
{
	const struct vsock_conn *conn = TAILQ_FIRST(&vs.all);

	hdr->src_port = code & 3;
	hdr->dst_port = code & 0x40 ? VSOCK_MAP_FIRST_PORT : code >> 4 & 3;
	for (unsigned int i = 0; conn && i < (code & 3u); i++)
		conn = TAILQ_NEXT(conn, all);
	if (!conn || (code & 0xc) == 0)
		return;
	hdr->src_port = conn->guest_port;
	hdr->dst_port = conn->host_port;
}

static void vsock_request(struct fuzz_input *in)
{
	uint8_t ports = fuzz_u8(in), what = fuzz_u8(in), odd = fuzz_u8(in);
	struct virtio_vsock_hdr hdr = {.src_cid = CID,
				       .dst_cid = 2,
				       .type = VIRTIO_VSOCK_TYPE_STREAM,
				       .op = what & 7,
				       .buf_alloc = 0x10000};
	struct virtq_piece pieces[2];

	choose_ports(ports, &hdr);
	if (what & 8)
		hdr.fwd_cnt = fuzz_u32(in);
	if (what & 0x10)
		hdr.buf_alloc = what & 0x80 ? fuzz_u32(in) : fuzz_u8(in);
	if (what & 0x20)
		hdr.flags = fuzz_u8(in) % 4;
	if (hdr.op == VIRTIO_VSOCK_OP_RW)
		hdr.len = guest_len(in) % 0x10001;
	if ((what & 0xc0) == 0xc0) /* any of it may be wrong */
		((uint8_t *)&hdr)[fuzz_u8(in) % sizeof(hdr)] = fuzz_u8(in);
	pieces[0] = (struct virtq_piece){guest_put(&hdr, sizeof(hdr)), sizeof(hdr), false};
	pieces[1] = (struct virtq_piece){guest_alloc(hdr.len % 0x20000), hdr.len % 0x20000, false};
	guest_send(QUEUE_TX, pieces, hdr.len > 0 ? 2 : 1, odd);
	guest_kick(QUEUE_TX);
}

/* Buffers for what the device has to say. */
static void put_buffers(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in), odd = fuzz_u8(in);
	uint32_t len = how & 0x80 ? guest_len(in) % 0x8000 : 4096;

	for (unsigned int i = 0; i <= (how & 0xf); i++) {
		struct virtq_piece piece = {guest_alloc(len), len, true};

		guest_send(QUEUE_RX, &piece, 1, odd);
	}
	guest_kick(QUEUE_RX);
}

/* What is kept of a stream is no more than was promised to be. */
static void check_streams(void)
{
	const struct vsock_conn *conn;

	TAILQ_FOREACH(conn, &vs.all, all)
	FUZZ_CHECK(conn->buf_len <= conn->buf_alloc && !conn->buf == !conn->buf_len);
}

static void vsock_requests(struct fuzz_input *in)
{
	if (fuzz_u8(in) % 4 == 0)
		put_buffers(in);
	else
		vsock_request(in);
	check_streams();
}

/* A request to the port where nobody listens. */
static void vsock_check(void)
{
	const struct virtio_vsock_hdr hdr = {.src_cid = CID,
					     .dst_cid = 2,
					     .src_port = 1,
					     .dst_port = 2,
					     .type = VIRTIO_VSOCK_TYPE_STREAM,
					     .op = VIRTIO_VSOCK_OP_REQUEST};
	const struct virtq_piece rx = {guest_alloc(4096), 4096, true};
	const struct virtq_piece tx = {guest_put(&hdr, sizeof(hdr)), sizeof(hdr), false};
	struct virtio_vsock_hdr answer;

	limit_fds(false);
	limited = false;
	FUZZ_CHECK(vs.n_conns == 0 && vs.n_resets == 0);
	guest_send(QUEUE_RX, &rx, 1, 0);
	guest_exchange(QUEUE_TX, &tx, 1);
	FUZZ_CHECK(guest.drv[QUEUE_RX].used->idx == 1);
	memcpy(&answer, guest_at(rx.gpa, sizeof(answer)), sizeof(answer));
	FUZZ_CHECK(answer.op == VIRTIO_VSOCK_OP_RST && answer.dst_port == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct guest_target target = {.open = vsock_open,
						   .close = vsock_close,
						   .request = vsock_requests,
						   .host = vsock_happens,
						   .check = vsock_check,
						   .writable = 1 << QUEUE_RX | 1 << 2};

	if (!dir[0])
		make_host();
	return guest_run(&target, data, size);
}
