/* SPDX-License-Identifier: MIT */
/* Adding blocks to a VHD, and writing its table so that no crash harms it.
 *
 * The table on disk names a block only after the block itself (bitmap all ones,
 * data zero or written) is durable: dynamic_commit() runs between two syncs.
 * Until then the new blocks lie behind the last block the table knows, where a
 * crash turns them into space that the next allocation takes again. The footer
 * at the end is rewritten with each block but never has to be durable: its copy
 * at 0 is always good. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "vhd-dynamic.h"

enum { DATA_ALIGN = 4096 };

/* The next place for a bitmap: the data behind it begins on a multiple of 4096, unless that
 * takes so much that the last blocks of a large disk would lie where no entry can point to. */
static uint64_t dynamic_next(const struct dynamic *d)
{
	const struct vhd_layout *l = &d->layout;
	uint64_t slot = round_up(l->bitmap_size + (uint64_t)l->block_size, DATA_ALIGN);
	uint64_t most = (uint64_t)VHD_BAT_UNUSED * VHD_SECTOR;

	if (vhd_bat_size(l->blocks) + (l->blocks + UINT64_C(1)) * slot > most)
		return round_up(d->end, VHD_SECTOR);
	return round_up(d->end + l->bitmap_size, DATA_ALIGN) - l->bitmap_size;
}

uint64_t vhd_dynamic_end(const struct vhd_layer *layer)
{
	const struct dynamic *d = layer->state;

	/* Exactly behind the last block: QEMU puts its next block's bitmap there
	 * and takes what follows for zeros. */
	return d->end;
}

const struct vhd_header *vhd_dynamic_header(const struct vhd_layer *layer)
{
	const struct dynamic *d = layer->state;

	return &d->header;
}

/* The last footer, behind all there is. */
static int footer_write(struct vhd_image *image, const struct vhd_layer *layer)
{
	const struct dynamic *d = layer->state;

	return vhd_file_write(image, layer->file, d->footer, VHD_FOOTER_SIZE,
			      vhd_dynamic_end(layer));
}

/* Another writer, or a crash, may have left anything behind the last block. Cut
 * it off, so that what grows there reads as zeros. */
int vhd_dynamic_cut_tail(struct vhd_image *image, const struct vhd_layer *layer)
{
	struct dynamic *d = layer->state;
	int ret;

	if (d->tail_fresh)
		return 0;
	ret = vhd_file_truncate(image, layer->file, d->end);
	d->tail_fresh = ret == 0;
	return ret;
}

/* The footer first: it makes the file longer, or finds no space. */
int vhd_dynamic_extend(struct vhd_image *image, const struct vhd_layer *layer, uint64_t end)
{
	struct dynamic *d = layer->state;
	uint64_t old_end = d->end;
	int ret = vhd_dynamic_cut_tail(image, layer);

	if (ret)
		return ret;
	d->end = end;
	ret = footer_write(image, layer);
	if (ret)
		vhd_dynamic_retract(image, layer, old_end);
	return ret;
}

void vhd_dynamic_retract(struct vhd_image *image, const struct vhd_layer *layer, uint64_t end)
{
	struct dynamic *d = layer->state;

	d->end = end;
	d->tail_fresh = false;
	footer_write(image, layer);
}

/* The bitmap goes over the old footer; the footer's copy is what is good then. All
 * ones in a dynamic image, once and for all: readers that obey the bitmap and
 * readers that do not then see the same. */
static int bitmap_write(struct vhd_image *image, const struct vhd_layer *layer, uint64_t place)
{
	const struct dynamic *d = layer->state;
	uint8_t bits[4096];
	int ret = 0;

	memset(bits, layer->type == VHD_TYPE_DIFFERENCING ? 0 : 0xff, sizeof(bits));
	for (uint32_t done = 0; !ret && done < d->layout.bitmap_size; done += sizeof(bits))
		ret = vhd_file_write(image, layer->file, bits,
				     min_u64(sizeof(bits), d->layout.bitmap_size - done),
				     place + done);
	return ret;
}

static int dynamic_allocate(struct vhd_image *image, uint32_t block)
{
	struct vhd_layer *layer = &image->layers[0];
	struct dynamic *d = layer->state;
	uint64_t place = dynamic_next(d);
	uint64_t data = place + d->layout.bitmap_size;
	uint64_t old_end = d->end;
	int ret = 0;

	if (place / VHD_SECTOR >= VHD_BAT_UNUSED)
		return -EFBIG;
	if (layer->bitmaps)
		ret = vhd_bitmap_add(layer->bitmaps, block);
	if (!ret)
		ret = vhd_dynamic_extend(image, layer, data + d->layout.block_size);
	if (ret)
		return ret;
	ret = bitmap_write(image, layer, place);
	if (ret) {
		vhd_dynamic_retract(image, layer, old_end);
		return ret;
	}
	d->kept[d->kept_count++] = block;
	atomic_store_explicit(&layer->map[block], data | (layer->bitmaps ? MAP_PART : MAP_DATA),
			      memory_order_release);
	return 0;
}

static bool dynamic_dirty(const struct vhd_layer *layer)
{
	const struct dynamic *d = layer->state;

	return d->kept_count > 0 || d->bitmaps.marked_count > 0;
}

static void dynamic_stage(struct vhd_layer *layer)
{
	struct dynamic *d = layer->state;

	d->staged = d->kept_count;
	if (layer->bitmaps)
		vhd_bitmap_stage(layer->bitmaps);
}

static int block_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Whole sectors, neighbours in one write. */
int vhd_dynamic_write_table(struct vhd_image *image, const struct vhd_layer *layer, uint32_t first,
			    uint32_t last)
{
	const struct dynamic *d = layer->state;
	uint32_t per_sector = VHD_SECTOR / sizeof(*d->table);
	uint32_t start = first / per_sector;
	uint32_t count = last / per_sector - start + 1;

	return vhd_file_write(image, layer->file, d->table + (size_t)start * per_sector,
			      (size_t)count * VHD_SECTOR,
			      d->layout.bat_offset + (uint64_t)start * VHD_SECTOR);
}

static int table_commit(struct vhd_image *image, struct vhd_layer *layer)
{
	struct dynamic *d = layer->state;
	uint32_t per_sector = VHD_SECTOR / sizeof(*d->table);
	uint32_t first = 0;
	int ret = 0;

	qsort(d->kept, d->staged, sizeof(*d->kept), block_compare);
	for (uint32_t i = 0; i < d->staged; i++) {
		uint64_t word = atomic_load_explicit(&layer->map[d->kept[i]], memory_order_relaxed);
		uint64_t data = word & ~(uint64_t)MAP_STATE_MASK;

		d->table[d->kept[i]] =
			word == MAP_NONE ?
				VHD_BAT_UNUSED :
				htobe32((uint32_t)((data - d->layout.bitmap_size) / VHD_SECTOR));
	}
	for (uint32_t i = 1; !ret && i <= d->staged; i++) {
		if (i < d->staged &&
		    d->kept[i] / per_sector <= d->kept[i - 1] / per_sector + 1)
			continue;
		ret = vhd_dynamic_write_table(image, layer, d->kept[first], d->kept[i - 1]);
		first = i;
	}
	if (ret)
		return ret;
	d->kept_count -= d->staged;
	memmove(d->kept, d->kept + d->staged, d->kept_count * sizeof(*d->kept));
	d->staged = 0;
	return 0;
}

static uint64_t bits_place(const struct vhd_layer *layer, uint32_t block)
{
	const struct dynamic *d = layer->state;
	uint64_t word = atomic_load_explicit(&layer->map[block], memory_order_relaxed);

	return (word & ~(uint64_t)MAP_STATE_MASK) - d->layout.bitmap_size;
}

static int bits_read(struct vhd_image *image, const struct vhd_layer *layer, uint32_t block,
		     uint8_t *bytes)
{
	const struct dynamic *d = layer->state;

	return vhd_file_read(image, layer->file, bytes, d->layout.bitmap_size,
			     bits_place(layer, block));
}

static int bits_write(struct vhd_image *image, struct vhd_layer *layer, uint32_t block,
		      const uint8_t *bytes)
{
	const struct dynamic *d = layer->state;

	return vhd_file_write(image, layer->file, bytes, d->layout.bitmap_size,
			      bits_place(layer, block));
}

static int dynamic_commit(struct vhd_image *image)
{
	struct vhd_layer *layer = &image->layers[0];
	int ret = table_commit(image, layer);

	return ret || !layer->bitmaps ? ret : vhd_bitmap_commit(image, layer, bits_write);
}

static void dynamic_free(struct vhd_layer *layer)
{
	struct dynamic *d = layer->state;

	vhd_bitmap_fini(&d->bitmaps);
	free(d->table);
	free(d->kept);
	vhd_room_fini(&layer->map_room);
	free(d);
}

static const struct layer_ops dynamic_ops = {
	.run = vhd_bitmap_run,
	.written = vhd_bitmap_written,
	.allocate = dynamic_allocate,
	.dirty = dynamic_dirty,
	.stage = dynamic_stage,
	.commit = dynamic_commit,
	.free = dynamic_free,
	.spaces = vhd_dynamic_spaces,
	.check = vhd_dynamic_check,
	.check_table = vhd_dynamic_check_table,
	.fit = vhd_dynamic_fit,
	.release = vhd_dynamic_release,
	.moved = vhd_dynamic_moved,
	.cut = vhd_dynamic_cut,
	.relink = vhd_dynamic_relink,
};

static int dynamic_new(const struct open_context *ctx, struct vhd_layer *layer,
		       const struct vhd_layout *layout)
{
	size_t entries = vhd_bat_size(layout->blocks) / sizeof(uint32_t);
	uint32_t most = ctx->read_only ? layout->blocks : vhd_most_blocks(layout->block_size);
	struct dynamic *d = calloc(1, sizeof(*d));

	if (!d)
		return vhd_fail(ctx->err, -ENOMEM, "no memory for the block table");
	layer->state = d;
	layer->ops = &dynamic_ops;
	d->layout = *layout;
	d->table = calloc(entries, sizeof(*d->table));
	d->kept = calloc(layout->blocks, sizeof(*d->kept));
	layer->map = vhd_room_init(&layer->map_room, layout->blocks * sizeof(*layer->map),
				   most * sizeof(*layer->map));
	if (layer->type == VHD_TYPE_DIFFERENCING) {
		d->bitmaps.blocks = layout->blocks;
		d->bitmaps.size = layout->bitmap_size;
		d->bitmaps.load = bits_read;
		layer->bitmaps = &d->bitmaps;
	}
	if (!d->table || !d->kept || !layer->map ||
	    (layer->bitmaps && vhd_bitmap_init(layer->bitmaps, most)))
		return vhd_fail(ctx->err, -ENOMEM, "no memory for %" PRIu32 " blocks",
				layout->blocks);
	return 0;
}

static int table_check(const struct open_context *ctx, struct dynamic *d)
{
	uint64_t *sorted = calloc(d->layout.blocks, sizeof(*sorted));
	int ret;

	if (!sorted)
		return vhd_fail(ctx->err, -ENOMEM, "no memory to check the block table");
	ret = vhd_bat_check(&d->layout, d->table, sorted, &d->end, ctx->err);
	free(sorted);
	return ret;
}

static void map_fill(struct vhd_layer *layer, const struct dynamic *d)
{
	uint64_t state = layer->bitmaps ? MAP_PART : MAP_DATA;

	for (uint32_t i = 0; i < d->layout.blocks; i++) {
		uint32_t sector = be32toh(d->table[i]);
		uint64_t data = (uint64_t)sector * VHD_SECTOR + d->layout.bitmap_size;

		atomic_init(&layer->map[i], sector == VHD_BAT_UNUSED ? MAP_NONE : data | state);
	}
}

int vhd_dynamic_load(const struct open_context *ctx, struct vhd_layer *layer,
		     const struct vhd_layout *layout, const struct vhd_header *header,
		     const uint8_t *footer)
{
	struct dynamic *d;
	int ret = dynamic_new(ctx, layer, layout);

	if (ret)
		return ret;
	d = layer->state;
	d->header = *header;
	memcpy(d->footer, footer, sizeof(d->footer));
	ret = vhd_file_read(ctx->image, layer->file, d->table, vhd_bat_size(layout->blocks),
			    layout->bat_offset);
	if (ret)
		return vhd_fail(ctx->err, ret, "cannot read the block allocation table at %" PRIu64,
				layout->bat_offset);
	ret = table_check(ctx, d);
	if (ret)
		return ret;
	layer->blocks = layout->blocks;
	layer->block_shift = (unsigned)__builtin_ctz(layout->block_size);
	map_fill(layer, d);
	return 0;
}
