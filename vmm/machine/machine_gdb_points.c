/* Breakpoints, watchpoints, and guest memory as a debugger wants to see it: without the former. */
#include "vmm/machine/machine_gdb.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/machine/guest_walk_x86.h"
#include "vmm/machine/machine.h"

/* Where an address of that vCPU lies; *len is cut at the page's end. */
static int machine_gdb_find(struct machine_gdb *gdb, unsigned int cpu, uint64_t address, gpa_t *gpa,
			    size_t *len)
{
	struct kvm_sregs sregs;
	uint64_t left;
	int err;

	if (ioctl(gdb->machine->vcpus[cpu].fd, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	err = guest_walk(&gdb->machine->mem, &sregs, address, gpa, &left);
	if (err == 0 && left < *len)
		*len = (size_t)left;
	return err;
}

/* ---- memory ---- */

int machine_gdb_read_memory(void *arg, unsigned int cpu, uint64_t address, void *bytes, size_t len)
{
	struct machine_gdb *gdb = arg;
	gpa_t gpa;
	int err = machine_gdb_find(gdb, cpu, address, &gpa, &len);

	if (err == 0)
		err = guest_mem_read(&gdb->machine->mem, gpa, bytes, len);
	if (err < 0)
		return err;
	for (unsigned int i = 0; i < MACHINE_GDB_SOFT; i++) {
		const struct machine_gdb_soft *s = &gdb->soft[i];

		if (s->used && s->gpa - gpa < len)
			((uint8_t *)bytes)[s->gpa - gpa] = s->saved;
	}
	return (int)len;
}

/* What is written where a breakpoint is takes the place of what was saved. */
int machine_gdb_write_memory(void *arg, unsigned int cpu, uint64_t address, const void *bytes,
			     size_t len)
{
	struct machine_gdb *gdb = arg;
	gpa_t gpa;
	int err = machine_gdb_find(gdb, cpu, address, &gpa, &len);

	if (err == 0)
		err = guest_mem_write(&gdb->machine->mem, gpa, bytes, len);
	if (err < 0)
		return err;
	for (unsigned int i = 0; i < MACHINE_GDB_SOFT; i++) {
		struct machine_gdb_soft *s = &gdb->soft[i];

		if (!s->used || s->gpa - gpa >= len)
			continue;
		s->saved = ((const uint8_t *)bytes)[s->gpa - gpa];
		guest_mem_write(&gdb->machine->mem, s->gpa, &gdb->instruction, 1);
	}
	return (int)len;
}

/* ---- an instruction in memory ---- */

struct machine_gdb_soft *machine_gdb_find_soft(struct machine_gdb *gdb, uint64_t address)
{
	for (unsigned int i = 0; i < MACHINE_GDB_SOFT; i++) {
		if (gdb->soft[i].used && gdb->soft[i].address == address)
			return &gdb->soft[i];
	}
	return NULL;
}

static int machine_gdb_insert_soft(struct machine_gdb *gdb, unsigned int cpu, uint64_t address)
{
	struct machine_gdb_soft s = {.used = true, .address = address};
	size_t len = 1;
	int err = machine_gdb_find(gdb, cpu, address, &s.gpa, &len);

	/* Another address of the same byte may have one, so that is not what to save. */
	if (err == 0)
		err = machine_gdb_read_memory(gdb, cpu, address, &s.saved, 1);
	if (err < 0)
		return err;
	for (unsigned int i = 0; i < MACHINE_GDB_SOFT; i++) {
		if (gdb->soft[i].used)
			continue;
		guest_mem_write(&gdb->machine->mem, s.gpa, &gdb->instruction, 1);
		gdb->soft[i] = s;
		gdb->debug.software = true;
		return 0;
	}
	return -ENOSPC;
}

/* What the guest has written there since stays. */
static void machine_gdb_remove_soft(struct machine_gdb *gdb, struct machine_gdb_soft *s)
{
	uint8_t now = 0;

	s->used = false;
	gdb->debug.software = false;
	for (unsigned int i = 0; i < MACHINE_GDB_SOFT; i++) {
		if (!gdb->soft[i].used)
			continue;
		gdb->debug.software = true;
		if (gdb->soft[i].gpa == s->gpa)
			return;
	}
	if (guest_mem_read(&gdb->machine->mem, s->gpa, &now, 1) == 0 && now == gdb->instruction)
		guest_mem_write(&gdb->machine->mem, s->gpa, &s->saved, 1);
}

/* ---- a debug register ---- */

static int machine_gdb_find_slot(const struct machine_gdb *gdb, enum gdb_point kind,
				 uint64_t address)
{
	for (int i = 0; i < VCPU_DEBUG_SLOTS; i++) {
		if (gdb->debug.slots[i].used && gdb->kinds[i] == kind &&
		    gdb->debug.slots[i].address == address)
			return i;
	}
	return -1;
}

static int machine_gdb_insert_slot(struct machine_gdb *gdb, unsigned int cpu, enum gdb_point kind,
				   uint64_t address, uint64_t len)
{
	struct vcpu_debug_slot slot = {.used = true, .address = address, .len = 1};
	int err;

	if (kind == GDB_POINT_WRITE || kind == GDB_POINT_ACCESS) {
		if (len == 0 || len > 8 || (len & (len - 1)) != 0 || address % len != 0)
			return -EINVAL;
		slot.len = (unsigned int)len;
		slot.kind = kind == GDB_POINT_WRITE ? VCPU_DEBUG_WRITE : VCPU_DEBUG_ACCESS;
	}
	for (unsigned int i = 0; i < VCPU_DEBUG_SLOTS; i++) {
		if (gdb->debug.slots[i].used)
			continue;
		gdb->kinds[i] = kind;
		gdb->debug.slots[i] = slot;
		/* All others will do as this one does, when they run. */
		err = vcpu_debug_set(&gdb->machine->vcpus[cpu], &gdb->debug);
		gdb->debug.slots[i].used = err == 0;
		return err;
	}
	return -ENOSPC;
}

/* ---- struct gdb_target ---- */

/*
 * Where the vCPU's tables map nothing there is no byte to change. Such addresses are the kernel's before it has built its tables, which is
 * where its developers break first: a debug register does not mind.
 */
int machine_gdb_insert(void *arg, unsigned int cpu, enum gdb_point kind, uint64_t address,
		       uint64_t len)
{
	struct machine_gdb *gdb = arg;
	int err = -EFAULT;

	/* x86 has none that watches for reading alone; gdb takes GDB_POINT_ACCESS then. */
	if (kind == GDB_POINT_READ)
		return -ENOTSUP;
	if (machine_gdb_find_slot(gdb, kind, address) >= 0 ||
	    (kind == GDB_POINT_SOFTWARE && machine_gdb_find_soft(gdb, address)))
		return 0;
	if (kind == GDB_POINT_SOFTWARE)
		err = machine_gdb_insert_soft(gdb, cpu, address);
	return err == -EFAULT ? machine_gdb_insert_slot(gdb, cpu, kind, address, len) : err;
}

int machine_gdb_remove(void *arg, unsigned int cpu, enum gdb_point kind, uint64_t address,
		       uint64_t len)
{
	struct machine_gdb *gdb = arg;
	struct machine_gdb_soft *soft = machine_gdb_find_soft(gdb, address);
	int slot = machine_gdb_find_slot(gdb, kind, address);

	(void)cpu;
	(void)len;
	if (kind == GDB_POINT_SOFTWARE && soft)
		machine_gdb_remove_soft(gdb, soft);
	else if (slot >= 0)
		gdb->debug.slots[slot].used = false;
	return 0;
}

void machine_gdb_remove_all(struct machine_gdb *gdb)
{
	for (unsigned int i = 0; i < MACHINE_GDB_SOFT; i++) {
		if (gdb->soft[i].used)
			machine_gdb_remove_soft(gdb, &gdb->soft[i]);
	}
	memset(gdb->debug.slots, 0, sizeof(gdb->debug.slots));
}

bool machine_gdb_has(const struct machine_gdb *gdb, const struct gdb_stop *stop)
{
	return machine_gdb_find_slot(gdb, stop->point, stop->address) >= 0;
}
