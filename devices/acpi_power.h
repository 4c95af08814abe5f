/*
 * Power management of an ACPI hardware-reduced machine (ACPI 6.5, 4.8.3.7 sleep control and status registers,
 * 4.8.3.6 reset register) and the status byte behind its generic event device (5.6.9).
 *
 * The machine maps ACPI_POWER_SIZE ports anywhere and tells the ACPI tables where: FADT SLEEP_CONTROL_REG and
 * SLEEP_STATUS_REG, RESET_REG with ACPI_POWER_RESET_VALUE, _S5 with ACPI_POWER_SLP_TYP_S5, and the GED's _EVT,
 * which reads the event byte and notifies what its bits say.
 *
 * Owner: the machine. Any thread may call any function between init and fini. The callbacks run on the vCPU
 * thread that wrote, without a lock. Lock order: acpi_power -> whatever the irq line takes.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/core/irq.h"

#define ACPI_POWER_SIZE 4

/* Offsets of byte registers. */
#define ACPI_POWER_SLEEP_CONTROL 0
#define ACPI_POWER_SLEEP_STATUS	 1
#define ACPI_POWER_RESET	 2
#define ACPI_POWER_EVENT	 3

/* Sleep control: SLP_TYP is bits 4:2, SLP_EN bit 5 (write only). SLP_TYP of S5, the only state there is: */
#define ACPI_POWER_SLP_TYP_SHIFT 2
#define ACPI_POWER_SLP_TYP_MASK	 0x1c
#define ACPI_POWER_SLP_EN	 0x20
#define ACPI_POWER_SLP_TYP_S5	 5

/* Sleep status. */
#define ACPI_POWER_WAK_STS 0x80

#define ACPI_POWER_RESET_VALUE 1

/* Event byte; reading clears it. */
#define ACPI_POWER_EVENT_BUTTON 0x01

struct acpi_power_config {
	void (*power_off)(void *arg);
	void (*reset)(void *arg);
	void *arg;
	struct irq_line irq; /* of the event byte */
};

/* All that a snapshot must save. */
struct acpi_power_state {
	uint8_t slp_typ; /* in place, as last written */
	uint8_t sleep_status;
	uint8_t event;
};

struct acpi_power {
	/* immutable after init */
	struct acpi_power_config config;
	/* under lock */
	pthread_mutex_t lock;
	struct acpi_power_state state;
};

void acpi_power_init(struct acpi_power *dev, const struct acpi_power_config *config);

/* Register access, for a bus region of ACPI_POWER_SIZE ports; only the byte at the offset takes part. */
uint64_t acpi_power_read(void *dev, uint64_t offset, unsigned int width);
void acpi_power_write(void *dev, uint64_t offset, unsigned int width, uint64_t value);

/* Presses and releases the power button. Each press gives an edge; the line stays up until the guest reads. */
void acpi_power_button(struct acpi_power *dev);

void acpi_power_fini(struct acpi_power *dev);
