#include "vmm/cli/image.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "vmm/cli/exit_status.h"
#include "vmm/cli/help.h"
#include "vmm/cli/image_store.h"
#include "vmm/cli/options.h"
#include "vmm/cli/progress.h"
#include "vmm/cli/report.h"
#include "vmm/cli/suggest.h"
#include "vmm/cli/value.h"
#include "vmm/image/image_pack.h"

#define MIB	     (1 << 20)
#define OPTION_CACHE "--image-cache"

struct image_command {
	const char *dir; /* of the cache; NULL: not given */
	uint64_t bound;
	int n;
	char **words; /* the command's own, then what is behind it */
	struct image_cache cache;
	uint64_t size; /* so far */
	unsigned int count;
};

static int image_report(int err, const struct image_why *why)
{
	if (err < 0)
		report("%s", why->text);
	return err;
}

/* ---- ls, du ---- */

/* An archive's maker has chosen the name: it does not steer a terminal. */
static void image_show_one(void *arg, const struct image_entry *entry, bool used)
{
	struct image_command *c = arg;
	char when[32] = "-", line[8192];
	struct tm tm;

	if (c->count++ == 0)
		printf("%-12s %8s  %-16s %s\n", "DIGEST", "SIZE", "LAST USED", "NAME");
	/* The year of a file's time may be more than an int holds. */
	if (localtime_r(&entry->used, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M", &tm);
	snprintf(line, sizeof(line), "%.12s %7" PRIu64 "M  %-16s %s%s", entry->digest + 7,
		 (entry->size + MIB - 1) / MIB, when, image_entry_name(entry),
		 used ? " (in use)" : "");
	report_clean(line);
	puts(line);
}

static int image_list(struct image_command *c)
{
	struct image_why why;

	return image_report(image_cache_list(&c->cache, image_show_one, c, &why), &why);
}

static void image_add_one(void *arg, const struct image_entry *entry, bool used)
{
	struct image_command *c = arg;

	(void)used;
	c->size += entry->size;
	c->count++;
}

static int image_usage(struct image_command *c)
{
	struct image_why why;
	int err = image_cache_list(&c->cache, image_add_one, c, &why);

	if (err == 0)
		printf("%u images, %" PRIu64 "M of at most %" PRIu64 "M, in %s\n", c->count,
		       (c->size + MIB - 1) / MIB, c->cache.bound / MIB, c->cache.path);
	return image_report(err, &why);
}

/* ---- rm, prune ---- */

static int image_remove(struct image_command *c)
{
	struct image_why why;
	int err = 0;

	for (int i = 0; i < c->n; i++) {
		int one = image_report(image_cache_remove(&c->cache, c->words[i], &why), &why);

		err = one < 0 ? one : err;
	}
	return err;
}

static int image_prune(struct image_command *c)
{
	uint64_t bound = 0, size;
	struct image_why why;
	int err;

	if (c->n > 0 && strcmp(c->words[0], "0") != 0 && value_size(c->words[0], &bound) < 0)
		return report_refuse(
			"vmm image prune takes the size that may be left, such as 4G, not '%s'",
			c->words[0]);
	err = image_cache_trim(&c->cache, bound, &size, &why);
	if (err == 0)
		printf("%" PRIu64 "M left\n", (size + MIB - 1) / MIB);
	return image_report(err, &why);
}

/* ---- build ---- */

static int image_make(struct image_command *c)
{
	struct image_why why;
	int err;

	progress_begin();
	err = image_pack(c->words[0], c->words[1], &image_store_progress, &why);
	progress_made();
	progress_end();
	return image_report(err, &why);
}

/* ---- which ---- */

static const struct image_verb {
	const char *name;
	const char *words; /* what it takes */
	int min, max;
	bool cache; /* it works on that */
	int (*fn)(struct image_command *c);
} image_verbs[] = {
	{"ls", "", 0, 0, true, image_list},
	{"du", "", 0, 0, true, image_usage},
	{"rm", " NAME|DIGEST...", 1, 1000, true, image_remove},
	{"prune", " [SIZE]", 0, 1, true, image_prune},
	{"build", " DIR|IMAGE FILE", 2, 2, false, image_make},
};

#define N_VERBS (sizeof(image_verbs) / sizeof(image_verbs[0]))

static int image_refuse(const char *word)
{
	struct suggestion s = suggest_begin(word);

	for (size_t i = 0; i < N_VERBS; i++)
		suggest_try(&s, image_verbs[i].name);
	if (!*word)
		report("vmm image takes ls, du, rm, prune or build; see vmm help image");
	else if (s.name)
		report("vmm image has no '%s'; did you mean '%s'?", word, s.name);
	else
		report("vmm image has no '%s'; see vmm help image", word);
	return -EINVAL;
}

static int image_run(const struct image_verb *verb, struct image_command *c)
{
	int err = 0;

	if (c->n < verb->min || c->n > verb->max)
		return report_refuse("usage: vmm image %s%s%s", verb->name, verb->words,
				     verb->cache ? " [--image-cache DIR[,size=SIZE]]" : "");
	c->cache.dir = -1;
	if (verb->cache)
		err = image_store_open(&c->cache, c->dir, c->bound);
	if (err == 0)
		err = verb->fn(c);
	image_cache_close(&c->cache);
	return err;
}

/* *at: where the option stands; moves behind its value. */
static int image_take_option(struct image_command *c, int argc, char **argv, int *at)
{
	char *word = argv[*at], *value = NULL;

	if (strncmp(word, OPTION_CACHE "=", strlen(OPTION_CACHE "=")) == 0)
		value = word + strlen(OPTION_CACHE "=");
	else if (strcmp(word, OPTION_CACHE) != 0)
		return image_refuse(word);
	else if (*at + 1 < argc)
		value = argv[++*at];
	if (value && *value)
		return options_image_cache(OPTION_CACHE, value, &c->dir, &c->bound);
	return report_refuse(OPTION_CACHE " needs a value");
}

/* Options go before words or behind them, but what is behind "--" is a word. words has room for all. */
static int image_take_words(struct image_command *c, int argc, char **argv)
{
	bool options = true;
	int err = 0;

	for (int at = 1; at < argc && err == 0; at++) {
		if (options && strcmp(argv[at], "--") == 0)
			options = false;
		else if (options && strncmp(argv[at], "--", 2) == 0)
			err = image_take_option(c, argc, argv, &at);
		else
			c->words[c->n++] = argv[at];
	}
	return err;
}

int image_main(int argc, char **argv)
{
	struct image_command c = {.bound = IMAGE_CACHE_BOUND, .words = argv};

	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--help") == 0)
			return help_topic("image");
	}
	if (image_take_words(&c, argc, argv) < 0)
		return EXIT_STATUS_FAILED;
	for (size_t i = 0; i < N_VERBS && c.n > 0; i++) {
		if (strcmp(c.words[0], image_verbs[i].name) == 0) {
			c.words++;
			c.n--;
			return image_run(&image_verbs[i], &c) < 0 ? EXIT_STATUS_FAILED
								  : EXIT_STATUS_OK;
		}
	}
	image_refuse(c.n > 0 ? c.words[0] : "");
	return EXIT_STATUS_FAILED;
}
