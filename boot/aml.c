#include "boot/aml.h"

#include <string.h>

#include "vmm/core/assert.h"

/* 20.3 AML Byte Stream Byte Values */
#define AML_NAME_OP	     0x08
#define AML_BYTE_PREFIX	     0x0a
#define AML_WORD_PREFIX	     0x0b
#define AML_DWORD_PREFIX     0x0c
#define AML_STRING_PREFIX    0x0d
#define AML_QWORD_PREFIX     0x0e
#define AML_SCOPE_OP	     0x10
#define AML_PACKAGE_OP	     0x12
#define AML_BUFFER_OP	     0x11
#define AML_METHOD_OP	     0x14
#define AML_DUAL_NAME	     0x2e
#define AML_MULTI_NAME	     0x2f
#define AML_EXT_PREFIX	     0x5b
#define AML_EXT_REGION_OP    0x80
#define AML_EXT_FIELD_OP     0x81
#define AML_EXT_DEVICE_OP    0x82
#define AML_LOCAL0	     0x60
#define AML_STORE_OP	     0x70
#define AML_AND_OP	     0x7b
#define AML_NOTIFY_OP	     0x86
#define AML_IF_OP	     0xa0
#define AML_METHOD_SERIAL    0x08 /* MethodFlags bit 3 */
#define AML_REGION_SYSTEM_IO 0x01
#define AML_FIELD_BYTE_ACC   0x01 /* NoLock, Preserve */
#define AML_NULL_NAME	     0x00 /* no target for a result */

#define AML_SEG_LEN 4

void aml_init(struct aml *aml, void *buf, size_t size)
{
	*aml = (struct aml){.buf = buf, .size = size};
}

void aml_bytes(struct aml *aml, const void *bytes, size_t len)
{
	if (aml->failed || len > aml->size - aml->len) {
		aml->failed = true;
		return;
	}
	memcpy(aml->buf + aml->len, bytes, len);
	aml->len += len;
}

static void aml_byte(struct aml *aml, uint8_t byte)
{
	aml_bytes(aml, &byte, 1);
}

/* 20.2.2 Name Objects Encoding */
static void aml_segment(struct aml *aml, const char *segment, size_t len)
{
	char seg[AML_SEG_LEN] = {'_', '_', '_', '_'};

	assert(len > 0 && len <= AML_SEG_LEN);
	memcpy(seg, segment, len);
	aml_bytes(aml, seg, sizeof(seg));
}

void aml_path(struct aml *aml, const char *path)
{
	unsigned int n = 1;

	if (*path == '\\')
		aml_byte(aml, (uint8_t)*path++);
	for (const char *p = path; *p; p++)
		n += *p == '.';
	if (n == 2) {
		aml_byte(aml, AML_DUAL_NAME);
	} else if (n > 2) {
		aml_byte(aml, AML_MULTI_NAME);
		aml_byte(aml, (uint8_t)n);
	}
	for (;;) {
		size_t len = strcspn(path, ".");

		aml_segment(aml, path, len);
		if (!path[len])
			return;
		path += len + 1;
	}
}

/* 20.2.3 Data Objects Encoding: the shortest form */
void aml_integer(struct aml *aml, uint64_t value)
{
	if (value <= 1) {
		aml_byte(aml, (uint8_t)value); /* ZeroOp, OneOp */
	} else if (value <= UINT8_MAX) {
		aml_byte(aml, AML_BYTE_PREFIX);
		aml_bytes(aml, &value, 1);
	} else if (value <= UINT16_MAX) {
		aml_byte(aml, AML_WORD_PREFIX);
		aml_bytes(aml, &value, 2);
	} else if (value <= UINT32_MAX) {
		aml_byte(aml, AML_DWORD_PREFIX);
		aml_bytes(aml, &value, 4);
	} else {
		aml_byte(aml, AML_QWORD_PREFIX);
		aml_bytes(aml, &value, 8);
	}
}

void aml_string(struct aml *aml, const char *text)
{
	aml_byte(aml, AML_STRING_PREFIX);
	aml_bytes(aml, text, strlen(text) + 1);
}

static uint8_t aml_hex(char c)
{
	assert((c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'));
	return (uint8_t)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* 19.6 EISAID: three letters of five bits each and four hex digits, in big-endian order. */
void aml_eisa_id(struct aml *aml, const char *id)
{
	uint8_t bytes[4];

	assert(strlen(id) == 7);
	bytes[0] = (uint8_t)((id[0] - '@') << 2 | (id[1] - '@') >> 3);
	bytes[1] = (uint8_t)((id[1] - '@') << 5 | (id[2] - '@'));
	bytes[2] = (uint8_t)(aml_hex(id[3]) << 4 | aml_hex(id[4]));
	bytes[3] = (uint8_t)(aml_hex(id[5]) << 4 | aml_hex(id[6]));
	aml_byte(aml, AML_DWORD_PREFIX);
	aml_bytes(aml, bytes, sizeof(bytes));
}

void aml_name(struct aml *aml, const char *path)
{
	aml_byte(aml, AML_NAME_OP);
	aml_path(aml, path);
}

void aml_name_integer(struct aml *aml, const char *path, uint64_t value)
{
	aml_name(aml, path);
	aml_integer(aml, value);
}

static void aml_begin(struct aml *aml)
{
	if (aml->depth == AML_MAX_DEPTH) {
		aml->failed = true;
		return;
	}
	aml->open[aml->depth++] = aml->len;
}

void aml_begin_scope(struct aml *aml, const char *path)
{
	aml_byte(aml, AML_SCOPE_OP);
	aml_begin(aml);
	aml_path(aml, path);
}

void aml_begin_device(struct aml *aml, const char *path)
{
	aml_byte(aml, AML_EXT_PREFIX);
	aml_byte(aml, AML_EXT_DEVICE_OP);
	aml_begin(aml);
	aml_path(aml, path);
}

void aml_begin_method(struct aml *aml, const char *path, unsigned int n_args)
{
	assert(n_args <= 7);
	aml_byte(aml, AML_METHOD_OP);
	aml_begin(aml);
	aml_path(aml, path);
	aml_byte(aml, (uint8_t)(n_args | AML_METHOD_SERIAL));
}

void aml_begin_package(struct aml *aml, uint8_t n_elements)
{
	aml_byte(aml, AML_PACKAGE_OP);
	aml_begin(aml);
	aml_byte(aml, n_elements);
}

void aml_begin_buffer(struct aml *aml)
{
	aml_byte(aml, AML_BUFFER_OP);
	aml_begin(aml);
}

void aml_begin_if_local0(struct aml *aml, uint8_t mask)
{
	aml_byte(aml, AML_IF_OP);
	aml_begin(aml);
	aml_byte(aml, AML_AND_OP);
	aml_byte(aml, AML_LOCAL0);
	aml_integer(aml, mask);
	aml_byte(aml, AML_NULL_NAME);
}

/* 20.2.4 Package Length Encoding; the length counts its own bytes. Returns how many those are. */
static size_t aml_package_length(size_t content, uint8_t out[4])
{
	size_t n = 1;

	if (content + 1 <= 0x3f) {
		out[0] = (uint8_t)(content + 1);
		return 1;
	}
	do {
		n++;
	} while (n < 4 && content + n > (UINT64_C(1) << (4 + 8 * (n - 1))) - 1);
	content += n;
	out[0] = (uint8_t)((n - 1) << 6 | (content & 0xf));
	for (size_t i = 1; i < n; i++)
		out[i] = (uint8_t)(content >> (4 + 8 * (i - 1)));
	return n;
}

/* Makes room for the length in front of what it measures: inner packages are closed and done. */
void aml_end(struct aml *aml)
{
	uint8_t length[4];
	size_t start, content, n;

	if (aml->failed)
		return;
	assert(aml->depth > 0);
	start = aml->open[--aml->depth];
	content = aml->len - start;
	n = aml_package_length(content, length);
	aml_bytes(aml, length, n);
	if (aml->failed)
		return;
	memmove(aml->buf + start + n, aml->buf + start, content);
	memcpy(aml->buf + start, length, n);
}

void aml_io_register(struct aml *aml, const char *path, uint16_t port, const char *field)
{
	aml_byte(aml, AML_EXT_PREFIX);
	aml_byte(aml, AML_EXT_REGION_OP);
	aml_path(aml, path);
	aml_byte(aml, AML_REGION_SYSTEM_IO);
	aml_integer(aml, port);
	aml_integer(aml, 1);

	aml_byte(aml, AML_EXT_PREFIX);
	aml_byte(aml, AML_EXT_FIELD_OP);
	aml_begin(aml);
	aml_path(aml, path);
	aml_byte(aml, AML_FIELD_BYTE_ACC);
	aml_path(aml, field);
	aml_byte(aml, 8); /* bits, encoded as a PkgLength */
	aml_end(aml);
}

void aml_load_local0(struct aml *aml, const char *path)
{
	aml_byte(aml, AML_STORE_OP);
	aml_path(aml, path);
	aml_byte(aml, AML_LOCAL0);
}

void aml_notify(struct aml *aml, const char *device, uint8_t value)
{
	aml_byte(aml, AML_NOTIFY_OP);
	aml_path(aml, device);
	aml_integer(aml, value);
}
