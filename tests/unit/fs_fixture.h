/* A shared directory behind a fake transport, with a tree of files below it, for tests. */
#pragma once

#include "tests/unit/device_fixture.h"

#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sys/stat.h>

#include "virtio/fs.h"

#define FS_QUEUE  1
#define FS_FORGET 0
#define FS_ROOM	  UINT32_C(0x40000)
#define FS_ANSWER (DEV_BUFFERS + FS_ROOM)

static struct virtio_fs fs;
static char fs_made[32]; /* by the test, and removed at its end */
static char fs_dir[64];	 /* what is shared; that, but for a test of another */
static uint64_t fs_unique;
static uint32_t fs_user; /* who asks */

/* Of the last answer. */
static int fs_error;
static uint8_t *fs_body;

static inline char *fs_path(const char *name)
{
	static char path[2][PATH_MAX];
	static unsigned int turn;

	snprintf(path[turn ^= 1], PATH_MAX, "%s/%s", fs_dir, name);
	return path[turn];
}

static inline void fs_make_file(const char *name, const char *text, size_t len)
{
	int fd = open(fs_path(name), O_CREAT | O_WRONLY | O_TRUNC, 0644);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, len), (ssize_t)len);
	close(fd);
}

static inline int fs_remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* One request of len bytes in all, with room for an answer of room bytes, each cut into pieces. Returns the used length. */
static inline uint32_t fs_send(unsigned int queue, const void *bytes, uint32_t len, uint32_t room,
			       uint32_t cut)
{
	struct virtq_piece pieces[600];
	unsigned int n;

	memcpy(device_at(DEV_BUFFERS, len), bytes, len);
	n = virtq_driver_cut(pieces, 300, DEV_BUFFERS, len, false, cut);
	if (room > 0)
		n += virtq_driver_cut(pieces + n, 300, FS_ANSWER, room, true, cut);
	memset(device_at(FS_ANSWER, FS_ROOM), 0xaa, FS_ROOM);
	virtq_driver_send(&fix.drv[queue], pieces, n);
	device_kick(queue);
	while (!fix.runs && fs.slow.n > 0)
		evloop_turn(&fix.loop);
	while (fix.runs && __atomic_load_n(&fix.drv[queue].used->idx, __ATOMIC_ACQUIRE) ==
				   fix.drv[queue].next_used)
		usleep(50);
	return device_reap(queue);
}

/* Returns how many bytes the answer has behind its header; fs_error is its error. */
static inline uint32_t fs_ask_cut(uint32_t opcode, uint64_t node, const void *args,
				  uint32_t args_len, const char *name, uint32_t room, uint32_t cut)
{
	static uint8_t bytes[8192];
	struct fuse_in_header head = {.opcode = opcode,
				      .unique = ++fs_unique,
				      .nodeid = node,
				      .uid = fs_user,
				      .gid = fs_user};
	struct fuse_out_header out;
	uint32_t len = sizeof(head), used;

	if (args_len)
		memcpy(bytes + len, args, args_len);
	len += args_len;
	if (name) {
		strcpy((char *)bytes + len, name);
		len += (uint32_t)strlen(name) + 1;
	}
	head.len = len;
	memcpy(bytes, &head, sizeof(head));
	used = fs_send(FS_QUEUE, bytes, len, (uint32_t)sizeof(out) + room, cut);
	memcpy(&out, device_at(FS_ANSWER, sizeof(out)), sizeof(out));
	ck_assert_uint_ge(used, sizeof(out));
	ck_assert_uint_eq(out.len, used);
	ck_assert_uint_eq(out.unique, fs_unique);
	fs_error = out.error;
	fs_body = device_at(FS_ANSWER + sizeof(out), 1);
	/* Nothing beside it. */
	ck_assert_uint_eq(*device_at(FS_ANSWER + used, 1), 0xaa);
	return used - (uint32_t)sizeof(out);
}

static inline uint32_t fs_ask(uint32_t opcode, uint64_t node, const void *args, uint32_t args_len,
			      const char *name, uint32_t room)
{
	return fs_ask_cut(opcode, node, args, args_len, name, room, 0);
}

/* The last answer's body. */
#define FS_BODY(type)                                                                              \
	(*(struct type *)(void *)memcpy(&(struct type){0}, fs_body, sizeof(struct type)))

static inline uint32_t fs_begin_session(uint32_t flags)
{
	struct fuse_init_in init = {.major = FUSE_KERNEL_VERSION,
				    .minor = FUSE_KERNEL_MINOR_VERSION,
				    .max_readahead = 1 << 20,
				    .flags = flags};

	return fs_ask(FUSE_INIT, 0, &init, sizeof(init), NULL, sizeof(struct fuse_init_out));
}

/* Returns the number, 0 if there is none; else fs_error. */
static inline uint64_t fs_lookup(uint64_t parent, const char *name)
{
	uint32_t n = fs_ask(FUSE_LOOKUP, parent, NULL, 0, name, sizeof(struct fuse_entry_out));

	if (fs_error)
		return 0;
	ck_assert_uint_eq(n, sizeof(struct fuse_entry_out));
	return FS_BODY(fuse_entry_out).nodeid;
}

static inline uint64_t fs_walk(const char *path)
{
	char copy[PATH_MAX], *rest = copy, *name;
	uint64_t node = FUSE_ROOT_ID;

	strcpy(copy, path);
	while (node && (name = strsep(&rest, "/")))
		node = fs_lookup(node, name);
	return node;
}

static inline uint64_t fs_do_open(uint64_t node, bool dir, uint32_t flags)
{
	struct fuse_open_in in = {.flags = flags};
	uint32_t n = fs_ask(dir ? FUSE_OPENDIR : FUSE_OPEN, node, &in, sizeof(in), NULL,
			    sizeof(struct fuse_open_out));

	if (fs_error)
		return 0;
	ck_assert_uint_eq(n, sizeof(struct fuse_open_out));
	return FS_BODY(fuse_open_out).fh;
}

static inline uint32_t fs_do_read(uint32_t opcode, uint64_t node, uint64_t fh, uint64_t offset,
				  uint32_t size, uint32_t room)
{
	struct fuse_read_in in = {.fh = fh, .offset = offset, .size = size};

	return fs_ask(opcode, node, &in, sizeof(in), NULL, room);
}

static inline void fs_forget(uint64_t node, uint64_t n)
{
	struct {
		struct fuse_in_header head;
		struct fuse_forget_in in;
	} forget = {{.len = sizeof(forget), .opcode = FUSE_FORGET, .nodeid = node}, {.nlookup = n}};

	ck_assert_uint_eq(fs_send(FS_FORGET, &forget, sizeof(forget), 0, 0), 0);
}

static bool fs_writable;

static inline int fs_open_device(bool keep)
{
	struct virtio_fs_options options = {.loop = &fix.loop,
					    .path = fs_dir,
					    .tag = "root",
					    .n_queues = 2,
					    .writable = fs_writable,
					    .cache = keep ? VIRTIO_FS_CACHE_ALWAYS
							  : VIRTIO_FS_CACHE_AUTO};

	return virtio_fs_init(&fs, &options);
}

static inline void fs_setup(bool keep)
{
	umask(022); /* tests look at modes */
	strcpy(fs_made, "/tmp/test-fs-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(fs_made));
	strcpy(fs_dir, fs_made);
	device_prepare();
	ck_assert_int_eq(fs_open_device(keep), 0);
	device_attach(&fs.dev);
	device_begin(0, 3);
	fs_begin_session(FUSE_DO_READDIRPLUS | FUSE_MAX_PAGES);
	ck_assert_int_eq(fs_error, 0);
}

static inline void fs_teardown(void)
{
	device_detach();
	virtio_fs_fini(&fs);
	device_finish();
	nftw(fs_made, fs_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
