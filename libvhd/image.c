/* SPDX-License-Identifier: MIT */
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "check.h"

const char *vhd_format_name(enum vhd_format format)
{
	switch (format) {
	case VHD_FORMAT_RAW:
		return "raw";
	case VHD_FORMAT_VHD:
		return "vhd";
	case VHD_FORMAT_VHDX:
		return "vhdx";
	default:
		return "?";
	}
}

const char *vhd_type_name(enum vhd_type type)
{
	switch (type) {
	case VHD_TYPE_FIXED:
		return "fixed";
	case VHD_TYPE_DYNAMIC:
		return "dynamic";
	case VHD_TYPE_DIFFERENCING:
		return "differencing";
	}
	return "?";
}

static void warn(const struct open_context *ctx, enum vhd_finding finding, const char *format,
		 va_list args)
{
	struct vhd_error text;

	if (!ctx->check && !ctx->options->warn)
		return;
	vhd_error_print(&text, format, args);
	vhd_error_prefix(&text, ctx->path);
	if (ctx->check)
		vhd_check_found(ctx->check, finding, text.text);
	else
		ctx->options->warn(ctx->options->warn_opaque, text.text);
}

void vhd_warn(const struct open_context *ctx, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	warn(ctx, VHD_FINDING_NOTE, format, args);
	va_end(args);
}

void vhd_warn_stale(const struct open_context *ctx, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	/* A parent is not opened for writing: nothing of it is put right. */
	warn(ctx, ctx->image->layer_count > 1 ? VHD_FINDING_NOTE : VHD_FINDING_STALE, format,
	     args);
	va_end(args);
}

/* Does the file system give space back? Asked beyond the end of the file, where
 * nothing is changed by it. */
static bool image_can_discard(const struct vhd_layer *layer)
{
	uint64_t size;

	if (layer->file->flags & (VHD_FILE_READ_ONLY | VHD_FILE_BLOCK_DEVICE))
		return false;
	if (vhd_file_size(layer->file, &size) < 0)
		return false;
	return fallocate(layer->file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 (off_t)round_up(size, 4096), 4096) == 0;
}

/* A fixed VHD and a VHDX can each be made to look like the other by what the guest
 * writes to its first or last sector: nobody but the caller can tell then. */
static int format_detect(const struct open_context *ctx, const struct vhd_layer *layer,
			 enum vhd_format *format)
{
	uint8_t first[8] = "", last[8] = "";
	uint64_t size;
	int ret = vhd_file_size(layer->file, &size);

	if (!ret && size >= 512)
		ret = vhd_file_read(ctx->image, layer->file, first, sizeof(first), 0);
	if (!ret && size >= 512)
		ret = vhd_file_read(ctx->image, layer->file, last, sizeof(last), size - 512);
	if (ret)
		return vhd_fail(ctx->err, ret, "cannot read the file");
	*format = memcmp(first, "vhdxfile", 8) == 0 ? VHD_FORMAT_VHDX : VHD_FORMAT_VHD;
	if (*format == VHD_FORMAT_VHDX && memcmp(last, "conectix", 8) == 0)
		return vhd_fail(ctx->err, VHD_FAULT_AMBIGUOUS,
				"file begins as a VHDX and ends as a VHD: give its format");
	return 0;
}

static int layer_open(const struct open_context *ctx, enum vhd_format format,
		      struct vhd_layer *layer)
{
	int ret = vhd_file_open(ctx, layer);

	if (!ret && format == VHD_FORMAT_AUTO)
		ret = format_detect(ctx, layer, &format);
	if (ret)
		return ret;
	switch (format) {
	case VHD_FORMAT_RAW:
		return vhd_raw_open(ctx, layer);
	case VHD_FORMAT_VHD:
		return vhd_vhd_open(ctx, layer);
	case VHD_FORMAT_VHDX:
		return vhd_vhdx_open(ctx, layer);
	default:
		return vhd_fail(ctx->err, -EINVAL, "format %d is not known", (int)format);
	}
}

/* The next layer, from the file at @path. */
static int layer_add(const struct open_context *ctx, enum vhd_format format, const char *path)
{
	struct vhd_image *image = ctx->image;
	struct vhd_layer *layer = &image->layers[image->layer_count];
	struct open_context own = *ctx;
	int ret;

	layer->path = strdup(path);
	if (!layer->path)
		return vhd_fail(ctx->err, -ENOMEM, "no memory for a path");
	own.path = layer->path;
	own.read_only = image->layer_count > 0 || image->read_only;
	image->layer_count++;
	ret = layer_open(&own, format, layer);
	if (ret)
		vhd_error_prefix(ctx->err, own.path);
	return ret;
}

static int parent_path(const struct open_context *ctx, const struct vhd_layer *child, char **path)
{
	struct parent_paths paths = { .count = 0 };
	struct open_context own = *ctx;
	int ret;

	if (child == ctx->image->layers && ctx->options->parent) {
		*path = strdup(ctx->options->parent);
		return *path ? 0 : vhd_fail(ctx->err, -ENOMEM, "no memory for a path");
	}
	own.path = child->path;
	ret = child->format == VHD_FORMAT_VHDX ? vhd_vhdx_parent_paths(&own, child, &paths) :
						 vhd_vhd_parent_paths(&own, child, &paths);
	if (!ret)
		ret = vhd_parent_find(&own, &paths, path);
	vhd_parent_paths_free(&paths);
	return ret;
}

bool vhd_image_has_file(const struct vhd_image *image, const struct stat *file, uint32_t *depth)
{
	struct stat st;

	for (*depth = 0; *depth < image->layer_count; ++*depth)
		if (fstat(image->layers[*depth].file->fd, &st) == 0 &&
		    st.st_dev == file->st_dev && st.st_ino == file->st_ino)
			return true;
	return false;
}

/* A file that is in the chain already would be read for ever. */
static int chain_check_loop(const struct open_context *ctx, const char *path)
{
	struct stat st;
	uint32_t depth;

	if (stat(path, &st) < 0)
		return vhd_fail(ctx->err, -errno, "cannot examine the parent %s", path);
	if (!vhd_image_has_file(ctx->image, &st, &depth))
		return 0;
	return vhd_fail(ctx->err, VHD_FAULT_CHAIN_LOOP,
			"its parent %s is in the chain already, %" PRIu32 " above it", path,
			ctx->image->layer_count - depth - 1);
}

static int parent_add(const struct open_context *ctx, const struct vhd_layer *child)
{
	struct vhd_image *image = ctx->image;
	const struct vhd_layer *parent = &image->layers[image->layer_count];
	struct open_context own = *ctx;
	char *path = NULL;
	int ret;

	own.path = child->path;
	if (image->layer_count == IMAGE_MAX_LAYERS)
		ret = vhd_fail(ctx->err, VHD_FAULT_CHAIN_DEPTH,
			       "the chain of parents is longer than %d", IMAGE_MAX_LAYERS);
	else
		ret = parent_path(&own, child, &path);
	if (!ret)
		ret = chain_check_loop(&own, path);
	if (!ret)
		ret = vhd_parent_fault(ctx->err, path, child->format,
				       layer_add(&own, child->format, path));
	if (!ret)
		ret = child->format == VHD_FORMAT_VHDX ?
			      vhd_vhdx_parent_check(&own, child, parent) :
			      vhd_vhd_parent_check(&own, child, parent);
	free(path);
	if (ret)
		vhd_error_prefix(ctx->err, child->path);
	return ret;
}

static int image_open(const struct open_context *ctx)
{
	struct vhd_image *image = ctx->image;
	const struct vhd_open_options *options = ctx->options;
	int ret;

	if (options->flags & VHD_OPEN_NO_PARENT && !image->read_only && !ctx->relink)
		return vhd_fail(ctx->err, -EINVAL, "%s: without its parents it can only be read",
				ctx->path);
	ret = layer_add(ctx, options->format, ctx->path);
	while (!ret && !(options->flags & VHD_OPEN_NO_PARENT)) {
		const struct vhd_layer *last = &image->layers[image->layer_count - 1];

		if (last->type != VHD_TYPE_DIFFERENCING)
			break;
		ret = parent_add(ctx, last);
	}
	if (!ret)
		image->can_discard = image_can_discard(&image->layers[0]);
	return ret;
}

void vhd_image_free(struct vhd_image *image)
{
	if (!image)
		return;
	for (uint32_t i = 0; i < image->layer_count; i++) {
		if (image->layers[i].ops)
			image->layers[i].ops->free(&image->layers[i]);
		free(image->layers[i].path);
	}
	vhd_file_close_all(image);
	pthread_mutex_destroy(&image->lock);
	free(image);
}

/* The caller may know fewer fields than this library: the rest is zero. */
static int options_copy(struct vhd_open_options *copy, const struct vhd_open_options *options,
			struct vhd_error *err)
{
	*copy = (struct vhd_open_options)VHD_OPEN_OPTIONS_INIT;
	if (options) {
		if (options->size > sizeof(*copy))
			return vhd_fail(err, -EINVAL, "open options of %zu bytes, %zu are known",
					options->size, sizeof(*copy));
		memcpy(copy, options, options->size);
	}
	if (!copy->io)
		copy->io = &vhd_io_sync;
	return 0;
}

int vhd_image_open(struct open_context *ctx, const struct vhd_open_options *options,
		   struct vhd_open_options *copy)
{
	int ret = options_copy(copy, options, ctx->err);

	if (ret)
		return ret;
	ctx->options = copy;
	ctx->image = calloc(1, sizeof(*ctx->image));
	if (!ctx->image)
		return vhd_fail(ctx->err, -ENOMEM, "cannot open %s", ctx->path);
	pthread_mutex_init(&ctx->image->lock, NULL);
	ctx->image->io = copy->io;
	ctx->image->io_opaque = copy->io_opaque;
	ctx->image->read_only = copy->flags & VHD_OPEN_READ_ONLY;
	return image_open(ctx);
}

int vhd_open(const char *path, const struct vhd_open_options *options, struct vhd_image **image,
	     struct vhd_error *err)
{
	struct open_context ctx = { .path = path, .err = err };
	struct vhd_open_options copy;
	int ret = vhd_image_open(&ctx, options, &copy);

	*image = ret ? NULL : ctx.image;
	if (ret)
		vhd_image_free(ctx.image);
	return ret;
}

int vhd_close(struct vhd_image *image)
{
	int ret;

	if (!image)
		return 0;
	ret = vhd_flush(image);
	if (!ret && image->begun && image->layers[0].ops && image->layers[0].ops->end)
		ret = image->layers[0].ops->end(image);
	vhd_image_free(image);
	return ret;
}

int vhd_get_info(struct vhd_image *image, struct vhd_info *info)
{
	const struct vhd_layer *top = &image->layers[0];
	struct vhd_info all = {
		.size = info->size,
		.format = top->format,
		.type = top->type,
		.virtual_size = top->size,
		.block_size = top->map ? 1u << top->block_shift : 0,
		.logical_sector_size = top->logical,
		.physical_sector_size = top->physical,
		.discard_granularity = image->can_discard ? 4096 : 0,
		.chain_depth = image->layer_count,
		.read_only = image->read_only,
		.direct = top->direct != NULL,
		.can_discard = image->can_discard,
	};
	int ret;

	if (info->size < sizeof(info->size) || info->size > sizeof(all))
		return -EINVAL;
	memcpy(all.id, top->id, sizeof(all.id));
	memcpy(all.creator, top->creator, sizeof(all.creator));
	memcpy(all.parent_id, top->parent_id, sizeof(all.parent_id));
	pthread_mutex_lock(&image->lock);
	memcpy(all.data_id, top->data_id, sizeof(all.data_id));
	pthread_mutex_unlock(&image->lock);
	ret = vhd_file_size(top->file, &all.file_size);
	if (ret)
		return ret;
	memcpy(info, &all, info->size);
	return 0;
}

const char *vhd_get_path(const struct vhd_image *image, uint32_t depth)
{
	return depth < image->layer_count ? image->layers[depth].path : NULL;
}

uint32_t vhd_get_file_count(const struct vhd_image *image)
{
	return image->file_count;
}

const struct vhd_file *vhd_get_file(const struct vhd_image *image, uint32_t index)
{
	return &image->files[index];
}
