/*
 * Where a PC has its clock and CMOS memory (MC146818, ports 0x70 and 0x71), there is none here: guests with ACPI are told so
 * (FADT, 5.2.9.3), and all have KVM's clock.
 *
 * Others look at the chip, and wait without a bound for the end of an update of the time, which bit 7 of register A tells of; reads of
 * nothing would tell of one for ever. So what is there is a chip whose battery is empty: no update, by bit 7 of register D no valid time,
 * and a time that is a time all the same, the first of January 2000.
 *
 * Owner: the machine. Any vCPU thread may call the handlers.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

struct cmos {
	/* any thread; all that a snapshot must save */
	_Atomic uint8_t index;
};

#define CMOS_SIZE 2
#define CMOS_DATA 1

void cmos_init(struct cmos *cmos);
uint64_t cmos_read(void *cmos, uint64_t offset, unsigned int width);
void cmos_write(void *cmos, uint64_t offset, unsigned int width, uint64_t value);
