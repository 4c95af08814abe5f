/*
 * A client of --console socket=PATH: what it sends comes back from an echoing guest, a second client is turned away, and
 * after the character that ends the guest the connection does too.
 */
#include <err.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static int connect_to(const char *path)
{
	struct timeval patience = {.tv_sec = 20};
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strncpy(at.sun_path, path, sizeof(at.sun_path) - 1);
	if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		err(1, "cannot connect to %s", path);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	return fd;
}

static void echoed(int fd, const char *text)
{
	size_t len = strlen(text), got = 0;
	char back[64];

	if (write(fd, text, len) != (ssize_t)len)
		err(1, "cannot send '%s'", text);
	while (got < len) {
		ssize_t n = read(fd, back + got, sizeof(back) - got);

		if (n <= 0)
			err(1, "'%s' does not come back", text);
		got += (size_t)n;
	}
	if (got != len || memcmp(back, text, len) != 0)
		errx(1, "'%s' comes back as something else", text);
}

static void ended(int fd, const char *what)
{
	char byte;

	if (read(fd, &byte, 1) != 0)
		errx(1, "%s", what);
	close(fd);
}

int main(int argc, char **argv)
{
	static const char *const texts[] = {"first", "second"};

	if (argc != 2)
		errx(2, "usage: console_client PATH");
	for (int i = 0; i < 2; i++) {
		int one = connect_to(argv[1]);

		ended(connect_to(argv[1]), "a second client is served");
		echoed(one, texts[i]);
		if (i == 1) {
			echoed(one, "\4");
			ended(one, "not closed at the end");
		} else {
			close(one);
		}
	}
	return 0;
}
