#include "vmm/machine/guest_vmcoreinfo.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096u

/* How its page begins. */
struct vmcoreinfo_page {
	Elf64_Nhdr note;
	char name[(sizeof(GUEST_VMCOREINFO_NAME) + 3) / 4 * 4];
};

static const char vmcoreinfo_first[] = "OSRELEASE=";

static bool vmcoreinfo_is_text(const char *text, size_t len)
{
	if (strncmp(text, vmcoreinfo_first, strlen(vmcoreinfo_first)) != 0)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (text[i] != '\n' && (text[i] < ' ' || text[i] > '~'))
			return false;
	}
	return true;
}

static bool vmcoreinfo_read(const struct guest_mem *mem, gpa_t gpa, struct guest_vmcoreinfo *info)
{
	struct vmcoreinfo_page page;

	if (guest_mem_read(mem, gpa, &page, sizeof(page)) < 0 ||
	    page.note.n_namesz != sizeof(GUEST_VMCOREINFO_NAME) || page.note.n_type != 0 ||
	    page.note.n_descsz > GUEST_VMCOREINFO_SIZE ||
	    memcmp(page.name, GUEST_VMCOREINFO_NAME, sizeof(GUEST_VMCOREINFO_NAME)) != 0)
		return false;
	info->len = page.note.n_descsz;
	info->text[info->len] = '\0';
	return guest_mem_read(mem, gpa + sizeof(page), info->text, info->len) == 0 &&
	       vmcoreinfo_is_text(info->text, info->len);
}

bool guest_vmcoreinfo_find(const struct guest_mem *mem, struct guest_vmcoreinfo *info)
{
	for (unsigned int i = 0; i < mem->n_regions; i++) {
		const struct guest_mem_region *r = &mem->regions[i];

		for (uint64_t at = 0, end; (end = guest_mem_next_part(mem, r, &at)) > 0;) {
			for (; at < end; at += PAGE) {
				if (vmcoreinfo_read(mem, r->base + at, info))
					return true;
			}
		}
	}
	return false;
}

bool guest_vmcoreinfo_number(const struct guest_vmcoreinfo *info, const char *name,
			     unsigned int base, uint64_t *number)
{
	size_t len = strlen(name);

	for (const char *line = info->text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, len) == 0) {
			char *end;

			errno = 0;
			*number = strtoull(line + len, &end, (int)base);
			return errno == 0 && end > line + len;
		}
	}
	return false;
}
