/* virtio/fs: listings, what a guest is told and forgets, more files than descriptors, and a guest that breaks the rules. */
#include "tests/unit/fs_fixture.h"

#include <dirent.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include "tests/unit/skip.h"

static void setup(void)
{
	fs_setup(true);
}

static bool apart;

/* What is mounted is mounted for the test alone. */
static void setup_apart(void)
{
	apart = unshare(CLONE_NEWNS) == 0 &&
		mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
	setup();
}

static void make_files(unsigned int n)
{
	char name[64];

	for (unsigned int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "file-%0*u", (int)(1 + i % 40), i);
		fs_make_file(name, name, strlen(name));
	}
}

/* Lists the root in answers of size bytes. Each file must come once. Returns how many numbers were told. */
static unsigned int list_all(unsigned int n, uint32_t size, bool entries)
{
	uint64_t fh = fs_do_open(FUSE_ROOT_ID, true, O_RDONLY), offset = 0;
	unsigned int seen = 0, told = 0, dots = 0;
	uint32_t used;

	ck_assert_uint_ne(fh, 0);
	while ((used = fs_do_read(entries ? FUSE_READDIRPLUS : FUSE_READDIR, FUSE_ROOT_ID, fh,
				  offset, size, size)) > 0) {
		for (uint32_t at = 0; at < used;) {
			struct fuse_direntplus plus;
			size_t head = entries ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
			char name[256] = "";

			memset(&plus, 0, sizeof(plus));
			memcpy((char *)&plus + FUSE_NAME_OFFSET_DIRENTPLUS - head, fs_body + at,
			       head);
			ck_assert_uint_lt(plus.dirent.namelen, sizeof(name));
			memcpy(name, fs_body + at + head, plus.dirent.namelen);
			at += (uint32_t)FUSE_DIRENT_ALIGN(head + plus.dirent.namelen);
			offset = plus.dirent.off;
			if (name[0] == '.') {
				ck_assert_uint_eq(plus.entry_out.nodeid, 0);
				dots++;
				continue;
			}
			ck_assert_uint_eq(plus.dirent.type, DT_REG);
			ck_assert_uint_eq(!plus.entry_out.nodeid, !entries);
			if (entries)
				ck_assert_uint_eq(plus.entry_out.attr.size, strlen(name));
			told += entries;
			seen++;
		}
	}
	ck_assert_int_eq(fs_error, 0);
	fs_ask(FUSE_RELEASEDIR, FUSE_ROOT_ID, &(struct fuse_release_in){.fh = fh}, 24, NULL, 0);
	ck_assert_uint_eq(seen, n);
	ck_assert_uint_eq(dots, 2);
	return told;
}

START_TEST(lists_are_whole)
{
	static const uint32_t sizes[] = {512, 4096, 65536};

	make_files(300);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		ck_assert_uint_eq(list_all(300, sizes[i], false), 0);
		ck_assert_uint_eq(fs.nodes.n, FUSE_ROOT_ID + 1);
		ck_assert_uint_eq(list_all(300, sizes[i], true), 300);
		for (uint64_t id = FUSE_ROOT_ID + 1; id < fs.nodes.n; id++) {
			ck_assert_uint_eq(fs.nodes.nodes[id].lookups, 1);
			fs_forget(id, 1);
		}
		ck_assert_uint_eq(fs.nodes.fds, 0);
		fs.nodes.n = FUSE_ROOT_ID + 1;
		fs.nodes.free = 0;
	}
}
END_TEST

START_TEST(a_list_without_room)
{
	uint64_t fh;

	make_files(3);
	fh = fs_do_open(FUSE_ROOT_ID, true, O_RDONLY);
	fs_do_read(FUSE_READDIR, FUSE_ROOT_ID, fh, 0, 4096, 8);
	ck_assert_int_eq(fs_error, -EINVAL);
	fs_do_read(FUSE_READDIRPLUS, FUSE_ROOT_ID, fh, 0, 8, 4096);
	ck_assert_int_eq(fs_error, -EINVAL);
	ck_assert_uint_eq(fs.nodes.fds, 0);
	/* A file is no directory, and the other way round. */
	fs_do_read(FUSE_READ, FUSE_ROOT_ID, fh, 0, 8, 4096);
	ck_assert_int_eq(fs_error, -EBADF);
	fs_do_read(FUSE_READDIR, FUSE_ROOT_ID, fh + 1, 0, 4096, 4096);
	ck_assert_int_eq(fs_error, -EBADF);
	fs_do_read(FUSE_READDIR, FUSE_ROOT_ID, 0, 0, 4096, 4096);
	ck_assert_int_eq(fs_error, -EBADF);
	/* Where a guest says that it was */
	fs_do_read(FUSE_READDIR, FUSE_ROOT_ID, fh, UINT64_MAX, 4096, 4096);
	ck_assert_int_eq(fs_error, -EINVAL);
	ck_assert_uint_gt(fs_do_read(FUSE_READDIR, FUSE_ROOT_ID, fh, 0, 4096, 4096), 0);
}
END_TEST

/* One answer's names go, or the first few of them. Returns how many, and at *offset where the last of them ends. */
static unsigned int remove_listed(uint32_t used, bool entries, unsigned int most, uint64_t *offset)
{
	static uint8_t body[4096];
	size_t head = entries ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
	unsigned int n = 0;

	ck_assert_uint_le(used, sizeof(body));
	memcpy(body, fs_body, used);
	for (uint32_t at = 0; at < used && most > 0; most--) {
		struct fuse_dirent d;
		char name[256] = "dir/";

		memcpy(&d, body + at + head - FUSE_NAME_OFFSET, FUSE_NAME_OFFSET);
		memcpy(name + 4, body + at + head, d.namelen);
		at += (uint32_t)FUSE_DIRENT_ALIGN(head + d.namelen);
		*offset = d.off;
		n += name[4] != '.' && unlink(fs_path(name)) == 0;
	}
	return n;
}

/* As "rm -r" does, with room for so many names at a time. */
static unsigned int empty_dir(unsigned int n, bool entries, unsigned int most)
{
	uint64_t dir = fs_lookup(FUSE_ROOT_ID, "dir"), fh = fs_do_open(dir, true, O_RDONLY),
		 offset = 0;
	unsigned int removed = 0;
	uint32_t used;
	char name[64];

	for (unsigned int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "dir/f%u", i);
		fs_make_file(name, "", 0);
	}
	while ((used = fs_do_read(entries ? FUSE_READDIRPLUS : FUSE_READDIR, dir, fh, offset, 4096,
				  4096)) > 0)
		removed += remove_listed(used, entries, most, &offset);
	ck_assert_int_eq(fs_error, 0);
	/* A new beginning sees what is new. */
	fs_make_file("dir/new", "", 0);
	offset = 0;
	used = fs_do_read(FUSE_READDIR, dir, fh, 0, 4096, 4096);
	ck_assert_uint_eq(remove_listed(used, false, n, &offset), n + 1 - removed);
	return removed;
}

/* There a place in a directory is how many names are before it, and another one as soon as those are gone. */
START_TEST(a_list_that_is_emptied)
{
	ck_assert_int_eq(mkdir(fs_path("dir"), 0755), 0);
	if (!apart || mount("none", fs_path("dir"), "ramfs", 0, NULL) < 0) {
		skip_note("a share on ramfs: %s", strerror(errno));
		return;
	}
	ck_assert_uint_eq(empty_dir(1000, false, 1000), 1000);
	ck_assert_uint_eq(empty_dir(1000, true, 1000), 1000);
	ck_assert_uint_eq(empty_dir(1000, false, 50), 1000);
	ck_assert_uint_eq(empty_dir(1000, true, 3), 1000);
	fs_ask(FUSE_INIT, 0, &(struct fuse_init_in){.major = FUSE_KERNEL_VERSION, .minor = 31},
	       sizeof(struct fuse_init_in), NULL, sizeof(struct fuse_init_out));
	ck_assert_int_eq(umount2(fs_path("dir"), MNT_DETACH), 0);
}
END_TEST

START_TEST(what_is_forgotten_is_gone)
{
	struct {
		struct fuse_in_header head;
		struct fuse_batch_forget_in in;
		struct fuse_forget_one one[4];
	} batch = {{.len = sizeof(batch), .opcode = FUSE_BATCH_FORGET}, {.count = 1000}, {{0}}};
	uint64_t a, b;

	ck_assert_int_eq(mkdir(fs_path("dir"), 0755), 0);
	fs_make_file("dir/file", "x", 1);
	a = fs_lookup(FUSE_ROOT_ID, "dir");
	b = fs_lookup(a, "file");
	ck_assert_uint_eq(fs_lookup(FUSE_ROOT_ID, "dir"), a);
	fs_forget(a, 1);
	ck_assert_ptr_nonnull(fs_nodes_get(&fs.nodes, a));
	/* A directory is kept for what is in it, but the guest has it no more. */
	fs_forget(a, 1);
	ck_assert_ptr_null(fs_nodes_get(&fs.nodes, a));
	ck_assert_ptr_nonnull(fs.nodes.nodes[a].name);
	fs_lookup(a, "file");
	ck_assert_int_eq(fs_error, -ESTALE);
	fs_ask(FUSE_GETATTR, b, &(struct fuse_getattr_in){0}, 16, NULL, 200);
	ck_assert_int_eq(fs_error, 0);
	fs_forget(b, UINT64_MAX);
	ck_assert_uint_eq(fs.nodes.fds, 0);
	ck_assert_ptr_null(fs.nodes.nodes[a].name);
	/* What it never knew, and the root */
	fs_forget(FUSE_ROOT_ID, 1);
	fs_forget(0, 1);
	fs_forget(77, 1);
	fs_forget(UINT64_MAX, 1);
	b = fs_lookup(FUSE_ROOT_ID, "dir");
	ck_assert_uint_ne(b, 0);
	batch.one[2] = (struct fuse_forget_one){.nodeid = b, .nlookup = 1};
	ck_assert_uint_eq(fs_send(FS_FORGET, &batch, sizeof(batch), 0, 0), 0);
	ck_assert_uint_eq(fs.nodes.fds, 0);
}
END_TEST

/* With descriptors for four files, any number can be known; each is found again, or is not what it was. */
START_TEST(more_files_than_descriptors)
{
	uint64_t id[64], deep;

	fs.nodes.most_fds = 4;
	ck_assert_int_eq(mkdir(fs_path("a"), 0755), 0);
	ck_assert_int_eq(mkdir(fs_path("a/b"), 0755), 0);
	ck_assert_int_eq(mkdir(fs_path("a/b/c"), 0755), 0);
	fs_make_file("a/b/c/deep", "deep!", 5);
	deep = fs_walk("a/b/c/deep");
	make_files(64);
	for (unsigned int i = 0; i < 64; i++) {
		char name[64];

		snprintf(name, sizeof(name), "file-%0*u", (int)(1 + i % 40), i);
		id[i] = fs_lookup(FUSE_ROOT_ID, name);
		ck_assert_uint_ne(id[i], 0);
		ck_assert_uint_le(fs.nodes.fds, 4);
	}
	for (unsigned int i = 0; i < 64; i += 7) {
		ck_assert_uint_ne(fs_do_open(id[i], false, O_RDONLY), 0);
		ck_assert_uint_ne(fs_do_open(deep, false, O_RDONLY), 0);
		ck_assert_uint_le(fs.nodes.fds, 4);
	}
	/* One that went away, and one in whose place there is another */
	ck_assert_int_eq(unlink(fs_path("file-00001")), -1);
	ck_assert_int_eq(unlink(fs_path("file-0")), 0);
	ck_assert_uint_eq(fs_do_open(id[0], false, O_RDONLY), 0);
	ck_assert_int_eq(fs_error, -ESTALE);
	ck_assert_int_eq(rename(fs_path("a/b/c"), fs_path("a/b/d")), 0);
	ck_assert_int_eq(symlink("d", fs_path("a/b/c")), 0);
	for (unsigned int i = 1; i < 9; i++)
		ck_assert_uint_ne(fs_do_open(id[i], false, O_RDONLY), 0);
	ck_assert_uint_eq(fs_do_open(deep, false, O_RDONLY), 0);
	ck_assert_int_eq(fs_error, -ESTALE);
	/* Where it is seen next it is found from then on. */
	ck_assert_uint_eq(fs_walk("a/b/d/deep"), deep);
	for (unsigned int i = 1; i < 9; i++)
		ck_assert_uint_ne(fs_do_open(id[i], false, O_RDONLY), 0);
	ck_assert_uint_ne(fs_do_open(deep, false, O_RDONLY), 0);
}
END_TEST

START_TEST(bounds_of_the_tables)
{
	fs.nodes.most = 20;
	fs.most_files = 10;
	make_files(40);
	for (unsigned int i = 0; i < 40; i++) {
		char name[64];

		snprintf(name, sizeof(name), "file-%0*u", (int)(1 + i % 40), i);
		ck_assert_uint_eq(fs_lookup(FUSE_ROOT_ID, name) != 0, i < 19);
		ck_assert_int_eq(fs_error, i < 19 ? 0 : -ENFILE);
	}
	for (unsigned int i = 0; i < 20; i++) {
		ck_assert_uint_eq(fs_do_open(2, false, O_RDONLY) != 0, i < 10);
		ck_assert_int_eq(fs_error, i < 10 ? 0 : -ENFILE);
	}
	/* A listing goes on without numbers. */
	ck_assert_uint_eq(fs_do_open(FUSE_ROOT_ID, true, O_RDONLY), 0);
	fs_ask(FUSE_RELEASE, 2, &(struct fuse_release_in){.fh = 1}, 24, NULL, 0);
	ck_assert_uint_eq(fs_do_open(FUSE_ROOT_ID, true, O_RDONLY), 1);
	ck_assert_uint_gt(fs_do_read(FUSE_READDIRPLUS, FUSE_ROOT_ID, 1, 0, 4096, 4096), 0);
}
END_TEST

/* The process itself may have no descriptor left. */
START_TEST(no_descriptor_left)
{
	struct rlimit limit, low;
	uint64_t id;

	fs_make_file("file", "x", 1);
	fs_make_file("file2", "x", 1);
	id = fs_lookup(FUSE_ROOT_ID, "file");
	getrlimit(RLIMIT_NOFILE, &limit);
	low = limit;
	low.rlim_cur = 3;
	setrlimit(RLIMIT_NOFILE, &low);
	fs_do_open(id, false, O_RDONLY);
	ck_assert_int_eq(fs_error, -ENFILE);
	fs_lookup(FUSE_ROOT_ID, "file2");
	ck_assert_int_eq(fs_error, -ENFILE);
	ck_assert_uint_eq(fs.nodes.fds, 0);
	setrlimit(RLIMIT_NOFILE, &limit);
	ck_assert_uint_ne(fs_do_open(id, false, O_RDONLY), 0);
	/* The one that is given up is taken back, and there is none for the file itself. */
	low.rlim_cur = (rlim_t)dup(0);
	close((int)low.rlim_cur);
	setrlimit(RLIMIT_NOFILE, &low);
	ck_assert_uint_eq(fs.nodes.fds, 1);
	ck_assert_uint_eq(fs_do_open(id, false, O_RDONLY), 0);
	ck_assert_int_eq(fs_error, -ENFILE);
	setrlimit(RLIMIT_NOFILE, &limit);
	ck_assert_uint_ne(fs_do_open(id, false, O_RDONLY), 0);
}
END_TEST

/* Others of the process have all but what is spared for them. */
START_TEST(descriptors_are_spared)
{
	int fds[3];
	uint64_t id;

	fs_make_file("file", "x", 1);
	fs_make_file("file2", "x", 1);
	id = fs_lookup(FUSE_ROOT_ID, "file");
	for (int i = 0; i < 3; i++)
		fds[i] = dup(0);
	fs.nodes.first_spare = fds[0] + 1;
	fs_lookup(FUSE_ROOT_ID, "file2");
	ck_assert_int_eq(fs_error, 0);
	fs_do_open(id, false, O_RDONLY);
	ck_assert_int_eq(fs_error, -ENFILE);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	fs.nodes.first_spare = INT_MAX;
	ck_assert_uint_ne(fs_do_open(id, false, O_RDONLY), 0);
}
END_TEST

/* Requests that are too short, have no end, or leave no room. */
START_TEST(requests_that_are_none)
{
	struct fuse_in_header head = {.len = sizeof(head), .opcode = FUSE_LOOKUP, .nodeid = 1};
	struct fuse_out_header out;
	uint8_t bytes[2048];

	fs_make_file("file", "x", 1);
	/* Names: without an end, none at all, and with no room to tell of it */
	memset(bytes, 'f', sizeof(bytes));
	memcpy(bytes, &head, sizeof(head));
	for (uint32_t len = sizeof(head); len < sizeof(bytes); len += 97) {
		ck_assert_uint_eq(fs_send(FS_QUEUE, bytes, len, 200, 50), sizeof(out));
		memcpy(&out, device_at(FS_ANSWER, sizeof(out)), sizeof(out));
		ck_assert_int_eq(out.error,
				 len < sizeof(head) + NAME_MAX + 1 ? -EINVAL : -ENAMETOOLONG);
	}
	fs_ask(FUSE_LOOKUP, 1, NULL, 0, "", 200);
	ck_assert_int_eq(fs_error, -EINVAL);
	fs_ask(FUSE_LOOKUP, 1, NULL, 0, "file", 20);
	ck_assert_int_eq(fs_error, -EINVAL);
	ck_assert_uint_eq(fs.nodes.fds, 0);
	fs_do_open(1, true, O_RDONLY);
	fs_ask(FUSE_OPENDIR, 1, &(struct fuse_open_in){0}, 8, NULL, 4);
	ck_assert_int_eq(fs_error, -EINVAL);
	ck_assert_uint_eq(fs.n_open, 1);
	/* Every operation with every length of what should be its struct */
	for (uint32_t opcode = 0; opcode < 60; opcode++) {
		for (uint32_t len = 0; len < 70; len += 3) {
			if (opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET &&
			    opcode != FUSE_INTERRUPT)
				fs_ask(opcode, 1 + (len & 1), memset(bytes, (int)len, 70), len,
				       NULL, 300);
			if (opcode == FUSE_DESTROY || opcode == FUSE_INIT)
				fs_begin_session(0);
		}
	}
	/* An answer without room for its header: nothing is done, and nothing told. */
	head.len = sizeof(head) + 5;
	memcpy(bytes, &head, sizeof(head));
	strcpy((char *)bytes + sizeof(head), "file");
	ck_assert_uint_eq(fs_send(FS_QUEUE, bytes, head.len, 15, 0), 0);
	ck_assert_uint_eq(fs_send(FS_QUEUE, bytes, head.len, 0, 0), 0);
	ck_assert_uint_eq(fs.nodes.fds, 0);
}
END_TEST

/* Less than a header breaks the rules of the device itself. */
START_TEST(a_request_without_a_header)
{
	const struct virtq_piece piece = {DEV_BUFFERS, 39, false};

	virtq_driver_send(&fix.drv[FS_QUEUE], &piece, 1);
	device_kick(FS_QUEUE);
	device_expect_broken(FS_QUEUE);
	device_begin(0, 3);
	fs_begin_session(0);
	ck_assert_int_eq(fs_error, 0);
}
END_TEST

START_TEST(broken_rings)
{
	for (unsigned int fault = 0; fault < FAULT_EMPTY; fault++) {
		if (fault == FAULT_INDIRECT && fs.dev.negotiated & BIT(VIRTIO_RING_F_INDIRECT_DESC))
			continue;
		fix.needs_reset = 0;
		n_lines = 0;
		fs.dev.log = (struct log_limit){0};
		device_put_fault(FS_QUEUE, fault, false);
		device_kick(FS_QUEUE);
		device_expect_broken(FS_QUEUE);
		device_begin(0, 3);
		fs_begin_session(0);
		ck_assert_int_eq(fs_error, 0);
	}
}
END_TEST

/* The loop gets a turn after some requests. */
START_TEST(a_kick_is_bounded)
{
	struct fuse_in_header head = {.len = sizeof(head), .opcode = FUSE_STATFS, .nodeid = 1};
	const struct virtq_piece pieces[] = {{DEV_BUFFERS, sizeof(head), false},
					     {FS_ANSWER, 200, true}};

	device_rekicked(FS_QUEUE);
	memcpy(device_at(DEV_BUFFERS, sizeof(head)), &head, sizeof(head));
	for (unsigned int i = 0; i < 100; i++)
		virtq_driver_send(&fix.drv[FS_QUEUE], pieces, 2);
	device_kick(FS_QUEUE);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[FS_QUEUE]), 64);
	ck_assert(device_rekicked(FS_QUEUE));
	device_kick(FS_QUEUE);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[FS_QUEUE]), 100);
}
END_TEST

static Suite *fs_suite(void)
{
	Suite *s = suite_create("virtio/fs tables");
	TCase *tc = tcase_create("tables"), *mounts = tcase_create("mounts");

	tcase_add_checked_fixture(tc, setup, fs_teardown);
	tcase_add_test(tc, lists_are_whole);
	tcase_add_test(tc, a_list_without_room);
	tcase_add_test(tc, what_is_forgotten_is_gone);
	tcase_add_test(tc, more_files_than_descriptors);
	tcase_add_test(tc, bounds_of_the_tables);
	tcase_add_test(tc, no_descriptor_left);
	tcase_add_test(tc, descriptors_are_spared);
	tcase_add_test(tc, requests_that_are_none);
	tcase_add_test(tc, a_request_without_a_header);
	tcase_add_test(tc, broken_rings);
	tcase_add_test(tc, a_kick_is_bounded);
	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(mounts, setup_apart, fs_teardown);
	tcase_add_test(mounts, a_list_that_is_emptied);
	suite_add_tcase(s, mounts);
	return s;
}

int main(void)
{
	return skip_status(device_run(fs_suite()));
}
