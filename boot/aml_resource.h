/*
 * Resource templates in AML (ACPI 6.3, 6.4 "Resource Data Types for ACPI").
 *
 * As boot/aml.h; everything between aml_resource_begin() and aml_resource_end() is a descriptor from here.
 */
#pragma once

#include "boot/aml.h"

/* ResourceTemplate () { ... } of at most 64 KiB */
void aml_resource_begin(struct aml *aml);
void aml_resource_end(struct aml *aml);

/* What a device uses. */
void aml_resource_io(struct aml *aml, uint16_t base, uint8_t size);
void aml_resource_interrupt(struct aml *aml, uint32_t gsi); /* edge, active high, exclusive */

void aml_resource_memory(struct aml *aml, uint32_t base, uint32_t size); /* read and write */

/* What a bridge hands on. size is not 0 and base + size does not wrap. */
void aml_resource_bus_window(struct aml *aml, uint16_t first, uint16_t last);
void aml_resource_io_window(struct aml *aml, uint16_t base, uint16_t size);
void aml_resource_memory_window(struct aml *aml, uint32_t base, uint32_t size);
