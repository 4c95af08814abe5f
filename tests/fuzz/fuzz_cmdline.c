/*
 * The kernel's command line, as it is put together from any words of the user: the kernel gets all of it, or nothing runs.
 *
 * The input is two bytes of what else the user asked for, then his words, and behind a 0 the sizes of parts of an initrd.
 *
 * Fuzzes: vmm/machine/machine_boot.c vmm/machine/machine_tree.c boot/device_tree.c
 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>

#include "tests/fuzz/bytes.h"
#include "vmm/machine/layout_x86.h"
#include "vmm/machine/machine.h"

#define RAM	    (UINT64_C(4) << 20)
#define KERNEL	    (UINT64_C(2) << 20)
#define MAX_CMDLINE 2047
#define MAX_PARTS   3

enum {
	CMDLINE_APPEND = 1, /* to the built-in one; else instead of it */
	CMDLINE_VIRTIO_CONSOLE = 2,
	CMDLINE_DARK = 4, /* nobody sees the console */
	CMDLINE_DISK = 8,
	CMDLINE_READONLY = 16,
	CMDLINE_INITRD = 32,
	CMDLINE_MMIO = 64,
	CMDLINE_TREE = 128,
};

/* The shortest kernel: one page, which the guest would halt in. */
static void make_kernel(char *path, size_t size)
{
	struct {
		Elf64_Ehdr ehdr;
		Elf64_Phdr phdr;
		uint8_t code[64];
	} kernel = {
		.ehdr = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
			 .e_type = ET_EXEC,
			 .e_machine = EM_X86_64,
			 .e_entry = KERNEL,
			 .e_phoff = sizeof(Elf64_Ehdr),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = 1},
		.phdr = {.p_type = PT_LOAD, .p_paddr = KERNEL, .p_filesz = 64, .p_memsz = 4096},
	};
	static int fd = -1;

	kernel.phdr.p_offset = offsetof(typeof(kernel), code);
	if (fd < 0)
		fd = bytes_file(&kernel, sizeof(kernel));
	snprintf(path, size, "/proc/self/fd/%d", fd);
}

static void check_line(const struct machine *machine, const struct machine_config *config)
{
	const char *line = guest_mem_ptr(&machine->mem, LAYOUT_CMDLINE, LAYOUT_CMDLINE_MAX);
	const char *words = config->cmdline ? config->cmdline : config->append;
	size_t len = strnlen(line, LAYOUT_CMDLINE_MAX);

	must(len <= MAX_CMDLINE && strcmp(line, machine->cmdline) == 0);
	must(len >= strlen(words) && strcmp(line + len - strlen(words), words) == 0);
	must(!config->cmdline || len == strlen(words));
}

static void load(const struct machine_config *config, unsigned int n_cpus, unsigned int n_cards)
{
	struct guest_mem_region region = {.base = 0, .size = RAM};
	static struct machine machine;
	static struct vcpu vcpu = {.tsc_khz = UINT32_MAX}; /* as long as it gets */
	struct boot_entry entry;

	memset(&machine, 0, sizeof(machine));
	must(guest_mem_init(&machine.mem, &region, 1) == 0);
	machine.n_vcpus = n_cpus;
	machine.vcpus = &vcpu;
	machine.n_cards = n_cards;
	machine.mmio_transport = config->mmio_transport;
	machine.ioapic.n_pins = 24;
	must(machine_begin_load(&machine, config) == 0);
	if (machine_load(&machine, config, &entry) == 0)
		check_line(&machine, config);
	must(machine_reset_was_announced(&machine) == machine_reset_was_panic(&machine));
	machine_unload(&machine);
	machine_abandon_load(&machine);
	guest_mem_fini(&machine.mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t zeros[UINT8_MAX];
	struct machine_initrd_part parts[MAX_PARTS];
	struct machine_disk_config disk = {.path = "d"};
	struct bytes in = {data, size};
	uint8_t how = bytes_u8(&in), n = bytes_u8(&in);
	bool seen = !(how & CMDLINE_DARK);
	struct machine_config config = {.console_virtio = how & CMDLINE_VIRTIO_CONSOLE,
					.console_out = seen ? 1 : -1,
					.console_socket = -1,
					.disks = &disk,
					.n_disks = how & CMDLINE_DISK ? 1 : 0,
					.initrd = how & CMDLINE_INITRD ? "i" : NULL,
					.mmio_transport = how & CMDLINE_MMIO,
					.device_tree = how & CMDLINE_TREE,
					.initrd_parts = parts,
					.unpack = n & 1};
	char kernel[64], *words;

	keep_quiet();
	make_kernel(kernel, sizeof(kernel));
	config.kernel = kernel;
	if (how & CMDLINE_INITRD)
		config.initrd = kernel; /* any file does */
	disk.readonly = how & CMDLINE_READONLY;
	words = bytes_text(&in);
	for (; config.n_initrd_parts < MAX_PARTS && in.left > 0; config.n_initrd_parts++)
		parts[config.n_initrd_parts] = (struct machine_initrd_part){
			.part = {.size = bytes_u8(&in), .data = zeros}, .name = "part"};
	if (how & CMDLINE_APPEND)
		config.append = words;
	else
		config.cmdline = words;
	load(&config, 1 + n % MACHINE_MAX_VCPUS, n % (MACHINE_MAX_CARDS + 1));
	free(words);
	return 0;
}
