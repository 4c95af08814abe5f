/*
 * The definition block of the DSDT: the devices that a guest cannot find by probing.
 *
 * Internal to boot/. Pure function, any thread.
 */
#pragma once

#include "boot/acpi.h"
#include "boot/aml.h"

/* Writes what stands behind the table's header; sees aml->failed for errors. */
void dsdt_write(struct aml *aml, const struct acpi_config *cfg);
