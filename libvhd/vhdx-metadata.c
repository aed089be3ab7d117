/* SPDX-License-Identifier: MIT */
/* What the regions of a VHDX say, and the block table. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "check.h"
#include "vhdx.h"

static int regions_load(const struct open_context *ctx, struct vhd_layer *layer)
{
	static const uint32_t places[] = { VHDX_REGIONS_1, VHDX_REGIONS_2 };
	struct vhdx *x = layer->state;
	uint8_t *bytes = malloc(VHDX_TABLE_SIZE);
	bool valid = false;
	int ret = bytes ? 0 : vhd_fail(ctx->err, -ENOMEM, "no memory for the region table");

	for (int i = 0; !ret && !valid && i < 2; i++) {
		ret = vhdx_read(ctx->image, layer, bytes, VHDX_TABLE_SIZE, places[i]);
		if (ret) {
			ret = vhd_fail(ctx->err, ret, "cannot read a region table");
			break;
		}
		ret = vhdx_regions_parse(bytes, x->file_size, &x->regions, &valid, ctx->err);
		x->regions.place = places[i];
		if (ret && !valid && i == 0) {
			vhd_warn_stale(ctx, "the first region table is damaged, the second one is "
					    "used");
			ret = 0;
		}
	}
	free(bytes);
	return ret;
}

/* The item's bytes, for free(). */
static int item_load(const struct open_context *ctx, struct vhd_layer *layer,
		     enum vhdx_item_index which, uint8_t **bytes)
{
	struct vhdx *x = layer->state;
	const struct vhdx_item *item = &x->items[which];
	int ret;

	*bytes = malloc(item->length ? item->length : 1);
	if (!*bytes)
		return vhd_fail(ctx->err, -ENOMEM, "no memory for metadata");
	ret = vhdx_read(ctx->image, layer, *bytes, item->length,
			x->regions.metadata.offset + item->offset);
	return ret ? vhd_fail(ctx->err, ret, "cannot read metadata") : 0;
}

static int disk_load(const struct open_context *ctx, struct vhd_layer *layer)
{
	struct vhdx *x = layer->state;
	uint8_t *contents[VHDX_ITEMS] = { NULL };
	int ret = 0;

	for (int i = 0; !ret && i < VHDX_ITEMS; i++)
		ret = item_load(ctx, layer, (enum vhdx_item_index)i, &contents[i]);
	if (!ret)
		ret = vhdx_disk_parse((const uint8_t *const *)contents, &x->disk, ctx->err);
	if (!ret && x->disk.has_parent != (x->items[VHDX_PARENT_LOCATOR].length > 0))
		ret = vhd_fail(ctx->err, VHD_FAULT_VHDX_METADATA,
			       "metadata: file parameters say %s parent, the parent locator has "
			       "%" PRIu32 " bytes",
			       x->disk.has_parent ? "a" : "no",
			       x->items[VHDX_PARENT_LOCATOR].length);
	x->locator = contents[VHDX_PARENT_LOCATOR];
	for (int i = 0; i < VHDX_PARENT_LOCATOR; i++)
		free(contents[i]);
	return ret;
}

static int metadata_load(const struct open_context *ctx, struct vhd_layer *layer)
{
	struct vhdx *x = layer->state;
	uint8_t *bytes = malloc(VHDX_TABLE_SIZE);
	int ret;

	if (!bytes)
		return vhd_fail(ctx->err, -ENOMEM, "no memory for metadata");
	ret = vhdx_read(ctx->image, layer, bytes, VHDX_TABLE_SIZE, x->regions.metadata.offset);
	if (ret)
		ret = vhd_fail(ctx->err, ret, "cannot read metadata");
	else
		ret = vhdx_metadata_parse(bytes, x->regions.metadata.length, x->items, ctx->err);
	free(bytes);
	return ret;
}

void vhdx_guid_swap(uint8_t *to, const uint8_t *from)
{
	static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };

	for (int i = 0; i < 16; i++)
		to[i] = from[order[i]];
}

static void layer_describe(struct vhd_layer *layer)
{
	const struct vhdx *x = layer->state;

	layer->type = x->disk.has_parent ? VHD_TYPE_DIFFERENCING :
		      x->disk.fixed	 ? VHD_TYPE_FIXED :
					   VHD_TYPE_DYNAMIC;
	layer->size = x->disk.size;
	layer->logical = x->disk.logical;
	layer->physical = x->disk.physical;
	layer->blocks = (uint32_t)x->disk.blocks;
	layer->block_shift = (unsigned)__builtin_ctz(x->disk.block_size);
	vhdx_guid_swap(layer->id, x->disk.id);
	vhdx_guid_swap(layer->data_id, x->header.data_write);
}

int vhdx_metadata_load(const struct open_context *ctx, struct vhd_layer *layer)
{
	const struct vhdx *x = layer->state;
	int ret = regions_load(ctx, layer);

	if (!ret)
		ret = metadata_load(ctx, layer);
	if (!ret)
		ret = disk_load(ctx, layer);
	if (!ret)
		layer_describe(layer);
	if (!ret && x->disk.has_parent)
		ret = vhdx_linkage_load(ctx, layer);
	return ret;
}

/* -- The table ------------------------------------------------------------------- */

/* Room for headers, log and regions, and for each entry that owns space. */
static struct vhdx_space *spaces_new(const struct vhdx *x, size_t *count)
{
	size_t used = x->regions.count + 2;
	struct vhdx_space *spaces;

	for (uint64_t i = 0; i < x->disk.entries; i++)
		used += x->table[i] != 0;
	spaces = calloc(used, sizeof(*spaces));
	*count = 0;
	if (!spaces)
		return NULL;
	spaces[(*count)++] = (struct vhdx_space){ 0, 1, VHDX_OWNER_HEADERS };
	if (x->header.log_length)
		spaces[(*count)++] = (struct vhdx_space){
			x->header.log_offset / VHDX_MIB,
			(x->header.log_offset + x->header.log_length) / VHDX_MIB,
			VHDX_OWNER_LOG,
		};
	for (uint32_t i = 0; i < x->regions.count; i++) {
		const struct vhdx_region *r = &x->regions.all[i];

		spaces[(*count)++] = (struct vhdx_space){ r->offset / VHDX_MIB,
							  (r->offset + r->length) / VHDX_MIB,
							  VHDX_OWNER_REGION };
	}
	return spaces;
}

/* Reading a trimmed block gives zeros, never the parent's, whatever was there before. */
static uint64_t map_word(uint64_t entry)
{
	uint64_t offset = round_down(entry, VHDX_MIB);

	switch (entry & VHDX_STATE_MASK) {
	case VHDX_PRESENT:
		return offset | MAP_DATA;
	case VHDX_PARTIAL:
		return offset | MAP_PART;
	case VHDX_NOT_PRESENT:
		return MAP_NONE;
	case VHDX_ZERO:
		return MAP_ZERO;
	default:
		return offset ? offset | MAP_IDLE : MAP_ZERO;
	}
}

/* The block's part of its chunk's bitmap block. */
static int bits_read(struct vhd_image *image, const struct vhd_layer *layer, uint32_t block,
		     uint8_t *bytes)
{
	const struct vhdx *x = layer->state;

	return vhdx_read(image, layer, bytes, x->bitmaps.size, vhdx_bits_place(x, block));
}

static uint64_t blocks_most(const struct open_context *ctx, const struct vhdx *x)
{
	return ctx->read_only ? x->disk.blocks : VHDX_MAX_SIZE / x->disk.block_size;
}

static int bitmaps_new(const struct open_context *ctx, struct vhd_layer *layer)
{
	struct vhdx *x = layer->state;
	uint64_t chunks = x->disk.entries / (x->disk.chunk_ratio + 1);

	x->bitmaps.blocks = layer->blocks;
	x->bitmaps.size = x->disk.block_size / x->disk.logical / 8;
	x->bitmaps.low_first = true;
	x->bitmaps.load = bits_read;
	layer->bitmaps = &x->bitmaps;
	x->chunks = calloc(chunks, sizeof(*x->chunks));
	if (!x->chunks || vhd_bitmap_init(&x->bitmaps, (uint32_t)blocks_most(ctx, x)))
		return vhd_fail(ctx->err, -ENOMEM, "no memory for bitmaps");
	for (uint64_t i = 0; i < chunks; i++)
		x->chunks[i] = round_down(le64toh(x->table[vhdx_bitmap_index(&x->disk, i)]),
					  VHDX_MIB);
	return 0;
}

static int map_new(const struct open_context *ctx, struct vhd_layer *layer)
{
	struct vhdx *x = layer->state;
	uint64_t most = blocks_most(ctx, x);

	layer->map = vhd_room_init(&layer->map_room, x->disk.blocks * sizeof(*layer->map),
				   most * sizeof(*layer->map));
	if (!layer->map)
		return vhd_fail(ctx->err, -ENOMEM, "no memory for %" PRIu64 " blocks",
				x->disk.blocks);
	for (uint64_t i = 0; i < x->disk.blocks; i++) {
		uint64_t word = map_word(le64toh(x->table[vhdx_block_index(&x->disk, i)]));

		if (word)
			atomic_init(&layer->map[i], word);
	}
	return x->disk.has_parent ? bitmaps_new(ctx, layer) : 0;
}

static int table_check(const struct open_context *ctx, struct vhdx *x)
{
	struct vhdx_space *spaces;
	size_t count;
	int ret;

	spaces = spaces_new(x, &count);
	if (!spaces)
		return vhd_fail(ctx->err, -ENOMEM, "no memory to check the block table");
	ret = vhdx_bat_check(&x->disk, x->table, x->file_size, spaces, count, &x->end, ctx->err);
	free(spaces);
	return ret;
}

void vhdx_check_table(const struct vhd_layer *layer, struct vhd_check *check)
{
	const struct vhdx *x = layer->state;
	size_t count;
	struct vhdx_space *spaces = spaces_new(x, &count);

	if (spaces)
		vhdx_bat_check_all(&x->disk, x->table, x->file_size, spaces, count,
				   vhd_check_entry, check);
	free(spaces);
}

int vhdx_table_load(const struct open_context *ctx, struct vhd_layer *layer)
{
	struct vhdx *x = layer->state;
	uint64_t size = round_up(x->disk.entries * sizeof(*x->table), VHDX_PAGE);
	int ret;

	if (size > x->regions.bat.length)
		return vhd_fail(ctx->err, VHD_FAULT_BAT_SIZE,
				"region table: block table of %" PRIu32 " bytes, expected %" PRIu64
				" or more for %" PRIu64 " blocks",
				x->regions.bat.length, size, x->disk.blocks);
	x->table = malloc(size);
	if (!x->table)
		return vhd_fail(ctx->err, -ENOMEM, "no memory for the block table");
	ret = vhdx_read(ctx->image, layer, x->table, size, x->regions.bat.offset);
	if (ret)
		return vhd_fail(ctx->err, ret, "cannot read the block table at %" PRIu64,
				x->regions.bat.offset);
	ret = table_check(ctx, x);
	return ret ? ret : map_new(ctx, layer);
}
