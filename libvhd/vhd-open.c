/* SPDX-License-Identifier: MIT */
/* Opening a VHD: which footer counts, what it says, where the blocks are. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "vhd-dynamic.h"
#include "vhd-format.h"

enum { TAP_REVERSED_BITMAPS = 1 };

/* The footer that counts and what was found on the way to it. */
struct found {
	struct vhd_footer footer;
	uint8_t bytes[VHD_FOOTER_SIZE];
	uint64_t file_size;
	uint64_t space_end; /* of the file without its last footer */
	bool end_bad;	    /* the last footer must be written again */
	bool copy_bad;	    /* the copy at 0 must be written again */
};

/* Virtual PC before 2004 wrote 511 bytes; the missing one is a reserved zero. */
static int end_footer_read(const struct open_context *ctx, const struct vhd_layer *layer,
			   struct found *found)
{
	size_t size = found->file_size % VHD_SECTOR == VHD_FOOTER_SIZE - 1 ? VHD_FOOTER_SIZE - 1 :
									    VHD_FOOTER_SIZE;
	int ret;

	memset(found->bytes, 0, sizeof(found->bytes));
	found->space_end = found->file_size - size;
	ret = vhd_file_read(ctx->image, layer->file, found->bytes, size, found->space_end);
	if (ret)
		return vhd_fail(ctx->err, ret, "cannot read the footer at %" PRIu64,
				found->space_end);
	found->end_bad = size != VHD_FOOTER_SIZE;
	return vhd_footer_parse(found->bytes, &found->footer, ctx->err);
}

static int copy_read(const struct open_context *ctx, const struct vhd_layer *layer,
		     uint8_t *bytes)
{
	int ret = vhd_file_read(ctx->image, layer->file, bytes, VHD_FOOTER_SIZE, 0);

	return ret ? vhd_fail(ctx->err, ret, "cannot read the footer's copy at 0") : 0;
}

/* The last footer is no good: the copy in front counts, unless it says fixed,
 * since then it would be the disk's own first sector. @fault is what is wrong
 * with the last footer, and stays the answer if the copy is no better. */
static int footer_recover(const struct open_context *ctx, const struct vhd_layer *layer,
			  struct found *found, int fault)
{
	struct vhd_footer footer;
	uint8_t bytes[VHD_FOOTER_SIZE];
	int ret = copy_read(ctx, layer, bytes);

	if (ret)
		return ret;
	if (vhd_footer_parse(bytes, &footer, NULL) != 0 || footer.type == VHD_DISK_FIXED)
		return fault;
	vhd_warn_stale(ctx, "the footer at the end is damaged (%s), its copy at 0 is used",
		       vhd_fault_text(fault));
	found->footer = footer;
	memcpy(found->bytes, bytes, sizeof(bytes));
	found->space_end = found->file_size;
	found->end_bad = true;
	return 0;
}

static int footer_compare_copy(const struct open_context *ctx, const struct vhd_layer *layer,
			       struct found *found)
{
	uint8_t bytes[VHD_FOOTER_SIZE];
	int ret = copy_read(ctx, layer, bytes);

	if (ret)
		return ret;
	if (memcmp(bytes, found->bytes, sizeof(bytes)) == 0)
		return 0;
	vhd_warn_stale(ctx, "the footer's copy at 0 differs from the footer at the end, which is "
			    "used");
	found->copy_bad = true;
	return 0;
}

static int footer_find(const struct open_context *ctx, const struct vhd_layer *layer,
		       struct found *found)
{
	int ret = vhd_file_size(layer->file, &found->file_size);

	if (ret)
		return vhd_fail(ctx->err, ret, "cannot find the file's size");
	if (found->file_size < VHD_FOOTER_SIZE)
		return vhd_fail(ctx->err, VHD_FAULT_NOT_AN_IMAGE,
				"file size is %" PRIu64 ", a VHD has at least 512",
				found->file_size);
	ret = end_footer_read(ctx, layer, found);
	if (ret < 0)
		return ret;
	if (ret > 0)
		return footer_recover(ctx, layer, found, ret);
	if (found->footer.type == VHD_DISK_FIXED)
		return 0;
	return footer_compare_copy(ctx, layer, found);
}

/* Writes back what footer_find() found missing. By now the blocks are known, so
 * the footer goes behind the last of them. */
static int footer_repair(const struct open_context *ctx, struct vhd_layer *layer,
			 const struct found *found, uint64_t end)
{
	struct vhd_image *image = ctx->image;
	int ret = 0;

	if (found->copy_bad)
		ret = vhd_file_write(image, layer->file, found->bytes, VHD_FOOTER_SIZE, 0);
	if (!ret && found->end_bad)
		ret = vhd_file_write(image, layer->file, found->bytes, VHD_FOOTER_SIZE, end);
	if (!ret && found->end_bad && found->file_size > end + VHD_FOOTER_SIZE)
		ret = vhd_file_truncate(image, layer->file, end + VHD_FOOTER_SIZE);
	if (!ret && (found->copy_bad || found->end_bad))
		ret = vhd_file_sync(image, layer->file);
	return ret ? vhd_fail(ctx->err, ret, "cannot repair the footer") : 0;
}

/* The product of the geometry, when the caller wants it and it is not one of
 * the "use the size" values; never more than the size. */
static uint64_t disk_size(const struct open_context *ctx, const struct vhd_footer *f)
{
	const struct vhd_geometry *g = &f->geometry;
	uint64_t product = (uint64_t)g->cylinders * g->heads * g->sectors * VHD_SECTOR;

	if (!(ctx->options->flags & VHD_OPEN_CHS_SIZE) || product == 0 ||
	    (g->cylinders == 65535 && g->heads == 16 && g->sectors == 255))
		return f->current_size;
	return min_u64(product, f->current_size);
}

static void layer_describe(struct vhd_layer *layer, const struct vhd_footer *f)
{
	layer->format = VHD_FORMAT_VHD;
	layer->logical = layer->physical = VHD_SECTOR;
	memcpy(layer->id, f->id, sizeof(layer->id));
	for (size_t i = 0; i < sizeof(f->creator); i++)
		layer->creator[i] = isprint((unsigned char)f->creator[i]) ? f->creator[i] : '\0';
}

static int fixed_open(const struct open_context *ctx, struct vhd_layer *layer,
		      const struct found *found)
{
	if (found->footer.current_size > found->space_end)
		return vhd_fail(ctx->err, VHD_FAULT_FILE_SIZE,
				"footer: current size is %" PRIu64 ", the file has only %" PRIu64
				" bytes in front of the footer",
				found->footer.current_size, found->space_end);
	layer->type = VHD_TYPE_FIXED;
	return 0;
}

static int header_read(const struct open_context *ctx, const struct vhd_layer *layer,
		       const struct found *found, struct vhd_header *header,
		       struct vhd_layout *layout)
{
	bool differencing = found->footer.type == VHD_DISK_DIFFERENCING;
	uint8_t bytes[VHD_HEADER_SIZE];
	uint64_t offset = found->footer.data_offset;
	int ret;

	/* An offset outside the file is a fault, not a failed read. */
	if (offset % VHD_SECTOR || offset < VHD_FOOTER_SIZE || offset > found->space_end ||
	    found->space_end - offset < sizeof(bytes))
		return vhd_fail(ctx->err, VHD_FAULT_HEADER_OFFSET,
				"footer: data offset is %" PRIu64
				", expected a multiple of 512 with 1024 bytes before %" PRIu64,
				offset, found->space_end);
	ret = vhd_file_read(ctx->image, layer->file, bytes, sizeof(bytes), offset);
	if (ret)
		return vhd_fail(ctx->err, ret, "cannot read the dynamic header at %" PRIu64,
				offset);
	ret = vhd_header_parse(bytes, differencing, header, ctx->err);
	if (ret)
		return ret;
	return vhd_layout_check(&found->footer, header, found->space_end, layout, ctx->err);
}

static int dynamic_open(const struct open_context *ctx, struct vhd_layer *layer,
			const struct found *found)
{
	struct vhd_layout layout;
	struct vhd_header header;
	int ret;

	layer->type = found->footer.type == VHD_DISK_DIFFERENCING ? VHD_TYPE_DIFFERENCING :
								    VHD_TYPE_DYNAMIC;
	if (layer->type == VHD_TYPE_DIFFERENCING && memcmp(found->footer.creator, "tap", 4) == 0 &&
	    found->footer.creator_version == TAP_REVERSED_BITMAPS)
		return vhd_fail(
		    ctx->err, -ENOTSUP,
		    "footer: creator is \"tap\" 0.1, whose bitmaps are in another order");
	if (!ctx->read_only && layer->file->flags & VHD_FILE_BLOCK_DEVICE)
		return vhd_fail(ctx->err, -ENOTSUP,
				"a %s VHD on a block device can only be read",
				vhd_type_name(layer->type));
	ret = header_read(ctx, layer, found, &header, &layout);
	if (ret)
		return ret;
	memcpy(layer->parent_id, header.parent_id, sizeof(layer->parent_id));
	return vhd_dynamic_load(ctx, layer, &layout, &header, found->bytes);
}

int vhd_vhd_open(const struct open_context *ctx, struct vhd_layer *layer)
{
	bool writable = !ctx->read_only;
	struct found found = { 0 };
	uint64_t end;
	int ret = footer_find(ctx, layer, &found);

	if (ret)
		return ret;
	if (found.footer.saved_state) {
		vhd_warn(ctx, "footer: the disk belongs to a saved virtual machine");
		if (writable && !(ctx->options->flags & VHD_OPEN_SAVED_STATE))
			return vhd_fail(
			    ctx->err, VHD_FAULT_SAVED_STATE,
			    "footer: saved state is %u, expected 0 to write to the disk",
			    found.footer.saved_state);
	}
	layer_describe(layer, &found.footer);
	layer->size = disk_size(ctx, &found.footer);
	if (found.footer.type == VHD_DISK_FIXED) {
		ret = fixed_open(ctx, layer, &found);
		end = found.space_end;
	} else {
		ret = dynamic_open(ctx, layer, &found);
		end = ret ? 0 : vhd_dynamic_end(layer);
	}
	if (ret || !writable)
		return ret;
	return footer_repair(ctx, layer, &found, end);
}
