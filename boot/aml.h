/*
 * Writes ACPI machine language (ACPI 6.3, chapter 20) into a buffer.
 *
 * The buffer is borrowed from the caller. What does not fit, or nests too deep, sets failed and is
 * dropped: check it once, at the end. Owned by one thread. Names and paths come from our own code: an
 * ill-formed one is an assert.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AML_MAX_DEPTH 8

struct aml {
	uint8_t *buf;
	size_t size;
	size_t len;
	bool failed;
	unsigned int depth;
	size_t open[AML_MAX_DEPTH]; /* where the PkgLength of each open package goes */
};

void aml_init(struct aml *aml, void *buf, size_t size);

/* Raw bytes, for what is not here (resource descriptors). */
void aml_bytes(struct aml *aml, const void *bytes, size_t len);

/* Data objects. A path is "\\_SB_.PCI0", "PWRB" and so on; segments shorter than 4 are filled up with '_'. */
void aml_path(struct aml *aml, const char *path);
void aml_integer(struct aml *aml, uint64_t value);
void aml_string(struct aml *aml, const char *text);
void aml_eisa_id(struct aml *aml, const char *id);

/* Name (path, <the object written next>) */
void aml_name(struct aml *aml, const char *path);
void aml_name_integer(struct aml *aml, const char *path, uint64_t value);

/* What is written up to the matching aml_end() is inside. */
void aml_begin_scope(struct aml *aml, const char *path);
void aml_begin_device(struct aml *aml, const char *path);
void aml_begin_method(struct aml *aml, const char *path, unsigned int n_args);
void aml_begin_package(struct aml *aml, uint8_t n_elements);
void aml_begin_buffer(struct aml *aml);			 /* its BufferSize has to be written next */
void aml_begin_if_local0(struct aml *aml, uint8_t mask); /* If (Local0 & mask) */
void aml_end(struct aml *aml);

/* OperationRegion (path, SystemIO, port, 1) and over it a Field of one byte. */
void aml_io_register(struct aml *aml, const char *path, uint16_t port, const char *field);

/* Local0 = path */
void aml_load_local0(struct aml *aml, const char *path);

/* Notify (device, value) */
void aml_notify(struct aml *aml, const char *device, uint8_t value);
