/* SPDX-License-Identifier: MIT */
/* Merging a differencing image into its parent: what the child holds is written to the
 * parent, nothing else changes. A child over a half-merged parent still reads as it
 * did, since it holds all that was written; so a merge is safe to cut off and to do
 * again, as long as the parent can still be told to be the child's. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "create.h"
#include "extent.h"
#include "maintain.h"

struct merge {
	struct vhd_image *child, *parent;
	const struct vhd_task *task;
	uint64_t size; /* of the child's disk */
	uint8_t *buf;
};

static int data_copy(const struct merge *m, uint64_t offset, uint64_t length)
{
	int ret = 0;

	for (uint64_t n; !ret && length > 0; offset += n, length -= n) {
		n = min_u64(length, JOB_CHUNK);
		ret = vhd_pread(m->child, m->buf, n, offset);
		if (!ret)
			ret = vhd_pwrite(m->parent, m->buf, n, offset);
		if (!ret)
			ret = vhd_task_progress(m->task, offset + n, m->size);
	}
	return ret;
}

static int merge_run(const struct merge *m)
{
	struct vhd_extent e;
	enum vhd_own own;
	int ret = 0;

	for (uint64_t at = 0; !ret && at < m->size; at += e.length) {
		ret = vhd_extent_own(m->child, at, m->size - at, &e.length, &own);
		if (ret)
			break;
		if (own == VHD_OWN_DATA)
			ret = data_copy(m, at, e.length);
		else if (own == VHD_OWN_ZEROS)
			ret = vhd_write_zeroes(m->parent, at, e.length);
		if (!ret)
			ret = vhd_task_progress(m->task, at + e.length, m->size);
	}
	return ret ? ret : vhd_flush(m->parent);
}

/* The parent becomes as long as the child, which may be longer; other makers' may be shorter. */
static int parent_fit(struct merge *m, struct vhd_error *err)
{
	m->size = m->child->layers[0].size;
	return vhd_resize(m->parent, m->size, VHD_RESIZE_SHRINK, err);
}

static int items_merge(const struct merge *m)
{
	const struct layer_ops *ops = m->parent->layers[0].ops;

	return ops && ops->take_items ? ops->take_items(m->parent, m->child) : 0;
}

static int merge_into(struct merge *m, const char *path, struct vhd_error *err)
{
	int ret = parent_fit(m, err);

	if (ret)
		return ret;
	m->buf = malloc(JOB_CHUNK);
	ret = m->buf ? merge_run(m) : -ENOMEM;
	if (!ret)
		ret = items_merge(m);
	free(m->buf);
	return ret ? vhd_fail(err, ret, "%s: cannot be merged into %s", path,
			      vhd_get_path(m->parent, 0)) :
		     0;
}

/* The path of the parent, which by this is known to be the right one, and the id of its
 * contents. */
static int parent_find(const char *path, struct vhd_open_options *options, char **parent,
		       uint8_t *id, struct vhd_error *err)
{
	struct vhd_image *image;
	int ret;

	options->flags |= VHD_OPEN_READ_ONLY;
	ret = vhd_open(path, options, &image, err);
	if (ret)
		return ret;
	if (image->layers[0].type != VHD_TYPE_DIFFERENCING)
		ret = -ENOTSUP;
	else
		*parent = strdup(vhd_get_path(image, 1));
	if (!ret && !*parent)
		ret = -ENOMEM;
	if (!ret)
		memcpy(id, image->layers[1].data_id, sizeof(image->layers[1].data_id));
	vhd_close(image);
	return ret ? vhd_fail(err, ret, "%s: only a differencing image can be merged", path) : 0;
}

/* Writing to a VHDX gives its contents another id, by which the child would not know it
 * any more. So that a merge can be cut off, the child is told the next id before. */
static int child_prepare(const char *path, const struct vhd_open_options *options,
			 const uint8_t *now, uint8_t *next, struct vhd_error *err)
{
	struct open_context ctx = { .path = path, .relink = true, .err = err };
	struct vhd_open_options own = *options, copy;
	int closed, ret;

	own.flags &= ~(uint32_t)VHD_OPEN_READ_ONLY;
	own.flags |= VHD_OPEN_NO_PARENT;
	ret = vhd_image_open(&ctx, &own, &copy);
	if (ret) {
		vhd_image_free(ctx.image);
		return ret;
	}
	vhd_random_id(next);
	ctx.image->same_data = true;
	if (ctx.image->layers[0].ops->link_both)
		ret = ctx.image->layers[0].ops->link_both(ctx.image, now, next);
	closed = vhd_close(ctx.image);
	ret = ret ? ret : closed;
	return ret ? vhd_fail(err, ret, "%s: cannot change the link to the parent", path) : 0;
}

int vhd_merge(const char *path, const struct vhd_task *task, struct vhd_error *err)
{
	struct vhd_open_options options, own;
	struct merge m = { .size = 0 };
	struct vhd_task job;
	uint8_t now[16], next[16];
	char *parent = NULL;
	int closed, ret = vhd_task_copy(&job, &options, task, err);

	m.task = &job;
	if (!ret)
		ret = parent_find(path, &options, &parent, now, err);
	if (!ret)
		ret = child_prepare(path, &options, now, next, err);
	own = options;
	own.flags |= VHD_OPEN_NO_PARENT;
	if (!ret)
		ret = vhd_open(path, &own, &m.child, err);
	options.flags &= ~(uint32_t)(VHD_OPEN_READ_ONLY | VHD_OPEN_NO_PARENT);
	options.parent = NULL;
	if (!ret)
		options.format = m.child->layers[0].format;
	if (!ret)
		ret = vhd_open(parent, &options, &m.parent, err);
	if (!ret) {
		m.parent->data_id = next;
		ret = merge_into(&m, path, err);
	}
	closed = vhd_close(m.parent);
	if (!ret && closed)
		ret = vhd_fail(err, closed, "%s: cannot be closed", parent);
	vhd_close(m.child);
	free(parent);
	return ret;
}
