#include "vmm/cli/value.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_YEAR_SECONDS (366 * 24 * 3600)

/* Reads leading digits; *end is behind them. */
static int value_digits(const char *text, uint64_t *out, const char **end)
{
	uint64_t value = 0;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	for (; isdigit((unsigned char)*text); text++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return -EINVAL;
	}
	*out = value;
	*end = text;
	return 0;
}

int value_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	const char *end;
	uint64_t value;

	if (value_digits(text, &value, &end) < 0 || *end != '\0' || value < min || value > max)
		return -EINVAL;
	*out = value;
	return 0;
}

int value_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGTkmgt";
	unsigned int shift = 20;
	const char *end, *unit;
	uint64_t value;

	if (value_digits(text, &value, &end) < 0)
		return -EINVAL;
	if (*end != '\0') {
		unit = strchr(units, *end++);
		if (!unit)
			return -EINVAL;
		shift = 10 * ((unsigned int)(unit - units) % 4 + 1);
	}
	if (*end != '\0' || value > UINT64_MAX >> shift)
		return -EINVAL;
	*bytes = value << shift;
	return 0;
}

int value_choice(const char *text, const char *const words[], int n)
{
	do
		n--;
	while (n >= 0 && strcmp(text, words[n]) != 0);
	return n;
}

int value_seconds(const char *text, uint64_t *ms)
{
	char *end;
	double value;

	/* strtod() also takes white space, signs, hex and words. */
	if (text[strspn(text, "0123456789.")] != '\0')
		return -EINVAL;
	value = strtod(text, &end);
	if (end == text || *end != '\0' || !(value > 0) || value > VALUE_YEAR_SECONDS)
		return -EINVAL;
	*ms = (uint64_t)(value * 1000);
	if (*ms == 0)
		*ms = 1;
	return 0;
}

int value_mac(const char *text, uint8_t mac[6])
{
	uint8_t any = 0;

	for (unsigned int i = 0; i < 6; i++, text += 3) {
		const char pair[3] = {text[0], text[0] ? text[1] : '\0', '\0'};

		if (!isxdigit((unsigned char)pair[0]) || !isxdigit((unsigned char)pair[1]))
			return -EINVAL;
		if (text[2] != (i < 5 ? ':' : '\0'))
			return -EINVAL;
		mac[i] = (uint8_t)strtoull(pair, NULL, 16);
		any |= mac[i];
	}
	return any == 0 || (mac[0] & 1) ? -EINVAL : 0;
}

char *value_next_item(char **list)
{
	char *item = *list, *to = item;

	for (char *from = item;; from++) {
		if (*from == ',' && from[1] == ',') {
			from++;
		} else if (*from == ',') {
			*list = from + 1;
			break;
		} else if (*from == '\0') {
			*list = NULL;
			break;
		}
		*to++ = *from;
	}
	*to = '\0';
	return item;
}

char *value_of(char *item, const char *key)
{
	size_t len = strlen(key);

	return strncmp(item, key, len) == 0 && item[len] == '=' ? item + len + 1 : NULL;
}
