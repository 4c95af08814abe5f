#include "devices/acpi_power.h"

#include <string.h>

#include "vmm/core/bus.h"

#define SLP_TYP(state) ((state) << ACPI_POWER_SLP_TYP_SHIFT)

enum acpi_power_action { ACTION_NONE, ACTION_POWER_OFF, ACTION_RESET };

void acpi_power_init(struct acpi_power *dev, const struct acpi_power_config *config)
{
	memset(dev, 0, sizeof(*dev));
	dev->config = *config;
	pthread_mutex_init(&dev->lock, NULL);
}

static uint8_t acpi_power_read_event(struct acpi_power *dev)
{
	uint8_t event = dev->state.event;

	dev->state.event = 0;
	irq_lower(&dev->config.irq);
	return event;
}

static uint8_t acpi_power_read_reg(struct acpi_power *dev, uint64_t offset)
{
	switch (offset) {
	case ACPI_POWER_SLEEP_CONTROL:
		return dev->state.slp_typ;
	case ACPI_POWER_SLEEP_STATUS:
		return dev->state.sleep_status;
	case ACPI_POWER_RESET:
		return 0;
	case ACPI_POWER_EVENT:
		return acpi_power_read_event(dev);
	default:
		return 0xff;
	}
}

uint64_t acpi_power_read(void *arg, uint64_t offset, unsigned int width)
{
	struct acpi_power *dev = arg;
	uint8_t value;

	pthread_mutex_lock(&dev->lock);
	value = acpi_power_read_reg(dev, offset);
	pthread_mutex_unlock(&dev->lock);
	return (bus_ones(width) & ~UINT64_C(0xff)) | value;
}

static enum acpi_power_action acpi_power_sleep(struct acpi_power_state *st, uint8_t value)
{
	st->slp_typ = value & ACPI_POWER_SLP_TYP_MASK;
	if (!(value & ACPI_POWER_SLP_EN))
		return ACTION_NONE;
	if (st->slp_typ == SLP_TYP(ACPI_POWER_SLP_TYP_S5))
		return ACTION_POWER_OFF;
	/* A state that we do not have ends as soon as it begins: the guest polls for WAK_STS. */
	st->sleep_status |= ACPI_POWER_WAK_STS;
	return ACTION_NONE;
}

static enum acpi_power_action acpi_power_write_reg(struct acpi_power_state *st, uint64_t offset,
						   uint8_t value)
{
	switch (offset) {
	case ACPI_POWER_SLEEP_CONTROL:
		return acpi_power_sleep(st, value);
	case ACPI_POWER_SLEEP_STATUS:
		st->sleep_status &= ~(value & ACPI_POWER_WAK_STS); /* write 1 to clear */
		return ACTION_NONE;
	case ACPI_POWER_RESET:
		return value == ACPI_POWER_RESET_VALUE ? ACTION_RESET : ACTION_NONE;
	default:
		return ACTION_NONE;
	}
}

void acpi_power_write(void *arg, uint64_t offset, unsigned int width, uint64_t value)
{
	struct acpi_power *dev = arg;
	enum acpi_power_action action;

	(void)width;
	pthread_mutex_lock(&dev->lock);
	action = acpi_power_write_reg(&dev->state, offset, (uint8_t)value);
	pthread_mutex_unlock(&dev->lock);
	if (action == ACTION_POWER_OFF)
		dev->config.power_off(dev->config.arg);
	else if (action == ACTION_RESET)
		dev->config.reset(dev->config.arg);
}

void acpi_power_button(struct acpi_power *dev)
{
	pthread_mutex_lock(&dev->lock);
	dev->state.event |= ACPI_POWER_EVENT_BUTTON;
	/* Down first, so that a press nobody has read yet still gives an edge. */
	irq_lower(&dev->config.irq);
	irq_raise(&dev->config.irq);
	pthread_mutex_unlock(&dev->lock);
}

void acpi_power_fini(struct acpi_power *dev)
{
	pthread_mutex_destroy(&dev->lock);
}
