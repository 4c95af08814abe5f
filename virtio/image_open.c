#include "virtio/image_open.h"

#include <errno.h>
#include <stddef.h>

#include "virtio/image_io.h"
#include "virtio/image_raw.h"
#include "virtio/overlay.h"
#include "virtio/qcow2.h"

/* Why these do not go together; NULL when they do. */
static const char *image_contradiction(const struct image_config *config)
{
	if (config->overlay && config->readonly)
		return "an overlay is for writing; leave 'readonly' or 'overlay' out";
	if (config->format == IMAGE_QCOW2 && !config->overlay && !config->readonly)
		return "a qcow2 image is never written; add ',overlay' (or ',readonly')";
	if (config->backing && config->format != IMAGE_QCOW2)
		return "only a qcow2 image has a backing file; add ',format=qcow2'";
	if (config->backing_format != IMAGE_RAW && !config->backing)
		return "backing-format= tells of a backing file; add ',backing=FILE'";
	if (config->direct && (config->overlay || config->format != IMAGE_RAW))
		return "direct I/O is for raw images without an overlay; leave 'direct' out";
	return NULL;
}

int image_check(const struct image_config *config)
{
	const char *contradiction = image_contradiction(config);

	if (!contradiction)
		return 0;
	return image_file_refuse("disk", config->path, -EINVAL, contradiction);
}

/* A backing file has no backing file of its own: one that wants it is refused. */
static int image_open_backing(struct image **image, const struct image_config *config)
{
	struct qcow2_config qcow2 = {.path = config->backing, .is_backing = true};
	struct image_raw_config raw = {.path = config->backing, .readonly = true, .whole = true};

	if (config->backing_format == IMAGE_QCOW2)
		return qcow2_open(image, &qcow2);
	return image_raw_open(&raw, image);
}

static int image_open_qcow2(struct image **image, const struct image_config *config)
{
	struct qcow2_config qcow2 = {.path = config->path};
	int ret = config->backing ? image_open_backing(&qcow2.backing, config) : 0;

	return ret < 0 ? ret : qcow2_open(image, &qcow2);
}

int image_open(struct image **image, const struct image_config *config)
{
	struct overlay_config overlay = {.base_name = config->path, .path = config->overlay_path};
	struct image_raw_config raw = {.path = config->path,
				       .readonly = config->readonly || config->overlay,
				       .direct = config->direct};
	int ret = image_check(config);

	*image = NULL;
	if (ret < 0)
		return ret;
	if (config->format == IMAGE_QCOW2)
		ret = image_open_qcow2(image, config);
	else
		ret = image_raw_open(&raw, image);
	if (ret < 0 || !config->overlay)
		return ret;
	overlay.base = *image;
	return overlay_open(image, &overlay);
}
