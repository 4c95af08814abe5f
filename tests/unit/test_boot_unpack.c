/* boot/codec, vmlinux, job: kernels of every codec, odd ones, damaged ones, and absurd ones. */
#include "unpack_fixture.h"

#include "boot/vmlinux.h"

static void setup(void)
{
	fixture_setup();
	fixture_make_vmlinux();
}

static void teardown(void)
{
	free(bzi);
	bzi = NULL;
	fixture_teardown();
}

#define N(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* ---- what works ---- */

START_TEST(unpacks_each_codec)
{
	const struct boot_params *params;

	fixture_pack(&packers[_i]);
	fixture_expect_unpacked(fixture_boot_unpacked());
	params = guest_mem_ptr(&mem, layout.zero_page, sizeof(*params));
	ck_assert_uint_eq(params->hdr.loadflags, LOADED_HIGH);
	ck_assert_uint_eq(params->hdr.type_of_loader, 0xff);
	ck_assert_uint_eq(params->hdr.init_size, VM_INIT);
	ck_assert_uint_eq(params->hdr.version, 0x20f);
	/* cc_blob_address, which older headers do not name */
	ck_assert_mem_eq((const char *)params + 0x13c, "\0\0\0\0", 4);
	ck_assert_uint_eq(params->acpi_rsdp_addr, layout.acpi_rsdp);
}
END_TEST

#ifdef VMM_HAVE_LZ4
static size_t pack_lz4_blocks(const void *in, size_t len, uint8_t *out, size_t room)
{
	size_t half = len / 2, n = pack_lz4(in, half, out, room);

	return n + pack_lz4((const uint8_t *)in + half, len - half, out + n, room - n);
}

/* Frames one behind the other, which have a magic between them. */
START_TEST(unpacks_several_lz4_frames)
{
	fixture_pack(&(struct packer){"lz4", pack_lz4_blocks});
	fixture_expect_unpacked(fixture_boot_unpacked());
}
END_TEST
#endif

/* An alignment that its address does not have moves the kernel; its virtual address stays. */
START_TEST(unpacks_to_another_place)
{
	fixture_pack(&packers[0]);
	bzi_hdr()->kernel_alignment = 0x2000000;
	fixture_expect_booted(fixture_boot_unpacked());
	ck_assert_uint_eq(entry.entry, VM_ENTRY + 0x1000000);
	fixture_expect_segments(0x1000000);
}
END_TEST

/* Where there is less RAM below it than the ELF header wants. */
START_TEST(unpacks_near_the_first_mib)
{
	for (unsigned int i = 0; i < N_SEGS; i++)
		vm_phdrs[i].p_paddr -= 0xe00000;
	vm_ehdr->e_entry -= 0xe00000;
	fixture_pack(&packers[0]);
	bzi_hdr()->pref_address = 0x200000;
	fixture_expect_booted(fixture_boot_unpacked());
	ck_assert_uint_eq(entry.entry, VM_ENTRY - 0xe00000);
	fixture_expect_segments(-(uint64_t)0xe00000);
}
END_TEST

START_TEST(places_the_initrd_behind_the_kernel)
{
	fixture_pack(&packers[0]);
	cfg.initrd_fd = fixture_file("initrd", 6);
	fixture_expect_booted(fixture_boot_unpacked());
	ck_assert_uint_eq(entry.entry, VM_ENTRY);
	ck_assert_uint_eq(entry.initrd, BZ_PREF + VM_INIT);
	ck_assert_mem_eq(guest_bytes(entry.initrd, 6), "initrd", 6);
}
END_TEST

/* What is told of the kernel to those who want to change it before it runs. */
START_TEST(tells_segments_and_tail)
{
	struct vmlinux_place place = {
		.link = BZ_PREF, .load = BZ_PREF + 0x600000, .size = VM_INIT, .lowest = MIB};
	atomic_bool stop = false;
	struct codec_input in;
	struct vmlinux v;

	fixture_pack(&packers[0]);
	fixture_open_bzimage();
	in = (struct codec_input){
		.fd = cfg.kernel_fd, .offset = bzi_payload, .left = bzi_hdr()->payload_length};
	ck_assert_int_eq(vmlinux_unpack(&mem, &place, &in, &stop, &v), 0);
	ck_assert_uint_eq(v.n_segments, N_SEGS);
	for (unsigned int i = 0; i < N_SEGS; i++) {
		ck_assert_uint_eq(v.segments[i].vaddr, segs[i].vaddr);
		ck_assert_uint_eq(v.segments[i].gpa, segs[i].paddr + 0x600000);
		ck_assert_uint_eq(v.segments[i].size, segs[i].size);
		ck_assert_uint_eq(v.segments[i].room, segs[i].room);
	}
	ck_assert_uint_eq(v.entry, VM_ENTRY + 0x600000);
	ck_assert_uint_eq(v.tail_len, VM_TAIL_LEN);
	ck_assert_mem_eq(v.tail, vm_file + VM_TAIL, VM_TAIL_LEN);
	vmlinux_fini(&v);
	fixture_expect_segments(0x600000);

	/* told to stop, it does, and leaves nothing */
	fixture_clear_ram();
	atomic_store(&stop, true);
	ck_assert_int_eq(vmlinux_unpack(&mem, &place, &in, &stop, &v), -ECANCELED);
}
END_TEST

START_TEST(can_be_abandoned)
{
	fixture_pack(&packers[_i]);
	fixture_open_bzimage();
	boot_abandon(boot_begin(&mem, &cfg, NULL));
	boot_abandon(NULL);
}
END_TEST

/* ---- what is left to the kernel ---- */

START_TEST(leaves_other_kernels_alone)
{
	fixture_pack(&packers[0]);
	bzi_hdr()->xloadflags = 0;
	fixture_expect_plain(fixture_boot_unpacked());
	ck_assert_int_eq(entry.protocol, BOOT_LINUX32);
	bzi_hdr()->xloadflags = XLF_KERNEL_64;
	bzi_hdr()->version = 0x20b;
	fixture_expect_plain(fixture_boot_unpacked());
	bzi_hdr()->version = 0x20f;
	fixture_expect_unpacked(fixture_boot_unpacked());
	/* a codec that nobody knows */
	memcpy(bzi + bzi_payload, "BZh91A", 6);
	fixture_expect_plain(fixture_boot_unpacked());
	/* a kernel that says that it needs less than its unpacked file */
	fixture_pack(&packers[0]);
	bzi_hdr()->init_size = VM_SIZE - 0x200000 - 1;
	fixture_expect_plain(fixture_boot_unpacked());
	bzi_hdr()->init_size++;
	fixture_expect_unpacked(fixture_boot_unpacked());
	/* a place that the kernel's page tables cannot be moved to */
	bzi_hdr()->pref_address -= 0x100000;
	fixture_expect_plain(fixture_boot_unpacked());
	/* RAM that takes page tables of five levels */
	fixture_pack(&packers[0]);
	e820[3] = (struct boot_e820){1ULL << 32, 1ULL << 46, BOOT_E820_RAM};
	cfg.n_e820 = 4;
	fixture_expect_plain(fixture_boot_unpacked());
}
END_TEST

/* Errors are the same, with the same words, and said once. */
START_TEST(refuses_the_same)
{
	fixture_pack(&packers[0]);
	bzi_hdr()->boot_flag = 0;
	fixture_expect_refused(fixture_boot_unpacked(), ENOEXEC, "boot_flag is 0x0000");
	fixture_pack(&packers[0]);
	bzi_hdr()->init_size = 60 * MIB;
	fixture_expect_refused(fixture_boot_unpacked(), ENOMEM,
			       "needs at least 76 MiB of guest memory, has 64 MiB");
	fixture_pack(&packers[0]);
	bzi_size -= 16;
	fixture_expect_refused(fixture_boot_unpacked(), ENOEXEC, "the bzImage is cut off");
	cfg.cmdline = "a line that is too long";
	fixture_pack(&packers[0]);
	bzi_hdr()->cmdline_size = 3;
	fixture_expect_refused(fixture_boot_unpacked(), E2BIG, "the kernel takes 3");
	fixture_close(&cfg.kernel_fd);
	fixture_expect_refused(fixture_boot_opened(NULL), EBADF, "Bad file descriptor");
}
END_TEST

static const uint32_t sizes[] = {0,	      1,	  63,	      0x1000,	 VM_SIZE - 1,
				 VM_SIZE + 1, 0x7fffffff, 0x80000000, UINT32_MAX};

/* The size at the payload's end lies; gzip alone has it twice. */
START_TEST(leaves_wrong_sizes_alone)
{
	for (int i = 0; i < N(sizes); i++) {
		fixture_pack_len(&packers[_i], VM_SIZE, sizes[i]);
		fixture_expect_plain(fixture_boot_unpacked());
	}
}
END_TEST

/* Bytes in the middle, at the ends, and whole parts. */
START_TEST(leaves_damaged_payloads_alone)
{
	size_t len;

	fixture_pack(&packers[_i]);
	len = bzi_hdr()->payload_length;
	for (size_t i = 0; i < 40; i++) {
		size_t at = i < 16 ? i + 6 : 6 + (len - 12) * (i - 15) / 25;
		int ret;

		fixture_pack(&packers[_i]);
		bzi[bzi_payload + at] ^= (uint8_t)(0x81 + i);
		ret = fixture_boot_unpacked();
		fixture_expect_booted(ret);
		/* lz4 has no checksum, and gzip bytes that do not matter */
		if (entry.entry != VM_ENTRY)
			fixture_expect_plain(ret);
	}
	for (size_t i = 0; i < 8; i++) {
		fixture_pack(&packers[_i]);
		memset(bzi + bzi_payload + 6 + (len - 10) * i / 8, i & 1 ? 0xff : 0,
		       (len - 10) / 8);
		ck_assert_int_eq(fixture_boot_unpacked(), 0);
		if (entry.entry != VM_ENTRY)
			fixture_expect_plain(0);
	}
}
END_TEST

START_TEST(leaves_cut_payloads_alone)
{
	const uint32_t size = VM_SIZE;

	for (unsigned int i = 0; i < 24; i++) {
		size_t len;

		fixture_pack(&packers[_i]);
		len = bzi_hdr()->payload_length;
		len = i < 12 ? 12 + i : 12 + (len - 13) * (i - 11) / 12;
		/* also with the right size where the cut is */
		memcpy(bzi + bzi_payload + len - 4, &size, i & 1 ? 4 : 0);
		bzi_hdr()->payload_length = (uint32_t)len;
		fixture_expect_plain(fixture_boot_unpacked());
	}
}
END_TEST

/* ---- what is in the payload is no kernel that we know ---- */

struct absurd {
	size_t offset;
	size_t width;
	uint64_t value;
};

#define EHDR(name) offsetof(Elf64_Ehdr, name), sizeof(((Elf64_Ehdr *)0)->name)
#define PHDR(i, name)                                                                              \
	sizeof(Elf64_Ehdr) + (i) * sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, name),                \
		sizeof(((Elf64_Phdr *)0)->name)

static const struct absurd absurds[] = {
	{0, 4, 0},
	{EI_CLASS, 1, ELFCLASS32},
	{EI_DATA, 1, ELFDATA2MSB},
	{EHDR(e_machine), EM_386},
	{EHDR(e_type), ET_DYN},
	{EHDR(e_phentsize), 55},
	{EHDR(e_phnum), 0},
	{EHDR(e_phnum), UINT16_MAX},
	{EHDR(e_phoff), VM_SIZE - 1},
	{EHDR(e_phoff), UINT64_MAX},
	{EHDR(e_phoff), UINT64_MAX - 64},
	{EHDR(e_entry), 0},
	{EHDR(e_entry), UINT64_MAX},
	{EHDR(e_entry), 0xffffffff81000040},
	{EHDR(e_entry), 0x1003210},
	{EHDR(e_entry), 0x1208000},
	{PHDR(0, p_offset), UINT64_MAX},
	{PHDR(0, p_offset), VM_SIZE - 0x320f},
	{PHDR(0, p_filesz), 0x3211},
	{PHDR(0, p_filesz), UINT64_MAX},
	{PHDR(0, p_memsz), UINT64_MAX},
	{PHDR(0, p_memsz), 0},
	{PHDR(0, p_memsz), 0x200001},
	{PHDR(0, p_paddr), 0},
	{PHDR(0, p_paddr), 0xffffff},
	{PHDR(0, p_paddr), UINT64_MAX},
	{PHDR(0, p_paddr), 0x1200000},
	{PHDR(3, p_memsz), VM_INIT - 0x203000 + 1},
	{PHDR(3, p_paddr), BZ_PREF + VM_INIT - 0x4fff},
	{PHDR(3, p_paddr), BZ_PREF + VM_INIT},
	{PHDR(3, p_paddr), 0x1202000},
	/* the one before goes onto its bytes, which would have to be moved first: onto many of them, and onto one */
	{PHDR(3, p_offset), 0x402000},
	{PHDR(3, p_offset), 0x402fff},
};

START_TEST(leaves_absurd_kernels_alone)
{
	const struct absurd *a = &absurds[_i];

	memcpy(vm_file + a->offset, &a->value, a->width);
	fixture_pack(&packers[0]);
	fixture_expect_plain(fixture_boot_unpacked());
}
END_TEST

/* As many segments as there is room for, and one more. Those that are added are zeros. */
START_TEST(leaves_many_segments_alone)
{
	unsigned int n = VMLINUX_MAX_SEGMENTS + (unsigned int)_i;

	for (unsigned int i = N_SEGS; i < n; i++)
		vm_phdrs[i] = (Elf64_Phdr){
			.p_type = PT_LOAD, .p_paddr = 0x1210000 + i * 0x1000, .p_memsz = 0x1000};
	vm_ehdr->e_phnum = (Elf64_Half)n;
	fixture_pack(&packers[0]);
	if (_i == 0)
		fixture_expect_unpacked(fixture_boot_unpacked());
	else
		fixture_expect_plain(fixture_boot_unpacked());
}
END_TEST

static const struct absurd harmless[] = {
	{EHDR(e_shoff), 0},	     {EHDR(e_shoff), UINT64_MAX}, {EHDR(e_shoff), VM_SIZE},
	{EHDR(e_shnum), UINT16_MAX}, {EHDR(e_shnum), 0},	  {EHDR(e_flags), UINT32_MAX},
	{PHDR(0, p_vaddr), 0},	     {PHDR(0, p_align), 3},	  {PHDR(3, p_memsz), 0x1800},
};

/* The table of sections only tells where the relocations begin. */
START_TEST(unpacks_harmless_oddities)
{
	memcpy(vm_file + harmless[_i].offset, &harmless[_i].value, harmless[_i].width);
	fixture_pack(&packers[0]);
	fixture_expect_unpacked(fixture_boot_unpacked());
}
END_TEST

/* Memory that is there before is there afterwards, whether it worked or not. */
START_TEST(gives_back_nothing_of_prefaulted_memory)
{
	size_t pages = guest_mem_size(&mem) / 4096, n = 0;
	uint8_t *in = malloc(pages);
	struct boot_job *job;
	int ret;

	fixture_pack(&packers[0]);
	if (_i == 1)
		memset(bzi + bzi_payload + 100, 0xff, 100);
	fixture_open_bzimage();
	fixture_clear_ram();
	mem.options.prefault = true;
	ck_assert_int_eq(guest_mem_prefault(&mem), 0);
	job = boot_begin(&mem, &cfg, NULL);
	ret = boot_finish(job, &mem, &cfg, &entry);
	/* before anybody looks, which makes pages too */
	ck_assert_int_eq(mincore(mem.regions[0].host, guest_mem_size(&mem), in), 0);
	for (size_t i = 0; i < pages; i++)
		n += in[i] & 1;
	ck_assert_uint_eq(n, pages);
	if (_i == 0)
		fixture_expect_unpacked(ret);
	else
		fixture_expect_plain(ret);
	free(in);
}
END_TEST

/* Such a kernel may choose random addresses; whoever wants none is told, unless the command line says it too. */
START_TEST(warns_of_what_it_cannot_keep)
{
	static const struct {
		bool kaslr;
		const char *cmdline;
		unsigned int n;
	} cases[] = {{false, "quiet", 1}, {false, "nokaslr quiet", 0}, {true, "quiet", 0}};

	fixture_pack_len(&packers[0], 10, 10);
	for (size_t i = 0; i < 3; i++) {
		cfg.kaslr = cases[i].kaslr;
		cfg.cmdline = cases[i].cmdline;
		n_warnings = 0;
		ck_assert_int_eq(fixture_boot_unpacked(), 0);
		ck_assert_uint_eq(n_warnings, cases[i].n);
	}
	/* one that vmm unpacks stays where it was linked */
	cfg.kaslr = false;
	fixture_pack(&packers[0]);
	n_warnings = 0;
	fixture_expect_unpacked(fixture_boot_unpacked());
	ck_assert_uint_eq(n_warnings, 0);
}
END_TEST

/* Its own code may say nothing and stand still: so vmm does. What is odd but whole is left to it without a word. */
START_TEST(warns_of_a_damaged_kernel)
{
	cfg.kaslr = true;
	fixture_pack(&packers[0]);
	memset(bzi + bzi_payload + 100, 0xff, 100);
	n_damaged = 0;
	ck_assert_int_eq(fixture_boot_unpacked(), 0);
	ck_assert_uint_eq(n_damaged, 1);

	fixture_pack(&packers[0]);
	memcpy(bzi + bzi_payload, "BZh9", 4);
	n_damaged = 0;
	ck_assert_int_eq(fixture_boot_unpacked(), 0);
	ck_assert_uint_eq(n_damaged, 0);

	fixture_pack(&packers[0]);
	ck_assert_int_eq(fixture_boot_unpacked(), 0);
	ck_assert_uint_eq(n_damaged, 0);
}
END_TEST

START_TEST(leaves_what_is_no_kernel_alone)
{
	fixture_pack_len(&packers[_i], 10, 10);
	fixture_expect_plain(fixture_boot_unpacked());
	memset(vm_file, 'x', sizeof(vm_file));
	fixture_pack(&packers[_i]);
	fixture_expect_plain(fixture_boot_unpacked());
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("boot/unpack");
	TCase *tc = tcase_create("unpack");

	suite_add_tcase(suite, tc);
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, unpacks_each_codec, 0, N_PACKERS);
#ifdef VMM_HAVE_LZ4
	tcase_add_test(tc, unpacks_several_lz4_frames);
#endif
	tcase_add_test(tc, warns_of_a_damaged_kernel);
	tcase_add_test(tc, warns_of_what_it_cannot_keep);
	tcase_add_loop_test(tc, gives_back_nothing_of_prefaulted_memory, 0, 2);
	tcase_add_test(tc, unpacks_to_another_place);
	tcase_add_test(tc, unpacks_near_the_first_mib);
	tcase_add_test(tc, places_the_initrd_behind_the_kernel);
	tcase_add_test(tc, tells_segments_and_tail);
	tcase_add_loop_test(tc, can_be_abandoned, 0, N_PACKERS);
	tcase_add_test(tc, leaves_other_kernels_alone);
	tcase_add_test(tc, refuses_the_same);
	tcase_add_loop_test(tc, leaves_wrong_sizes_alone, 0, N_PACKERS);
	tcase_add_loop_test(tc, leaves_damaged_payloads_alone, 0, N_PACKERS);
	tcase_add_loop_test(tc, leaves_cut_payloads_alone, 0, N_PACKERS);
	tcase_add_loop_test(tc, leaves_absurd_kernels_alone, 0, N(absurds));
	tcase_add_loop_test(tc, leaves_many_segments_alone, 0, 2);
	tcase_add_loop_test(tc, unpacks_harmless_oddities, 0, N(harmless));
	tcase_add_loop_test(tc, leaves_what_is_no_kernel_alone, 0, N_PACKERS);
	return fixture_run(suite);
}
