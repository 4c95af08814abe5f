#include "vmm/image/image_memo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vmm/image/image_entry.h"
#include "vmm/image/image_file.h"
#include "vmm/image/image_hint.h"

#define HEX_DIGITS 64
#define MAX_AGE	   (30 * 24 * 3600) /* seconds: an archive that is older is looked at once more */

static uint32_t image_memo_hash(const char *text)
{
	uint32_t hash = UINT32_C(0x811c9dc5);

	for (; *text; text++)
		hash = (hash ^ (uint8_t)*text) * UINT32_C(0x01000193);
	return hash;
}

int image_memo_init(struct image_memo *memo, const struct image_ref *ref, struct image_why *why)
{
	char path[PATH_MAX + 16];
	struct stat st;

	snprintf(path, sizeof(path), "%s%s", ref->path,
		 ref->kind == IMAGE_OCI_DIR ? "/index.json" : "");
	if (stat(path, &st) < 0)
		return image_hint_fail(ref, -errno, path, why);
	snprintf(memo->text, sizeof(memo->text), "%s\n%s\n", ref->name, ref->digest);
	snprintf(memo->name, sizeof(memo->name),
		 "%u-%llx-%llx-%llx-%llx.%lx-%llx.%lx-%08x" IMAGE_MEMO_SUFFIX, ref->kind,
		 (unsigned long long)st.st_dev, (unsigned long long)st.st_ino,
		 (unsigned long long)st.st_size, (unsigned long long)st.st_mtim.tv_sec,
		 (unsigned long)st.st_mtim.tv_nsec, (unsigned long long)st.st_ctim.tv_sec,
		 (unsigned long)st.st_ctim.tv_nsec, image_memo_hash(memo->text));
	return 0;
}

static bool image_memo_load(const struct image_cache *cache, const char *name, char *text,
			    size_t size)
{
	int fd = openat(cache->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, size - 1) : -1;

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	return n > HEX_DIGITS && text[HEX_DIGITS] == '\n' &&
	       strspn(text, "0123456789abcdef") == HEX_DIGITS;
}

bool image_memo_read(const struct image_memo *memo, const struct image_cache *cache, char hex[65])
{
	char text[sizeof(memo->text) + HEX_DIGITS + 2];

	if (!image_memo_load(cache, memo->name, text, sizeof(text)) ||
	    strcmp(text + HEX_DIGITS + 1, memo->text) != 0)
		return false;
	memcpy(hex, text, HEX_DIGITS);
	hex[HEX_DIGITS] = '\0';
	return true;
}

void image_memo_write(const struct image_memo *memo, const struct image_cache *cache,
		      const char *hex)
{
	struct image_file file;

	if (image_file_begin(&file, cache->dir, cache->path, memo->name, true) < 0)
		return;
	if (dprintf(file.fd, "%s\n%s", hex, memo->text) > 0)
		image_file_finish(&file);
	else
		image_file_abandon(&file);
}

bool image_memo_is(const char *name)
{
	size_t n = strspn(name, "0123456789abcdef-.");

	return n > 0 && name[0] <= '9' && name[1] == '-' &&
	       strcmp(name + n - 1, IMAGE_MEMO_SUFFIX) == 0;
}

void image_memo_sweep(const struct image_cache *cache, const char *name)
{
	char text[sizeof(((struct image_memo *)0)->text) + HEX_DIGITS + 2], image[96];
	struct stat st;

	if (fstatat(cache->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_mtime > time(NULL) - MAX_AGE &&
	    image_memo_load(cache, name, text, sizeof(text))) {
		snprintf(image, sizeof(image), "%.64s" IMAGE_ENTRY_SUFFIX, text);
		if (faccessat(cache->dir, image, F_OK, 0) == 0)
			return;
	}
	unlinkat(cache->dir, name, 0);
}
