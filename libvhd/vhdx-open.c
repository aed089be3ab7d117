/* SPDX-License-Identifier: MIT */
/* Opening a VHDX: headers, then the log, and only then the rest, as the log may
 * change it. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "create.h"
#include "vhdx.h"

static const char identifier[8] = "vhdxfile";

/* -- Reading through the log ------------------------------------------------------ */

static void patch_apply(const struct vhdx_patch *p, uint8_t *buf, size_t length, uint64_t offset)
{
	uint64_t start = max_u64(p->offset, offset);
	uint64_t end = min_u64(p->offset + p->length, offset + length);

	if (start >= end)
		return;
	if (p->bytes)
		memcpy(buf + (start - offset), p->bytes + (start - p->offset), end - start);
	else
		memset(buf + (start - offset), 0, end - start);
}

int vhdx_read(struct vhd_image *image, const struct vhd_layer *layer, void *buf, size_t length,
	      uint64_t offset)
{
	const struct vhdx *x = layer->state;
	uint64_t have = offset < x->file_size ? min_u64(length, x->file_size - offset) : 0;
	int ret = 0;

	memset((uint8_t *)buf + have, 0, length - have);
	if (have > 0)
		ret = vhd_file_read(image, layer->file, buf, have, offset);
	for (size_t i = 0; !ret && i < x->patch_count; i++)
		patch_apply(&x->patches[i], buf, length, offset);
	return ret;
}

static int patch_add(void *opaque, uint64_t offset, const uint8_t *bytes, uint64_t length)
{
	struct vhdx *x = opaque;
	struct vhdx_patch *p;

	/* The number of pages is bounded by the log's length. Room is doubled. */
	if ((x->patch_count & (x->patch_count - 1)) == 0) {
		p = realloc(x->patches, (x->patch_count ? 2 * x->patch_count : 1) * sizeof(*p));
		if (!p)
			return -ENOMEM;
		x->patches = p;
	}
	p = &x->patches[x->patch_count];
	*p = (struct vhdx_patch){ offset, length, NULL };
	if (bytes) {
		p->bytes = malloc(length);
		if (!p->bytes)
			return -ENOMEM;
		memcpy(p->bytes, bytes, length);
	}
	x->patch_count++;
	return 0;
}

int vhdx_header_update(struct vhd_image *image, struct vhd_layer *layer)
{
	struct vhdx *x = layer->state;
	uint8_t bytes[VHDX_HEADER_SIZE];
	int ret;

	x->header.sequence++;
	x->current = !x->current;
	vhdx_header_build(bytes, &x->header);
	ret = vhd_file_write(image, layer->file, bytes, sizeof(bytes),
			     x->current ? VHDX_HEADER_2 : VHDX_HEADER_1);
	return ret ? ret : vhd_file_sync(image, layer->file);
}

/* -- Replaying the log -------------------------------------------------------------- */

struct replay {
	const struct open_context *ctx;
	struct vhd_layer *layer;
};

static int zeros_write(const struct open_context *ctx, const struct vhd_layer *layer,
		       uint64_t offset, uint64_t length)
{
	const struct vhdx *x = layer->state;
	struct vhd_io io = { .file = layer->file, .op = VHD_IO_PUNCH, .offset = offset };
	static const uint8_t zeros[65536];
	int ret;

	/* Behind the end of the file there is nothing but zeros anyway. */
	if (offset >= x->file_size)
		return 0;
	length = io.length = min_u64(length, x->file_size - offset);
	ret = ctx->image->io->submit(ctx->image->io_opaque, &io);
	if (ret != -EOPNOTSUPP)
		return ret;
	for (ret = 0; !ret && length > 0; offset += sizeof(zeros)) {
		size_t part = min_u64(length, sizeof(zeros));

		ret = vhd_file_write(ctx->image, layer->file, zeros, part, offset);
		length -= part;
	}
	return ret;
}

static int replay_page(void *opaque, uint64_t offset, const uint8_t *bytes, uint64_t length)
{
	const struct replay *r = opaque;

	if (!bytes)
		return zeros_write(r->ctx, r->layer, offset, length);
	return vhd_file_write(r->ctx->image, r->layer->file, bytes, length, offset);
}

/* 2.3.3: pages, the file's length, and only then a header without the log. */
static int replay_finish(const struct open_context *ctx, struct vhd_layer *layer,
			 const struct vhdx_log *log)
{
	struct vhdx *x = layer->state;
	int ret = vhd_file_size(layer->file, &x->file_size);

	if (!ret && x->file_size < log->last_size) {
		x->file_size = log->last_size;
		ret = vhd_file_truncate(ctx->image, layer->file, log->last_size);
	}
	if (!ret)
		ret = vhd_file_sync(ctx->image, layer->file);
	memset(x->header.log_guid, 0, sizeof(x->header.log_guid));
	if (!ret)
		ret = vhdx_header_update(ctx->image, layer);
	return ret;
}

static int log_replay(const struct open_context *ctx, struct vhd_layer *layer,
		      const struct vhdx_log *log)
{
	struct vhdx *x = layer->state;
	struct replay replay = { ctx, layer };
	int ret;

	if (ctx->read_only) {
		ret = vhdx_log_replay(log, x->header.log_offset, patch_add, x, ctx->err);
		x->file_size = max_u64(x->file_size, log->last_size);
		return ret < 0 ? vhd_fail(ctx->err, ret, "cannot read through the log") : ret;
	}
	/* 2.2.2.1: before anything of the file changes. */
	vhd_random_id(x->header.file_write);
	ret = vhdx_header_update(ctx->image, layer);
	if (!ret)
		ret = vhdx_log_replay(log, x->header.log_offset, replay_page, &replay, ctx->err);
	if (!ret)
		ret = replay_finish(ctx, layer, log);
	return ret < 0 ? vhd_fail(ctx->err, ret, "cannot replay the log") : ret;
}

static int log_load(const struct open_context *ctx, struct vhd_layer *layer)
{
	struct vhdx *x = layer->state;
	struct vhdx_log log = { .length = x->header.log_length, .guid = x->header.log_guid };
	uint8_t *ring;
	int ret;

	if (vhdx_guid_is_zero(x->header.log_guid))
		return 0;
	ring = malloc(log.length);
	if (!ring)
		return vhd_fail(ctx->err, -ENOMEM, "no memory for the log");
	log.ring = ring;
	ret = vhd_file_read(ctx->image, layer->file, ring, log.length, x->header.log_offset);
	if (ret)
		ret = vhd_fail(ctx->err, ret, "cannot read the log at %" PRIu64,
			       x->header.log_offset);
	else
		ret = vhdx_log_find(&log, ctx->err);
	if (!ret && log.flushed_size > x->file_size)
		ret = vhd_fail(ctx->err, VHD_FAULT_FILE_SIZE,
			       "file size is %" PRIu64 ", the log knows it with %" PRIu64
			       ": its end was cut off",
			       x->file_size, log.flushed_size);
	if (!ret) {
		vhd_warn_stale(ctx, "the file was not closed, its log is %s",
			       ctx->read_only ? "read along" : "replayed");
		ret = log_replay(ctx, layer, &log);
	}
	free(ring);
	return ret;
}

/* -- Opening ------------------------------------------------------------------------ */

static int headers_load(const struct open_context *ctx, struct vhd_layer *layer)
{
	struct vhdx *x = layer->state;
	uint8_t first[VHDX_HEADER_SIZE], second[VHDX_HEADER_SIZE];
	int ret = vhd_file_size(layer->file, &x->file_size);

	if (!ret && x->file_size < VHDX_MIB)
		return vhd_fail(ctx->err, VHD_FAULT_NOT_AN_IMAGE,
				"file size is %" PRIu64 ", a VHDX has at least 1 MiB",
				x->file_size);
	if (!ret)
		ret = vhd_file_read(ctx->image, layer->file, first, sizeof(identifier), 0);
	if (!ret && memcmp(first, identifier, sizeof(identifier)) != 0)
		return vhd_fail(ctx->err, VHD_FAULT_NOT_AN_IMAGE,
				"file does not begin with \"vhdxfile\"");
	if (!ret)
		ret = vhd_file_read(ctx->image, layer->file, first, sizeof(first), VHDX_HEADER_1);
	if (!ret)
		ret = vhd_file_read(ctx->image, layer->file, second, sizeof(second),
				    VHDX_HEADER_2);
	if (ret)
		return vhd_fail(ctx->err, ret, "cannot read the headers");
	ret = vhdx_header_choose(first, second, x->file_size, &x->header, &x->current, ctx->err);
	if (!ret && !ctx->read_only && x->header.sequence > UINT64_MAX - 16)
		ret = vhd_fail(ctx->err, VHD_FAULT_VHDX_HEADER,
			       "header: the sequence number has come to its end");
	return ret;
}

int vhd_vhdx_open(const struct open_context *ctx, struct vhd_layer *layer)
{
	int ret;

	layer->format = VHD_FORMAT_VHDX;
	layer->state = calloc(1, sizeof(struct vhdx));
	if (!layer->state)
		return vhd_fail(ctx->err, -ENOMEM, "no memory for the image");
	layer->ops = &vhdx_ops;
	ret = headers_load(ctx, layer);
	if (!ret)
		ret = log_load(ctx, layer);
	if (!ret)
		ret = vhdx_metadata_load(ctx, layer);
	if (!ret)
		ret = vhdx_table_load(ctx, layer);
	if (!ret && !ctx->read_only)
		ret = vhdx_write_init(ctx, layer);
	return ret;
}
