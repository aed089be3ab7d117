/* SPDX-License-Identifier: MIT */
/* Another parent for a differencing image. What the new chain would show differently is
 * first copied into the image, over the old chain, where it changes nothing; when that
 * is durable the link is changed, in one step. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "create.h"
#include "extent.h"
#include "maintain.h"

struct rebase {
	struct vhd_image *image;  /* with the old chain */
	struct vhd_image *parent; /* the new one's top */
	const struct vhd_task *task;
	uint8_t *old, *new;
};

/* The new parent's bytes, zeros where it is shorter. */
static int new_read(const struct rebase *r, uint64_t offset, uint64_t length)
{
	uint64_t size = r->parent->layers[0].size;
	uint64_t have = offset < size ? min_u64(length, size - offset) : 0;

	memset(r->new + have, 0, length - have);
	return have ? vhd_pread(r->parent, r->new, have, offset) : 0;
}

/* Writes the runs of sectors that differ. */
static int differences_keep(const struct rebase *r, uint64_t offset, uint64_t length)
{
	uint64_t sector = r->image->layers[0].logical, run = 0;
	int ret = 0;

	for (uint64_t at = 0; !ret && at < length; at += sector) {
		uint64_t n = min_u64(sector, length - at);
		bool last = at + n == length;

		if (memcmp(r->old + at, r->new + at, n) != 0) {
			run += n;
			if (!last)
				continue;
			at += n;
		}
		if (run)
			ret = vhd_pwrite(r->image, r->old + at - run, run, offset + at - run);
		run = 0;
	}
	return ret;
}

/* Both chains by what they say; zeros in both need not be read. */
static int both_zero(const struct rebase *r, uint64_t offset, uint64_t *length, bool *zero)
{
	uint64_t size = r->parent->layers[0].size;
	struct vhd_extent e;
	int ret = vhd_get_extent(r->image, offset, *length, &e);

	*zero = !ret && !e.data;
	if (ret)
		return ret;
	*length = e.length;
	if (offset >= size)
		return 0;
	ret = vhd_get_extent(r->parent, offset, min_u64(*length, size - offset), &e);
	*zero &= !ret && !e.data;
	*length = e.length;
	return ret;
}

static int range_keep(const struct rebase *r, uint64_t offset, uint64_t length)
{
	uint64_t size = r->image->layers[0].size;
	bool zero;
	int ret = 0;

	for (uint64_t n; !ret && length > 0; offset += n, length -= n) {
		n = length;
		ret = both_zero(r, offset, &n, &zero);
		if (ret || zero)
			continue;
		n = min_u64(n, JOB_CHUNK);
		ret = vhd_pread(r->image, r->old, n, offset);
		if (!ret)
			ret = new_read(r, offset, n);
		if (!ret)
			ret = differences_keep(r, offset, n);
		if (!ret)
			ret = vhd_task_progress(r->task, offset + n, size);
	}
	return ret;
}

static int contents_keep(struct rebase *r)
{
	uint64_t size = r->image->layers[0].size, length;
	enum vhd_own own;
	int ret = 0;

	r->old = malloc(JOB_CHUNK);
	r->new = malloc(JOB_CHUNK);
	if (!r->old || !r->new)
		ret = -ENOMEM;
	for (uint64_t at = 0; !ret && at < size; at += length) {
		ret = vhd_extent_own(r->image, at, size - at, &length, &own);
		if (!ret && own == VHD_OWN_NOTHING)
			ret = range_keep(r, at, length);
		if (!ret)
			ret = vhd_task_progress(r->task, at + length, size);
	}
	free(r->old);
	free(r->new);
	return ret ? ret : vhd_flush(r->image);
}

/* The new parent must be no longer than the image, of its format, and not built on it. */
static int parent_check(const char *path, const struct rebase *r, struct vhd_error *err)
{
	const struct vhd_layer *child = &r->image->layers[0], *parent = &r->parent->layers[0];

	if (child->type != VHD_TYPE_DIFFERENCING)
		return vhd_fail(err, -ENOTSUP, "%s: only a differencing image has a parent", path);
	if (child->format != parent->format)
		return vhd_fail(err, -EINVAL, "%s: its parent must be a %s image", path,
				vhd_format_name(child->format));
	if (parent->size > child->size)
		return vhd_fail(err, -EINVAL,
				"%s: the new parent has %" PRIu64
				" bytes, expected at most %" PRIu64,
				path, parent->size, child->size);
	if (parent->logical != child->logical)
		return vhd_fail(err, -EINVAL,
				"%s: the new parent has sectors of %" PRIu32
				" bytes, expected %" PRIu32,
				path, parent->logical, child->logical);
	return 0;
}

static int chain_check(const char *path, const struct vhd_image *parent, struct vhd_error *err)
{
	struct stat st;
	uint32_t depth;

	if (stat(path, &st) < 0)
		return vhd_fail(err, -errno, "%s: cannot be examined", path);
	if (vhd_image_has_file(parent, &st, &depth))
		return vhd_fail(err, -EINVAL, "%s: the new parent is %s", path,
				depth ? "built on it" : "the image itself");
	return 0;
}

static int relink(const char *path, const char *parent, struct vhd_image *image,
		  struct vhd_error *err)
{
	struct vhd_create_options o = VHD_CREATE_OPTIONS_INIT;
	struct create_context create = { .path = path, .options = &o, .fd = -1, .err = err };
	int ret;

	o.format = image->layers[0].format;
	o.type = VHD_TYPE_DIFFERENCING;
	o.parent = parent;
	ret = vhd_create_parent_find(&create, &o);
	if (!ret)
		ret = image->layers[0].ops->relink(image, &create);
	vhd_create_parent_free(&create);
	return ret;
}

static int image_rebase(const char *path, const char *parent, uint32_t flags, struct rebase *r,
			struct vhd_error *err)
{
	int ret = parent_check(path, r, err);

	if (ret)
		return ret;
	/* Its own children need not know. */
	r->image->same_data = !(flags & VHD_REBASE_UNSAFE);
	if (!(flags & VHD_REBASE_UNSAFE)) {
		ret = contents_keep(r);
		if (ret)
			return vhd_fail(err, ret, "%s: cannot keep what its parent holds", path);
	}
	return relink(path, parent, r->image, err);
}

/* The image for writing; for an unsafe rebase without its parent, which may be gone. */
static int image_open(const char *path, struct vhd_open_options *options, uint32_t flags,
		      struct vhd_image **image, struct vhd_error *err)
{
	struct open_context ctx = { .path = path, .relink = true, .err = err };
	struct vhd_open_options copy;
	int ret;

	options->flags &= ~(uint32_t)(VHD_OPEN_READ_ONLY | VHD_OPEN_NO_PARENT);
	if (flags & VHD_REBASE_UNSAFE)
		options->flags |= VHD_OPEN_NO_PARENT;
	ret = vhd_image_open(&ctx, options, &copy);
	*image = ret ? NULL : ctx.image;
	if (ret)
		vhd_image_free(ctx.image);
	return ret;
}

static int parent_open(const char *path, const struct vhd_open_options *options,
		       struct vhd_image **parent, struct vhd_error *err)
{
	struct vhd_open_options own = *options;
	int ret;

	own.flags = (own.flags | VHD_OPEN_READ_ONLY) & ~(uint32_t)VHD_OPEN_NO_PARENT;
	own.parent = NULL;
	ret = vhd_open(path, &own, parent, err);
	return ret;
}

int vhd_rebase(const char *path, const char *parent, uint32_t flags, const struct vhd_task *task,
	       struct vhd_error *err)
{
	struct vhd_open_options options;
	struct rebase r = { .image = NULL };
	struct vhd_task job;
	int closed, ret = vhd_task_copy(&job, &options, task, err);

	r.task = &job;
	if (!ret)
		ret = parent_open(parent, &options, &r.parent, err);
	if (!ret)
		ret = chain_check(path, r.parent, err);
	if (!ret)
		ret = image_open(path, &options, flags, &r.image, err);
	if (!ret)
		ret = image_rebase(path, parent, flags, &r, err);
	closed = vhd_close(r.image);
	if (!ret && closed)
		ret = vhd_fail(err, closed, "%s: cannot be closed", path);
	vhd_close(r.parent);
	return ret;
}
