/*
 * A guest against a shared directory; see guest.h. The directory has files of each kind, and is changed by the host meanwhile.
 *
 * Fuzzes: virtio/fs.c, virtio/fs_files.c, virtio/fs_list.c, virtio/fs_nodes.c, virtio/fs_ops.c, virtio/fs_request.c, virtio/fs_xattr.c
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/guest.h"
#include "virtio/fs.h"

static struct virtio_fs fs;
static char dir[32];
static const char *const names[] = {"file", "dir", "link", "pipe", "big", "dir/inner", "none",
				    "late", ".",   "..",   "/etc", "a/b", "",	       "proc"};

#define N_NAMES (sizeof(names) / sizeof(names[0]))

static const char *path_of(const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void make_file(const char *name, size_t size)
{
	int fd = open(path_of(name), O_CREAT | O_WRONLY, 0644);

	FUZZ_CHECK(fd >= 0 && ftruncate(fd, (off_t)size) == 0 && write(fd, "hello", 5) == 5);
	close(fd);
}

static void remove_tree(void)
{
	if (!dir[0])
		return;
	unlink(path_of("dir/inner"));
	for (size_t i = 0; i < N_NAMES; i++) {
		if (!strchr(names[i], '/') && names[i][0] != '.' && names[i][0])
			remove(path_of(names[i]));
	}
	rmdir(dir);
}

/* Once for all runs: what the host changes it changes back. */
static void make_tree(void)
{
	if (dir[0])
		return;
	strcpy(dir, "/tmp/fuzz-fs-XXXXXX");
	FUZZ_CHECK(mkdtemp(dir));
	atexit(remove_tree);
	make_file("file", 5);
	setxattr(path_of("file"), "user.color", "blue", 4, 0);
	make_file("big", 100000);
	FUZZ_CHECK(mkdir(path_of("dir"), 0755) == 0);
	make_file("dir/inner", 5);
	FUZZ_CHECK(symlink("/etc", path_of("link")) == 0 && mkfifo(path_of("pipe"), 0600) == 0);
}

static struct virtio_device *fs_open_device(struct fuzz_input *in)
{
	struct virtio_fs_options options = {
		.loop = &guest.loop, .tag = "root", .keep = fuzz_u8(in) & 1};
	uint8_t bounds = fuzz_u8(in);

	make_tree();
	options.path = dir;
	FUZZ_CHECK(virtio_fs_init(&fs, &options) == 0);
	if (bounds & 1)
		fs.nodes.most_fds = 1 + (bounds >> 5);
	if (bounds & 2)
		fs.nodes.most = 2 + (bounds >> 5);
	if (bounds & 4)
		fs.most_files = bounds >> 5;
	return &fs.dev;
}

static void fs_close_device(void)
{
	virtio_fs_fini(&fs);
}

/* The operations that are served, now and then any. */
static uint32_t fs_opcode(struct fuzz_input *in)
{
	static const uint8_t served[] = {
		FUSE_LOOKUP,	  FUSE_LOOKUP,	FUSE_LOOKUP,	   FUSE_GETATTR,   FUSE_READLINK,
		FUSE_OPEN,	  FUSE_OPEN,	FUSE_READ,	   FUSE_READ,	   FUSE_STATFS,
		FUSE_RELEASE,	  FUSE_FSYNC,	FUSE_GETXATTR,	   FUSE_LISTXATTR, FUSE_INIT,
		FUSE_OPENDIR,	  FUSE_OPENDIR, FUSE_READDIR,	   FUSE_READDIR,   FUSE_RELEASEDIR,
		FUSE_READDIRPLUS, FUSE_DESTROY, FUSE_BATCH_FORGET, FUSE_FORGET,	   FUSE_LSEEK,
		FUSE_READDIRPLUS, FUSE_SYNCFS,	FUSE_INTERRUPT};
	uint8_t code = fuzz_u8(in);

	return code < 240 ? served[code % sizeof(served)] : fuzz_u8(in);
}

/* The struct that the operation begins with, with numbers that a guest may have. Returns its length. */
static uint32_t fs_fill(struct fuzz_input *in, uint32_t opcode, uint8_t *to)
{
	uint64_t fh = fuzz_u8(in) % 8;
	union fs_args args;

	memset(&args, 0, sizeof(args));
	switch (opcode) {
	case FUSE_INIT:
		args.init = (struct fuse_init_in){.major = 7, .minor = 38, .flags = fuzz_u32(in)};
		memcpy(to, &args, sizeof(args.init));
		return sizeof(args.init);
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		args.open.flags = fuzz_u8(in) < 200 ? 0 : fuzz_u32(in);
		memcpy(to, &args, sizeof(args.open));
		return sizeof(args.open);
	case FUSE_READ:
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
		args.read = (struct fuse_read_in){.fh = fh, .size = guest_len(in)};
		args.read.offset = fuzz_u8(in) < 128 ? 0 : fuzz_u32(in);
		memcpy(to, &args, sizeof(args.read));
		return sizeof(args.read);
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		args.release.fh = fh;
		memcpy(to, &args, sizeof(args.release));
		return sizeof(args.release);
	case FUSE_GETXATTR:
	case FUSE_LISTXATTR:
		args.getxattr.size = fuzz_u8(in) & 0x3f;
		memcpy(to, &args, sizeof(args.getxattr));
		return sizeof(args.getxattr);
	case FUSE_LSEEK:
		args.lseek = (struct fuse_lseek_in){
			.fh = fh, .offset = fuzz_u32(in), .whence = fuzz_u8(in) % 6};
		memcpy(to, &args, sizeof(args.lseek));
		return sizeof(args.lseek);
	case FUSE_FORGET:
		args.forget.nlookup = fuzz_u8(in) & 3;
		memcpy(to, &args, sizeof(args.forget));
		return sizeof(args.forget);
	case FUSE_BATCH_FORGET:
		args.batch_forget.count = fuzz_u8(in);
		memcpy(to, &args, sizeof(args.batch_forget));
		for (uint32_t i = 0; i < 4; i++) {
			struct fuse_forget_one one = {.nodeid = fuzz_u8(in) & 15,
						      .nlookup = fuzz_u8(in) & 3};

			memcpy(to + sizeof(args.batch_forget) + i * sizeof(one), &one, sizeof(one));
		}
		return sizeof(args.batch_forget) + 4 * sizeof(struct fuse_forget_one);
	default:
		return opcode == FUSE_GETATTR ? sizeof(args.getattr) : 0;
	}
}

static uint32_t fs_make(struct fuzz_input *in, uint8_t *bytes)
{
	struct fuse_in_header head = {
		.opcode = fs_opcode(in), .nodeid = fuzz_u8(in) % 12, .unique = 5};
	uint32_t len = sizeof(head) + fs_fill(in, head.opcode, bytes + sizeof(head));

	if (head.opcode == FUSE_LOOKUP || head.opcode == FUSE_GETXATTR) {
		uint8_t code = fuzz_u8(in);
		const char *name = head.opcode == FUSE_GETXATTR ? "user.color"
								: names[code % N_NAMES];

		memcpy(bytes + len, name, strlen(name) + 1);
		len += (uint32_t)strlen(name) + (code < 250);
	}
	head.len = len;
	memcpy(bytes, &head, sizeof(head));
	return len;
}

static void fs_begin_session(struct virtq_piece *pieces)
{
	struct {
		struct fuse_in_header head;
		struct fuse_init_in in;
	} init = {{.len = sizeof(init), .opcode = FUSE_INIT, .unique = 1},
		  {.major = 7, .minor = 38}};

	pieces[0] = (struct virtq_piece){guest_put(&init, sizeof(init)), sizeof(init), false};
	pieces[1] = (struct virtq_piece){guest_alloc(256), 256, true};
}

static void fs_request(struct fuzz_input *in)
{
	uint8_t bytes[1024] = {0}, odd = fuzz_u8(in), short_by = odd & 0x80 ? fuzz_u8(in) : 0;
	uint32_t len = fs_make(in, bytes), room = 16 + guest_len(in) % 9000;
	struct virtq_piece pieces[2];

	if (!fs.begun && odd < 200) {
		fs_begin_session(pieces);
		guest_send(1, pieces, 2, 0);
	}
	len -= short_by < len ? short_by : len - 1;
	pieces[0] = (struct virtq_piece){guest_put(bytes, len), len, false};
	pieces[1] = (struct virtq_piece){guest_alloc(room), room, true};
	guest_send(1, pieces, 2, odd & 0x7f);
	guest_kick(1);
}

static const char *const moved[] = {"file", "dir", "big"};

/* One at a time goes, and comes up elsewhere. */
static void fs_host(struct fuzz_input *in)
{
	char aside[64];

	snprintf(aside, sizeof(aside), "%s/none", dir);
	if (access(path_of("late"), F_OK) == 0)
		return;
	if (access(aside, F_OK) == 0)
		rename(aside, path_of("late"));
	else
		rename(path_of(moved[fuzz_u8(in) % 3]), aside);
}

static void fs_host_undo(void)
{
	char from[64];

	for (size_t i = 0; i < 3; i++) {
		if (access(path_of(moved[i]), F_OK) == 0)
			continue;
		snprintf(from, sizeof(from), "%s/none", dir);
		rename(from, path_of(moved[i]));
		snprintf(from, sizeof(from), "%s/late", dir);
		rename(from, path_of(moved[i]));
	}
}

static void fs_check(void)
{
	struct {
		struct fuse_in_header head;
		char name[4];
	} lookup = {{.len = sizeof(lookup), .opcode = FUSE_LOOKUP, .nodeid = 1}, "big"};
	struct {
		struct fuse_out_header head;
		struct fuse_entry_out entry;
	} answer;
	struct virtq_piece pieces[2];

	fs_host_undo();
	fs.nodes.most = fs.nodes.most_fds = 100;
	fs_begin_session(pieces);
	FUZZ_CHECK(guest_exchange(1, pieces, 2) ==
		   sizeof(struct fuse_out_header) + sizeof(struct fuse_init_out));
	pieces[0] = (struct virtq_piece){guest_put(&lookup, sizeof(lookup)), sizeof(lookup), false};
	FUZZ_CHECK(guest_exchange(1, pieces, 2) == sizeof(answer));
	memcpy(&answer, guest_at(pieces[1].gpa, sizeof(answer)), sizeof(answer));
	FUZZ_CHECK(answer.head.error == 0 && answer.entry.attr.size == 100000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct guest_target target = {.open = fs_open_device,
						   .close = fs_close_device,
						   .request = fs_request,
						   .host = fs_host,
						   .check = fs_check,
						   .writable = 2};

	return guest_run(&target, data, size);
}
