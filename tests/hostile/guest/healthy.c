/* The sibling: it reads its disk, answers what the host types, and must not notice what another machine does. */
#include "device.h"
#include "themes.h"

#include <linux/serial_reg.h>
#include <linux/virtio_blk.h>

#define COM1	 0x3f8
#define SECTORS	 2048
#define LINE_MAX 32

static unsigned int n_reads, n_bad;
static struct virtio_blk_outhdr hdr;
static uint8_t data[513];

/* The host has written each sector's number at its beginning. */
static void read_sector(struct device *d)
{
	const struct piece pieces[] = {{gpa(&hdr), sizeof(hdr), false}, {gpa(data), 513, true}};
	uint32_t sector = rnd_below(SECTORS);

	hdr.type = VIRTIO_BLK_T_IN;
	hdr.sector = sector;
	data[512] = 0xee;
	if (exchange(d, 0, pieces, 2) != DONE || data[512] != 0 ||
	    (uint32_t)mem_read(gpa(data), 4) != sector)
		n_bad++;
	n_reads++;
}

/* A line of the host is complete. Each comes back, with how the reads go. */
static bool hear(char *line, unsigned int *len)
{
	char c;

	if (!(in8(COM1 + UART_LSR) & UART_LSR_DR))
		return false;
	c = (char)in8(COM1 + UART_RX);
	if (c != '\n' && *len < LINE_MAX - 1) {
		line[(*len)++] = c;
		return false;
	}
	line[*len] = '\0';
	*len = 0;
	return true;
}

void live_healthy(void)
{
	char line[LINE_MAX];
	unsigned int len = 0;
	struct device *d;

	find_devices();
	d = find_device(VIRTIO_ID_BLOCK);
	device_start(d, ALL_FEATURES);
	say("well");
	for (;;) {
		read_sector(d);
		for (unsigned int i = 0; i < 4; i++) {
			if (hear(line, &len))
				say("alive %s %u %u", line, n_reads, n_bad);
		}
	}
}

void live_spin(void)
{
	for (;;)
		pause();
}
