#include "guest/init.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <linux/vm_sockets.h>

struct channel channel;

static int channel_connect(uint32_t port)
{
	struct sockaddr_vm addr = {
		.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = port};
	/* The usual 2 s are little on a host that is busy; it is the host that loses patience. */
	const struct timeval patience = {.tv_sec = 600};
	int fd = (int)SYS3(socket, AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
	long err;

	if (fd == -EAFNOSUPPORT)
		init_fail("reach the host: the guest's kernel has no AF_VSOCK "
			  "(modules vsock, vmw_vsock_virtio_transport)",
			  "", 0);
	if (fd < 0)
		init_fail("make a socket", "", fd);
	SYS5(setsockopt, fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &patience, sizeof(patience));
	err = SYS3(connect, fd, &addr, sizeof(addr));
	if (err == -ENODEV)
		init_fail("reach the host: the guest's kernel has no driver for the socket device "
			  "(modules virtio_pci, vmw_vsock_virtio_transport)",
			  "", 0);
	if (err < 0)
		init_fail("reach the host", "", err);
	return fd;
}

/* The streams come first, so that whoever is told that we are ready may use them. */
void channel_open(void)
{
	int control;

	for (unsigned int i = 0; i < 3; i++)
		channel.stream[i] = channel_connect(GUEST_PORT_STDIN + i);
	control = channel_connect(GUEST_PORT_CONTROL);
	channel.control = control;
}

/* Descriptors may have become non-blocking, and the host reads soon. */
static void channel_write(const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	while (len > 0) {
		long n = SYS3(write, channel.control, at, len);

		if (n == -EAGAIN) {
			struct pollfd fd = {.fd = channel.control, .events = POLLOUT};

			SYS3(poll, &fd, 1, -1);
			continue;
		}
		if (n <= 0 && n != -EINTR)
			init_end(); /* there is no host any more */
		at += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
}

void channel_say(uint32_t type, const void *body, uint32_t size)
{
	uint8_t buf[sizeof(struct guest_message) + GUEST_MESSAGE_MAX];
	struct guest_message head = {.type = type, .size = size};

	memcpy(buf, &head, sizeof(head));
	memcpy(buf + sizeof(head), body, size);
	channel_write(buf, sizeof(head) + size);
}

static void channel_tell(uint32_t type, const char *text, uint32_t error,
			 enum guest_failed_what what)
{
	uint8_t buf[GUEST_MESSAGE_MAX];
	struct guest_failed failed = {.error = error, .what = what};
	size_t len = text_len(text);

	if (len > sizeof(buf) - sizeof(failed))
		len = sizeof(buf) - sizeof(failed);
	memcpy(buf, &failed, sizeof(failed));
	memcpy(buf + sizeof(failed), text, len);
	channel_say(type, buf, (uint32_t)(sizeof(failed) + len));
}

void channel_fail(const char *text, uint32_t error, enum guest_failed_what what)
{
	channel_tell(GUEST_FAILED, text, error, what);
}

void channel_note(const char *text, const char *what, long error)
{
	char line[GUEST_MESSAGE_MAX];

	text_append(line, sizeof(line), text_append(line, sizeof(line), 0, text), what);
	channel_tell(GUEST_NOTE, line, (uint32_t)-error, GUEST_FAILED_ITSELF);
}

static void channel_read(void *to, size_t len)
{
	uint8_t *at = to;

	while (len > 0) {
		long n = SYS3(read, channel.control, at, len);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			init_end();
		at += n;
		len -= (size_t)n;
	}
}

static void *channel_memory(size_t bytes)
{
	long at = SYS6(mmap, 0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at < 0 && at > -4096)
		init_fail("get memory for the command's arguments", "", at);
	return (void *)at; /* NOLINT: what mmap() is for */
}

/* Takes the next string off the text; "" when there is none. */
static char *channel_string(char **at, const char *end)
{
	char *s = *at;

	if (s >= end)
		init_fail("understand the host: a string is missing", "", 0);
	*at += text_len(s) + 1;
	return s;
}

static void channel_strings(char **at, const char *end, uint32_t n, char **list)
{
	for (uint32_t i = 0; i < n; i++)
		list[i] = channel_string(at, end);
	list[n] = NULL;
}

void channel_receive(struct init_start *start)
{
	struct guest_message head;
	char *text, *end, *at, **list;
	size_t n_strings; /* with the NULLs at the ends of the lists */
	uint32_t n;

	channel_read(&head, sizeof(head));
	if (head.type != GUEST_START || head.size < sizeof(start->what) ||
	    head.size > GUEST_START_MAX)
		init_fail("understand the host: no command comes", "", 0);
	channel_read(&start->what, sizeof(start->what));
	n = head.size - (uint32_t)sizeof(start->what);
	if (start->what.version != GUEST_VERSION || start->what.n_args == 0 ||
	    start->what.n_args > n || start->what.n_env > n || start->what.n_shares > n)
		init_fail("understand the host: it speaks another version", "", 0);
	n_strings = (size_t)start->what.n_args + start->what.n_env +
		    3 * (size_t)start->what.n_shares + 4 + INIT_MORE_ENV;
	text = channel_memory(n + 1 + n_strings * sizeof(char *));
	list = (char **)(void *)text;
	text = (char *)(list + n_strings);
	channel_read(text, n);
	at = text;
	end = text + n;
	*end = '\0'; /* mmap() gave one byte more */
	start->host_name = channel_string(&at, end);
	start->root_type = channel_string(&at, end);
	start->directory = channel_string(&at, end);
	start->user_name = channel_string(&at, end);
	start->args = list + 1;
	start->env = start->args + start->what.n_args + 1;
	start->shares = start->env + start->what.n_env + 1 + INIT_MORE_ENV;
	channel_strings(&at, end, start->what.n_args, start->args);
	channel_strings(&at, end, start->what.n_env, start->env);
	channel_strings(&at, end, 3 * start->what.n_shares, start->shares);
}
