#include "devices/console.h"

#include <errno.h>
#include <string.h>

#include "vmm/core/assert.h"
#include "vmm/core/log.h"

static const char console_help[] = "\r\n"
				   "Ctrl-A x       end the VM\r\n"
				   "Ctrl-A d       show what the vCPUs are doing\r\n"
				   "Ctrl-A c       dump the guest (--dump-guest)\r\n"
				   "Ctrl-A b       send a break (SysRq)\r\n"
				   "Ctrl-A h       list these keys\r\n"
				   "Ctrl-A Ctrl-A  send Ctrl-A to the guest\r\n";

static bool console_on_tx(void *arg, uint8_t byte)
{
	struct console *console = arg;

	atomic_store_explicit(&console->wrote, true, memory_order_relaxed);
	return console_output_put(&console->output, byte);
}

static void console_on_rx_room(void *arg)
{
	struct console *console = arg;

	console_input_room(&console->input);
}

static void console_on_tx_ready(void *arg)
{
	struct console *console = arg;

	serial_tx_ready(console->serial);
	if (console->port.tx_ready)
		console->port.tx_ready(console->port.arg);
}

static size_t console_on_receive(void *arg, const uint8_t *buf, size_t n)
{
	struct console *console = arg;

	if (console->port.receive)
		return console->port.receive(console->port.arg, buf, n);
	return serial_receive(console->serial, buf, n);
}

static void console_on_input_end(void *arg)
{
	struct console *console = arg;

	console_socket_on_input_end(&console->socket);
}

static void console_on_key(void *arg, unsigned int pressed)
{
	struct console *console = arg;

	if (pressed & CONSOLE_KEY_HELP)
		console_output_text(&console->output, console_help);
	if (pressed & CONSOLE_KEY_BREAK &&
	    (console->port.receive || !serial_receive_break(console->serial)))
		console_output_text(&console->output,
				    "\r\nno break: nobody reads the serial port\r\n");
	if (pressed & ~(unsigned int)(CONSOLE_KEY_HELP | CONSOLE_KEY_BREAK))
		console->config.on_keys(console->config.arg, pressed);
}

static int console_init_input(struct console *console, int fd)
{
	struct console_input_config config = {
		.loop = console->config.loop,
		.fd = fd,
		.keys = console->config.keys,
		.receive = console_on_receive,
		.on_key = console_on_key,
		.arg = console,
	};

	return console_input_init(&console->input, &config);
}

static int console_init_output(struct console *console, int fd)
{
	return console_output_init(&console->output, console->config.loop, fd, console_on_tx_ready,
				   console);
}

int console_init(struct console *console, const struct console_config *config)
{
	int err;

	assert(!config->keys || config->on_keys);
	console->config = *config;
	console->serial = NULL;
	console->port = (struct console_port){0};
	err = console_init_output(console, config->out_fd);
	if (err < 0)
		return err;
	err = console_init_input(console, config->in_fd);
	if (err < 0)
		console_output_fini(&console->output);
	else
		console_listen(console, -1);
	return err;
}

void console_listen(struct console *console, int fd)
{
	console_socket_init(&console->socket, console->config.loop, fd, &console->output,
			    &console->input);
	console->input.config.on_end = fd >= 0 ? console_on_input_end : NULL;
}

void console_set_port(struct console *console, const struct console_port *port)
{
	console->port = *port;
}

size_t console_write(struct console *console, const void *buf, size_t n)
{
	atomic_store_explicit(&console->wrote, true, memory_order_relaxed);
	return console_output_append(&console->output, buf, n);
}

bool console_wrote(struct console *console)
{
	return atomic_exchange_explicit(&console->wrote, false, memory_order_relaxed);
}

void console_room(struct console *console)
{
	console_input_room(&console->input);
}

struct serial_backend console_backend(struct console *console)
{
	return (struct serial_backend){
		.tx = console_on_tx, .rx_room = console_on_rx_room, .arg = console};
}

void console_start(struct console *console, struct serial *serial)
{
	int err = console_socket_start(&console->socket);

	if (err < 0)
		log_warn("nobody can connect to the guest's console: %s", strerror(-err));
	console->serial = serial;
	console_input_start(&console->input);
}

struct console_flush_args {
	struct console *console;
	unsigned int timeout_ms;
};

static void console_on_flush(void *arg)
{
	struct console_flush_args *args = arg;

	console_output_flush(&args->console->output, args->timeout_ms);
}

void console_flush(struct console *console, unsigned int timeout_ms)
{
	struct console_flush_args args = {.console = console, .timeout_ms = timeout_ms};

	evloop_call(console->config.loop, console_on_flush, &args);
}

void console_fini(struct console *console)
{
	console_socket_fini(&console->socket);
	console_input_fini(&console->input);
	console_output_fini(&console->output);
}
