#include "vmm/image/image_source.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/image/image_hint.h"

#define READ_SIZE 65536

static int image_source_fail(const struct image_source *source, const char *name, int err,
			     struct image_why *why)
{
	return image_fail(why, err, "cannot read '%s' in '%s': %s", name, source->ref->path,
			  err == -ELOOP && !strchr(name, '/')
				  ? "it is a symbolic link, as only a blob may be"
				  : strerror(-err));
}

void image_digest_of(const struct image_libs *libs, struct sha256_ctx *sha, char digest[72])
{
	uint8_t bytes[SHA256_DIGEST_SIZE];

#if NETTLE_VERSION_MAJOR == 3
	libs->nettle_sha256_digest(sha, sizeof(bytes), bytes);
#else /* always the whole digest */
	libs->nettle_sha256_digest(sha, bytes);
#endif
	memcpy(digest, "sha256:", 8);
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(digest + 7 + 2 * i, 3, "%02x", bytes[i]);
}

/* ---- the members of an archive ---- */

struct image_index {
	struct image_source *source;
	uint64_t at; /* what is read next */
	uint64_t size;
	uint8_t bytes[READ_SIZE];
};

static la_ssize_t image_index_read(struct archive *a, void *arg, const void **bytes)
{
	struct image_index *index = arg;
	ssize_t n = pread(index->source->fd, index->bytes, sizeof(index->bytes), (off_t)index->at);

	if (n < 0) {
		index->source->libs->archive_set_error(a, errno, "%s", strerror(errno));
		return -1;
	}
	index->at += (uint64_t)n;
	*bytes = index->bytes;
	return n;
}

/* Beyond the end nothing is skipped, so that what is cut off is noticed. */
static la_int64_t image_index_skip(struct archive *a, void *arg, la_int64_t n)
{
	struct image_index *index = arg;
	uint64_t left = index->size > index->at ? index->size - index->at : 0;
	uint64_t skip = (uint64_t)n < left ? (uint64_t)n : left;

	(void)a;
	skip -= skip % 512;
	index->at += skip;
	return (la_int64_t)skip;
}

static int image_source_add(struct image_source *source, const struct image_member *member,
			    struct image_why *why)
{
	struct image_member *members;

	if (source->n_members == IMAGE_MAX_MEMBERS)
		return image_fail(why, -E2BIG, "'%s' has more than %d members", source->ref->path,
				  IMAGE_MAX_MEMBERS);
	/* at each power of two */
	if ((source->n_members & (source->n_members - 1)) == 0) {
		size_t room = source->n_members ? 2 * source->n_members : 1;

		members = realloc(source->members, room * sizeof(*members));
		if (!members)
			return image_fail(why, -ENOMEM, "out of memory");
		source->members = members;
	}
	if (!member->name)
		return image_fail(why, -ENOMEM, "out of memory");
	source->members[source->n_members++] = *member;
	return 0;
}

static int image_source_index_one(struct image_source *source, struct image_index *index,
				  struct archive *a, struct archive_entry *entry,
				  struct image_why *why)
{
	const struct image_libs *libs = source->libs;
	const char *name = libs->archive_entry_pathname(entry);
	const char *link = libs->archive_entry_hardlink(entry);
	struct image_member member = {.offset = (uint64_t)libs->archive_filter_bytes(a, 0),
				      .size = (uint64_t)libs->archive_entry_size(entry)};
	mode_t type = libs->archive_entry_filetype(entry);
	int err;

	if (type == AE_IFLNK)
		link = libs->archive_entry_symlink(entry);
	if (!name || strlen(name) >= PATH_MAX || (link && strlen(link) >= PATH_MAX))
		return image_fail(why, -EINVAL, "'%s' has a member whose name is too long",
				  source->ref->path);
	if (!link && type != AE_IFREG)
		return 0;
	if (!link && (member.offset > index->size || member.size > index->size - member.offset))
		return image_fail(why, -EINVAL, "'%s' is cut off in '%s'", source->ref->path, name);
	while (name[0] == '.' && name[1] == '/')
		name += 2;
	member.name = strdup(name);
	member.link = link ? strdup(link) : NULL;
	err = image_source_add(source, &member, why);
	if (err < 0) {
		free(member.name);
		free(member.link);
	}
	return err;
}

static int image_source_index_all(struct image_source *source, struct image_index *index,
				  struct archive *a, struct image_why *why)
{
	const struct image_libs *libs = source->libs;
	struct archive_entry *entry;
	int result, err = 0;

	libs->archive_read_support_format_tar(a);
	libs->archive_read_set_callback_data(a, index);
	libs->archive_read_set_read_callback(a, image_index_read);
	libs->archive_read_set_skip_callback(a, image_index_skip);
	result = libs->archive_read_open1(a);
	while (result >= ARCHIVE_WARN && err == 0) {
		result = libs->archive_read_next_header(a, &entry);
		if (result == ARCHIVE_EOF)
			return 0;
		if (result >= ARCHIVE_WARN)
			err = image_source_index_one(source, index, a, entry, why);
	}
	if (err == 0)
		err = image_fail(why, -EINVAL, "'%s' is no tar archive, or a damaged one: %s",
				 source->ref->path, libs->archive_error_string(a));
	return err;
}

/* What is packed as a whole would have to be unpacked to find anything in it. */
static int image_source_check_packed(const struct image_source *source, struct image_why *why)
{
	const char *how = image_hint_packed(source->fd);

	return how ? image_fail(why, -EINVAL, "'%s' is packed as a whole; unpack it first: %s",
				source->ref->path, how)
		   : 0;
}

static int image_source_index(struct image_source *source, struct image_why *why)
{
	struct image_index *index;
	struct archive *a;
	struct stat st;
	int err;

	if (fstat(source->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return image_fail(why, -EINVAL, "'%s' is no file", source->ref->path);
	err = image_source_check_packed(source, why);
	if (err < 0)
		return err;
	index = calloc(1, sizeof(*index));
	a = source->libs->archive_read_new();
	if (!index || !a) {
		err = image_fail(why, -ENOMEM, "out of memory");
	} else {
		index->source = source;
		index->size = (uint64_t)st.st_size;
		err = image_source_index_all(source, index, a, why);
	}
	if (a)
		source->libs->archive_read_free(a);
	free(index);
	return err;
}

int image_source_open(struct image_source *source, const struct image_libs *libs,
		      const struct image_ref *ref, struct image_why *why)
{
	bool dir = ref->kind == IMAGE_OCI_DIR;

	*source = (struct image_source){.libs = libs, .ref = ref};
	source->fd = open(ref->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | (dir ? O_DIRECTORY : 0));
	if (source->fd < 0)
		return image_hint_fail(ref, -errno, ref->path, why);
	return dir ? 0 : image_source_index(source, why);
}

/* ---- pieces ---- */

static const struct image_member *image_source_member(const struct image_source *source,
						      const char *name)
{
	/* As when it is unpacked: the last of a name counts. */
	for (size_t i = source->n_members; i-- > 0;) {
		if (strcmp(source->members[i].name, name) == 0)
			return &source->members[i];
	}
	return NULL;
}

/* Older archives have a layer that two images share once, and links "../ID/layer.tar". */
static const struct image_member *image_source_follow(const struct image_source *source,
						      const struct image_member *member)
{
	const char *target = member->link, *slash = strrchr(member->name, '/');
	char path[2 * PATH_MAX];

	if (strncmp(target, "../", 3) == 0 && slash &&
	    !memchr(member->name, '/', (size_t)(slash - member->name)))
		return image_source_member(source, target + 3);
	if (slash) {
		snprintf(path, sizeof(path), "%.*s/%s", (int)(slash - member->name), member->name,
			 target);
		if (image_source_member(source, path))
			return image_source_member(source, path);
	}
	return image_source_member(source, target);
}

/*
 * A blob may be a link to elsewhere, as content stores and git-annex have them: what counts is that it has its digest. Nothing but a file
 * is opened, for some devices notice. Returns 0 or negative errno.
 */
static int image_source_open_file(const struct image_source *source, const char *name,
				  struct image_blob *blob)
{
	bool may_link = strncmp(name, "blobs/", 6) == 0;
	int at = openat(source->fd, name, O_PATH | O_CLOEXEC | (may_link ? 0 : O_NOFOLLOW));
	struct stat st;
	char path[32];
	int err;

	if (at < 0 || fstat(at, &st) < 0)
		err = -errno;
	else
		err = S_ISREG(st.st_mode) ? 0 : S_ISLNK(st.st_mode) ? -ELOOP : -EINVAL;
	if (err == 0) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", at);
		blob->fd = open(path, O_RDONLY | O_CLOEXEC);
		blob->size = (uint64_t)st.st_size;
		err = blob->fd < 0 ? -errno : 0;
	}
	if (at >= 0)
		close(at);
	return err;
}

/* What kind of archive it is, when what is missing tells of one. */
static const char *image_source_other(const struct image_source *source, const char *name)
{
	if (strcmp(name, "manifest.json") == 0 && image_source_member(source, "index.json"))
		return "oci-archive:";
	if (strcmp(name, "index.json") == 0 && image_source_member(source, "manifest.json"))
		return "docker-archive:";
	return NULL;
}

int image_source_find(const struct image_source *source, const char *name, struct image_blob *blob,
		      struct image_why *why)
{
	const struct image_member *member;
	const char *other;
	int err;

	*blob = (struct image_blob){.fd = -1};
	if (source->ref->kind == IMAGE_OCI_DIR) {
		err = image_source_open_file(source, name, blob);
		return err == 0 ? 0 : image_source_fail(source, name, err, why);
	}
	member = image_source_member(source, name);
	if (member && member->link)
		member = image_source_follow(source, member);
	if (!member || member->link) {
		other = image_source_other(source, name);
		if (other)
			return image_hint_correct(source->ref->path, other, why);
		return image_fail(why, -ENOENT, "'%s' has no member '%.200s'", source->ref->path,
				  name);
	}
	*blob = (struct image_blob){
		.fd = source->fd, .offset = member->offset, .size = member->size};
	return 0;
}

void image_source_release(const struct image_source *source, struct image_blob *blob)
{
	if (blob->fd >= 0 && blob->fd != source->fd)
		close(blob->fd);
	blob->fd = -1;
}

int image_source_find_digest(const struct image_source *source, const char *digest,
			     struct image_blob *blob, struct image_why *why)
{
	char name[96];

	snprintf(name, sizeof(name), "blobs/sha256/%s", digest + 7);
	return image_source_find(source, name, blob, why);
}

static int image_source_load(const struct image_source *source, const char *name,
			     const struct image_blob *blob, char *text, struct image_why *why)
{
	size_t done = 0;

	while (done < blob->size) {
		ssize_t n = pread(blob->fd, text + done, blob->size - done,
				  (off_t)(blob->offset + done));

		if (n <= 0)
			return image_source_fail(source, name, n < 0 ? -errno : -EIO, why);
		done += (size_t)n;
	}
	text[done] = '\0';
	return 0;
}

static int image_source_check(const struct image_source *source, const char *name,
			      const char *digest, const char *text, size_t size,
			      struct image_why *why)
{
	struct sha256_ctx sha;
	char is[72];

	source->libs->nettle_sha256_init(&sha);
	source->libs->nettle_sha256_update(&sha, size, (const uint8_t *)text);
	image_digest_of(source->libs, &sha, is);
	if (strcmp(is, digest) == 0)
		return 0;
	return image_fail(why, -EBADMSG, "'%s': '%.200s' is damaged: its digest is %s, not %s",
			  source->ref->path, name, is, digest);
}

int image_source_read(const struct image_source *source, const char *name, const char *digest,
		      char **text, size_t *size, struct image_why *why)
{
	struct image_blob blob;
	int err = image_source_find(source, name, &blob, why);

	*text = NULL;
	if (err < 0)
		return err;
	*size = (size_t)blob.size;
	if (blob.size > IMAGE_MAX_JSON)
		err = image_fail(why, -E2BIG, "'%s': '%.200s' is larger than %d MiB",
				 source->ref->path, name, IMAGE_MAX_JSON >> 20);
	else if (!(*text = malloc(*size + 1)))
		err = image_fail(why, -ENOMEM, "out of memory");
	else
		err = image_source_load(source, name, &blob, *text, why);
	if (err == 0 && digest)
		err = image_source_check(source, name, digest, *text, *size, why);
	image_source_release(source, &blob);
	if (err < 0) {
		free(*text);
		*text = NULL;
	}
	return err;
}

void image_source_close(struct image_source *source)
{
	for (size_t i = 0; i < source->n_members; i++) {
		free(source->members[i].name);
		free(source->members[i].link);
	}
	free(source->members);
	if (source->fd >= 0)
		close(source->fd);
	*source = (struct image_source){.fd = -1};
}
