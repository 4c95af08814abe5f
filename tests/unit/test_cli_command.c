/* vmm/cli: what a command needs: archives, the link to the guest's init, the console's last lines, events. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "tests/unit/options_fixture.h"

#include "guest/protocol.h"
#include "vmm/cli/boot_watch.h"
#include "vmm/cli/console_tail.h"
#include "vmm/cli/cpio.h"
#include "vmm/cli/events.h"
#include "vmm/cli/guest_init.h"
#include "vmm/cli/guest_link.h"
#include "vmm/cli/pump.h"
#include "vmm/cli/root_dir.h"

static char dir[64];

static void setup(void)
{
	snprintf(dir, sizeof(dir), "/tmp/command-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
}

static void teardown(void)
{
	char line[128];

	ck_assert_int_eq(chdir("/"), 0);
	snprintf(line, sizeof(line), "rm -rf %s", dir);
	ck_assert_int_eq(system(line), 0);
}

static void put_file(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

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
					 .window = {5, 6},
					 .host_name = "h",
					 .root_type = "",
					 .directory = "/d",
					 .args = args,
					 .env = env};
	static const char strings[] = "h\0\0/d\0cmd\0a b\0A=b";
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

/* ---- the console's last lines ---- */

static struct console_tail tail;

static void show_tail(void *arg)
{
	*(int *)arg = console_tail_show(&tail);
}

static int show(void)
{
	int any;

	capture(STDERR_FILENO, said, sizeof(said), show_tail, &any);
	return any;
}

START_TEST(last_lines)
{
	char line[64];
	unsigned int n = 0;

	memset(&tail, 0, sizeof(tail));
	ck_assert_int_eq(show(), 0);
	ck_assert_str_eq(said, "");
	console_tail_put(&tail, "one\r\n\n\033[1mtwo", 13);
	ck_assert_int_eq(show(), 1);
	ck_assert_str_eq(said, "vmm: console: one\nvmm: console: ?[1mtwo\n");
	for (int i = 0; i < 10000; i++) {
		snprintf(line, sizeof(line), "line %d\r\n", i);
		console_tail_put(&tail, line, strlen(line));
	}
	ck_assert_int_eq(show(), 1);
	ck_assert_ptr_nonnull(strstr(said, "vmm: console: line 9999\n"));
	ck_assert_ptr_nonnull(strstr(said, "vmm: console: line 9980\n"));
	ck_assert_ptr_null(strstr(said, "9979"));
	for (const char *c = said; *c; c++)
		n += *c == '\n';
	ck_assert_uint_eq(n, CONSOLE_TAIL_LINES);
	/* why it panicked, before the last lines */
	console_tail_put(&tail, "Kernel panic - why\n", 19);
	for (int i = 0; i < 30; i++)
		console_tail_put(&tail, "trace\n", 6);
	ck_assert_int_eq(show(), 1);
	ck_assert_ptr_eq(strstr(said, "vmm: console: Kernel panic - why\nvmm: console: trace\n"),
			 said);
	/* of many, the last one */
	for (int i = 0; i < 300; i++) {
		snprintf(line, sizeof(line), "Kernel panic %d\n", i);
		console_tail_put(&tail, line, strlen(line));
	}
	for (int i = 0; i < 30; i++)
		console_tail_put(&tail, "trace\n", 6);
	ck_assert_int_eq(show(), 1);
	ck_assert_ptr_eq(strstr(said, "vmm: console: Kernel panic 299\nvmm: console: trace\n"),
			 said);
	ck_assert_ptr_null(strstr(said + 14, "panic 298"));
	/* one line longer than all there is room for */
	for (int i = 0; i < 1000; i++)
		console_tail_put(&tail, "0123456789", 10);
	console_tail_put(&tail, "\nlast\n", 6);
	ck_assert_int_eq(show(), 1);
	ck_assert_str_eq(said, "vmm: console: last\n");
}
END_TEST

/* ---- events ---- */

static const struct {
	const char *text, *json;
} quotes[] = {
	{"", "\"\""},
	{"plain text/1", "\"plain text/1\""},
	{"a\"b\\c", "\"a\\\"b\\\\c\""},
	{"\n\t\x1f\x7f", "\"\\u000a\\u0009\\u001f\\u007f\""},
	{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
	{"\xff"
	 "a\xc3",
	 "\"\\ufffda\\ufffd\""},
	{"\xc0\xaf\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\""},
	{"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
	{"0123456789012345678901234567890123456789", "\"012345678901234567890123\""},
};

START_TEST(quoting)
{
	char small[32], large[128];

	if (strlen(quotes[_i].text) < 40)
		ck_assert_str_eq(events_quote(large, sizeof(large), quotes[_i].text),
				 quotes[_i].json);
	else
		ck_assert_uint_lt(strlen(events_quote(small, sizeof(small), quotes[_i].text)),
				  sizeof(small));
}
END_TEST

static void read_events(char *text, size_t size)
{
	int fd = open("events", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, size - 1);

	ck_assert_int_ge(n, 0);
	text[n] = '\0';
	close(fd);
}

START_TEST(event_lines)
{
	struct events events;
	double time, elapsed;
	char text[4096], name[16];
	int end = 0;

	put_file("events", "what another run has left, which is much longer than this\n");
	ck_assert_int_eq(events_open(&events, "events"), 0);
	read_events(text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, "another run"));
	events_tell(&events, 0, "one", "%s", "");
	events_tell(&events, 1000000000, "two", ",\"status\":%d", 3);
	events_close(&events);
	events_tell(&events, 0, "three", "%s", "");
	read_events(text, sizeof(text));
	ck_assert_int_eq(sscanf(text, "{\"time\":%lf,\"elapsed\":%lf,\"event\":\"%15[a-z]\"}\n%n",
				&time, &elapsed, name, &end),
			 3);
	ck_assert_str_eq(name, "one");
	ck_assert_int_gt(end, 0);
	ck_assert(time > 1e9 && elapsed < 10);
	ck_assert_ptr_nonnull(
		strstr(text, ",\"elapsed\":0.000000,\"event\":\"two\",\"status\":3}\n"));
	ck_assert_ptr_null(strstr(text, "three"));

	ck_assert_int_eq(events_open(&events, NULL), 0);
	events_tell(&events, 0, "none", "%s", "");
}
END_TEST

/* Returns what was said. */
static void tell_some(void *arg)
{
	for (int i = 0; i < 2000; i++)
		events_tell(arg, 0, "some", "%s", "");
}

START_TEST(events_that_nobody_reads)
{
	struct events events;
	char what[32];
	int ends[2];

	/* Nobody reads them yet, or ever. */
	ck_assert_int_eq(pipe(ends), 0);
	snprintf(what, sizeof(what), "fd=%d", ends[1]);
	ck_assert_int_eq(events_open(&events, what), 0);
	capture(STDERR_FILENO, said, sizeof(said), tell_some, &events);
	ck_assert_str_eq(
		said, "vmm: cannot write to --events: nobody reads them, and the pipe is full\n");
	ck_assert_int_eq(events.fd, -1);
	/* Nobody reads them any more. */
	close(ends[0]);
	ck_assert_int_eq(events_open(&events, what), 0);
	capture(STDERR_FILENO, said, sizeof(said), tell_some, &events);
	ck_assert_str_eq(said, "vmm: cannot write to --events: Broken pipe\n");
	close(ends[1]);
}
END_TEST

/* ---- a guest that boots ---- */

/* Looks whenever that is wanted, at a guest that runs so much of the time. Returns the ms until the time is up; 0: never. */
static uint64_t silent_for(struct boot_watch *watch, unsigned int percent)
{
	uint64_t ran = 0, now = watch->seen, began = now;

	for (int i = 0; i < 1000; i++) {
		uint64_t next = boot_watch_next(watch);

		if (next == UINT64_MAX)
			return 0;
		ck_assert_uint_gt(next, now);
		ran += (next - now) * percent * 10000;
		now = next;
		if (boot_watch_look(watch, now, ran))
			return now - began;
	}
	return 0;
}

static const struct {
	unsigned int percent;
	uint64_t min, max;
} silences[] = {
	{0, 2000, 2010},   /* it waits */
	{100, 2000, 2010}, /* it runs in circles */
	{50, 4000, 4010},  /* with half of a CPU */
	{5, 20000, 21000}, /* with next to nothing: there is an end */
	{200, 2000, 2010}, /* clocks may differ */
};

START_TEST(boot_silence)
{
	struct boot_watch watch;
	uint64_t got;

	boot_watch_begin(&watch, 2000, 5000);
	got = silent_for(&watch, silences[_i].percent);
	ck_assert_uint_ge(got, silences[_i].min);
	ck_assert_uint_le(got, silences[_i].max);
}
END_TEST

START_TEST(boot_words)
{
	struct boot_watch watch;

	boot_watch_begin(&watch, 2000, 0);
	ck_assert(!boot_watch_look(&watch, 500, 0)); /* too early to be looked at */
	ck_assert(!boot_watch_look(&watch, 1000, 0));
	boot_watch_hear(&watch, 1500);
	ck_assert(!boot_watch_look(&watch, 2500, 0));
	ck_assert(!boot_watch_look(&watch, 3400, 0));
	ck_assert(boot_watch_look(&watch, 3600, 0));
	boot_watch_end(&watch);
	ck_assert_uint_eq(boot_watch_next(&watch), UINT64_MAX);
	ck_assert(!boot_watch_look(&watch, 1 << 30, 0));
	boot_watch_begin(&watch, 0, 0);
	ck_assert_uint_eq(boot_watch_next(&watch), UINT64_MAX);
}
END_TEST

/* ---- keys ---- */

static const struct {
	const char *typed[5]; /* 400 ms from one to the next; "]" is the key */
	bool out;
} typings[] = {
	{{"]]]"}, true},
	{{"abc]]]"}, true},
	{{"]", "]", "]"}, true},
	{{"]", "]]"}, true},
	{{"]", "", "]", "]"}, false}, /* the third comes too late, */
	{{"]", "", "]", "]]"}, true}, /* but not its next */
	{{"]]", "x]"}, false},
	{{"]]x]]x]", "", "", "]]"}, false},
	{{"]", "]x]", "]"}, false},
	{{"plain"}, false},
};

START_TEST(three_times_the_key)
{
	struct pump_escape escape = {.times = 0};
	bool out = false;

	for (unsigned int i = 0; i < 5 && typings[_i].typed[i]; i++) {
		char bytes[16];
		size_t n = strlen(typings[_i].typed[i]);

		for (size_t j = 0; j < n; j++)
			bytes[j] = typings[_i].typed[i][j] == ']' ? PUMP_ESCAPE
								  : typings[_i].typed[i][j];
		ck_assert(!out);
		out = pump_escape_look(&escape, bytes, n, 5000 + 400 * i);
	}
	ck_assert_int_eq(out, typings[_i].out);
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
	tcase_add_test(tc, last_lines);
	tcase_add_loop_test(tc, quoting, 0, COUNT(quotes));
	tcase_add_test(tc, event_lines);
	tcase_add_test(tc, events_that_nobody_reads);
	tcase_add_loop_test(tc, boot_silence, 0, COUNT(silences));
	tcase_add_test(tc, boot_words);
	tcase_add_loop_test(tc, three_times_the_key, 0, COUNT(typings));
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
