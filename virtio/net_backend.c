#include "virtio/net_backend.h"

#include <errno.h>

#define NET_TUN_TSO (TUN_F_TSO4 | TUN_F_TSO6)

int net_backend_set_offloads(struct net_backend *backend, unsigned int offloads)
{
	int err;

	offloads &= backend->offloads;
	if (!(offloads & TUN_F_CSUM))
		offloads = 0;
	if (!(offloads & NET_TUN_TSO))
		offloads &= ~(unsigned int)TUN_F_TSO_ECN;
	/* The kernel knows these two together only. */
	if ((offloads & TUN_F_USO4) == 0 || (offloads & TUN_F_USO6) == 0)
		offloads &= ~(unsigned int)(TUN_F_USO4 | TUN_F_USO6);
	if (offloads == backend->offloads_on)
		return 0;
	err = backend->ops->set_offloads ? backend->ops->set_offloads(backend, offloads) : -ENOTSUP;
	if (err == 0)
		backend->offloads_on = offloads;
	return err;
}
