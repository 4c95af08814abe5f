#include "tests/fuzz/fs_asks.h"

#include <fcntl.h>
#include <sys/stat.h>

#define N(array) (sizeof(array) / sizeof((array)[0]))

/* ---- numbers ---- */

uint64_t ask_node(const struct virtio_fs *fs, uint8_t code, uint32_t type)
{
	uint32_t known = fs->nodes.n - FUSE_ROOT_ID;

	for (uint32_t i = 0; i < known; i++) {
		uint32_t id = FUSE_ROOT_ID + (code + i) % known;

		if (fs->nodes.nodes[id].lookups > 0 &&
		    (type == 0 || fs->nodes.nodes[id].type == type))
			return id;
	}
	return FUSE_ROOT_ID;
}

uint64_t ask_file(const struct virtio_fs *fs, uint8_t code, bool is_dir)
{
	for (uint32_t i = 0; i + 1 < fs->n_files; i++) {
		uint32_t number = 1 + (code + i) % (fs->n_files - 1);

		if (fs->files[number].used && fs->files[number].is_dir == is_dir)
			return number;
	}
	return 0;
}

/* Seldom any number. */
static uint64_t ask_some_node(const struct virtio_fs *fs, struct fuzz_input *in, uint32_t type)
{
	uint8_t code = fuzz_u8(in);

	if (code >= 0xfe)
		return fuzz_u64(in);
	return code >= 0xf0 ? code & 15 : ask_node(fs, code, code >= 0xe0 ? 0 : type);
}

static uint64_t ask_some_file(const struct virtio_fs *fs, struct fuzz_input *in, bool is_dir)
{
	uint8_t code = fuzz_u8(in);

	if (code >= 0xfe)
		return fuzz_u64(in);
	return code >= 0xf0 ? code & 15 : ask_file(fs, code, is_dir);
}

/* Where in a file: most often near its beginning, or at a page of it. */
static uint64_t ask_place(struct fuzz_input *in)
{
	uint8_t code = fuzz_u8(in);

	if (code >= 0xfc)
		return fuzz_u64(in);
	return code < 0x80 ? code : (uint64_t)(code & 0x7f) << 11;
}

static uint32_t ask_flags(const struct virtio_fs *fs, struct fuzz_input *in)
{
	static const uint32_t modes[] = {O_RDWR, O_RDONLY, O_WRONLY, O_ACCMODE},
			      more[] = {O_APPEND, O_TRUNC, O_EXCL, O_SYNC, O_DSYNC};
	uint8_t code = fuzz_u8(in);
	uint32_t flags = modes[(code + !fs->writable) % 4];

	for (unsigned int i = 0; i < N(more); i++)
		flags |= code >> (i + 2) & 1 ? more[i] : 0;
	return code & 0x80 ? flags ^ fuzz_u32(in) : flags;
}

/* ---- names ---- */

static size_t ask_add_name(uint8_t *to, const char *name, bool whole)
{
	memcpy(to, name, strlen(name) + 1);
	return strlen(name) + whole;
}

/* What leads elsewhere leads to nothing that could come to harm if it were followed. */
static size_t ask_name(struct fuzz_input *in, uint8_t *to)
{
	static const char *const names[] = {
		"file", "big", "dir", "inner", "sub",	 "link",      "pipe",	       "late",
		"none", "new", "two", "proc",  "knob",	 "other",     "file",	       "big",
		"many", "..",  ".",   "",      "canary", "../canary", "/proc/version", "a/b"};
	uint8_t code = fuzz_u8(in);

	if (code < 0xf8)
		return ask_add_name(to, names[code % N(names)], code < 0xf0);
	/* as long as one may be, or longer */
	memset(to, 'x', 256);
	to[code & 1 ? 255 : 256] = '\0';
	return code & 1 ? 256 : 257;
}

static size_t ask_attr_name(struct fuzz_input *in, uint8_t *to)
{
	static const char *const names[] = {"user.color",
					    "user.none",
					    "security.capability",
					    "security.selinux",
					    "trusted.thing",
					    "system.thing",
					    "user.",
					    ""};
	uint8_t code = fuzz_u8(in);

	return ask_add_name(to, names[code % N(names)], code < 0xf8);
}

static size_t ask_names(struct fuzz_input *in, uint32_t opcode, uint8_t *to)
{
	size_t len;

	switch (opcode) {
	case FUSE_LOOKUP:
	case FUSE_CREATE:
	case FUSE_TMPFILE:
	case FUSE_MKDIR:
	case FUSE_MKNOD:
	case FUSE_UNLINK:
	case FUSE_RMDIR:
	case FUSE_LINK:
		return ask_name(in, to);
	case FUSE_RENAME:
	case FUSE_RENAME2:
	case FUSE_SYMLINK:
		len = ask_name(in, to);
		return len + ask_name(in, to + len);
	case FUSE_GETXATTR:
	case FUSE_SETXATTR:
	case FUSE_REMOVEXATTR:
		return ask_attr_name(in, to);
	default:
		return 0;
	}
}

/* ---- the structs; each returns its length, or 0 when it has none for the operation ---- */

static size_t ask_open(const struct virtio_fs *fs, struct fuzz_input *in, uint32_t opcode,
		       union fs_args *args)
{
	switch (opcode) {
	case FUSE_OPEN:
		args->open.flags = ask_flags(fs, in);
		return sizeof(args->open);
	case FUSE_OPENDIR:
		return sizeof(args->open);
	case FUSE_CREATE:
	case FUSE_TMPFILE:
		args->create = (struct fuse_create_in){.flags = ask_flags(fs, in),
						       .mode = S_IFREG | fuzz_u16(in),
						       .umask = fuzz_u8(in)};
		return sizeof(args->create);
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		args->release.fh = ask_some_file(fs, in, opcode == FUSE_RELEASEDIR);
		return sizeof(args->release);
	case FUSE_INIT:
		args->init = (struct fuse_init_in){
			.major = 7, .minor = 38, .flags = fuzz_u32(in), .flags2 = UINT32_MAX};
		if (fuzz_u8(in) >= 0xf0)
			args->init.minor = fuzz_u8(in);
		if (args->init.minor < 5)
			args->init.major = 5 + args->init.minor;
		return sizeof(args->init);
	default:
		return 0;
	}
}

/* A directory is read on from where it is; the others begin anywhere. */
static uint64_t ask_list_place(const struct virtio_fs *fs, struct fuzz_input *in, uint64_t fh)
{
	uint8_t code = fuzz_u8(in);

	if (code >= 0xf0)
		return ask_place(in);
	return code >= 0x80 || fh == 0 || fh >= fs->n_files ? 0 : (uint64_t)fs->files[fh].position;
}

static size_t ask_read(const struct virtio_fs *fs, struct fuzz_input *in, uint32_t opcode,
		       union fs_args *args)
{
	uint64_t fh;

	switch (opcode) {
	case FUSE_READ:
		args->read.fh = ask_some_file(fs, in, false);
		args->read.offset = ask_place(in);
		args->read.size = (uint32_t)(4096 + ask_place(in));
		return sizeof(args->read);
	case FUSE_READDIR:
	case FUSE_READDIRPLUS:
		fh = ask_some_file(fs, in, true);
		args->read = (struct fuse_read_in){.fh = fh, .offset = ask_list_place(fs, in, fh)};
		args->read.size = 4096 - 16 * (uint32_t)fuzz_u8(in);
		return sizeof(args->read);
	case FUSE_LSEEK:
		args->lseek = (struct fuse_lseek_in){.fh = ask_some_file(fs, in, false),
						     .offset = ask_place(in),
						     .whence = SEEK_DATA};
		args->lseek.whence += fuzz_u8(in) % 4;
		return sizeof(args->lseek);
	default:
		return 0;
	}
}

static size_t ask_write(const struct virtio_fs *fs, struct fuzz_input *in, uint32_t opcode,
			union fs_args *args)
{
	switch (opcode) {
	case FUSE_WRITE:
		args->write.fh = ask_some_file(fs, in, false);
		args->write.flags = ask_flags(fs, in);
		args->write.write_flags = fuzz_u8(in) & 7;
		args->write.offset = ask_place(in);
		args->write.size = fuzz_u8(in);
		return sizeof(args->write);
	case FUSE_COPY_FILE_RANGE:
		args->copy.fh_in = ask_some_file(fs, in, false);
		args->copy.fh_out = ask_some_file(fs, in, false);
		args->copy.off_in = ask_place(in);
		args->copy.off_out = ask_place(in);
		args->copy.len = 1 + ask_place(in);
		args->copy.flags = fuzz_u8(in) >= 0xf0;
		return sizeof(args->copy);
	case FUSE_FALLOCATE:
		args->fallocate.fh = ask_some_file(fs, in, false);
		args->fallocate.mode = fuzz_u8(in);
		args->fallocate.offset = ask_place(in);
		args->fallocate.length = 1 + ask_place(in);
		return sizeof(args->fallocate);
	case FUSE_FSYNC:
	case FUSE_FSYNCDIR:
		args->fsync.fh = ask_some_file(fs, in, opcode == FUSE_FSYNCDIR);
		args->fsync.fsync_flags = fuzz_u8(in) & 1;
		return sizeof(args->fsync);
	case FUSE_FLUSH:
		args->flush.fh = ask_some_file(fs, in, false);
		return sizeof(args->flush);
	default:
		return 0;
	}
}

static uint32_t ask_attr_size(struct fuzz_input *in)
{
	static const uint32_t sizes[] = {64, 0, 4, 3, 15, 4096, 65536, 65537};

	return sizes[fuzz_u8(in) % N(sizes)];
}

/* The mode leaves the user enough to remove what is in a directory. */
static void ask_setattr(const struct virtio_fs *fs, struct fuzz_input *in,
			struct fuse_setattr_in *set)
{
	*set = (struct fuse_setattr_in){.valid = fuzz_u16(in) & 0x7fff,
					.fh = ask_some_file(fs, in, false),
					.mode = 0700 | fuzz_u16(in)};
	if (set->valid & FATTR_SIZE)
		set->size = ask_place(in);
	if (set->valid & (FATTR_ATIME | FATTR_MTIME)) {
		set->mtime = set->atime = ask_place(in);
		set->mtimensec = set->atimensec = fuzz_u32(in);
	}
	if (set->valid & (FATTR_UID | FATTR_GID))
		set->uid = set->gid = fuzz_u8(in) & 3;
}

static size_t ask_attributes(const struct virtio_fs *fs, struct fuzz_input *in, uint32_t opcode,
			     union fs_args *args)
{
	switch (opcode) {
	case FUSE_GETATTR:
		args->getattr.fh = ask_some_file(fs, in, false);
		args->getattr.getattr_flags = args->getattr.fh ? FUSE_GETATTR_FH : 0;
		return sizeof(args->getattr);
	case FUSE_SETATTR:
		ask_setattr(fs, in, &args->setattr);
		return sizeof(args->setattr);
	case FUSE_GETXATTR:
	case FUSE_LISTXATTR:
		args->getxattr.size = ask_attr_size(in);
		return sizeof(args->getxattr);
	case FUSE_SETXATTR:
		args->setxattr.size = ask_attr_size(in);
		return FUSE_COMPAT_SETXATTR_IN_SIZE;
	default:
		return 0;
	}
}

static size_t ask_names_args(const struct virtio_fs *fs, struct fuzz_input *in, uint32_t opcode,
			     union fs_args *args)
{
	static const uint32_t types[] = {S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK, S_IFDIR};

	switch (opcode) {
	case FUSE_MKDIR:
		args->mkdir = (struct fuse_mkdir_in){.mode = 0700 | fuzz_u16(in)};
		return sizeof(args->mkdir);
	case FUSE_MKNOD:
		args->mknod = (struct fuse_mknod_in){.mode = types[fuzz_u8(in) % N(types)] | 0600,
						     .rdev = 0x103};
		return sizeof(args->mknod);
	case FUSE_LINK:
		args->link.oldnodeid = ask_some_node(fs, in, S_IFREG);
		return sizeof(args->link);
	case FUSE_RENAME:
	case FUSE_RENAME2:
		args->rename.newdir = ask_some_node(fs, in, S_IFDIR);
		args->rename.flags = opcode == FUSE_RENAME2 ? fuzz_u8(in) & 3 : 0;
		return opcode == FUSE_RENAME ? sizeof(struct fuse_rename_in) : sizeof(args->rename);
	case FUSE_FORGET:
		args->forget.nlookup = 1 + (fuzz_u8(in) & 3);
		return sizeof(args->forget);
	case FUSE_BATCH_FORGET:
		args->batch_forget.count = fuzz_u8(in);
		return sizeof(args->batch_forget);
	default:
		return 0;
	}
}

/* ---- all of it ---- */

static uint32_t ask_opcode(struct fuzz_input *in)
{
	static const uint8_t served[] = {
		FUSE_LOOKUP,	     FUSE_LOOKUP,	FUSE_LOOKUP,  FUSE_GETATTR,
		FUSE_SETATTR,	     FUSE_READLINK,	FUSE_SYMLINK, FUSE_MKNOD,
		FUSE_MKDIR,	     FUSE_UNLINK,	FUSE_RMDIR,   FUSE_RENAME,
		FUSE_RENAME2,	     FUSE_LINK,		FUSE_OPEN,    FUSE_OPEN,
		FUSE_READ,	     FUSE_READ,		FUSE_WRITE,   FUSE_WRITE,
		FUSE_STATFS,	     FUSE_RELEASE,	FUSE_FSYNC,   FUSE_SETXATTR,
		FUSE_GETXATTR,	     FUSE_LISTXATTR,	FUSE_FLUSH,   FUSE_REMOVEXATTR,
		FUSE_INIT,	     FUSE_OPENDIR,	FUSE_READDIR, FUSE_FSYNCDIR,
		FUSE_RELEASEDIR,     FUSE_CREATE,	FUSE_CREATE,  FUSE_INTERRUPT,
		FUSE_DESTROY,	     FUSE_BATCH_FORGET, FUSE_FORGET,  FUSE_FALLOCATE,
		FUSE_READDIRPLUS,    FUSE_LSEEK,	FUSE_SYNCFS,  FUSE_TMPFILE,
		FUSE_COPY_FILE_RANGE};
	uint8_t code = fuzz_u8(in);

	return code < 0xf8 ? served[code % N(served)] : fuzz_u8(in);
}

/* What an operation works on. */
static uint32_t ask_type(uint32_t opcode)
{
	switch (opcode) {
	case FUSE_READLINK:
		return S_IFLNK;
	case FUSE_OPEN:
		return S_IFREG;
	case FUSE_GETATTR:
	case FUSE_SETATTR:
	case FUSE_FORGET:
	case FUSE_GETXATTR:
	case FUSE_SETXATTR:
	case FUSE_LISTXATTR:
	case FUSE_REMOVEXATTR:
		return 0;
	default:
		return S_IFDIR;
	}
}

static size_t ask_args(const struct virtio_fs *fs, struct fuzz_input *in, uint32_t opcode,
		       union fs_args *args)
{
	size_t len = ask_open(fs, in, opcode, args);

	if (len == 0)
		len = ask_read(fs, in, opcode, args);
	if (len == 0)
		len = ask_write(fs, in, opcode, args);
	if (len == 0)
		len = ask_attributes(fs, in, opcode, args);
	return len ? len : ask_names_args(fs, in, opcode, args);
}

/* What is behind the names: contents, and what is forgotten. */
static size_t ask_rest(const struct virtio_fs *fs, struct fuzz_input *in, uint32_t opcode,
		       const union fs_args *args, uint8_t *to)
{
	struct fuse_forget_one one;
	size_t len = 0;

	if (opcode == FUSE_WRITE)
		return args->write.size;
	if (opcode == FUSE_SETXATTR) {
		to[0] = fuzz_u8(in);
		return args->setxattr.size % 1024;
	}
	for (unsigned int i = 0; opcode == FUSE_BATCH_FORGET && i < 4; i++) {
		one = (struct fuse_forget_one){.nodeid = ask_some_node(fs, in, 0),
					       .nlookup = 1 + i % 2};
		memcpy(to + len, &one, sizeof(one));
		len += sizeof(one);
	}
	return len;
}

static uint64_t ask_on(const struct virtio_fs *fs, struct fuzz_input *in, uint32_t opcode,
		       const union fs_args *args)
{
	uint64_t node = ask_some_node(fs, in, ask_type(opcode));

	if ((opcode == FUSE_READDIR || opcode == FUSE_READDIRPLUS) && args->read.fh > 0 &&
	    args->read.fh < fs->n_files && fs->files[args->read.fh].used)
		return fs->files[args->read.fh].node;
	return node;
}

uint32_t ask_make(const struct virtio_fs *fs, struct fuzz_input *in, uint8_t bytes[ASK_MOST])
{
	struct fuse_in_header head = {.opcode = ask_opcode(in), .unique = 5};
	union fs_args args;
	size_t len = sizeof(head), args_len;
	uint8_t who = fuzz_u8(in);

	memset(bytes, 0, ASK_MOST);
	memset(&args, 0, sizeof(args));
	args_len = ask_args(fs, in, head.opcode, &args);
	memcpy(bytes + len, &args, args_len);
	len += args_len;
	len += ask_names(in, head.opcode, bytes + len);
	len += ask_rest(fs, in, head.opcode, &args, bytes + len);
	FUZZ_CHECK(len <= ASK_MOST);
	head.nodeid = ask_on(fs, in, head.opcode, &args);
	head.uid = who & 3;
	head.gid = who >> 2 & 3;
	head.len = (uint32_t)len;
	memcpy(bytes, &head, sizeof(head));
	return head.len;
}

uint32_t ask_put(uint8_t bytes[ASK_MOST], uint32_t opcode, uint64_t node, const void *args,
		 size_t args_len, const char *name)
{
	struct fuse_in_header head = {.opcode = opcode, .nodeid = node, .unique = 1};
	size_t len = sizeof(head) + args_len;

	if (args_len > 0)
		memcpy(bytes + sizeof(head), args, args_len);
	if (name)
		len += ask_add_name(bytes + len, name, true);
	head.len = (uint32_t)len;
	memcpy(bytes, &head, sizeof(head));
	return head.len;
}
