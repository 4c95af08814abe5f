/*
 * --help, and help TOPIC, of which help.txt has the words. Every option and item has its default; tests/lint/test_options.sh compares it with the parser. What --help
 * shows of an option is its first line, or the second if the first has no room for more than the name. A tab stands for the way to
 * where descriptions begin.
 */
#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "vmm/cli/exit_status.h"
#include "vmm/cli/help.h"
#include "vmm/cli/options.h"
#include "vmm/cli/packed.h"
#include "vmm/cli/report.h"
#include "vmm/cli/suggest.h"

/* help.txt, packed: a line #TOPIC, then its text, and so on. */
extern const struct packed help_packed;

#define HELP_COLUMN 23 /* where descriptions begin */
#define HELP_BYTES  8192
#define HELP_TOPICS 16

static struct help_section {
	const char *topic;
	const char *text;
} sections[HELP_TOPICS + 1]; /* the last one has no topic */

static const char usage[] =
	"usage: vmm [OPTION]... [-- COMMAND [ARGUMENT]...]\n"
	"       vmm doctor [--kernel FILE] [--json], vmm image COMMAND, vmm help [TOPIC]\n"
	"Boots Linux in a virtual machine, or runs one command there as if it ran here.\n"
	"\n";

static void help_unpack(void)
{
	static char text[HELP_BYTES];
	char *at = &text[1];

	assert(help_packed.size < sizeof(text));
	packed_unpack(&help_packed, text);
	for (struct help_section *s = sections; at; s++) {
		assert(s < &sections[HELP_TOPICS]);
		s->topic = strsep(&at, "\n");
		s->text = at;
		at = strstr(at, "\n#");
		if (at) {
			at[1] = '\0';
			at += 2;
		}
	}
}

/* ---- what --help shows of a section ---- */

static const char *help_next_line(const char *line)
{
	return strchr(line, '\n') + 1;
}

/* NULL: the line ends with the option's name and value, or has none. */
static const char *help_tab(const char *line)
{
	return memchr(line, '\t', (size_t)(help_next_line(line) - line));
}

static void help_print_line(const char *line)
{
	const char *tab = help_tab(line);

	if (tab) {
		printf("%-*.*s", HELP_COLUMN, (int)(tab - line), line);
		line = tab + 1;
	}
	fwrite(line, 1, (size_t)(help_next_line(line) - line), stdout);
}

static void help_print(const char *text)
{
	for (const char *line = text; *line; line = help_next_line(line))
		help_print_line(line);
}

static void help_print_brief(const char *text)
{
	for (const char *line = text; *line; line = help_next_line(line)) {
		if (strncmp(line, "  --", 4) != 0)
			continue;
		help_print_line(line);
		if (!help_tab(line))
			help_print_line(help_next_line(line));
	}
}

static void help_print_topics(void)
{
	for (const struct help_section *s = sections; s->topic; s++)
		printf(" %s", s->topic);
}

void options_print_help(void)
{
	help_unpack();
	fputs(usage, stdout);
	for (const struct help_section *s = sections; s->topic; s++)
		help_print_brief(s->text);
	fputs("  --help, --version    print and end\n"
	      "\n"
	      "Ctrl-A x ends the machine, Ctrl-] three times that of a command. The manual is\n"
	      "vmm(1). More is told by vmm help OPTION and by vmm help with one of\n",
	      stdout);
	help_print_topics();
	fputs(" all\n", stdout);
}

/* ---- topics ---- */

/* Words that are looked for elsewhere. */
static const char *const help_aliases[][2] = {
	{"exit", "status"}, {"signals", "status"}, {"keys", "console"}};

/* The line of an option of this name, or NULL. */
static const char *help_find_option(const struct help_section *s, const char *name)
{
	size_t len = strlen(name);

	for (const char *line = s->text; *line; line = help_next_line(line)) {
		if (strncmp(line, "  --", 4) == 0 && strncmp(line + 4, name, len) == 0 &&
		    line[4 + len] == ' ')
			return line;
	}
	return NULL;
}

/* With what belongs to it. */
static void help_print_option(const char *line)
{
	do {
		help_print_line(line);
		line = help_next_line(line);
	} while ((*line == ' ' || *line == '\t') && strncmp(line, "  --", 4) != 0);
}

static int help_refuse(const char *topic)
{
	struct suggestion s = suggest_begin(topic);

	for (size_t i = 0; sections[i].topic; i++)
		suggest_try(&s, sections[i].topic);
	if (s.name)
		report("there is no help on '%s'; did you mean '%s'?", topic, s.name);
	else
		report("there is no help on '%s'; see vmm --help", topic);
	return EXIT_STATUS_FAILED;
}

int help_topic(const char *topic)
{
	const char *name = topic ? topic + strspn(topic, "-") : "";
	bool found = false;

	if (!topic) {
		options_print_help();
		return 0;
	}
	for (size_t i = 0; i < 3; i++)
		topic = strcmp(topic, help_aliases[i][0]) == 0 ? help_aliases[i][1] : topic;
	help_unpack();
	for (const struct help_section *s = sections; s->topic; s++) {
		const char *option = *name ? help_find_option(s, name) : NULL;

		if (strcmp(topic, "all") == 0 || strcmp(topic, s->topic) == 0)
			help_print(s->text);
		else if (option)
			help_print_option(option);
		else
			continue;
		found = true;
	}
	return found ? 0 : help_refuse(topic);
}
