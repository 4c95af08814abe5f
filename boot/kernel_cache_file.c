#include "boot/kernel_cache_file.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "boot/kernel_info.h"
#include "boot/scratch.h"
#include "vmm/core/unset.h"

#define MAGIC	   "vmmkrnl2"
#define DATA	   UINT64_C(16384) /* where the kernel's bytes begin in the file */
#define PAGE	   UINT64_C(4096)
#define TAIL_MAX   (UINT64_C(32) << 20)
#define CONFIG_MAX (UINT64_C(1) << 20) /* it takes some ten thousand bytes */
/* Fewer zeros than this between two runs are kept: a run costs more than they do. */
#define GAP	   (16 * PAGE)

#define STEP (UINT64_C(2) << 20) /* bytes that are read at a time */

static_assert(sizeof(struct kernel_cache_head) <= DATA, "the head fits before the data");
static_assert(sizeof(struct kernel_cache_id) == 12 * 8 + 40, "no holes");
static_assert(KERNEL_CACHE_MAX_RUNS < IOV_MAX, "one system call moves all");

/* ---- both ways ---- */

/* The parts of the file behind its head, in guest memory and in the tail. Returns how many; 0 when one is not in RAM. */
static int cache_file_parts(const struct kernel_cache_head *head, const struct guest_mem *mem,
			    const struct vmlinux_place *place, uint8_t *tail, struct iovec *iov,
			    uint64_t *total)
{
	int n = 0;

	*total = head->tail_len;
	for (uint32_t i = 0; i < head->n_runs; i++) {
		const struct kernel_cache_run *run = &head->runs[i];

		iov[n].iov_base = guest_mem_ptr(mem, place->load + run->at, run->len);
		iov[n].iov_len = run->len;
		if (!iov[n++].iov_base)
			return 0;
		*total += run->len;
	}
	if (head->tail_len > 0)
		iov[n++] = (struct iovec){.iov_base = tail, .iov_len = head->tail_len};
	return n;
}

/* ---- writing ---- */

/* The first bytes alone tell most pages that are not zero. */
static bool cache_file_is_zero(const uint8_t *page)
{
	return page[0] == 0 && memcmp(page, page + 1, PAGE - 1) == 0;
}

/* Where the file has what is at this distance; 0: not in one piece. */
static uint64_t cache_file_offset(const struct kernel_cache_head *head, uint64_t at, uint64_t len)
{
	uint64_t offset = DATA;

	for (uint32_t i = 0; i < head->n_runs; i++) {
		const struct kernel_cache_run *run = &head->runs[i];

		if (at >= run->at && at - run->at <= run->len && len <= run->len - (at - run->at))
			return offset + (at - run->at);
		offset += run->len;
	}
	return 0;
}

static void cache_file_find_config(struct kernel_cache_head *head, const uint8_t *bytes,
				   uint64_t size)
{
	size_t at, len;

	if (!kernel_info_find_config(bytes, size, &at, &len) || len == 0 || len > CONFIG_MAX)
		return;
	head->config_at = cache_file_offset(head, at, len);
	head->config_len = head->config_at ? len : 0;
}

/* Adds the page at this distance; where runs are short, zeros become a part of the last one. */
static void cache_file_add_page(struct kernel_cache_head *head, uint64_t at)
{
	struct kernel_cache_run *last = head->n_runs > 0 ? &head->runs[head->n_runs - 1] : NULL;

	if (last && (at - (last->at + last->len) < GAP || head->n_runs == KERNEL_CACHE_MAX_RUNS)) {
		last->len = at + PAGE - last->at;
		return;
	}
	head->runs[head->n_runs++] = (struct kernel_cache_run){.at = at, .len = PAGE};
}

static int cache_file_find_runs(const struct guest_mem *mem, const struct vmlinux_place *place,
				const struct vmlinux *v, struct kernel_cache_head *head)
{
	const struct vmlinux_segment *last = &v->segments[v->n_segments - 1];
	uint64_t end = last->gpa + last->size - place->load;
	const uint8_t *bytes;

	/* whole pages, which are RAM as RAM is made of whole pages */
	end = (end + PAGE - 1) & ~(PAGE - 1);
	bytes = guest_mem_ptr(mem, place->load, end);
	if (!bytes || place->load % PAGE != 0)
		return -EINVAL;
	for (uint64_t at = 0; at < end; at += PAGE) {
		if (!cache_file_is_zero(bytes + at))
			cache_file_add_page(head, at);
	}
	cache_file_find_config(head, bytes, end);
	return 0;
}

static void cache_file_fill_head(const struct kernel_cache_id *id,
				 const struct vmlinux_place *place, const struct vmlinux *v,
				 struct kernel_cache_head *head)
{
	memcpy(head->magic, MAGIC, sizeof(head->magic));
	head->id = *id;
	head->entry = v->entry - place->load;
	head->tail_len = v->tail_len;
	head->n_segments = v->n_segments;
	for (unsigned int i = 0; i < v->n_segments; i++) {
		head->segments[i] = v->segments[i];
		head->segments[i].gpa -= place->load;
	}
}

int kernel_cache_write(int fd, const struct kernel_cache_id *id, const struct guest_mem *mem,
		       const struct vmlinux_place *place, const struct vmlinux *vmlinux)
{
	struct iovec iov[KERNEL_CACHE_MAX_RUNS + 1];
	struct kernel_cache_head *head = calloc(1, sizeof(*head));
	uint64_t total;
	int err, n;

	if (!head)
		return -ENOMEM;
	cache_file_fill_head(id, place, vmlinux, head);
	err = cache_file_find_runs(mem, place, vmlinux, head);
	if (err == 0) {
		n = cache_file_parts(head, mem, place, vmlinux->tail, iov, &total);
		if (n == 0 || pwritev(fd, iov, n, DATA) != (ssize_t)total ||
		    pwrite(fd, head, sizeof(*head), 0) != (ssize_t)sizeof(*head))
			err = -ENOSPC;
	}
	free(head);
	return err;
}

/* ---- reading ---- */

static bool cache_file_inside(uint64_t at, uint64_t len, uint64_t room)
{
	return at <= room && len <= room - at;
}

static bool cache_file_head_valid(const struct kernel_cache_head *head, uint64_t room)
{
	if (head->n_segments == 0 || head->n_segments > VMLINUX_MAX_SEGMENTS ||
	    head->n_runs > KERNEL_CACHE_MAX_RUNS || head->tail_len > TAIL_MAX ||
	    head->entry >= room)
		return false;
	for (uint32_t i = 0; i < head->n_segments; i++) {
		if (!cache_file_inside(head->segments[i].gpa, head->segments[i].room, room) ||
		    head->segments[i].size > head->segments[i].room)
			return false;
	}
	for (uint32_t i = 0; i < head->n_runs; i++) {
		if (!cache_file_inside(head->runs[i].at, head->runs[i].len, room))
			return false;
	}
	return true;
}

static int cache_file_read_head(int fd, const struct kernel_cache_id *id, uint64_t room,
				struct kernel_cache_head *head)
{
	if (pread(fd, head, sizeof(*head), 0) != (ssize_t)sizeof(*head) ||
	    memcmp(head->magic, MAGIC, sizeof(head->magic)) != 0)
		return -EBADMSG;
	if (memcmp(&head->id, id, sizeof(*id)) != 0)
		return -ESTALE;
	return cache_file_head_valid(head, room) ? 0 : -EBADMSG;
}

/* What comes behind the head, and where it goes. */
struct cache_copy {
	int fd;
	int n;
	uint64_t total;
	struct iovec iov[KERNEL_CACHE_MAX_RUNS + 1];
};

/* The kernel clears each page before it fills it, so that this takes long enough to be shared. */
static int cache_file_copy_step(void *arg, unsigned int step)
{
	const struct cache_copy *copy = arg;
	uint64_t at = step * STEP, len = copy->total - at < STEP ? copy->total - at : STEP;
	UNSET struct iovec part[KERNEL_CACHE_MAX_RUNS + 1];
	uint64_t skip = at, left = len;
	ssize_t done;
	int n = 0;

	for (int i = 0; i < copy->n && left > 0; i++) {
		const struct iovec *iov = &copy->iov[i];
		uint64_t here = iov->iov_len - skip;

		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		here = here < left ? here : left;
		part[n++] = (struct iovec){.iov_base = (uint8_t *)iov->iov_base + skip,
					   .iov_len = here};
		left -= here;
		skip = 0;
	}
	do {
		done = preadv(copy->fd, part, n, (off_t)(DATA + at));
	} while (done < 0 && errno == EINTR);
	return done == (ssize_t)len ? 0 : -EBADMSG;
}

static int cache_file_read_parts(int fd, const struct kernel_cache_head *head,
				 const struct guest_mem *mem, const struct vmlinux_place *place,
				 struct steps *steps, struct vmlinux *v)
{
	struct cache_copy copy = {.fd = fd};
	int err;

	v->tail = head->tail_len > 0 ? scratch_get(head->tail_len) : NULL;
	v->tail_len = head->tail_len;
	if (head->tail_len > 0 && !v->tail)
		return -ENOMEM;
	copy.n = cache_file_parts(head, mem, place, v->tail, copy.iov, &copy.total);
	if (copy.n == 0)
		return -EBADMSG;
	err = steps_run(steps, cache_file_copy_step, &copy,
			(unsigned int)((copy.total + STEP - 1) / STEP));
	for (uint32_t i = 0; i < head->n_runs && err < 0; i++)
		vmlinux_clear(mem, place->load + head->runs[i].at,
			      place->load + head->runs[i].at + head->runs[i].len);
	return err;
}

static void cache_file_take_head(const struct kernel_cache_head *head,
				 const struct vmlinux_place *place, struct vmlinux *v)
{
	v->entry = place->load + head->entry;
	v->n_segments = head->n_segments;
	for (uint32_t i = 0; i < head->n_segments; i++) {
		v->segments[i] = head->segments[i];
		v->segments[i].gpa += place->load;
	}
}

int kernel_cache_read(int fd, const struct kernel_cache_id *id, const struct guest_mem *mem,
		      const struct vmlinux_place *place, struct steps *steps,
		      struct vmlinux *vmlinux)
{
	struct kernel_cache_head *head = malloc(sizeof(*head));
	int err;

	*vmlinux = (struct vmlinux){.n_segments = 0};
	if (!head)
		return -ENOMEM;
	err = cache_file_read_head(fd, id, place->size, head);
	if (err == 0)
		err = cache_file_read_parts(fd, head, mem, place, steps, vmlinux);
	if (err == 0)
		cache_file_take_head(head, place, vmlinux);
	else
		vmlinux_fini(vmlinux);
	free(head);
	return err;
}

/* ---- the configuration ---- */

static bool cache_file_is_of(const struct kernel_cache_id *id, const struct stat *st)
{
	return id->dev == st->st_dev && id->ino == st->st_ino &&
	       id->size == (uint64_t)st->st_size && id->mtime == st->st_mtim.tv_sec &&
	       id->mtime_ns == st->st_mtim.tv_nsec && id->ctime == st->st_ctim.tv_sec &&
	       id->ctime_ns == st->st_ctim.tv_nsec;
}

int kernel_cache_read_config(int fd, int kernel_fd, char **text)
{
	struct kernel_cache_head head;
	uint8_t *packed;
	struct stat st;
	int err;

	if (fstat(kernel_fd, &st) < 0)
		return -errno;
	if (pread(fd, &head, offsetof(struct kernel_cache_head, segments), 0) !=
		    (ssize_t)offsetof(struct kernel_cache_head, segments) ||
	    memcmp(head.magic, MAGIC, sizeof(head.magic)) != 0)
		return -EBADMSG;
	if (!cache_file_is_of(&head.id, &st))
		return -ESTALE;
	if (head.config_at == 0)
		return -ENODATA;
	if (head.config_len > CONFIG_MAX || head.config_at > INT64_MAX)
		return -EBADMSG;
	packed = malloc(head.config_len + 1);
	if (!packed)
		return -ENOMEM;
	err = pread(fd, packed, head.config_len, (off_t)head.config_at) == (ssize_t)head.config_len
		      ? kernel_info_unpack_config(packed, head.config_len, text)
		      : -EBADMSG;
	free(packed);
	return err;
}
