/*
 * The first program of the guest, which this program carries inside, as a part of the initramfs. One thread.
 */
#pragma once

#include "vmm/api/vmm.h"

/* Unpacks it into an archive. Returns 0 with part->data to be freed, or negative errno after a message. */
int guest_init_part(struct vmm_initrd_part *part);
