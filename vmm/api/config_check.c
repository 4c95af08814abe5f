#include "vmm/api/config_check.h"

#include <errno.h>
#include <stdbool.h>

#include "vmm/core/log.h"

static bool config_has_array(const char *what, const void *array, unsigned int n, unsigned int most)
{
	if (n > most)
		log_error("%u %s are more than %u", n, what, most);
	else if (n > 0 && !array)
		log_error("there shall be %u %s, but their array is NULL", n, what);
	else
		return true;
	return false;
}

#define BEYOND(field, last) ((unsigned int)(field) > (last))

static const char *config_disk_fault(const struct vmm_disk *d)
{
	if (!d->path)
		return "path is NULL";
	if (BEYOND(d->format, VMM_DISK_QCOW2))
		return "format is none of its enum";
	return BEYOND(d->backing_format, VMM_DISK_QCOW2) ? "backing_format is none of its enum"
							 : NULL;
}

static const char *config_net_fault(const struct vmm_net *n)
{
	if (BEYOND(n->vhost, VMM_VHOST_OFF))
		return "vhost is none of its enum";
	if (n->n_forwards > VMM_MAX_FORWARDS)
		return "n_forwards is more than VMM_MAX_FORWARDS";
	return n->n_forwards > 0 && !n->forwards ? "forwards is NULL" : NULL;
}

static const char *config_share_fault(const struct vmm_share *s)
{
	if (!s->path)
		return "path is NULL";
	return BEYOND(s->cache, VMM_SHARE_CACHE_NEVER) ? "cache is none of its enum" : NULL;
}

static const char *config_initrd_fault(const struct vmm_initrd_part *p)
{
	if (!p->name)
		return "name is NULL";
	return !p->data && !p->fill ? "data and fill are both NULL" : NULL;
}

/* An element's fault, or none. */
static bool config_refuses(const char *array, unsigned int i, const char *fault)
{
	if (fault)
		log_error("%s[%u].%s", array, i, fault);
	return fault != NULL;
}

static bool config_refuses_elements(const struct vmm_config *c)
{
	bool bad = false;

	for (unsigned int i = 0; i < c->n_disks && !bad; i++)
		bad = config_refuses("disks", i, config_disk_fault(&c->disks[i]));
	for (unsigned int i = 0; i < c->n_nets && !bad; i++)
		bad = config_refuses("nets", i, config_net_fault(&c->nets[i]));
	for (unsigned int i = 0; i < c->n_shares && !bad; i++)
		bad = config_refuses("shares", i, config_share_fault(&c->shares[i]));
	for (unsigned int i = 0; i < c->n_initrd_parts && !bad; i++)
		bad = config_refuses("initrd_parts", i, config_initrd_fault(&c->initrd_parts[i]));
	return bad;
}

/* The counts come first: nothing is read of an array that cannot be as long. */
int config_check(const struct vmm_config *c)
{
	if (!config_has_array("disks", c->disks, c->n_disks, VMM_MAX_DISKS_AND_NETS) ||
	    !config_has_array("nets beside the disks", c->nets, c->n_nets,
			      VMM_MAX_DISKS_AND_NETS - c->n_disks) ||
	    !config_has_array("shares", c->shares, c->n_shares, VMM_MAX_SHARES) ||
	    !config_has_array("initrd_parts", c->initrd_parts, c->n_initrd_parts,
			      VMM_MAX_INITRD_PARTS) ||
	    (c->vsock && !config_has_array("vsock ports", c->vsock->ports, c->vsock->n_ports,
					   VMM_MAX_VSOCK_PORTS)))
		return -EINVAL;
	if (BEYOND(c->hugepages, VMM_HUGEPAGES_1G) || BEYOND(c->sandbox, VMM_SANDBOX_STRICT)) {
		log_error("%s is none of its enum",
			  BEYOND(c->hugepages, VMM_HUGEPAGES_1G) ? "hugepages" : "sandbox");
		return -EINVAL;
	}
	return config_refuses_elements(c) ? -EINVAL : 0;
}
