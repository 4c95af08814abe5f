/* vmm/cli: which kernel is taken, what lies around it, and what it is said to lack. */
#include "tests/unit/modules_fixture.h"

#include <elf.h>
#include <sys/utsname.h>

#include "tests/unit/run_suite.h"
#include "vmm/cli/kernel_parts.h"

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
	put("modules.order", "fs/x.o\n");
	kernel_look_around(dir, &kernel);
	ck_assert_str_eq(kernel.modules, ".");
	ck_assert_int_eq(chdir(here), 0);
	strcpy(kernel.path, at("arch/x86/boot/bzImage"));
	kernel_look_around(dir, &kernel);
	ck_assert_str_eq(kernel.modules, at("."));
}
END_TEST

static void finds_tree(const char *name, const char *tree)
{
	char config[600];

	strcpy(kernel.path, name);
	kernel.modules[0] = kernel.config[0] = '\0';
	kernel_look_around(dir, &kernel);
	ck_assert_str_eq(kernel.release, "6.99.0-mine");
	if (!tree) {
		ck_assert_str_eq(kernel.modules, "");
		ck_assert_str_eq(kernel.config, "");
		return;
	}
	snprintf(config, sizeof(config), "%s/tree/.", tree);
	ck_assert_str_eq(kernel.modules, config);
	strcat(config, "config");
	ck_assert_str_eq(kernel.config, config);
}

/* An ELF file with a banner, and what else is needed. */
static void put_vmlinux(const char *name)
{
	struct {
		Elf64_Ehdr ehdr;
		Elf64_Phdr phdr;
		char text[64];
	} file = {.ehdr = {.e_ident = ELFMAG "\2\1\1",
			   .e_type = ET_EXEC,
			   .e_machine = EM_X86_64,
			   .e_phoff = sizeof(file.ehdr),
			   .e_phentsize = sizeof(file.phdr),
			   .e_phnum = 1},
		  .phdr = {.p_type = PT_LOAD, .p_filesz = sizeof(file)},
		  .text = "Linux version 6.99.0-mine (me)"};
	FILE *out;

	put(name, "x");
	out = fopen(at(name), "w");
	ck_assert_ptr_nonnull(out);
	ck_assert_uint_eq(fwrite(&file, sizeof(file), 1, out), 1);
	fclose(out);
}

START_TEST(finds_a_source_tree)
{
	char *there = realpath(dir, NULL), here[512], name[512];

	ck_assert_ptr_nonnull(there);
	ck_assert_ptr_nonnull(getcwd(here, sizeof(here)));
	put_kernel("tree/arch/x86/boot/bzImage", "6.99.0-mine x");
	put("tree/arch/x86_64/boot/other", "x");
	put_vmlinux("tree/vmlinux");
	put("tree/.config", "x");
	put("tree/modules.order", "x");
	/* as kbuild makes it, and somebody's */
	strcpy(name, at("tree/arch/x86_64/boot/bzImage"));
	ck_assert_int_eq(symlink("../../x86/boot/bzImage", name), 0);
	finds_tree(name, there);
	ck_assert_int_eq(symlink("tree/arch/x86/boot/bzImage", at("mine")), 0);
	finds_tree(at("mine"), there);
	/* from within */
	ck_assert_int_eq(chdir(at("tree/arch/x86/boot")), 0);
	finds_tree("bzImage", there);
	ck_assert_int_eq(chdir(at("tree/arch")), 0);
	finds_tree("x86/boot/bzImage", there);
	ck_assert_int_eq(chdir(here), 0);
	/* what gdb is given */
	finds_tree(at("tree/vmlinux"), dir);
	put_vmlinux("tree/other");
	finds_tree(at("tree/other"), NULL);
	put_vmlinux("arch/vmlinux");
	put("arch/.config", "x");
	put("arch/modules.order", "x");
	finds_tree(at("arch/vmlinux"), NULL);
	/* a name as long as that in a tree */
	put_kernel("arch/vmlinuz-6.99.0-mine-x", "6.99.0-mine x");
	finds_tree(at("arch/vmlinuz-6.99.0-mine-x"), NULL);
	free(there);
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

/* Which word of the table is whose is told by their order alone. */
START_TEST(names_parts)
{
	static const struct {
		enum kernel_part part;
		const char *symbol, *name;
	} some[] = {
		{KERNEL_INITRAMFS, "BLK_DEV_INITRD", "an initramfs"},
		{KERNEL_64, "X86_64", "programs of 64 bits"},
		{KERNEL_DEVTMPFS, "DEVTMPFS", "devtmpfs"},
		{KERNEL_CLOCK, "KVM_GUEST", "KVM's clock"},
		{KERNEL_SHA256, "CRYPTO_SHA256_SSSE3", "fast SHA-256"},
		{KERNEL_PCI_MSI, "PCI_MSI", "MSI-X"},
		{KERNEL_VIRTIO_MMIO, "VIRTIO_MMIO", "virtio on MMIO"},
		{KERNEL_NET, "VIRTIO_NET", "virtio network card"},
		{KERNEL_VSOCK, "VSOCKETS", "sockets of VMs"},
		{KERNEL_VIRTIO_VSOCK, "VIRTIO_VSOCKETS", "virtio sockets"},
		{KERNEL_BALLOON, "VIRTIO_BALLOON", "virtio balloon"},
		{KERNEL_OVERLAY, "OVERLAY_FS", "overlayfs"},
		{KERNEL_FUSE, "FUSE_FS", "FUSE"},
		{KERNEL_VIRTIOFS, "VIRTIO_FS", "shared directories"},
		{KERNEL_SQUASHFS_LZ4, "SQUASHFS_LZ4", "squashfs with lz4"},
		{KERNEL_SQUASHFS_ZSTD, "SQUASHFS_ZSTD", "squashfs with zstd"},
	};

	for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++) {
		ck_assert_str_eq(kernel_part_symbol(some[i].part), some[i].symbol);
		ck_assert_str_eq(kernel_part_name(some[i].part), some[i].name);
	}
	ck_assert_uint_eq(KERNEL_SQUASHFS_ZSTD + 1, KERNEL_PARTS);
}
END_TEST

static uint32_t lacking;

static void prepare_into(void *arg)
{
	uint32_t needs = KERNEL_PART(KERNEL_INITRAMFS) | KERNEL_PART(KERNEL_VIRTIO_PCI) |
			 KERNEL_PART(KERNEL_VIRTIO_VSOCK);
	void *bytes = NULL;

	lacking = 0;
	*(int *)arg = kernel_prepare(&kernel, NULL, needs, KERNEL_PART(KERNEL_BALLOON), &lacking,
				     &bytes, &archive_size);
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
	Suite *s = suite_create("cli/kernel");
	TCase *tc = tcase_create("cli/kernel");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, chooses_a_kernel);
	tcase_add_test(tc, finds_a_source_tree);
	tcase_add_test(tc, looks_around);
	tcase_add_test(tc, refuses_a_kernel_that_may_not_be_read);
	tcase_add_test(tc, names_parts);
	tcase_add_test(tc, says_what_a_kernel_lacks);
	tcase_add_test(tc, hints_at_doctor);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
