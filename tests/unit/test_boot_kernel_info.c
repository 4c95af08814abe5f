/* boot/kernel_info: releases, configurations inside kernels, and files that are packed or not. */
#include "unpack_fixture.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "boot/kernel_info.h"

static const char config[] = "#\n# Linux/x86 6.1.0 Kernel Configuration\n#\nCONFIG_64BIT=y\n"
			     "# CONFIG_VIRTIO_PCI is not set\nCONFIG_VIRTIO_BLK=m\n";

static int file = -1;
static char *text;

static void setup(void)
{
	fixture_setup();
	fixture_make_vmlinux();
	text = NULL;
}

static void teardown(void)
{
	fixture_close(&file);
	free(text);
	free(bzi);
	bzi = NULL;
	fixture_teardown();
}

static void use_file(const void *bytes, size_t len)
{
	fixture_close(&file);
	file = fixture_file(bytes, len);
}

/* ---- the release ---- */

/* A bzImage whose version is this text. */
static void make_version(const char *version)
{
	fixture_make_bzimage();
	((struct setup_header *)(bz_file + 0x1f1))->kernel_version = 0x700 - 0x200;
	memset(bz_file + 0x700, 0, 0x100);
	memcpy(bz_file + 0x700, version, strlen(version));
	use_file(bz_file, sizeof(bz_file));
}

static const struct {
	const char *version;
	const char *release; /* NULL: none */
} versions[] = {
	{"6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org) #1 SMP", "6.1.0-56-cloud-amd64"},
	{"6.12.3+", "6.12.3+"},
	{"5.10.0~rc1_x (a", "5.10.0~rc1_x"},
	{"", NULL},
	{" 6.1", NULL},
	{"../../etc", NULL},
	{"6.1/../x y", NULL},
	{"6.1\n6.2 x", NULL},
	{".config x", NULL},
};

START_TEST(reads_the_release)
{
	char release[128] = "before";
	int ret;

	make_version(versions[_i].version);
	ret = kernel_info_release(file, release, sizeof(release));
	if (versions[_i].release) {
		ck_assert_int_eq(ret, 0);
		ck_assert_str_eq(release, versions[_i].release);
	} else {
		ck_assert_int_eq(ret, -ENODATA);
		ck_assert_str_eq(release, "before");
	}
}
END_TEST

START_TEST(reads_the_release_of_elf)
{
	static const char banner[] = "Linux version %s (%s)\nLinux version 6.6.1-x (me@here) #2\n";
	char release[128];

	memcpy(vm_file + segs[1].offset, banner, sizeof(banner));
	use_file(vm_file, VM_SIZE);
	ck_assert_int_eq(kernel_info_release(file, release, sizeof(release)), 0);
	ck_assert_str_eq(release, "6.6.1-x");
	ck_assert_int_eq(kernel_info_release(file, release, 7), -ENAMETOOLONG);
	ck_assert_int_eq(kernel_info_release(file, release, 8), 0);
	/* cut off in the banner */
	use_file(vm_file, segs[1].offset + 40);
	ck_assert_int_eq(kernel_info_release(file, release, sizeof(release)), -ENODATA);
}
END_TEST

static uint64_t resident(void)
{
	struct rusage usage;

	ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
	return (uint64_t)usage.ru_maxrss << 10;
}

/* What lies behind the segments, for debuggers, may be much more than the kernel, and is not looked at. */
START_TEST(reads_no_further_than_segments)
{
	static const char banner[] = "Linux version 6.6.1-x (me@here) #2\n";
	const uint64_t large = UINT64_C(256) << 20;
	char release[128];
	uint64_t before;

	use_file(vm_file, VM_SIZE);
	ck_assert_int_eq(pwrite(file, banner, sizeof(banner), VM_SECTIONS), sizeof(banner));
	ck_assert_int_eq(kernel_info_release(file, release, sizeof(release)), -ENODATA);
	memcpy(vm_file + segs[1].offset, banner, sizeof(banner));
	use_file(vm_file, VM_SIZE);
	ck_assert_int_eq(ftruncate(file, (off_t)large), 0);
	before = resident();
	ck_assert_int_eq(kernel_info_release(file, release, sizeof(release)), 0);
	ck_assert_str_eq(release, "6.6.1-x");
	ck_assert_int_eq(kernel_info_config(file, &text), -ENODATA);
	ck_assert_uint_lt(resident(), before + large / 2);
}
END_TEST

static const struct {
	const char *what;
	uint64_t phoff;
	uint16_t phnum;
	uint64_t offset, filesz; /* of the first segment */
	int release;
} hostile[] = {
	{"as it is", 64, 3, 0x1000, 0x1000, 0},
	{"none", 64, 0, 0, 0, 0},
	{"far more than the head has", 64, 65535, 0, 0, 0},
	{"one more than the head has", 64, 73, 0, 0, 0},
	{"behind the head", 4096, 1, 0, 0, 0},
	{"far behind it", UINT64_MAX - 7, 1, 0, 0, 0},
	{"at an odd place", 65, 3, 0, 0, 0},
	{"ends behind the file", 64, 3, 0x1000, UINT64_C(1) << 62, 0},
	{"begins behind it", 64, 3, UINT64_C(1) << 62, 0x10, 0},
	{"ends nowhere", 64, 3, UINT64_MAX - 0xf, 0x20, 0},
	{"is all of memory", 64, 3, 0, UINT64_MAX, 0},
	{"is empty", 64, 1, 0, 0, 0},
	{"ends before the banner", 64, 1, 0, 0x40, -ENODATA},
};

START_TEST(reads_the_release_of_hostile_elf)
{
	static const char banner[] = "Linux version 6.6.1-x (me@here) #2\n";
	char release[128];

	memcpy(vm_file + segs[1].offset, banner, sizeof(banner));
	vm_ehdr->e_phoff = hostile[_i].phoff;
	vm_ehdr->e_phnum = hostile[_i].phnum;
	vm_phdrs[0].p_offset = hostile[_i].offset;
	vm_phdrs[0].p_filesz = hostile[_i].filesz;
	use_file(vm_file, VM_SIZE);
	ck_assert_msg(kernel_info_release(file, release, sizeof(release)) == hostile[_i].release,
		      "%s", hostile[_i].what);
	/* cut off anywhere in what tells of segments */
	for (size_t len = 4; len < 64 + 3 * sizeof(Elf64_Phdr); len += 3) {
		use_file(vm_file, len);
		ck_assert_int_eq(kernel_info_release(file, release, sizeof(release)), -ENODATA);
	}
}
END_TEST

START_TEST(reads_no_release_of_others)
{
	char release[128];
	int dir = open("/", O_RDONLY | O_CLOEXEC), null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	use_file("hello", 5);
	ck_assert_int_eq(kernel_info_release(file, release, sizeof(release)), -ENODATA);
	use_file("", 0);
	ck_assert_int_eq(kernel_info_release(file, release, sizeof(release)), -ENODATA);
	/* the offset of its version is behind its end, or there is none */
	make_version("6.1 x");
	use_file(bz_file, 0x600);
	ck_assert_int_eq(kernel_info_release(file, release, sizeof(release)), -ENODATA);
	((struct setup_header *)(bz_file + 0x1f1))->kernel_version = 0;
	use_file(bz_file, sizeof(bz_file));
	ck_assert_int_eq(kernel_info_release(file, release, sizeof(release)), -ENODATA);
	ck_assert_int_eq(kernel_info_release(dir, release, sizeof(release)), -EISDIR);
	ck_assert_int_eq(kernel_info_release(null, release, sizeof(release)), -ENOEXEC);
	close(dir);
	close(null);
}
END_TEST

/* ---- the configuration ---- */

/* Puts it into vm_file as kernel/configs.c does. Returns how long it is. */
static size_t embed_config(void)
{
	uint8_t *at = vm_file + segs[1].offset + 64;
	size_t n;

	memcpy(at, "IKCFG_ST", 8);
	n = 8 + pack_gzip(config, sizeof(config) - 1, at + 8, 0x1000) + 4;
	memcpy(at + n, "IKCFG_ED", 8);
	return n + 8;
}

START_TEST(finds_the_config_in_packed_kernels)
{
	embed_config();
	fixture_pack(&packers[_i]);
	use_file(bzi, bzi_size);
	ck_assert_int_eq(kernel_info_config(file, &text), 0);
	ck_assert_str_eq(text, config);
}
END_TEST

START_TEST(finds_the_config_in_elf)
{
	embed_config();
	use_file(vm_file, VM_SIZE);
	ck_assert_int_eq(kernel_info_config(file, &text), 0);
	ck_assert_str_eq(text, config);
}
END_TEST

START_TEST(finds_no_config)
{
	use_file(vm_file, VM_SIZE);
	ck_assert_int_eq(kernel_info_config(file, &text), -ENODATA);
	fixture_pack(&packers[0]);
	use_file(bzi, bzi_size);
	ck_assert_int_eq(kernel_info_config(file, &text), -ENODATA);
	use_file("text", 4);
	ck_assert_int_eq(kernel_info_config(file, &text), -ENOEXEC);
}
END_TEST

/* Each byte of it is damaged in turn: a text comes out, or an error, and nothing else happens. */
START_TEST(survives_a_damaged_config)
{
	size_t len = embed_config();
	uint8_t *at = vm_file + segs[1].offset + 64;
	unsigned int refused = 0;

	for (size_t i = 0; i < len; i++) {
		at[i] ^= 0x55;
		use_file(vm_file, segs[1].offset + 64 + len);
		refused += kernel_info_config(file, &text) < 0;
		free(text);
		text = NULL;
		at[i] ^= 0x55;
	}
	ck_assert_uint_gt(refused, len / 2);
	for (size_t cut = 1; cut <= len; cut++) {
		use_file(vm_file, segs[1].offset + 64 + len - cut);
		ck_assert_int_lt(kernel_info_config(file, &text), 0);
	}
}
END_TEST

/* Numbers of the header that lead out of the file, or to sizes that nobody has. */
START_TEST(refuses_absurd_headers)
{
	embed_config();
	fixture_pack(&packers[0]);
	bzi_hdr()->payload_offset = 0xffffffff;
	use_file(bzi, bzi_size);
	ck_assert_int_eq(kernel_info_config(file, &text), -ENOEXEC);
	fixture_pack(&packers[0]);
	bzi_hdr()->payload_length = 0xffffffff;
	use_file(bzi, bzi_size);
	ck_assert_int_eq(kernel_info_config(file, &text), -ENOEXEC);
	fixture_pack(&packers[0]);
	bzi_hdr()->payload_length = 3;
	use_file(bzi, bzi_size);
	ck_assert_int_eq(kernel_info_config(file, &text), -EBADMSG);
	fixture_pack_len(&packers[0], VM_SIZE, 0xffffffff);
	use_file(bzi, bzi_size);
	ck_assert_int_eq(kernel_info_config(file, &text), -EFBIG);
	use_file(bzi, 0x208);
	ck_assert_int_eq(kernel_info_config(file, &text), -ENOEXEC);
}
END_TEST

/* ---- files ---- */

START_TEST(unpacks_files)
{
	static uint8_t packed[VM_SIZE];
	size_t n = packers[_i].pack(vm_file, VM_SIZE, packed, sizeof(packed)), len;
	void *bytes;

	if (packers[_i].pack == pack_gzip)
		n += 4; /* the size, which belongs to it */
	use_file(packed, n);
	ck_assert_int_eq(kernel_info_unpack(file, &bytes, &len), 0);
	ck_assert_uint_eq(len, VM_SIZE);
	ck_assert(memcmp(bytes, vm_file, VM_SIZE) == 0);
	ck_assert_uint_eq(((uint8_t *)bytes)[len], 0);
	free(bytes);
	/* cut off: lz4 and lzma, whose files do not tell where they end, are not used for modules */
	use_file(packed, n / 2);
	ck_assert_int_eq(kernel_info_unpack(file, &bytes, &len), -EBADMSG);
}
END_TEST

START_TEST(reads_files_that_are_not_packed)
{
	void *bytes;
	size_t len;

	use_file("hello", 5);
	ck_assert_int_eq(kernel_info_unpack(file, &bytes, &len), 0);
	ck_assert_uint_eq(len, 5);
	ck_assert_str_eq(bytes, "hello");
	free(bytes);
	use_file("", 0);
	ck_assert_int_eq(kernel_info_unpack(file, &bytes, &len), 0);
	ck_assert_uint_eq(len, 0);
	free(bytes);
	use_file("BZh91AY&SY", 10);
	ck_assert_int_eq(kernel_info_unpack(file, &bytes, &len), -ENOTSUP);
	use_file("", 0);
	ck_assert_int_eq(ftruncate(file, (64 << 20) + 1), 0);
	ck_assert_int_eq(kernel_info_unpack(file, &bytes, &len), -EFBIG);
}
END_TEST

/* A small file may hold more than anybody wants. */
START_TEST(refuses_what_unpacks_to_too_much)
{
	size_t big = (64 << 20) + 1, room = 1 << 20, n, len;
	uint8_t *zeros = calloc(1, big), *packed = malloc(room);
	void *bytes;

	ck_assert(zeros && packed);
	n = pack_gzip(zeros, big, packed, room) + 4;
	use_file(packed, n);
	ck_assert_int_eq(kernel_info_unpack(file, &bytes, &len), -EBADMSG);
	n = pack_gzip(zeros, big - 1, packed, room) + 4;
	use_file(packed, n);
	ck_assert_int_eq(kernel_info_unpack(file, &bytes, &len), 0);
	ck_assert_uint_eq(len, big - 1);
	free(bytes);
	free(zeros);
	free(packed);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("boot/kernel_info");
	TCase *tc = tcase_create("kernel_info");

	suite_add_tcase(suite, tc);
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, reads_the_release, 0,
			    (int)(sizeof(versions) / sizeof(versions[0])));
	tcase_add_test(tc, reads_the_release_of_elf);
	tcase_add_test(tc, reads_no_further_than_segments);
	tcase_add_loop_test(tc, reads_the_release_of_hostile_elf, 0,
			    sizeof(hostile) / sizeof(hostile[0]));
	tcase_add_test(tc, reads_no_release_of_others);
	tcase_add_loop_test(tc, finds_the_config_in_packed_kernels, 0, N_PACKERS);
	tcase_add_test(tc, finds_the_config_in_elf);
	tcase_add_test(tc, finds_no_config);
	tcase_add_test(tc, survives_a_damaged_config);
	tcase_add_test(tc, refuses_absurd_headers);
	tcase_add_loop_test(tc, unpacks_files, 0, N_PACKERS);
	tcase_add_test(tc, reads_files_that_are_not_packed);
	tcase_add_test(tc, refuses_what_unpacks_to_too_much);
	return fixture_run(suite);
}
