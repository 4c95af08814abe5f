/* --vsock */
#include "vmm/cli/option.h"

#include "vmm/cli/report.h"
#include "vmm/cli/value.h"

static int option_vsock_cid(struct vmm_vsock *vsock, const char *cid)
{
	uint64_t n;

	if (vsock->cid || value_number(cid, VMM_MIN_CID, VMM_MAX_CID, &n) < 0)
		return report_refuse("--vsock cid= takes a number from %u to %u, once; not '%s'",
				     VMM_MIN_CID, VMM_MAX_CID, cid);
	vsock->cid = (uint32_t)n;
	return 0;
}

static int option_vsock_item(struct vmm_vsock *vsock, char *item)
{
	char *cid = value_of(item, "cid"), *path = value_of(item, "socket");

	if (cid)
		return option_vsock_cid(vsock, cid);
	if (!path)
		return report_refuse("--vsock has no option '%s'; there are cid=N and socket=PATH",
				     item);
	if (vsock->path || *path == '\0')
		return report_refuse(
			"--vsock socket= takes the path of a unix socket to make, once; not '%s'",
			path);
	vsock->path = path;
	return 0;
}

int option_vsock(struct options *o, char *value)
{
	while (value) {
		int err = option_vsock_item(&o->vsock, value_next_item(&value));

		if (err < 0)
			return err;
	}
	if (!o->vsock.cid || !o->vsock.path)
		return report_refuse("--vsock needs cid=N and socket=PATH");
	o->config.vsock = &o->vsock;
	return 0;
}
