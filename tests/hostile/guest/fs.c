/*
 * Shared directories: garbage in every operation, numbers that were never given, names that lead elsewhere, offsets without bounds.
 * Of the two that there are one may be written. The host sees to it that outside of that nothing has changed, and that while this runs directories in it become
 * links and directories again.
 */
#include "device.h"
#include "requests.h"
#include "themes.h"

#include <linux/virtio_fs.h>

#include "../../../virtio/fs_fuse.h"

enum {
	FIRST, /* what is forgotten */
	REQUESTS,
};

#define ROOM	    8192 /* for an answer */
#define MOST	    (64 + 2 * 5000)
#define EROFS	    30
#define LAST_OPCODE 60

/* One at a time, in memory that is used again: the device is waited for. */
static struct {
	struct fuse_in_header *in;
	struct fuse_out_header *out;
	uint32_t len;
	uint64_t unique;
	bool readonly; /* the share that is attacked */
} fs;

static void fs_begin(uint32_t opcode, uint64_t node)
{
	memset(fs.in, 0, 256);
	fs.in->opcode = opcode;
	fs.in->nodeid = node;
	fs.in->unique = ++fs.unique;
	fs.len = sizeof(*fs.in);
}

static void *fs_args(size_t len)
{
	void *args = (char *)fs.in + fs.len;

	memset(args, 0, len);
	fs.len += (uint32_t)len;
	return args;
}

static void fs_bytes(const void *bytes, size_t len)
{
	memcpy((char *)fs.in + fs.len, bytes, len);
	fs.len += (uint32_t)len;
}

static void fs_name(const char *name)
{
	size_t len = 0;

	while (name[len])
		len++;
	fs_bytes(name, len + 1);
}

static bool fs_is_silent(uint32_t opcode)
{
	return opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET || opcode == FUSE_INTERRUPT;
}

static void fs_judge(enum outcome outcome)
{
	uint32_t opcode = fs.in->opcode;

	EXPECT(outcome == DONE, "an operation %u is not answered", (unsigned int)opcode);
	if (outcome != DONE || fs_is_silent(opcode))
		return;
	EXPECT(fs.out->unique == fs.unique, "the answer to %u is another's", (unsigned int)opcode);
	EXPECT(fs.out->len >= sizeof(*fs.out) && fs.out->len <= ROOM,
	       "the answer to %u has a length of %x", (unsigned int)opcode, (uint64_t)fs.out->len);
	EXPECT(fs.out->error <= 0 && fs.out->error > -4096, "the answer to %u is the error %x",
	       (unsigned int)opcode, (uint64_t)(uint32_t)fs.out->error);
}

/* The request with a length that says so. Returns its error, or what stands for none when nobody answers. */
static int32_t fs_send(struct device *d)
{
	struct piece pieces[2] = {{gpa(fs.in), fs.len, false}, {gpa(fs.out), ROOM, true}};

	fs.in->len = fs.len;
	memset(fs.out, 0, 256);
	fs_judge(exchange(d, REQUESTS, pieces, fs_is_silent(fs.in->opcode) ? 1 : 2));
	return fs.out->error;
}

static const void *fs_answer(void)
{
	return fs.out + 1;
}

static void fs_start(struct device *d)
{
	struct fuse_init_in *init;

	device_start(d, ALL_FEATURES);
	fs.in = alloc(MOST, 4096);
	fs.out = alloc(ROOM, 4096);
	fs_begin(FUSE_INIT, 0);
	init = fs_args(sizeof(*init));
	init->major = FUSE_KERNEL_VERSION;
	init->minor = FUSE_KERNEL_MINOR_VERSION;
	init->max_readahead = 65536;
	init->flags = ~0u;
	init->flags2 = ~0u;
	EXPECT(fs_send(d) == 0, "a shared directory does not begin");
}

/* Returns the number, or 0. */
static uint64_t fs_look_up(struct device *d, uint64_t parent, const char *name)
{
	const struct fuse_entry_out *entry = fs_answer();

	fs_begin(FUSE_LOOKUP, parent);
	fs_name(name);
	return fs_send(d) == 0 ? entry->nodeid : 0;
}

/* ---- whole operations ---- */

static uint64_t some_node;   /* that was given, or 0 */
static uint64_t some_handle; /* the same of an open file */

static uint64_t any_node(void)
{
	switch (rnd_below(4)) {
	case 0:
		return rnd_nasty();
	case 1:
		return rnd_below(50);
	case 2:
		return some_node;
	default:
		return FUSE_ROOT_ID;
	}
}

static uint64_t any_handle(void)
{
	return chance(50) ? some_handle : chance(50) ? rnd_nasty() : rnd_below(20);
}

/* Never so much that the host's disk would be filled by what we ask for: little, or what no file system takes. */
static uint64_t any_place(void)
{
	uint64_t place = rnd_nasty();

	return place > UINT64_C(1) << 60 ? place : place & 0xfffff;
}

/* What leads elsewhere must not be a name in a directory; if it were, the host's files would come to no harm. */
static const char *const bad_names[] = {
	"..",  ".",	 "/",	       "../canary", "../canary/secret", "a/b", "/proc/version",
	"../", "./file", "link-out/x", "",	    "dir/../..",	"//",  "dir/",
};

static const char *const names[] = {
	"file", "dir",	    "link-out", "link-up",  "link-root", "pipe",
	"swap", "new-file", "new-dir",	"new-link", "none",	 "secret",
};

static const char *any_name(void)
{
	if (chance(15))
		return bad_names[rnd_below(sizeof(bad_names) / sizeof(bad_names[0]))];
	return names[rnd_below(sizeof(names) / sizeof(names[0]))];
}

static const uint8_t args_of[LAST_OPCODE] = {
	[FUSE_FORGET] = sizeof(struct fuse_forget_in),
	[FUSE_GETATTR] = sizeof(struct fuse_getattr_in),
	[FUSE_SETATTR] = sizeof(struct fuse_setattr_in),
	[FUSE_MKNOD] = sizeof(struct fuse_mknod_in),
	[FUSE_MKDIR] = sizeof(struct fuse_mkdir_in),
	[FUSE_RENAME] = sizeof(struct fuse_rename_in),
	[FUSE_LINK] = sizeof(struct fuse_link_in),
	[FUSE_OPEN] = sizeof(struct fuse_open_in),
	[FUSE_READ] = sizeof(struct fuse_read_in),
	[FUSE_WRITE] = sizeof(struct fuse_write_in),
	[FUSE_RELEASE] = sizeof(struct fuse_release_in),
	[FUSE_FSYNC] = sizeof(struct fuse_fsync_in),
	[FUSE_SETXATTR] = FUSE_COMPAT_SETXATTR_IN_SIZE,
	[FUSE_GETXATTR] = sizeof(struct fuse_getxattr_in),
	[FUSE_LISTXATTR] = sizeof(struct fuse_getxattr_in),
	[FUSE_FLUSH] = sizeof(struct fuse_flush_in),
	[FUSE_OPENDIR] = sizeof(struct fuse_open_in),
	[FUSE_READDIR] = sizeof(struct fuse_read_in),
	[FUSE_RELEASEDIR] = sizeof(struct fuse_release_in),
	[FUSE_FSYNCDIR] = sizeof(struct fuse_fsync_in),
	[FUSE_GETLK] = sizeof(struct fuse_lk_in),
	[FUSE_SETLK] = sizeof(struct fuse_lk_in),
	[FUSE_SETLKW] = sizeof(struct fuse_lk_in),
	[FUSE_ACCESS] = sizeof(struct fuse_access_in),
	[FUSE_CREATE] = sizeof(struct fuse_create_in),
	[FUSE_INTERRUPT] = sizeof(struct fuse_interrupt_in),
	[FUSE_BMAP] = sizeof(struct fuse_bmap_in),
	[FUSE_IOCTL] = sizeof(struct fuse_ioctl_in),
	[FUSE_POLL] = sizeof(struct fuse_poll_in),
	[FUSE_BATCH_FORGET] = sizeof(struct fuse_batch_forget_in),
	[FUSE_FALLOCATE] = sizeof(struct fuse_fallocate_in),
	[FUSE_READDIRPLUS] = sizeof(struct fuse_read_in),
	[FUSE_RENAME2] = sizeof(struct fuse_rename2_in),
	[FUSE_LSEEK] = sizeof(struct fuse_lseek_in),
	[FUSE_COPY_FILE_RANGE] = sizeof(struct fuse_copy_file_range_in),
	[FUSE_SYNCFS] = sizeof(struct fuse_syncfs_in),
	[51] = sizeof(struct fuse_create_in), /* a file without a name */
};

/* Each begins with a file's number or a size in its first eight bytes, has places behind that, and flags anywhere. */
static void random_args(uint32_t opcode)
{
	uint32_t len = opcode < LAST_OPCODE ? args_of[opcode] : rnd_below(80);
	uint64_t *word = fs_args(len & ~7u);

	for (uint32_t i = 0; i < len / 8; i++)
		word[i] = i == 0 && chance(80) ? any_handle()
			  : chance(60)	       ? any_place()
					       : rnd_below(4096);
	if (opcode == FUSE_LINK || opcode == FUSE_RENAME || opcode == FUSE_RENAME2)
		word[0] = any_node();
	if (opcode == FUSE_COPY_FILE_RANGE && len >= 48)
		word[2] = any_node();
	if ((opcode == FUSE_OPEN || opcode == FUSE_OPENDIR || opcode == FUSE_CREATE) && chance(90))
		word[0] = rnd_below(3) | (chance(20) ? rnd() & 0xffffff : 0);
	if (opcode == FUSE_GETXATTR || opcode == FUSE_LISTXATTR)
		word[0] = chance(50) ? 0 : rnd_below(70000);
	if (len & 7)
		*(uint32_t *)fs_args(len & 7) = rnd();
}

static void remember(void)
{
	const struct fuse_entry_out *entry = fs_answer();
	const struct fuse_open_out *opened = fs_answer();

	if (fs.out->error)
		return;
	switch (fs.in->opcode) {
	case FUSE_LOOKUP:
	case FUSE_MKDIR:
	case FUSE_MKNOD:
	case FUSE_SYMLINK:
		some_node = entry->nodeid;
		break;
	case FUSE_CREATE:
		some_node = entry->nodeid;
		opened = (const void *)(entry + 1);
		__attribute__((fallthrough));
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		some_handle = opened->fh;
		break;
	}
}

static bool would_change(uint32_t opcode)
{
	switch (opcode) {
	case FUSE_SETATTR:
	case FUSE_SYMLINK:
	case FUSE_MKNOD:
	case FUSE_MKDIR:
	case FUSE_UNLINK:
	case FUSE_RMDIR:
	case FUSE_RENAME:
	case FUSE_LINK:
	case FUSE_WRITE:
	case FUSE_SETXATTR:
	case FUSE_REMOVEXATTR:
	case FUSE_CREATE:
	case FUSE_FALLOCATE:
	case FUSE_RENAME2:
	case FUSE_COPY_FILE_RANGE:
		return true;
	default:
		return false;
	}
}

static void random_operation(struct device *d)
{
	uint32_t opcode = chance(97) ? 1 + rnd_below(52) : rnd();
	int32_t error;

	if (opcode == FUSE_INIT || opcode == FUSE_DESTROY)
		return;
	fs_begin(opcode, any_node());
	random_args(opcode);
	for (unsigned int i = rnd_below(3); i > 0; i--)
		fs_name(any_name());
	if (chance(30))
		fs.len += rnd_below(500); /* data, or what lay there */
	error = fs_send(d);
	if (fs.readonly && would_change(opcode))
		EXPECT(error < 0, "operation %u was done in a directory for reading",
		       (unsigned int)opcode);
	remember();
}

/* ---- parts of the theme ---- */

/* Every length there is, and some more, of what means nothing. */
static void short_ones(struct device *d)
{
	for (uint32_t opcode = 0; opcode < LAST_OPCODE; opcode++) {
		for (uint32_t len = 0; len < 120; len += 1 + rnd_below(13)) {
			if (opcode == FUSE_INIT || opcode == FUSE_DESTROY)
				continue;
			fs_begin(opcode, any_node());
			fs_args(len);
			for (uint32_t i = 0; chance(50) && i < len; i++)
				((uint8_t *)(fs.in + 1))[i] = chance(70) ? 0 : (uint8_t)rnd();
			fs_send(d);
		}
	}
}

/* The request's own word on its length does not count; a chain without a whole header breaks the ring's rules. */
static void odd_framing(struct device *d)
{
	for (unsigned int i = 0; i < 80; i++) {
		struct piece pieces[MAX_PIECES];
		unsigned int n;
		bool good;

		fs_begin(1 + rnd_below(50), any_node());
		random_args(fs.in->opcode);
		fs_name(any_name());
		fs.in->len = (uint32_t)rnd_nasty();
		n = cut(pieces, 6, gpa(fs.in), chance(90) ? fs.len : rnd_below(fs.len), false);
		n += cut(pieces + n, 5, gpa(fs.out), chance(80) ? ROOM : rnd_below(200), true);
		good = offer(d, REQUESTS, pieces, n, 5);
		if (ring_wait(d, REQUESTS, good ? SECOND : SECOND / 20) != DONE)
			fs_start(d);
	}
}

static void names_that_lead_elsewhere(struct device *d)
{
	static const uint32_t opcodes[] = {FUSE_LOOKUP, FUSE_MKDIR,  FUSE_CREATE, FUSE_UNLINK,
					   FUSE_RMDIR,	FUSE_MKNOD,  FUSE_LINK,	  FUSE_SYMLINK,
					   FUSE_RENAME, FUSE_RENAME2};

	for (unsigned int i = 0; i < sizeof(opcodes) / sizeof(opcodes[0]); i++) {
		for (unsigned int j = 0; j < sizeof(bad_names) / sizeof(bad_names[0]); j++) {
			for (unsigned int second = 0; second < 2; second++) {
				fs_begin(opcodes[i], FUSE_ROOT_ID);
				memset(fs_args(args_of[opcodes[i]]), 0, 1);
				if (opcodes[i] >= FUSE_RENAME && opcodes[i] != FUSE_CREATE)
					*(uint64_t *)(fs.in + 1) = FUSE_ROOT_ID;
				fs_name(second ? "file" : bad_names[j]);
				fs_name(bad_names[j]);
				if (second && opcodes[i] != FUSE_RENAME &&
				    opcodes[i] != FUSE_RENAME2)
					continue;
				EXPECT(fs_send(d) < 0, "operation %u takes the name '%s'",
				       (unsigned int)opcodes[i], bad_names[j]);
			}
		}
	}
}

/* Of 255 bytes, of more, and without an end. */
static void long_names(struct device *d)
{
	const struct fuse_entry_out *entry = fs_answer();
	static const uint32_t lens[] = {254, 255, 256, 257, 1000, 4095, 4096, 5000};

	for (unsigned int i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		fs_begin(FUSE_LOOKUP, FUSE_ROOT_ID);
		memset(fs_args(lens[i]), 'n', lens[i]);
		EXPECT(fs_send(d) < 0, "a name without an end is found");
		fs_name("");
		/* Of a name that is not there the guest may keep so much, by a number of 0. */
		EXPECT(fs_send(d) < 0 || entry->nodeid == 0, "a name of %u bytes is found",
		       (unsigned int)lens[i]);
		fs_begin(FUSE_SYMLINK, FUSE_ROOT_ID);
		fs_name("long-link");
		memset(fs_args(lens[i]), 'n', lens[i]);
		fs_send(d);
	}
}

/* What a link leads to is nothing that can be read, written, or entered here. */
static void through_links(struct device *d)
{
	static const char *const links[] = {"link-out", "link-up", "link-root"};
	static const uint32_t opcodes[] = {FUSE_OPEN,	  FUSE_OPENDIR, FUSE_SETATTR,
					   FUSE_SETXATTR, FUSE_WRITE,	FUSE_FALLOCATE};

	for (unsigned int i = 0; i < 3; i++) {
		uint64_t node = fs_look_up(d, FUSE_ROOT_ID, links[i]);

		EXPECT(node > 0, "the link %s is not found", links[i]);
		EXPECT(fs_look_up(d, node, "secret") == 0, "a link is entered");
		for (unsigned int j = 0; j < sizeof(opcodes) / sizeof(opcodes[0]); j++) {
			struct fuse_setattr_in *args;

			fs_begin(opcodes[j], node);
			args = fs_args(args_of[opcodes[j]]);
			if (opcodes[j] == FUSE_SETATTR) {
				args->valid = 1u << rnd_below(11);
				args->mode = 0777;
			} else if (opcodes[j] == FUSE_OPEN) {
				*(uint32_t *)(void *)args = 2;
			}
			fs_name("user.hostile");
			fs_send(d);
			EXPECT((opcodes[j] != FUSE_OPEN && opcodes[j] != FUSE_OPENDIR) ||
				       fs.out->error < 0,
			       "a link is opened");
		}
	}
}

static void lists(struct device *d)
{
	const struct fuse_open_out *opened = fs_answer();
	uint64_t handle;

	fs_begin(FUSE_OPENDIR, FUSE_ROOT_ID);
	fs_args(sizeof(struct fuse_open_in));
	EXPECT(fs_send(d) == 0, "the directory cannot be opened");
	handle = opened->fh;
	for (unsigned int i = 0; i < 200; i++) {
		struct fuse_read_in *read;

		fs_begin(chance(50) ? FUSE_READDIR : FUSE_READDIRPLUS, FUSE_ROOT_ID);
		read = fs_args(sizeof(*read));
		read->fh = handle;
		read->offset = chance(50) ? rnd_nasty() : rnd_below(10);
		read->size = chance(50) ? (uint32_t)rnd_nasty() : rnd_below(ROOM);
		fs_send(d);
	}
}

/* More than there are descriptors; and how often they are forgotten is told wrong. */
static void many(struct device *d, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct fuse_forget_in *forget;
		uint64_t node = fs_look_up(d, FUSE_ROOT_ID, names[rnd_below(4)]);

		fs_begin(FUSE_OPEN, node);
		fs_args(sizeof(struct fuse_open_in));
		fs_send(d);
		remember();
		if (!chance(20))
			continue;
		fs_begin(FUSE_FORGET, node);
		forget = fs_args(sizeof(*forget));
		forget->nlookup = rnd_nasty();
		fs_send(d);
	}
}

static void attack_one(struct device *d)
{
	unsigned int rounds = (unsigned int)param("rounds", 1);
	size_t mark = alloc_mark();

	fs_start(d);
	fs_begin(FUSE_MKDIR, FUSE_ROOT_ID);
	fs_args(sizeof(struct fuse_mkdir_in));
	fs_name("of-guest");
	fs.readonly = fs_send(d) == -EROFS;
	some_node = some_handle = 0;
	short_ones(d);
	names_that_lead_elsewhere(d);
	long_names(d);
	OK("lengths and names");
	through_links(d);
	lists(d);
	many(d, 400 * rounds);
	OK("links, lists and many files");
	for (unsigned int i = 0; i < 2000 * rounds; i++)
		random_operation(d);
	OK("operations of chance");
	odd_framing(d);
	device_reset(d);
	alloc_release(mark);
	device_check(d);
}

void attack_fs(void)
{
	find_devices();
	for (unsigned int i = 0; i < n_devices; i++) {
		if (devices[i].id == VIRTIO_ID_FS)
			attack_one(&devices[i]);
	}
	OK("shared directories");
}
