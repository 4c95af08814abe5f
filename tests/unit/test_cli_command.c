/* vmm/cli: what a command needs: archives, and the link to the guest's init. */
#include <dirent.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "tests/unit/folder_fixture.h"

#include "guest/protocol.h"
#include "vmm/cli/cpio.h"
#include "vmm/cli/guest_init.h"
#include "vmm/cli/guest_link.h"
#include "vmm/cli/root_dir.h"

/* ---- archives ---- */

struct found {
	unsigned int field[13];
	const char *name;
	const uint8_t *body;
};

enum {
	INO,
	MODE,
	UID,
	GID,
	NLINK,
	MTIME,
	SIZE,
	MAJOR,
	MINOR,
	RMAJOR,
	RMINOR,
};

/* Reads the entry at *at as Linux does, and moves on. */
static struct found parse(const uint8_t *archive, size_t *at)
{
	struct found f;
	char digits[9] = "";

	ck_assert_uint_eq(*at % 4, 0);
	ck_assert_mem_eq(archive + *at, "070701", 6);
	for (int i = 0; i < 13; i++) {
		memcpy(digits, archive + *at + 6 + 8 * i, 8);
		f.field[i] = (unsigned int)strtoul(digits, NULL, 16);
	}
	f.name = (const char *)archive + *at + 110;
	ck_assert_uint_eq(strlen(f.name) + 1, f.field[11]);
	*at = (*at + 110 + f.field[11] + 3) & ~(size_t)3;
	f.body = archive + *at;
	*at = (*at + f.field[SIZE] + 3) & ~(size_t)3;
	return f;
}

static bool find(const uint8_t *archive, size_t size, const char *name, struct found *f)
{
	for (size_t at = 0; at < size;) {
		*f = parse(archive, &at);
		if (strcmp(f->name, name) == 0)
			return true;
	}
	return false;
}

START_TEST(archive_entries)
{
	struct cpio_entry e = {.name = "a/b",
			       .inode = 7,
			       .mode = S_IFREG | 0644,
			       .uid = 1000,
			       .gid = 0xfffffffe,
			       .links = 2,
			       .mtime = 0x80000000,
			       .size = 5,
			       .major = 8,
			       .minor = 1};
	uint8_t archive[512];
	uint64_t size = cpio_size("a/b", 5) + cpio_end_size();
	size_t at = 0;
	struct found f;

	memset(archive, 0xff, sizeof(archive));
	ck_assert_ptr_eq(cpio_end(cpio_write(archive, &e, "hello")), archive + size);
	f = parse(archive, &at);
	ck_assert_str_eq(f.name, "a/b");
	ck_assert_uint_eq(f.field[INO], 7);
	ck_assert_uint_eq(f.field[MODE], 0100644);
	ck_assert_uint_eq(f.field[UID], 1000);
	ck_assert_uint_eq(f.field[GID], 0xfffffffe);
	ck_assert_uint_eq(f.field[NLINK], 2);
	ck_assert_uint_eq(f.field[MTIME], 0x80000000);
	ck_assert_uint_eq(f.field[RMAJOR], 8);
	ck_assert_uint_eq(f.field[RMINOR], 1);
	ck_assert_mem_eq(f.body, "hello\0\0\0", 8);
	f = parse(archive, &at);
	ck_assert_str_eq(f.name, "TRAILER!!!");
	ck_assert_uint_eq(at, size);
	ck_assert_uint_eq(archive[size], 0xff);
}
END_TEST

/* The guest's init is in this program, and its archive whole. */
START_TEST(init_part)
{
	struct vmm_initrd_part part;
	struct found f;

	ck_assert_int_eq(guest_init_part(&part), 0);
	ck_assert_uint_lt(part.size, 100000);
	ck_assert(find(part.data, part.size, ".vmm", &f));
	ck_assert_uint_eq(f.field[MODE], 040755);
	ck_assert(find(part.data, part.size, ".vmm/init", &f));
	ck_assert_uint_eq(f.field[MODE], 0100755);
	ck_assert_mem_eq(f.body, "\177ELF", 4);
	ck_assert(find(part.data, part.size, "TRAILER!!!", &f));
	free((void *)(uintptr_t)part.data);
}
END_TEST

/* ---- directories ---- */

static struct root_dir root;
static uint8_t *packed;

static void scan_root(void *arg)
{
	*(int *)arg = root_dir_scan(&root, "root", false);
}

static void write_root(void *arg)
{
	*(int *)arg = root_dir_write(&root, packed, root.size);
}

static int scan(void)
{
	int result;

	capture(STDERR_FILENO, said, sizeof(said), scan_root, &result);
	return result;
}

/* Behind the archive nothing is written. */
static int pack(void)
{
	int result;

	packed = malloc(root.size + 16);
	memset(packed, 0xee, root.size + 16);
	capture(STDERR_FILENO, said, sizeof(said), write_root, &result);
	for (unsigned int i = 0; i < 16; i++)
		ck_assert_uint_eq(packed[root.size + i], 0xee);
	return result;
}

static void forget(void)
{
	free(packed);
	packed = NULL;
	root_dir_free(&root);
}

START_TEST(directory)
{
	const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1234567}};
	struct found f, g;

	ck_assert_int_eq(mkdir("root", 0700), 0);
	ck_assert_int_eq(mkdir("root/sub", 0751), 0);
	put_file("root/sub/file", "some text");
	put_file("root/empty", "");
	ck_assert_int_eq(chmod("root/sub/file", 04755), 0);
	ck_assert_int_eq(link("root/sub/file", "root/second"), 0);
	ck_assert_int_eq(symlink("/no/where", "root/link"), 0);
	ck_assert_int_eq(link("root/link", "root/same link"), 0);
	ck_assert_int_eq(mkfifo("root/fifo", 0600), 0);
	put_file("root/ a\nname", "x");
	ck_assert_int_eq(utimensat(AT_FDCWD, "root/empty", times, 0), 0);
	ck_assert_int_eq(scan(), 0);
	ck_assert_int_eq(pack(), 0);
	ck_assert_str_eq(said, "");

	ck_assert(!find(packed, root.size, ".", &f) && !find(packed, root.size, "", &f));
	ck_assert(find(packed, root.size, "sub", &f));
	ck_assert_uint_eq(f.field[MODE], 040751);
	ck_assert_uint_eq(f.field[UID], getuid());
	ck_assert(find(packed, root.size, "empty", &f));
	ck_assert_uint_eq(f.field[SIZE], 0);
	ck_assert_uint_eq(f.field[MTIME], 1234567);
	ck_assert(find(packed, root.size, "link", &f));
	ck_assert_uint_eq(f.field[MODE] & S_IFMT, S_IFLNK);
	ck_assert_uint_eq(f.field[SIZE], 9);
	ck_assert_mem_eq(f.body, "/no/where", 9);
	ck_assert(find(packed, root.size, "same link", &g));
	ck_assert_uint_eq(g.field[SIZE], 9);
	ck_assert_mem_eq(g.body, "/no/where", 9);
	ck_assert_uint_ne(f.field[INO], g.field[INO]);
	ck_assert(find(packed, root.size, "fifo", &f));
	ck_assert_uint_eq(f.field[MODE], 010600);
	ck_assert(find(packed, root.size, " a\nname", &f));
	/* two names of one file: the same number, one body */
	ck_assert(find(packed, root.size, "sub/file", &f));
	ck_assert(find(packed, root.size, "second", &g));
	ck_assert_uint_eq(f.field[INO], g.field[INO]);
	ck_assert_uint_eq(f.field[NLINK], 2);
	ck_assert_uint_eq(f.field[MODE], 0104755);
	ck_assert_uint_eq(f.field[SIZE] + g.field[SIZE], 9);
	ck_assert_mem_eq(f.field[SIZE] ? f.body : g.body, "some text", 9);
	ck_assert(find(packed, root.size, "TRAILER!!!", &f));
	forget();
}
END_TEST

START_TEST(directory_that_changes)
{
	ck_assert_int_eq(mkdir("root", 0755), 0);
	put_file("root/file", "some text");
	ck_assert_int_eq(scan(), 0);
	put_file("root/file", "some other text");
	ck_assert_int_eq(pack(), -EAGAIN);
	ck_assert_str_eq(said,
			 "vmm: 'root/file' has changed while it was packed for the guest; try "
			 "again\n");
	forget();

	ck_assert_int_eq(scan(), 0);
	ck_assert_int_eq(unlink("root/file"), 0);
	ck_assert_int_eq(pack(), -ENOENT);
	ck_assert_str_eq(said, "vmm: cannot pack 'root/file' for the guest: No such file or "
			       "directory\n");
	forget();

	ck_assert_int_eq(rmdir("root"), 0);
	ck_assert_int_eq(scan(), -ENOENT);
	ck_assert_int_eq(mkdir("root", 0755), 0);
	ck_assert_int_eq(mknod("root/hole", S_IFREG | 0644, 0), 0);
	ck_assert_int_eq(truncate("root/hole", (off_t)1 << 32), 0);
	ck_assert_int_eq(scan(), -EFBIG);
	ck_assert_ptr_nonnull(strstr(said, "'root/hole'"));
}
END_TEST

/* Only what lies where vmm's own files go is refused. */
START_TEST(directory_with_our_name)
{
	struct found f;

	ck_assert_int_eq(mkdir("root", 0755), 0);
	ck_assert_int_eq(mkdir("root/vmm", 0755), 0);
	put_file("root/vmm/init", "theirs");
	ck_assert_int_eq(mkdir("root/sub", 0755), 0);
	put_file("root/sub" GUEST_DIR, "theirs");
	ck_assert_int_eq(scan(), 0);
	ck_assert_int_eq(pack(), 0);
	ck_assert(find(packed, root.size, "vmm/init", &f));
	ck_assert(find(packed, root.size, "sub" GUEST_DIR, &f));
	forget();
	put_file("root" GUEST_DIR, "theirs");
	ck_assert_int_eq(scan(), -EEXIST);
	ck_assert_str_eq(said,
			 "vmm: cannot pack 'root' for the guest: it has a '.vmm', where vmm's own "
			 "files go\n");
}
END_TEST

/* ---- the link ---- */

static struct {
	unsigned int n;
	uint32_t type[64];
	size_t size[64];
	char text[GUEST_MESSAGE_MAX + 1];
} heard;

static void hear(void *arg, uint32_t type, const void *body, size_t size)
{
	ck_assert_ptr_eq(arg, &heard);
	ck_assert_uint_lt(heard.n, 64);
	heard.type[heard.n] = type;
	heard.size[heard.n++] = size;
	ck_assert_uint_eq(((const char *)body)[size], 0);
	memcpy(heard.text, body, size + 1);
}

static void send_message(int fd, uint32_t type, const void *body, uint32_t size)
{
	struct guest_message head = {.type = type, .size = size};

	ck_assert_int_eq(write(fd, &head, sizeof(head)), sizeof(head));
	if (size > 0)
		ck_assert_int_eq(write(fd, body, size), size);
}

START_TEST(link_hears)
{
	char text[GUEST_MESSAGE_MAX];
	struct guest_link link;
	uint8_t bytes[64];
	int pair[2];
	ssize_t n;

	memset(text, 'x', sizeof(text));
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	guest_link_init(&link, pair[0]);
	memset(&heard, 0, sizeof(heard));
	ck_assert_int_eq(guest_link_serve(&link, hear, &heard), 0);
	send_message(pair[1], GUEST_STARTED, NULL, 0);
	send_message(pair[1], GUEST_FAILED, "abc", 3);
	ck_assert_int_eq(guest_link_serve(&link, hear, &heard), 0);
	ck_assert_uint_eq(heard.n, 2);
	ck_assert_uint_eq(heard.type[1], GUEST_FAILED);
	ck_assert_str_eq(heard.text, "abc");
	/* byte by byte, and the longest */
	send_message(pair[1], GUEST_DONE, "0123456789", 10);
	n = read(pair[0], bytes, sizeof(bytes));
	ck_assert_int_eq(n, 18);
	for (ssize_t i = 0; i < n; i++) {
		ck_assert_uint_eq(heard.n, 2);
		ck_assert_int_eq(write(pair[1], bytes + i, 1), 1);
		ck_assert_int_eq(guest_link_serve(&link, hear, &heard), 0);
	}
	ck_assert_uint_eq(heard.n, 3);
	send_message(pair[1], 77, text, sizeof(text));
	ck_assert_int_eq(guest_link_serve(&link, hear, &heard), 0);
	ck_assert_uint_eq(heard.size[3], GUEST_MESSAGE_MAX);
	/* one byte too many, whatever else it is */
	send_message(pair[1], 77, text, 0);
	send_message(pair[1], 77, text, GUEST_MESSAGE_MAX - 1);
	ck_assert_int_eq(guest_link_serve(&link, hear, &heard), 0);
	ck_assert_int_eq(guest_link_serve(&link, hear, &heard), 0);
	ck_assert_uint_eq(heard.n, 6);
	send_message(pair[1], 77, NULL, 0);
	ck_assert_int_eq(write(pair[1], &(struct guest_message){1, GUEST_MESSAGE_MAX + 1}, 8), 8);
	ck_assert_int_eq(guest_link_serve(&link, hear, &heard), -EPROTO);
	close(pair[1]);
	ck_assert_int_eq(guest_link_serve(&link, hear, &heard), -EPIPE);
	guest_link_fini(&link);
	close(pair[0]);
}
END_TEST

/* A guest that reads nothing keeps nobody waiting, and gets all of it later, up to a bound. */
START_TEST(link_says)
{
	char *args[] = {(char[]){"cmd"}, (char[]){"a b"}, NULL}, *env[] = {(char[]){"A=b"}, NULL};
	struct guest_link_start start = {.flags = GUEST_TERMINAL,
					 .dhcp = 6,
					 .umask = 027,
					 .window = {5, 6},
					 .host_name = "h",
					 .root_type = "",
					 .directory = "/d",
					 .user = "u:g",
					 .args = args,
					 .env = env};
	static const char strings[] = "h\0\0/d\0u:g\0cmd\0a b\0A=b";
	static char large[GUEST_START_MAX / 2];
	struct guest_start what;
	struct guest_message head;
	struct guest_link link;
	size_t got = 0;
	char text[4096];
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	guest_link_init(&link, pair[0]);
	ck_assert_int_eq(guest_link_say_start(&link, &start), 0);
	ck_assert(!guest_link_is_waiting(&link));
	ck_assert_int_eq(read(pair[1], &head, sizeof(head)), sizeof(head));
	ck_assert_uint_eq(head.type, GUEST_START);
	ck_assert_uint_eq(head.size, sizeof(what) + sizeof(strings));
	ck_assert_int_eq(read(pair[1], &what, sizeof(what)), sizeof(what));
	ck_assert_uint_eq(what.version, GUEST_VERSION);
	ck_assert_uint_eq(what.flags, GUEST_TERMINAL);
	ck_assert_uint_eq(what.dhcp, 6);
	ck_assert_uint_eq(what.umask, 027);
	ck_assert_uint_eq(what.n_args, 2);
	ck_assert_uint_eq(what.n_env, 1);
	ck_assert_uint_eq(what.window.rows, 5);
	ck_assert_int_eq(read(pair[1], text, sizeof(text)), sizeof(strings));
	ck_assert_mem_eq(text, strings, sizeof(strings));

	memset(large, 'l', sizeof(large) - 1);
	args[1] = large;
	ck_assert_int_eq(guest_link_say_start(&link, &start), 0);
	ck_assert(guest_link_is_waiting(&link));
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(guest_link_say_start(&link, &start), 0);
	env[0] = large;
	start.host_name = large;
	ck_assert_int_eq(guest_link_say_start(&link, &start), -E2BIG);
	while (guest_link_is_waiting(&link)) {
		ssize_t n = recv(pair[1], text, sizeof(text), MSG_DONTWAIT);

		got += n > 0 ? (size_t)n : 0;
		ck_assert_int_eq(guest_link_serve(&link, hear, &heard), 0);
	}
	ck_assert_uint_ge(got, sizeof(large));
	ck_assert_uint_le(got, 3 * (size_t)GUEST_START_MAX);
	close(pair[1]);
	ck_assert_int_eq(guest_link_serve(&link, hear, &heard), -EPIPE);
	guest_link_fini(&link);
	ck_assert_int_eq(guest_link_say(&link, GUEST_WINDOW, text, 4), 0);
	close(pair[0]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cli/command");
	TCase *tc = tcase_create("command");
	SRunner *runner;
	int failed;

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, archive_entries);
	tcase_add_test(tc, init_part);
	tcase_add_test(tc, directory);
	tcase_add_test(tc, directory_that_changes);
	tcase_add_test(tc, directory_with_our_name);
	tcase_add_test(tc, link_hears);
	tcase_add_test(tc, link_says);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
