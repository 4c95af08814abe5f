/* The virtio console: another port of the console that the serial port has, on the same loop. */
#include "vmm/machine/machine.h"

#include <stdlib.h>

#include "virtio/console.h"

struct machine_console {
	struct machine_card card;
	struct machine *machine;
	struct virtio_console console;
};

static size_t machine_console_write(void *arg, const void *buf, size_t n)
{
	struct machine_console *c = arg;

	return console_write(&c->machine->console, buf, n);
}

static void machine_console_rx_room(void *arg)
{
	struct machine_console *c = arg;

	console_room(&c->machine->console);
}

static size_t machine_console_receive(void *arg, const uint8_t *buf, size_t n)
{
	struct machine_console *c = arg;

	return virtio_console_receive(&c->console, buf, n);
}

static void machine_console_tx_ready(void *arg)
{
	struct machine_console *c = arg;

	virtio_console_tx_ready(&c->console);
}

static void machine_remove_console(struct machine_card *card)
{
	static const struct console_port none;
	struct machine_console *c = (struct machine_console *)card;

	console_set_port(&c->machine->console, &none);
	virtio_console_fini(&c->console);
	free(c);
}

int machine_add_console(struct machine *machine)
{
	struct machine_console *c = calloc(1, sizeof(*c));
	struct virtio_console_host host = {
		.write = machine_console_write, .rx_room = machine_console_rx_room, .arg = c};
	struct console_port port = {
		.receive = machine_console_receive, .tx_ready = machine_console_tx_ready, .arg = c};
	int err;

	if (!c)
		return log_no_memory();
	c->machine = machine;
	err = virtio_console_init(&c->console, &machine->loop, &host);
	if (err < 0)
		goto fail;
	err = machine_add_card(machine, &c->card, &c->console.dev, machine_remove_console);
	if (err < 0)
		goto fail_console;
	console_set_port(&machine->console, &port);
	machine->virtio_console = c;
	return 0;
fail_console:
	virtio_console_fini(&c->console);
fail:
	free(c);
	return err;
}

void machine_console_resize(struct machine *machine, unsigned int rows, unsigned int columns)
{
	/* A serial port knows of no size. */
	if (machine->virtio_console)
		virtio_console_resize(&machine->virtio_console->console, rows, columns);
}
