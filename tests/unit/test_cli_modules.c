/* vmm/cli: modules as depmod lists them, the archive they go to, and what a kernel is said to lack. */
#include "tests/unit/options_fixture.h"

#include <stdarg.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "vmm/cli/kernel_parts.h"
#include "vmm/cli/modules.h"

static char dir[64];

__attribute__((format(printf, 2, 3))) static void put(const char *name, const char *fmt, ...)
{
	char path[256], *slash;
	va_list ap;
	FILE *out;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	for (slash = strchr(path + strlen(dir) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	out = fopen(path, "w");
	ck_assert_ptr_nonnull(out);
	va_start(ap, fmt);
	vfprintf(out, fmt, ap);
	va_end(ap);
	fclose(out);
}

static void setup(void)
{
	strcpy(dir, "/tmp/test-modules-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	put("modules.dep",
	    "kernel/virtio/virtio.ko:\n"
	    "kernel/virtio/virtio_ring.ko: kernel/virtio/virtio.ko\n"
	    "kernel/virtio/virtio-pci.ko: kernel/virtio/virtio_ring.ko kernel/virtio/virtio.ko\n"
	    "kernel/block/virtio_blk.ko: kernel/virtio/virtio_ring.ko kernel/virtio/virtio.ko\n"
	    "kernel/fs/ext4.ko: kernel/lib/crc16.ko\n"
	    "kernel/lib/crc16.ko:\n"
	    "kernel/crypto/crc32c_generic.ko:\n"
	    "kernel/crypto/crc32c-intel.ko:\n"
	    "kernel/net/not_virtio_net.ko:\n"
	    "a line that is none\n");
	put("modules.builtin",
	    "kernel/drivers/char/virtio_console.ko\nkernel/net/virtio_network.ko\n");
	put("modules.softdep", "# Soft dependencies\nsoftdep ext4 pre: crc32c post: other\n"
			       "softdep nfs pre: nothing\nsoftdep\nsoftdep ext4\n");
	put("modules.alias",
	    "alias crc32c crc32c_intel\nalias crc32c crc32c_generic\nalias\nalias x\n"
	    "alias fs-ext4 ext4\n");
	for (const char *const *name =
		     (const char *const[]){"kernel/virtio/virtio.ko",
					   "kernel/virtio/virtio_ring.ko",
					   "kernel/virtio/virtio-pci.ko",
					   "kernel/block/virtio_blk.ko", "kernel/fs/ext4.ko",
					   "kernel/lib/crc16.ko", "kernel/crypto/crc32c_generic.ko",
					   "kernel/crypto/crc32c-intel.ko", NULL};
	     *name; name++)
		put(*name, "I am %s", *name);
}

static void teardown(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	ck_assert_int_eq(system(command), 0);
}

/* ---- gathering ---- */

static struct module wanted[8];
static char *archive;
static size_t archive_size;

struct gather {
	size_t n;
	bool pack;
	int result;
};

static void gather_into(void *arg)
{
	struct gather *g = arg;
	FILE *out = open_memstream(&archive, &archive_size);

	g->result = modules_gather(dir, wanted, g->n, g->pack ? out : NULL);
	fclose(out);
}

/* What it says is in said. */
static int gather(bool pack, const char *const *names)
{
	struct gather g = {.pack = pack};

	for (; names[g.n]; g.n++)
		wanted[g.n] = (struct module){.name = names[g.n]};
	free(archive);
	capture(STDERR_FILENO, said, sizeof(said), gather_into, &g);
	return g.result;
}

#define GATHER(...) gather(true, (const char *const[]){__VA_ARGS__, NULL})

/* The hex digits at a place of a member's header. */
static size_t field(const char *member, size_t at)
{
	char digits[9] = "";

	memcpy(digits, member + at, 8);
	return strtoul(digits, NULL, 16);
}

/* Goes through the archive: "name=data" for each file, with spaces between, and checks the form of each member. */
static const char *list_archive(void)
{
	static char list[4096];
	size_t at = 0;

	list[0] = '\0';
	ck_assert_uint_gt(archive_size, 0);
	for (;;) {
		const char *member = archive + at, *name = member + 110;
		size_t size = field(member, 54), len = field(member, 94), mode = field(member, 14);

		ck_assert_uint_eq(at % 4, 0);
		ck_assert_int_eq(memcmp(member, "070701", 6), 0);
		ck_assert_uint_eq(strlen(name) + 1, len);
		at += (110 + len + 3) / 4 * 4;
		ck_assert_uint_le(at + size, archive_size);
		if (strcmp(name, "TRAILER!!!") == 0)
			break;
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s%s%.*s",
			 *list ? " " : "", name, S_ISDIR(mode) ? "/" : "=", (int)size,
			 archive + at);
		at += (size + 3) / 4 * 4;
	}
	ck_assert_uint_eq(at, archive_size);
	return list;
}

START_TEST(packs_in_load_order)
{
	ck_assert_int_eq(GATHER("virtio_pci", "virtio-blk"), 0);
	ck_assert_str_eq(said, "");
	ck_assert_int_eq(wanted[0].state, MODULE_FILE);
	ck_assert_int_eq(wanted[1].state, MODULE_FILE);
	ck_assert_str_eq(list_archive(),
			 ".vmm/ .vmm/modules/ "
			 ".vmm/modules/00-virtio.ko=I am kernel/virtio/virtio.ko "
			 ".vmm/modules/01-virtio_ring.ko=I am kernel/virtio/virtio_ring.ko "
			 ".vmm/modules/02-virtio-pci.ko=I am kernel/virtio/virtio-pci.ko "
			 ".vmm/modules/03-virtio_blk.ko=I am kernel/block/virtio_blk.ko");
}
END_TEST

START_TEST(tells_what_is_where)
{
	ck_assert_int_eq(GATHER("virtio_console", "virtio_net", "network", "virtio"), 0);
	ck_assert_int_eq(wanted[0].state, MODULE_BUILTIN);
	ck_assert_int_eq(wanted[1].state, MODULE_MISSING);
	ck_assert_int_eq(wanted[2].state, MODULE_MISSING);
	ck_assert_int_eq(wanted[3].state, MODULE_FILE);
	ck_assert_int_eq(GATHER("virtio_console"), 0);
	ck_assert_uint_eq(archive_size, 0);
	/* only looks */
	ck_assert_int_eq(gather(false, (const char *const[]){"virtio_pci", NULL}), 0);
	ck_assert_int_eq(wanted[0].state, MODULE_FILE);
	ck_assert_uint_eq(archive_size, 0);
}
END_TEST

/* ext4 needs some crc32c, whose name is an alias. */
START_TEST(loads_soft_dependencies_first)
{
	ck_assert_int_eq(GATHER("ext4"), 0);
	ck_assert_str_eq(list_archive(),
			 ".vmm/ .vmm/modules/ "
			 ".vmm/modules/00-crc32c-intel.ko=I am kernel/crypto/crc32c-intel.ko "
			 ".vmm/modules/01-crc32c_generic.ko=I am kernel/crypto/crc32c_generic.ko "
			 ".vmm/modules/02-crc16.ko=I am kernel/lib/crc16.ko "
			 ".vmm/modules/03-ext4.ko=I am kernel/fs/ext4.ko");
}
END_TEST

START_TEST(unpacks_modules)
{
	char command[256];

	put("modules.dep", "kernel/x.ko.gz:\n");
	snprintf(command, sizeof(command), "printf hello | gzip >'%s/kernel/x.ko.gz'", dir);
	ck_assert_int_eq(system(command), 0);
	ck_assert_int_eq(GATHER("x"), 0);
	ck_assert_str_eq(list_archive(), ".vmm/ .vmm/modules/ .vmm/modules/00-x.ko=hello");
}
END_TEST

START_TEST(refuses)
{
	char command[256];

	put("modules.dep", "kernel/gone.ko:\n");
	ck_assert_int_eq(GATHER("gone"), -ENOENT);
	ck_assert_ptr_nonnull(strstr(said, "cannot read module '"));
	ck_assert_ptr_nonnull(strstr(said, "/kernel/gone.ko': No such file"));
	put("modules.dep", "kernel/x.ko.bz2: \n");
	put("kernel/x.ko.bz2", "BZh91AY&SY");
	ck_assert_int_eq(GATHER("x"), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(said, "cannot unpack module '"));
	put("modules.dep", "kernel/x.ko.gz:\n");
	put("kernel/x.ko.gz", "\x1f\x8b%s", "damaged all over");
	ck_assert_int_eq(GATHER("x"), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(said, "it is damaged"));
	snprintf(command, sizeof(command), "rm '%s/modules.dep'", dir);
	ck_assert_int_eq(system(command), 0);
	ck_assert_int_eq(GATHER("x"), -ENOENT);
	ck_assert_ptr_nonnull(strstr(said, "sudo depmod test-modules-"));
}
END_TEST

START_TEST(refuses_too_many)
{
	char line[8192] = "kernel/x.ko:";

	for (int i = 0; i < MODULES_MAX; i++) {
		char name[32];

		snprintf(name, sizeof(name), "kernel/y%d.ko", i);
		put(name, "y");
		snprintf(line + strlen(line), sizeof(line) - strlen(line), " %s", name);
	}
	put("kernel/x.ko", "x");
	put("modules.dep", "%s\n", line);
	ck_assert_int_eq(GATHER("x"), -E2BIG);
	*strrchr(line, ' ') = '\0';
	put("modules.dep", "%s\n", line);
	ck_assert_int_eq(GATHER("x"), 0);
	ck_assert_ptr_nonnull(strstr(list_archive(), ".vmm/modules/98-x.ko=x"));
}
END_TEST

/* ---- which kernel, and what it has ---- */

static struct kernel_choice kernel;

/* A bzImage that tells this release and nothing else. */
static void put_kernel(const char *name, const char *release)
{
	char path[256];
	uint8_t head[4096] = {0};
	FILE *out;

	memcpy(head + 0x202, "HdrS", 4);
	head[0x20e] = 0x00;
	head[0x20f] = 0x04; /* 0x400 behind 0x200 */
	strcpy((char *)head + 0x600, release);
	put(name, "x");
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	out = fopen(path, "w");
	ck_assert_ptr_nonnull(out);
	ck_assert_uint_eq(fwrite(head, 1, sizeof(head), out), sizeof(head));
	fclose(out);
}

static const char *at(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

START_TEST(chooses_a_kernel)
{
	struct utsname host;
	char name[256], here[512];

	ck_assert_ptr_nonnull(getcwd(here, sizeof(here)));
	ck_assert_int_eq(uname(&host), 0);
	ck_assert_int_eq(chdir(dir), 0);
	/* what is given is not looked at */
	ck_assert_int_eq(kernel_choose("no/such", dir, &kernel), 0);
	ck_assert_str_eq(kernel.path, "no/such");
	kernel_look_around(dir, &kernel);
	ck_assert_str_eq(kernel.release, "");
	/* there is none */
	ck_assert_int_eq(kernel_choose(NULL, dir, &kernel), -ENOENT);
	ck_assert_ptr_nonnull(strstr(kernel.problem, host.release));
	ck_assert_ptr_nonnull(strstr(kernel.problem, "--kernel FILE"));
	/* from the least to the most wanted */
	put_kernel("boot/vmlinuz", "6.9 x");
	ck_assert_int_eq(kernel_choose(NULL, dir, &kernel), 0);
	ck_assert_str_eq(kernel.path, at("boot/vmlinuz"));
	/* a link from the root, whose kernel has its configuration beside it */
	put_kernel("boot/vmlinuz-6.8", "6.8 x");
	put("boot/config-6.8", "x");
	ck_assert_int_eq(symlink("boot/vmlinuz-6.8", at("vmlinuz")), 0);
	ck_assert_int_eq(kernel_choose(NULL, dir, &kernel), 0);
	ck_assert_str_eq(kernel.path, at("boot/vmlinuz-6.8"));
	kernel_look_around(dir, &kernel);
	ck_assert_str_eq(kernel.config, at("boot/config-6.8"));
	snprintf(name, sizeof(name), "lib/modules/%s/vmlinuz", host.release);
	put_kernel(name, "6.9 x");
	ck_assert_int_eq(kernel_choose(NULL, dir, &kernel), 0);
	ck_assert_str_eq(kernel.path, at(name));
	snprintf(name, sizeof(name), "boot/vmlinuz-%s", host.release);
	put_kernel(name, "6.9 x");
	ck_assert_int_eq(kernel_choose(NULL, dir, &kernel), 0);
	ck_assert_str_eq(kernel.path, at(name));
	ck_assert_str_eq(kernel.why, "the host's own");
	/* a source tree, when something was built there */
	put("Makefile", "x");
	put("Kconfig", "x");
	ck_assert_int_eq(kernel_choose(NULL, dir, &kernel), 0);
	ck_assert_str_eq(kernel.path, at(name));
	put_kernel("arch/x86/boot/bzImage", "6.99.0-mine x");
	put(".config", "CONFIG_64BIT=y\n");
	ck_assert_int_eq(kernel_choose(NULL, dir, &kernel), 0);
	ck_assert_str_eq(kernel.path, "arch/x86/boot/bzImage");
	kernel_look_around(dir, &kernel);
	ck_assert_str_eq(kernel.release, "6.99.0-mine");
	ck_assert_str_eq(kernel.config, ".config");
	ck_assert_str_eq(kernel.modules, "");
	ck_assert_int_eq(chdir(here), 0);
}
END_TEST

START_TEST(looks_around)
{
	char there[512];

	put_kernel("boot/vmlinuz-6.9", "6.9-x (me) #1");
	put("other/lib/modules/6.9-x/modules.dep", "\n");
	put("other/lib/modules/6.9-x/config", "CONFIG_PCI=y\n");
	snprintf(there, sizeof(there), "%s/other", dir);
	ck_assert_int_eq(kernel_choose(at("boot/vmlinuz-6.9"), there, &kernel), 0);
	kernel_look_around(there, &kernel);
	ck_assert_str_eq(kernel.release, "6.9-x");
	ck_assert_str_eq(kernel.modules, at("other/lib/modules/6.9-x"));
	ck_assert_str_eq(kernel.config, at("other/lib/modules/6.9-x/config"));
	/* what lies beside it comes first; a folder without a list of modules is none */
	put("boot/config-6.9-x", "CONFIG_PCI=y\n");
	mkdir(at("lib"), 0755);
	mkdir(at("lib/modules"), 0755);
	mkdir(at("lib/modules/6.9-x"), 0755);
	kernel_look_around(there, &kernel);
	ck_assert_str_eq(kernel.modules, at("other/lib/modules/6.9-x"));
	ck_assert_str_eq(kernel.config, at("boot/config-6.9-x"));
	put("lib/modules/6.9-x/modules.dep", "\n");
	kernel_look_around(there, &kernel);
	ck_assert_str_eq(kernel.modules, at("boot/../lib/modules/6.9-x"));
}
END_TEST

START_TEST(refuses_a_kernel_that_may_not_be_read)
{
	struct utsname host;
	char name[256], command[1024];

	if (geteuid() == 0)
		return; /* may read everything; tests/tiny tries it as another user */
	ck_assert_int_eq(uname(&host), 0);
	snprintf(name, sizeof(name), "boot/vmlinuz-%s", host.release);
	put_kernel(name, "6.9 x");
	ck_assert_int_eq(chmod(at(name), 0), 0);
	ck_assert_int_eq(kernel_choose(NULL, dir, &kernel), -EACCES);
	snprintf(command, sizeof(command), "sudo chmod a+r %s", at(name));
	ck_assert_str_eq(kernel.mend, command);
}
END_TEST

static void prepare_into(void *arg)
{
	uint32_t needs = KERNEL_PART(KERNEL_INITRAMFS) | KERNEL_PART(KERNEL_VIRTIO_PCI) |
			 KERNEL_PART(KERNEL_VSOCK);
	void *bytes = NULL;

	*(int *)arg = kernel_prepare(&kernel, NULL, needs, KERNEL_PART(KERNEL_BALLOON), &bytes,
				     &archive_size);
	archive = bytes;
}

/* Leaves the archive. */
static int prepare(void)
{
	int result;

	free(archive);
	capture(STDERR_FILENO, said, sizeof(said), prepare_into, &result);
	ck_assert(result == 0 || !archive);
	return result;
}

START_TEST(says_what_a_kernel_lacks)
{
	strcpy(kernel.path, "k");
	strcpy(kernel.release, "6.9");
	kernel.modules[0] = kernel.config[0] = '\0';
	/* nothing is known: it may try */
	ck_assert_int_eq(prepare(), 0);
	ck_assert_ptr_null(archive);
	/* the configuration alone: a module that nobody has is lacking, a wish is not */
	put("config",
	    "CONFIG_VIRTIO_PCI=m\nCONFIG_VIRTIO_VSOCKETS=y\n# CONFIG_BLK_DEV_INITRD is not set\n");
	strcpy(kernel.config, at("config"));
	ck_assert_int_eq(prepare(), -ENOTSUP);
	ck_assert_str_eq(
		said, "vmm: kernel 'k' lacks an initramfs (CONFIG_BLK_DEV_INITRD), virtio on PCI "
		      "(CONFIG_VIRTIO_PCI): it is not built in, and there is no "
		      "/lib/modules/6.9/modules.dep that tells of modules\n");
	/* with modules */
	strcpy(kernel.modules, dir);
	put("config", "CONFIG_BLK_DEV_INITRD=y\nCONFIG_VIRTIO_PCI=m\nCONFIG_VIRTIO_VSOCKETS=m\n");
	ck_assert_int_eq(prepare(), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(said, "lacks virtio sockets (CONFIG_VIRTIO_VSOCKETS): "));
	put("config", "CONFIG_VIRTIO_VSOCKETS=y\nCONFIG_BLK_DEV_INITRD=y\n");
	ck_assert_int_eq(prepare(), 0);
	ck_assert_str_eq(said, "");
	ck_assert_ptr_nonnull(strstr(list_archive(), "02-virtio-pci.ko="));
	/* What is neither a file nor in a list that cannot be read may be built in. */
	kernel.config[0] = '\0';
	ck_assert_int_eq(prepare(), -ENOTSUP);
	ck_assert_ptr_nonnull(strstr(said, "lacks virtio sockets (CONFIG_VIRTIO_VSOCKETS): "));
	ck_assert_int_eq(unlink(at("modules.builtin")), 0);
	ck_assert_int_eq(prepare(), 0);
	ck_assert_ptr_nonnull(strstr(list_archive(), "virtio-pci.ko="));
	strcpy(kernel.config, at("config"));
	put("config", "CONFIG_VIRTIO_VSOCKETS=m\nCONFIG_BLK_DEV_INITRD=y\n");
	ck_assert_int_eq(prepare(), -ENOTSUP);
}
END_TEST

static void hint_into(void *arg)
{
	*(bool *)arg = kernel_hint(&kernel);
}

static bool hint(void)
{
	bool result;

	capture(STDERR_FILENO, said, sizeof(said), hint_into, &result);
	return result;
}

START_TEST(hints_at_doctor)
{
	strcpy(kernel.path, at("vmlinux"));
	kernel.modules[0] = kernel.config[0] = '\0';
	ck_assert(hint());
	ck_assert_ptr_nonnull(strstr(said, "vmm doctor --kernel /"));
	/* what was known was said before */
	strcpy(kernel.config, "config");
	ck_assert(!hint());
	kernel.config[0] = '\0';
	strcpy(kernel.modules, dir);
	ck_assert(!hint());
	ck_assert_str_eq(said, "");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cli/modules");
	TCase *tc = tcase_create("modules");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, packs_in_load_order);
	tcase_add_test(tc, tells_what_is_where);
	tcase_add_test(tc, loads_soft_dependencies_first);
	tcase_add_test(tc, unpacks_modules);
	tcase_add_test(tc, refuses);
	tcase_add_test(tc, refuses_too_many);
	tcase_add_test(tc, chooses_a_kernel);
	tcase_add_test(tc, looks_around);
	tcase_add_test(tc, refuses_a_kernel_that_may_not_be_read);
	tcase_add_test(tc, says_what_a_kernel_lacks);
	tcase_add_test(tc, hints_at_doctor);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
