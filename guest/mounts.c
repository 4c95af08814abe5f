#include "guest/init.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>

#define ROOT_DEVICE  "/dev/vda"
#define ROOT_WAIT_MS 5000

/* In the initramfs; below it are the file system of the image and, where that cannot be written, a layer in memory. */
#define NEW_ROOT  GUEST_DIR "/root"
#define LOWER	  GUEST_DIR "/image"
#define LAYER	  GUEST_DIR "/layer"
#define LAYER_DIR LAYER "/upper"
#define LAYER_TMP LAYER "/work"

static long mount_one(const char *type, const char *where, unsigned long flags, const char *options)
{
	SYS2(mkdir, where, 0755);
	return SYS5(mount, type, where, type, flags, options);
}

void mounts_begin(void)
{
	long err = mount_one("devtmpfs", "/dev", MS_NOSUID, "mode=755");

	/* EBUSY: the kernel has done it */
	if (err < 0 && err != -EBUSY)
		init_fail("mount", "/dev", err);
	/* The initramfs is as open as /tmp, and may become the root. */
	SYS2(chmod, "/", 0755);
}

/* Drivers may find their devices some time after they were loaded. */
static void mounts_await(const char *device)
{
	for (unsigned int waited = 0; SYS2(access, device, 0) < 0; waited++) {
		if (waited == ROOT_WAIT_MS)
			init_fail("find the root's disk", device, 0);
		init_sleep(1);
	}
}

static long mounts_disk(const char *type, const char *where, bool readonly)
{
	mounts_await(ROOT_DEVICE);
	return SYS5(mount, ROOT_DEVICE, where, type, readonly ? MS_RDONLY : 0, 0);
}

/* EINVAL: there is no device of that tag (yet). */
static long mounts_shared(const char *tag, const char *where, bool readonly)
{
	long err;

	for (unsigned int waited = 0;; waited++) {
		err = SYS5(mount, tag, where, GUEST_SHARED_TYPE, readonly ? MS_RDONLY : 0, 0);
		if (err != -EINVAL || waited == ROOT_WAIT_MS)
			return err;
		init_sleep(1);
	}
}

static bool mounts_is_shared(const struct init_start *start)
{
	return start->what.flags & GUEST_ROOT_SHARED;
}

/* What cannot be written gets a layer above it, if the kernel has one. */
static bool mounts_layered;

static long mounts_layer(void)
{
	long err = mount_one("tmpfs", LAYER, 0, "mode=755");

	SYS2(mkdir, LAYER_DIR, 0755);
	SYS2(mkdir, LAYER_TMP, 0755);
	if (err == 0)
		err = mount_one("overlay", NEW_ROOT, 0,
				"lowerdir=" LOWER ",upperdir=" LAYER_DIR ",workdir=" LAYER_TMP);
	mounts_layered = err == 0;
	return err;
}

static void mounts_lower(const struct init_start *start)
{
	bool readonly = start->what.flags & GUEST_ROOT_READONLY;
	const char *where = readonly ? LOWER : NEW_ROOT;
	long err;

	SYS2(mkdir, GUEST_DIR, 0755);
	SYS2(mkdir, NEW_ROOT, 0755);
	SYS2(mkdir, where, 0755);
	err = mounts_is_shared(start) ? mounts_shared(GUEST_SHARED_TAG, where, readonly)
				      : mounts_disk(start->root_type, where, readonly);
	if (err == -ENODEV)
		init_fail("mount the root: the guest's kernel has no file system", start->root_type,
			  0);
	if (err < 0)
		init_fail(mounts_is_shared(start) ? "mount the root as"
						  : "mount the root (" ROOT_DEVICE ") as",
			  start->root_type, err);
	err = readonly ? mounts_layer() : 0;
	if (err < 0) {
		if (!(start->what.flags & GUEST_LAYER_TOLD))
			channel_note("the root cannot be written: its kernel has no overlayfs "
				     "(CONFIG_OVERLAY_FS), or it does not work",
				     "", err);
		err = SYS5(mount, LOWER, NEW_ROOT, 0, MS_BIND, 0);
		if (err < 0)
			init_fail("mount", NEW_ROOT, err);
	}
}

/* The initramfs stays below, where nobody sees it. */
void mounts_root(const struct init_start *start)
{
	long err;

	if (!*start->root_type)
		return;
	mounts_lower(start);
	SYS2(mkdir, NEW_ROOT "/dev", 0755);
	err = SYS5(mount, "/dev", NEW_ROOT "/dev", 0, MS_MOVE, 0);
	if (err < 0)
		init_fail("move /dev to the root", "", err);
	err = SYS1(chdir, NEW_ROOT);
	if (err == 0)
		err = SYS5(mount, ".", "/", 0, MS_MOVE, 0);
	if (err == 0)
		err = SYS1(chroot, ".");
	if (err == 0)
		err = SYS1(chdir, "/");
	if (err < 0)
		init_fail("switch to the root", "", err);
}

/*
 * A shared directory's own /tmp may hold what the command shall work on; what is written there goes to memory too. Its /root may be
 * closed to vmm's user, and then nobody could have a home there.
 */
static void mounts_shared_finish(void)
{
	long fd = SYS3(open, "/root", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

	if (SYS2(mkdir, "/tmp", 0777) == 0)
		SYS2(chmod, "/tmp", 01777);
	if (fd >= 0)
		SYS1(close, fd);
	else if (fd == -EACCES)
		mount_one("tmpfs", "/root", MS_NOSUID | MS_NODEV, "mode=700");
}

/* Read-only roots may lack the places, and small kernels the file systems: what must be there is /proc alone. */
void mounts_finish(const struct init_start *start)
{
	long err = mount_one("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);

	if (err < 0 && err != -EBUSY)
		init_fail("mount", "/proc", err);
	mount_one("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	mount_one("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666");
	mount_one("tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777");
	/* Programs of an image may need what it has there; all of it can be written. */
	if (!((start->what.flags & GUEST_CONTAINER) && mounts_layered)) {
		mount_one("tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=755");
		if (!mounts_is_shared(start))
			mount_one("tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777");
	} else {
		SYS2(mkdir, "/run", 0755); /* for what is put over files of /etc */
	}
	if (mounts_is_shared(start))
		mounts_shared_finish();
	SYS2(symlink, "/proc/self/fd", "/dev/fd");
	SYS2(symlink, "fd/0", "/dev/stdin");
	SYS2(symlink, "fd/1", "/dev/stdout");
	SYS2(symlink, "fd/2", "/dev/stderr");
}

/* With all directories above it. Returns 0, or why the first one that is not there could not be made. */
static long mounts_make_place(char *place)
{
	long first = 0;

	for (char *at = place + 1;; at++) {
		char end = *at;
		long err;

		if (end != '/' && end)
			continue;
		*at = '\0';
		err = SYS2(mkdir, place, 0755);
		*at = end;
		if (err < 0 && err != -EEXIST && first == 0)
			first = err;
		if (!end)
			return err == 0 || err == -EEXIST ? 0 : first;
	}
}

void mounts_share(const struct init_start *start)
{
	for (uint32_t i = 0; i < start->what.n_shares; i++) {
		char **share = start->shares + 3 * (size_t)i, *place = share[1];
		long err = mounts_make_place(place);

		if (err < 0)
			init_fail("make the place of the shared directory", place, err);
		err = mounts_shared(share[0], place, text_compare(share[2], "ro") == 0);
		if (err < 0)
			init_fail("mount the shared directory", place, err);
	}
}

void mounts_end(const struct init_start *start)
{
	bool busy = false;

	/* What is written later is written now; and what was mapped, in any case. */
	for (uint32_t i = start->what.n_shares; i > 0; i--)
		busy |= SYS2(umount2, start->shares[3 * (size_t)(i - 1) + 1], 0) < 0;
	/* What ends with the machine need not be written at all. A disk's image in a share must be. */
	if (busy || (start->what.flags & (GUEST_ROOT_KEEP | GUEST_DISKS_KEEP)))
		SYS0(sync);
	if (!(start->what.flags & GUEST_ROOT_KEEP))
		return;
	/* A clean file system need not be repaired when it is mounted next. */
	SYS5(mount, 0, "/", 0, MS_REMOUNT | MS_RDONLY, 0);
}
