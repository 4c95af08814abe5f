#include "virtio/vhost_net.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "vmm/core/assert.h"

#define VHOST_NET_DEVICE "/dev/vhost-net"

#define VHOST_BIT(feature) (UINT64_C(1) << (feature))

/* All that the rings of a card may look like. The rest of its features is between the driver, the card and the TAP. */
#define VHOST_NET_FEATURES                                                                         \
	(VHOST_BIT(VIRTIO_F_VERSION_1) | VHOST_BIT(VIRTIO_RING_F_EVENT_IDX) |                      \
	 VHOST_BIT(VIRTIO_RING_F_INDIRECT_DESC) | VHOST_BIT(VIRTIO_NET_F_MRG_RXBUF))

/* What a driver must have negotiated: see the header. */
#define VHOST_NET_NEEDED (VHOST_BIT(VIRTIO_NET_F_MRG_RXBUF) | VHOST_BIT(VIRTIO_NET_F_GUEST_CSUM))

/* ---- the kernel ---- */

static int vhost_net_open_device(void *arg)
{
	int fd = open(VHOST_NET_DEVICE, O_RDWR | O_CLOEXEC);

	(void)arg;
	return fd < 0 ? -errno : fd;
}

static int vhost_net_control_device(void *arg, int fd, unsigned long request, void *data)
{
	(void)arg;
	return ioctl(fd, request, data) < 0 ? -errno : 0;
}

static const struct vhost_net_host vhost_net_kernel = {.open = vhost_net_open_device,
						       .control = vhost_net_control_device};

static int vhost_net_control(const struct vhost_net *v, unsigned int queue, unsigned long request,
			     void *data)
{
	return v->host.control(v->host.arg, v->fd[queue / 2], request, data);
}

/* The kernel counts the rings of each descriptor: 0 receives, 1 sends. */
static int vhost_net_set_fd(const struct vhost_net *v, unsigned int queue, unsigned long request,
			    int fd)
{
	struct vhost_vring_file file = {.index = queue % 2, .fd = fd};

	return vhost_net_control(v, queue, request, &file);
}

static void vhost_net_drain(int fd)
{
	uint64_t count;
	ssize_t n = read(fd, &count, sizeof(count));

	(void)n; /* EAGAIN: nothing was signalled */
}

/* ---- interrupts and errors ---- */

static void vhost_net_on_call(void *arg, uint32_t events)
{
	struct vhost_net_queue *q = arg;
	const struct virtio_transport *transport = &q->vhost->dev->transport;

	(void)events;
	vhost_net_drain(q->call_fd);
	transport->interrupt(transport->arg, q->queue);
}

/*
 * Under the lock. A vector may be masked or exchanged between the question and the answer's use; then the transport calls
 * vhost_net_interrupt_moved() after that, which waits for the lock and asks again.
 */
static int vhost_net_point(struct vhost_net *v, struct vhost_net_queue *q)
{
	int fd = virtio_device_interrupt_fd(v->dev, q->queue);
	int err;

	if (fd < 0)
		fd = q->call_fd;
	if (fd == q->signals)
		return 0;
	err = vhost_net_set_fd(v, q->queue, VHOST_SET_VRING_CALL, fd);
	if (err == 0)
		q->signals = fd;
	return err;
}

void vhost_net_interrupt_moved(struct vhost_net *v, unsigned int queue)
{
	struct vhost_net_queue *q;

	if (queue >= 2 * v->n_pairs)
		return;
	q = &v->queue[queue];
	pthread_mutex_lock(&v->lock);
	if (q->running && vhost_net_point(v, q) < 0)
		log_guest(&v->dev->log, "%s: vhost-net refused an interrupt, which is lost",
			  v->dev->name);
	pthread_mutex_unlock(&v->lock);
}

void vhost_net_halt(struct vhost_net *v)
{
	pthread_mutex_lock(&v->lock);
	v->halted = true;
	for (unsigned int i = 0; i < 2 * v->n_pairs; i++) {
		if (v->queue[i].running)
			vhost_net_set_fd(v, i, VHOST_NET_SET_BACKEND, VHOST_FILE_UNBIND);
	}
	pthread_mutex_unlock(&v->lock);
}

static void vhost_net_on_error(void *arg, uint32_t events)
{
	struct vhost_net *v = arg;

	(void)events;
	vhost_net_drain(v->error_fd);
	virtio_device_broken(v->dev, "vhost-net found a ring malformed");
}

/* ---- start ---- */

/* Each descriptor has the features of both its rings; they can be set while it serves none. */
static int vhost_net_set_features(struct vhost_net *v, unsigned int pairs)
{
	uint64_t features = v->dev->negotiated & VHOST_NET_FEATURES;
	int err = 0;

	for (unsigned int i = 0; i < pairs && err == 0; i++)
		err = vhost_net_control(v, 2 * i, VHOST_SET_FEATURES, &features);
	return err;
}

void vhost_net_start(struct vhost_net *v, unsigned int pairs)
{
	int err;

	assert(pairs <= v->n_pairs);
	v->pairs = 0;
	pthread_mutex_lock(&v->lock);
	v->halted = false;
	pthread_mutex_unlock(&v->lock);
	if (!v->owned || (~v->dev->negotiated & VHOST_NET_NEEDED))
		return;
	vhost_net_drain(v->error_fd);
	err = evloop_add(v->dev->loop, &v->error, EPOLLIN);
	if (err == 0)
		err = vhost_net_set_features(v, pairs);
	if (err == 0)
		v->pairs = pairs;
	else
		log_guest(&v->dev->log, "%s: does without vhost-net: %s", v->dev->name,
			  strerror(-err));
}

static int vhost_net_set_ring(struct vhost_net *v, unsigned int queue)
{
	const struct virtq *vq = &v->dev->queue[queue];
	unsigned int index = queue % 2;
	struct vhost_vring_state num = {.index = index, .num = vq->size};
	struct vhost_vring_state base = {.index = index, .num = vq->state.next_avail};
	struct vhost_vring_addr addr = {.index = index,
					.desc_user_addr = (uintptr_t)vq->desc,
					.avail_user_addr = (uintptr_t)vq->avail,
					.used_user_addr = (uintptr_t)vq->used};
	int err = vhost_net_control(v, queue, VHOST_SET_VRING_NUM, &num);

	if (err == 0)
		err = vhost_net_control(v, queue, VHOST_SET_VRING_BASE, &base);
	if (err == 0)
		err = vhost_net_control(v, queue, VHOST_SET_VRING_ADDR, &addr);
	return err;
}

/* Under the lock. The backend comes last: from then on the kernel works. */
static int vhost_net_run(struct vhost_net *v, struct vhost_net_queue *q)
{
	int err = vhost_net_set_ring(v, q->queue);

	q->signals = -1;
	if (err == 0)
		err = vhost_net_point(v, q);
	if (err == 0)
		err = vhost_net_set_fd(v, q->queue, VHOST_SET_VRING_ERR, v->error_fd);
	if (err == 0)
		err = vhost_net_set_fd(v, q->queue, VHOST_SET_VRING_KICK,
				       v->dev->kick_fd[q->queue]);
	if (err == 0)
		err = vhost_net_set_fd(v, q->queue, VHOST_NET_SET_BACKEND,
				       v->backend->fd[q->queue / 2]);
	if (err < 0)
		vhost_net_set_fd(v, q->queue, VHOST_SET_VRING_KICK, VHOST_FILE_UNBIND);
	q->running = err == 0;
	return err;
}

bool vhost_net_take(struct vhost_net *v, unsigned int queue)
{
	struct evloop *loop = v->dev->queue_loop[queue];
	struct vhost_net_queue *q;
	int err;

	if (queue >= 2 * v->pairs)
		return false;
	q = &v->queue[queue];
	err = evloop_add(loop, &q->call, EPOLLIN);
	if (err == 0) {
		pthread_mutex_lock(&v->lock);
		/* A broken device's queue is taken, and lies still. */
		if (!v->halted)
			err = vhost_net_run(v, q);
		pthread_mutex_unlock(&v->lock);
	}
	if (err == 0)
		return true;
	evloop_del(loop, &q->call);
	log_guest(&v->dev->log, "%s: queue %u does without vhost-net: %s", v->dev->name, queue,
		  strerror(-err));
	return false;
}

/* ---- stop ---- */

/* Under the lock. Taking the backend away returns when the kernel has completed and published what it had begun. */
static void vhost_net_pause(struct vhost_net *v, struct vhost_net_queue *q)
{
	struct vhost_vring_state base = {.index = q->queue % 2};

	vhost_net_set_fd(v, q->queue, VHOST_NET_SET_BACKEND, VHOST_FILE_UNBIND);
	vhost_net_set_fd(v, q->queue, VHOST_SET_VRING_KICK, VHOST_FILE_UNBIND);
	if (vhost_net_control(v, q->queue, VHOST_GET_VRING_BASE, &base) == 0)
		virtq_resume(&v->dev->queue[q->queue], (uint16_t)base.num);
	q->running = false;
}

void vhost_net_release(struct vhost_net *v, unsigned int queue)
{
	struct vhost_net_queue *q;

	if (queue >= 2 * v->n_pairs)
		return;
	q = &v->queue[queue];
	pthread_mutex_lock(&v->lock);
	if (q->running)
		vhost_net_pause(v, q);
	pthread_mutex_unlock(&v->lock);
	evloop_del(v->dev->queue_loop[queue], &q->call);
	vhost_net_drain(q->call_fd);
}

void vhost_net_stop(struct vhost_net *v)
{
	v->pairs = 0;
	evloop_del(v->dev->loop, &v->error);
}

/* ---- life ---- */

/* why is NULL: what err says */
static int vhost_net_refuse(const struct vhost_net *v, int err, const char *what, const char *why,
			    const char *hint)
{
	void (*say)(const char *fmt, ...) = v->must ? log_error : log_info;

	say("cannot use vhost for TAP '%s': %s: %s%s", v->backend->name, what,
	    why ? why : strerror(-err), hint);
	return err;
}

static int vhost_net_refuse_open(const struct vhost_net *v, int err)
{
	const char *hint = "";

	if (err == -ENOENT || err == -ENODEV || err == -ENXIO)
		hint = "; load the driver with: modprobe vhost_net";
	else if (err == -EACCES)
		hint = "; your user has no right to it, see: ls -l " VHOST_NET_DEVICE;
	return vhost_net_refuse(v, err, "cannot open " VHOST_NET_DEVICE, NULL, hint);
}

/* A descriptor for the next pair, which can do all that the card may ask for. */
static int vhost_net_open_pair(struct vhost_net *v)
{
	uint64_t features = 0;
	int fd = v->host.open(v->host.arg);
	int err;

	if (fd < 0)
		return vhost_net_refuse_open(v, fd);
	v->fd[v->n_pairs] = fd;
	err = v->host.control(v->host.arg, fd, VHOST_GET_FEATURES, &features);
	if (err < 0)
		return vhost_net_refuse(v, err, VHOST_NET_DEVICE, NULL, "");
	if (~features & VHOST_NET_FEATURES)
		return vhost_net_refuse(v, -ENOTSUP, VHOST_NET_DEVICE, "it is older than virtio 1",
					"");
	return 0;
}

static int vhost_net_make_fds(struct vhost_net *v)
{
	int err = 0;

	v->error_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->error_fd < 0)
		err = -errno;
	for (unsigned int i = 0; i < 2 * v->n_pairs && err == 0; i++) {
		v->queue[i].call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (v->queue[i].call_fd < 0)
			err = -errno;
	}
	return err < 0 ? vhost_net_refuse(v, err, "its eventfds", NULL, "") : 0;
}

int vhost_net_open(struct vhost_net *v, const struct vhost_net_options *options)
{
	int err = 0;

	assert(options->backend->n_queues <= NET_MAX_PAIRS);
	memset(v, 0, sizeof(*v));
	v->host = options->host ? *options->host : vhost_net_kernel;
	v->backend = options->backend;
	v->mem = options->mem;
	v->must = options->must;
	v->error_fd = -1;
	for (unsigned int i = 0; i < NET_MAX_PAIRS; i++)
		v->fd[i] = v->queue[2 * i].call_fd = v->queue[2 * i + 1].call_fd = -1;
	pthread_mutex_init(&v->lock, NULL);
	for (; v->n_pairs < options->backend->n_queues && err == 0; v->n_pairs++)
		err = vhost_net_open_pair(v);
	if (err == 0)
		err = vhost_net_make_fds(v);
	if (err < 0)
		vhost_net_close(v);
	return err;
}

/* From here on the kernel has a thread for the descriptor. */
static int vhost_net_own_pair(struct vhost_net *v, unsigned int pair)
{
	struct {
		struct vhost_memory head;
		struct vhost_memory_region regions[GUEST_MEM_MAX_REGIONS];
	} table = {.head = {.nregions = v->mem->n_regions}};
	int err;

	_Static_assert(offsetof(__typeof__(table), regions) ==
			       offsetof(struct vhost_memory, regions),
		       "the regions follow their head");
	for (unsigned int i = 0; i < v->mem->n_regions; i++) {
		const struct guest_mem_region *r = &v->mem->regions[i];

		table.regions[i] =
			(struct vhost_memory_region){.guest_phys_addr = r->base,
						     .memory_size = r->size,
						     .userspace_addr = (uintptr_t)r->host};
	}
	err = vhost_net_control(v, 2 * pair, VHOST_SET_OWNER, NULL);
	if (err < 0)
		return vhost_net_refuse(v, err, VHOST_NET_DEVICE, NULL, "");
	err = vhost_net_control(v, 2 * pair, VHOST_SET_MEM_TABLE, &table);
	return err < 0 ? vhost_net_refuse(v, err, "the guest's memory", NULL, "") : 0;
}

int vhost_net_own(struct vhost_net *v)
{
	int err = 0;

	for (unsigned int i = 0; i < v->n_pairs && err == 0; i++)
		err = vhost_net_own_pair(v, i);
	v->owned = err == 0;
	return v->must ? err : 0;
}

void vhost_net_attach(struct vhost_net *v, struct virtio_device *dev)
{
	v->dev = dev;
	v->error = (struct evloop_fd){.fd = v->error_fd, .fn = vhost_net_on_error, .arg = v};
	for (unsigned int i = 0; i < 2 * v->n_pairs; i++) {
		struct vhost_net_queue *q = &v->queue[i];

		q->vhost = v;
		q->queue = i;
		q->call = (struct evloop_fd){.fd = q->call_fd, .fn = vhost_net_on_call, .arg = q};
	}
}

static void vhost_net_detach_queue(void *arg)
{
	struct vhost_net_queue *q = arg;

	vhost_net_release(q->vhost, q->queue);
}

static void vhost_net_detach_device(void *arg)
{
	vhost_net_stop(arg);
}

void vhost_net_detach(struct vhost_net *v)
{
	for (unsigned int i = 0; i < 2 * v->n_pairs; i++)
		evloop_call(v->dev->queue_loop[i], vhost_net_detach_queue, &v->queue[i]);
	evloop_call(v->dev->loop, vhost_net_detach_device, v);
}

static void vhost_net_close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* The last close of a descriptor ends the kernel's thread behind it. */
void vhost_net_close(struct vhost_net *v)
{
	for (unsigned int i = 0; i < NET_MAX_PAIRS; i++) {
		vhost_net_close_fd(v->fd[i]);
		vhost_net_close_fd(v->queue[2 * i].call_fd);
		vhost_net_close_fd(v->queue[2 * i + 1].call_fd);
	}
	vhost_net_close_fd(v->error_fd);
	pthread_mutex_destroy(&v->lock);
}
