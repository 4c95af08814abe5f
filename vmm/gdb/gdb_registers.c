#include "vmm/gdb/gdb_registers.h"

#include <stdio.h>
#include <string.h>

/* Registers of one kind that follow one another. */
struct gdb_register_group {
	const char *feature; /* that begins here; NULL: the one before goes on */
	const char *names;
	const char *type; /* see gdb_types */
	unsigned int bits;
};

static const struct gdb_register_group gdb_register_groups[] = {
	{"org.gnu.gdb.i386.core", "rax rbx rcx rdx rsi rdi", "int64", 64},
	{NULL, "rbp rsp", "data_ptr", 64},
	{NULL, "r8 r9 r10 r11 r12 r13 r14 r15", "int64", 64},
	{NULL, "rip", "code_ptr", 64},
	{NULL, "eflags", "eflags", 32},
	{NULL, "cs ss ds es fs gs", "int32", 32},
	{NULL, "st0 st1 st2 st3 st4 st5 st6 st7", "i387_ext", 80},
	{NULL, "fctrl fstat ftag fiseg fioff foseg fooff fop", "int\" group=\"float", 32},
	{"org.gnu.gdb.i386.sse",
	 "xmm0 xmm1 xmm2 xmm3 xmm4 xmm5 xmm6 xmm7 xmm8 xmm9 xmm10 xmm11 xmm12 xmm13 xmm14 xmm15",
	 "v4f", 128},
	{NULL, "mxcsr", "int\" group=\"vector", 32},
	{"org.gnu.gdb.i386.segments", "fs_base gs_base", "int64", 64},
	{"vmm.control", "cr0 cr2 cr3 cr4 cr8 efer", "int64", 64},
};

#define N_GROUPS (sizeof(gdb_register_groups) / sizeof(gdb_register_groups[0]))

/* Every feature has them: a type is known in the feature that defines it alone. */
static const char gdb_types[] = "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>"
				"<flags id=\"eflags\" size=\"4\">";

static const struct {
	char name[3];
	uint8_t bit;
} gdb_flags[] = {{"CF", 0},  {"", 1},	 {"PF", 2},  {"AF", 4},	 {"ZF", 6},
		 {"SF", 7},  {"TF", 8},	 {"IF", 9},  {"DF", 10}, {"OF", 11},
		 {"NT", 14}, {"RF", 16}, {"VM", 17}, {"AC", 18}, {"ID", 21}};

bool gdb_register_find(uint64_t number, size_t *offset, size_t *size)
{
	*offset = 0;
	for (size_t i = 0; i < N_GROUPS; i++) {
		const struct gdb_register_group *g = &gdb_register_groups[i];

		*size = g->bits / 8;
		for (const char *name = g->names; name; name = strchr(name + 1, ' ')) {
			if (number-- == 0)
				return true;
			*offset += *size;
		}
	}
	return false;
}

/* ---- the description ---- */

/* The part of a long text that somebody wants. */
struct gdb_window {
	uint64_t skip; /* bytes that come before it */
	char *to;
	size_t room;
};

static void gdb_window_add(struct gdb_window *w, const char *text)
{
	size_t len = strlen(text), skip = w->skip < len ? (size_t)w->skip : len;

	w->skip -= skip;
	len -= skip;
	if (len > w->room)
		len = w->room;
	memcpy(w->to, text + skip, len);
	w->to += len;
	w->room -= len;
}

static void gdb_describe_types(struct gdb_window *w)
{
	char line[128];

	gdb_window_add(w, gdb_types);
	for (size_t i = 0; i < sizeof(gdb_flags) / sizeof(gdb_flags[0]); i++) {
		snprintf(line, sizeof(line), "<field name=\"%s\" start=\"%u\" end=\"%u\"/>",
			 gdb_flags[i].name, gdb_flags[i].bit, gdb_flags[i].bit);
		gdb_window_add(w, line);
	}
	gdb_window_add(w, "</flags>");
}

static void gdb_describe_group(struct gdb_window *w, const struct gdb_register_group *g)
{
	char line[128];

	for (const char *name = g->names; name; name = strchr(name, ' ')) {
		name += *name == ' ';
		snprintf(line, sizeof(line), "<reg name=\"%.*s\" bitsize=\"%u\" type=\"%s\"/>\n",
			 (int)strcspn(name, " "), name, g->bits, g->type);
		gdb_window_add(w, line);
	}
}

size_t gdb_register_description(uint64_t offset, char *text, size_t size)
{
	struct gdb_window w = {.skip = offset, .to = text, .room = size};

	gdb_window_add(&w, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
			   "<target><architecture>i386:x86-64</architecture>\n");
	for (size_t i = 0; i < N_GROUPS; i++) {
		const struct gdb_register_group *g = &gdb_register_groups[i];

		if (g->feature) {
			gdb_window_add(&w, i ? "</feature><feature name=\"" : "<feature name=\"");
			gdb_window_add(&w, g->feature);
			gdb_window_add(&w, "\">");
			gdb_describe_types(&w);
		}
		gdb_describe_group(&w, g);
	}
	gdb_window_add(&w, "</feature></target>\n");
	return size - w.room;
}
