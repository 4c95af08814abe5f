/*
 * A guest against a shared directory; see guest.h. What it asks is in fs_asks.h, what it is shared in fs_tree.h, and how the host fails in
 * fs_host.h.
 *
 * Fuzzes: virtio/fs.c virtio/fs_files.c virtio/fs_list.c virtio/fs_make.c virtio/fs_nodes.c virtio/fs_ops.c
 * Fuzzes: virtio/fs_remove.c virtio/fs_request.c virtio/fs_serve.c virtio/fs_slow.c virtio/fs_stat.c virtio/fs_write.c virtio/fs_xattr.c
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "tests/fuzz/fs_asks.h"
#include "tests/fuzz/fs_host.h"
#include "tests/fuzz/fs_tree.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/guest.h"
#include "virtio/fs.h"

#define ANSWER 4112 /* bytes: a page behind the header */

static struct virtio_fs fs;
static int first_spare;	       /* as the device itself has it */
static unsigned int fds;       /* that were open before */
static bool agrees;	       /* the guest's driver takes all that it is offered */
static bool leaves;	       /* it has something to do when it ends */
static struct virtq_piece got; /* where the last answer is, or will be */

static const int errors[] = {EIO,    EMFILE, ENOSPC, EACCES,	 EINVAL,  ENOSYS, EINTR,  ERANGE,
			     ENOENT, ESTALE, EAGAIN, EOPNOTSUPP, ENOTDIR, EPERM,  EEXIST, ENODATA};

/* ---- the device ---- */

/* The host may fail here too; then there is no device, and nothing is left of it. */
static void fs_init(struct fuzz_input *in, const struct virtio_fs_options *options)
{
	uint8_t code = fuzz_u8(in);

	if (code & 0x80) {
		host_plan_fault(code & 15, errors[code >> 4 & 7]);
		if (virtio_fs_init(&fs, options) == 0) {
			world_settle(); /* what was posted to the loop */
			virtio_fs_fini(&fs);
		}
		FUZZ_CHECK(host_count_fds() == fds);
		host_behave();
	}
	FUZZ_CHECK(virtio_fs_init(&fs, options) == 0);
}

static struct virtio_device *fs_open_device(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in), more = fuzz_u8(in), bounds = fuzz_u8(in);
	struct virtio_fs_options options = {.loop = &guest.loop,
					    .path = tree_path(),
					    .tag = "root",
					    .n_queues = 1 + (how >> 4 & 1),
					    .writable = how & 3,
					    .cache = (how >> 2 & 3) % 3};

	host_behave();
	agrees = how & 0x20;
	leaves = more & 0x80;
	tree_renew();
	if (options.writable)
		tree_touch();
	else
		tree_show_many(true);
	fds = host_count_fds();
	host_be(more);
	fs_init(in, &options);
	first_spare = fs.nodes.first_spare;
	host_be(more);
	if (how & 0x80)
		virtio_fs_confined(&fs, how & 0x40);
	if (bounds & 1)
		fs.nodes.most_fds = 1 + (bounds >> 5);
	if (bounds & 2)
		fs.nodes.most = 2 + (bounds >> 5);
	if (bounds & 4)
		fs.most_files = bounds >> 5;
	got.len = 0;
	return &fs.dev;
}

static bool fs_busy(void)
{
	/* A device that is to stop waits for what was begun. */
	if (fs.slow.ending)
		host_set_gate(false);
	return fs.slow.n > 0 && !host_gate_is_closed();
}

/* ---- requests ---- */

/* Of what is outside the guest learns nothing, not even that it is there. */
static void fs_look_at_answer(void)
{
	if (got.len > 0)
		tree_check_bytes(guest_at(got.gpa, got.len), got.len);
	for (uint32_t id = FUSE_ROOT_ID + 1; id < fs.nodes.n; id++) {
		if (fs.nodes.nodes[id].lookups > 0)
			tree_check_inside(fs.nodes.nodes[id].ino);
	}
}

/* Sends these bytes with room for an answer, and kicks. */
static void fs_send(unsigned int queue, const uint8_t *bytes, uint32_t len, uint32_t room,
		    uint8_t odd)
{
	struct virtq_piece pieces[2] = {{guest_put(bytes, len), len, false},
					{guest_alloc(room), room, true}};

	fs_look_at_answer(); /* of the request before, if that was slow */
	got = pieces[1];
	guest_send(queue, pieces, 2, odd);
	guest_kick(queue);
	fs_look_at_answer();
}

static void fs_send_simple(uint32_t opcode, uint64_t node, const void *args, size_t args_len,
			   const char *name)
{
	uint8_t bytes[ASK_MOST];

	fs_send(1, bytes, ask_put(bytes, opcode, node, args, args_len, name), ANSWER, 0);
}

static void fs_begin_session(void)
{
	struct fuse_init_in init = {.major = 7, .minor = 38, .flags = agrees ? UINT32_MAX : 0};

	fs_send_simple(FUSE_INIT, 0, &init, sizeof(init), NULL);
}

/* What most requests are about: the guest has listed the directory, and opened something. */
static void fs_open_some(void)
{
	struct fuse_open_in open = {.flags = fs.writable ? O_RDWR : O_RDONLY};
	struct fuse_read_in list = {.size = ANSWER};

	if (ask_file(&fs, 0, true) == 0)
		fs_send_simple(FUSE_OPENDIR, FUSE_ROOT_ID, &open, sizeof(open), NULL);
	list.fh = ask_file(&fs, 0, true);
	if (ask_node(&fs, 0, S_IFREG) == FUSE_ROOT_ID)
		fs_send_simple(FUSE_READDIRPLUS, FUSE_ROOT_ID, &list, sizeof(list), NULL);
	if (ask_file(&fs, 0, false) != 0)
		return;
	fs_send_simple(FUSE_OPEN, ask_node(&fs, 0, S_IFREG), &open, sizeof(open), NULL);
}

static void fs_request(struct fuzz_input *in)
{
	uint8_t bytes[ASK_MOST], odd = fuzz_u8(in), short_by, room;
	uint32_t len;

	if (!fs.begun && odd < 0xf0)
		fs_begin_session();
	if (!(odd & 8))
		fs_open_some();
	short_by = odd & 0x80 ? fuzz_u8(in) : 0;
	room = odd & 0x10 ? fuzz_u8(in) : 0;
	len = ask_make(&fs, in, bytes);
	len -= short_by < len ? short_by : len - 1;
	fs_send(1 + (odd >> 6 & 1) % (fs.dev.n_queues - 1), bytes, len, room ? room : ANSWER,
		odd & 7);
}

/* ---- the host ---- */

/* A whole directory is listed. */
static void fs_list_all(uint8_t code)
{
	struct fuse_open_in open = {.flags = O_RDONLY};
	struct fuse_read_in list = {.size = ANSWER};
	struct {
		struct fuse_out_header head;
		struct fuse_open_out open;
	} answer;
	uint64_t dir = ask_node(&fs, code, S_IFDIR);

	fs_send_simple(FUSE_OPENDIR, dir, &open, sizeof(open), NULL);
	memcpy(&answer, guest_at(got.gpa, sizeof(answer)), sizeof(answer));
	list.fh = answer.head.len == sizeof(answer) ? answer.open.fh : 0;
	for (unsigned int i = 0; list.fh > 0 && list.fh < fs.n_files && i < 6; i++) {
		list.offset = (uint64_t)fs.files[list.fh].position;
		fs_send_simple(FUSE_READDIRPLUS, fs.files[list.fh].node, &list, sizeof(list), NULL);
	}
}

/* More at a time than there is room for. */
static void fs_burst(uint8_t how)
{
	uint8_t bytes[ASK_MOST];
	struct fuse_fsync_in sync = {.fh = ask_file(&fs, 0, false)};
	struct fuse_copy_file_range_in copy = {.fh_in = sync.fh, .fh_out = sync.fh, .len = 1};
	uint32_t len;

	if (how & 1)
		len = ask_put(bytes, FUSE_COPY_FILE_RANGE, 1, &copy, sizeof(copy), NULL);
	else
		len = ask_put(bytes, FUSE_FSYNC, 1, &sync, sizeof(sync), NULL);
	host_set_gate(true);
	for (unsigned int i = 0; i < FS_SLOW_MOST + 2 && !guest.dev->broken; i++)
		fs_send(1, bytes, len, 64, 0);
}

static void fs_host(struct fuzz_input *in)
{
	uint8_t code = fuzz_u8(in), arg;

	switch (code % 16) {
	case 0:
	case 1:
	case 2:
		arg = fuzz_u8(in);
		host_plan_fault(code >> 4, errors[arg % 16]);
		break;
	case 3:
		host_set_slow_fault(code & 0x80 ? errors[code >> 4 & 7] : 0);
		break;
	case 4:
	case 5:
		host_set_gate(code & 0x80);
		break;
	case 6:
		host_be(fuzz_u8(in));
		break;
	case 7: /* somebody else in this process has nearly all descriptors */
		fs.nodes.first_spare = (int)fds + (code >> 4);
		break;
	case 8:
		virtio_fs_confined(&fs, code & 0x80);
		break;
	case 9:
		arg = fuzz_u8(in);
		if (arg & 2)
			fs_list_all(arg >> 2);
		else
			fs_burst(arg);
		break;
	default:
		tree_change(in);
	}
}

/* ---- the end ---- */

static void fs_check(void)
{
	struct {
		struct fuse_out_header head;
		struct fuse_entry_out entry;
	} answer;

	host_behave();
	if (!fs.writable)
		tree_show_many(false);
	tree_renew();
	fs.nodes.most = fs.nodes.most_fds = 100;
	fs.nodes.first_spare = first_spare;
	got.len = 0;
	fs_begin_session();
	FUZZ_CHECK(fs.begun);
	fs_send_simple(FUSE_LOOKUP, FUSE_ROOT_ID, NULL, 0, "big");
	memcpy(&answer, guest_at(got.gpa, sizeof(answer)), sizeof(answer));
	FUZZ_CHECK(answer.head.len == sizeof(answer) && answer.head.error == 0 &&
		   answer.entry.attr.size == TREE_BIG);
}

/* Some slow work is not done yet, or was and nobody has been told. */
static void fs_leave_work(void)
{
	uint8_t bytes[ASK_MOST];
	uint32_t len = ask_put(bytes, FUSE_SYNCFS, FUSE_ROOT_ID, NULL, 0, NULL);
	struct virtq_piece pieces[2] = {{guest_put(bytes, len), len, false},
					{guest_alloc(64), 64, true}};

	guest_send(1, pieces, 2, 0);
	virtio_device_kick(guest.dev, 1);
	world_step();
}

static void fs_close_device(void)
{
	if (leaves)
		fs_leave_work();
	virtio_fs_fini(&fs);
	FUZZ_CHECK(host_count_fds() == fds);
	tree_check();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct guest_target target = {.open = fs_open_device,
						   .close = fs_close_device,
						   .busy = fs_busy,
						   .request = fs_request,
						   .host = fs_host,
						   .check = fs_check,
						   .writable = 6};

	return guest_run(&target, data, size);
}
