#include "devices/console_keys.h"

#define CTRL_A 0x01

/* The letter after a Ctrl-A. Returns how many bytes go to the guest. */
static size_t console_keys_letter(uint8_t letter, uint8_t *out, unsigned int *pressed)
{
	switch (letter) {
	case 'x':
		*pressed |= CONSOLE_KEY_QUIT;
		return 0;
	case 'd':
		*pressed |= CONSOLE_KEY_SHOW;
		return 0;
	case 'c':
		*pressed |= CONSOLE_KEY_DUMP;
		return 0;
	case 'b':
		*pressed |= CONSOLE_KEY_BREAK;
		return 0;
	case 'h':
		*pressed |= CONSOLE_KEY_HELP;
		return 0;
	case CTRL_A:
		out[0] = CTRL_A;
		return 1;
	default:
		out[0] = CTRL_A;
		out[1] = letter;
		return 2;
	}
}

size_t console_keys_filter(struct console_keys *keys, const uint8_t *in, size_t n, uint8_t *out,
			   unsigned int *pressed)
{
	size_t stored = 0;

	*pressed = CONSOLE_KEY_NONE;
	for (size_t i = 0; i < n; i++) {
		uint8_t byte = in[i];

		if (keys->escape) {
			keys->escape = false;
			if (byte == 'b')
				stored = 0;
			stored += console_keys_letter(byte, out + stored, pressed);
		} else if (byte == CTRL_A) {
			keys->escape = true;
		} else {
			out[stored++] = byte;
		}
	}
	return stored;
}
