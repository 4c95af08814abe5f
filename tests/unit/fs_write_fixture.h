/* A shared directory that the guest may write, and what it asks then, for tests. */
#pragma once

#include "tests/unit/fs_fixture.h"

static inline void setup(void)
{
	fs_writable = true;
	fs_setup(false);
}

static inline void setup_writeback(void)
{
	fs_writable = true;
	fs_setup(true);
	fs_begin_session(FUSE_WRITEBACK_CACHE | FUSE_ATOMIC_O_TRUNC);
}

static inline struct stat fs_stat_of(const char *name)
{
	struct stat st;

	ck_assert_int_eq(lstat(fs_path(name), &st), 0);
	return st;
}

static inline bool fs_is_there(const char *name)
{
	return access(fs_path(name), F_OK) == 0;
}

/* Arguments, and the names behind them. Returns the answer's length; fs_error is its error. */
static inline uint32_t fs_ask_names(uint32_t opcode, uint64_t node, const void *args, uint32_t len,
				    const char *name, const char *second, uint32_t room)
{
	static uint8_t bytes[8192];
	uint32_t n = len;

	if (len)
		memcpy(bytes, args, len);
	strcpy((char *)bytes + n, name);
	n += (uint32_t)strlen(name) + 1;
	if (second) {
		strcpy((char *)bytes + n, second);
		n += (uint32_t)strlen(second) + 1;
	}
	return fs_ask(opcode, node, bytes, n, NULL, room);
}

struct fs_created {
	struct fuse_entry_out entry;
	struct fuse_open_out open;
};

static inline struct fs_created fs_create_file(const char *name, uint32_t flags, uint32_t mode)
{
	struct fuse_create_in in = {.flags = flags | O_CREAT, .mode = S_IFREG | mode, .umask = 022};
	struct fs_created created = {.open = {.fh = 0}};
	uint32_t n = fs_ask(FUSE_CREATE, FUSE_ROOT_ID, &in, sizeof(in), name, sizeof(created));

	if (fs_error == 0) {
		ck_assert_uint_eq(n, sizeof(created));
		memcpy(&created, fs_body, sizeof(created));
	}
	return created;
}

static inline uint32_t fs_do_write(uint64_t fh, uint64_t offset, const char *text, uint32_t flags,
				   uint32_t write_flags)
{
	struct fuse_write_in in = {.fh = fh,
				   .offset = offset,
				   .size = (uint32_t)strlen(text),
				   .flags = flags,
				   .write_flags = write_flags};
	uint8_t bytes[sizeof(in) + 100];

	memcpy(bytes, &in, sizeof(in));
	memcpy(bytes + sizeof(in), text, in.size);
	fs_ask(FUSE_WRITE, 5, bytes, (uint32_t)sizeof(in) + in.size, NULL,
	       sizeof(struct fuse_write_out));
	return fs_error ? 0 : FS_BODY(fuse_write_out).size;
}

static inline void fs_check_text(const char *name, const char *text)
{
	char got[200] = "";
	int fd = open(fs_path(name), O_RDONLY);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_ge(read(fd, got, sizeof(got) - 1), 0);
	close(fd);
	ck_assert_str_eq(got, text);
}

static inline void fs_release_file(uint64_t fh)
{
	fs_ask(FUSE_RELEASE, 5, &(struct fuse_release_in){.fh = fh}, 24, NULL, 0);
	ck_assert_int_eq(fs_error, 0);
}
