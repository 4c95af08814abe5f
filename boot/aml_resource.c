#include "boot/aml_resource.h"

#include <string.h>

#include "vmm/core/assert.h"

/* 6.4.2.5 I/O Port Descriptor */
struct resource_io {
	uint8_t tag;
	uint8_t decode;
	uint16_t min;
	uint16_t max;
	uint8_t align;
	uint8_t size;
} __attribute__((packed));

#define RESOURCE_IO	  0x47
#define RESOURCE_DECODE16 0x01

/* 6.4.3.4 32-Bit Fixed Memory Range Descriptor */
struct resource_memory {
	uint8_t tag;
	uint16_t length;
	uint8_t flags;
	uint32_t base;
	uint32_t size;
} __attribute__((packed));

#define RESOURCE_MEMORY	   0x86
#define RESOURCE_MEMORY_RW 0x01

/* 6.4.3.6 Extended Interrupt Descriptor */
struct resource_interrupt {
	uint8_t tag;
	uint16_t length;
	uint8_t flags;
	uint8_t count;
	uint32_t gsi;
} __attribute__((packed));

#define RESOURCE_INTERRUPT	    0x89
#define RESOURCE_INTERRUPT_CONSUMER 0x01
#define RESOURCE_INTERRUPT_EDGE	    0x02 /* active high and exclusive: zeros */

/* 6.4.3.5.2 and 6.4.3.5.3: DWord and Word Address Space Descriptor */
struct resource_dword {
	uint8_t tag;
	uint16_t length;
	uint8_t type;
	uint8_t flags;
	uint8_t type_flags;
	uint32_t granularity;
	uint32_t min;
	uint32_t max;
	uint32_t translation;
	uint32_t size;
} __attribute__((packed));

struct resource_word {
	uint8_t tag;
	uint16_t length;
	uint8_t type;
	uint8_t flags;
	uint8_t type_flags;
	uint16_t granularity;
	uint16_t min;
	uint16_t max;
	uint16_t translation;
	uint16_t size;
} __attribute__((packed));

#define RESOURCE_DWORD		 0x87
#define RESOURCE_WORD		 0x88
#define RESOURCE_TYPE_MEMORY	 0
#define RESOURCE_TYPE_IO	 1
#define RESOURCE_TYPE_BUS	 2
#define RESOURCE_FIXED		 0x0c /* both ends; producer, positive decode */
#define RESOURCE_MEMORY_WRITABLE 0x01 /* not cacheable */
#define RESOURCE_IO_ENTIRE	 0x03 /* ISA and non-ISA ports */

#define LONG_HEADER 3 /* the tag and length of a long descriptor are not counted in length */

/* 6.4.2.9: with a checksum of 0 the descriptors count as correct */
static const uint8_t resource_end_tag[] = {0x79, 0};

/* BufferSize as a WordConst, filled in at the end. */
static const uint8_t resource_size[] = {0x0b, 0, 0};

void aml_resource_begin(struct aml *aml)
{
	aml_begin_buffer(aml);
	aml_bytes(aml, resource_size, sizeof(resource_size));
}

void aml_resource_end(struct aml *aml)
{
	size_t start, size;

	aml_bytes(aml, resource_end_tag, sizeof(resource_end_tag));
	if (aml->failed)
		return;
	start = aml->open[aml->depth - 1] + sizeof(resource_size);
	size = aml->len - start;
	assert(size <= UINT16_MAX);
	memcpy(aml->buf + start - 2, &size, 2);
	aml_end(aml);
}

void aml_resource_io(struct aml *aml, uint16_t base, uint8_t size)
{
	const struct resource_io r = {
		.tag = RESOURCE_IO,
		.decode = RESOURCE_DECODE16,
		.min = base,
		.max = base,
		.align = 1,
		.size = size,
	};

	aml_bytes(aml, &r, sizeof(r));
}

void aml_resource_interrupt(struct aml *aml, uint32_t gsi)
{
	const struct resource_interrupt r = {
		.tag = RESOURCE_INTERRUPT,
		.length = sizeof(r) - LONG_HEADER,
		.flags = RESOURCE_INTERRUPT_CONSUMER | RESOURCE_INTERRUPT_EDGE,
		.count = 1,
		.gsi = gsi,
	};

	aml_bytes(aml, &r, sizeof(r));
}

void aml_resource_memory(struct aml *aml, uint32_t base, uint32_t size)
{
	const struct resource_memory r = {
		.tag = RESOURCE_MEMORY,
		.length = sizeof(r) - LONG_HEADER,
		.flags = RESOURCE_MEMORY_RW,
		.base = base,
		.size = size,
	};

	aml_bytes(aml, &r, sizeof(r));
}

static void aml_resource_word(struct aml *aml, uint8_t type, uint8_t type_flags, uint16_t first,
			      uint16_t last)
{
	const struct resource_word r = {
		.tag = RESOURCE_WORD,
		.length = sizeof(r) - LONG_HEADER,
		.type = type,
		.flags = RESOURCE_FIXED,
		.type_flags = type_flags,
		.min = first,
		.max = last,
		.size = (uint16_t)(last - first + 1),
	};

	aml_bytes(aml, &r, sizeof(r));
}

void aml_resource_bus_window(struct aml *aml, uint16_t first, uint16_t last)
{
	aml_resource_word(aml, RESOURCE_TYPE_BUS, 0, first, last);
}

void aml_resource_io_window(struct aml *aml, uint16_t base, uint16_t size)
{
	aml_resource_word(aml, RESOURCE_TYPE_IO, RESOURCE_IO_ENTIRE, base,
			  (uint16_t)(base + size - 1));
}

void aml_resource_memory_window(struct aml *aml, uint32_t base, uint32_t size)
{
	const struct resource_dword r = {
		.tag = RESOURCE_DWORD,
		.length = sizeof(r) - LONG_HEADER,
		.type = RESOURCE_TYPE_MEMORY,
		.flags = RESOURCE_FIXED,
		.type_flags = RESOURCE_MEMORY_WRITABLE,
		.min = base,
		.max = base + size - 1,
		.size = size,
	};

	aml_bytes(aml, &r, sizeof(r));
}
