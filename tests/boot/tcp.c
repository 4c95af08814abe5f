/*
 * Sends standard input, or receives to standard output, over one TCP connection, in pieces large enough to let
 * segmentation offloads work. Ends when all has been taken; 0 when nothing went wrong.
 *
 *   tcp send|receive PORT [ADDRESS]   waits for the connection, or makes it when there is an address
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int fail(const char *what)
{
	fprintf(stderr, "tcp: %s: %s\n", what, strerror(errno));
	return -1;
}

static int wait_for_connection(const struct sockaddr_in *address)
{
	int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0), connection;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 || listen(fd, 1) < 0)
		return fail("listen");
	connection = accept(fd, NULL, NULL);
	close(fd);
	return connection < 0 ? fail("accept") : connection;
}

/* The other side may start a little later than we do. */
static int make_connection(const struct sockaddr_in *address)
{
	for (int attempt = 0; attempt < 100; attempt++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
			return fd;
		close(fd);
		usleep(100000);
	}
	return fail("connect");
}

static int copy(int from, int to)
{
	static char buffer[256 << 10];
	ssize_t length;

	while ((length = read(from, buffer, sizeof(buffer))) > 0) {
		for (ssize_t done = 0, n; done < length; done += n) {
			n = write(to, buffer + done, (size_t)(length - done));
			if (n < 0)
				return fail("write");
		}
	}
	return length < 0 ? fail("read") : 0;
}

/* Returns once the receiver has taken everything and has closed its side. */
static int send_all(int connection)
{
	char byte;

	if (copy(STDIN_FILENO, connection) < 0 || shutdown(connection, SHUT_WR) < 0)
		return -1;
	return read(connection, &byte, 1) == 0 ? 0 : fail("end");
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	bool sends = argc > 1 && strcmp(argv[1], "send") == 0;
	int connection;

	if (argc < 3) {
		fputs("usage: tcp send|receive PORT [ADDRESS]\n", stderr);
		return 2;
	}
	address.sin_port = htons((uint16_t)atoi(argv[2]));
	if (argc > 3)
		inet_aton(argv[3], &address.sin_addr);
	connection = argc > 3 ? make_connection(&address) : wait_for_connection(&address);
	if (connection < 0)
		return 1;
	return sends ? send_all(connection) < 0 : copy(connection, STDOUT_FILENO) < 0;
}
