#include "devices/ioapic.h"

#include <string.h>

#include "vmm/core/assert.h"
#include "vmm/core/bus.h"

/* Registers behind the window. */
#define REG_ID	0x00
#define REG_VER 0x01
#define REG_ARB 0x02
#define REG_RTE 0x10

static_assert(IOAPIC_PINS <= 64, "a bit for each pin in lines and pending");

#define VERSION	    0x20 /* has EOIR */
#define VER_MAX_RTE 16	 /* shift */
#define ID_SHIFT    24
#define ID_MASK	    0x0f

#define RTE_VECTOR     UINT64_C(0xff)
#define RTE_DELIV_MODE (UINT64_C(7) << 8)
#define RTE_DEST_LOGIC (UINT64_C(1) << 11)
#define RTE_DELIV_STS  (UINT64_C(1) << 12)
#define RTE_POLARITY   (UINT64_C(1) << 13)
#define RTE_REMOTE_IRR (UINT64_C(1) << 14)
#define RTE_LEVEL      (UINT64_C(1) << 15)
#define RTE_MASK       (UINT64_C(1) << 16)
#define RTE_DEST_SHIFT 56
#define RTE_WRITABLE                                                                               \
	(RTE_VECTOR | RTE_DELIV_MODE | RTE_DEST_LOGIC | RTE_POLARITY | RTE_LEVEL | RTE_MASK |      \
	 (UINT64_MAX << RTE_DEST_SHIFT))

/* Intel SDM volume 3, 11.11: message address and data. */
#define MSI_ADDRESS	    UINT64_C(0xfee00000)
#define MSI_ADDR_LOGIC	    UINT64_C(0x04)
#define MSI_ADDR_DEST_SHIFT 12
#define MSI_DATA_ASSERT	    (UINT32_C(1) << 14)
#define MSI_DATA_LEVEL	    (UINT32_C(1) << 15)

static struct ioapic_route ioapic_rte_route(uint64_t rte)
{
	struct ioapic_route route = {
		.address = MSI_ADDRESS | ((rte >> RTE_DEST_SHIFT) << MSI_ADDR_DEST_SHIFT),
		.data = (uint32_t)(rte & (RTE_VECTOR | RTE_DELIV_MODE)),
		.level = rte & RTE_LEVEL,
		.masked = rte & RTE_MASK,
	};

	if (rte & RTE_DEST_LOGIC)
		route.address |= MSI_ADDR_LOGIC;
	if (route.level)
		route.data |= MSI_DATA_LEVEL | MSI_DATA_ASSERT;
	return route;
}

/* Delivers a pin if its RTE lets it. An edge counts as delivered even if no CPU took it, as on a bus. */
static void ioapic_service(struct ioapic *ioapic, unsigned int pin)
{
	struct ioapic_state *st = &ioapic->state;
	struct ioapic_route route = ioapic_rte_route(st->rte[pin]);
	uint64_t bit = UINT64_C(1) << pin;
	int taken;

	if (route.masked)
		return;
	if (!((route.level ? st->lines : st->pending) & bit))
		return;
	if (route.level && (st->rte[pin] & RTE_REMOTE_IRR))
		return;
	taken = ioapic->config.deliver(ioapic->config.arg, route.address, route.data);
	st->pending &= ~bit;
	/* Nobody will send an EOI for what nobody took. */
	if (route.level && taken > 0)
		st->rte[pin] |= RTE_REMOTE_IRR;
}

static void ioapic_raise(void *arg)
{
	struct ioapic_pin *pin = arg;
	struct ioapic *ioapic = pin->ioapic;
	uint64_t bit = UINT64_C(1) << pin->index;

	pthread_mutex_lock(&ioapic->lock);
	if (!(ioapic->state.lines & bit)) {
		ioapic->state.lines |= bit;
		ioapic->state.pending |= bit;
		ioapic_service(ioapic, pin->index);
	}
	pthread_mutex_unlock(&ioapic->lock);
}

static void ioapic_lower(void *arg)
{
	struct ioapic_pin *pin = arg;
	struct ioapic *ioapic = pin->ioapic;
	uint64_t bit = UINT64_C(1) << pin->index;

	pthread_mutex_lock(&ioapic->lock);
	ioapic->state.lines &= ~bit;
	ioapic->state.pending &= ~bit;
	pthread_mutex_unlock(&ioapic->lock);
}

void ioapic_init(struct ioapic *ioapic, const struct ioapic_config *config)
{
	memset(ioapic, 0, sizeof(*ioapic));
	ioapic->config = *config;
	ioapic->state.id = config->id & ID_MASK;
	ioapic->n_pins = IOAPIC_PINS;
	pthread_mutex_init(&ioapic->lock, NULL);
	for (unsigned int i = 0; i < IOAPIC_PINS; i++) {
		ioapic->pins[i] = (struct ioapic_pin){.ioapic = ioapic, .index = i};
		ioapic->state.rte[i] = RTE_MASK;
	}
}

void ioapic_limit_pins(struct ioapic *ioapic, unsigned int n_pins)
{
	assert(n_pins > 0 && n_pins <= IOAPIC_PINS);
	ioapic->n_pins = n_pins;
}

struct irq_line ioapic_irq_line(struct ioapic *ioapic, unsigned int pin)
{
	assert(pin < IOAPIC_PINS);
	return (struct irq_line){
		.raise = ioapic_raise, .lower = ioapic_lower, .arg = &ioapic->pins[pin]};
}

/* Pin of the RTE that a window register is half of, or IOAPIC_PINS. */
static unsigned int ioapic_reg_pin(const struct ioapic *ioapic, uint8_t reg)
{
	unsigned int pin = reg < REG_RTE ? IOAPIC_PINS : (reg - REG_RTE) / 2u;

	return pin < ioapic->n_pins ? pin : IOAPIC_PINS;
}

static uint32_t ioapic_read_window(const struct ioapic *ioapic)
{
	const struct ioapic_state *st = &ioapic->state;
	unsigned int pin = ioapic_reg_pin(ioapic, st->regsel);

	switch (st->regsel) {
	case REG_ID:
	case REG_ARB:
		return (uint32_t)st->id << ID_SHIFT;
	case REG_VER:
		return VERSION | (ioapic->n_pins - 1) << VER_MAX_RTE;
	default:
		if (pin == IOAPIC_PINS)
			return UINT32_MAX;
		return (uint32_t)(st->regsel & 1 ? st->rte[pin] >> 32 : st->rte[pin]);
	}
}

static bool ioapic_route_equal(const struct ioapic_route *a, const struct ioapic_route *b)
{
	return a->address == b->address && a->data == b->data && a->level == b->level &&
	       a->masked == b->masked;
}

static void ioapic_write_rte(struct ioapic *ioapic, unsigned int pin, uint64_t value)
{
	uint64_t *rte = &ioapic->state.rte[pin];
	struct ioapic_route before = ioapic_rte_route(*rte), after;

	*rte = (*rte & ~RTE_WRITABLE) | (value & RTE_WRITABLE);
	/* Linux and Xen clear a stuck Remote IRR by switching the pin to edge and back. */
	if (!(*rte & RTE_LEVEL))
		*rte &= ~RTE_REMOTE_IRR;
	after = ioapic_rte_route(*rte);
	if (ioapic->config.route_changed && !ioapic_route_equal(&before, &after))
		ioapic->config.route_changed(ioapic->config.arg, pin, &after);
	ioapic_service(ioapic, pin);
}

static void ioapic_write_window(struct ioapic *ioapic, uint32_t value)
{
	struct ioapic_state *st = &ioapic->state;
	unsigned int pin = ioapic_reg_pin(ioapic, st->regsel);
	uint64_t rte;

	if (st->regsel == REG_ID)
		st->id = (value >> ID_SHIFT) & ID_MASK;
	if (pin == IOAPIC_PINS)
		return;
	rte = st->rte[pin];
	if (st->regsel & 1)
		rte = (rte & UINT32_MAX) | (uint64_t)value << 32;
	else
		rte = (rte & ~(uint64_t)UINT32_MAX) | value;
	ioapic_write_rte(ioapic, pin, rte);
}

/* The lock is held. */
static void ioapic_end(struct ioapic *ioapic, uint8_t vector)
{
	const uint64_t level = RTE_LEVEL | RTE_REMOTE_IRR;

	for (unsigned int pin = 0; pin < IOAPIC_PINS; pin++) {
		uint64_t *rte = &ioapic->state.rte[pin];

		if ((*rte & level) != level || (*rte & RTE_VECTOR) != vector)
			continue;
		*rte &= ~RTE_REMOTE_IRR;
		ioapic_service(ioapic, pin);
	}
}

void ioapic_eoi(struct ioapic *ioapic, uint8_t vector)
{
	pthread_mutex_lock(&ioapic->lock);
	ioapic_end(ioapic, vector);
	pthread_mutex_unlock(&ioapic->lock);
}

uint64_t ioapic_read(void *arg, uint64_t offset, unsigned int width)
{
	struct ioapic *ioapic = arg;
	uint64_t value = UINT64_MAX;

	pthread_mutex_lock(&ioapic->lock);
	switch (offset) {
	case IOAPIC_REGSEL:
		value = ioapic->state.regsel;
		break;
	case IOAPIC_WINDOW:
		value = ioapic_read_window(ioapic);
		break;
	default:
		break;
	}
	pthread_mutex_unlock(&ioapic->lock);
	/* Above the 32 bits of a register there is nothing. */
	return (value | ~(uint64_t)UINT32_MAX) & bus_ones(width);
}

void ioapic_write(void *arg, uint64_t offset, unsigned int width, uint64_t value)
{
	struct ioapic *ioapic = arg;

	pthread_mutex_lock(&ioapic->lock);
	switch (offset) {
	case IOAPIC_REGSEL:
		ioapic->state.regsel = (uint8_t)value;
		break;
	case IOAPIC_WINDOW:
		if (width >= 4)
			ioapic_write_window(ioapic, (uint32_t)value);
		break;
	case IOAPIC_EOIR:
		ioapic_end(ioapic, (uint8_t)value);
		break;
	default:
		break;
	}
	pthread_mutex_unlock(&ioapic->lock);
}

void ioapic_fini(struct ioapic *ioapic)
{
	pthread_mutex_destroy(&ioapic->lock);
}
