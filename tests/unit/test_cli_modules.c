/* vmm/cli: modules as depmod lists them, and the archive they go to. */
#include "tests/unit/modules_fixture.h"

#include "tests/unit/run_suite.h"
#include "vmm/cli/modules.h"

/* ---- gathering ---- */

static struct module wanted[8];

struct gather {
	size_t n;
	bool pack;
	int result;
};

static void gather_into(void *arg)
{
	struct gather *g = arg;
	FILE *out = open_memstream(&archive, &archive_size);

	g->result = modules_gather(dir, "6.9-x", wanted, g->n, g->pack ? out : NULL);
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

static void put_built(const char *name, const char *depends, const char *release)
{
	put(name, "name=x%cdepends=%s%cvermagic=%s SMP mod_unload %c", 0, depends, 0, release, 0);
}

/* A tree where modules were built and not installed; old kernels and new ones list them in their own ways. */
START_TEST(finds_them_in_a_source_tree)
{
	ck_assert_int_eq(unlink(at("modules.dep")), 0);
	ck_assert_int_eq(unlink(at("modules.softdep")), 0);
	put_built("drivers/virtio.ko", "", "6.9-x");
	put_built("drivers/virtio_ring.ko", "virtio", "6.9-x");
	put_built("kernel/virtio-blk.ko", "virtio_ring,virtio", "6.9-x");
	put_built("fs/loop.ko", "loop", "6.9-x");
	put("modules.order", "drivers/other.o\ndrivers/virtio.o\nkernel/drivers/"
			     "virtio_ring.ko\nkernel/virtio-blk.o\nfs/loop.o\n"
			     "fs/gone.o\nno dot\n");
	ck_assert_int_eq(GATHER("virtio_blk", "virtio_console", "gone", "other"), 0);
	ck_assert_str_eq(said, "");
	ck_assert_int_eq(wanted[0].state, MODULE_FILE);
	ck_assert_int_eq(wanted[1].state, MODULE_BUILTIN);
	ck_assert_int_eq(wanted[2].state, MODULE_MISSING);
	ck_assert_int_eq(wanted[3].state, MODULE_MISSING);
	ck_assert_int_eq(gather(false, (const char *const[]){"loop", NULL}), 0);
	ck_assert_int_eq(wanted[0].state, MODULE_FILE);
	ck_assert_int_eq(GATHER("virtio_blk"), 0);
	ck_assert(strstr(list_archive(), "00-virtio.ko=") &&
		  strstr(list_archive(), "01-virtio_ring.ko=") &&
		  strstr(list_archive(), "02-virtio-blk.ko="));
}
END_TEST

/* The kernel was built again, and its modules were not, or not all. */
START_TEST(leaves_out_what_is_of_another_kernel)
{
	static const char *const others[] = {"6.9",	    "6.9-xy", "6.9-", "6.8-x",
					     "6.9-x-dirty", "",	      NULL};
	char line[512];

	ck_assert_int_eq(unlink(at("modules.dep")), 0);
	ck_assert_int_eq(unlink(at("modules.softdep")), 0);
	put("modules.order", "a/one.ko\na/two.ko\na/three.ko\na/virtio_console.ko\n");
	for (const char *const *other = others; *other; other++) {
		put_built("a/one.ko", "", *other);
		put_built("a/two.ko", "three,one", "6.9-x");
		put_built("a/three.ko", "", "6.9-x");
		put_built("a/virtio_console.ko", "", "6.8"); /* which is built in now */
		ck_assert_int_eq(GATHER("virtio_console", "one", "two", "three"), 0);
		ck_assert_int_eq(wanted[0].state, MODULE_BUILTIN);
		ck_assert_int_eq(wanted[1].state, MODULE_MISSING);
		ck_assert_int_eq(wanted[2].state, MODULE_MISSING);
		ck_assert_int_eq(wanted[3].state, MODULE_FILE);
		snprintf(line, sizeof(line),
			 "vmm: module '%s/a/one.ko' is of Linux %s, not of 6.9-x, and counts as "
			 "missing; type: make modules\n",
			 dir, *other);
		ck_assert_str_eq(said, line);
		ck_assert_ptr_null(strstr(list_archive(), "one"));
		ck_assert_ptr_nonnull(strstr(list_archive(), "00-three.ko="));
	}
	/* it does not say of which it is, or is empty */
	put("a/one.ko", "x%cdepends=%c", 0, 0);
	ck_assert_int_eq(GATHER("one"), 0);
	ck_assert_int_eq(wanted[0].state, MODULE_MISSING);
	put("a/one.ko", "vermagic=6.9-x");
	ck_assert_int_eq(GATHER("one"), 0);
	ck_assert_int_eq(wanted[0].state, MODULE_FILE);
	put("a/one.ko", "%s", "");
	ck_assert_int_eq(GATHER("one"), 0);
	ck_assert_int_eq(wanted[0].state, MODULE_MISSING);
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
	ck_assert_ptr_nonnull(strstr(said, "sudo depmod 6.9-x\n"));
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

int main(void)
{
	Suite *s = suite_create("cli/modules");
	TCase *tc = tcase_create("cli/modules");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, packs_in_load_order);
	tcase_add_test(tc, tells_what_is_where);
	tcase_add_test(tc, finds_them_in_a_source_tree);
	tcase_add_test(tc, leaves_out_what_is_of_another_kernel);
	tcase_add_test(tc, loads_soft_dependencies_first);
	tcase_add_test(tc, unpacks_modules);
	tcase_add_test(tc, refuses);
	tcase_add_test(tc, refuses_too_many);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
