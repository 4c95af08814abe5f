#include "devices/console.h"

#include <assert.h>
#include <errno.h>

static const char console_help[] = "\r\n"
				   "Ctrl-A x       end the VM\r\n"
				   "Ctrl-A h       list these keys\r\n"
				   "Ctrl-A Ctrl-A  send Ctrl-A to the guest\r\n";

static bool console_on_tx(void *arg, uint8_t byte)
{
	struct console *console = arg;

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
}

static size_t console_on_receive(void *arg, const uint8_t *buf, size_t n)
{
	struct console *console = arg;

	return serial_receive(console->serial, buf, n);
}

static void console_on_key(void *arg, unsigned int pressed)
{
	struct console *console = arg;

	if (pressed & CONSOLE_KEY_HELP)
		console_output_text(&console->output, console_help);
	if (pressed & CONSOLE_KEY_QUIT)
		console->config.on_quit(console->config.arg);
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

	assert(!config->keys || config->on_quit);
	console->config = *config;
	console->serial = NULL;
	err = console_init_output(console, config->out_fd);
	if (err == -EBADF)
		err = console_init_output(console, -1);
	if (err < 0)
		return err;
	err = console_init_input(console, config->in_fd);
	if (err == -EBADF)
		err = console_init_input(console, -1);
	if (err < 0)
		console_output_fini(&console->output);
	return err;
}

struct serial_backend console_backend(struct console *console)
{
	return (struct serial_backend){
		.tx = console_on_tx, .rx_room = console_on_rx_room, .arg = console};
}

void console_start(struct console *console, struct serial *serial)
{
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
	console_input_fini(&console->input);
	console_output_fini(&console->output);
}
