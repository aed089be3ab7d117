/* SPDX-License-Identifier: MIT */
/* Writing a VHDX. A block goes behind all that is there, in space that the file has
 * just grown by and that reads as zeros; its entry of the table is kept. The flush syncs
 * (blocks and the file's length are durable), logs the pages of bitmaps and table that
 * change, syncs (now they are durable too), and writes them home. The sync that the next
 * flush begins with covers the home writes.
 *
 * A block that was discarded keeps its place in the file, which is a hole then: the space
 * is the host's again, and no other block can ever be seen through a late request. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "create.h"
#include "vhdx.h"

/* -- The session -------------------------------------------------------------------- */

/* 2.2.2.1: before anything changes, data included, the file gets new GUIDs; before
 * anything is logged, an entry to find the log by. The tail that a crash may have
 * left is cut off first: the log tells the file's length from now on. */
static int vhdx_begin(struct vhd_image *image)
{
	struct vhd_layer *layer = &image->layers[0];
	struct vhdx *x = layer->state;
	int ret = 0;

	if (x->file_size > x->end)
		ret = vhd_file_truncate(image, layer->file, x->end);
	x->file_size = x->log.flushed_size = x->end;
	vhd_random_id(x->header.file_write);
	if (!image->same_data)
		vhd_random_id(layer->data_id);
	if (image->data_id)
		memcpy(layer->data_id, image->data_id, sizeof(layer->data_id));
	vhdx_guid_swap(x->header.data_write, layer->data_id);
	vhd_random_id(x->header.log_guid);
	if (!ret)
		ret = vhdx_log_write(image, layer, true);
	if (!ret)
		ret = vhd_file_sync(image, layer->file);
	for (int round = 0; !ret && round < 2; round++)
		ret = vhdx_header_update(image, layer);
	return ret;
}

/* All is flushed: nothing of the log is needed once the pages at home are durable. */
int vhdx_end(struct vhd_image *image)
{
	struct vhd_layer *layer = &image->layers[0];
	struct vhdx *x = layer->state;
	int ret = vhd_file_sync(image, layer->file);

	memset(x->header.log_guid, 0, sizeof(x->header.log_guid));
	for (int round = 0; !ret && round < 2; round++)
		ret = vhdx_header_update(image, layer);
	return ret;
}

static int vhdx_finish(struct vhd_image *image)
{
	return vhdx_log_home(image, &image->layers[0]);
}

/* -- Blocks ------------------------------------------------------------------------- */

static uint64_t map_get(const struct vhd_layer *layer, uint32_t block)
{
	return atomic_load_explicit(&layer->map[block], memory_order_relaxed);
}

static void map_set(struct vhd_layer *layer, uint32_t block, uint64_t word)
{
	atomic_store_explicit(&layer->map[block], word, memory_order_release);
}

/* The place a block has kept: whatever is there, it must read as zeros. False: the file
 * system makes no holes. */
static bool place_reuse(struct vhd_image *image, const struct vhd_layer *layer, uint64_t place)
{
	struct vhd_io io = {
		.file = layer->file,
		.op = VHD_IO_PUNCH,
		.offset = place,
		.length = UINT64_C(1) << layer->block_shift,
	};

	return image->io->submit(image->io_opaque, &io) == 0;
}

/* @size bytes behind all that is there. */
static int place_new(struct vhd_image *image, struct vhd_layer *layer, uint64_t size,
		     uint64_t *place)
{
	struct vhdx *x = layer->state;
	int ret = vhd_file_truncate(image, layer->file, x->end + size);

	if (ret)
		return ret;
	*place = x->end;
	x->end = x->file_size = x->end + size;
	return 0;
}

/* What the first partly present block of a chunk needs. */
static int chunk_make(struct vhd_image *image, struct vhd_layer *layer, uint64_t chunk)
{
	struct vhdx *x = layer->state;
	int ret = 0;

	if (!x->chunks[chunk])
		ret = place_new(image, layer, VHDX_BITMAP_SIZE, &x->chunks[chunk]);
	if (ret)
		return ret;
	/* Again if there was no memory for it the last time. */
	return vhdx_change_keep(x, vhdx_bitmap_index(&x->disk, chunk));
}

/* A block that is only partly here: the bits it may have in the file from an earlier
 * life are overwritten by the flush that first names it. */
static int part_make(struct vhd_image *image, struct vhd_layer *layer, uint32_t block)
{
	struct vhdx *x = layer->state;
	uint64_t chunk = block / x->disk.chunk_ratio;
	uint64_t entry = le64toh(x->table[vhdx_bitmap_index(&x->disk, chunk)]);
	int ret = vhd_bitmap_add(&x->bitmaps, block);

	if (!ret && !(entry & VHDX_STATE_MASK))
		ret = chunk_make(image, layer, chunk);
	if (!ret)
		vhd_bitmap_mark(&x->bitmaps, block);
	return ret;
}

static int vhdx_allocate(struct vhd_image *image, uint32_t block)
{
	struct vhd_layer *layer = &image->layers[0];
	struct vhdx *x = layer->state;
	uint64_t word = map_get(layer, block);
	uint64_t place = word & ~(uint64_t)MAP_STATE_MASK;
	bool part = x->disk.has_parent && (word & MAP_STATE_MASK) == MAP_NONE;
	int ret = part ? part_make(image, layer, block) : 0;

	if (!ret)
		ret = vhdx_change_keep(x, vhdx_block_index(&x->disk, block));
	if (!ret && !((word & MAP_STATE_MASK) == MAP_IDLE && place_reuse(image, layer, place)))
		ret = place_new(image, layer, x->disk.block_size, &place);
	if (!ret)
		map_set(layer, block, place | (part ? MAP_PART : MAP_DATA));
	return ret;
}

static bool vhdx_zero(struct vhd_image *image, uint32_t block)
{
	struct vhd_layer *layer = &image->layers[0];
	struct vhdx *x = layer->state;

	if (map_get(layer, block) != MAP_NONE ||
	    vhdx_change_keep(x, vhdx_block_index(&x->disk, block)))
		return false;
	map_set(layer, block, MAP_ZERO);
	return true;
}

/* A fixed image's blocks stay what they are. */
static void vhdx_unmap(struct vhd_image *image, uint32_t block)
{
	struct vhd_layer *layer = &image->layers[0];
	struct vhdx *x = layer->state;
	uint64_t word = map_get(layer, block);
	uint64_t state = word & MAP_STATE_MASK;

	if (layer->type == VHD_TYPE_FIXED || (state != MAP_DATA && state != MAP_PART) ||
	    vhdx_change_keep(x, vhdx_block_index(&x->disk, block)))
		return;
	map_set(layer, block, (word & ~(uint64_t)MAP_STATE_MASK) | MAP_IDLE);
}

/* -- Opening and closing -------------------------------------------------------------- */

static void vhdx_free(struct vhd_layer *layer)
{
	struct vhdx *x = layer->state;

	for (size_t i = 0; i < x->patch_count; i++)
		free(x->patches[i].bytes);
	free(x->patches);
	vhd_bitmap_fini(&x->bitmaps);
	free(x->table);
	free(x->locator);
	free(x->chunks);
	free(x->changes.all);
	free(x->changes.marked);
	free(x->log.pages);
	free(x->log.entry);
	vhd_room_fini(&layer->map_room);
	free(x);
}

const struct layer_ops vhdx_ops = {
	.run = vhd_bitmap_run,
	.written = vhd_bitmap_written,
	.begin = vhdx_begin,
	.allocate = vhdx_allocate,
	.zero = vhdx_zero,
	.unmap = vhdx_unmap,
	.dirty = vhdx_dirty,
	.stage = vhdx_stage,
	.commit = vhdx_commit,
	.finish = vhdx_finish,
	.end = vhdx_end,
	.free = vhdx_free,
	.spaces = vhdx_spaces,
	.check = vhdx_check,
	.check_table = vhdx_check_table,
	.repair = vhdx_repair,
	.fit = vhdx_fit,
	.release = vhdx_release,
	.moved = vhdx_moved,
	.cut = vhdx_cut,
	.relink = vhdx_relink,
	.link_both = vhdx_link_both,
	.take_items = vhdx_take_items,
};

int vhdx_write_init(const struct open_context *ctx, struct vhd_layer *layer)
{
	struct vhdx *x = layer->state;

	if (layer->file->flags & VHD_FILE_BLOCK_DEVICE)
		return vhd_fail(ctx->err, -ENOTSUP, "a VHDX on a block device can only be read");
	if (x->header.log_length == 0)
		return vhd_fail(ctx->err, -ENOTSUP, "a VHDX without a log can only be read");
	x->changes.marked = calloc(x->disk.entries / 8 + 1, 1);
	x->log.pages = malloc((size_t)VHDX_LOG_PAGES * VHDX_PAGE);
	x->log.entry = malloc(vhdx_log_entry_size(VHDX_LOG_PAGES));
	if (!x->changes.marked || !x->log.pages || !x->log.entry)
		return vhd_fail(ctx->err, -ENOMEM, "no memory to write to the image");
	return 0;
}
