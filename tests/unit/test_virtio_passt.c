/* passt as a child: started, refused, ended. Skipped where there is none, or no way out for it. */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/count_fds.h"
#include "tests/unit/skip.h"
#include "virtio/passt.h"
#include "vmm/core/log.h"

static char log_last[4096];

static void on_log(void *arg, int level, const char *line)
{
	(void)arg;
	(void)level;
	snprintf(log_last, sizeof(log_last), "%s", line);
}

/* A program of this name, first in PATH; returns the directory. */
static void fake_passt(const char *script)
{
	static char dir[] = "/tmp/passt-XXXXXX";
	char path[64];
	FILE *f;

	strcpy(dir, "/tmp/passt-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/passt", dir);
	f = fopen(path, "w");
	fprintf(f, "#!/bin/sh\n%s\n", script);
	fclose(f);
	ck_assert_int_eq(system("true"), 0);
	snprintf(path, sizeof(path), "chmod +x %s/passt", dir);
	ck_assert_int_eq(system(path), 0);
	snprintf(path, sizeof(path), "%s:/usr/bin:/bin", dir);
	setenv("PATH", path, 1);
}

static void fake_gone(void)
{
	char command[64];

	snprintf(command, sizeof(command), "rm -r %.17s", getenv("PATH"));
	ck_assert_int_eq(system(command), 0);
}

START_TEST(test_missing)
{
	struct passt_config config = {0};
	struct passt p;
	unsigned int fds;

	log_set_sink(on_log, NULL);
	fds = count_fds();
	setenv("PATH", "/proc/nonexistent", 1);
	ck_assert_int_eq(passt_open(&p, &config), -ENOENT);
	ck_assert_ptr_nonnull(strstr(log_last, "apt install passt"));
	ck_assert_uint_eq(count_fds(), fds);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
}
END_TEST

/* A passt that does so is no network, and nothing of it is left. */
static void fails(const char *script, const char *why)
{
	struct passt_config config = {0};
	struct passt p;
	unsigned int fds;

	log_set_sink(on_log, NULL);
	fds = count_fds();
	fake_passt(script);
	ck_assert_int_eq(passt_open(&p, &config), -EIO);
	ck_assert_str_eq(log_last, why);
	ck_assert_uint_eq(count_fds(), fds);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	fake_gone();
}

START_TEST(test_fails)
{
	fails("echo first >&2; echo the port is taken >&2; echo Failed to send 3 bytes >&2; exit 1",
	      "cannot start passt for a user network: the port is taken");
}
END_TEST

START_TEST(test_complains_a_lot)
{
	fails("i=0; while [ $i -lt 3000 ]; do echo line $i >&2; i=$((i+1)); done; exit 1",
	      "cannot start passt for a user network: line 2999");
}
END_TEST

/* It goes on without ever being ready: it is ended, too. */
START_TEST(test_never_ready)
{
	fails("exec sleep 60 >&-", "cannot start passt for a user network: it gave no reason");
}
END_TEST

/* What it is given, and that the descriptor works; it complains when nobody listens, and is ended when it does not. */
START_TEST(test_arguments)
{
	static const struct passt_forward forwards[] = {{false, 2222, 22}, {true, 53, 5353}};
	struct passt_config config = {.forwards = forwards, .n_forwards = 2, .mtu = 1400};
	char got[512];
	struct passt p;
	ssize_t n;

	log_set_sink(on_log, NULL);
	fake_passt("echo $$; echo \"$@\" >&3; trap '' HUP; while :; do echo noise >&2; done");
	ck_assert_int_eq(passt_open(&p, &config), 0);
	n = read(p.stream.be.fd[0], got, sizeof(got) - 1);
	ck_assert_int_gt(n, 0);
	got[n] = '\0';
	ck_assert_ptr_nonnull(
		strstr(got, "--fd 3 --mtu 1400 --tcp-ports 2222:22 --udp-ports 53:5353"));
	ck_assert_uint_eq(p.stream.be.mtu, 1400);
	ck_assert_int_eq(getpgid(p.pid), p.pid);
	ck_assert_int_eq(kill(p.pid, 0), 0);
	passt_close(&p);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	fake_gone();
}
END_TEST

/* Of what the process has open, and of its variables, it gets its own. */
START_TEST(test_nothing_else)
{
	struct passt_config config = {0};
	char got[1024], want[128];
	size_t len = 0;
	struct passt p;
	ssize_t n;

	log_set_sink(on_log, NULL);
	ck_assert_int_ge(fcntl(2, F_DUPFD, 4), 4);
	ck_assert_int_eq(dup2(2, 100), 100);
	setenv("SECRET", "token", 1);
	fake_passt("{ tr '\\0' '\\n' </proc/$$/environ; ls /proc/self/fd; } >&3; echo $$");
	ck_assert_int_eq(passt_open(&p, &config), 0);
	while ((n = read(p.stream.be.fd[0], got + len, sizeof(got) - 1 - len)) > 0)
		len += (size_t)n;
	got[len] = '\0';
	/* 4 is what ls reads */
	snprintf(want, sizeof(want), "PATH=%s\n0\n1\n2\n3\n4\n", getenv("PATH"));
	ck_assert_str_eq(got, want);
	passt_close(&p);
	fake_gone();
}
END_TEST

/* One that ends while we run is reaped, and tells so by its link. */
START_TEST(test_ends_early)
{
	struct passt_config config = {0};
	struct pollfd link = {.events = POLLIN};
	struct passt p;
	unsigned int fds;

	log_set_sink(on_log, NULL);
	fds = count_fds();
	fake_passt("echo $$; read -r line <&3; exit 1");
	ck_assert_int_eq(passt_open(&p, &config), 0);
	link.fd = p.stream.be.link_fd;
	ck_assert_int_ge(link.fd, 0);
	ck_assert_int_eq(poll(&link, 1, 0), 0);
	ck_assert_int_eq(p.stream.be.ops->read_link(&p.stream.be), 0);
	ck_assert(p.stream.be.link_up);
	ck_assert_int_eq(send(p.stream.be.fd[0], "\n", 1, 0), 1);
	ck_assert_int_eq(poll(&link, 1, 10000), 1);
	ck_assert_int_eq(p.stream.be.ops->read_link(&p.stream.be), -EPIPE);
	ck_assert(!p.stream.be.link_up);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
	passt_close(&p);
	ck_assert_uint_eq(count_fds(), fds);
	fake_gone();
}
END_TEST

/* Several in one machine are told apart, so that their default Ethernet addresses are. */
START_TEST(test_names)
{
	struct passt p[3];

	log_set_sink(on_log, NULL);
	fake_passt("echo $$; read -r line <&3");
	for (unsigned int i = 0; i < 3; i++) {
		struct passt_config config = {.number = i};

		ck_assert_int_eq(passt_open(&p[i], &config), 0);
	}
	ck_assert_str_eq(p[0].stream.be.name, "user");
	ck_assert_str_eq(p[1].stream.be.name, "user 2");
	ck_assert_str_eq(p[2].stream.be.name, "user 3");
	for (unsigned int i = 0; i < 3; i++)
		passt_close(&p[i]);
	fake_gone();
}
END_TEST

/* A child of the process may have a copy of its socket. */
START_TEST(test_end_with_a_copy)
{
	struct passt_config config = {0};
	struct passt p;
	pid_t pid;
	int copy;

	log_set_sink(on_log, NULL);
	fake_passt("echo $$; read -r line <&3");
	ck_assert_int_eq(passt_open(&p, &config), 0);
	copy = dup(p.stream.be.fd[0]);
	ck_assert_int_ge(copy, 0);
	pid = p.pid;
	p.pid = 0; /* nobody kills it */
	passt_close(&p);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	close(copy);
	fake_gone();
}
END_TEST

/* The real one ends when its socket is closed, without being killed. */
START_TEST(test_real)
{
	struct passt_config config = {0};
	uint8_t frame[12 + 60] = {0};
	struct iovec iov = {frame, sizeof(frame)};
	int status = -1;
	struct passt p;
	pid_t pid;

	log_set_sink(on_log, NULL);
	if (passt_open(&p, &config) < 0) {
		skip_note("%s", log_last);
		return;
	}
	memset(frame + 12, 0xff, 6);
	ck_assert_int_eq(p.stream.be.ops->write(&p.stream.be, 0, &iov, 1, sizeof(frame)), 0);
	pid = p.pid;
	p.pid = 0;
	passt_close(&p);
	for (int i = 0; i < 2000 && waitpid(pid, &status, WNOHANG) == 0; i++)
		poll(NULL, 0, 1);
	ck_assert(WIFEXITED(status));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio/passt");
	TCase *tcase = tcase_create("passt");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tcase, 30);
	tcase_add_test(tcase, test_missing);
	tcase_add_test(tcase, test_fails);
	tcase_add_test(tcase, test_complains_a_lot);
	tcase_add_test(tcase, test_never_ready);
	tcase_add_test(tcase, test_arguments);
	tcase_add_test(tcase, test_nothing_else);
	tcase_add_test(tcase, test_ends_early);
	tcase_add_test(tcase, test_names);
	tcase_add_test(tcase, test_end_with_a_copy);
	tcase_add_test(tcase, test_real);
	suite_add_tcase(suite, tcase);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return skip_status(failed);
}
