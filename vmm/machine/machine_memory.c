/* The guest's memory: where it lies, what backs it, and what to tell who cannot have it. */
#include "vmm/machine/machine.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "vmm/machine/layout_x86.h"

#define PAGE_SIZE UINT64_C(0x1000)

/* Linux has 64 bytes for each page. */
#define MACHINE_PAGES_SHARE 64

/* A number in the host's directory of huge pages of this size. Returns 0 or negative errno. */
static int machine_read_pool(uint64_t page_size, const char *name, uint64_t *value)
{
	unsigned long long number;
	char path[96];
	FILE *file;
	int err = 0;

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%llukB/%s",
		 (unsigned long long)(page_size >> 10), name);
	file = fopen(path, "re");
	if (!file)
		return -errno;
	if (fscanf(file, "%llu", &number) != 1)
		err = -EINVAL;
	else
		*value = number;
	fclose(file);
	return err;
}

static void machine_say_no_huge_pages(uint64_t size, uint64_t page_size, int err)
{
	unsigned long long mib = page_size >> 20, want = size / page_size;
	uint64_t all = 0, unused = 0, reserved = 0;

	if (machine_read_pool(page_size, "nr_hugepages", &all) < 0 ||
	    machine_read_pool(page_size, "free_hugepages", &unused) < 0 ||
	    machine_read_pool(page_size, "resv_hugepages", &reserved) < 0) {
		log_error(
			"cannot set huge pages of %llu MiB aside for the guest's memory: this host "
			"has none of that size",
			mib);
		return;
	}
	unused = unused > reserved ? unused - reserved : 0;
	if (unused >= want)
		log_failure(err,
			    "cannot set %llu huge pages of %llu MiB aside for the guest's memory",
			    want, mib);
	else
		log_error("cannot set %llu huge pages of %llu MiB aside for the guest's memory: "
			  "the host has %llu free; to make more, as root: echo %llu "
			  ">/sys/kernel/mm/hugepages/hugepages-%llukB/nr_hugepages",
			  want, mib, (unsigned long long)unused,
			  (unsigned long long)all + want - unused,
			  (unsigned long long)page_size >> 10);
}

/* The host kills somebody when memory runs out, and does not say no; so what cannot be is refused before. */
static int machine_prefault(struct machine *machine)
{
	unsigned long long need = guest_mem_size(&machine->mem) >> 10, available = 0, swap = 0;
	char line[128];
	FILE *file = fopen("/proc/meminfo", "re");
	int err = 0;

	while (file && fgets(line, sizeof(line), file)) {
		sscanf(line, "MemAvailable: %llu", &available);
		sscanf(line, "SwapFree: %llu", &swap);
	}
	if (file)
		fclose(file);
	/* Pages of hugetlb are not counted there. */
	if (guest_mem_can_discard(&machine->mem) && available > 0 && need > available + swap)
		err = -ENOMEM;
	if (err == 0)
		err = guest_mem_prefault(&machine->mem);
	if (err < 0)
		log_error("cannot prefault %llu MiB of guest memory: %s; the host has %llu MiB "
			  "available%s",
			  need >> 10, strerror(-err), (available + swap) >> 10,
			  err == -EFAULT
				  ? ", but a control group or vm.overcommit_memory allows less"
				  : "");
	return err;
}

static void machine_say_no_memory(uint64_t size, uint64_t page_size, int err)
{
	if (page_size > PAGE_SIZE)
		machine_say_no_huge_pages(size, page_size, err);
	else
		log_failure(err, "cannot reserve %llu MiB of guest memory",
			    (unsigned long long)(size >> 20));
}

static int machine_check_memory(uint64_t size, uint64_t low, uint64_t page_size)
{
	unsigned int bits = vcpu_host_address_bits();
	struct sysinfo host;

	if (size - low > (UINT64_C(1) << bits) - LAYOUT_RAM_HIGH) {
		log_error("cannot give the guest %llu MiB of memory: this CPU addresses %u bits",
			  (unsigned long long)(size >> 20), bits);
		return -EINVAL;
	}
	/* More than the host has is right where the guest uses little of it. */
	if (page_size == PAGE_SIZE && sysinfo(&host) == 0 &&
	    size / MACHINE_PAGES_SHARE / host.mem_unit > host.totalram + host.totalswap) {
		log_error("cannot give the guest %llu MiB of memory: a kernel's list of its pages "
			  "alone would be more than this host has",
			  (unsigned long long)(size >> 20));
		return -ENOMEM;
	}
	if (size % page_size != 0) {
		log_error("cannot give the guest %llu MiB of memory: it must be a multiple of the "
			  "huge pages' size, %llu MiB",
			  (unsigned long long)(size >> 20), (unsigned long long)(page_size >> 20));
		return -EINVAL;
	}
	return 0;
}

int machine_make_memory(struct machine *machine, const struct machine_config *config)
{
	uint64_t size = config->memory & ~(PAGE_SIZE - 1);
	uint64_t low = size < LAYOUT_RAM_LOW_MAX ? size : LAYOUT_RAM_LOW_MAX;
	uint64_t page_size = guest_mem_page_size(config->memory_options.pages);
	struct guest_mem_region regions[] = {{.base = 0, .size = low},
					     {.base = LAYOUT_RAM_HIGH, .size = size - low}};
	int err = machine_check_memory(size, low, page_size);

	_Static_assert(LAYOUT_RAM_LOW_MAX % (1 << 30) == 0 && LAYOUT_RAM_HIGH % (1 << 30) == 0,
		       "the largest huge pages fit below the hole and above");
	if (err < 0)
		return err;
	err = guest_mem_init_as(&machine->mem, &config->memory_options, regions,
				size > low ? 2 : 1);
	if (err < 0) {
		machine_say_no_memory(size, page_size, err);
		return err;
	}
	if (config->memory_options.prefault)
		err = machine_prefault(machine);
	if (err < 0)
		guest_mem_fini(&machine->mem);
	return err;
}

int machine_memory_fd(const struct machine *machine)
{
	return machine->mem.fd;
}

int machine_pagemap_fd(const struct machine *machine)
{
	return machine->mem.pagemap;
}
