#include "virtio/net_window.h"

#include <errno.h>
#include <string.h>
#include <linux/virtio_net.h>

#include "vmm/core/assert.h"

void net_window_reset(struct net_window *window, unsigned int max_chains)
{
	assert(max_chains > 0 && max_chains <= NET_WINDOW_CHAINS);
	window->max_chains = max_chains;
	window->state = (struct net_window_state){0};
	window->full = false;
	window->bytes = 0;
	window->first_chain = 0;
	window->first_iov = 0;
	window->n_iov = 0;
}

static struct net_window_chain *net_window_chain(struct net_window *window, unsigned int i)
{
	return &window->chain[(window->first_chain + i) % NET_WINDOW_CHAINS];
}

/* Seldom needed: the pieces move to the front of the array only when they have come to its end. */
static void net_window_make_room(struct net_window *window, unsigned int n)
{
	if (window->first_iov + window->n_iov + n <= NET_WINDOW_IOV)
		return;
	memmove(window->iov, net_window_iov(window), window->n_iov * sizeof(window->iov[0]));
	window->first_iov = 0;
}

/* Takes one chain. Returns 1, 0 when there is none or no room, or an error of net_window_fill(). */
static int net_window_take(struct net_window *window, struct virtq *vq)
{
	struct virtq_chain chain;
	unsigned int end;
	int r;

	net_window_make_room(window, vq->size);
	end = window->first_iov + window->n_iov;
	r = virtq_pop(vq, &chain, &window->iov[end], NET_WINDOW_IOV - end);
	if (r == -ENOBUFS) {
		window->full = true;
		return 0;
	}
	if (r <= 0)
		return r;
	/* 5.1.6.3.1: each buffer has room for the header at least */
	if (chain.n_readable > 0 || chain.writable_bytes < sizeof(struct virtio_net_hdr_v1))
		return -EBADMSG;
	*net_window_chain(window, window->state.n_chains) =
		(struct net_window_chain){.head = chain.head,
					  .n_iov = (uint16_t)chain.n_writable,
					  .bytes = (uint32_t)chain.writable_bytes};
	window->state.n_chains++;
	/* The driver has no more than its ring holds. */
	window->full = window->state.n_chains == window->max_chains ||
		       window->state.n_chains == vq->size;
	window->n_iov += chain.n_writable;
	window->bytes += chain.writable_bytes;
	return 1;
}

int net_window_fill(struct net_window *window, struct virtq *vq, size_t bytes)
{
	int r = 1;

	while (window->bytes < bytes && !window->full && r > 0)
		r = net_window_take(window, vq);
	return r < 0 ? r : 0;
}

struct iovec *net_window_iov(struct net_window *window)
{
	return &window->iov[window->first_iov];
}

unsigned int net_window_n_first(const struct net_window *window)
{
	assert(window->state.n_chains > 0);
	return window->chain[window->first_chain % NET_WINDOW_CHAINS].n_iov;
}

unsigned int net_window_span(const struct net_window *window, size_t bytes)
{
	unsigned int n = 0;

	assert(bytes <= window->bytes);
	while (bytes > 0) {
		size_t have = window->chain[(window->first_chain + n++) % NET_WINDOW_CHAINS].bytes;

		bytes -= have < bytes ? have : bytes;
	}
	return n;
}

void net_window_use(struct net_window *window, struct virtq *vq, size_t bytes)
{
	assert(bytes <= window->bytes);
	while (bytes > 0) {
		const struct net_window_chain *chain = net_window_chain(window, 0);
		uint32_t used = chain->bytes < bytes ? chain->bytes : (uint32_t)bytes;

		virtq_push(vq, chain->head, used);
		bytes -= used;
		window->bytes -= chain->bytes;
		window->first_iov += chain->n_iov;
		window->n_iov -= chain->n_iov;
		window->first_chain++;
		window->state.n_chains--;
	}
	window->full = false;
}
