/*
 * Any file as a kernel: it is booted, or it is said what it is.
 *
 * The input is the file.
 *
 * Fuzzes: boot/kernel_kind.c
 */
#include "boot/kernel_kind.h"
#include "tests/fuzz/boot_machine.h"

#define MAX_INPUT (1u << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t head = size < KERNEL_KIND_HEAD ? size : KERNEL_KIND_HEAD;

	if (size > MAX_INPUT)
		return 0;
	must(kernel_kind_describe(data, head, size));
	kernel_kind_is_packed(data, head);
	boot_file(bytes_file(data, size), BOOT_UNPACKED, CMDLINE);
	return 0;
}
