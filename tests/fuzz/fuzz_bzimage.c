/*
 * A bzImage of which a few fields say something else: it is booted or refused.
 *
 * The input is a byte that says how it is booted, then changes of a good file (bytes_patch()).
 *
 * Fuzzes: boot/bzimage.c boot/image.c boot/kernel.c boot/cpu_tables.c
 */
#include "tests/fuzz/boot_machine.h"

#define SETUP	4096 /* bytes before the protected-mode part */
#define SIZE	8192
#define PAYLOAD 0x2c4
#define HDR	offsetof(struct boot_params, hdr)

#define HDR_FIELD(name) FIELD(HDR, struct setup_header, name)

static const struct field fields[] = {
	HDR_FIELD(setup_sects),
	HDR_FIELD(syssize),
	HDR_FIELD(boot_flag),
	HDR_FIELD(jump),
	HDR_FIELD(header),
	HDR_FIELD(version),
	HDR_FIELD(loadflags),
	HDR_FIELD(code32_start),
	HDR_FIELD(initrd_addr_max),
	HDR_FIELD(kernel_alignment),
	HDR_FIELD(relocatable_kernel),
	HDR_FIELD(min_alignment),
	HDR_FIELD(xloadflags),
	HDR_FIELD(cmdline_size),
	HDR_FIELD(payload_offset),
	HDR_FIELD(payload_length),
	HDR_FIELD(pref_address),
	HDR_FIELD(init_size),
	HDR_FIELD(setup_data),
	{SETUP + PAYLOAD, 8},
};

static void make_file(uint8_t *file)
{
	const struct setup_header hdr = {
		.setup_sects = SETUP / 512 - 1,
		.syssize = SIZE / 16,
		.boot_flag = 0xaa55,
		.jump = 0x6aeb,
		.header = 0x53726448,
		.version = 0x20f,
		.loadflags = LOADED_HIGH,
		.code32_start = 0x100000,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 0x200000,
		.relocatable_kernel = 1,
		.min_alignment = 21,
		.xloadflags = XLF_KERNEL_64,
		.cmdline_size = 2047,
		.payload_offset = PAYLOAD,
		.payload_length = SIZE - PAYLOAD - 64,
		.pref_address = 0x1000000,
		.init_size = 0x200000,
	};

	memset(file, 0, SETUP);
	memset(file + SETUP, 0x5a, SIZE);
	memcpy(file + HDR, &hdr, sizeof(hdr));
	memcpy(file + SETUP + PAYLOAD, "\x1f\x8b\x08", 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes in = {data, size};
	uint8_t how = bytes_u8(&in), file[SETUP + SIZE];
	size_t len;

	make_file(file);
	len = bytes_patch(&in, file, sizeof(file), fields, sizeof(fields) / sizeof(fields[0]));
	boot_file(bytes_file(file, len), how, CMDLINE);
	return 0;
}
