#include "vmm/machine/guest_log_x86.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/machine/guest_walk_x86.h"

#define LOG_LINE 1024 /* what Linux takes of a message, at most */

/* A descriptor's state is in its number's upper bits; of those with a text these two are complete. */
#define DESC_ID_BITS   62
#define DESC_ID_MASK   ((UINT64_C(1) << DESC_ID_BITS) - 1)
#define DESC_COMMITTED 1
#define DESC_FINALIZED 2

/* Where things are in the structs of kernel/printk/printk_ringbuffer.h, by the names that VMCOREINFO has for them. */
enum layout {
	RING_DESCS,
	RING_TEXT,
	DESCS_COUNT_BITS,
	DESCS_DESCS,
	DESCS_INFOS,
	DESCS_HEAD,
	DESC_SIZE,
	DESC_STATE,
	DESC_TEXT,
	TEXT_BEGIN,
	TEXT_NEXT,
	INFO_SIZE,
	INFO_TIME,
	INFO_LEN,
	DATA_SIZE_BITS,
	DATA_DATA,
	N_LAYOUT,
};

static const char layout_names[] = "OFFSET(printk_ringbuffer.desc_ring)=\0"
				   "OFFSET(printk_ringbuffer.text_data_ring)=\0"
				   "OFFSET(prb_desc_ring.count_bits)=\0"
				   "OFFSET(prb_desc_ring.descs)=\0"
				   "OFFSET(prb_desc_ring.infos)=\0"
				   "OFFSET(prb_desc_ring.head_id)=\0"
				   "SIZE(prb_desc)=\0"
				   "OFFSET(prb_desc.state_var)=\0"
				   "OFFSET(prb_desc.text_blk_lpos)=\0"
				   "OFFSET(prb_data_blk_lpos.begin)=\0"
				   "OFFSET(prb_data_blk_lpos.next)=\0"
				   "SIZE(printk_info)=\0"
				   "OFFSET(printk_info.ts_nsec)=\0"
				   "OFFSET(printk_info.text_len)=\0"
				   "OFFSET(prb_data_ring.size_bits)=\0"
				   "OFFSET(prb_data_ring.data)=\0";

struct guest_log {
	const struct guest_mem *mem;
	const struct kvm_sregs *sregs;
	uint64_t layout[N_LAYOUT];
	uint64_t descs, infos, data;
	uint64_t count, size; /* powers of two */
	FILE *out;
};

/* Reads size bytes, 8 at most. What is not there is 0. */
static uint64_t log_read(const struct guest_log *log, uint64_t address, size_t size)
{
	uint64_t value = 0;

	if (guest_walk_read(log->mem, log->sregs, address, &value, size) != size)
		return 0;
	return value;
}

static uint64_t log_read_long(const struct guest_log *log, uint64_t address, enum layout member)
{
	return log_read(log, address + log->layout[member], 8);
}

static uint64_t log_read_power(const struct guest_log *log, uint64_t address, enum layout member)
{
	return UINT64_C(1) << (log_read(log, address + log->layout[member], 4) & 31);
}

/* Returns whether it has a text. */
static bool log_put(struct guest_log *log, uint64_t id)
{
	uint64_t index = id & (log->count - 1), desc = log->descs + index * log->layout[DESC_SIZE];
	uint64_t info = log->infos + index * log->layout[INFO_SIZE];
	uint64_t state = log_read_long(log, desc, DESC_STATE) ^ id;
	uint64_t text = desc + log->layout[DESC_TEXT];
	uint64_t begin = log_read_long(log, text, TEXT_BEGIN) & (log->size - 1);
	uint64_t next = log_read_long(log, text, TEXT_NEXT) & (log->size - 1);
	uint64_t ns = log_read_long(log, info, INFO_TIME);
	size_t len = (size_t)log_read(log, info + log->layout[INFO_LEN], 2);
	char line[LOG_LINE];

	/* Odd ones stand for a message without a text. */
	if ((state & DESC_ID_MASK) != 0 || (begin & 1) != 0 ||
	    (state >> DESC_ID_BITS != DESC_COMMITTED && state >> DESC_ID_BITS != DESC_FINALIZED))
		return false;
	/* What would reach over the end begins at the start. The descriptor's number comes first. */
	if (begin > next && next != 0)
		begin = 0;
	len = len < sizeof(line) ? len : sizeof(line);
	len = guest_walk_read(log->mem, log->sregs, log->data + begin + 8, line, len);
	for (size_t i = 0; i < len; i++)
		line[i] = line[i] ? line[i] : ' ';
	fprintf(log->out, "[%5llu.%06llu] %.*s\n", (unsigned long long)ns / 1000000000,
		(unsigned long long)ns / 1000 % 1000000, (int)len, line);
	return true;
}

/* Returns how many there were. */
static unsigned int log_put_last(struct guest_log *log, uint64_t ring, unsigned int n)
{
	uint64_t descs = ring + log->layout[RING_DESCS], text = ring + log->layout[RING_TEXT];
	uint64_t head = log_read_long(log, descs, DESCS_HEAD);
	unsigned int found = 0;

	log->count = log_read_power(log, descs, DESCS_COUNT_BITS);
	log->descs = log_read_long(log, descs, DESCS_DESCS);
	log->infos = log_read_long(log, descs, DESCS_INFOS);
	log->size = log_read_power(log, text, DATA_SIZE_BITS);
	log->data = log_read_long(log, text, DATA_DATA);
	if (n > log->count)
		n = (unsigned int)log->count;
	for (; n > 0; n--)
		found += log_put(log, (head - (n - 1)) & DESC_ID_MASK);
	return found;
}

char *guest_log_read(const struct guest_mem *mem, const struct kvm_sregs *sregs,
		     const struct guest_vmcoreinfo *info, unsigned int n)
{
	struct guest_log log = {.mem = mem, .sregs = sregs};
	const char *name = layout_names;
	unsigned int found;
	uint64_t ring;
	char *text;
	size_t size;

	for (unsigned int i = 0; i < N_LAYOUT; i++, name += strlen(name) + 1) {
		if (!guest_vmcoreinfo_number(info, name, 10, &log.layout[i]))
			return NULL;
	}
	if (!guest_vmcoreinfo_number(info, "SYMBOL(prb)=", 16, &ring))
		return NULL;
	log.out = open_memstream(&text, &size);
	if (!log.out)
		return NULL;
	found = log_put_last(&log, log_read(&log, ring, 8), n);
	if (fclose(log.out) == 0 && found > 0)
		return text;
	free(text);
	return NULL;
}
