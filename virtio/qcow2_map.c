#include "virtio/qcow2_map.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/image_io.h"
#include "vmm/core/assert.h"

#define QCOW2_OFFSET_MASK 0x00fffffffffffe00ull /* of entries of both levels: bits 9 to 55 */
#define QCOW2_L2_ZERO	  (1ull << 0)
#define QCOW2_L2_PACKED	  (1ull << 62)
#define QCOW2_SUBCLUSTERS 32u

/* A part of a second table, copied out of the cache. */
struct qcow2_view {
	uint64_t first, end; /* of the disk, that the slice tells of */
	unsigned char bytes[QCOW2_SLICE_BYTES];
};

static uint64_t qcow2_cluster_size(const struct qcow2_map *map)
{
	return 1ull << map->cluster_bits;
}

int qcow2_map_init(struct qcow2_map *map, int fd, uint64_t file_size,
		   const struct qcow2_header *header)
{
	int ret;

	*map = (struct qcow2_map){
		.fd = fd,
		.file_size = file_size,
		.version = header->version,
		.cluster_bits = header->cluster_bits,
		.entry_bits = header->extended_l2 ? 4 : 3,
		.l1_entries = header->l1_entries,
	};
	map->l1 = calloc(map->l1_entries, sizeof(*map->l1));
	map->slices = calloc(QCOW2_SLICES, sizeof(*map->slices));
	ret = map->l1 && map->slices
		      ? image_file_pread(fd, map->l1, map->l1_entries * sizeof(*map->l1),
					 header->l1_offset)
		      : -ENOMEM;
	if (ret < 0) {
		free(map->l1);
		free(map->slices);
		map->slices = NULL;
		return ret;
	}
	pthread_mutex_init(&map->lock, NULL);
	return 0;
}

static bool qcow2_slice_cached(struct qcow2_map *map, uint64_t offset, unsigned char *bytes,
			       size_t len)
{
	struct qcow2_slice *slice = &map->slices[offset / len % QCOW2_SLICES];
	bool hit;

	pthread_mutex_lock(&map->lock);
	hit = slice->offset == offset;
	if (hit)
		memcpy(bytes, slice->bytes, len);
	pthread_mutex_unlock(&map->lock);
	return hit;
}

static int qcow2_slice_get(struct qcow2_map *map, uint64_t offset, unsigned char *bytes, size_t len)
{
	struct qcow2_slice *slice = &map->slices[offset / len % QCOW2_SLICES];
	int ret;

	if (qcow2_slice_cached(map, offset, bytes, len))
		return 0;
	ret = image_file_pread(map->fd, bytes, len, offset);
	if (ret < 0)
		return ret;
	pthread_mutex_lock(&map->lock);
	slice->offset = offset;
	memcpy(slice->bytes, bytes, len);
	pthread_mutex_unlock(&map->lock);
	return 0;
}

static int qcow2_view_get(struct qcow2_map *map, uint64_t table, uint64_t offset,
			  struct qcow2_view *view)
{
	size_t len = qcow2_cluster_size(map) < QCOW2_SLICE_BYTES ? (size_t)qcow2_cluster_size(map)
								 : QCOW2_SLICE_BYTES;
	uint64_t covers = (uint64_t)len >> map->entry_bits << map->cluster_bits;
	uint64_t per_table = qcow2_cluster_size(map) >> map->entry_bits << map->cluster_bits;

	view->first = offset - offset % covers;
	view->end = view->first + covers;
	return qcow2_slice_get(map, table + offset % per_table / covers * len, view->bytes, len);
}

static uint64_t qcow2_view_word(const struct qcow2_map *map, const struct qcow2_view *view,
				uint64_t offset, unsigned int word)
{
	uint64_t index = (offset - view->first) >> map->cluster_bits;
	uint64_t value;

	memcpy(&value, view->bytes + (index << map->entry_bits) + word * sizeof(value),
	       sizeof(value));
	return be64toh(value);
}

static void qcow2_classify_packed(const struct qcow2_map *map, uint64_t entry,
				  struct qcow2_piece *piece)
{
	unsigned int offset_bits = 62 - (map->cluster_bits - 8);
	uint64_t more = (entry & (QCOW2_L2_PACKED - 1)) >> offset_bits; /* sectors */
	uint64_t offset = entry & ((1ull << offset_bits) - 1);

	piece->kind = QCOW2_PACKED;
	piece->packed.offset = offset;
	piece->packed.len = (more + 1) * 512 - offset % 512;
}

/* Subclusters: whether this one has data and whether it is zeros are a bit each. */
static int qcow2_subcluster_kind(uint64_t bits, uint64_t in_cluster, unsigned int cluster_bits,
				 enum qcow2_kind *kind)
{
	unsigned int n = (unsigned int)(in_cluster * QCOW2_SUBCLUSTERS >> cluster_bits);
	bool data = bits >> n & 1, zero = bits >> (n + QCOW2_SUBCLUSTERS) & 1;

	if (data && zero)
		return -EIO;
	*kind = data ? QCOW2_DATA : zero ? QCOW2_ZERO : QCOW2_ABSENT;
	return 0;
}

static int qcow2_cluster_kind(const struct qcow2_map *map, uint64_t entry, enum qcow2_kind *kind)
{
	if (entry & QCOW2_L2_ZERO) {
		*kind = QCOW2_ZERO;
		return map->version < 3 ? -EIO : 0;
	}
	*kind = entry & QCOW2_OFFSET_MASK ? QCOW2_DATA : QCOW2_ABSENT;
	return 0;
}

/* A file may end within its last cluster; what is missing reads as zeros, as it does for its writer. */
static int qcow2_place_data(const struct qcow2_map *map, uint64_t cluster, uint64_t in_cluster,
			    struct qcow2_piece *piece)
{
	if (cluster == 0 || cluster % qcow2_cluster_size(map) != 0 || cluster >= map->file_size)
		return -EIO;
	piece->offset = cluster + in_cluster; /* below 2^57 */
	if (piece->offset >= map->file_size)
		piece->kind = QCOW2_ZERO;
	else if (piece->len > map->file_size - piece->offset)
		piece->len = map->file_size - piece->offset;
	return 0;
}

/* One cluster or subcluster, from offset on to its end. */
static int qcow2_classify(const struct qcow2_map *map, const struct qcow2_view *view,
			  uint64_t offset, struct qcow2_piece *piece)
{
	uint64_t entry = qcow2_view_word(map, view, offset, 0);
	uint64_t in_cluster = offset & (qcow2_cluster_size(map) - 1);
	bool extended = map->entry_bits == 4;
	uint64_t unit = extended ? qcow2_cluster_size(map) / QCOW2_SUBCLUSTERS
				 : qcow2_cluster_size(map);
	int ret;

	*piece = (struct qcow2_piece){.len = unit - in_cluster % unit};
	if (entry & QCOW2_L2_PACKED) {
		piece->len = qcow2_cluster_size(map) - in_cluster;
		qcow2_classify_packed(map, entry, piece);
		return 0;
	}
	if (extended)
		ret = entry & QCOW2_L2_ZERO
			      ? -EIO
			      : qcow2_subcluster_kind(qcow2_view_word(map, view, offset, 1),
						      in_cluster, map->cluster_bits, &piece->kind);
	else
		ret = qcow2_cluster_kind(map, entry, &piece->kind);
	if (ret < 0 || piece->kind != QCOW2_DATA)
		return ret;
	return qcow2_place_data(map, entry & QCOW2_OFFSET_MASK, in_cluster, piece);
}

static bool qcow2_continues(const struct qcow2_piece *piece, const struct qcow2_piece *next)
{
	if (next->kind != piece->kind || piece->kind == QCOW2_PACKED)
		return false;
	return piece->kind != QCOW2_DATA || next->offset == piece->offset + piece->len;
}

int qcow2_map_find(struct qcow2_map *map, uint64_t offset, uint64_t len, struct qcow2_piece *piece)
{
	unsigned int l1_bits = 2 * map->cluster_bits - map->entry_bits;
	uint64_t table, l1_rest = (1ull << l1_bits) - (offset & ((1ull << l1_bits) - 1));
	struct qcow2_view view;
	struct qcow2_piece next;
	int ret;

	assert(len > 0 && offset >> l1_bits < map->l1_entries);
	table = be64toh(map->l1[offset >> l1_bits]) & QCOW2_OFFSET_MASK;
	if (table == 0) {
		*piece = (struct qcow2_piece){.kind = QCOW2_ABSENT,
					      .len = len < l1_rest ? len : l1_rest};
		return 0;
	}
	if (table % qcow2_cluster_size(map) != 0 || map->file_size < qcow2_cluster_size(map) ||
	    table > map->file_size - qcow2_cluster_size(map))
		return -EIO;
	ret = qcow2_view_get(map, table, offset, &view);
	if (ret == 0)
		ret = qcow2_classify(map, &view, offset, piece);
	if (ret < 0)
		return ret;
	while (piece->len < len && offset + piece->len < view.end &&
	       qcow2_classify(map, &view, offset + piece->len, &next) == 0 &&
	       qcow2_continues(piece, &next))
		piece->len += next.len;
	if (piece->len > len)
		piece->len = len;
	return 0;
}

void qcow2_map_fini(struct qcow2_map *map)
{
	if (!map->slices)
		return;
	free(map->l1);
	free(map->slices);
	map->slices = NULL;
	pthread_mutex_destroy(&map->lock);
}
